"""A face followed through a video, and its events."""

from dataclasses import dataclass
from enum import StrEnum

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
            raise BadData(f"face {self.track} of '{self.source}' must have columns of equal length")
        if not np.isfinite(self.times_s).all() or not np.isfinite(self.probabilities).all():
            raise BadData(f"face {self.track} of '{self.source}' has frames without a time or without probabilities")
        if (np.diff(self.times_s) < 0).any():
            raise BadData(
                f"times of face {self.track} of '{self.source}' must increase; the table may contain the video twice"
            )


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


class EventKind(StrEnum):
    """Kind of event in a stream, and when it is reported."""

    APPEARED = "appeared"
    """A face was seen for the first time; reported with that frame."""
    LEFT = "left"
    """A face was seen for the last time; reported with the first frame two seconds later, or immediately if the scene
    changes or the stream ends."""
    ONSET = "onset"
    """An expression began to rise; reported two frames after it has lasted 0.2 seconds; shorter ones are not events."""
    APEX = "apex"
    """The expression reached its highest probability so far; reported two frames after it has fallen a third of the way
    to the end of the event, or with that end. If it rises higher again, another apex follows; the last one before the
    offset is the final one."""
    OFFSET = "offset"
    """The expression ended; reported two frames later. If the person leaves before that, the time of the last sighting.
    """


@dataclass(frozen=True)
class StreamEvent:
    """An event of a person in a stream, reported as soon as it is certain.

    Attributes:
        kind: what happened; `EventKind` describes when each kind is reported.
        track: number of the person (`Face.track`).
        time_s: when it happened, not when it was reported; seconds on the clock of the stream.
        expression: the one that began, peaked or ended; None for faces that appear or leave.
        intensity: its highest probability so far, in [0, 1]; None for faces that appear or leave.
    """

    kind: EventKind
    track: int
    time_s: float
    expression: str | None = None
    intensity: float | None = None
