import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from affectlens.training.augment import augment, degrade, draws, rows_of_draws
from affectlens.training.recipe import find

FULL = replace(find("default"), shear_deg=20.0)
STEPS = ("flip", "rotation_deg", "shear_deg", "scale", "shift", "brightness", "contrast", "sharpness", "erase")
NONE = replace(FULL, **dict.fromkeys(STEPS, 0.0))
RGB = replace(NONE, channels="rgb", mean=(0.5,) * 3, std=(0.25,) * 3)
LUMA = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)


@pytest.fixture
def images():
    return torch.rand((6, 1, 48, 48), generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture
def colours():
    return torch.rand((6, 3, 48, 48), generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture
def uniform():
    return draws(6, seed=0, epoch=0)


def middle(samples, **columns):
    """Draws that change nothing but what the named columns (`c12=1.0`) say."""
    uniform = torch.full((samples, 26), 0.5)
    for name, value in columns.items():
        uniform[:, int(name[1:])] = value
    return uniform


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
    moved = augment(images[:1], middle(1, c3=0.0), replace(NONE, shift=0.125))
    torch.testing.assert_close(moved[..., 6:], images[:1, :, :, :-6], atol=1e-4, rtol=0)
    assert (moved[..., :5] == 0).all()


def test_exposure_is_a_factor_of_the_light(images):
    recipe = replace(NONE, exposure=0.5)
    for draw, factor in ((0.0, 0.5), (0.5, 1.0), (1.0, 1.5)):
        changed = augment(images, middle(6, c7=draw), recipe)
        pixels = images * recipe.std[0] + recipe.mean[0]
        torch.testing.assert_close(changed * recipe.std[0] + recipe.mean[0], factor * pixels)


def test_contrast_and_brightness_are_linear_in_the_draws(images):
    changed = augment(images, middle(6, c6=1.0, c7=0.0), replace(NONE, contrast=0.3, brightness=0.4))
    torch.testing.assert_close(changed, images * 1.3 - 0.4, atol=1e-5, rtol=0)


def test_erasing_blanks_one_square_of_a_tenth_to_a_third_of_the_side():
    ones = torch.ones(200, 1, 48, 48)
    erased = augment(ones, draws(200, seed=0, epoch=0), replace(NONE, erase=1.0)).lt(0.5)[:, 0]
    heights, widths = erased.any(2).sum(1), erased.any(1).sum(1)
    assert (erased.sum((1, 2)) == heights * widths).all()
    assert heights.min() >= 1
    assert heights.max() <= 48 / 3 + 1
    assert widths.max() <= 48 / 3 + 1


def test_an_erased_rectangle_has_the_area_and_the_sides_that_the_literature_gives():
    ones = torch.ones(2000, 1, 100, 100)
    erased = augment(ones, draws(2000, seed=0, epoch=0), replace(NONE, erase=1.0, erase_shape="rectangle"))
    erased = erased.lt(0.5)[:, 0]
    heights, widths = erased.any(2).sum(1), erased.any(1).sum(1)
    assert (erased.sum((1, 2)) == heights * widths).all()
    area = heights * widths / 100**2
    assert area.min() >= 0.015
    assert area.max() <= 0.35
    inside = (heights < 100) & (widths < 100)
    ratio = (heights / widths)[inside]
    assert 0.25 < ratio.min() < 0.35
    assert 2.9 < ratio.max() < 3.7
    assert abs(ratio.log().mean()) < 0.06
    assert abs(area.mean() - 0.175) < 0.01


def test_the_area_of_an_erased_rectangle_may_be_one_number():
    changes = {"erase": 1.0, "erase_shape": "rectangle", "erase_area": (0.05, 0.05)}
    erased = augment(torch.ones(500, 1, 200, 200), draws(500, seed=0, epoch=0), replace(NONE, **changes)).lt(0.5)[:, 0]
    area = erased.sum((1, 2)) / 200**2
    assert (area - 0.05).abs().max() < 0.005
    assert abs(area.mean() - 0.05) < 0.0005


def test_autocontrast_takes_darkest_and_brightest_of_each_channel_to_black_and_white(colours):
    dull = colours * torch.tensor([0.1, 0.3, 0.5]).view(1, 3, 1, 1)
    stretched = augment(dull, middle(6, c18=0.2), replace(RGB, autocontrast=0.5))
    assert stretched.shape == dull.shape
    black, white = (0 - 0.5) / 0.25, (1 - 0.5) / 0.25
    torch.testing.assert_close(stretched.amin(dim=(2, 3)), torch.full((6, 3), black), atol=1e-4, rtol=0)
    torch.testing.assert_close(stretched.amax(dim=(2, 3)), torch.full((6, 3), white), atol=1e-4, rtol=0)
    assert torch.corrcoef(torch.stack([stretched[0, 0].flatten(), dull[0, 0].flatten()]))[0, 1] > 0.999


def test_autocontrast_comes_as_often_as_asked_and_leaves_pictures_of_one_value_alone(colours):
    often = replace(RGB, autocontrast=0.3)
    changed = augment(colours, middle(6, c18=0.31), often)
    torch.testing.assert_close(changed, colours, atol=1e-5, rtol=0)
    plain = torch.full((6, 3, 48, 48), 0.7)
    torch.testing.assert_close(augment(plain, middle(6, c18=0.0), often), plain, atol=1e-5, rtol=0)


def test_what_moves_in_is_mid_gray():
    turned = augment(torch.ones(1, 1, 48, 48), torch.zeros(1, 20), replace(NONE, rotation_deg=45.0))
    assert turned[0, 0, 0, 0] == 0
    assert turned[0, 0, 24, 24] == 1


def test_shear_moves_rows_by_their_distance_from_the_middle():
    picture = torch.zeros(1, 1, 48, 48)
    picture[..., 24] = 1.0
    sheared = augment(picture, middle(1, c12=1.0), replace(NONE, shear_deg=45.0))
    columns = torch.arange(48.0)
    for row in (10, 20, 24, 30, 40):
        line = sheared[0, 0, row]
        assert (line * columns).sum() / line.sum() == pytest.approx(24 - (row - 23.5) * math.tan(math.pi / 4), abs=0.1)
    back = augment(picture, middle(1, c12=0.0), replace(NONE, shear_deg=45.0))
    torch.testing.assert_close(back, sheared.flip(2), atol=1e-4, rtol=0)


def test_sharpness_blends_towards_and_away_from_the_mean_of_the_neighbours(images):
    towards = augment(images, middle(6, c5=0.0), replace(NONE, sharpness=1.0))
    away = augment(images, middle(6, c5=1.0), replace(NONE, sharpness=1.0))
    expected = images[:, 0, 9:12, 19:22].mean(dim=(1, 2))
    torch.testing.assert_close(towards[:, 0, 10, 20], expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(away - images, images - towards, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("draw", "factor"), [(0.0, 0.0), (0.25, 0.5), (0.5, 1.0), (1.0, 2.0)])
def test_saturation_scales_the_distance_from_gray(colours, draw, factor):
    gray = (colours * LUMA).sum(dim=1, keepdim=True)
    changed = augment(colours, middle(6, c13=draw), replace(RGB, saturation=1.0))
    torch.testing.assert_close(changed, gray + factor * (colours - gray), atol=2e-3, rtol=0)


@pytest.mark.parametrize("draw", [0.0, 0.2, 0.8, 1.0])
def test_a_turn_of_the_hue_keeps_luma_and_colour_strength(colours, draw):
    changed = augment(colours, middle(6, c14=draw), replace(RGB, hue=0.3))
    torch.testing.assert_close((changed * LUMA).sum(dim=1), (colours * LUMA).sum(dim=1), atol=1e-3, rtol=0)
    assert (changed - colours).abs().amax(dim=(1, 2, 3)).min() > 0.1
    back = augment(changed, middle(6, c14=1 - draw), replace(RGB, hue=0.3))
    torch.testing.assert_close(back, colours, atol=1e-3, rtol=0)


def test_a_full_turn_of_the_hue_comes_back(colours):
    torch.testing.assert_close(augment(colours, middle(6, c14=1.0), replace(RGB, hue=1.0)), colours, atol=1e-3, rtol=0)


def test_half_a_turn_of_the_hue_makes_the_complement(colours):
    gray = (colours * LUMA).sum(dim=1, keepdim=True)
    turned = augment(colours, middle(6, c14=1.0), replace(RGB, hue=0.5))
    torch.testing.assert_close(turned, 2 * gray - colours, atol=2e-3, rtol=0)


def test_gray_has_no_saturation_and_no_hue(images, uniform):
    coloured = replace(RGB, saturation=0.9, hue=0.5)
    gray = images.expand(-1, 3, -1, -1).contiguous()
    torch.testing.assert_close(augment(gray, uniform, coloured), gray, atol=2e-3, rtol=0)
    one_channel = replace(NONE, saturation=0.9, hue=0.5)
    torch.testing.assert_close(augment(images, uniform, one_channel), images, atol=1e-5, rtol=0)


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_erased_becomes_zero_or_noise(channels):
    twos = torch.full((100, channels, 48, 48), 2.0)
    uniform = draws(100, seed=0, epoch=0)
    blank = augment(twos, uniform, replace(NONE, erase=1.0))
    noisy = augment(twos, uniform, replace(NONE, erase=1.0, erase_with="noise"))
    hole = blank == 0
    torch.testing.assert_close(noisy[~hole], twos[~hole], atol=1e-5, rtol=0)
    inside = noisy[hole]
    assert inside.min() >= -1
    assert inside.max() <= 1
    assert inside.mean().abs() < 0.05
    assert inside.std() == pytest.approx(3**-0.5, abs=0.05)


def test_noise_differs_between_samples_pixels_and_channels():
    everywhere = middle(4, c8=0.0, c9=0.5, c10=0.5, c11=1.0)
    everywhere[:, 15:18] = draws(4, seed=0, epoch=0)[:, 15:18]
    noisy = augment(torch.zeros(4, 3, 48, 48), everywhere, replace(RGB, erase=1.0, erase_with="noise"))
    patch = noisy[:, :, 20:28, 20:28].flatten(2)
    for one, other in ((patch[0], patch[1]), (patch[:, 0], patch[:, 1]), (patch[..., :32], patch[..., 32:])):
        assert (one != other).float().mean() > 0.95
    correlations = torch.corrcoef(patch.flatten(0, 1)) - torch.eye(12)
    assert correlations.abs().max() < 0.6  # 64 pixels: chance alone gives up to about 0.4


def test_noise_is_the_same_again(images, uniform):
    noise = replace(NONE, erase=1.0, erase_with="noise")
    torch.manual_seed(0)
    first = augment(images, uniform, noise)
    torch.manual_seed(1)
    assert torch.equal(augment(images, uniform, noise), first)


def test_copies_of_a_sample_draw_their_own_numbers():
    index, copy = torch.zeros(50, dtype=torch.int64) + 7, torch.arange(50)
    rows = rows_of_draws(index, copy, samples=1000)
    assert rows[0] == 7
    assert len(rows.unique()) == 50
    assert (rows < 1000).all()
    uniform = draws(1000, seed=0, epoch=0)[rows]
    assert len(uniform.unique(dim=0)) == 50


def test_first_copies_draw_what_they_would_without_others():
    assert rows_of_draws(torch.arange(100), torch.zeros(100, dtype=torch.int64), 100).tolist() == list(range(100))


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
    assert uniform.shape == (2000, 26)
    assert (uniform.mean(dim=0) - 0.5).abs().max() < 0.03
    assert (torch.corrcoef(uniform.T) - torch.eye(26)).abs().max() < 0.1
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert uniform.mean().item() == pytest.approx(0.5, abs=0.01)
    assert len(uniform.unique(dim=0)) == 2000


def test_gray_stays_gray_under_imagenets_normalisation():
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    gray = torch.rand(16, 1, 8, 8).expand(-1, 3, -1, -1)
    m, s = (torch.tensor(values).view(3, 1, 1) for values in (mean, std))
    strong = replace(RGB, mean=mean, std=std, saturation=0.9, hue=0.5, contrast=0.5, brightness=0.5)
    changed = augment((gray - m) / s, draws(16, seed=0, epoch=0), strong) * s + m
    torch.testing.assert_close(changed, changed[:, :1].expand(-1, 3, -1, -1), atol=1e-5, rtol=0)
    assert (changed - gray).abs().max() > 0.05


def test_every_other_face_is_blurred_by_its_own_gaussian(images):
    recipe = replace(NONE, blur=2.0)
    changed = degrade(images, middle(6, c24=torch.tensor([0.0, 0.5, 0.625, 0.75, 0.875, 1.0])), recipe)
    torch.testing.assert_close(changed[:2], images[:2], atol=1e-6, rtol=0)
    for place, sigma in ((2, 0.5), (3, 1.0), (5, 2.0)):
        expected = cv2.GaussianBlur(images[place, 0].numpy(), (13, 13), sigma, borderType=cv2.BORDER_REPLICATE)
        np.testing.assert_allclose(changed[place, 0].numpy(), expected, atol=2e-3)


def test_blur_treats_channels_alike(colours):
    changed = degrade(colours, middle(6, c24=0.75), replace(RGB, blur=2.0))
    alone = degrade(colours[:, 1:2], middle(6, c24=0.75), replace(NONE, blur=2.0))
    torch.testing.assert_close(changed[:, 1:2], alone)


def test_noise_has_the_drawn_strength():
    flat = torch.zeros((3, 1, 48, 48))
    torch.manual_seed(0)
    noisy = degrade(flat, middle(3, c25=torch.tensor([0.2, 0.75, 1.0])), replace(NONE, noise=0.4))
    assert noisy[0].abs().max() == 0
    assert noisy[1].std().item() == pytest.approx(0.2, rel=0.1)
    assert noisy[2].std().item() == pytest.approx(0.4, rel=0.1)


def test_nothing_is_spoilt_unless_asked_for(images, uniform):
    assert torch.equal(degrade(images, uniform, FULL), images)
