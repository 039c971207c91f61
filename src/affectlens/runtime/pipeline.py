"""From a video to one analysis per frame: decode -> detect and track -> recognise expressions -> smooth over time.

Three stages run concurrently, each in its own thread (the last in the caller's), with short queues between them, so
memory use does not grow with the length of the video.
"""

import contextlib
import math
import queue
import threading
from collections.abc import Generator, Iterable, Iterator
from typing import TypeAlias, TypeVar

from affectlens.core.affect import Face
from affectlens.runtime.analysis import Analysis
from affectlens.runtime.protocol import FaceAnalyzer
from affectlens.runtime.stream import OnEvent, Stream, TrackedFrame, VideoSettings
from affectlens.runtime.video import Frame, Frames

Item = TypeVar("Item")
_Located: TypeAlias = "tuple[Frame, TrackedFrame | Exception]"
"""A frame, and its faces or why they could not be found."""
Ready: TypeAlias = queue.Queue[Item | BaseException | None]

_QUEUE_SIZE = 4
"""Frames between two stages."""
_JOIN_TIMEOUT_S = 1.0
"""Who stops early waits no longer for a source that has stalled; its thread ends when it answers."""


def analyze_frames(
    analyzer: FaceAnalyzer, frames: Frames, name: str, settings: VideoSettings, on_event: OnEvent | None = None
) -> Generator[Analysis, None, None]:
    """One analysis per analyzed frame, in order; where the video breaks off, one more that says why.

    Faces have the number of their track and, if `settings` smooth, follow in time. A frame that fails has a `reason`,
    and the video goes on. `on_event` is told of persons and expressions, in the caller's thread; the last when the
    video ends or is left.
    """
    stream = Stream(analyzer, settings, on_event, name)
    waiting = 1 if frames.live else _QUEUE_SIZE
    chosen = ahead(_chosen(frames, settings), waiting, newest=frames.live)
    seen = ((frame, _locate(stream, frame)) for batch in chosen for frame in batch)
    number = -1
    with contextlib.closing(frames), stream, contextlib.closing(_with_error(ahead(seen, waiting))) as batches:
        for batch in batches:
            if isinstance(batch, Exception):
                yield analyzer.recognizer.failed(name, batch, number + 1)
                break
            for (frame, _), found in zip(batch, _read(analyzer, batch), strict=True):
                number = frame.number
                if isinstance(found, Exception):
                    yield analyzer.recognizer.failed(name, found, number, frame.time_s)
                else:
                    yield stream.follow(*found, frame.image)


def _locate(stream: Stream, frame: Frame) -> TrackedFrame | Exception:
    """The faces of a frame, or why they could not be found."""
    try:
        return stream.locate(frame)
    except Exception as error:
        return error


def _read(analyzer: FaceAnalyzer, batch: list[_Located]) -> list[tuple[TrackedFrame, tuple[Face, ...]] | Exception]:
    """What the faces of each frame say, or why that is not known; read together, and where that fails frame by frame,
    so that one frame's fault does not cost the others theirs.
    """
    located = [(frame, tracked) for frame, tracked in batch if not isinstance(tracked, Exception)]
    try:
        faces = iter(analyzer.recognizer.read([(frame.image, tracked.found) for frame, tracked in located]))
    except Exception as error:
        return [error] if len(batch) == 1 else [found for one in batch for found in _read(analyzer, [one])]
    return [tracked if isinstance(tracked, Exception) else (tracked, next(faces)) for _, tracked in batch]


def _with_error(items: Iterable[Item]) -> Generator[Item | Exception, None, None]:
    """`items`, and the error that ends them as the last."""
    try:
        yield from items
    except Exception as error:
        yield error


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
        worker.join(_JOIN_TIMEOUT_S)


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
    next_s = -math.inf
    for frame in frames:
        if frame.number % settings.every or frame.time_s < next_s:
            continue
        if settings.fps:
            next_s = (math.floor(frame.time_s * settings.fps + 1e-6) + 1) / settings.fps - 1e-6
        yield frame
