"""What a model says about faces before calibration."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Answers:
    """Raw answers for N faces.

    Attributes:
        logits: (N, classes) float32.
        affect: (N, 2) float32 valence and arousal in [-1, 1] of a model that regresses them, else None.
        explanation: (N, classes, h, w) float32 evidence for each class at each place of the face, or (N, 1, h, w) how
            much the model looks at it; None where it was not asked for or the model does not say.
    """

    logits: NDArray[np.float32]
    affect: NDArray[np.float32] | None = None
    explanation: NDArray[np.float32] | None = None

    @classmethod
    def joined(cls, parts: "list[Answers]") -> "Answers":
        """One after the other."""
        affect = [part.affect for part in parts if part.affect is not None]
        seen = [part.explanation for part in parts if part.explanation is not None]
        return cls(
            np.concatenate([part.logits for part in parts]),
            np.concatenate(affect) if affect else None,
            np.concatenate(seen) if seen else None,
        )
