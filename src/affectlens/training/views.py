"""Several views of a face, whose answers are averaged: the mirror image, or ten crops."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from affectlens.models.layers.outputs import Outputs, as_outputs

CROP = 7 / 8
"""Side of a crop of `ten-crop` as a part of the image's."""


def averaged(network: Callable[[Tensor], Tensor | Outputs], images: Tensor, views: str) -> Outputs:
    """(B, C, H, W) -> logits, and valence and arousal if the network gives them: their means over the views "one",
    "flip" or "ten-crop".
    """
    if views == "one":
        seen = [images]
    else:
        seen = [view for image in ([images] if views == "flip" else _crops(images)) for view in (image, image.flip(3))]
    answers = [as_outputs(network(view)) for view in seen]
    affect = [answer.affect for answer in answers if answer.affect is not None]
    logits = torch.stack([answer.logits for answer in answers]).mean(dim=0)
    return Outputs(logits, affect=torch.stack(affect).mean(dim=0) if affect else None)


class Averaged(nn.Module):
    """A network whose answers are `averaged` over its views, as a network that exports."""

    def __init__(self, network: nn.Module, views: str) -> None:
        super().__init__()
        self.network = network
        self.views = views

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """(B, C, H, W) -> (B, classes) logits, and (B, 2) valence and arousal if the network gives them."""
        answer = averaged(self.network, images, self.views)
        return answer.logits if answer.affect is None else (answer.logits, answer.affect)


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
