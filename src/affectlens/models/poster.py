"""POSTER++ (Mao et al. 2023, arXiv:2301.12149), the reference network of Da Re's thesis.

Faces of any size are brought to 112x112 (nearest neighbour, as in the authors' code). MobileFaceNet's maps of landmark
features are the queries, IR-50's maps of the image keys and values, at three levels (28, 14 and 7 places a side; 64,
128 and 256 channels; 2, 4 and 8 heads), and a transformer of depth 2 reads the 147 tokens.

Left open or contradictory, and chosen: queries are the landmark features as they are (`project_query` adds the w_q of
Da Re's equation 4.7); the landmark stream sees what the network sees, normalised RGB (`landmark_input` "bgr" undoes
the normalisation and gives it the BGR in [0, 1] that it was trained on). `landmark_file` names the published
checkpoint of MobileFaceNet (68 points): its stream is then frozen, in evaluation mode (in the authors' code its
weights are, but its batch norms follow the batches); without it, it learns.
`pretrained_file` names "ir50.pth". Neither is on a hub of torch's. `side_px` and `units` make smaller networks.

As in the authors' code (github.com/Talented-Q/POSTER_V2, vit_model_8.py), the linear layers of the transformer, its
excitation and the head start from a deviation of 0.01 with biases of 0; all others start as torch makes them. What the
code defines and never calls (ECA, CON1, IRLinear1 and 2, the output layers of both streams) is left out.
"""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn
from torch.nn.functional import interpolate

from affectlens.core.errors import BadModelFile, BadSetting
from affectlens.core.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from affectlens.models.layers.colour import as_rgb
from affectlens.models.layers.ir50 import IR50, UNITS
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


class Poster(LandmarkGuided):
    """(B, 1 or 3, H, W) float -> logits (B, classes) and features (B, 768)."""

    landmarks: LandmarkStream
    first_places = (0.5 / 4, 0.5 / 8, 0.5 / 16)  # each halving is around every second pixel

    def __init__(
        self,
        classes: int,
        project_query: bool,
        landmarks: LandmarkStream,
        side_px: int,
        units: Sequence[int],
        train: str,
    ) -> None:
        super().__init__(landmarks, train)
        self.side_px = side_px
        self.backbone = IR50(units)
        self.shrink = nn.ModuleList(nn.Conv2d(width, width, 3, 2, 1) for width in WIDTHS)
        self.levels = nn.ModuleList(
            FusionLevel(width, heads, window, drop_path, project_query)
            for width, heads, window, drop_path in zip(WIDTHS, HEADS, landmarks.sides, DROP_PATHS, strict=True)
        )
        self.tokens = PyramidTokens(WIDTHS)
        self.transformer = TokenTransformer(3 * landmarks.sides[2] ** 2, 768)
        self.feature_width = 768
        self.head = nn.Linear(768, classes)
        for part in (self.transformer, self.head):
            part.apply(_start)

    def load_pretrained(self, file: str = "") -> None:
        """IR-50's published weights.  Raises BadModelFile."""
        if not file:
            raise BadModelFile(
                "the weights of IR-50 are not on any hub; set pretrained_file to the file ir50.pth "
                "that github.com/Talented-Q/POSTER_V2 links to, or pretrained=false to train from scratch"
            )
        self.backbone.load_checkpoint(Path(file).expanduser())

    def maps(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        x = interpolate(as_rgb(x), size=(self.side_px, self.side_px))
        image = [shrink(level) for shrink, level in zip(self.shrink, self.backbone(x), strict=True)]
        return image, self.landmarks(x)


def _start(layer: nn.Module) -> None:
    """Initialise a linear layer, or those within an attention, as the authors' code does."""
    if isinstance(layer, nn.MultiheadAttention):
        nn.init.trunc_normal_(layer.in_proj_weight, std=0.01)
        nn.init.zeros_(layer.in_proj_bias)
    elif isinstance(layer, nn.Linear):
        nn.init.trunc_normal_(layer.weight, std=0.01)
        nn.init.zeros_(layer.bias)


def build(
    classes: int,
    in_channels: int = 3,
    project_query: bool = False,
    landmark_file: str = "",
    landmark_input: str = "normalised",
    side_px: int = 112,
    units: Sequence[int] = UNITS,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    train: str = "full",
) -> Poster:
    """A fresh network for faces normalised by `mean` and `std`; gray ones are shown to all three channels.

    `train` is "full", as in the authors' code, "fusion" or "frozen" (both: all but IR-50), or "head" (the last layer
    alone, for a run that starts from another).

    Raises:
        BadSetting: an option has no such value.
    """
    del in_channels  # either goes
    if landmark_input not in INPUTS:
        raise BadSetting(f"landmark_input must be {' or '.join(INPUTS)}, got '{landmark_input}'")
    if side_px % 16 or side_px < 32:
        raise BadSetting(f"side_px must be a multiple of 16, at least 32, got {side_px}")
    if len(units) != 3 or min(units) < 1:
        raise BadSetting(f"units must be three numbers of at least 1, got {list(units)}")
    return Poster(
        classes, project_query, LandmarkStream(landmark_file, landmark_input, side_px, mean, std), side_px, units, train
    )
