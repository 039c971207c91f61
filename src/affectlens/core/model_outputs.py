"""Outputs of a model for faces, before calibration."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from affectlens.core.outputs import AFFECT


@dataclass(frozen=True, eq=False)
class ModelOutputs:
    """The outputs of a model for N faces.

    Attributes:
        logits: (N, classes) float32, raw.
        others: (N, D) float32 of each further output of the model that was asked for, by its name in `core.outputs`:
            what it says (valence and arousal in [-1, 1], probabilities), not the raw numbers.
        explanation: (N, classes, h, w) float32 evidence for each class at each place of the face, or (N, 1, h, w) how
            much the model looks at it; None where it was not asked for or the model does not say.
    """

    logits: NDArray[np.float32]
    others: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    explanation: NDArray[np.float32] | None = None

    @property
    def affect(self) -> NDArray[np.float32] | None:
        """(N, 2) float32 valence and arousal in [-1, 1] of a model that regresses them, else None."""
        return self.others.get(AFFECT)

    @property
    def are_finite(self) -> bool:
        """Whether all numbers are, but those of the explanation."""
        return all(bool(np.isfinite(numbers).all()) for numbers in (self.logits, *self.others.values()))

    @classmethod
    def joined(cls, parts: "list[ModelOutputs]") -> "ModelOutputs":
        """One after the other."""
        seen = [part.explanation for part in parts if part.explanation is not None]
        return cls(
            np.concatenate([part.logits for part in parts]),
            {name: np.concatenate([part.others[name] for part in parts]) for name in parts[0].others},
            np.concatenate(seen) if seen else None,
        )
