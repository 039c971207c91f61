"""Test-time augmentation: averages the outputs for several views of a face (its mirror image, or ten crops).

The ten crops have 7/8 of the side and are enlarged to the whole face: of 48 pixels, 42. Caciolai, who tried ten crops
and dropped them, took 40 of 48 pixels without enlarging them.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from affectlens.core.outputs import OUTPUTS
from affectlens.core.session import EXPLANATION
from affectlens.models.layers.network import Network
from affectlens.models.layers.outputs import Outputs, as_outputs

CROP = 7 / 8
"""Side of a crop of `ten-crop` as a part of the image's."""


def averaged(network: Callable[[Tensor], Tensor | Outputs], images: Tensor, views: str) -> Outputs:
    """(B, C, H, W) -> the means of logits and of the outputs that are exported (`core.outputs`) over the views "one",
    "flip" or "ten-crop". The explanation is that of the face itself; crops have none.
    """
    if views == "one":
        seen = [images]
    else:
        seen = [view for image in ([images] if views == "flip" else _crops(images)) for view in (image, image.flip(3))]
    outputs = [as_outputs(network(view)) for view in seen]
    names = [name for name in outputs[0].others if OUTPUTS[name].exported]
    return Outputs(
        torch.stack([view.logits for view in outputs]).mean(dim=0),
        others={name: torch.stack([view.others[name] for view in outputs]).mean(dim=0) for name in names},
        explanation=outputs[0].explanation if views != "ten-crop" else None,
    )


class Averaged(nn.Module):
    """A network whose outputs are `averaged` over its views, as a network that exports."""

    def __init__(self, network: Network, views: str) -> None:
        super().__init__()
        self.network: Network = network
        self.views = views

    def named_outputs(self, images: Tensor) -> dict[str, Tensor]:
        """(B, C, H, W) -> logits, the other outputs and, if the network gives it, the explanation, by the names that
        they have in the file.
        """
        given = averaged(self.network, images, self.views)
        seen = {} if given.explanation is None else {EXPLANATION: given.explanation}
        return {"logits": given.logits, **given.others, **seen}

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """`named_outputs` without the names; the logits alone where there is nothing else."""
        found = tuple(self.named_outputs(images).values())
        return found if len(found) > 1 else found[0]


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
