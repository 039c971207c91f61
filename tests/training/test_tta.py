import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate

from affectlens.training.tta import CROP, Averaged, averaged


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 5), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 44 * 44, 4))


@pytest.fixture
def images():
    return torch.randn((5, 1, 48, 48), generator=torch.Generator().manual_seed(0))


def test_one_view_is_the_network_itself(network, images):
    assert torch.equal(averaged(network, images, "one").logits, network(images))


def test_flip_is_the_mean_of_an_image_and_its_mirror_image(network, images):
    expected = (network(images) + network(images.flip(3))) / 2
    got = averaged(network, images, "flip").logits
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(averaged(network, images.flip(3), "flip").logits, got)
    assert (got - network(images)).abs().max() > 1e-3


def test_ten_crop_is_the_mean_of_centre_and_corners_and_their_mirror_images(network, images):
    assert CROP == 7 / 8
    total = torch.zeros(5, 4)
    for top, left in ((3, 3), (0, 0), (0, 6), (6, 0), (6, 6)):
        crop = interpolate(images[:, :, top : top + 42, left : left + 42], size=48, mode="bilinear")
        total += network(crop) + network(torch.flip(crop, [3]))
    torch.testing.assert_close(averaged(network, images, "ten-crop").logits, total / 10)


@pytest.mark.parametrize("side", [48, 50, 224])
def test_every_view_has_the_size_of_the_image(side):
    shapes = []
    averaged(lambda view: shapes.append(view.shape) or torch.zeros(2, 4), torch.rand(2, 3, side, side), "ten-crop")
    assert shapes == [(2, 3, side, side)] * 10


def test_crops_of_an_even_image_are_even():
    seen = []
    averaged(lambda view: seen.append(view) or torch.zeros(1, 1), torch.full((1, 1, 48, 48), 0.25), "ten-crop")
    torch.testing.assert_close(torch.cat(seen), torch.full((10, 1, 48, 48), 0.25))


def test_the_network_is_not_asked_twice_for_one_view():
    calls = []
    for views, times in (("one", 1), ("flip", 2), ("ten-crop", 10)):
        calls.clear()
        averaged(lambda view: calls.append(1) or torch.zeros(1, 1), torch.zeros(1, 1, 48, 48), views)
        assert len(calls) == times


@pytest.mark.parametrize("views", ["one", "flip", "ten-crop"])
def test_as_a_network_it_is_the_same(network, images, views):
    torch.testing.assert_close(Averaged(network, views)(images), averaged(network, images, views).logits)
