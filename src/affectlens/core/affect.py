"""What is said about one face."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from affectlens.core.quality import Quality


@dataclass(frozen=True, eq=False)
class Explanation:
    """Where a model looked when it named the expression of a face.

    Attributes:
        crop: (H, W, 3) RGB uint8, the face as it was cut for the model.
        heat: (H, W) float32 in [0, 1] over `crop`; 1 where most of it lies, 0 everywhere where nothing does.
        method: "evidence" (what speaks for the expression at each place; together it is the logit), "attention" (how
            much the model looks at each place, whatever it says) or "occlusion" (what is lost when a place is covered).
    """

    crop: NDArray[np.uint8]
    heat: NDArray[np.float32]
    method: str


@dataclass(frozen=True, eq=False)
class Smoothed:
    """What is to be shown of a face in a video, where the frames before count too.

    Attributes:
        probabilities: of each label; they sum to 1.
        valence, arousal: in [-1, 1], or None.
        measures: as those of the face, their numbers smoothed.
    """

    probabilities: dict[str, float]
    valence: float | None
    arousal: float | None
    measures: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Face:
    """One face of one image. In a video `expression` and `uncertain` follow in time: they change only where the change
    is clear (`runtime.temporal`). All other fields but `smoothed` are those of this frame, corrected by the person's
    baseline if that was asked for.

    Attributes:
        box_xyxy: (4,) float32, pixels of the image, origin at its top left corner; may reach beyond it.
        landmarks_xy: (5, 2) float32, pixels: eyes, nose, mouth corners, left to right as seen in the image; NaN where
            the detector gives none.
        score: confidence of the detector that this is a face, in [0, 1].
        probabilities: calibrated probability of each label; they sum to 1.
        expression: the label with the highest probability; in a video, the one that is shown.
        uncertain: that probability is below the model's threshold; `answer` then is "uncertain".
        disagreement: predicted disagreement of human raters: entropy of the probabilities divided by its maximum,
            0 (all would say the same) to 1 (evenly split).
        valence, arousal: in [-1, 1]; None where the model's labels have no coordinates.
        va_source: "regressed" by the model, "projected" (expectation of published coordinates under the probabilities)
            or None.
        explanation: where the model looked; None unless it was asked for.
        track: number of this face in its video, from 0 and never used again for another; None in photos.
        smoothed: what is to be shown of it; None in photos.
        quality: how well it can be seen; None where that was not measured.
        measures: what else is said of it, by measure and column (`core.measures`), as it was measured, not rounded:
            `face.measures["pose"]["yaw_deg"]`.
    """

    box_xyxy: NDArray[np.float32]
    landmarks_xy: NDArray[np.float32]
    score: float
    probabilities: dict[str, float]
    expression: str
    uncertain: bool
    disagreement: float
    valence: float | None
    arousal: float | None
    va_source: str | None
    explanation: Explanation | None = None
    track: int | None = None
    smoothed: Smoothed | None = None
    quality: Quality | None = None
    measures: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def percent(self) -> int:
        """Probability of `expression` (in a video, smoothed) in whole per cent, rounded down: nothing is 100 % sure."""
        shown = self.smoothed or self
        return int(100 * shown.probabilities[self.expression])

    @property
    def answer(self) -> str:
        """The expression, or "uncertain"."""
        return "uncertain" if self.uncertain else self.expression

    @property
    def wording(self) -> str:
        """The expression, or that it is uncertain and which it might be."""
        return f"uncertain ({self.expression}?)" if self.uncertain else self.expression
