import pytest
import torch
from torch import nn

from affectlens.models.layers.spatial_transformer import SpatialTransformer

SIDE = 12


class Corner(nn.Module):
    """Six numbers read off the first pixels of the image."""

    def forward(self, x):
        return x[:, 0, 0, :6]


@pytest.fixture
def maps():
    return torch.randn((3, 4, SIDE, SIDE), generator=torch.Generator().manual_seed(0))


def transformer(theta=None):
    """One whose localiser is a convolution; with `theta`, one that applies it to every image."""
    torch.manual_seed(0)
    layer = SpatialTransformer(nn.Conv2d(4, 2, SIDE - 2), features=2 * 9, hidden=8)
    if theta is not None:
        layer.regressor[-1].bias.data.copy_(torch.tensor(theta))
    return layer


def test_it_starts_as_the_identity(maps):
    layer = transformer()
    expected = torch.tensor([[1.0, 0, 0], [0, 1, 0]]).expand(3, -1, -1)
    torch.testing.assert_close(layer.theta(maps), expected, rtol=0, atol=0)
    torch.testing.assert_close(layer(maps), maps, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("theta", "expected"),
    [
        ([-1.0, 0, 0, 0, 1, 0], lambda x: x.flip(3)),
        ([1.0, 0, 0, 0, -1, 0], lambda x: x.flip(2)),
        ([-1.0, 0, 0, 0, -1, 0], lambda x: x.rot90(2, (2, 3))),
        ([0.0, 1, 0, 1, 0, 0], lambda x: x.transpose(2, 3)),
        ([1.0, 0, 2 * 3 / SIDE, 0, 1, 0], lambda x: nn.functional.pad(x[..., 3:], (0, 3))),
        ([1.0, 0, 0, 0, 1, -2 * 2 / SIDE], lambda x: nn.functional.pad(x[:, :, :-2], (0, 0, 2, 0))),
        ([1.0, 0, 1 / SIDE, 0, 1, 0], lambda x: (x + nn.functional.pad(x[..., 1:], (0, 1))) / 2),
    ],
    ids=["mirror", "upside-down", "half-turn", "transpose", "left-by-3", "down-by-2", "left-by-half"],
)
def test_a_known_map_moves_the_picture_as_it_says(maps, theta, expected):
    torch.testing.assert_close(transformer(theta)(maps), expected(maps), atol=1e-5, rtol=1e-5)


def test_every_image_has_a_map_of_its_own():
    images = torch.rand((2, 1, SIDE, SIDE), generator=torch.Generator().manual_seed(0))
    images[0, 0, 0, :6] = torch.tensor([1.0, 0, 0, 0, 1, 0])
    images[1, 0, 0, :6] = torch.tensor([0.0, 1, 0, 1, 0, 0])
    layer = SpatialTransformer(Corner(), features=6, hidden=6)
    with torch.no_grad():
        layer.regressor[0].weight.copy_(torch.eye(6))
        layer.regressor[0].bias.zero_()
        layer.regressor[2].weight.copy_(torch.eye(6))
        layer.regressor[2].bias.zero_()
    expected = torch.stack([images[0], images[1].transpose(1, 2)])
    torch.testing.assert_close(layer(images), expected, atol=1e-5, rtol=0)


def test_the_localiser_learns_once_the_last_layer_has_moved(maps):
    layer = transformer()
    layer(maps).square().sum().backward()
    assert layer.regressor[-1].weight.grad.any()
    assert not layer.localiser.weight.grad.any()
    nn.init.normal_(layer.regressor[-1].weight, std=0.1)
    layer(maps).square().sum().backward()
    assert layer.localiser.weight.grad.any()


def test_in_mixed_precision_the_identity_stays_one(maps):
    layer = transformer()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        moved = layer(maps.bfloat16())
    torch.testing.assert_close(moved.float(), maps.bfloat16().float(), atol=1e-2, rtol=1e-2)
