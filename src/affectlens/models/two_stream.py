"""Da Re's Two-Stream network: attention from MobileFaceNet's landmark features (queries) to DINOv2's image features
(keys and values), in a pyramid after POSTER++.

DINOv2 is ViT-B/14 (or S/14 for small machines) through timm (the thesis prints the module names of Meta's code), whose
faces must be a multiple of 14 pixels; at 224 it gives a CLS token and 16x16 patch tokens. MobileFaceNet sees the same
face at 112 pixels (nearest neighbour). "Three distinct depth levels" of DINOv2 are here the outputs of blocks 4, 8 and
12. The thesis states that the landmark stream gives tensors of 16x16x3, 8x8x12 and 4x4x48 numbers a face, each 768 in
all (in batches of 16, though it trains with 32); that an output of DINOv2 is cut into the same shapes is our reading.
Three readings, by `mode`:

- "principled" (the default): patch tokens after blocks 4, 8 and 12 and the last norm, 1x1 convolutions to 64, 128 and
  256 channels, resized to 28, 14 and 7 places a side, and on as in POSTER++, whose transformer of 768 takes projected
  tokens. The row `two-stream` has this mode, although "in testing, ViT was chosen to be used without the
  projection layer", which is so in the other two;
- "literal": the CLS token after those blocks, cut into the stated shapes; windows of 16, 8 and 4 with 1, 2 and 4
  heads, landmark maps projected to the same shapes, then 9 tokens of 256, dropout 0.2 and no excitation, as of the
  "original" ViT (B/14 only). Its maps are of channels, not of the face, so that it says nothing of where it looks;
- "native" (what the text states most directly): the patch tokens after those blocks as they are, averaged to 16, 8 and
  4 places a side, with 1, 2 and 4 heads; landmark maps projected to the same shapes; each place is cut into tokens of
  256 without a projection, 1,008 in all, dropout 0.2, no excitation (B/14 only).

The transformer of 256 has depth 2 and 8 heads, as that of POSTER++: the text gives neither. All modes have POSTER++'s
stochastic depth in the fusion, which the thesis's equations lack, and no image-to-landmark branch
(`layers.pyramid_fusion`).

Queries are projected (w_q of equation 4.7; `project_query` switches it off, as in POSTER++'s code). `landmarks` "none"
is the network "without landmark stage": self-attention on the image features. `landmark_file` and `landmark_input` are
those of `models.poster`. `layer_scale` is the start of the learned scales of the fusion: 1, since the thesis's
equations have none (1e-5 in POSTER++). The text does not say how much of DINOv2 is trained: `train` is "full", "fusion"
or "frozen" (both: all but DINOv2), or "head" (the last layer alone, for a run that starts from another).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from affectlens.core.errors import BadSetting
from affectlens.core.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from affectlens.models.layers import dinov2
from affectlens.models.layers.colour import as_rgb
from affectlens.models.layers.landmark_stream import FILES as LANDMARK_FILES
from affectlens.models.layers.landmark_stream import INPUTS, WIDTHS, LandmarkStream
from affectlens.models.layers.pyramid_fusion import (
    DROP_PATHS,
    HEADS,
    FusionLevel,
    LandmarkGuided,
    PyramidTokens,
    TokenTransformer,
)

FILES = LANDMARK_FILES
BLOCKS = (3, 7, 11)


class _Cut(nn.Module):
    """Three maps (B, C, h, w) -> (B, N, 256) tokens, in the order places, then channels."""

    def forward(self, maps: list[Tensor]) -> Tensor:
        return torch.cat([level.permute(0, 2, 3, 1).reshape(level.shape[0], -1, 256) for level in maps], dim=1)


@dataclass(frozen=True)
class Mode:
    """One reading of the thesis.

    Attributes:
        levels: places a side, channels and heads of each level.
        image: "patches" or "cls", the tokens of DINOv2 that are fused.
        projects: "image" or "landmarks", whose channels are projected to those of the level.
        tokens: makes the layer from the maps of all levels to tokens. count: of them.
        width, dropout, gated: of the last transformer.
    """

    levels: tuple[tuple[int, int, int], ...]
    image: str
    projects: str
    tokens: Callable[[], nn.Module]
    count: int
    width: int = 256
    dropout: float = 0.2
    gated: bool = False


MODES = {
    "principled": Mode(
        levels=tuple(zip((28, 14, 7), WIDTHS, HEADS, strict=True)),
        image="patches",
        projects="image",
        tokens=partial(PyramidTokens, WIDTHS),
        count=3 * 7 * 7,
        width=768,
        dropout=0.0,
        gated=True,
    ),
    "literal": Mode(
        levels=((16, 3, 1), (8, 12, 2), (4, 48, 4)), image="cls", projects="landmarks", tokens=_Cut, count=9
    ),
    "native": Mode(
        levels=((16, 768, 1), (8, 768, 2), (4, 768, 4)),
        image="patches",
        projects="landmarks",
        tokens=_Cut,
        count=3 * (16 * 16 + 8 * 8 + 4 * 4),
    ),
}


class TwoStream(LandmarkGuided):
    """(B, 1 or 3, S, S) float -> logits (B, classes) and features (B, D), D the width of the mode."""

    def __init__(
        self,
        classes: int,
        backbone: str,
        mode: Mode,
        landmarks: LandmarkStream | None,
        project_query: bool,
        layer_scale: float,
        image_px: int,
        train: str,
    ) -> None:
        super().__init__(landmarks, train)
        self.size, self.mode, self.image_px = backbone, mode, image_px
        self.backbone = dinov2.create(backbone, image_px)
        width = int(self.backbone.num_features)
        projected = (width,) * 3 if mode.projects == "image" else WIDTHS
        self.adapt = nn.ModuleList(
            nn.Conv2d(inputs, channels, 1) if landmarks or mode.projects == "image" else nn.Identity()
            for inputs, (_, channels, _) in zip(projected, mode.levels, strict=True)
        )
        self.tokens = mode.tokens()
        self.feature_width = mode.width
        self.transformer = TokenTransformer(mode.count, mode.width, dropout=mode.dropout, gated=mode.gated)
        self.places = mode.image == "patches"
        self.levels = nn.ModuleList(
            FusionLevel(channels, heads, side, drop_path, project_query, layer_scale)
            for (side, channels, heads), drop_path in zip(mode.levels, DROP_PATHS, strict=True)
        )
        self.sides = tuple(side for side, _, _ in mode.levels)
        self.head = nn.Linear(self.feature_width, classes)

    def load_pretrained(self, file: str = "") -> None:
        """DINOv2's weights.  Raises BadModelFile."""
        dinov2.load(self.backbone, self.size, self.image_px, file)

    def maps(self, x: Tensor) -> tuple[list[Tensor], list[Tensor] | list[None]]:
        """(B, 1 or 3, S, S) -> three maps of DINOv2, one per level, (B, C, s, s) by `Mode.levels`, and as many of the
        same shapes of MobileFaceNet; three None without a landmark stream.
        """
        x = as_rgb(x)
        seen = self.backbone.forward_intermediates(
            x, indices=list(BLOCKS), return_prefix_tokens=True, norm=True, intermediates_only=True
        )
        image = [self._image(level, *tokens) for level, tokens in enumerate(seen)]
        if self.landmarks is None:
            return image, [None] * 3
        marks = self.landmarks(interpolate(x, size=(112, 112)))
        if self.mode.projects == "image":
            return image, marks
        resized = [
            adaptive_avg_pool2d(adapt(mark), side)
            for adapt, mark, side in zip(self.adapt, marks, self.sides, strict=True)
        ]
        return image, resized

    def _image(self, level: int, patches: Tensor, prefix: Tensor) -> Tensor:
        """(B, D, h, w) patch tokens and (B, 1, D) CLS token -> (B, C, s, s), the map of a level with C channels and s
        places a side (`Mode.levels`).
        """
        side = self.sides[level]
        if self.mode.image == "cls":
            cls: Tensor = prefix[:, 0].reshape(-1, side, side, self.mode.levels[level][1])
            return cls.permute(0, 3, 1, 2)
        if self.mode.projects == "image":
            adapted = self.adapt[level](patches)
            return interpolate(adapted, size=(side, side), mode="bilinear", align_corners=False)
        return adaptive_avg_pool2d(patches, side)


def build(
    classes: int,
    in_channels: int = 3,
    backbone: str = "base",
    mode: str = "principled",
    landmarks: str = "mobile_facenet",
    landmark_file: str = "",
    landmark_input: str = "normalised",
    project_query: bool = True,
    layer_scale: float = 1.0,
    train: str = "full",
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
        ("mode", mode, tuple(MODES)),
        ("landmarks", landmarks, ("mobile_facenet", "none")),
        ("landmark_input", landmark_input, INPUTS),
    ):
        if value not in allowed:
            raise BadSetting(f"{name} must be {' or '.join(allowed)}, got '{value}'")
    if MODES[mode].projects == "landmarks" and backbone != "base":
        raise BadSetting(f"the mode '{mode}' needs backbone='base' (768 channels)")
    if landmarks == "none" and landmark_file:
        raise BadSetting("landmark_file needs a network with a landmark stream")
    stream = LandmarkStream(landmark_file, landmark_input, 112, mean, std) if landmarks != "none" else None
    return TwoStream(classes, backbone, MODES[mode], stream, project_query, layer_scale, image_px, train)
