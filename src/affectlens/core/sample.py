"""One labelled face as every reader yields it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from affectlens.core.errors import BadData


@dataclass(frozen=True, eq=False)
class Sample:
    """A face image on disk with what people said about it.

    Attributes:
        id: unique within its data set, stable between runs.
        path: image file.
        split: "train", "valid" or "test".
        expression: the label, or None where the raters did not agree (or the protocol drops the face from scoring).
        votes: (C,) float32 distribution over the data set's labels, sums to 1, or None where there are no votes.
    """

    id: str
    path: Path
    split: str
    expression: str | None = None
    votes: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if self.votes is None:
            return
        if not np.isclose(float(self.votes.sum()), 1.0, atol=1e-4) or float(self.votes.min()) < 0:
            raise BadData(
                f"votes of sample '{self.id}' sum to {float(self.votes.sum()):.4f} with a minimum of "
                f"{float(self.votes.min()):.4f}, expected a distribution"
            )
