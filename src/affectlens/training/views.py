"""Several views of a face, whose logits are averaged: the mirror image, or ten crops."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

CROP = 7 / 8
"""Side of a crop of `ten-crop` as a part of the image's."""


def averaged(network: Callable[[Tensor], Tensor], images: Tensor, views: str) -> Tensor:
    """(B, C, H, W) -> (B, classes) mean of the logits over the views "one", "flip" or "ten-crop"."""
    if views == "one":
        return network(images)
    seen = [images] if views == "flip" else _crops(images)
    return torch.stack([network(view) for image in seen for view in (image, image.flip(3))]).mean(dim=0)


class Averaged(nn.Module):
    """A network whose logits are `averaged` over its views, as a network."""

    def __init__(self, network: nn.Module, views: str) -> None:
        super().__init__()
        self.network = network
        self.views = views

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, classes)."""
        return averaged(self.network, images, self.views)


def _crops(images: Tensor) -> list[Tensor]:
    """Centre and corners (Krizhevsky et al. 2012, section 4.1), enlarged to the size of the images."""
    height, width = images.shape[2:]
    tall, wide = round(height * CROP), round(width * CROP)
    down, right = height - tall, width - wide
    corners = [(down // 2, right // 2), (0, 0), (0, right), (down, 0), (down, right)]
    return [
        interpolate(images[:, :, y : y + tall, x : x + wide], (height, width), mode="bilinear", align_corners=False)
        for y, x in corners
    ]
