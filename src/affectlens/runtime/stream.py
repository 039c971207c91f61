"""Frames from other programs: tracking of faces, smoothing of their expressions, and events.

Used for all videos: files and cameras in `runtime.pipeline`, clients of the service, and pushed frames.
"""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from affectlens.core.affect import Face
from affectlens.core.detection import Detections, Detector, Follower, checked
from affectlens.core.errors import BadSetting
from affectlens.core.series import EventKind, StreamEvent
from affectlens.faces.track import Tracker
from affectlens.runtime.analysis import Analysis
from affectlens.runtime.arrays import ChannelOrder, as_rgb, check_time
from affectlens.runtime.protocol import FaceAnalyzer
from affectlens.runtime.temporal import EventFinder, FaceFollower, Known, Smoothing, event_finders
from affectlens.runtime.video import Frame

OnEvent = Callable[[StreamEvent], None]


@dataclass(frozen=True)
class VideoSettings:
    """Settings for the analysis of a video.

    Attributes:
        every: analyze every n-th frame.
        fps: maximum number of frames to analyze per second; None means no limit.
        detect_every: search the whole frame for faces at least every n frames; in between, only where faces are
            expected, if the detector supports it (`core.detection.Follower`).
        smoothing: temporal smoothing; None reports each frame's own answer.

    Raises:
        BadSetting: a value is below 1, or `fps` is not > 0.
    """

    every: int = 1
    fps: float | None = None
    detect_every: int = 10
    smoothing: Smoothing | None = field(default_factory=Smoothing)

    def __post_init__(self) -> None:
        if self.every < 1 or self.detect_every < 1:
            raise BadSetting(f"every and detect_every must be at least 1, got {self.every} and {self.detect_every}")
        if self.fps is not None and not self.fps > 0:
            raise BadSetting(f"fps must be > 0, got {self.fps}")


@dataclass(frozen=True, eq=False)
class TrackedFrame:
    """A frame whose faces were found and numbered, and not read yet.

    Attributes:
        number: of the frame. time_s: its time in seconds.
        found: where the faces are. tracks: their numbers.
        alive: numbers of all faces that may still be seen again, these and others.
    """

    number: int
    time_s: float
    found: Detections
    tracks: tuple[int, ...]
    alive: frozenset[int]


class FaceLocator:
    """Finds and numbers the faces of one video, frame by frame. It can be pickled between two frames, so that each may
    be located in another process.

    Args:
        detect_every: as in `VideoSettings`.
    """

    def __init__(self, detect_every: int) -> None:
        self._detect_every = detect_every
        self._tracker = Tracker()
        self._due = 0

    def locate(self, detect: Detector, frame: Frame) -> TrackedFrame:
        """Find and number the faces of the next frame.

        The detector searches the whole image in every `detect_every`-th frame and after a face was lost; in between it
        looks only where the known faces should be, if it can (`core.detection.Follower`).

        Args:
            detect: the same for all frames.
            frame: its image is (H, W, 3) RGB uint8; its number and time (seconds) do not go back.

        Returns:
            N faces in pixels of the image, best first, each with the number of its track.

        Raises:
            BadSetting: the detector returns something else than `Detections`. Exception: what it raises.
        """
        image, time_s = frame.image, frame.time_s
        boxes = self._tracker.expect(image, time_s)
        everywhere = True
        if isinstance(detect, Follower) and len(boxes) and frame.number < self._due:
            everywhere, found = False, checked(detect.follow(image, boxes))
        else:
            found, self._due = checked(detect(image)), frame.number + self._detect_every
        numbers = self._tracker.update(image, found, time_s, begin=everywhere)
        if not everywhere and self._tracker.missing():
            self._due = min(self._due, frame.number + 1)
        known = numbers >= 0
        tracks = tuple(numbers[known].tolist())
        return TrackedFrame(frame.number, time_s, found.only(known), tracks, self._tracker.alive)


@dataclass(eq=False)
class _Person:
    """What is remembered of one face: what follows it in time, and what finds its events."""

    follower: FaceFollower
    finders: dict[str, EventFinder] = field(default_factory=dict)


class Stream:
    """Analysis of frames from one camera that you push one by one; created by `Analyzer.stream`.

    Faces keep their number, answers are smoothed over time, and `on_event` is called with each event. `push` returns
    the analysis of the frame it was given, without waiting for later ones. When an expression changes, the smoothed
    label follows within 0.15 seconds; events are reported later, as described in `EventKind`.

    Create one per camera: that takes microseconds, because the networks belong to the analyzer. Use a stream from one
    thread at a time; several streams of one analyzer can run in several threads. A context manager that ends the
    stream.

    `push` consists of `locate`, recognition of the faces, and `follow`. `locate` and `follow` share no state: a program
    that analyzes the faces of several streams together can locate faces in the next frames in one thread while another
    thread follows, each in the order of the frames.
    """

    def __init__(
        self, analyzer: FaceAnalyzer, settings: VideoSettings, on_event: OnEvent | None = None, name: str = ""
    ) -> None:
        if on_event is not None and not callable(on_event):
            raise BadSetting(f"on_event must be a function, got {type(on_event).__name__}")
        self._analyzer, self._settings, self._on_event, self._name = analyzer, settings, on_event, name
        self.locator = FaceLocator(settings.detect_every)
        self._persons: dict[int, _Person] = {}
        self._number, self._time_s = -1, -math.inf
        self._begun_s: float | None = None
        self._timed: bool | None = None
        self._ended = False

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def number(self) -> int:
        """Number of the last pushed frame, from 0; -1 before the first."""
        return self._number

    @property
    def time_s(self) -> float:
        """Time of that frame in seconds; -inf before the first."""
        return self._time_s

    def push(self, image: NDArray[np.uint8], time_s: float | None = None, colour: str = ChannelOrder.RGB) -> Analysis:
        """Analyze the next frame.

        Args:
            image: (H, W, 3) uint8, or (H, W) gray uint8. RGB images are not copied; if you keep the analyses, do not
                reuse the array for the next frame.
            time_s: time at which it was taken, in seconds on any clock that does not go backwards; by default the time
                since the first push.
            colour: channel order: "rgb", or "bgr" as in OpenCV.

        Returns:
            The analysis of the frame; if it fails, one with a `reason`, and the stream continues.

        Raises:
            BadSetting: `image` has another type, `colour` is invalid, `time_s` is not a number or less than that of the
                previous frame, or the stream has ended. The frame is then not counted.
            AffectLensError: an error that would affect every frame.
            Exception: any exception from `on_event`; the frame is counted, and its remaining events are lost.
        """
        rgb = as_rgb(image, colour)
        frame = Frame(*self.next_place(time_s), rgb)
        try:
            tracked = self.locate(frame)
            (faces,) = self._analyzer.recognizer.read([(rgb, tracked.found)])
        except Exception as error:
            return self._analyzer.recognizer.failed(self._name, error, frame.number, frame.time_s)
        return self.follow(tracked, faces, rgb)

    def end(self) -> None:
        """Report the end of all active expressions and that everyone has left; no more frames can be pushed.

        Raises:
            Exception: any exception from `on_event`; the remaining events are lost.
        """
        if not self._ended:
            self._ended = True
            self._report(self._leave(self._persons))

    def next_place(self, time_s: float | None = None) -> tuple[int, float]:
        """Number and time of the next frame, also of one that then cannot be decoded.

        Raises:
            BadSetting: the time is not a number or before that of the last frame, some frames have a time and some have
                not, or the stream has ended.
        """
        if self._ended:
            raise BadSetting("the stream has ended; create a new one with Analyzer.stream()")
        timed = time_s is not None
        if self._timed not in (None, timed):
            raise BadSetting(
                "pass time_s with every frame or with none; if omitted, the time since the first push is used"
            )
        now_s = time.monotonic()
        begun_s = now_s if self._begun_s is None else self._begun_s
        self._time_s = check_time(now_s - begun_s if time_s is None else time_s, self._time_s)
        self._begun_s, self._timed = begun_s, timed
        self._number += 1
        return self._number, self._time_s

    def locate(self, frame: Frame) -> TrackedFrame:
        """Find and number the faces of the next frame: `FaceLocator.locate` with the analyzer's detector."""
        return self.locator.locate(self._analyzer.detector, frame)

    def follow(self, tracked: TrackedFrame, faces: Iterable[Face], image: NDArray[np.uint8] | None = None) -> Analysis:
        """Follow the faces of a frame in time, once they were read; `on_event` is called before it returns.

        Args:
            tracked: what `locate` returned for the frame.
            faces: what was read of its N faces, in the order of `tracked.found`.
            image: (H, W, 3) RGB uint8, for the analysis; None leaves it out.

        Returns:
            The analysis of the frame; if a measure's history fails, one with a `reason`.

        Raises:
            AffectLensError: an error that would affect every frame.
            Exception: any exception from `on_event`; the frame is counted, and its remaining events are lost.
        """
        events: list[StreamEvent] = []
        try:
            shown = self._followed(tracked, faces, events)
            analysis = self._analyzer.recognizer.analysis(self._name, image, shown, tracked.number, tracked.time_s)
        except Exception as error:
            analysis = self._analyzer.recognizer.failed(self._name, error, tracked.number, tracked.time_s)
        self._report(events)
        return analysis

    def _followed(self, tracked: TrackedFrame, faces: Iterable[Face], events: list[StreamEvent]) -> tuple[Face, ...]:
        """The faces as they are shown; what has become known is added to `events`, also where a face then fails."""
        shown = []
        for face, track in zip(faces, tracked.tracks, strict=True):
            if track not in self._persons:
                self._persons[track] = self._person(face)
                events.append(StreamEvent(EventKind.APPEARED, track, tracked.time_s))
            face = self._persons[track].follower(face, tracked.time_s)
            shown.append(replace(face, track=track))
            for expression, finder in self._persons[track].finders.items():
                events += _stream_events(track, finder(tracked.time_s, face.probabilities[expression]))
        events += self._leave(self._persons.keys() - tracked.alive)
        return tuple(shown)

    def _person(self, face: Face) -> _Person:
        """What is remembered of a new face."""
        follower = FaceFollower(
            self._settings.smoothing, self._analyzer.recognizer.spec.uncertain_below, self._analyzer.recognizer.measures
        )
        return _Person(follower, event_finders(face.probabilities) if self._on_event else {})

    def _leave(self, tracks: Iterable[int]) -> list[StreamEvent]:
        """Forget persons: how their expressions ended, and that they left."""
        events: list[StreamEvent] = []
        for track in sorted(tracks):
            person = self._persons.pop(track)
            known = [one for finder in person.finders.values() for one in finder.end()]
            events += [*_stream_events(track, known), StreamEvent(EventKind.LEFT, track, person.follower.seen_s)]
        return events

    def _report(self, events: Iterable[StreamEvent]) -> None:
        if self._on_event is not None:
            for event in events:
                self._on_event(event)


def _stream_events(track: int, known: Iterable[Known]) -> list[StreamEvent]:
    """What has become known of the expressions of a person, for `on_event`."""
    when = {EventKind.ONSET: "onset_s", EventKind.APEX: "apex_s", EventKind.OFFSET: "offset_s"}
    return [
        StreamEvent(kind, track, getattr(event, when[kind]), event.expression, event.intensity) for kind, event in known
    ]
