"""Uploaded videos: few at a time, each analyzed in its own threads."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http import HTTPStatus
from io import BytesIO

from affectlens.apps.server.engine import Size
from affectlens.apps.server.http_errors import HttpError
from affectlens.apps.server.limits import Limits
from affectlens.apps.server.metrics import ServiceMetrics
from affectlens.core.errors import UnreadableMedia
from affectlens.core.reasons import Reason
from affectlens.runtime.analysis import Analysis
from affectlens.runtime.analyzer import Analyzer
from affectlens.runtime.sources import Analyses
from affectlens.runtime.stream import VideoSettings
from affectlens.runtime.video import Frame, Frames, open_video

_LEAVING_S = 2.0
"""How long a new video waits for a place: a client that lets go of one often sends the next at once, and the end of
the first is noticed a moment later."""


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
        """The bytes of a video, opened; to be ended by the caller.

        Raises:
            HttpError: there is no room. UnreadableMedia: it cannot be opened, or is too long.
        """
        await self.wait_for_room()
        video = Video(self._metrics, self._leave)
        self._open.add(video)
        self._metrics.videos.set(len(self._open))
        try:
            await video.open(self._analyzer, data, settings, self._limits)
        except BaseException:
            video.end()
            raise
        return video

    def end(self) -> None:
        """Let all of them go."""
        for video in tuple(self._open):
            video.end()

    def _leave(self, video: "Video") -> None:
        self._open.discard(video)
        self._left.set()
        self._metrics.videos.set(len(self._open))


class Video:
    """One uploaded video."""

    duration_s: float | None = None
    """Announced length."""

    def __init__(self, metrics: ServiceMetrics, on_end: Callable[["Video"], None]) -> None:
        self._metrics, self._on_end = metrics, on_end
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, "affectlens-video")
        self._frames: Frames | None = None
        self._analyses: Iterator[Analysis] = iter(())
        self._ended = False

    async def open(self, analyzer: Analyzer, data: bytes, settings: VideoSettings, limits: Limits) -> None:
        """As `Videos.open`."""
        self._frames = await self._loop.run_in_executor(self._thread, open_video, BytesIO(data), limits.pixels)
        self.duration_s = self._frames.duration_s
        _check_length(self.duration_s or 0.0, 0, limits)
        self._analyses = iter(Analyses(analyzer, _Bounded(self._frames, limits), settings))

    async def next(self) -> tuple[Analysis, Size] | None:
        """The analysis of the next frame, without the image, and its size; None after the last.

        The last may have a reason, and no size.
        """
        analysis = await self._loop.run_in_executor(self._thread, next, self._analyses, None)
        if analysis is None:
            return None
        if analysis.image is None:
            return analysis, (0, 0)
        self._metrics.count("frame", analysis.faces)
        return analysis, (analysis.image.shape[1], analysis.image.shape[0])

    def end(self) -> None:
        """Let it go, wherever it stands; does not wait, and may be called again."""
        if not self._ended:
            self._ended = True
            threading.Thread(target=self._finish, name="affectlens-video-end").start()

    def _finish(self) -> None:
        """Stop the decoder, then what waits for it, then free the place."""
        if self._frames is not None:
            self._frames.close()
        close = getattr(self._analyses, "close", None)
        if close is not None:
            self._thread.submit(close).result()
        self._thread.shutdown()
        with suppress(RuntimeError):  # the service has ended meanwhile
            self._loop.call_soon_threadsafe(self._on_end, self)


class _Bounded:
    """Frames up to a length; they end there with an error."""

    live = False

    def __init__(self, frames: Frames, limits: Limits) -> None:
        self._frames, self._limits = frames, limits
        self.duration_s = frames.duration_s

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._frames:
            _check_length(frame.time_s, frame.number, self._limits)
            yield frame

    def close(self) -> None:
        self._frames.close()


def _check_length(time_s: float, frames: int, limits: Limits) -> None:
    if time_s > limits.video_s:
        raise UnreadableMedia(Reason.TOO_LARGE, f"the video is longer than the limit of {limits.video_s:g} s")
    if frames >= limits.video_frames:
        raise UnreadableMedia(Reason.TOO_LARGE, f"the video has more frames than the limit of {limits.video_frames:,}")
