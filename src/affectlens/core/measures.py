"""What a measure of a face is: something that is said of it beside its expression, as a plug-in of one file.

A file `faces/measures/<name>.py`, or a module that an installed package names under the entry point group
`affectlens.faces.measures`, exports `build`, which returns a `Measure`. Its columns then stand in every row, in data
frames, in the service's JSON and on the page.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from affectlens.core.columns import Column, Kind, Schema
from affectlens.core.errors import BadSetting
from affectlens.core.quality import Quality

Values = Mapping[str, Any]
"""Column -> number, word, truth value or None."""

CROP, LANDMARKS, QUALITY = "crop", "landmarks", "quality"
"""What every face has, as far as its detector says it."""


@dataclass(frozen=True, eq=False)
class View:
    """What a measure sees of one face.

    Attributes:
        crop: (H, W) gray or (H, W, 3) RGB uint8, the face as it was cut for the model.
        box_xyxy: (4,) float32, pixels of the image.
        landmarks_xy: (5, 2) float32, pixels of the image, in the order of `core.detection.LANDMARKS`; NaN where the
            detector has none.
        image_size: (width, height) of the image, pixels.
        quality: how well the face can be seen.
        outputs: what the network says beside the expressions, by the name of the output: (D,) float32 each.
    """

    crop: NDArray[np.uint8]
    box_xyxy: NDArray[np.float32]
    landmarks_xy: NDArray[np.float32]
    image_size: tuple[int, int]
    quality: Quality
    outputs: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)


Follow = Callable[[Values, float], Values]
"""The values of a frame and its time in seconds -> those that its row holds; made anew for each track."""


@dataclass(frozen=True)
class Measure:
    """Something that is said of a face.

    Attributes:
        name: the key of its values in `Face.measures`; that of its file.
        columns: what it says, each with the path ("face", "measures", NAME, COLUMN), which is filled in if it is empty.
        measure: a face -> the value of each column; a number that is not finite is an empty cell. None where the values
            come from elsewhere: from a service, or from an output of the network (`core.outputs`).
        needs: "crop", "landmarks", "quality", or names of outputs of the network; a measure whose outputs a model lacks
            is left out, with its columns.
        time_constant_s: of the exponential smoothing of its reals in `Face.smoothed`; 0 smooths nothing.
        follow: makes what sees the values of a track frame by frame and may add what their history tells.
        draw: draws the values of a face into (H, W, 3) RGB uint8, in place; the face's coordinates are those of the
            canvas. None draws nothing.

    Raises:
        BadSetting: it has no columns, or its time constant is negative.
    """

    name: str
    columns: tuple[Column, ...]
    measure: Callable[[View], Values] | None = None
    needs: tuple[str, ...] = ()
    time_constant_s: float = 0.0
    follow: Callable[[], Follow] | None = None
    draw: Callable[[NDArray[np.uint8], Any, Values], None] | None = None

    def __post_init__(self) -> None:
        if not self.columns:
            raise BadSetting(f"the measure '{self.name}' has no columns")
        if self.time_constant_s < 0:
            raise BadSetting(f"time_constant_s of '{self.name}' must be 0 or more, got {self.time_constant_s}")
        placed = tuple(c if c.path else replace(c, path=("face", "measures", self.name, c.name)) for c in self.columns)
        object.__setattr__(self, "columns", placed)

    def outputs(self) -> tuple[str, ...]:
        """The outputs of the network that it needs."""
        return tuple(need for need in self.needs if need not in (CROP, LANDMARKS, QUALITY))


@lru_cache(maxsize=64)
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
        """The values of a frame by measure, and its time -> those of its row, and smoothed ones."""
        values = {name: self._follow[name](of, time_s) if name in self._follow else of for name, of in found.items()}
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
        if column.kind is Kind.REAL and old is not None and np.isfinite(old):
            shown[column.name] = old if new is None or not np.isfinite(new) else old + gain * (new - old)
    return shown
