"""Two faces in one picture, with the mean of their targets: mixup and CutMix, as functions of `augment.draws`."""

import torch
from torch import Tensor

from affectlens.training.augment import Draw
from affectlens.training.recipe import Recipe


def mix(images: Tensor, target: Tensor, uniform: Tensor, recipe: Recipe) -> tuple[Tensor, Tensor]:
    """Mix (B, C, H, W) images and (B, classes) distributions with those before them, by their (B, 26) rows of `draws`.

    A face is, with the recipe's probabilities, blended with the other (`mixup`; Zhang et al. 2018, arXiv:1710.09412),
    gets a rectangle of it (`cutmix`; Yun et al. 2019, arXiv:1905.04899), or stays as it is. Its share is uniform in
    [0, 1), the Beta(1, 1) of both papers; after the edges have cut the rectangle, the target follows the pixels.
    """
    blended = (uniform[:, Draw.MIX] < recipe.mixup).view(-1, 1, 1, 1)
    patched = (uniform[:, Draw.MIX] >= 1 - recipe.cutmix).view(-1, 1, 1, 1)
    share = torch.where(blended, uniform[:, Draw.MIX_SHARE].view(-1, 1, 1, 1), 0.0)
    share = share + (patched & _rectangle(images, uniform))
    share = share.expand(-1, 1, *images.shape[2:])
    images = torch.lerp(images, images.roll(1, dims=0), share)
    return images, torch.lerp(target, target.roll(1, dims=0), share.mean(dim=(1, 2, 3)).unsqueeze(1).to(target.dtype))


def _rectangle(images: Tensor, uniform: Tensor) -> Tensor:
    """(B, 1, H, W) true within a rectangle of the image's shape, of a drawn part of its area, around a drawn centre."""
    height, width = images.shape[2:]
    side = uniform[:, Draw.MIX_SHARE].sqrt().view(-1, 1, 1, 1)
    rows = (torch.arange(height, device=images.device) + 0.5).view(1, 1, -1, 1) / height
    columns = (torch.arange(width, device=images.device) + 0.5).view(1, 1, 1, -1) / width
    centre_y, centre_x = (uniform[:, column].view(-1, 1, 1, 1) for column in (Draw.MIX_Y, Draw.MIX_X))
    return ((rows - centre_y).abs() < side / 2) & ((columns - centre_x).abs() < side / 2)
