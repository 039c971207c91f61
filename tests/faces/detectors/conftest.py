"""A network in the place of YuNet's, which is not shipped."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

SIDE = 64
BOX = [8, -4, 40, 36]
LANDMARKS = [[16, 8], [32, 8], [24, 16], [18, 24], [30, 24]]
SCORE = 0.81


@pytest.fixture(scope="session")
def yunet_file(tmp_path_factory):
    """A network with YuNet's outputs that sees the same face in every 64x64 image: cell (2, 3) of the stride-8 grid."""
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
    ]
    weights = [numpy_helper.from_array(np.float32(0), "zero")]
    outputs = []
    face = {
        "cls": [SCORE],
        "obj": [SCORE],
        "bbox": [0, 0, np.log(4), np.log(5)],
        "kps": (np.array(LANDMARKS) / 8 - (3, 2)).ravel(),
    }
    for kind, cell in face.items():
        for stride in (8, 16, 32):
            name = f"{kind}_{stride}"
            answer = np.zeros((1, (SIDE // stride) ** 2, len(cell)), dtype=np.float32)
            if stride == 8:
                answer[0, 2 * (SIDE // 8) + 3] = cell
            weights.append(numpy_helper.from_array(answer, f"{name}_answer"))
            nodes.append(helper.make_node("Add", [f"{name}_answer", "nothing"], [name]))
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, answer.shape))
    image = helper.make_tensor_value_info("input", TensorProto.FLOAT, (1, 3, SIDE, SIDE))
    graph = helper.make_graph(nodes, "yunet", [image], outputs, weights)
    file = tmp_path_factory.mktemp("yunet") / "yunet.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), file)
    return file
