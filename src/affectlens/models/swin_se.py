"""Swin Transformer with squeeze and excitation (Vats and Chadha): timm's Swin-T, patches of 4 pixels, and a gate on
its channels.

The paper puts the gate "before Swin" and "on the class token", which Swin does not have, and takes "only the excitation
part". Here it is an excitation of the pooled 768 channels before the head (`se` "pooled"), or a squeeze and excitation
of the 96 channels of the patch embedding ("patches"); "none" is the network without it. The paper gives no reduction:
16, as of Hu et al. Section 3.4 cites Swin V2, but the figures and the patches are those of V1, which this is, with
timm's stochastic depth of 0.1; the "stack of eleven encoders preceded by a hybrid patch embedding" of section 3.1 is no
Swin and is left out. Weights: timm's of ImageNet-1K (MIT).
"""

from typing import Any

import timm
from torch import Tensor, nn

from affectlens.core.errors import BadSetting
from affectlens.models.layers.colour import as_rgb
from affectlens.models.layers.evidence import Explaining, of_mean
from affectlens.models.layers.outputs import Outputs
from affectlens.models.layers.published import copy_into, timm_state
from affectlens.models.layers.squeeze_excitation import Excitation

_NAME = "swin_tiny_patch4_window7_224"
_EMBEDDING = 96
GATES = ("none", "pooled", "patches")


class SwinSE(Explaining):
    """(B, 1 or 3, S, S) float -> logits (B, classes) and the pooled map, after its gate, as features (B, 768)."""

    backbone: Any

    def __init__(self, classes: int, se: str, reduction: int, image_px: int) -> None:
        super().__init__()
        self.image_px = image_px
        self.backbone = timm.create_model(_NAME, num_classes=0, img_size=image_px)
        self.feature_width = int(self.backbone.num_features)
        self.patch_gate = Excitation(_EMBEDDING, reduction, squeeze=True) if se == "patches" else nn.Identity()
        self.gate = Excitation(self.feature_width, reduction) if se == "pooled" else nn.Identity()
        self.head = nn.Linear(self.feature_width, classes)
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def load_pretrained(self, file: str = "") -> None:
        """ImageNet weights.  Raises BadModelFile."""
        copy_into(self.backbone, timm_state(_NAME, file, img_size=self.image_px), _NAME)

    def space(self, x: Tensor) -> Tensor:
        """(B, 768, h, w), the last map, whose mean goes into the gate."""
        tokens = self.patch_gate(self.backbone.patch_embed(as_rgb(x)))
        last: Tensor = self.backbone.norm(self.backbone.layers(tokens))
        return last.permute(0, 3, 1, 2)

    def forward(self, x: Tensor) -> Outputs:
        space = self.space(x)
        pooled = space.mean(dim=(2, 3))
        features = self.gate(pooled)
        answer = Outputs(self.head(features), features)
        if not self.explaining:
            return answer
        weights = self.head.weight.unsqueeze(0)
        if isinstance(self.gate, Excitation):
            weights = weights * self.gate.gate(pooled).unsqueeze(1)
        return answer._replace(explanation=of_mean(space, weights))


def build(classes: int, in_channels: int = 3, se: str = "pooled", reduction: int = 16, image_px: int = 224) -> SwinSE:
    """A fresh network for faces of `image_px`; gray faces are shown to all three channels.

    Raises:
        BadSetting: an option has no such value.
    """
    del in_channels  # either goes
    if se not in GATES:
        raise BadSetting(f"se must be one of {', '.join(GATES)}, got '{se}'")
    if reduction < 1:
        raise BadSetting(f"reduction must be at least 1, got {reduction}")
    if image_px % 4:
        raise BadSetting(f"the face size must be a multiple of 4 pixels, got {image_px}")
    return SwinSE(classes, se, reduction, image_px)
