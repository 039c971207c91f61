"""The result for one face."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from affectlens.core.quality import Quality


@dataclass(frozen=True, eq=False)
class Explanation:
    """Where a model looked when it classified the expression of a face.

    Attributes:
        crop: (H, W, 3) RGB uint8, the face as cropped for the model.
        heat: (H, W) float32 in [0, 1] over `crop`; scaled to a maximum of 1, or 0 everywhere if there is no evidence.
        method: "evidence" (evidence for the expression at each place, which adds up to the logit), "attention" (how
            much the model looks at each place, regardless of its answer) or "occlusion" (drop of the logit when a place
            is covered).
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
    """One face in one image. In a video, `expression` and `uncertain` are smoothed over time: they change only when the
    change is clear (`runtime.temporal`). All other fields except `smoothed` are those of this frame, corrected by the
    person's baseline if that was requested.

    Attributes:
        box_xyxy: (4,) float32, pixels of the image, origin at its top left corner; may extend beyond the image.
        landmarks_xy: (5, 2) float32, pixels: eyes, nose, mouth corners, left to right as seen in the image; NaN if the
            detector has none.
        score: detector's confidence that this is a face, in [0, 1].
        probabilities: calibrated probability of each label; they sum to 1.
        expression: the label with the highest probability; in a video, the smoothed label.
        uncertain: whether that probability is below the model's threshold; `answer` is then "uncertain".
        disagreement: predicted disagreement of human raters: entropy of the probabilities divided by its maximum, 0
            (full agreement) to 1 (evenly split).
        valence, arousal: in [-1, 1]; None if the model's labels have no coordinates.
        va_source: "regressed" (predicted by the model), "projected" (expected value of published coordinates under the
            probabilities) or None.
        explanation: where the model looked; None unless requested.
        track: number of this face in its video, from 0, never reused for another face; None in photos.
        smoothed: values smoothed over time, for display; None in photos.
        quality: how well the face can be seen; None if not measured.
        measures: further measures of the face, by measure and column (`core.measures`), not rounded:
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
        """Probability of `expression` (in a video, smoothed) in whole per cent, rounded down, so that nothing is shown
        as 100 % certain.
        """
        shown = self.smoothed or self
        return int(100 * shown.probabilities[self.expression])

    @property
    def answer(self) -> str:
        """The expression, or "uncertain"."""
        return "uncertain" if self.uncertain else self.expression

    @property
    def wording(self) -> str:
        """The expression, or "uncertain" with the most likely one."""
        return f"uncertain ({self.expression}?)" if self.uncertain else self.expression
