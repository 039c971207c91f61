"""Augmentation of whole batches of normalised faces, with randomness that is a function of (seed, epoch, sample)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, avg_pool2d, conv2d, grid_sample, pad

from affectlens.training.recipe import Recipe

_DRAWS = (12, 6, 2, 4, 2)
"""Columns of random numbers; later steps got a block of their own, so that the earlier ones kept their numbers."""


class Draw:
    """Columns of `draws` by the step that uses them. Two steps share a column where one of them never shows in the
    other: brightness and exposure share `LIGHT`, the drawn label and the colour of a hole column 15.
    """

    FLIP, ROTATION, SCALE, SHIFT_X, SHIFT_Y, SHARPNESS, CONTRAST, LIGHT = range(8)
    ERASE, HOLE_Y, HOLE_X, HOLE_SIZE = range(8, 12)
    SHEAR, SATURATION, HUE, LABEL = range(12, 16)
    HOLE_NOISE = slice(15, 18)
    AUTOCONTRAST, HOLE_ASPECT, MIX, MIX_SHARE, MIX_Y, MIX_X, BLUR, NOISE = range(18, 26)


_COPIES = 7919  # a prime: copy c of sample i has the numbers that sample i + c * 7919 has for its first


def draws(samples: int, seed: int, epoch: int) -> Tensor:
    """(samples, 26) float32, uniform in [0, 1): row i holds all random numbers of sample i in that epoch."""
    generator = torch.Generator().manual_seed(seed * 100_003 + epoch)
    return torch.cat([torch.rand((samples, n), generator=generator) for n in _DRAWS], dim=1)


def rows_of_draws(index: Tensor, copy: Tensor, samples: int) -> Tensor:
    """(B,) rows of `draws` for the `copy`-th time (from 0) that each sample comes in an epoch."""
    return (index + copy * _COPIES) % samples


def augment(images: Tensor, uniform: Tensor, recipe: Recipe) -> Tensor:
    """Augment (B, C, H, W) normalised images with their (B, 26) rows of `draws`; 0, which is mid-gray or black by
    the recipe's mean, fills what moves in.

    The steps and their strengths are the recipe's: flip, rotation, shear, scale and shift in one resampling, then
    sharpness (a blend towards or away from the 3x3 mean), saturation and hue (RGB only), autocontrast (each channel
    stretched to the whole range), contrast, brightness (an addition), exposure (a factor), and a hole: a square of a
    tenth to a third of the side, or a rectangle with a share `erase_area` of the area and sides at 0.3 to 3.3 (Zhong et
    al. 2020, arXiv:1708.04896; the default shares, 0.02 to 0.33, are torchvision's, where Zhong's code has up to 0.4).
    """
    signed = uniform * 2 - 1
    images = move(images, uniform, recipe)
    if recipe.sharpness:
        amount = (signed[:, Draw.SHARPNESS] * recipe.sharpness).view(-1, 1, 1, 1)
        smooth = avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False)
        images = images + amount * (images - smooth)
    if images.shape[1] == 3 and (recipe.saturation or recipe.hue):
        mean, std = _normalisation(images, recipe)
        pixels = images * std + mean  # gray has no colour there, whatever the normalisation of the channels
        turned = _colour(pixels, 1 + signed[:, Draw.SATURATION] * recipe.saturation, signed[:, Draw.HUE] * recipe.hue)
        images = (turned - mean) / std
    if recipe.autocontrast:
        images = torch.where(
            (uniform[:, Draw.AUTOCONTRAST] < recipe.autocontrast).view(-1, 1, 1, 1), _stretch(images, recipe), images
        )
    contrast = (1 + signed[:, Draw.CONTRAST] * recipe.contrast).view(-1, 1, 1, 1)
    brightness = (signed[:, Draw.LIGHT] * recipe.brightness).view(-1, 1, 1, 1)
    mean, std = _normalisation(images, recipe)
    pivot, scale = (mean.mean() - mean) / std, std.mean() / std  # the same gray and the same light in all channels
    images = images * contrast + (1 - contrast) * pivot + brightness * scale
    if recipe.exposure:
        light = (1 + signed[:, Draw.LIGHT] * recipe.exposure).view(-1, 1, 1, 1)
        images = images * light + (light - 1) * mean / std
    return _erase(images, uniform, recipe) if recipe.erase else images


def degrade(images: Tensor, uniform: Tensor, recipe: Recipe) -> Tensor:
    """What a poor camera does to (B, C, H, W) normalised images, by their (B, 26) rows of `draws`: a Gaussian blur and
    then noise, each of half of the faces, of a uniform strength up to the recipe's. Noise is torch's own, seeded by the
    caller.
    """
    strength = (2 * uniform - 1).clamp_min(0)
    if recipe.blur:
        images = _blurred(images, strength[:, Draw.BLUR] * recipe.blur)
    if recipe.noise:
        images = images + torch.randn_like(images) * (strength[:, Draw.NOISE] * recipe.noise).view(-1, 1, 1, 1)
    return images


def _blurred(images: Tensor, deviation_px: Tensor) -> Tensor:
    """(B, C, H, W) under a Gaussian of its own each; the edge is repeated."""
    batch, channels, height, width = images.shape
    reach = max(math.ceil(3 * float(deviation_px.max())), 1)
    steps = torch.arange(-reach, reach + 1, device=images.device)
    kernel = torch.exp(-0.5 * (steps / deviation_px.clamp_min(1e-3).unsqueeze(1)) ** 2)
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)
    flat = pad(images.reshape(1, batch * channels, height, width), [reach] * 4, mode="replicate")
    flat = conv2d(flat, kernel.view(-1, 1, 1, 2 * reach + 1), groups=batch * channels)
    flat = conv2d(flat, kernel.view(-1, 1, 2 * reach + 1, 1), groups=batch * channels)
    return flat.view(batch, channels, height, width)


def _normalisation(images: Tensor, recipe: Recipe) -> tuple[Tensor, Tensor]:
    """(1, C, 1, 1) mean and deviation of the recipe's channels."""
    mean, std = (torch.tensor(values, device=images.device).view(1, -1, 1, 1) for values in (recipe.mean, recipe.std))
    return mean, std


def move(images: Tensor, uniform: Tensor, recipe: Recipe) -> Tensor:
    """The steps of `augment` that move pixels: mirror, turn, shear, scale and shift in one bilinear resampling."""
    signed = uniform * 2 - 1
    angle = signed[:, Draw.ROTATION] * math.radians(recipe.rotation_deg)
    zoom = 1 + signed[:, Draw.SCALE] * recipe.scale
    mirror = torch.where(uniform[:, Draw.FLIP] < recipe.flip, -1.0, 1.0)
    shift_x = signed[:, Draw.SHIFT_X] * 2 * recipe.shift
    shift_y = signed[:, Draw.SHIFT_Y] * 2 * recipe.shift
    shear = torch.tan(signed[:, Draw.SHEAR] * math.radians(recipe.shear_deg))
    cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    theta = torch.stack(
        [
            torch.stack([cos * mirror, cos * shear - sin, shift_x], dim=1),
            torch.stack([sin * mirror, sin * shear + cos, shift_y], dim=1),
        ],
        dim=1,
    )
    grid = affine_grid(theta, list(images.shape), align_corners=False)
    return grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _colour(images: Tensor, saturation: Tensor, hue: Tensor) -> Tensor:
    """Scale the chroma of (B, 3, H, W) RGB by (B,) `saturation` and turn it by (B,) `hue`, in parts of a circle.

    Chroma is what remains beside BT.601 luma: the I and Q of YIQ, whose plane the hue turns in.
    """
    to_yiq = torch.tensor([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
    to_yiq = to_yiq.to(images.device, torch.float32)
    cos, sin = saturation * torch.cos(2 * math.pi * hue), saturation * torch.sin(2 * math.pi * hue)
    zero, one = torch.zeros_like(hue), torch.ones_like(hue)
    turn = torch.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos], dim=1).view(-1, 3, 3)
    return torch.einsum("bij,bjhw->bihw", torch.linalg.inv(to_yiq) @ turn @ to_yiq, images)


def _stretch(images: Tensor, recipe: Recipe) -> Tensor:
    """Darkest and brightest pixel of each channel become black and white; a channel of one value stays as it is."""
    mean, std = _normalisation(images, recipe)
    low, high = images.amin(dim=(2, 3), keepdim=True), images.amax(dim=(2, 3), keepdim=True)
    stretched = ((images - low) / (high - low) - mean) / std
    return torch.where(high - low > 1e-3, stretched, images)  # less is rounding, far below one step of 255


def _erase(images: Tensor, uniform: Tensor, recipe: Recipe) -> Tensor:
    """Set one hole in each chosen image to 0, or to noise of the scale of normalised images."""
    height, width = images.shape[2:]
    rows = torch.arange(height, device=images.device).view(1, -1, 1)
    columns = torch.arange(width, device=images.device).view(1, 1, -1)
    chosen = (uniform[:, Draw.ERASE] < recipe.erase).view(-1, 1, 1)
    centre_y, centre_x, half_y, half_x = (
        value.view(-1, 1, 1) for value in _HOLES[recipe.erase_shape](uniform, height, width, recipe.erase_area)
    )
    hole = chosen & ((rows - centre_y).abs() < half_y) & ((columns - centre_x).abs() < half_x)
    if recipe.erase_with == "zero":
        return images.masked_fill(hole.unsqueeze(1), 0.0)
    pixels = torch.arange(images[0].numel(), device=images.device).view(1, *images.shape[1:])
    phase = uniform[:, Draw.HOLE_NOISE].sum(dim=1).view(-1, 1, 1, 1) + pixels
    noise = torch.frac(torch.sin(phase * 12.9898) * 43758.5453).abs() * 2 - 1  # a hash: no state to restore
    return torch.where(hole.unsqueeze(1), noise, images)


def _square(uniform: Tensor, height: int, width: int, area: Sequence[float]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(B,) centre y, centre x, half height, half width in pixels of squares that may reach over the edge."""
    del area  # of rectangles
    half = (0.05 + uniform[:, Draw.HOLE_SIZE] * 0.12) * height
    return uniform[:, Draw.HOLE_Y] * height, uniform[:, Draw.HOLE_X] * width, half, half


def _rectangle(
    uniform: Tensor, height: int, width: int, area: Sequence[float]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The same of rectangles within the image; a side that would exceed the image is as long as the image."""
    least, most = area
    covered = least + uniform[:, Draw.HOLE_SIZE] * (most - least)
    aspect = torch.exp(math.log(0.3) + uniform[:, Draw.HOLE_ASPECT] * math.log(3.3 / 0.3))
    tall, wide = (covered * aspect).sqrt().clamp_max(1), (covered / aspect).sqrt().clamp_max(1)
    centre_y = tall / 2 + uniform[:, Draw.HOLE_Y] * (1 - tall)
    centre_x = wide / 2 + uniform[:, Draw.HOLE_X] * (1 - wide)
    half_y, half_x = tall * height / 2, wide * width / 2
    return centre_y * height - 0.5, centre_x * width - 0.5, half_y, half_x


_HOLES = {"square": _square, "rectangle": _rectangle}
