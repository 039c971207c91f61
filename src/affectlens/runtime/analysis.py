"""The result for one image or one frame of a video, as objects, rows, a data frame or a picture."""

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
    """What was found in one image or one frame of a video.

    Attributes:
        source: where the image came from; empty for an array.
        model: name of the expression model. labels: its labels in the order of the probability columns.
        measures: what is said of a face beside its expression.
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
    measures: tuple[Measure, ...] = ()
    incomplete: bool = False

    @property
    def schema(self) -> Schema:
        """The columns of its rows."""
        return schema_of(self.labels, self.measures)

    def to_rows(self) -> list[Row]:
        """One row per face, or one with a reason; what does not apply is None (`core.columns` says what cells hold)."""
        return self.schema.rows(self, self.faces)

    def to_pandas(self) -> "pd.DataFrame":
        """`to_rows` as a typed data frame (`runtime.frames.to_pandas`).

        Raises:
            MissingExtra: pandas is not installed.
        """
        from affectlens.runtime.frames import to_pandas  # which knows tables, and most programs do not

        return to_pandas([self])

    def draw(self) -> NDArray[np.uint8] | None:
        """A copy of the image with boxes, landmarks and answers, (H, W, 3) RGB uint8; None where there is no image.

        Images below 200 pixels a side are enlarged for it (`runtime.draw.draw_faces`); boxes are in the image's own.
        """
        return None if self.image is None else draw_faces(self.image, self.faces, self.measures)

    def save(self, path: str | Path) -> None:
        """Write the drawn picture; the suffix decides the format (.jpg, .png, ...).

        Raises:
            BadSetting: there is no image, or no such format. OSError: the file cannot be written.
        """
        picture = self.draw()
        if picture is None:
            raise BadSetting(f"this analysis has no picture to write: {self.reason} ({self.detail})")
        save_image(Path(path), picture)

    def save_explanations(self, path: str | Path) -> None:
        """Write the faces beside their heat maps (`runtime.draw.draw_explanations`), in the format of the suffix.

        Raises:
            BadSetting: no face has an explanation (`Analyzer(explain=True)`), or no such format. OSError: the file
                cannot be written.
        """
        if not any(face.explanation for face in self.faces):
            raise BadSetting(
                "this analysis has no explanations: it has no face, or the analyzer was created without explain=True"
            )
        save_image(Path(path), draw_explanations(self.faces))


Writer: TypeAlias = Callable[[Analysis], None]
"""Takes analyses one after the other; `runtime/writers/<format>.py` make them."""
