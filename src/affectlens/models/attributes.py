"""DINOv2 with outputs for facial attributes: Da Re's stage on CelebA, whose backbone a Two-Stream network begins with.

40 attributes, each by itself (binary cross-entropy, `losses.attribute_bce`). CelebA has no expressions; of its two
labels not_smiling and smiling the logits are 0 and the output for the attribute Smiling, so that their softmax is its
sigmoid. Weights of DINOv2: Apache-2.0, through the Hugging Face hub.
"""

from typing import Any

import timm
import torch
from torch import Tensor, nn

from affectlens.core.errors import BadSetting
from affectlens.models.layers.colour import as_rgb
from affectlens.models.layers.outputs import Outputs
from affectlens.models.layers.published import copy_into, timm_state
from affectlens.models.two_stream import BACKBONES

ATTRIBUTES = 40
_SMILING = 31
"""Place of Smiling among CelebA's attributes."""


class Attributes(nn.Module):
    """(B, 1 or 3, S, S) float -> logits (B, 2), the CLS token as features (B, D) and attributes (B, 40), as logits."""

    backbone: Any

    def __init__(self, backbone: str, image_px: int) -> None:
        super().__init__()
        self.name, self.image_px = BACKBONES[backbone], image_px
        self.backbone = timm.create_model(self.name, num_classes=0, img_size=image_px)
        self.features = int(self.backbone.num_features)
        self.head = nn.Linear(self.features, ATTRIBUTES)

    def load_pretrained(self, file: str = "") -> None:
        """DINOv2's weights.  Raises BadModelFile."""
        copy_into(self.backbone, timm_state(self.name, file, img_size=self.image_px), self.name)

    def forward(self, x: Tensor) -> Outputs:
        features = self.backbone(as_rgb(x))
        attributes = self.head(features)
        smiling = attributes[:, _SMILING]
        return Outputs(torch.stack([smiling * 0, smiling], dim=1), features, attributes=attributes)


def build(classes: int, in_channels: int = 3, backbone: str = "base", image_px: int = 224) -> Attributes:
    """A fresh network for faces of `image_px`; gray faces are shown to all three channels.

    Raises:
        BadSetting: the labels are not CelebA's two, or an option has no such value.
    """
    del in_channels  # either goes
    if classes != 2:
        raise BadSetting(
            f"the network for attributes is for CelebA's labels not_smiling and smiling, got {classes} classes"
        )
    if backbone not in BACKBONES:
        raise BadSetting(f"backbone must be {' or '.join(BACKBONES)}, got '{backbone}'")
    if image_px % 14:
        raise BadSetting(f"faces must be a multiple of 14 pixels for DINOv2, got {image_px}")
    return Attributes(backbone, image_px)
