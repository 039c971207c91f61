"""MobileFaceNet (Chen et al. 2018, arXiv:1804.07573) as a network for 68 landmarks, the landmark stream of POSTER++.

Layers are named as in the published checkpoint (cunjian/pytorch_face_landmark, 68 points of 300-W; a file that the user
names), so that its keys fit. Left open by its users: it was trained on BGR in [0, 1], but POSTER++ feeds RGB
normalised as for ImageNet; see `models.poster`. Da Re's figure shows 39 points; the checkpoint that POSTER++ loads has
68, and neither network uses more than its maps. Da Re's text counts a layer's inputs in the variance of Kaiming's
initialisation; the code, and so this, its outputs ("fan_out").
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from affectlens.models.layers.published import copy_into, state_in

LANDMARKS = 68


class _Block(nn.Module):
    """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride): convolution, norm and, where asked for, PReLU."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1, linear: bool = False
    ) -> None:
        super().__init__()
        padding = kernel // 2 if kernel < 7 else 0
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.prelu = nn.Identity() if linear else nn.PReLU(outputs)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.prelu(self.bn(self.conv(x)))
        return made


class _DepthWise(nn.Module):
    """Widen, convolve each channel by itself, narrow; with a residual where stride and width stay."""

    def __init__(self, inputs: int, outputs: int, inside: int, stride: int, residual: bool) -> None:
        super().__init__()
        self.conv = _Block(inputs, inside)
        self.conv_dw = _Block(inside, inside, 3, stride, groups=inside)
        self.project = _Block(inside, outputs, linear=True)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.project(self.conv_dw(self.conv(x)))
        return x + made if self.residual else made


class _Residual(nn.Module):
    def __init__(self, width: int, blocks: int, inside: int) -> None:
        super().__init__()
        self.model = nn.Sequential(*(_DepthWise(width, width, inside, 1, residual=True) for _ in range(blocks)))

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.model(x)
        return made


class _Output(nn.Module):
    """(B, 512, 7, 7) -> (B, 136) by a convolution over the whole map of each channel."""

    def __init__(self, coordinates: int) -> None:
        super().__init__()
        self.conv_6_dw = _Block(512, 512, 7, groups=512, linear=True)
        self.linear = nn.Linear(512, coordinates, bias=False)
        self.bn = nn.BatchNorm1d(coordinates)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.bn(self.linear(self.conv_6_dw(x).flatten(1)))
        return made


class MobileFaceNet(nn.Module):
    """(B, 3, 112, 112) -> (B, 68, 2) landmarks, x and y from 0 to 1 of the image's width and height.

    `maps` gives (B, 64, 28, 28), (B, 128, 14, 14) and (B, 512, 7, 7) and takes other sizes too.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = _Block(3, 64, 3, 2)
        self.conv2_dw = _Block(64, 64, 3, groups=64)
        self.conv_23 = _DepthWise(64, 64, 128, 2, residual=False)
        self.conv_3 = _Residual(64, 4, 128)
        self.conv_34 = _DepthWise(64, 128, 256, 2, residual=False)
        self.conv_4 = _Residual(128, 6, 256)
        self.conv_45 = _DepthWise(128, 128, 512, 2, residual=False)
        self.conv_5 = _Residual(128, 2, 256)
        self.conv_6_sep = _Block(128, 512)
        self.output_layer = _Output(2 * LANDMARKS)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def load_checkpoint(self, file: Path) -> None:
        """The published weights.  Raises BadModelFile where keys or shapes differ."""
        copy_into(self, state_in(file), f"MobileFaceNet in {file}")

    def maps(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Maps at a quarter, an eighth and a sixteenth of the image's side."""
        first = self.conv_3(self.conv_23(self.conv2_dw(self.conv1(x))))
        second = self.conv_4(self.conv_34(first))
        third = self.conv_6_sep(self.conv_5(self.conv_45(second)))
        return first, second, third

    def forward(self, x: Tensor) -> Tensor:
        points: Tensor = self.output_layer(self.maps(x)[2])
        return torch.unflatten(points, 1, (LANDMARKS, 2))
