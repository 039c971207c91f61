"""A face followed through a video, and what happened on it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from affectlens.core.errors import BadData

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Series:
    """One face in T frames of a video.

    Attributes:
        source: the video. track: number of the face in it. labels: names of the C expressions.
        times_s: (T,) seconds from the beginning of the video, rising.
        probabilities: (T, C), each frame's own.
        expressions: T labels as they were shown; uncertain: (T,) where none was sure enough.
        valence, arousal: (T,) in [-1, 1], NaN where not known.

    Raises:
        BadData: lengths differ, or times do not rise.
    """

    source: str
    track: int
    labels: tuple[str, ...]
    times_s: Floats
    probabilities: Floats
    expressions: tuple[str, ...]
    uncertain: NDArray[np.bool_]
    valence: Floats
    arousal: Floats

    def __post_init__(self) -> None:
        frames = len(self.times_s)
        lengths = {len(self.expressions), len(self.uncertain), len(self.valence), len(self.arousal)}
        if lengths != {frames} or self.probabilities.shape != (frames, len(self.labels)):
            raise BadData(f"face {self.track} of '{self.source}' has columns of different lengths")
        if not np.isfinite(self.times_s).all() or not np.isfinite(self.probabilities).all():
            raise BadData(f"face {self.track} of '{self.source}' has frames without a time or without probabilities")
        if (np.diff(self.times_s) < 0).any():
            raise BadData(f"times of face {self.track} of '{self.source}' do not rise; a video stands there twice?")


@dataclass(frozen=True)
class Event:
    """One showing of an expression other than neutral.

    Attributes:
        expression: its label.
        onset_s, apex_s, offset_s: beginning of the rise, moment of the highest probability, end; seconds of the video.
        intensity: the highest probability.
        ended: False where the face or the video was gone before the expression.
    """

    expression: str
    onset_s: float
    apex_s: float
    offset_s: float
    intensity: float
    ended: bool

    @property
    def duration_s(self) -> float:
        """From onset to offset."""
        return self.offset_s - self.onset_s
