"""Statistics of the training set for losses and networks."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from affectlens.core.errors import BadData, BadSetting


@dataclass(frozen=True, eq=False)
class DatasetStatistics:
    """A training set in the numbers that depend on all of it.

    Attributes:
        labels: names of the C classes in the order of the logits.
        targets: (N,) int64 index into `labels`, -1 where a face has no single label.
        affect: (N, 2) float32 valence and arousal in [-1, 1], NaN where unknown.
        votes: (N, C) float32 distributions over `labels`, all 0 where nothing is known; None where nobody asks.
        feature_width: D of the network's feature vector; 0 where it gives none.
    """

    labels: tuple[str, ...]
    targets: NDArray[np.int64]
    affect: NDArray[np.float32]
    feature_width: int = 0
    votes: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if self.affect.shape != (len(self.targets), 2):
            raise BadData(
                f"affect must have one row for each of {len(self.targets)} targets, got shape {self.affect.shape}"
            )
        if self.votes is not None and self.votes.shape != (len(self.targets), len(self.labels)):
            raise BadData(
                f"votes must have one row for each of {len(self.targets)} targets, got shape {self.votes.shape}"
            )

    @property
    def class_counts(self) -> NDArray[np.int64]:
        """(C,) faces of each class."""
        return np.bincount(self.targets[self.targets >= 0], minlength=len(self.labels))

    @property
    def class_shares(self) -> NDArray[np.float64]:
        """(C,) how frequent each class is among the faces with a label, as if each had one face more."""
        counts = self.class_counts + 1
        return np.asarray(counts / counts.sum())

    def known_affect(self, what: str) -> NDArray[np.float32]:
        """(M, 2) valence and arousal of the faces that have both.

        Raises:
            BadSetting: none has, which `what` needs.
        """
        known = self.affect[np.isfinite(self.affect).all(axis=1)]
        if not len(known):
            raise BadSetting(
                f"{what} needs training faces with valence and arousal, but there are none (for ferplus, use "
                "?va=projected)"
            )
        return known

    @property
    def described(self) -> NDArray[np.bool_]:
        """(N,) true where a face has one label, valence and arousal."""
        return (self.targets >= 0) & np.isfinite(self.affect).all(axis=1)

    @property
    def class_affect(self) -> NDArray[np.float32]:
        """(C, 2) mean valence and arousal of each class, 0 where no face of it has any."""
        targets, affect = self.targets[self.described], self.affect[self.described]
        counts = np.bincount(targets, minlength=len(self.labels))
        sums = np.stack([np.bincount(targets, column, len(self.labels)) for column in affect.T], axis=1)
        return (sums / np.maximum(counts, 1)[:, None]).astype(np.float32)
