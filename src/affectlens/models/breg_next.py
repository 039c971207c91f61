"""BReG-NeXt-50 (Hasani et al. 2020, arXiv:2004.08495): a small residual network whose shortcuts are a bounded, learned
function of the identity.

A 3x3 convolution to 32 channels, then pre-activation blocks (batch norm, ELU, 3x3 convolution, twice) in the row 7 x
32, 1 x 64, 8 x 64, 1 x 128, 7 x 128, where the single blocks halve the map; batch norm, ELU, mean over the map, linear:
3,072,696 parameters with 8 classes. A block's shortcut is atan(a x / sqrt(c^2 + 1)) / (a sqrt(c^2 + 1)) with two
learned numbers, a = c = 1 at the start; where the map is halved, it is averaged 2x2 and zero channels are added on both
sides.

Antoniadis (section 6.4.4, table 6.5) takes it from its authors' public code. He says that faces are prepared as for
DenseNet, which is 227 pixels; his code resizes them to 112, and so do the recipes.

From the copy of that code in his repository (breg_next.py): convolutions have a bias, and the shortcut starts from the
block's input. No weights of others.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pad

from affectlens.models.layers.evidence import Explaining, of_mean
from affectlens.models.layers.outputs import Outputs

FEATURES = 128
FIRST_PLACE = 0.5 / 4
"""Of its map (`layers.evidence`), as far as it comes through the convolutions."""


class BoundedShortcut(nn.Module):
    """(B, C, H, W) -> (B, C', H', W'): the bounded identity, halved and widened where the block does so."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.widen = outputs - inputs
        self.stride = stride
        self.a = nn.Parameter(torch.ones(()))
        self.c = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        scale = torch.sqrt(self.c.square() + 1)
        x = torch.atan(self.a * x / scale) / (self.a * scale)
        if self.stride > 1:
            x = avg_pool2d(x, self.stride)
        return pad(x, (0, 0, 0, 0, self.widen // 2, self.widen - self.widen // 2))


class Block(nn.Module):
    """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.shortcut = BoundedShortcut(inputs, outputs, stride)
        self.body = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.ELU(),
            nn.Conv2d(inputs, outputs, 3, stride, padding=1),
            nn.BatchNorm2d(outputs),
            nn.ELU(),
            nn.Conv2d(outputs, outputs, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.shortcut(x) + self.body(x)
        return out


def trunk(in_channels: int) -> nn.Sequential:
    """(B, C, H, W), sides a multiple of 4 -> (B, 128, H / 4, W / 4); the convolutions of the blocks start as in He et
    al. 2015, arXiv:1502.01852, the first one as torch's do, as in Antoniadis's code.
    """
    layers = nn.Sequential(
        nn.Conv2d(in_channels, 32, 3, padding=1),
        *(Block(32, 32) for _ in range(7)),
        Block(32, 64, stride=2),
        *(Block(64, 64) for _ in range(8)),
        Block(64, 128, stride=2),
        *(Block(128, 128) for _ in range(7)),
        nn.BatchNorm2d(128),
        nn.ELU(),
    )
    for module in layers[1:].modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_uniform_(module.weight)
    return layers


class BReGNeXt(Explaining):
    """(B, C, H, W) normalised images, sides a multiple of 4 -> (B, classes) logits."""

    first_place = FIRST_PLACE

    def __init__(self, classes: int, in_channels: int) -> None:
        super().__init__()
        self.trunk = trunk(in_channels)
        self.classifier = nn.Linear(FEATURES, classes)

    def forward(self, x: Tensor) -> Tensor | Outputs:
        space = self.trunk(x)
        logits: Tensor = self.classifier(space.mean(dim=(2, 3)))
        return Outputs(logits, explanation=of_mean(space, self.classifier.weight)) if self.explaining else logits


def build(classes: int, in_channels: int = 3) -> BReGNeXt:
    """A fresh network."""
    return BReGNeXt(classes, in_channels)
