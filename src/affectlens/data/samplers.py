"""Samplers yield batches of picks, (B, 2) int64: the row of a face, and how often it occurred before in this epoch.
They depend only on the table, the seed and the epoch.

`SAMPLERS` maps the names used in recipes:

- `shuffle`: every face once.
- `expression`: faces drawn with replacement, weighted by the inverse frequency of their class, so that classes occur
    equally often (Antoniadis, section 5.3.2, whose eq. 5.3.1 is inverted; Caciolai's and Da Re's weighted random
    sampling).
- `age`: likewise with the inverse frequency of the age group (Antoniadis, section 5.3.1, which defines neither groups
    nor weights: decades, inverse frequency and an equal share for unknown ages are ours).
- `augment`: every face once, then further copies of the faces of smaller classes until all are as large as the largest;
  augmentation makes the copies differ (Vats and Chadha, section 3.3).
"""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from affectlens.core.errors import BadData, BadSetting
from affectlens.data.table import FaceTable

Rows = NDArray[np.int64]
AGE_EDGES = (10, 20, 30, 40, 50, 60, 70)
"""Years at which a new age group begins."""


class EpochOrder(Protocol):
    """The rows of one epoch in order; `random` is the epoch's own generator."""

    def __call__(self, table: FaceTable, random: np.random.Generator) -> Rows: ...


def age_group(age_years: NDArray[np.floating]) -> NDArray[np.int64]:
    """(N,) years -> (N,) number of the age group, 0 below the first of `AGE_EDGES`; unknown ages (NaN) are a group."""
    groups = np.digitize(age_years, AGE_EDGES)
    return np.where(np.isnan(age_years), len(AGE_EDGES) + 1, groups).astype(np.int64)


def age_group_name(group: int) -> str:
    """What people read for a number of `age_group`."""
    if group > len(AGE_EDGES):
        return ""
    if group == len(AGE_EDGES):
        return f"{AGE_EDGES[-1]}+"
    low = AGE_EDGES[group - 1] if group else 0
    return f"{low}-{AGE_EDGES[group] - 1}"


def inverse_frequency(groups: NDArray[np.integer]) -> NDArray[np.float64]:
    """(N,) group numbers >= 0 -> (N,) weights that sum to 1 in all and to the same in every group."""
    counts = np.bincount(groups)
    weights = 1.0 / counts[groups]
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def classes_of(table: FaceTable) -> Rows:
    """(N,) class of each face; where the raters have no majority, the most frequent vote."""
    return np.where(table.targets >= 0, table.targets, table.votes.argmax(axis=1)).astype(np.int64)


def stratified(table: FaceTable, share: float, seed: int) -> NDArray[np.bool_]:
    """(N,) true for the `share` in (0, 1] of each class's faces, at least one, drawn by `seed`."""
    random = np.random.default_rng(seed)
    classes = classes_of(table)
    chosen = np.zeros(len(table), dtype=bool)
    for label in np.unique(classes):
        rows = random.permutation(np.flatnonzero(classes == label))
        chosen[rows[: max(1, round(share * len(rows)))]] = True
    return chosen


def balanced(table: FaceTable, seed: int) -> NDArray[np.bool_]:
    """(N,) true for equally many labelled faces of each class that has any, as many as the smallest has; by `seed`."""
    random = np.random.default_rng(seed)
    chosen = np.zeros(len(table), dtype=bool)
    rows = [np.flatnonzero(table.targets == label) for label in np.unique(table.targets[table.labelled])]
    for own in rows:
        chosen[random.permutation(own)[: min(map(len, rows))]] = True
    return chosen


def at_most(table: FaceTable, faces: int, seed: int) -> NDArray[np.bool_]:
    """(N,) true for the faces of each class, or for so many of them, drawn by `seed`, where it has more."""
    random = np.random.default_rng(seed)
    classes = classes_of(table)
    chosen = np.zeros(len(table), dtype=bool)
    for label in np.unique(classes):
        chosen[random.permutation(np.flatnonzero(classes == label))[:faces]] = True
    return chosen


def in_turns(table: FaceTable) -> NDArray[np.int64]:
    """(N,) rows in an order in which the classes take turns, for looking at some of each."""
    classes = classes_of(table)
    by_class = np.argsort(classes, kind="stable")
    first_of_class = np.searchsorted(classes[by_class], classes[by_class])
    turn = np.empty(len(table), dtype=np.int64)
    turn[by_class] = np.arange(len(table)) - first_of_class
    return np.argsort(turn, kind="stable")


def _shuffle(table: FaceTable, random: np.random.Generator) -> Rows:
    return random.permutation(len(table))


def _expression(table: FaceTable, random: np.random.Generator) -> Rows:
    return random.choice(len(table), len(table), p=inverse_frequency(classes_of(table)))


def _age(table: FaceTable, random: np.random.Generator) -> Rows:
    if np.isnan(table.age_years).all():
        raise BadData("the sampler 'age' needs a column age_years, in the data or in ?meta=FILE")
    return random.choice(len(table), len(table), p=inverse_frequency(age_group(table.age_years)))


def _augment(table: FaceTable, random: np.random.Generator) -> Rows:
    classes = classes_of(table)
    largest = int(np.bincount(classes).max())
    rows = [np.arange(len(table))]
    for group in np.unique(classes):
        members = np.flatnonzero(classes == group)
        rows.append(random.permutation(np.resize(members, largest - len(members))))
    return random.permutation(np.concatenate(rows))


SAMPLERS: dict[str, EpochOrder] = {"shuffle": _shuffle, "expression": _expression, "age": _age, "augment": _augment}


class EpochBatches:
    """Batches of an epoch in the order of the named sampler; the last, incomplete batch is left out
    (the loaders of Antoniadis, Caciolai and POSTER++ keep it).

    With `ranks` processes each takes its share of every batch, so that together they do what one alone would.

    Raises:
        BadData: the sampler needs what the table does not have. BadSetting: the processes' shares are not equal.
    """

    def __init__(
        self, table: FaceTable, sampler: str, batch_size: int, seed: int, rank: int = 0, ranks: int = 1
    ) -> None:
        self.table = table
        self.order = SAMPLERS[sampler]
        self.seed = seed
        self.epoch = 0
        self.rank, self.ranks = rank, ranks
        self.rows = len(self.order(table, np.random.default_rng((seed, 0))))
        self.batch_size = min(batch_size, self.rows)
        if self.batch_size % ranks:
            raise BadSetting(f"a batch_size of {self.batch_size} cannot be divided evenly between {ranks} processes")

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.rows // self.batch_size

    def __iter__(self) -> Iterator[Rows]:
        order = self.order(self.table, np.random.default_rng((self.seed, self.epoch)))
        picks = np.stack([order, _copies(order)], axis=1)
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            yield picks[start : start + self.batch_size][self.rank :: self.ranks]


class InOrder:
    """All rows once, in table order."""

    def __init__(self, rows: int, batch_size: int) -> None:
        self.rows = rows
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-self.rows // self.batch_size)

    def __iter__(self) -> Iterator[Rows]:
        for start in range(0, self.rows, self.batch_size):
            index = np.arange(start, min(start + self.batch_size, self.rows))
            yield np.stack([index, np.zeros_like(index)], axis=1)


def _copies(order: Rows) -> Rows:
    """(N,) rows -> (N,) how often each came before."""
    by_row = np.argsort(order, kind="stable")
    first = np.flatnonzero(np.append(True, np.diff(order[by_row]) != 0))
    before = np.empty_like(order)
    before[by_row] = np.arange(len(order)) - np.repeat(first, np.diff(np.append(first, len(order))))
    return before
