"""Da Re's Two-Stream network: MobileFaceNet's landmark features ask DINOv2's image features, in a pyramid after
POSTER++.

DINOv2 is ViT-B/14 (or S/14 for small machines) through timm, whose faces must be a multiple of 14 pixels; at 224 it
gives a CLS token and 16x16 patch tokens. The thesis states tensors of 16x16x3, 8x8x12 and 4x4x48 numbers a face, each
768 in all; two readings of that, by `mode`:

- "principled" (the default): patch tokens after blocks 4, 8 and 12 and the last norm, 1x1 convolutions to 64, 128 and
  256 channels, resized to 28, 14 and 7 places a side, and on as in POSTER++;
- "literal": the CLS token after those blocks, cut into the stated shapes; windows of 16, 8 and 4 with 1, 2 and 4
  heads, landmark maps projected to the same shapes, then 9 tokens of 256, dropout 0.2 and no excitation, as of the
  "original" ViT (B/14 only). Its maps are of channels, not of the face, so that it says nothing of where it looks.

Queries are projected (w_q of equation 4.7; `project_query` switches it off, as in POSTER++'s code). `landmarks` "none"
is the network "without landmark stage": image features ask themselves. `landmark_file` and `landmark_input` are those
of `models.poster`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from affectlens.core.errors import BadSetting
from affectlens.core.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from affectlens.models.layers import dinov2
from affectlens.models.layers.colour import as_rgb
from affectlens.models.layers.landmark_stream import INPUTS, WIDTHS, LandmarkStream
from affectlens.models.layers.pyramid_fusion import (
    DROP_PATHS,
    HEADS,
    FusionLevel,
    LandmarkGuided,
    PyramidTokens,
    TokenTransformer,
)

BLOCKS = (3, 7, 11)
LITERAL = ((16, 3, 1), (8, 12, 2), (4, 48, 4))
"""Places a side, channels and heads of each level."""
MODES = ("principled", "literal")


class TwoStream(LandmarkGuided):
    """(B, 1 or 3, S, S) float -> logits (B, classes) and features (B, 768), or (B, 256) in the mode "literal"."""

    def __init__(
        self,
        classes: int,
        backbone: str,
        mode: str,
        landmarks: LandmarkStream | None,
        project_query: bool,
        image_px: int,
    ) -> None:
        super().__init__(landmarks)
        self.size, self.mode, self.image_px = backbone, mode, image_px
        self.backbone = dinov2.create(backbone, image_px)
        width = int(self.backbone.num_features)
        sides = (28, 14, 7)
        if mode == "principled":
            shapes = list(zip(sides, WIDTHS, HEADS, strict=True))
            self.adapt = nn.ModuleList(nn.Conv2d(width, channels, 1) for channels in WIDTHS)
            self.tokens: nn.Module = PyramidTokens(WIDTHS)
            self.feature_width = 768
            self.transformer = TokenTransformer(3 * 7 * 7, self.feature_width)
        else:
            shapes = list(LITERAL)
            self.adapt = nn.ModuleList(
                nn.Conv2d(channels, shape[1], 1) if landmarks else nn.Identity()
                for channels, shape in zip(WIDTHS, LITERAL, strict=True)
            )
            self.tokens = _Cut()
            self.feature_width = 256
            self.transformer = TokenTransformer(9, self.feature_width, dropout=0.2, gated=False)
            self.places = False
        self.levels = nn.ModuleList(
            FusionLevel(channels, heads, side, drop_path, project_query)
            for (side, channels, heads), drop_path in zip(shapes, DROP_PATHS, strict=True)
        )
        self.sides = tuple(side for side, _, _ in shapes)
        self.head = nn.Linear(self.feature_width, classes)

    def load_pretrained(self, file: str = "") -> None:
        """DINOv2's weights.  Raises BadModelFile."""
        dinov2.load(self.backbone, self.size, self.image_px, file)

    def maps(self, x: Tensor) -> tuple[list[Tensor], list[Tensor] | list[None]]:
        x = as_rgb(x)
        seen = self.backbone.forward_intermediates(
            x, indices=list(BLOCKS), return_prefix_tokens=True, norm=True, intermediates_only=True
        )
        marks = None
        if self.landmarks is not None:
            marks = self.landmarks(interpolate(x, size=(112, 112)))
        if self.mode == "principled":
            image = [
                interpolate(adapt(patches), size=(side, side), mode="bilinear", align_corners=False)
                for adapt, (patches, _), side in zip(self.adapt, seen, self.sides, strict=True)
            ]
            return image, marks or [None] * 3
        image = [
            cls[:, 0].unflatten(1, (side, side, -1)).permute(0, 3, 1, 2)
            for (_, cls), side in zip(seen, self.sides, strict=True)
        ]
        if marks is None:
            return image, [None] * 3
        resized = [
            adaptive_avg_pool2d(adapt(mark), side)
            for adapt, mark, side in zip(self.adapt, marks, self.sides, strict=True)
        ]
        return image, resized


class _Cut(nn.Module):
    """Three maps of 768 numbers each -> (B, 9, 256) tokens, in the order places, then channels."""

    def forward(self, maps: list[Tensor]) -> Tensor:
        return torch.cat([level.permute(0, 2, 3, 1).reshape(level.shape[0], 3, 256) for level in maps], dim=1)


def build(
    classes: int,
    in_channels: int = 3,
    backbone: str = "base",
    mode: str = "principled",
    landmarks: str = "mobile_facenet",
    landmark_file: str = "",
    landmark_input: str = "normalised",
    project_query: bool = True,
    image_px: int = 224,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> TwoStream:
    """A fresh network for faces of `image_px`, normalised by `mean` and `std`; gray ones go to all three channels.

    Raises:
        BadSetting: an option has no such value, or they do not go together.
    """
    del in_channels  # either goes
    for name, value, allowed in (
        ("mode", mode, MODES),
        ("landmarks", landmarks, ("mobile_facenet", "none")),
        ("landmark_input", landmark_input, INPUTS),
    ):
        if value not in allowed:
            raise BadSetting(f"{name} must be {' or '.join(allowed)}, got '{value}'")
    if mode == "literal" and backbone != "base":
        raise BadSetting("the mode 'literal' needs backbone='base' (768 channels)")
    if landmarks == "none" and landmark_file:
        raise BadSetting("landmark_file needs a network with a landmark stream")
    stream = LandmarkStream(landmark_file, landmark_input, 112, mean, std) if landmarks != "none" else None
    return TwoStream(classes, backbone, mode, stream, project_query, image_px)
