"""Vision Transformer (Dosovitskiy et al. 2021, arXiv:2010.11929) as Da Re trains it: torchvision's, patches of 16
pixels, dropout and attention dropout 0.4.

"base": 12 layers of 768 with 12 heads and 3072 inside (85,804,808 parameters with 8 classes at 224 pixels); "large": 24
of 1024 with 16 and 4096 (303,309,832; table 4.2 prints 307 million). "tiny" (12 of 192 with 3 and 768) is ours, for
small machines. The thesis gives 4096 inside for both, which is Large's.

Left open in the thesis and offered: all of it learns (`train` "full", the default) or the last layer alone ("head", or
"frozen", which is the same here; what is frozen is in evaluation mode, without dropout). Weights: torchvision's of
ImageNet-1K (BSD-3-Clause), none for "tiny".
"""

import torch
from torch import Tensor, nn
from torchvision.models import ViT_B_16_Weights, ViT_L_16_Weights
from torchvision.models.vision_transformer import VisionTransformer, interpolate_embeddings

from affectlens.core.errors import BadModelFile, BadSetting
from affectlens.models.layers.colour import as_rgb
from affectlens.models.layers.evidence import Explaining
from affectlens.models.layers.frozen import PartlyFrozen
from affectlens.models.layers.outputs import Outputs
from affectlens.models.layers.published import copy_into, torchvision_state

SIZES = {"tiny": (12, 3, 192, 768), "base": (12, 12, 768, 3072), "large": (24, 16, 1024, 4096)}
"""Name -> layers, heads, width, width inside."""
_WEIGHTS = {"base": ViT_B_16_Weights.IMAGENET1K_V1, "large": ViT_L_16_Weights.IMAGENET1K_V1}


class ViT(PartlyFrozen, Explaining):
    """(B, 1 or 3, S, S) float -> logits (B, classes) and the CLS token as features (B, D)."""

    def __init__(self, classes: int, size: str, patch_px: int, image_px: int, dropout: float, train: str) -> None:
        super().__init__(train)
        layers, heads, width, inside = SIZES[size]
        self.size, self.feature_width = size, width
        self.patch_px, self.image_px = patch_px, image_px
        self.backbone = VisionTransformer(
            image_px, patch_px, layers, heads, width, inside, dropout, attention_dropout=dropout, num_classes=classes
        )
        self.head = self.backbone.heads
        self.backbone.heads = nn.Identity()

    def load_pretrained(self, file: str = "") -> None:
        """ImageNet weights; positions are resized to the image.  Raises BadSetting or BadModelFile."""
        if self.size not in _WEIGHTS or self.patch_px != 16:
            raise BadSetting(
                f"a ViT '{self.size}' with patch_px={self.patch_px} has no published weights; set pretrained=false"
            )
        state = torchvision_state(_WEIGHTS[self.size], file)
        try:
            state = dict(interpolate_embeddings(self.image_px, 16, state))
        except (KeyError, ValueError) as error:
            raise BadModelFile(f"'{file}' does not contain the position embeddings of a ViT: {error}") from error
        copy_into(self.backbone, state, f"ViT {self.size}")

    def forward(self, x: Tensor) -> Outputs:
        if self.explaining:
            features, seen = self._rolled_out(as_rgb(x))
            return Outputs(self.head(features), features, explanation=seen)
        features = self.backbone(as_rgb(x))
        return Outputs(self.head(features), features)

    def _rolled_out(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The CLS token and (B, 1, h, w) attention rollout (Abnar and Zuidema 2020, arXiv:2005.00928): the product over
        all layers of half the mean attention of the heads and half the identity, as the CLS token receives it.
        """
        network, side = self.backbone, self.image_px // self.patch_px
        tokens = network._process_input(x)  # torchvision has no public name for it
        tokens = torch.cat([network.class_token.expand(tokens.shape[0], -1, -1), tokens], dim=1)
        tokens = network.encoder.dropout(tokens + network.encoder.pos_embedding)
        seen = torch.eye(side**2 + 1, device=x.device).unsqueeze(0)
        for block in network.encoder.layers:
            normalised = block.ln_1(tokens)
            mixed, attention = block.self_attention(normalised, normalised, normalised, need_weights=True)
            tokens = tokens + block.dropout(mixed)
            tokens = tokens + block.mlp(block.ln_2(tokens))
            seen = (attention @ seen + seen) / 2
        return network.encoder.ln(tokens)[:, 0], torch.unflatten(seen[:, 0, 1:], 1, (1, side, side))


def build(
    classes: int,
    in_channels: int = 3,
    size: str = "base",
    patch_px: int = 16,
    image_px: int = 224,
    dropout: float = 0.4,
    train: str = "full",
) -> ViT:
    """A fresh network for faces of `image_px`; gray faces are shown to all three channels.

    Raises:
        BadSetting: an option has no such value.
    """
    del in_channels  # either goes
    if size not in SIZES:
        raise BadSetting(f"size must be one of {', '.join(SIZES)}, got '{size}'")
    if patch_px < 1 or image_px % patch_px:
        raise BadSetting(f"the face size must be a multiple of patch_px={patch_px}, got {image_px}")
    if not 0 <= dropout < 1:
        raise BadSetting(f"dropout must be in [0, 1), got {dropout}")
    return ViT(classes, size, patch_px, image_px, dropout, train)
