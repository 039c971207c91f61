"""Between requests and the analyzer: a bounded queue, threads, and batching of faces."""

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import ParamSpec, TypeVar

from affectlens.apps.server.http_errors import HttpError
from affectlens.apps.server.limits import Limits
from affectlens.apps.server.metrics import ServiceMetrics
from affectlens.core.affect import Face
from affectlens.core.image_file import DecodedImage, decode
from affectlens.runtime.analysis import Analysis
from affectlens.runtime.analyzer import Analyzer
from affectlens.runtime.recognizer import Cut
from affectlens.runtime.stream import Stream, TrackedFrame, VideoSettings
from affectlens.runtime.video import Frame

P = ParamSpec("P")
T = TypeVar("T")
Size = tuple[int, int]

_MAX_BATCH = 32
"""Pictures that are read in one go at most."""
_DECAY = 0.9
"""Weight of the past in the mean time of a picture."""


@dataclass(frozen=True)
class PhotoInfo:
    """What is kept of a picture beside its faces: (width, height) in pixels, and whether the file was complete."""

    size: Size
    incomplete: bool

    @classmethod
    def of(cls, picture: DecodedImage) -> "PhotoInfo":
        """Without the pixels."""
        height, width = picture.pixels.shape[:2]
        return cls((width, height), picture.incomplete)


class InferenceEngine:
    """One analyzer for the photos and frames of all requests."""

    def __init__(self, analyzer: Analyzer, limits: Limits, metrics: ServiceMetrics) -> None:
        self._analyzer, self._explaining = analyzer, analyzer.explaining()
        self._limits, self._metrics = limits, metrics
        self._workers = limits.threads
        self._threads = ThreadPoolExecutor(self._workers, "affectlens-locate")
        self._batches = Batches(analyzer.recognizer.read_crops, metrics)
        self._taken = 0
        self._picture_s = 0.05

    def close(self) -> None:
        """End the threads once they have finished what they do."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._batches.close()

    @property
    def full(self) -> bool:
        """One more picture would be refused."""
        return self._taken >= self._limits.waiting

    def refusal(self) -> HttpError:
        """The answer to one picture too many, with the time after which there should be room."""
        wait_s = max(math.ceil(self._taken * self._picture_s / self._workers), 1)
        return HttpError(HTTPStatus.SERVICE_UNAVAILABLE, "busy", "too many requests at once", wait_s)

    async def photo(self, data: bytes, explain: bool = False) -> tuple[Analysis, Size]:
        """The bytes of a photo -> its analysis, without the image, and its width and height in pixels.

        Raises:
            HttpError: there is no room. UnreadableMedia: it cannot be read.
        """
        with self._place():
            if explain:
                faces, picture = await self._in_thread(self._explained, data)
            else:
                cut, picture = await self._in_thread(self._locate, data)
                faces = await self._batches.read(cut)
        self._metrics.count("photo", faces)
        return replace(self._analyzer.recognizer.analysis("", None, faces), incomplete=picture.incomplete), picture.size

    async def frame(self, data: bytes, stream: Stream) -> tuple[Analysis, Size]:
        """The bytes of a stream's next picture; as `photo`."""
        with self._place():
            tracked, cut, picture = await self._in_thread(self._locate_in_order, data, stream)
            faces = await self._batches.read(cut)
        self._metrics.count("frame", faces)
        return replace(stream.follow(tracked, faces), incomplete=picture.incomplete), picture.size

    def stream(self, settings: VideoSettings) -> Stream:
        """What remembers the faces of a new stream."""
        return self._analyzer.stream(settings)

    @contextmanager
    def _place(self) -> Iterator[None]:
        """A place in the queue."""
        if self.full:
            raise self.refusal()
        start_s = time.monotonic()
        self._taken += 1
        self._metrics.waiting.set(self._taken)
        try:
            yield
        finally:
            took_s = (time.monotonic() - start_s) * self._workers / self._taken
            self._picture_s = _DECAY * self._picture_s + (1 - _DECAY) * took_s
            self._taken -= 1
            self._metrics.waiting.set(self._taken)

    async def _in_thread(self, work: Callable[P, T], *args: P.args, **_: P.kwargs) -> T:
        """Do `work` when a thread is free."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)

    def _locate(self, data: bytes) -> tuple[Cut, PhotoInfo]:
        """Decode a photo and find its faces; of it only they are kept."""
        picture = decode(data, self._limits.pixels)
        image = picture.rgb
        return self._analyzer.recognizer.cut(image, self._analyzer.detector(image)), PhotoInfo.of(picture)

    def _locate_in_order(self, data: bytes, stream: Stream) -> tuple[TrackedFrame, Cut, PhotoInfo]:
        """Decode the next picture of a stream, whose time is now, and find its faces; of it only they are kept."""
        number, time_s = stream.next_place()
        picture = decode(data, self._limits.pixels)
        tracked = stream.locate(Frame(number, time_s, picture.rgb))
        return tracked, self._analyzer.recognizer.cut(picture.rgb, tracked.found), PhotoInfo.of(picture)

    def _explained(self, data: bytes) -> tuple[tuple[Face, ...], PhotoInfo]:
        picture = decode(data, self._limits.pixels)
        image = picture.rgb
        (faces,) = self._explaining.recognizer.read([(image, self._analyzer.detector(image))])
        return faces, PhotoInfo.of(picture)


class Batches:
    """Reads what has gathered while the network was busy, all at once; alone, a picture does not wait.

    Args:
        read: the faces of several pictures, cut out -> what they say.
    """

    def __init__(self, read: Callable[[list[Cut]], list[tuple[Face, ...]]], metrics: ServiceMetrics) -> None:
        self._read, self._metrics = read, metrics
        self._thread = ThreadPoolExecutor(1, "affectlens-network")
        self._gathered: list[tuple[Cut, asyncio.Future[tuple[Face, ...]]]] = []
        self._reading: asyncio.Task[None] | None = None

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    async def read(self, cut: Cut) -> tuple[Face, ...]:
        """The faces of one picture."""
        if not cut.crops:
            return ()
        answer: asyncio.Future[tuple[Face, ...]] = asyncio.get_running_loop().create_future()
        self._gathered.append((cut, answer))
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read_all())
        return await answer

    async def _read_all(self) -> None:
        while self._gathered:
            batch, self._gathered = self._gathered[:_MAX_BATCH], self._gathered[_MAX_BATCH:]
            self._metrics.batch.observe(len(batch))
            try:
                faces = await self._run([cut for cut, _ in batch])
            except Exception:  # one picture's fault must not cost the others theirs
                for cut, answer in batch:
                    try:
                        _settle(answer, (await self._run([cut]))[0])
                    except Exception as error:
                        _settle(answer, error)
            else:
                for (_, answer), found in zip(batch, faces, strict=True):
                    _settle(answer, found)

    async def _run(self, batch: list[Cut]) -> list[tuple[Face, ...]]:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._read, batch)


def _settle(answer: asyncio.Future[T], result: T | Exception) -> None:
    """Give an answer, unless nobody waits for it any more."""
    if answer.done():
        return
    if isinstance(result, Exception):
        answer.set_exception(result)
    else:
        answer.set_result(result)
