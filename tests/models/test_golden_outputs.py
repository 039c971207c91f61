"""What POSTER++ and the three modes of the Two-Stream network compute, pinned to numbers: weights are a function of
their names, so that neither the order nor the kind of initialisation matters, and everything is float64.
"""

import math
import zlib

import pytest
import torch

from affectlens.models import poster, two_stream


def fill(network):
    """Weights and statistics from their names: uniform, matrices scaled by their fan-in, factors around 1."""
    for name, value in network.state_dict().items():
        if not value.is_floating_point():
            continue
        generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        signed = 2 * torch.rand(value.shape, generator=generator, dtype=torch.float64) - 1
        if value.ndim > 1:
            made = signed * math.sqrt(3 / value[0].numel())
        elif name.endswith(("weight", "running_var", "scale1", "scale2", "gamma")):
            made = 1 + signed / 2
        else:
            made = signed / 4
        value.copy_(made)


def face(side_px):
    """(1, 3, S, S): waves of another length and direction in each channel."""
    y, x = torch.meshgrid(torch.arange(side_px), torch.arange(side_px), indexing="ij")
    waves = [torch.sin(0.31 * x + 0.17 * y), torch.cos(0.23 * x - 0.41 * y), torch.sin(0.05 * x * y / side_px)]
    return torch.stack(waves).double().unsqueeze(0)


def answer(network, side_px):
    """Logits, and the first four features."""
    network = network.double().eval()
    with torch.no_grad():
        fill(network)
        given = network(face(side_px))
    return given.logits[0].tolist(), given.features[0, :4].tolist()


NETWORKS = [
    pytest.param(
        poster.build, {"side_px": 48, "units": (1, 1, 1)}, 40,
        [-0.559897015, 0.745454323, 0.281210137, 0.299889362, -0.18940775, 0.264724733, -0.149891814, 0.391083309],
        [-2.204075679, -1.005489041, -0.080200619, 0.143063648],
        id="poster-small",
    ),
    pytest.param(
        poster.build, {}, 224,
        [-0.01917997, 0.718067392, 0.403409107, 0.127304261, 0.578775256, -0.056369596, 0.202762013, 0.558667281],
        [-0.947292635, -1.128798132, 0.726996686, 0.201967556],
        id="poster", marks=pytest.mark.slow,
    ),
    pytest.param(
        two_stream.build, {"backbone": "small", "image_px": 56}, 56,
        [0.127832673, 1.382301265, 0.519484455, -0.309953563, 0.550777107, -0.158648011, 0.530381195, 1.084854309],
        [0.25622145, -0.478657662, -0.417117477, -0.522377159],
        id="principled", marks=pytest.mark.slow,
    ),
    pytest.param(
        two_stream.build, {"mode": "literal", "image_px": 28}, 28,
        [1.742779437, 0.176594498, -0.706525586, -0.069296564, -0.403054318, 0.714335312, -0.085774755, 1.736172374],
        [-0.488030698, -0.553457336, -0.697534663, 0.627975945],
        id="literal", marks=pytest.mark.slow,
    ),
    pytest.param(
        two_stream.build, {"mode": "native", "image_px": 28}, 28,
        [0.312877092, -0.592224695, 2.178382275, 1.591289285, -0.099476902, -0.670847826, -1.723838867, 1.020658669],
        [1.294646325, -0.347255809, 0.585266945, 0.564372816],
        id="native", marks=pytest.mark.slow,
    ),
]  # fmt: skip
"""Network, side of the face, logits and first features."""


@pytest.mark.parametrize(("build", "options", "side_px", "logits", "features"), NETWORKS)
def test_weights_that_are_known_give_numbers_that_are_known(build, options, side_px, logits, features):
    got = answer(build(8, **options), side_px)
    assert got[0] == pytest.approx(logits, abs=1e-6)
    assert got[1] == pytest.approx(features, abs=1e-6)
