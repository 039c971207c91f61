"""Samplers yield batches of row numbers; their order is a function of (seed, epoch) alone."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


class EpochShuffle:
    """A new order every epoch; the last, incomplete batch is left out (its rows come in other epochs)."""

    def __init__(self, rows: int, batch_size: int, seed: int) -> None:
        self.rows = rows
        self.batch_size = min(batch_size, rows)
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.rows // self.batch_size

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.rows)
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            yield order[start : start + self.batch_size]


class InOrder:
    """All rows once, in table order."""

    def __init__(self, rows: int, batch_size: int) -> None:
        self.rows = rows
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-self.rows // self.batch_size)

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        for start in range(0, self.rows, self.batch_size):
            yield np.arange(start, min(start + self.batch_size, self.rows))
