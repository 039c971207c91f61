"""Uploaded videos: few at a time, each analyzed in a process of its own."""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

from affectlens.apps.server import tasks
from affectlens.apps.server.http_errors import HttpError
from affectlens.apps.server.limits import Limits
from affectlens.apps.server.metrics import ServiceMetrics
from affectlens.apps.server.tasks import Line
from affectlens.apps.server.workers import Died, Worker
from affectlens.core.errors import UnreadableMedia
from affectlens.core.reasons import Reason
from affectlens.runtime.analyzer import Analyzer
from affectlens.runtime.stream import VideoSettings

_LEAVING_S = 2.0
"""How long a new video waits for a place: a client that lets go of one often sends the next at once, and the end of
the first is noticed a moment later."""
_STOPPED = "the service was stopped before the end of the video"


class Videos:
    """The places for videos."""

    def __init__(self, analyzer: Analyzer, limits: Limits, metrics: ServiceMetrics) -> None:
        self._analyzer, self._limits, self._metrics = analyzer, limits, metrics
        self._open: set[Video] = set()
        self._left = asyncio.Event()

    async def wait_for_room(self) -> None:
        """Returns once there is a place for one more; raises HttpError where none gets free in a moment."""
        try:
            async with asyncio.timeout(_LEAVING_S):
                while len(self._open) >= self._limits.videos:
                    self._left.clear()
                    await self._left.wait()
        except TimeoutError as error:
            raise HttpError(
                HTTPStatus.SERVICE_UNAVAILABLE, "busy", "another video is being analyzed", retry_after_s=10
            ) from error

    async def open(self, data: bytes, settings: VideoSettings) -> "Video":
        """The bytes of a video in its place; to be ended by the caller.

        Raises:
            HttpError: there is no room.
        """
        await self.wait_for_room()
        video = Video(self._analyzer, data, settings, self._limits, self._leave)
        self._open.add(video)
        self._metrics.videos.set(len(self._open))
        return video

    def end(self) -> None:
        """Break all of them off, since the service ends."""
        for video in tuple(self._open):
            video.end()

    def _leave(self, video: "Video") -> None:
        self._open.discard(video)
        self._left.set()
        self._metrics.videos.set(len(self._open))


class Video:
    """One uploaded video, whose process begins with its first line."""

    def __init__(
        self,
        analyzer: Analyzer,
        data: bytes,
        settings: VideoSettings,
        limits: Limits,
        on_end: Callable[["Video"], None],
    ) -> None:
        self._limits, self._on_end = limits, on_end
        self._thread = ThreadPoolExecutor(1, "affectlens-video")
        self._end_s = time.monotonic() + limits.answer_s
        self._worker: Worker | None = None
        self._lines = self._read(analyzer, data, settings)
        self._ended = False

    async def next(self) -> Line | None:
        """The line of the next frame; None after the last.

        Raises:
            UnreadableMedia: it cannot be opened or read on, takes too long, or the service ends.
        """
        if self._ended:
            raise UnreadableMedia(Reason.STOPPED, _STOPPED)
        return await asyncio.get_running_loop().run_in_executor(self._thread, next, self._lines, None)

    def _read(self, analyzer: Analyzer, data: bytes, settings: VideoSettings) -> Iterator[Line]:
        """The lines, in the thread of the video.  Raises as `next`."""
        self._worker = worker = Worker(analyzer, self._limits)
        if self._ended:
            worker.kill()
        try:
            for line in worker.run(self._limits.line_s, tasks.video, data, settings):
                yield line
                if time.monotonic() > self._end_s:
                    raise UnreadableMedia(Reason.TOO_SLOW, f"not finished after {self._limits.answer_s:g} s")
        except Died as died:
            if self._ended:
                raise UnreadableMedia(Reason.STOPPED, _STOPPED) from died
            raise UnreadableMedia(died.reason, str(died)) from died

    def end(self) -> None:
        """Let it go, wherever it stands, and free its place; may be called again."""
        if not self._ended:
            self._ended = True
            if self._worker is not None:
                self._worker.kill()
            self._thread.shutdown(wait=False)
            self._on_end(self)
