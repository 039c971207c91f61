"""IR-50, the residual network of ArcFace (Deng et al. 2019, arXiv:1801.07698), without its stage of 512 channels, as
POSTER++ uses it: maps of 64, 128 and 256 channels.

Layers are named as in POSTER++'s code; its weights ("ir50.pth") may also number the units of all stages in one row, as
those of face.evoLVe, from which they come, do.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from affectlens.models.layers.landmark_stream import WIDTHS
from affectlens.models.layers.published import copy_into, state_in

UNITS = (3, 4, 14)


class _Unit(nn.Module):
    """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.shortcut_layer: nn.Module = nn.MaxPool2d(1, stride)
        if inputs != outputs:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        made, shortcut = self.res_layer(x), self.shortcut_layer(x)
        return torch.add(made, shortcut)


def _stage(inputs: int, outputs: int, units: int) -> nn.Sequential:
    return nn.Sequential(_Unit(inputs, outputs, 2), *(_Unit(outputs, outputs, 1) for _ in range(units - 1)))


class IR50(nn.Module):
    """(B, 3, S, S) -> maps (B, 64, S / 2, S / 2), (B, 128, S / 4, S / 4), (B, 256, S / 8, S / 8)."""

    def __init__(self, units: Sequence[int] = UNITS) -> None:
        super().__init__()
        self.input_layer = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.PReLU(64))
        self.body1, self.body2, self.body3 = (
            _stage(inputs, outputs, count)
            for inputs, outputs, count in zip((64, *WIDTHS[:2]), WIDTHS, units, strict=True)
        )

    def load_checkpoint(self, file: Path) -> None:
        """The published weights, in either layout.  Raises BadModelFile where keys or shapes differ."""
        state = {self._by_stage(name): value for name, value in state_in(file).items()}
        copy_into(self, state, f"IR-50 in {file}")

    def _by_stage(self, name: str) -> str:
        """`body.N.REST` becomes `body1.I.REST`, `body2...` or `body3...`; other names stay as they are."""
        head, _, rest = name.partition(".")
        number, _, rest = rest.partition(".")
        if head != "body" or not number.isdecimal():
            return name
        place = int(number)
        for stage in ("body1", "body2", "body3"):
            units = len(getattr(self, stage))
            if place < units:
                return f"{stage}.{place}.{rest}"
            place -= units
        return name  # of the stage that POSTER++ leaves out

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        first = self.body1(self.input_layer(x))
        second = self.body2(first)
        return first, second, self.body3(second)
