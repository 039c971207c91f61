"""The result for one image or one frame of a video, as objects, rows, a data frame or a picture."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from affectlens.core.affect import Face
from affectlens.core.errors import BadSetting, MissingExtra
from affectlens.core.reasons import Reason
from affectlens.runtime.draw import draw_explanations, draw_faces
from affectlens.runtime.media import save_image

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "source", "frame", "time_s", "face", "track", "x1", "y1", "x2", "y2", "score", "expression", "uncertain",
    "disagreement", "valence", "arousal", "va_source", "quality", "reason", "model",
)  # fmt: skip
"""Columns of every table, followed by one `p_<label>` per label of the model in its order."""

Row = dict[str, Any]


def columns(labels: tuple[str, ...]) -> tuple[str, ...]:
    """Keys of every row of a model with these labels, in order."""
    return (*COLUMNS, *(f"p_{label}" for label in labels))


@dataclass(frozen=True, eq=False)
class Analysis:
    """What was found in one image or one frame of a video.

    Attributes:
        source: where the image came from; empty for an array.
        model: name of the expression model. labels: its labels in the order of the probability columns.
        faces: best detection first.
        reason: why there are no faces; None where there are.
        detail: the same for people, one line.
        image: (H, W, 3) RGB uint8, or None where it could not be read.
        frame, time_s: place in the video and seconds since its beginning; None for photos.
        incomplete: the file breaks off, after nine tenths of the picture or more.
    """

    source: str
    model: str
    labels: tuple[str, ...]
    faces: tuple[Face, ...] = ()
    reason: Reason | None = None
    detail: str = ""
    image: NDArray[np.uint8] | None = field(default=None, repr=False)
    frame: int | None = None
    time_s: float | None = None
    incomplete: bool = False

    def to_rows(self) -> list[Row]:
        """One row per face, or one with a reason; what does not apply is None.

        Coordinates in pixels, probabilities in [0, 1]. `frame`, `time_s` and `track` belong to videos and are None for
        photos; `quality` is "ok", or what is wrong (`core.reasons.Flaw`), joined by "+".
        """
        common: Row = dict.fromkeys(columns(self.labels)) | {
            "source": self.source,
            "model": self.model,
            "frame": self.frame,
            "time_s": None if self.time_s is None else round(self.time_s, 4),
        }
        if not self.faces:
            return [common | {"reason": self.reason.value if self.reason else None}]
        return [common | {"face": index} | _face_cells(face) for index, face in enumerate(self.faces)]

    def to_pandas(self) -> "pd.DataFrame":
        """`to_rows` as a data frame.

        Raises:
            MissingExtra: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise MissingExtra("to_pandas()", "pandas") from error
        return pd.DataFrame(self.to_rows(), columns=list(columns(self.labels)))

    def draw(self) -> NDArray[np.uint8] | None:
        """A copy of the image with boxes, landmarks and answers, (H, W, 3) RGB uint8; None where there is no image.

        Images below 200 pixels a side are enlarged for it (`runtime.draw.draw_faces`); boxes are in the image's own.
        """
        return None if self.image is None else draw_faces(self.image, self.faces)

    def save(self, path: str | Path) -> None:
        """Write the drawn picture; the suffix decides the format (.jpg, .png, ...).

        Raises:
            BadSetting: there is no image, or no such format. OSError: the file cannot be written.
        """
        picture = self.draw()
        if picture is None:
            raise BadSetting(f"there is no picture to write: {self.reason} ({self.detail})")
        save_image(Path(path), picture)

    def save_explanations(self, path: str | Path) -> None:
        """Write the faces beside their heat maps (`runtime.draw.draw_explanations`), in the format of the suffix.

        Raises:
            BadSetting: no face has an explanation (`Analyzer(explain=True)`), or no such format. OSError: the file
                cannot be written.
        """
        if not any(face.explanation for face in self.faces):
            raise BadSetting("there is nothing to show: no face, or the analyzer was not asked to explain")
        save_image(Path(path), draw_explanations(self.faces))


def quality_in_words(face: Face) -> str | None:
    """The flaws joined by "+", "ok" without any; None where they were not measured."""
    return None if face.quality is None else "+".join(face.quality.flaws) or "ok"


def _face_cells(face: Face) -> Row:
    x1, y1, x2, y2 = (round(float(value), 2) for value in face.box_xyxy)
    return {
        "track": face.track,
        "x1": x1,
        "y1": y1,
        "x2": x2,
        "y2": y2,
        "score": round(face.score, 4),
        "expression": face.expression,
        "uncertain": face.uncertain,
        "disagreement": round(face.disagreement, 4),
        "valence": None if face.valence is None else round(face.valence, 4),
        "arousal": None if face.arousal is None else round(face.arousal, 4),
        "va_source": face.va_source,
        "quality": quality_in_words(face),
    } | {f"p_{label}": round(value, 6) for label, value in face.probabilities.items()}
