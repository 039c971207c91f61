"""Rewriting of MTCNN's networks into operations that onnxruntime computes fast, with identical results.

onnxruntime's PRelu decides for each value whether to multiply it by the channel's slope s. Because the signs of
activations are unpredictable, this branch takes half of the time of these networks. s x + (1 - s) max(x, 0) is the same
function (He et al. 2015, arXiv:1502.01852, equation 1) without branches.

Channels are computed in blocks of eight or sixteen, and reordered twice around a pooling if their number is not a
multiple of these. Padding with zero channels avoids this.
"""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from numpy.typing import NDArray

_BLOCK = 16
_REPEATED, _ONE = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED, descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL
_PARTS: dict[str, dict[str, tuple[int, int, str]]] = {
    "Model": {"graph": (7, _ONE, "Graph")},
    "Graph": {"node": (1, _REPEATED, "Node"), "initializer": (5, _REPEATED, "Tensor")},
    "Node": {
        "input": (1, _REPEATED, "string"),
        "output": (2, _REPEATED, "string"),
        "name": (3, _ONE, "string"),
        "op_type": (4, _ONE, "string"),
    },
    "Tensor": {
        "dims": (1, _REPEATED, "int64"),
        "data_type": (2, _ONE, "int32"),
        "float_data": (4, _ONE, "bytes"),
        "name": (8, _ONE, "string"),
        "raw_data": (9, _ONE, "bytes"),
    },
}
"""The fields of ONNX's messages that are read or written here; protobuf carries all others along as they are. Packed
floats are as good as bytes, and need not be taken apart.
"""


def rewritten(file: Path) -> bytes:
    """The ONNX model in `file`, whose weights are float32 constants, as said above."""
    model = _message("Model").FromString(file.read_bytes())
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    _fill_blocks(model.graph, tensors)
    _without_prelu(model.graph, tensors)
    data: bytes = model.SerializeToString()
    return data


def _fill_blocks(graph: Any, tensors: dict[str, Any]) -> None:
    """Give convolutions before a pooling whole blocks of channels, which the convolution after it weighs zero."""
    after = {name: node for node in graph.node for name in node.input}
    for conv in graph.node:
        line = [conv]
        while len(line) < 4 and line[-1].output[0] in after:
            line.append(after[line[-1].output[0]])
        if [node.op_type for node in line] != ["Conv", "PRelu", "MaxPool", "Conv"]:
            continue
        for name, axis in ((conv.input[1], 0), (conv.input[2], 0), (line[1].input[1], 1), (line[3].input[1], 1)):
            tensor = tensors[name]
            values = _values(tensor).reshape(tensor.dims)
            widths = [(0, 0)] * values.ndim
            widths[axis] = (0, -values.shape[axis] % _BLOCK)
            values = np.pad(values, widths)
            tensor.dims[:] = values.shape
            tensor.ClearField("float_data")
            tensor.raw_data = values.tobytes()


def _without_prelu(graph: Any, tensors: dict[str, Any]) -> None:
    """Take each PRelu apart."""
    nodes = list(graph.node)
    del graph.node[:]
    for place, node in enumerate(nodes):
        if node.op_type != "PRelu":
            graph.node.append(node)
            continue
        (x, slope), (y,) = node.input, node.output
        rest = f"{slope}_rest_{place}"
        left, positive, right = (f"{y}_{part}" for part in ("left", "positive", "right"))
        tensor = tensors[slope]
        data = (1 - _values(tensor)).tobytes()
        graph.initializer.add(dims=tensor.dims, data_type=tensor.data_type, name=rest, raw_data=data)
        graph.node.add(op_type="Mul", input=[x, slope], output=[left])
        graph.node.add(op_type="Relu", input=[x], output=[positive])
        graph.node.add(op_type="Mul", input=[positive, rest], output=[right])
        graph.node.add(op_type="Add", input=[left, right], output=[y])


def _values(tensor: Any) -> NDArray[np.float32]:
    return np.frombuffer(tensor.raw_data or tensor.float_data, dtype=np.float32)


@cache
def _message(name: str) -> Any:
    """The class of one of the messages in `_PARTS`."""
    file = descriptor_pb2.FileDescriptorProto(name="affectlens/onnx.proto", package="affectlens.onnx", syntax="proto2")
    for message, parts in _PARTS.items():
        described = file.message_type.add(name=message)
        for field, (number, label, kind) in parts.items():
            one = described.field.add(name=field, number=number, label=label)
            if kind in _PARTS:
                one.type_name = f".affectlens.onnx.{kind}"
                one.type = one.TYPE_MESSAGE
            else:
                one.type = getattr(one, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"affectlens.onnx.{name}"))
