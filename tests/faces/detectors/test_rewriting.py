import numpy as np
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
