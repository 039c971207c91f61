"""Expressions over time: smoothing that trusts sure frames more, labels that do not flicker, what is neutral for a
person, and events with onset, apex and offset.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from affectlens.core.affect import Face, Smoothed
from affectlens.core.errors import BadSetting
from affectlens.core.expressions import projected_affect
from affectlens.core.measures import Measure, MeasureFollower
from affectlens.core.probabilities import normalised_entropy
from affectlens.core.series import Event

Floats = NDArray[np.float64]

_LEAST = 0.001
"""Probabilities below it count as this: one sure but wrong frame must not weigh more than the ten around it."""
_DOUBT = 0.6
"""How much slower a frame on which raters would disagree in full moves what is shown."""
_REST = 0.8
"""Probability of neutral that a person at rest is given by `Baseline`."""
_MEDIAN = 5
"""Frames of the median that events are found on."""
_CLEAR = 0.7
"""A frame that is so sure of another expression does not show the person at rest."""


@dataclass(frozen=True)
class Smoothing:
    """How answers follow in time.

    Attributes:
        time_constant_s: of the exponential smoothing of a face on which raters would agree; the more they would not
            (`Face.disagreement`), the slower it follows. 0 smooths nothing.
        margin: by how much of its probability, in nats, another label must be ahead to replace the one that is shown.
        band: how far beyond the model's threshold a probability must be to change `uncertain`.
        baseline: learn what the person looks like at rest, and read that as neutral.

    Raises:
        BadSetting: a negative value.
    """

    time_constant_s: float = 0.08
    margin: float = 0.6
    band: float = 0.08
    baseline: bool = False

    def __post_init__(self) -> None:
        if min(self.time_constant_s, self.margin, self.band) < 0:
            raise BadSetting(
                f"time_constant_s, margin and band must be 0 or more, got {self.time_constant_s}, {self.margin}, "
                f"{self.band}"
            )


class FaceFollower:
    """Follows one face: smooths what is shown of it, if `smoothing` is given, and keeps the history of its measures.

    Attributes:
        seen_s: time of the last frame that it was given.
    """

    def __init__(
        self, smoothing: "Smoothing | None", uncertain_below: float, measures: tuple[Measure, ...] = ()
    ) -> None:
        self._smoother = Smoother(smoothing, uncertain_below) if smoothing is not None else None
        self._measures = MeasureFollower(measures)
        self.seen_s = 0.0

    def __call__(self, face: Face, time_s: float) -> Face:
        """The face as its row and its picture show it."""
        self.seen_s = time_s
        values, shown = self._measures(face.measures, time_s)
        face = replace(face, measures=values)
        if self._smoother is None:
            return face
        face = self._smoother(face, time_s)
        return face if face.smoothed is None else replace(face, smoothed=replace(face.smoothed, measures=shown))


class Smoother:
    """Follows one face; takes what was read of it frame by frame and gives what is to be shown."""

    def __init__(self, smoothing: Smoothing, uncertain_below: float) -> None:
        self._smoothing = smoothing
        self._uncertain_below = uncertain_below
        self._baseline = Baseline() if smoothing.baseline else None
        self._time_s: float | None = None
        self._logs = np.zeros(0)
        self._affect = np.zeros(2)
        self._expression = ""
        self._uncertain = False

    def __call__(self, face: Face, time_s: float) -> Face:
        """The face with a steady `expression` and `uncertain`, and `smoothed`; corrected by the baseline, if any."""
        labels = list(face.probabilities)
        if self._baseline is not None and "neutral" in labels:
            face = _at_rest(self._baseline, face, time_s)
        seen = np.array(list(face.probabilities.values()))
        logs = np.log(np.maximum(seen, _LEAST))
        affect = np.array([face.valence or 0.0, face.arousal or 0.0])
        if self._time_s is None:
            self._logs, self._affect = logs, affect
        else:
            gain = self._gain(time_s - self._time_s, face.disagreement)
            self._logs = self._logs + gain * (logs - self._logs)
            self._affect = self._affect + gain * (affect - self._affect)
        self._time_s = time_s
        shown = np.exp(self._logs - self._logs.max())
        shown = shown / shown.sum()
        self._settle(shown, labels)
        projected = projected_affect(shown[None], tuple(labels)) if face.va_source == "projected" else None
        valence, arousal = self._affect if projected is None else (projected[0][0], projected[1][0])
        known = face.va_source is not None
        return replace(
            face,
            expression=self._expression,
            uncertain=self._uncertain,
            smoothed=Smoothed(
                dict(zip(labels, shown.tolist(), strict=True)),
                float(valence) if known else None,
                float(arousal) if known else None,
            ),
        )

    def _gain(self, step_s: float, disagreement: float) -> float:
        """How much a frame counts, in [0, 1]: all after a long time, less where it is unsure."""
        if not self._smoothing.time_constant_s:
            return 1.0
        sureness = 1 - _DOUBT * disagreement
        return float(-np.expm1(-max(step_s, 0.0) * sureness / self._smoothing.time_constant_s))

    def _settle(self, shown: Floats, labels: Sequence[str]) -> None:
        """Change label and certainty only where the change is clear."""
        top = int(shown.argmax())
        first = not self._expression
        held = top if first else labels.index(self._expression)
        if np.log(shown[top] / shown[held]) >= self._smoothing.margin:
            held = top
        self._expression = labels[held]
        band = 0.0 if first else self._smoothing.band * (1 if self._uncertain else -1)
        self._uncertain = bool(shown[top] < self._uncertain_below + band)


class Baseline:
    """What the model says of one person at rest, learned as the frames come, and taken out of what it says later.

    The median of each label's log-probability over the last `window_s` seconds, without frames that clearly show
    another expression; where it has seen the person for three seconds, what it says then becomes neutral with 0.8.
    """

    def __init__(self, window_s: float = 30.0, least_s: float = 3.0, rate: float = 10.0) -> None:
        self._window_s, self._least_s, self._step_s = window_s, least_s, 1 / rate
        self._seen: deque[tuple[float, Floats]] = deque()
        self._offset: Floats | None = None

    def __call__(self, probabilities: Floats, neutral: int, time_s: float) -> Floats:
        """(C,) probabilities and the place of neutral -> corrected ones."""
        logs = np.log(np.maximum(probabilities, _LEAST))
        other = np.delete(probabilities, neutral)
        if (not self._seen or time_s - self._seen[-1][0] >= self._step_s - 1e-6) and other.max() < _CLEAR:
            self._seen.append((time_s, logs))
            while self._seen[0][0] < time_s - self._window_s:
                self._seen.popleft()
            if time_s - self._seen[0][0] >= self._least_s - 1e-6:
                rest = np.full(len(logs), np.log((1 - _REST) / len(other)))
                rest[neutral] = np.log(_REST)
                usual = np.median([row for _, row in self._seen], axis=0)
                self._offset = np.minimum(rest - usual, rest[neutral] - usual[neutral])
        if self._offset is None:
            return probabilities
        corrected = np.exp(logs + self._offset)
        return np.asarray(corrected / corrected.sum(), dtype=np.float64)


def _at_rest(baseline: "Baseline", face: Face, time_s: float) -> Face:
    """The face as the baseline of the person reads it; valence and arousal too where they are projected."""
    labels = tuple(face.probabilities)
    seen = np.array(list(face.probabilities.values()))
    corrected = baseline(seen, labels.index("neutral"), time_s)
    face = replace(
        face,
        probabilities=dict(zip(labels, corrected.tolist(), strict=True)),
        disagreement=float(normalised_entropy(corrected[None])[0]),
    )
    affect = projected_affect(corrected[None], labels)
    if face.va_source != "projected" or affect is None:
        return face
    return replace(face, valence=float(affect[0][0]), arousal=float(affect[1][0]))


class EventFinder:
    """Finds the events of one expression of one face; takes its probability frame by frame.

    Works on the median of five frames, which keeps edges where they are, and so answers two frames late. An event
    begins where that reaches `on` and ends where it falls below `off`. Its onset is the first frame of the rise that is
    a seventh of the way up from what was usual in the second before. What is shorter than `least_s` is none.

    Raises:
        BadSetting: not 0 < `off` <= `on` < 1.
    """

    def __init__(self, expression: str, on: float = 0.5, off: float = 0.35, least_s: float = 0.2) -> None:
        if not 0 < off <= on < 1:
            raise BadSetting(f"0 < off <= on < 1 is needed, got on {on} and off {off}")
        self._expression, self._on, self._off, self._least_s = expression, on, off, least_s
        self._window: deque[tuple[float, float]] = deque(maxlen=_MEDIAN)
        self._before: deque[tuple[float, float]] = deque()
        self._onset_s: float | None = None
        self._apex = (0.0, 0.0)

    def __call__(self, time_s: float, probability: float) -> Event | None:
        """The event that has ended, if one has."""
        self._window.extend([(time_s, probability)] * (1 if self._window else _MEDIAN // 2 + 1))
        return self._step() if len(self._window) == _MEDIAN else None

    def end(self) -> list[Event]:
        """What is still to be said where the face is gone."""
        if not self._window:
            return []
        last, found = self._window[-1], []
        for _ in range(_MEDIAN // 2):
            self._window.append(last)
            found.append(self._step())
        if self._onset_s is not None:
            found.append(self._event(last[0], ended=False))
        self._window.clear()
        return [event for event in found if event]

    def _step(self) -> Event | None:
        """Take the frame in the middle of the window."""
        time_s = self._window[_MEDIAN // 2][0]
        probability = sorted(p for _, p in self._window)[_MEDIAN // 2]
        if self._onset_s is None and probability >= self._on:
            self._onset_s, self._apex = self._risen(time_s), (probability, time_s)
            self._before.clear()
        elif self._onset_s is not None and probability < self._off:
            event = self._event(time_s, ended=True)
            self._before.append((time_s, probability))
            return event
        elif self._onset_s is not None:
            self._apex = max(self._apex, (probability, time_s), key=lambda apex: apex[0])
        else:
            self._before.append((time_s, probability))
            while self._before[0][0] < time_s - 1:
                self._before.popleft()
        return None

    def _risen(self, time_s: float) -> float:
        """When the rise that reached `on` at `time_s` began."""
        if not self._before:
            return time_s
        usual = float(np.median([probability for _, probability in self._before]))
        level = usual + max(self._on - usual, 0.0) / 7
        begun = time_s
        for earlier_s, probability in reversed(self._before):
            if probability <= level:
                break
            begun = earlier_s
        return begun

    def _event(self, end_s: float, ended: bool) -> Event | None:
        onset_s, self._onset_s = self._onset_s, None
        if onset_s is None or end_s - onset_s < self._least_s:
            return None
        return Event(self._expression, onset_s, self._apex[1], end_s, self._apex[0], ended)


def events(times_s: Iterable[float], probabilities: Floats, labels: Sequence[str]) -> Iterator[Event]:
    """(T,) times and (T, C) probabilities of one face, each frame's own -> the events of all labels but neutral, by
    onset.
    """
    finders = {i: EventFinder(label) for i, label in enumerate(labels) if label != "neutral"}
    found: list[Event | None] = []
    for time_s, row in zip(times_s, probabilities, strict=True):
        found.extend(finder(time_s, float(row[i])) for i, finder in finders.items())
    found.extend(event for finder in finders.values() for event in finder.end())
    yield from sorted((event for event in found if event), key=lambda event: event.onset_s)
