"""Augmentation of whole batches of normalised faces, with randomness that is a function of (seed, epoch, sample)."""

import math

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, avg_pool2d, grid_sample

from affectlens.training.recipe import Recipe

_DRAWS = 12


def draws(samples: int, seed: int, epoch: int) -> Tensor:
    """(samples, 12) float32, uniform in [0, 1): row i holds all random numbers of sample i in that epoch."""
    generator = torch.Generator().manual_seed(seed * 100_003 + epoch)
    return torch.rand((samples, _DRAWS), generator=generator)


def augment(images: Tensor, uniform: Tensor, recipe: Recipe) -> Tensor:
    """Augment (B, C, H, W) normalised images with their (B, 12) rows of `draws`; 0 (mid-gray) fills what moves in.

    The steps and their strengths are the recipe's: flip, rotation, scale and shift in one resampling, then sharpness
    (a blend towards or away from the 3x3 mean), contrast, brightness, and a square of a tenth to a third of the side
    set to 0.
    """
    signed = uniform * 2 - 1
    images = _move(images, uniform, signed, recipe)
    if recipe.sharpness:
        amount = (signed[:, 5] * recipe.sharpness).view(-1, 1, 1, 1)
        smooth = avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False)
        images = images + amount * (images - smooth)
    contrast = (1 + signed[:, 6] * recipe.contrast).view(-1, 1, 1, 1)
    brightness = (signed[:, 7] * recipe.brightness).view(-1, 1, 1, 1)
    images = images * contrast + brightness
    return _erase(images, uniform, recipe) if recipe.erase else images


def _move(images: Tensor, uniform: Tensor, signed: Tensor, recipe: Recipe) -> Tensor:
    """Mirror, turn, scale and shift in one bilinear resampling."""
    angle = signed[:, 1] * math.radians(recipe.rotation_deg)
    zoom = 1 + signed[:, 2] * recipe.scale
    mirror = torch.where(uniform[:, 0] < recipe.flip, -1.0, 1.0)
    shift_x, shift_y = signed[:, 3] * 2 * recipe.shift, signed[:, 4] * 2 * recipe.shift
    cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    theta = torch.stack(
        [torch.stack([cos * mirror, -sin, shift_x], dim=1), torch.stack([sin * mirror, cos, shift_y], dim=1)], dim=1
    )
    grid = affine_grid(theta, list(images.shape), align_corners=False)
    return grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _erase(images: Tensor, uniform: Tensor, recipe: Recipe) -> Tensor:
    """Set one square of each chosen image to 0."""
    height, width = images.shape[2:]
    rows = torch.arange(height, device=images.device).view(1, -1, 1)
    columns = torch.arange(width, device=images.device).view(1, 1, -1)
    chosen = (uniform[:, 8] < recipe.erase).view(-1, 1, 1)
    centre_y, centre_x = (uniform[:, 9] * height).view(-1, 1, 1), (uniform[:, 10] * width).view(-1, 1, 1)
    half = ((0.05 + uniform[:, 11] * 0.12) * height).view(-1, 1, 1)
    hole = chosen & ((rows - centre_y).abs() < half) & ((columns - centre_x).abs() < half)
    return images.masked_fill(hole.unsqueeze(1), 0.0)
