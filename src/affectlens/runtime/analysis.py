"""The result for one image or one video frame, as objects, rows, a data frame or a picture."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from affectlens.core.affect import Face
from affectlens.core.columns import Row, Schema
from affectlens.core.errors import BadSetting
from affectlens.core.measures import Measure, schema_of
from affectlens.core.reasons import Reason
from affectlens.runtime.draw import draw_explanations, draw_faces
from affectlens.runtime.media import save_image

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Analysis:
    """Result for one image or one frame of a video.

    Attributes:
        source: name of the source; empty for an array.
        model: name of the expression model. labels: its labels in the order of the probability columns.
        measures: measures computed in addition to the expression.
        faces: sorted by decreasing detection score.
        reason: code of the reason why there are no faces; None if there are faces.
        detail: the same as a one-line message.
        image: (H, W, 3) RGB uint8, or None if it could not be read.
        frame, time_s: frame number in the video and seconds since its start; None for photos.
        incomplete: the file is truncated, after nine tenths of the picture or more.
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
    measures: tuple[Measure, ...] = ()
    incomplete: bool = False

    @property
    def schema(self) -> Schema:
        """Columns of the rows."""
        return schema_of(self.labels, self.measures)

    def to_rows(self) -> list[Row]:
        """One row per face, or one row with a reason; values that do not apply are None (`core.columns` defines the
        cells).
        """
        return self.schema.rows(self, self.faces)

    def to_pandas(self) -> "pd.DataFrame":
        """`to_rows` as a typed data frame (`runtime.frames.to_pandas`).

        Raises:
            MissingExtra: pandas is not installed.
        """
        from affectlens.runtime.frames import to_pandas  # which knows tables, and most programs do not

        return to_pandas([self])

    def draw(self) -> NDArray[np.uint8] | None:
        """Annotated copy of the image with boxes, landmarks and answers, (H, W, 3) RGB uint8; None if there is no
        image.

        Images smaller than 200 pixels a side are enlarged (`runtime.draw.draw_faces`); boxes stay in the coordinates of
        the original.
        """
        return None if self.image is None else draw_faces(self.image, self.faces, self.measures)

    def save(self, path: str | Path) -> None:
        """Write the annotated picture; the suffix determines the format (.jpg, .png, ...).

        Raises:
            BadSetting: there is no image, or the format is unknown. OSError: the file cannot be written.
        """
        picture = self.draw()
        if picture is None:
            raise BadSetting(f"this analysis has no picture to write: {self.reason} ({self.detail})")
        save_image(Path(path), picture)

    def save_explanations(self, path: str | Path) -> None:
        """Write the faces next to their heat maps (`runtime.draw.draw_explanations`); the suffix determines the format.

        Raises:
            BadSetting: no face has an explanation (`Analyzer(explain=True)`), or the format is unknown. OSError: the
                file cannot be written.
        """
        if not any(face.explanation for face in self.faces):
            raise BadSetting(
                "this analysis has no explanations: it has no face, or the analyzer was created without explain=True"
            )
        save_image(Path(path), draw_explanations(self.faces))


Writer: TypeAlias = Callable[[Analysis], None]
"""Takes analyses one after the other; `runtime/writers/<format>.py` make them."""
