from dataclasses import replace

import pytest
import torch

from affectlens.core.errors import BadSetting
from affectlens.training.augment import draws
from affectlens.training.mix import mix
from affectlens.training.recipe import find

PLAIN = find("default")
IMAGES = torch.rand((6, 1, 20, 30), generator=torch.Generator().manual_seed(0))
TARGET = torch.eye(6)


def uniform(**columns):
    drawn = draws(6, seed=0, epoch=0)
    for name, value in columns.items():
        drawn[:, int(name[1:])] = value
    return drawn


def test_without_probabilities_nothing_is_mixed():
    images, target = mix(IMAGES, TARGET, uniform(), PLAIN)
    assert torch.equal(images, IMAGES)
    assert torch.equal(target, TARGET)


def test_a_blended_face_has_the_drawn_share_of_the_one_before():
    images, target = mix(IMAGES, TARGET, uniform(c21=0.25), replace(PLAIN, mixup=1.0))
    for own in range(6):
        torch.testing.assert_close(images[own], 0.75 * IMAGES[own] + 0.25 * IMAGES[own - 1])
        torch.testing.assert_close(target[own], 0.75 * TARGET[own] + 0.25 * TARGET[own - 1])


def test_a_patched_face_shows_the_other_in_a_rectangle_of_the_drawn_area():
    images, target = mix(IMAGES, TARGET, uniform(c21=0.25, c22=0.5, c23=0.5), replace(PLAIN, cutmix=1.0))
    expected = IMAGES.clone()
    expected[:, :, 5:15, 8:22] = IMAGES.roll(1, dims=0)[:, :, 5:15, 8:22]
    assert torch.equal(images, expected)
    share = 10 * 14 / 600
    torch.testing.assert_close(target, (1 - share) * TARGET + share * TARGET.roll(1, dims=0))


def test_the_target_follows_the_pixels_that_the_edges_leave():
    images, target = mix(IMAGES, TARGET, uniform(c21=0.9), replace(PLAIN, cutmix=1.0))
    other = (images != IMAGES).float().mean(dim=(1, 2, 3))
    torch.testing.assert_close(1 - target.diagonal(), other)
    assert other.max() < 0.9
    assert other.min() > 0.2


def test_both_come_as_often_as_asked_and_never_at_once():
    many = torch.rand((4000, 1, 8, 8), generator=torch.Generator().manual_seed(1))
    images, _ = mix(many, torch.ones(4000, 1), draws(4000, 0, 0), replace(PLAIN, mixup=0.3, cutmix=0.2))
    changed = (images != many).float().mean(dim=(1, 2, 3))
    patched = (images == many.roll(1, dims=0)).flatten(1).any(dim=1) & (changed > 0)
    assert (changed > 0).float().mean().item() == pytest.approx(0.5, abs=0.03)  # some rectangles cover no pixel
    assert patched.float().mean().item() == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize("settings", [{"mixup": 0.6, "cutmix": 0.6}, {"mixup": -0.1}, {"cutmix": 1.5}])
def test_probabilities_that_are_none_are_refused(settings):
    with pytest.raises(BadSetting, match=r"cutmix|mixup"):
        replace(PLAIN, **settings)
