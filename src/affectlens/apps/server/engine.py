"""Between requests and workers: a bounded queue of photos and frames."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http import HTTPStatus

from affectlens.apps.server import tasks
from affectlens.apps.server.http_errors import HttpError
from affectlens.apps.server.limits import Limits
from affectlens.apps.server.metrics import ServiceMetrics
from affectlens.apps.server.tasks import Line, Size
from affectlens.apps.server.workers import WorkerPool
from affectlens.runtime.analysis import Analysis
from affectlens.runtime.analyzer import Analyzer
from affectlens.runtime.stream import Stream

_DECAY = 0.9
"""Weight of the past in the mean time of a picture."""


class InferenceEngine:
    """The photos and frames of all requests."""

    def __init__(self, analyzer: Analyzer, limits: Limits, metrics: ServiceMetrics) -> None:
        self._limits, self._metrics = limits, metrics
        self._workers = WorkerPool(analyzer, limits)
        self._taken = 0
        self._picture_s = 0.05

    def start(self) -> None:
        """Begin the workers, without waiting for them."""
        self._workers.start()

    def end(self) -> None:
        """Give what is under way a moment to be finished."""
        self._workers.end()

    def close(self) -> None:
        """End the workers."""
        self._workers.close()

    @property
    def full(self) -> bool:
        """One more picture would be refused."""
        return self._taken >= self._limits.waiting

    def refusal(self) -> HttpError:
        """The answer to one picture too many, with the time after which there should be room."""
        wait_s = max(math.ceil(self._taken * self._picture_s / self._limits.threads), 1)
        return HttpError(HTTPStatus.SERVICE_UNAVAILABLE, "busy", "too many requests at once", wait_s)

    async def photo(self, data: bytes, explain: bool = False) -> Line:
        """The bytes of a photo -> what is sent of it.

        Raises:
            HttpError: there is no room. UnreadableMedia: it cannot be read.
        """
        with self._place():
            line = await self._workers.run(tasks.photo, data, explain)
        self._metrics.count("photo", line.faces)
        return line

    async def frame(self, data: bytes, stream: Stream) -> tuple[Analysis, Size]:
        """The bytes of a stream's next picture -> its analysis, without the image, and its width and height in pixels;
        raises as `photo`.
        """
        with self._place():
            number, time_s = stream.next_place()
            read = await self._workers.run(tasks.frame, data, number, time_s, stream.locator)
        stream.locator = read.locator
        self._metrics.count("frame", len(read.faces))
        return replace(stream.follow(read.tracked, read.faces), incomplete=read.incomplete), read.size

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
            took_s = (time.monotonic() - start_s) * self._limits.threads / self._taken
            self._picture_s = _DECAY * self._picture_s + (1 - _DECAY) * took_s
            self._taken -= 1
            self._metrics.waiting.set(self._taken)
