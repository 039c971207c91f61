"""Measures of a face: properties other than its expression, as one-file plug-ins.

A file `faces/measures/<name>.py`, or a module that an installed package names under the entry point group
`affectlens.faces.measures`, exports `build`, which returns a `Measure`. Its columns are then part of every row, of data
frames, of the service's JSON and of the web page.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from affectlens.core.columns import PROBABILITY, Column, Kind, Schema
from affectlens.core.errors import BadSetting
from affectlens.core.messages import one_line, warn_once
from affectlens.core.quality import Quality

Values = Mapping[str, Any]
"""Column -> number, word, truth value or None."""

CROP, LANDMARKS, QUALITY = "crop", "landmarks", "quality"
"""What a measure may need of every face."""
_TAKEN = ("name", "faces", "share", "sources", "mostly", "window_s", "grouped")
_TAKEN_PREFIXES = (PROBABILITY, "n_")
"""Names and beginnings of names that the page and summaries give to columns of their own."""


@dataclass(frozen=True, eq=False)
class View:
    """The input of a measure: one face. Its arrays are read-only; copy one to modify it.

    Attributes:
        crop: (H, W) gray or (H, W, 3) RGB uint8, the face as cropped for the model.
        box_xyxy: (4,) float32, pixels of the image.
        landmarks_xy: (5, 2) float32, pixels of the image, in the order of `core.detection.LANDMARKS`; NaN if the
            detector has none.
        image_size: (width, height) of the image, pixels.
        quality: how well the face can be seen.
        outputs: network outputs other than the expressions, by name: (D,) float32 each.
    """

    crop: NDArray[np.uint8]
    box_xyxy: NDArray[np.float32]
    landmarks_xy: NDArray[np.float32]
    image_size: tuple[int, int]
    quality: Quality
    outputs: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("crop", "box_xyxy", "landmarks_xy"):
            object.__setattr__(self, name, _read_only(getattr(self, name)))
        object.__setattr__(self, "outputs", {name: _read_only(said) for name, said in self.outputs.items()})


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    """A read-only view of an array."""
    view = array.view()
    view.flags.writeable = False
    return view


Follow = Callable[[Values, float], Values]
"""The values of a frame and its time in seconds -> those that its row holds; made anew for each track."""


@dataclass(frozen=True, eq=False)
class Measure:
    """A property of a face other than its expression.

    Attributes:
        name: key of its values in `Face.measures`, and name of its file.
        columns: the columns that it fills; each name must be an identifier. Their paths, ("face", "measures", NAME,
            COLUMN), are set automatically.
        measure: function from a `View` to the value of each column. A value that is missing, None or not finite is an
            empty cell. If it raises, or a value does not match the kind of its column, all its cells are empty and the
            log reports the error once. None if the values come from a service.
        needs: "crop", "landmarks" (faces without any have empty cells), "quality", or names of outputs of the network
            (`core.outputs`); a measure that needs outputs which the model does not have is omitted, with its columns.
        time_constant_s: time constant of the exponential smoothing of its real numbers in `Face.smoothed`; 0 turns
            smoothing off.
        follow: creates a function that receives the values of a track frame by frame and can add values derived from
            their history; its errors are handled like those of `measure`.
        draw: draws the values of a face into (H, W, 3) RGB uint8, in place; the face's coordinates are those of the
            canvas. If it raises, the face keeps what has been drawn so far, and the log reports the error once. None
            draws nothing.

    Raises:
        BadSetting: it has no columns, a column has a path or a name that is reserved or not an identifier, the time
            constant is negative, `needs` is not a list of names, or a function is not callable.
    """

    name: str
    columns: tuple[Column, ...]
    measure: Callable[[View], Values] | None = None
    needs: Sequence[str] = ()
    time_constant_s: float = 0.0
    follow: Callable[[], Follow] | None = None
    draw: Callable[[NDArray[np.uint8], Any, Values], None] | None = None

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise BadSetting(f"the name of a measure must be an identifier, such as mouth_open, got '{self.name}'")
        if isinstance(self.columns, Column) or not all(isinstance(column, Column) for column in self.columns):
            raise BadSetting(f"columns of '{self.name}' must be a list of affectlens.Column, such as (column,)")
        if not self.columns:
            raise BadSetting(f"the measure '{self.name}' has no columns")
        if not isinstance(self.time_constant_s, int | float) or not 0 <= self.time_constant_s < np.inf:
            raise BadSetting(f"time_constant_s of '{self.name}' must be >= 0, got {self.time_constant_s!r}")
        if isinstance(self.needs, str):
            raise BadSetting(f"needs of '{self.name}' must be a list, such as ['{self.needs}']")
        for part in ("measure", "follow", "draw"):
            if getattr(self, part) is not None and not callable(getattr(self, part)):
                raise BadSetting(
                    f"{part} of '{self.name}' must be a function, got {type(getattr(self, part)).__name__}"
                )
        placed = tuple(replace(c, path=("face", "measures", self.name, c.name)) for c in self.columns)
        for given, column in zip(self.columns, placed, strict=True):
            if not column.name.isidentifier():
                raise BadSetting(
                    f"the name of a column must be an identifier, such as mouth_open; '{self.name}' has '{column.name}'"
                )
            if column.name in _TAKEN or column.name.startswith(_TAKEN_PREFIXES):
                raise BadSetting(
                    f"the measure '{self.name}' has a column '{column.name}', which is a reserved name "
                    f"({', '.join(_TAKEN)}, and names that start with {' or '.join(_TAKEN_PREFIXES)}); rename it"
                )
            if given.path not in ((), column.path):
                raise BadSetting(f"the column '{column.name}' of the measure '{self.name}' must not set a path")
        object.__setattr__(self, "columns", placed)
        object.__setattr__(self, "needs", tuple(self.needs))

    def outputs(self) -> tuple[str, ...]:
        """Network outputs that it needs."""
        return tuple(need for need in self.needs if need not in (CROP, LANDMARKS, QUALITY))

    def of_face(self, face: View) -> dict[str, Any]:
        """Cells of its columns for a face, not rounded; all None if something it needs is not available."""
        if self.measure is None or (LANDMARKS in self.needs and not np.isfinite(face.landmarks_xy).all()):
            return dict.fromkeys(column.name for column in self.columns)
        return self.cells(self.measure, face)

    def cells(self, compute: Callable[..., Values], *arguments: Any) -> dict[str, Any]:
        """Checked result of `compute` for the columns; all None, with a warning in the log, if it fails."""
        try:
            values = compute(*arguments)
            if not isinstance(values, Mapping):
                raise TypeError(f"expected a dictionary of columns, got {type(values).__name__}")
            if unknown := values.keys() - {column.name for column in self.columns}:
                raise KeyError(
                    f"unknown column '{min(unknown)}'; the measure has {', '.join(c.name for c in self.columns)}"
                )
            return {column.name: column.kind.checked(values.get(column.name)) for column in self.columns}
        except Exception as error:  # of code from elsewhere, which must not cost the face its expression
            warn_once(f"the measure '{self.name}' failed, so its cells are empty: {one_line(error)}")
            return dict.fromkeys(column.name for column in self.columns)

    def draw_on(self, canvas: NDArray[np.uint8], face: Any, values: Values) -> None:
        """Draw the values of a face into (H, W, 3) RGB uint8, in place; an error in `draw` is logged as a warning."""
        try:
            if self.draw is not None:
                self.draw(canvas, face, values)
        except Exception as error:  # of code from elsewhere, which must not cost the picture
            warn_once(f"the measure '{self.name}' failed, so it is not drawn: {one_line(error)}")


@lru_cache(maxsize=16)
def schema_of(labels: tuple[str, ...], measures: tuple[Measure, ...]) -> Schema:
    """The columns of rows with these labels and measures."""
    return Schema(labels, tuple(column for measure in measures for column in measure.columns))


class MeasureFollower:
    """Follows the measures of one track: what their history adds, and what is to be shown of their numbers."""

    def __init__(self, measures: tuple[Measure, ...]) -> None:
        self._measures = measures
        self._follow = {m.name: m.follow() for m in measures if m.follow is not None}
        self._shown: dict[str, dict[str, Any]] = {}
        self._time_s = 0.0

    def __call__(self, found: Mapping[str, Values], time_s: float) -> tuple[Mapping[str, Values], Mapping[str, Values]]:
        """The values of a frame by measure, and its time in seconds of the video -> those of its row, and smoothed
        ones.
        """
        values = dict(found)
        for measure in self._measures:
            if measure.name in self._follow and measure.name in found:
                follow = self._follow[measure.name]
                values[measure.name] = measure.cells(follow, found[measure.name], time_s)
        step_s, self._time_s = max(time_s - self._time_s, 0.0), time_s
        for measure in self._measures:
            if measure.name in values:
                before = self._shown.get(measure.name, {})
                self._shown[measure.name] = _smoothed(measure, before, values[measure.name], step_s)
        return values, {name: dict(of) for name, of in self._shown.items() if name in values}


def _smoothed(measure: Measure, before: Values, values: Values, step_s: float) -> dict[str, Any]:
    """What is shown after one more frame; what is not known in it stays as it was."""
    constant_s = measure.time_constant_s
    gain = float(-np.expm1(-step_s / constant_s)) if constant_s else 1.0
    shown = dict(values)
    for column in measure.columns:
        old, new = before.get(column.name), values.get(column.name)
        if column.kind is Kind.REAL and old is not None:
            shown[column.name] = old if new is None else old + gain * (new - old)
    return shown
