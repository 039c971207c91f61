"""Storage in exported files: metadata, and weights in single, half or 8-bit precision."""

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from affectlens.core.checksums import with_checksum
from affectlens.core.session import METADATA_KEY, ModelSpec

_HALF = ".half"
"""Ends the name of a weight that is stored in half precision; a cast gives it the name without."""


def describe(model: onnx.ModelProto, spec: ModelSpec) -> None:
    """Put `spec` into the metadata, and nothing else."""
    del model.metadata_props[:]
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, spec.model_dump_json()


def save(model: onnx.ModelProto, file: Path) -> None:
    """Write a model with a checksum, which `core.session.open_session` compares.  Raises OSError."""
    file.write_bytes(with_checksum(model.SerializeToString()))


def with_whole_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` itself, its weights that are stored in half precision widened, under the names that they had."""
    graph = model.graph
    for weight in graph.initializer:
        if weight.name.endswith(_HALF):
            values = onnx.numpy_helper.to_array(weight).astype(np.float32)
            weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name.removesuffix(_HALF)))
    kept = [node for node in graph.node if not (node.op_type == "Cast" and node.input[0].endswith(_HALF))]
    del graph.node[:]
    graph.node.extend(kept)
    return model


def store_in_half(graph: onnx.GraphProto) -> None:
    """Replace float32 weights of two or more dimensions by float16 and a cast, which the runtime does once at load.

    Weights that are too large for it stay as they are.
    """
    casts = []
    for weight in graph.initializer:
        if weight.data_type != onnx.TensorProto.FLOAT or len(weight.dims) < 2:
            continue
        name, values = weight.name, onnx.numpy_helper.to_array(weight)
        if np.abs(values).max(initial=0) > np.finfo(np.float16).max:
            continue
        half = onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}{_HALF}")
        weight.CopyFrom(half)
        casts.append(onnx.helper.make_node("Cast", [half.name], [name], to=onnx.TensorProto.FLOAT))
    for cast in reversed(casts):
        graph.node.insert(0, cast)


def stored_weights(model: onnx.ModelProto) -> dict[str, NDArray[np.float32]]:
    """The weights under the names that they have in full precision, whatever they are stored in."""
    graph = with_whole_weights(model).graph
    values = {weight.name: onnx.numpy_helper.to_array(weight) for weight in graph.initializer}
    whole = {}
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in values:
            quantised, scale, zero = (values.pop(name).astype(np.float32) for name in node.input)
            per_channel = (-1, *[1] * (quantised.ndim - 1)) if scale.ndim else ()
            name = node.input[0].removesuffix("_quantized")
            whole[name] = (quantised - zero.reshape(per_channel)) * scale.reshape(per_channel)
    return values | whole
