"""The landmark stream of POSTER++ and of the Two-Stream network: MobileFaceNet's maps, frozen if trained weights are
given.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from affectlens.models.layers.mobile_facenet import MobileFaceNet

WIDTHS = (64, 128, 256)
"""Channels of the three maps."""
INPUTS = ("normalised", "bgr")
FILES = {
    "landmark_file": "MobileFaceNet's weights (mobilefacenet_model_best.pth.tar, which github.com/Talented-Q/POSTER_V2 "
    "links to)"
}
"""Option of networks that have this stream -> the file that it names."""


class LandmarkStream(nn.Module):
    """(B, 3, S, S) RGB -> maps (B, 64, S / 4, S / 4), (B, 128, S / 8, S / 8), (B, 256, S / 16, S / 16).

    `file` is the published checkpoint, "" for none; `taken_as` "bgr" undoes the normalisation of the faces by `mean`
    and `std`, of one channel or three, and turns RGB to BGR in [0, 1], on which the checkpoint was trained.
    """

    def __init__(
        self, file: str, taken_as: str, side_px: int, mean: Sequence[float] = (0.0,), std: Sequence[float] = (1.0,)
    ) -> None:
        super().__init__()
        self.file, self.taken_as = file, taken_as
        self.sides = (side_px // 4, side_px // 8, side_px // 16)
        self.network = MobileFaceNet()
        del self.network.output_layer  # the landmarks themselves are not used
        self.narrow = nn.Conv2d(512, 256, 3, padding=1)
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def load(self) -> None:
        """The checkpoint, if one is named.  Raises BadModelFile."""
        if self.file:
            self.network.load_checkpoint(Path(self.file).expanduser())

    def forward(self, x: Tensor) -> list[Tensor]:
        if self.taken_as == "bgr":
            x = (x * self.get_buffer("std") + self.get_buffer("mean")).flip(1)
        first, second, third = self.network.maps(x)
        return [first, second, self.narrow(third)]
