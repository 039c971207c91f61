"""A small residual network for small gray faces: the architecture of the bundled model.

Purpose: the accuracy of a ResNet-18 (He et al. 2016, arXiv:1512.03385) on 48x48 faces at under a third of its
arithmetic. Basic blocks (3x3, batch norm, ReLU, twice) at strides 2, 4, 8 and 16; the stem is one 3x3 convolution of
stride 2 without pooling, because there is little to throw away in 48 pixels. Widths are multiples of 32, which vector
units like; the third stage is deepened rather than widened, since at 6x6 a block costs little. Global average pooling,
dropout, one linear layer. With `se` each block's result is weighed by squeeze and excitation before the shortcut is
added (Hu et al. 2018, arXiv:1709.01507, figure 3). Initialisation: He for convolutions, the last batch norm of every
block starts at 0.

Our own design; no weights of others. With the default options and 8 classes: 99 M multiply-adds at 48x48, 3.2 M
parameters.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from affectlens.core.errors import BadSetting
from affectlens.models.layers.evidence import Explaining, of_mean
from affectlens.models.layers.outputs import Outputs
from affectlens.models.layers.squeeze_excitation import Excitation


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: (B, in, H, W) -> (B, out, H / stride, W / stride)."""

    def __init__(self, inputs: int, outputs: int, stride: int, se: int = 0) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.gate = Excitation(outputs, se, squeeze=True) if se else None
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        nn.init.zeros_(self.norm2.weight)

    def forward(self, x: Tensor) -> Tensor:
        residual = self.norm2(self.conv2(torch.relu(self.norm1(self.conv1(x)))))
        if self.gate is not None:
            residual = self.gate(residual.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return torch.relu(residual + self.shortcut(x))


class CompactResNet(Explaining):
    """(B, C, H, W) float -> (B, classes) logits; H and W at least 16."""

    first_place = 0.5 / 16  # around the first pixel

    def __init__(
        self, classes: int, in_channels: int, widths: Sequence[int], depths: Sequence[int], dropout: float, se: int
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, widths[0], 3, 2, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()
        )
        blocks: list[nn.Module] = []
        inputs = widths[0]
        for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            for position in range(depth):
                blocks.append(BasicBlock(inputs, width, stride=2 if stage > 0 and position == 0 else 1, se=se))
                inputs = width
        self.blocks = nn.Sequential(*blocks)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(inputs, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @property
    def backbone(self) -> nn.Module:
        """(B, C, H, W) -> the map before pooling, (B, D, H / 16, W / 16)."""
        return nn.Sequential(self.stem, self.blocks)

    def forward(self, x: Tensor) -> Tensor | Outputs:
        space = self.blocks(self.stem(x))
        logits: Tensor = self.head(self.dropout(space.mean(dim=(2, 3))))
        return Outputs(logits, explanation=of_mean(space, self.head.weight)) if self.explaining else logits


def build(
    classes: int,
    in_channels: int = 1,
    widths: Sequence[int] = (32, 64, 128, 256),
    depths: Sequence[int] = (2, 3, 3, 2),
    dropout: float = 0.2,
    se: int = 0,
) -> CompactResNet:
    """A fresh network; `se` is the reduction of its gates, 0 for none.

    Raises:
        BadSetting: `widths` and `depths` differ in length or are below 1, `dropout` is outside [0, 1), or `se` below 0.
    """
    if len(widths) != len(depths):
        raise BadSetting(f"widths and depths must have the same length, got {len(widths)} and {len(depths)}")
    if min(*widths, *depths) < 1:
        raise BadSetting(f"widths and depths must be at least 1, got {list(widths)} and {list(depths)}")
    if not 0 <= dropout < 1:
        raise BadSetting(f"dropout must be in [0, 1), got {dropout}")
    if se < 0:
        raise BadSetting(f"se must be at least 0, got {se}")
    return CompactResNet(classes, in_channels, widths, depths, dropout, se)
