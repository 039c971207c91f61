"""Swin Transformer (Liu et al. 2021, arXiv:2103.14030) as Da Re trains it: torchvision's Swin-T with dropout and
attention dropout 0.4 and stochastic depth 0.1.

Embedding 96, 2-2-6-2 blocks with 3-6-12-24 heads, MLP ratio 4: 27,525,506 parameters with 8 classes.

Where the thesis contradicts itself: it states patch 2 and window 2 and names weights that need 4 and 7; patch 4 and
window 7 are the default, 2 and 2 an option that starts from scratch. The block that it prints is 128 wide, which no
block of an embedding of 96 is. Its body is frozen and the head alone trains
(`train` "head", the default, or "frozen", which is the same here); frozen means evaluation mode, without dropout.
"full" trains all of it. Weights: torchvision's of ImageNet-1K (BSD-3-Clause).
"""

from torch import Tensor, nn
from torchvision.models import Swin_T_Weights
from torchvision.models.swin_transformer import SwinTransformer

from affectlens.core.errors import BadSetting
from affectlens.models.layers.colour import as_rgb
from affectlens.models.layers.evidence import Explaining, of_mean
from affectlens.models.layers.frozen import PartlyFrozen
from affectlens.models.layers.outputs import Outputs
from affectlens.models.layers.published import copy_into, torchvision_state


class Swin(PartlyFrozen, Explaining):
    """(B, 1 or 3, H, W) float -> logits (B, classes) and the pooled map as features (B, 768)."""

    def __init__(self, classes: int, patch_px: int, window: int, dropout: float, depth_drop: float, train: str) -> None:
        super().__init__(train)
        self.patch_px, self.window = patch_px, window
        self.backbone = SwinTransformer(
            [patch_px, patch_px], 96, [2, 2, 6, 2], [3, 6, 12, 24], [window, window],
            dropout=dropout, attention_dropout=dropout, stochastic_depth_prob=depth_drop,
        )  # fmt: skip
        self.feature_width = int(self.backbone.head.in_features)
        self.backbone.head = nn.Identity()
        self.head = nn.Linear(self.feature_width, classes)
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def load_pretrained(self, file: str = "") -> None:
        """ImageNet weights.  Raises BadSetting or BadModelFile."""
        if (self.patch_px, self.window) != (4, 7):
            raise BadSetting(
                f"the published weights of Swin-T need patch_px=4 and window=7, got {self.patch_px} and "
                f"{self.window}; set pretrained=false"
            )
        copy_into(self.backbone, torchvision_state(Swin_T_Weights.IMAGENET1K_V1, file), "Swin-T")

    def forward(self, x: Tensor) -> Outputs:
        space = self.backbone.norm(self.backbone.features(as_rgb(x))).permute(0, 3, 1, 2)
        features = space.mean(dim=(2, 3))
        seen = of_mean(space, self.head.weight) if self.explaining else None
        return Outputs(self.head(features), features, explanation=seen)


def build(
    classes: int,
    in_channels: int = 3,
    patch_px: int = 4,
    window: int = 7,
    dropout: float = 0.4,
    depth_drop: float = 0.1,
    train: str = "head",
) -> Swin:
    """A fresh network; gray faces are shown to all three channels.

    Raises:
        BadSetting: an option has no such value.
    """
    del in_channels  # either goes
    if min(patch_px, window) < 1:
        raise BadSetting(f"patch_px and window must be at least 1, got {patch_px} and {window}")
    for name, value in (("dropout", dropout), ("depth_drop", depth_drop)):
        if not 0 <= value < 1:
            raise BadSetting(f"{name} must be in [0, 1), got {value}")
    return Swin(classes, patch_px, window, dropout, depth_drop, train)
