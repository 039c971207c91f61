"""A VGG for 48x48 gray faces with spatial transformer and multiple self-attention (Caciolai, after Simonyan and
Zisserman 2015, arXiv:1409.1556).

Four blocks of two 3x3 convolutions with batch norm and ReLU at 64, 128, 256 and 512 channels, each followed by a
pooling; then 4608-4096-4096-classes with ReLU and dropout 0.5 (40,376,519 parameters with 7 classes). After the first
block, on 64x24x24, come the spatial transformer (`stn`: 49,757,965 together) and the multiple self-attention (`msa`:
49,876,829; 50,163,542 in the form `joint`, the size of the author's released weights).

Left open and chosen: the order "transformer, then attention"; either may stand without the other. The report's row with
the transformer alone has no class in the author's code; attention alone has one there, but no row in the report. No
weights of others; there is no loader for those that the author released.
"""

from torch import Tensor, nn

from affectlens.core.errors import BadSetting
from affectlens.models.layers.multi_self_attention import Form, MultiSelfAttention
from affectlens.models.layers.network import Network
from affectlens.models.layers.spatial_transformer import SpatialTransformer


def _block(inputs: int, outputs: int) -> nn.Sequential:
    """(B, inputs, H, W) -> (B, outputs, H / 2, W / 2)."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )


def _localiser() -> nn.Sequential:
    """(B, 64, 24, 24) -> (B, 640, 3, 3)."""
    return nn.Sequential(
        nn.Conv2d(64, 512, 5), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(512, 640, 5), nn.MaxPool2d(2), nn.ReLU()
    )


class CustomVGG(Network):
    """(B, C, 48, 48) float in [0, 1] -> (B, classes) logits."""

    def __init__(self, classes: int, in_channels: int, stn: bool, attention: nn.Module | None, dropout: float) -> None:
        super().__init__()
        self.block1 = _block(in_channels, 64)
        self.stn = SpatialTransformer(_localiser(), features=640 * 3 * 3, hidden=64) if stn else nn.Identity()
        self.attention = attention if attention is not None else nn.Identity()
        self.block2 = _block(64, 128)
        self.block3 = _block(128, 256)
        self.block4 = _block(256, 512)
        self.classifier = nn.Sequential(
            nn.Linear(512 * 3 * 3, 4096),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(4096, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.attention(self.stn(self.block1(x)))
        x = self.block4(self.block3(self.block2(x)))
        logits: Tensor = self.classifier(x.flatten(1))
        return logits


def build(
    classes: int,
    in_channels: int = 1,
    stn: bool = False,
    msa: bool = False,
    msa_form: Form = "separate",
    dropout: float = 0.5,
) -> CustomVGG:
    """A fresh network.

    Raises:
        BadSetting: `dropout` is outside [0, 1).
    """
    if not 0 <= dropout < 1:
        raise BadSetting(f"dropout must be in [0, 1), got {dropout}")
    attention = MultiSelfAttention(64, 24, form=msa_form) if msa else None
    return CustomVGG(classes, in_channels, stn, attention, dropout)
