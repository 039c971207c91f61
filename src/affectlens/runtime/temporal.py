"""Expressions over time: smoothing that gives confident frames more weight, stable labels, the baseline of each person,
and events with onset, apex and offset.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from affectlens.core.affect import Face, Smoothed
from affectlens.core.errors import BadSetting
from affectlens.core.expressions import projected_affect
from affectlens.core.measures import Measure, MeasureFollower
from affectlens.core.probabilities import normalized_entropy
from affectlens.core.series import Event, EventKind

Floats = NDArray[np.float64]
Known: TypeAlias = tuple[EventKind, Event]
"""What has become known of an event, and the event so far."""

_MIN_PROBABILITY = 0.001
"""Probabilities below it count as this: one sure but wrong frame must not weigh more than the ten around it."""
_DISAGREEMENT_WEIGHT = 0.6
"""How much slower a frame on which raters would disagree in full moves what is shown."""
_RESTING_NEUTRAL = 0.8
"""Probability of neutral that a person at rest is given by `RestingBaseline`."""
_MEDIAN_FRAMES = 5
"""Frames of the median that events are found on."""
_CLEAR_PROBABILITY = 0.7
"""A frame that is so sure of another expression does not show the person at rest."""
_APEX_DECLINE = 1 / 3
"""How far a probability must fall from its highest value towards the end of the event before that value is an apex."""


@dataclass(frozen=True)
class Smoothing:
    """Settings for temporal smoothing.

    Attributes:
        time_constant_s: time constant of the exponential smoothing for a face that raters would agree on; the higher
            the predicted disagreement (`Face.disagreement`), the slower the smoothing. 0 turns smoothing off.
        margin: log-probability difference in nats by which another label must lead to replace the current one.
        band: distance from the model's threshold that a probability must exceed to change `uncertain`.
        baseline: learn how each person looks at rest, and treat that as neutral.

    Raises:
        BadSetting: a value is negative.
    """

    time_constant_s: float = 0.08
    margin: float = 0.6
    band: float = 0.08
    baseline: bool = False

    def __post_init__(self) -> None:
        if min(self.time_constant_s, self.margin, self.band) < 0:
            raise BadSetting(
                f"time_constant_s, margin and band must be >= 0, got {self.time_constant_s}, {self.margin}, {self.band}"
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
        self._baseline = RestingBaseline() if smoothing.baseline else None
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
        logs = np.log(np.maximum(seen, _MIN_PROBABILITY))
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
        sureness = 1 - _DISAGREEMENT_WEIGHT * disagreement
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


class RestingBaseline:
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
        logs = np.log(np.maximum(probabilities, _MIN_PROBABILITY))
        other = np.delete(probabilities, neutral)
        if (not self._seen or time_s - self._seen[-1][0] >= self._step_s - 1e-6) and other.max() < _CLEAR_PROBABILITY:
            self._seen.append((time_s, logs))
            while self._seen[0][0] < time_s - self._window_s:
                self._seen.popleft()
            if time_s - self._seen[0][0] >= self._least_s - 1e-6:
                rest = np.full(len(logs), np.log((1 - _RESTING_NEUTRAL) / len(other)))
                rest[neutral] = np.log(_RESTING_NEUTRAL)
                usual = np.median([row for _, row in self._seen], axis=0)
                self._offset = np.minimum(rest - usual, rest[neutral] - usual[neutral])
        if self._offset is None:
            return probabilities
        corrected = np.exp(logs + self._offset)
        return np.asarray(corrected / corrected.sum(), dtype=np.float64)


def _at_rest(baseline: "RestingBaseline", face: Face, time_s: float) -> Face:
    """The face as the baseline of the person reads it; valence and arousal too where they are projected."""
    labels = tuple(face.probabilities)
    seen = np.array(list(face.probabilities.values()))
    corrected = baseline(seen, labels.index("neutral"), time_s)
    face = replace(
        face,
        probabilities=dict(zip(labels, corrected.tolist(), strict=True)),
        disagreement=float(normalized_entropy(corrected[None])[0]),
    )
    affect = projected_affect(corrected[None], labels)
    if face.va_source != "projected" or affect is None:
        return face
    return replace(face, valence=float(affect[0][0]), arousal=float(affect[1][0]))


class EventFinder:
    """Finds the events of one expression of one face; takes its probability frame by frame.

    Works on the median of five frames, which keeps edges where they are, and so answers two frames late. An event
    begins where that reaches `on` and ends where it falls below `off`. Its onset is the first frame of the rise that is
    a seventh of the way up from what was usual in the second before. What is shorter than `min_s` is none.

    Each answer is a kind (onset, apex or offset) with the event as far as it is known: one onset, one or more ever
    higher apexes, one offset, with which the event is complete.

    Raises:
        BadSetting: not 0 < `off` <= `on` < 1.
    """

    def __init__(self, expression: str, on: float = 0.5, off: float = 0.35, min_s: float = 0.2) -> None:
        if not 0 < off <= on < 1:
            raise BadSetting(f"on and off must satisfy 0 < off <= on < 1, got on={on} and off={off}")
        self._expression, self._on, self._off, self._min_s = expression, on, off, min_s
        self._window: deque[tuple[float, float]] = deque(maxlen=_MEDIAN_FRAMES)
        self._before: deque[tuple[float, float]] = deque()
        self._onset_s: float | None = None
        self._apex = (0.0, 0.0)
        self._onset_known, self._apex_known = False, 0.0

    def __call__(self, time_s: float, probability: float) -> list[Known]:
        """What has become known with this frame."""
        self._window.extend([(time_s, probability)] * (1 if self._window else _MEDIAN_FRAMES // 2 + 1))
        return self._step() if len(self._window) == _MEDIAN_FRAMES else []

    def end(self) -> list[Known]:
        """What is still to be said where the face is gone."""
        if not self._window:
            return []
        last, known = self._window[-1], []
        for _ in range(_MEDIAN_FRAMES // 2):
            self._window.append(last)
            known += self._step()
        if self._onset_s is not None:
            known += self._finish(self._onset_s, last[0], ended=False)
        self._window.clear()
        return known

    def _step(self) -> list[Known]:
        """Take the frame in the middle of the window."""
        time_s = self._window[_MEDIAN_FRAMES // 2][0]
        probability = sorted(p for _, p in self._window)[_MEDIAN_FRAMES // 2]
        if self._onset_s is not None:
            return self._go_on(self._onset_s, time_s, probability)
        if probability >= self._on:
            self._onset_s, self._apex = self._risen(time_s), (probability, time_s)
            self._onset_known, self._apex_known = False, 0.0
            self._before.clear()
            return self._rising(self._onset_s, time_s)
        self._before.append((time_s, probability))
        while self._before[0][0] < time_s - 1:
            self._before.popleft()
        return []

    def _go_on(self, onset_s: float, time_s: float, probability: float) -> list[Known]:
        """One more frame of an event that has begun."""
        if probability < self._off:
            known = self._finish(onset_s, time_s, ended=True)
            self._before.append((time_s, probability))
            return known
        self._apex = max(self._apex, (probability, time_s), key=lambda apex: apex[0])
        known = self._rising(onset_s, time_s)
        declined = self._apex[0] - probability >= _APEX_DECLINE * (self._apex[0] - self._off)
        if self._onset_known and declined and self._apex[0] > self._apex_known:
            known += self._peaked(onset_s, time_s)
        return known

    def _rising(self, onset_s: float, time_s: float) -> list[Known]:
        """The onset, once the event has lasted long enough to be one."""
        if self._onset_known or time_s - onset_s < self._min_s:
            return []
        self._onset_known = True
        return [(EventKind.ONSET, self._event(onset_s, time_s, ended=False))]

    def _peaked(self, onset_s: float, time_s: float) -> list[Known]:
        self._apex_known = self._apex[0]
        return [(EventKind.APEX, self._event(onset_s, time_s, ended=False))]

    def _finish(self, onset_s: float, end_s: float, ended: bool) -> list[Known]:
        """What was not known before of an event that is over; nothing of one that was too short."""
        self._onset_s = None
        if end_s - onset_s < self._min_s:
            return []
        known = self._rising(onset_s, end_s)
        if self._apex[0] > self._apex_known:
            known += self._peaked(onset_s, end_s)
        return [*known, (EventKind.OFFSET, self._event(onset_s, end_s, ended))]

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

    def _event(self, onset_s: float, end_s: float, ended: bool) -> Event:
        return Event(self._expression, onset_s, self._apex[1], end_s, self._apex[0], ended)


def event_finders(labels: Iterable[str]) -> dict[str, EventFinder]:
    """A finder for each label whose showing is an event: all but neutral."""
    return {label: EventFinder(label) for label in labels if label != "neutral"}


def events(times_s: Iterable[float], probabilities: Floats, labels: Sequence[str]) -> Iterator[Event]:
    """(T,) times and (T, C) probabilities of one face, each frame's own -> the events of all labels but neutral, by
    onset.
    """
    finders = event_finders(labels)
    known: list[Known] = []
    for time_s, row in zip(times_s, probabilities, strict=True):
        for label, probability in zip(labels, row.tolist(), strict=True):
            if label in finders:
                known += finders[label](time_s, probability)
    known += [one for finder in finders.values() for one in finder.end()]
    yield from sorted((event for kind, event in known if kind is EventKind.OFFSET), key=lambda event: event.onset_s)
