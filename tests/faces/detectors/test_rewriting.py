import numpy as np
import onnx
import pytest

from affectlens.core.session import open_session
from affectlens.faces.detectors import mtcnn
from affectlens.faces.detectors._rewriting import rewritten


@pytest.mark.parametrize(("network", "side"), [("pnet", 40), ("rnet", 24), ("onet", 48)])
def test_a_rewritten_network_gives_the_same_answers(network, side):
    file = mtcnn._network(network)
    assert b"PRelu" in file.read_bytes()
    assert b"PRelu" not in rewritten(file)
    faces = np.random.default_rng(0).normal(size=(4, side, side, 3)).astype(np.float32)
    before, after = open_session(file), open_session(file, rewrite=rewritten)
    assert [output.name for output in after.get_outputs()] == [output.name for output in before.get_outputs()]
    name = before.get_inputs()[0].name
    for got, expected in zip(after.run(None, {name: faces}), before.run(None, {name: faces}), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-5)
        assert np.ptp(expected) > 1e-3


@pytest.mark.parametrize(
    ("network", "channels"), [("pnet", [16, 16, 32, 4, 2]), ("rnet", [32, 48, 64]), ("onet", [32, 64, 64, 128])]
)
def test_channels_before_a_pooling_fill_blocks(network, channels):
    graph = onnx.load_from_string(rewritten(mtcnn._network(network))).graph
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    kernels = [shapes[node.input[1]] for node in graph.node if node.op_type == "Conv"]
    assert [kernel[0] for kernel in kernels] == channels
    assert kernels[1][1] == kernels[0][0]
