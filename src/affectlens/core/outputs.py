"""Network outputs in addition to the expression logits, each defined once.

Training and its validation metrics, the exported file, evaluation, the runtime and its rows are derived from the
entries of `OUTPUTS`: a new network output needs a new entry here, plus a loss and a field of `data.table.FaceTable` if
there are none yet. Names that depend on the data, such as those of attributes, come with the data and are stored in the
exported file (`core.session.ModelSpec.output_names`).
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from affectlens.core.columns import Column, Kind
from affectlens.core.measures import Measure, Values, View
from affectlens.core.probabilities import softmax

Floats = NDArray[np.float32]

AFFECT = "affect"
"""Name of the output with valence and arousal."""
_NAME = "{name}"
"""Stands in the name and the meaning of a column for the name of a number."""


def _as_they_are(raw: Floats) -> Floats:
    return raw


@dataclass(frozen=True)
class Output:
    """One output of networks: (N, D) numbers of N faces.

    Attributes:
        name: of the output in the network's answer, in the exported file, and everywhere else.
        meaning: a noun phrase for messages.
        target: the name under which losses ask for the truth.
        fields: those of a `data.table.FaceTable` that hold the truth, side by side (N, K); none where training makes it
            of something else.
        loss: the one in `losses/` that a recipe means that names this output among its losses.
        decode: raw numbers of the network -> what they say, of the same shape.
        names: of the D numbers, where they are always the same.
        names_field: the field of a `FaceTable` with the names, where they depend on the data; "" for none.
        partly_known: the truth of a face may be known in some of the numbers only.
        metric: function of `evaluation.metrics`, (N, D) decoded numbers and (N, K) truth -> (J,) values, whose mean is
            logged and reported. "" for none.
        metric_name: name of that mean: `valid_NAME` in curves.csv, and what a recipe may `select` by.
        best: whether the largest or the smallest value is.
        exported: the exported file has it; its mean over a face and its mirror image must mean something then.
        column: of its numbers in rows, `{name}` in its name and meaning for that of a number: one column for each, or
            one for all. None where rows need none.
        cells: (D,) decoded numbers of a face -> a cell for each column.
    """

    name: str
    meaning: str
    target: str
    fields: tuple[str, ...]
    loss: str
    decode: Callable[[Floats], Floats] = _as_they_are
    names: tuple[str, ...] = ()
    names_field: str = ""
    partly_known: bool = False
    metric: str = ""
    metric_name: str = ""
    best: Literal["max", "min"] = "max"
    exported: bool = True
    column: Column | None = None
    cells: Callable[[Floats], Sequence[Any]] = np.ndarray.tolist

    def names_in(self, table: Any) -> tuple[str, ...]:
        """What the numbers are called in a `FaceTable`; () where it does not say."""
        return self.names or (tuple(getattr(table, self.names_field)) if self.names_field else ())

    def truth(self, table: Any, names: tuple[str, ...] = ()) -> Floats:
        """(N, K) float32 what a `FaceTable` knows, NaN where unknown; in the order of `names` where it has some too."""
        columns = [np.asarray(getattr(table, field), dtype=np.float32) for field in self.fields]
        found = np.concatenate(
            [column.reshape(len(column), int(np.prod(column.shape[1:]))) for column in columns], axis=1
        )
        own = self.names_in(table)
        if not names or not own or names == own:
            return found
        unknown = np.full(len(found), np.nan, dtype=np.float32)
        return np.stack([found[:, own.index(name)] if name in own else unknown for name in names], axis=1)

    def known(self, truth: NDArray[np.floating]) -> NDArray[np.bool_]:
        """(N,) the faces whose (N, K) truth is known."""
        finite = np.isfinite(truth)
        return np.asarray(finite.any(axis=1) if self.partly_known else finite.all(axis=1) & bool(truth.shape[1]))

    def columns(self, names: tuple[str, ...]) -> tuple[Column, ...]:
        """Those of an output whose numbers have these names."""
        if self.column is None:
            return ()
        if _NAME not in self.column.name:
            return (self.column,)
        return tuple(
            replace(
                self.column,
                name=self.column.name.replace(_NAME, slug),
                meaning=self.column.meaning.replace(_NAME, name),
            )
            for name, slug in zip(names, _slugs(names), strict=True)
        )

    def columns_in(self, header: Sequence[str]) -> tuple[Column, ...]:
        """Those of a table with this header that are of this output."""
        if self.column is None:
            return ()
        begin, _, end = self.column.name.partition(_NAME)
        names = self.names or tuple(
            name[len(begin) : len(name) - len(end)] for name in header if name.startswith(begin) and name.endswith(end)
        )
        return tuple(column for column in self.columns(names) if column.name in header)

    def measure(self, names: tuple[str, ...]) -> Measure | None:
        """What is said of a face in these columns; None where the output has none."""
        columns = self.columns(names)
        if not columns:
            return None
        header = [column.name for column in columns]

        def measure(face: View) -> Values:
            return dict(zip(header, self.cells(face.outputs[self.name]), strict=True))

        return Measure(self.name, columns, measure, needs=(self.name,))


def _slugs(names: Sequence[str]) -> list[str]:
    """Names as parts of column names: in lower case, with underscores; numbered where two are the same."""
    slugs: list[str] = []
    for name in names:
        plain = re.sub(r"\W+", "_", name.lower()).strip("_") or "unnamed"
        slug, count = plain, 1
        while slug in slugs:
            count += 1
            slug = f"{plain}_{count}"
        slugs.append(slug)
    return slugs


def _held(raw: Floats) -> Floats:
    """Clipped to the range of annotations, for metrics too; Antoniadis (eq. 5.1.4) and his code do not clip."""
    return raw.clip(-1, 1)


def _sigmoid(raw: Floats) -> Floats:
    return np.asarray(0.5 * (1 + np.tanh(raw / 2)), dtype=np.float32)  # which does not overflow


def _of_divisions(raw: Floats) -> Floats:
    """Two logits are those of the signs of valence and arousal, more those of sectors."""
    return _sigmoid(raw) if raw.shape[1] == 2 else softmax(raw).astype(np.float32)


def sectors(affect: NDArray[np.floating], number: int) -> NDArray[np.int64]:
    """(N, 2) valence and arousal -> (N,) sector of their plane from 0 to `number` - 1, counter-clockwise from positive
    valence.
    """
    turn = np.arctan2(affect[:, 1], affect[:, 0], dtype=np.float64) % (2 * np.pi)
    return np.asarray(np.floor(turn / (2 * np.pi / number)), dtype=np.int64).clip(0, number - 1)


def _sector(values: Floats) -> tuple[int]:
    """The likeliest sector; of two signs the quarter of the plane."""
    if len(values) != 2:
        return (int(values.argmax()),)
    return (int(sectors(np.where(values > 0.5, 1, -1)[None], 4)[0]),)


def _by_name(outputs: Iterable[Output]) -> dict[str, Output]:
    return {output.name: output for output in outputs}


OUTPUTS = _by_name(
    (
        Output(
            AFFECT,
            "valence and arousal",
            "affect_target",
            ("valence", "arousal"),
            "va_ccc",
            _held,
            names=("valence", "arousal"),
            metric="ccc_of_each",
            metric_name="ccc",
        ),
        Output(
            "attributes",
            "facial attributes",
            "attribute_target",
            ("attributes",),
            "attribute_bce",
            _sigmoid,
            names_field="attribute_names",
            partly_known=True,
            metric="accuracy_of_each",
            metric_name="attribute_accuracy",
            column=Column(
                "attribute_{name}",
                Kind.REAL,
                "probability of the attribute `{name}`",
                (),
                "0 to 1",
            ),
        ),
        Output(
            "divisions",
            "the signs or the sector of valence and arousal",
            "affect_target",
            ("valence", "arousal"),
            "va_divisions",
            _of_divisions,
            metric="accuracy_of_divisions",
            metric_name="division_accuracy",
            column=Column(
                "va_sector",
                Kind.INTEGER,
                "most likely sector of the valence-arousal plane, numbered from 0 counter-clockwise from "
                "positive valence; the model defines how many there are",
                (),
            ),
            cells=_sector,
        ),
        Output(
            "mask", "a mask of eyes and mouth", "mask_target", (), "mask_bce", _sigmoid, exported=False
        ),  # `training.masks` draws the truth
    )
)
"""Every output by its name. `affect` stands in columns that all rows have."""
