from dataclasses import replace

import pytest
import torch

from affectlens.training.augment import augment, draws
from affectlens.training.recipe import find

FULL = find("default")
STEPS = ("flip", "rotation_deg", "scale", "shift", "brightness", "contrast", "sharpness", "erase")
NONE = replace(FULL, **dict.fromkeys(STEPS, 0.0))


@pytest.fixture
def images():
    return torch.rand((6, 1, 48, 48), generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture
def uniform():
    return draws(6, seed=0, epoch=0)


def test_without_strength_nothing_changes(images, uniform):
    torch.testing.assert_close(augment(images, uniform, NONE), images, atol=1e-5, rtol=0)


@pytest.mark.parametrize("step", STEPS)
def test_every_step_changes_the_pictures_and_keeps_their_shape(images, uniform, step):
    strong = replace(NONE, **{step: 1.0 if step in ("flip", "erase") else getattr(FULL, step)})
    changed = augment(images, uniform, strong)
    assert changed.shape == images.shape
    assert ((changed - images).abs().amax(dim=(1, 2, 3)) > 1e-3).all()


def test_a_flip_of_certainty_mirrors_every_picture(images, uniform):
    flipped = augment(images, uniform, replace(NONE, flip=1.0))
    torch.testing.assert_close(flipped, images.flip(3), atol=1e-5, rtol=0)


def test_flips_come_as_often_as_asked(images):
    flipped = augment(images[:1].expand(400, -1, -1, -1), draws(400, 0, 0), replace(NONE, flip=0.25))
    share = (flipped - images[:1].flip(3)).abs().amax(dim=(1, 2, 3)).lt(1e-4).float().mean()
    assert share.item() == pytest.approx(0.25, abs=0.07)


def test_shift_moves_by_at_most_its_fraction_of_the_side(images):
    uniform = torch.full((1, 12), 0.5)
    uniform[0, 3] = 0.0
    moved = augment(images[:1], uniform, replace(NONE, shift=0.125))
    torch.testing.assert_close(moved[..., 6:], images[:1, :, :, :-6], atol=1e-4, rtol=0)
    assert (moved[..., :5] == 0).all()


def test_contrast_and_brightness_are_linear_in_the_draws(images):
    uniform = torch.full((6, 12), 0.5)
    uniform[:, 6], uniform[:, 7] = 1.0, 0.0
    changed = augment(images, uniform, replace(NONE, contrast=0.3, brightness=0.4))
    torch.testing.assert_close(changed, images * 1.3 - 0.4, atol=1e-5, rtol=0)


def test_erasing_blanks_one_square_of_a_tenth_to_a_third_of_the_side():
    ones = torch.ones(200, 1, 48, 48)
    erased = augment(ones, draws(200, seed=0, epoch=0), replace(NONE, erase=1.0)).lt(0.5)[:, 0]
    heights, widths = erased.any(2).sum(1), erased.any(1).sum(1)
    assert (erased.sum((1, 2)) == heights * widths).all()
    assert heights.min() >= 1
    assert heights.max() <= 48 / 3 + 1
    assert widths.max() <= 48 / 3 + 1


def test_what_moves_in_is_mid_gray():
    turned = augment(torch.ones(1, 1, 48, 48), torch.zeros(1, 12), replace(NONE, rotation_deg=45.0))
    assert turned[0, 0, 0, 0] == 0
    assert turned[0, 0, 24, 24] == 1


def test_the_same_draws_give_the_same_picture_whatever_the_batch(images, uniform):
    together = augment(images, uniform, FULL)
    alone = torch.cat([augment(images[i : i + 1], uniform[i : i + 1], FULL) for i in range(len(images))])
    backwards = augment(images.flip(0), uniform.flip(0), FULL).flip(0)
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=0)
    torch.testing.assert_close(backwards, together, atol=1e-5, rtol=0)


def test_draws_depend_on_seed_and_epoch_alone():
    torch.manual_seed(1)
    first = draws(10, seed=3, epoch=4)
    torch.manual_seed(2)
    assert torch.equal(draws(10, seed=3, epoch=4), first)
    assert not torch.equal(draws(10, seed=3, epoch=5), first)
    assert not torch.equal(draws(10, seed=4, epoch=4), first)


def test_draws_leave_the_random_state_of_others_alone():
    before = torch.get_rng_state()
    draws(10, seed=0, epoch=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_draws_are_uniform_and_differ_between_samples():
    uniform = draws(2000, seed=0, epoch=0)
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert uniform.mean().item() == pytest.approx(0.5, abs=0.01)
    assert len(uniform.unique(dim=0)) == 2000
