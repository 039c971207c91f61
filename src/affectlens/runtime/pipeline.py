"""Video in, one analysis per frame out: decode -> detect and track -> read expressions -> follow them in time.

Three stages work at the same time, each in a thread of its own (the last in the caller's), with short queues between
them, so that memory does not grow with the length of the video.
"""

import contextlib
import math
import queue
import threading
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from affectlens.core.affect import Face
from affectlens.core.detection import Detections, Detector, Follower
from affectlens.core.errors import BadSetting
from affectlens.core.measures import Measure
from affectlens.faces.track import Tracker
from affectlens.runtime.analysis import Analysis
from affectlens.runtime.temporal import FaceFollower, Smoothing
from affectlens.runtime.video import Frame, Frames

if TYPE_CHECKING:
    from affectlens.runtime.analyzer import Analyzer

Item = TypeVar("Item")
Ready: TypeAlias = queue.Queue[Item | BaseException | None]

_WAITING = 4
"""Frames between two stages."""
_FORGOTTEN_S = 10.0
_LEAVE_S = 1.0
"""Who stops early waits no longer for a source that has stalled; its thread ends when it answers."""


@dataclass(frozen=True)
class VideoSettings:
    """How a video is analyzed.

    Attributes:
        every: analyze each n-th frame.
        fps: analyze at most so many frames per second; None does not limit them.
        detect_every: look for faces everywhere at least every n frames; between them only where faces should be, if
            the detector can (`core.detection.Follower`).
        smoothing: how answers follow in time; None gives every frame's own.

    Raises:
        BadSetting: a value below 1, or `fps` not above 0.
    """

    every: int = 1
    fps: float | None = None
    detect_every: int = 10
    smoothing: Smoothing | None = field(default_factory=Smoothing)

    def __post_init__(self) -> None:
        if self.every < 1 or self.detect_every < 1:
            raise BadSetting(f"every and detect_every must be at least 1, got {self.every} and {self.detect_every}")
        if self.fps is not None and not self.fps > 0:
            raise BadSetting(f"fps must be above 0, got {self.fps}")


@dataclass(frozen=True, eq=False)
class Located:
    """A frame and its faces with their numbers."""

    frame: Frame
    found: Detections
    tracks: list[int]


def analyze_frames(
    analyzer: "Analyzer", frames: Frames, name: str, settings: VideoSettings
) -> Generator[Analysis, None, None]:
    """One analysis per analyzed frame, in order; where the video breaks off, one more that says why.

    Faces have the number of their track and, if `settings` smooth, follow in time.
    """
    following = Following(settings.smoothing, analyzer.spec.uncertain_below, analyzer.measures)
    waiting = 1 if frames.live else _WAITING
    locate = Locator(analyzer.detector, settings.detect_every)
    chosen = _chosen(frames, settings)
    located = (locate(frame) for batch in ahead(chosen, waiting, newest=frames.live) for frame in batch)
    number = -1
    try:
        with contextlib.closing(ahead(located, waiting)) as batches:
            for batch in batches:
                read = analyzer.read([(item.frame.image, item.found) for item in batch])
                for item, faces in zip(batch, read, strict=True):
                    number, time_s = item.frame.number, item.frame.time_s
                    shown = following(faces, item.tracks, time_s)
                    yield analyzer.analysis(name, item.frame.image, shown, number, time_s)
    except Exception as error:
        yield analyzer.failed(name, error, number + 1)
    finally:
        frames.close()


def ahead(items: Iterable[Item], most: int, newest: bool = False) -> Generator[list[Item], None, None]:
    """`items`, made in a thread of their own while the caller works: lists of those that are ready, at most `most`.

    The thread waits when `most` are ready, or with `newest` drops the oldest. An error in the thread is raised here.
    """
    ready: Ready[Item] = queue.Queue(most)
    stop = threading.Event()
    worker = threading.Thread(target=_fill, args=(items, ready, stop, newest), daemon=True)
    worker.start()
    try:
        while True:
            batch: list[Item] = []
            end: BaseException | None = None
            more = True
            while more and (not batch or (len(batch) < most and not ready.empty())):
                item = ready.get()
                if item is None or isinstance(item, BaseException):
                    end, more = item, False
                else:
                    batch.append(item)
            if batch:
                yield batch
            if end is not None:
                raise end
            if not more:
                return
    finally:
        stop.set()
        worker.join(_LEAVE_S)


def _fill(items: Iterable[Item], ready: Ready[Item], stop: threading.Event, newest: bool) -> None:
    """Put `items` into `ready`, then None or the error that ended them."""

    def put(item: Item | BaseException | None) -> None:
        while not stop.is_set():
            try:
                ready.put(item, timeout=0.1)
                return
            except queue.Full:
                if newest:
                    _drop(ready)

    try:
        for item in items:
            if newest and ready.full():
                _drop(ready)
            put(item)
            if stop.is_set():
                break
        put(None)
    except BaseException as error:
        put(error)
    finally:
        if isinstance(items, Iterator) and hasattr(items, "close"):
            items.close()


def _drop(ready: Ready[Item]) -> None:
    with contextlib.suppress(queue.Empty):
        ready.get_nowait()


def _chosen(frames: Iterable[Frame], settings: VideoSettings) -> Iterator[Frame]:
    """The frames to analyze."""
    next_s = 0.0
    for frame in frames:
        if frame.number % settings.every or frame.time_s < next_s:
            continue
        if settings.fps:
            next_s = (math.floor(frame.time_s * settings.fps + 1e-6) + 1) / settings.fps - 1e-6
        yield frame


class Locator:
    """Finds the faces of one video's frames, in their order, and numbers them: everywhere in each `detect_every`-th
    frame or after one was lost, else where they should be.
    """

    def __init__(self, detect: Detector, detect_every: int) -> None:
        self._detect, self._detect_every = detect, detect_every
        self._tracker = Tracker()
        self._due = 0

    def __call__(self, frame: Frame) -> Located:
        """The next frame's faces."""
        image, time_s = frame.image, frame.time_s
        boxes = self._tracker.expect(image, time_s)
        everywhere = True
        if isinstance(self._detect, Follower) and len(boxes) and frame.number < self._due:
            everywhere, found = False, self._detect.follow(image, boxes)
        else:
            found, self._due = self._detect(image), frame.number + self._detect_every
        numbers = self._tracker.update(image, found, time_s, begin=everywhere)
        if not everywhere and self._tracker.missing():
            self._due = min(self._due, frame.number + 1)
        known = numbers >= 0
        return Located(frame, found.only(known), numbers[known].tolist())


class Following:
    """The followers of all faces of one video."""

    def __init__(self, smoothing: Smoothing | None, uncertain_below: float, measures: tuple[Measure, ...] = ()) -> None:
        self._made = partial(FaceFollower, smoothing, uncertain_below, measures)
        self._followers: dict[int, FaceFollower] = {}

    def __call__(self, faces: Iterable[Face], tracks: Iterable[int], time_s: float) -> tuple[Face, ...]:
        """The faces with their numbers, as they are to be shown."""
        shown = []
        for face, track in zip(faces, tracks, strict=True):
            if track not in self._followers:
                self._followers[track] = self._made()
            shown.append(replace(self._followers[track](face, time_s), track=track))
        self._followers = {t: f for t, f in self._followers.items() if time_s - f.seen_s < _FORGOTTEN_S}
        return tuple(shown)
