"""The columns of a row, each defined once. There is one row for each face in a photo or frame, or one row with the
reason why there is no face.

CSV, JSON Lines, Parquet, data frames, tables read back, the service's schema, the page's table, summaries and the table
in docs/outputs.md are all derived from these definitions. A column is plain data: its path locates the value in an
`Analysis` and its `Face`, and the same path locates it in the service's JSON. A new attribute of `Face` is thus one new
entry here, and a new measure (`core.measures`) brings its own columns.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from affectlens.core.errors import BadSetting
from affectlens.core.reasons import Reason

Row: TypeAlias = dict[str, Any]

PROBABILITY = "p_"
"""How the columns of the labels' probabilities begin."""


class Kind(StrEnum):
    """Type of the cells of a column."""

    TEXT = "text"
    CATEGORY = "category"
    """Text from a fixed set of values."""
    INTEGER = "integer"
    BOOLEAN = "boolean"
    REAL = "real"

    @property
    def python(self) -> type:
        """Python type of a cell that is not None."""
        return _PYTHON[self]

    def checked(self, value: Any) -> Any:
        """Convert a value, including a NumPy scalar, to a cell of this kind; None if it is None or not finite.

        Raises:
            TypeError: the value is of another kind.
        """
        value = value.item() if isinstance(value, np.generic) else value
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            return None
        kind = self.python
        if type(value) is kind or (kind is str and isinstance(value, str)):
            return kind(value)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and (kind is float or (kind is int and value == int(value))):
            return kind(value)
        raise TypeError(f"expected {self} or None, got {value!r}")


_PYTHON = {Kind.TEXT: str, Kind.CATEGORY: str, Kind.INTEGER: int, Kind.BOOLEAN: bool, Kind.REAL: float}


@dataclass(frozen=True)
class Column:
    """Definition of one column.

    Attributes:
        name: its header.
        kind: type of its cells; every cell may be empty.
        meaning: one phrase of Markdown, for documentation and schemas.
        path: location of the value: ("frame", attribute, ...) in the analysis, ("face", attribute, ...) in the face, or
            ("place",) for the index of the face in its picture. Integers are array indices. For measures, it is set
            automatically (`core.measures.Measure`).
        unit: unit or range of a number: "px", "s", "deg", "0 to 1".
        digits: number of decimals that reals are rounded to.
        categories: for CATEGORY, all values in order.
        display: format of a number on the terminal; by default `digits` decimals for a real.
        averaged: whether summaries report its mean, if every row has the column.
        since: version that introduced it.

    Raises:
        BadSetting: `kind` is invalid, or `digits` is not an integer >= 0.
    """

    name: str
    kind: Kind
    meaning: str
    path: tuple[str, ...] = ()
    unit: str = ""
    digits: int = 4
    categories: tuple[str, ...] = ()
    display: str = ""
    averaged: bool = False
    since: str = "0.1"

    def __post_init__(self) -> None:
        if self.kind not in list(Kind):
            raise BadSetting(
                f"the kind of the column '{self.name}' must be one of {', '.join(Kind)}, got '{self.kind}'"
            )
        if not isinstance(self.digits, int) or self.digits < 0:
            raise BadSetting(f"digits of the column '{self.name}' must be an integer >= 0, got {self.digits!r}")
        object.__setattr__(self, "kind", Kind(self.kind))

    def cell(self, frame: Any, place: int | None, face: Any) -> Any:
        """Value for a face at its index in an analysis, or for an analysis without faces; None if there is no value or
        it is not finite.
        """
        start = self.path[0]
        value = face if start == "face" else frame if start == "frame" else place
        for part in self.path[1:]:
            if value is None:
                return None
            value = _step(value, part)
        if value is None:
            return None
        if self.kind is not Kind.REAL:
            return _PYTHON[self.kind](value)
        number = float(value)
        return round(number, self.digits) if math.isfinite(number) else None

    def shown(self, value: Any) -> str:
        """Format a cell, or a mean of cells, for display; "" if it is empty."""
        digits = f".{self.digits}f" if isinstance(value, float) else ""
        return "" if value is None else f"{value:{self.display or digits}}"


def _step(value: Any, part: str) -> Any:
    """The attribute, entry of a dictionary or element of an array that one part of a path names; None where a
    dictionary lacks it.
    """
    if isinstance(value, dict):
        return value.get(part)
    return value[int(part)] if part.isdecimal() else getattr(value, part)


_FIRST = (
    Column("source", Kind.TEXT, r"path as given; bytes that are not UTF-8 appear as `\xFF`", ("frame", "source")),
    Column("frame", Kind.INTEGER, "number of the frame from 0; empty for photos", ("frame", "frame")),
    Column(
        "time_s",
        Kind.REAL,
        "time since the first frame according to the file's timestamps; empty for photos",
        ("frame", "time_s"),
        "s",
    ),
    Column(
        "face", Kind.INTEGER, "number of the face in its picture, from 0, by decreasing detection score", ("place",)
    ),
    Column("track", Kind.INTEGER, "number of the person in this video, from 0; empty for photos", ("face", "track")),
    *(
        Column(
            name,
            Kind.REAL,
            f"{edge} edge of the box; the origin is the top left of the picture, and boxes may extend beyond it",
            ("face", "box_xyxy", str(place)),
            "px",
            2,
        )
        for place, (name, edge) in enumerate({"x1": "left", "y1": "top", "x2": "right", "y2": "bottom"}.items())
    ),
    Column(
        "score",
        Kind.REAL,
        "detector's confidence that this is a face",
        ("face", "score"),
        "0 to 1",
        display=".2f",
    ),
)
_LAST = (
    Column(
        "uncertain",
        Kind.BOOLEAN,
        "whether that probability is below the model's threshold (see below)",
        ("face", "uncertain"),
    ),
    Column(
        "disagreement",
        Kind.REAL,
        "predicted disagreement of human raters: entropy of the probabilities divided by its maximum",
        ("face", "disagreement"),
        "0 to 1",
        display=".2f",
        averaged=True,
    ),
    *(
        Column(name, Kind.REAL, meaning, ("face", name), "-1 to 1", display="+z.2f", averaged=True)
        for name, meaning in {
            "valence": "valence, from unpleasant to pleasant (see below)",
            "arousal": "arousal, from calm to excited (see below)",
        }.items()
    ),
    Column(
        "va_source",
        Kind.CATEGORY,
        "`regressed` (predicted by the model) or `projected` (expected value of published coordinates under the "
        "probabilities)",
        ("face", "va_source"),
        categories=("regressed", "projected"),
    ),
    Column(
        "quality",
        Kind.TEXT,
        "`ok`, or quality flags that make the answer less reliable (see below), joined by `+`",
        ("face", "quality", "code"),
    ),
    Column(
        "reason",
        Kind.CATEGORY,
        "why this row has no face (see below); empty if it has one",
        ("frame", "reason"),
        categories=tuple(map(str, Reason)),
    ),
    Column("model", Kind.TEXT, "name of the expression model", ("frame", "model")),
)
_LATER = (
    Column(
        "incomplete",
        Kind.BOOLEAN,
        "whether the photo's file is truncated; the part that could be decoded, at least nine tenths (for a "
        "progressive JPEG possibly in less detail), was analyzed",
        ("frame", "incomplete"),
    ),
)
"""Those that came after the probabilities had their place."""


def _expression(labels: tuple[str, ...]) -> Column:
    meaning = "the label with the highest probability; smoothed over time in videos (see below)"
    return Column("expression", Kind.CATEGORY, meaning, ("face", "expression"), categories=labels)


def _probability(label: str) -> Column:
    meaning = f"calibrated probability of `{label}`; the probabilities of all labels sum to 1"
    return Column(f"{PROBABILITY}{label}", Kind.REAL, meaning, ("face", "probabilities", label), "0 to 1", 6)


@dataclass(frozen=True)
class Schema:
    """The columns of all rows of one analyzer.

    Attributes:
        labels: of its model, in the order of the probabilities.
        extra: the columns of its measures, which stand behind those of every row.

    Raises:
        BadSetting: two columns have the same name.
    """

    labels: tuple[str, ...]
    extra: tuple[Column, ...] = ()

    def __post_init__(self) -> None:
        count = Counter(name.casefold() for name in self.names)  # as engines of queries compare them
        if twice := [name for name in self.names if count[name.casefold()] > 1]:
            raise BadSetting(f"two columns are named '{twice[0]}'; rename the one of your measure")

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """All of them, in order."""
        named = (*_FIRST, _expression(self.labels), *_LAST)
        return (*named, *map(_probability, self.labels), *_LATER, *self.extra)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The header."""
        return tuple(column.name for column in self.columns)

    def __getitem__(self, name: str) -> Column:
        """The column of this name.  Raises KeyError."""
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Column]:
        return {column.name: column for column in self.columns}

    def rows(self, frame: Any, faces: Sequence[Any]) -> list[Row]:
        """One row per face of an analysis, or one without a face; what does not apply is None."""
        found: Iterable[tuple[int | None, Any]] = enumerate(faces) if faces else [(None, None)]
        return [{column.name: column.cell(frame, place, face) for column in self.columns} for place, face in found]

    @classmethod
    def of_names(cls, names: Sequence[str], extra: Iterable[Column] = ()) -> "Schema":
        """The schema of a table with this header; of `extra` those that it has. Unknown headers are left out.

        Raises:
            BadSetting: there are columns of the same name.
        """
        labels = tuple(name.removeprefix(PROBABILITY) for name in names if name.startswith(PROBABILITY))
        return cls(labels, tuple(column for column in extra if column.name in names))
