"""DINOv2 with outputs for facial attributes: Da Re's stage on CelebA, from whose backbone a Two-Stream network starts.

40 independent attributes (binary cross-entropy, `losses.attribute_bce`; the thesis names no loss). CelebA has no
expressions; of its two labels not_smiling and smiling the logits are 0 and the output for the attribute Smiling, so
that their softmax is its sigmoid.
"""

from typing import Any

import torch
from torch import Tensor, nn

from affectlens.core.errors import BadSetting
from affectlens.models.layers import dinov2
from affectlens.models.layers.colour import as_rgb
from affectlens.models.layers.network import Network
from affectlens.models.layers.outputs import Outputs

ATTRIBUTES = 40
_SMILING = 31
"""Place of Smiling among CelebA's attributes."""


class Attributes(Network):
    """(B, 1 or 3, S, S) float -> logits (B, 2), the CLS token as features (B, D) and attributes (B, 40), as logits."""

    backbone: Any

    def __init__(self, backbone: str, image_px: int) -> None:
        super().__init__()
        self.size, self.image_px = backbone, image_px
        self.backbone = dinov2.create(backbone, image_px)
        self.feature_width = int(self.backbone.num_features)
        self.head = nn.Linear(self.feature_width, ATTRIBUTES)

    def load_pretrained(self, file: str = "") -> None:
        """DINOv2's weights.  Raises BadModelFile."""
        dinov2.load(self.backbone, self.size, self.image_px, file)

    def forward(self, x: Tensor) -> Outputs:
        features = self.backbone(as_rgb(x))
        attributes = self.head(features)
        smiling = attributes[:, _SMILING]
        return Outputs(torch.stack([torch.zeros_like(smiling), smiling], dim=1), features, {"attributes": attributes})


def build(classes: int, in_channels: int = 3, backbone: str = "base", image_px: int = 224) -> Attributes:
    """A fresh network for faces of `image_px`; gray faces are shown to all three channels.

    Raises:
        BadSetting: the labels are not CelebA's two, or an option has no such value.
    """
    del in_channels  # either goes
    if classes != 2:
        raise BadSetting(
            f"the attribute network needs CelebA's two labels not_smiling and smiling, got {classes} classes"
        )
    return Attributes(backbone, image_px)
