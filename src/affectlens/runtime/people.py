"""Summary of a video: the people in it and their most frequent expressions."""

from collections import Counter
from dataclasses import dataclass, field

from affectlens.runtime.analysis import Analysis


@dataclass
class Person:
    """One face followed through a video.

    Attributes:
        track: its number. first_s, last_s: when it was seen first and last.
        frames: in how many frames. expressions: in how many frames each was shown. uncertain: in how many none was.
    """

    track: int
    first_s: float
    last_s: float
    frames: int = 0
    expressions: Counter[str] = field(default_factory=Counter)
    uncertain: int = 0
    _affect: tuple[float, float, int] = (0.0, 0.0, 0)

    def add(
        self, time_s: float, expression: str, uncertain: bool, valence: float | None, arousal: float | None
    ) -> None:
        """One more frame."""
        self.last_s = time_s
        self.frames += 1
        self.expressions[expression] += 1
        self.uncertain += uncertain
        if valence is not None and arousal is not None:
            self._affect = (self._affect[0] + valence, self._affect[1] + arousal, self._affect[2] + 1)

    @property
    def mostly(self) -> tuple[str, float]:
        """The most frequent expression, and its share of the frames."""
        (expression, count), *_ = self.expressions.most_common(1)
        return expression, count / self.frames

    @property
    def affect(self) -> tuple[float, float] | None:
        """Mean valence and arousal."""
        valence, arousal, frames = self._affect
        return (valence / frames, arousal / frames) if frames else None


class People:
    """The persons of one video, by track."""

    def __init__(self) -> None:
        self.persons: dict[int, Person] = {}

    def add(self, analysis: Analysis) -> None:
        """One more frame; faces without a track do not count."""
        time_s = analysis.time_s or 0.0
        for face in analysis.faces:
            if face.track is not None:
                person = self.persons.setdefault(face.track, Person(face.track, time_s, time_s))
                person.add(time_s, face.expression, face.uncertain, face.valence, face.arousal)
