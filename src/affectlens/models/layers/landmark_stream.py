"""The landmark stream of POSTER++ and of the Two-Stream network: MobileFaceNet's maps, frozen where it is trained."""

from pathlib import Path

import torch
from torch import Tensor, nn

from affectlens.models.layers.frozen import PartlyFrozen
from affectlens.models.layers.mobile_facenet import MobileFaceNet

WIDTHS = (64, 128, 256)
"""Channels of the three maps."""
INPUTS = ("normalised", "bgr")
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class LandmarkStream(nn.Module):
    """(B, 3, S, S) RGB -> maps (B, 64, S / 4, S / 4), (B, 128, S / 8, S / 8), (B, 256, S / 16, S / 16).

    `file` is the published checkpoint, "" for none; `taken_as` "bgr" undoes ImageNet's normalisation and turns RGB to
    BGR in [0, 1], on which the checkpoint was trained.
    """

    def __init__(self, file: str, taken_as: str, side_px: int) -> None:
        super().__init__()
        self.file, self.taken_as = file, taken_as
        self.sides = (side_px // 4, side_px // 8, side_px // 16)
        self.network = MobileFaceNet()
        del self.network.output_layer  # the landmarks themselves are not used
        self.narrow = nn.Conv2d(512, 256, 3, padding=1)
        self.register_buffer("mean", torch.tensor(_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(3, 1, 1), persistent=False)

    def load(self) -> None:
        """The checkpoint, if one is named.  Raises BadModelFile."""
        if self.file:
            self.network.load_checkpoint(Path(self.file).expanduser())

    def settle(self, whole: PartlyFrozen) -> str:
        """Freeze MobileFaceNet within `whole` if it has a checkpoint; else the reason why it learns."""
        if not self.file:
            return (
                "the landmark stream learns, because no trained MobileFaceNet is named "
                "(--set model_options.landmark_file=FILE)"
            )
        whole.freeze(self.network)
        return ""

    def forward(self, x: Tensor) -> list[Tensor]:
        if self.taken_as == "bgr":
            x = (x * self.get_buffer("std") + self.get_buffer("mean")).flip(1)
        first, second, third = self.network.maps(x)
        return [first, second, self.narrow(third)]
