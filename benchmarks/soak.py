"""Does the service hold its rate, and does memory stay flat?

Starts `affectlens serve` in a process of its own and sends it 640x480 photos with one face: as fast as it answers
(capacity), 40 a second, ten times its capacity, and ten thousand one after the other; then ten thousand requests of
every kind (benchmarks/_requests.py) to a new one; then `affectlens analyze` reads ten minutes of video. Memory is that
of the service with its processes. Exits 1 where a bar is missed. The client shares the machine with what it measures.

usage: scripts/soak [--short] [--clip FILE]
    --short: a few seconds of each, as CI runs it; the bars of rate are not held then, 10 a second are sent instead of
        40, and memory still settles: 60 MB more are let pass instead of 8.
    --clip: a video with one face; default the bundled portrait, moving.
"""

import argparse
import asyncio
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import httpx2
import numpy as np
import psutil
import uvloop
from _photos import write_video
from _requests import KINDS, mixed_requests
from _watched import family_mb, watch

from affectlens import sample_frames

RATE, P99_MS = 40, 500
OVERLOAD, KEPT = 10, 0.8
GROWTH_MB = 8
CONNECTIONS = 100
TICK_S = 0.004
"""How often the client looks what is due, so that it takes little of the machine itself."""
VIDEO_FPS = 30
PHOTOS = 60
LENGTH = re.compile(rb"content-length: (\d+)")


@dataclass
class Answers:
    """Statuses of all requests, and how long those took that were answered 200."""

    statuses: Counter[int] = field(default_factory=Counter)
    times_ms: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Answers 200 a second."""
        return self.statuses[200] / self.seconds

    @property
    def p99_ms(self) -> float:
        """What 99 of 100 answers stayed below."""
        return float(np.percentile(self.times_ms, 99))


class Connection(asyncio.Protocol):
    """One connection that is kept: sends a request, tells the status of the answer."""

    def __init__(self) -> None:
        self._got, self._answer = bytearray(), None

    def connection_made(self, transport) -> None:
        self._transport = transport

    def ask(self, request: bytes) -> asyncio.Future:
        """The status, in time."""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._got += data
        end = self._got.find(b"\r\n\r\n")
        if end < 0:
            return
        length = int(LENGTH.search(self._got, 0, end)[1])
        if len(self._got) >= end + 4 + length:
            status = int(self._got[9:12])
            self._got.clear()
            self._answer.set_result(status)

    def connection_lost(self, _) -> None:
        if self._answer and not self._answer.done():
            self._answer.set_result(0)  # gone without an answer


async def load(port: int, photos: list[bytes], seconds: float, rate: float | None, connections: int) -> Answers:
    """Send for so long, at `rate` a second whether or not answers come, or with None each connection its next request
    when it has its answer; a request that finds no free connection waits, and its wait counts.
    """
    head = "POST /v1/analyze HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\nContent-Length: "
    requests = [f"{head}{len(photo)}\r\n\r\n".encode() + photo for photo in photos]
    answers, due, loop = Answers(), asyncio.Queue(), asyncio.get_running_loop()
    start = time.perf_counter()

    async def work() -> None:
        _, connection = await loop.create_connection(Connection, "127.0.0.1", port)
        while (number := await due.get() if rate else next(numbers)) is not None:
            begun = start + number / rate if rate else time.perf_counter()
            status = await connection.ask(requests[number % len(requests)])
            answers.statuses[status] += 1
            if status == 200:
                answers.times_ms.append(1000 * (time.perf_counter() - begun))
            elif status == 0:
                _, connection = await loop.create_connection(Connection, "127.0.0.1", port)
        connection._transport.close()

    numbers = iter(lambda: sum(answers.statuses.values()) if time.perf_counter() < start + seconds else None, 0.5)
    workers = [asyncio.create_task(work()) for _ in range(connections)]
    if rate:
        for number in range(round(rate * seconds)):
            if (early := start + number / rate - time.perf_counter()) > 0:
                await asyncio.sleep(max(early, TICK_S))
            due.put_nowait(number)
        for _ in workers:
            due.put_nowait(None)
    await asyncio.gather(*workers)
    answers.seconds = time.perf_counter() - start
    return answers


@contextmanager
def service() -> Iterator[tuple[int, psutil.Process]]:
    """Port and process of `affectlens serve`."""
    command = [sys.executable, "-m", "affectlens", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield int(re.search(r":(\d+)/", process.stdout.readline())[1]), psutil.Process(process.pid)
        finally:
            process.terminate()


class Bars:
    """Prints each figure beside its bar and remembers what was missed."""

    def __init__(self, growth_mb: float) -> None:
        self.missed, self._growth_mb = 0, growth_mb

    def hold(self, what: str, good: bool) -> None:
        """One line."""
        self.missed += not good
        print(f"{'ok    ' if good else 'MISSED'} {what}", flush=True)

    def hold_flat(self, what: str, sizes_mb: list[float]) -> None:
        """A line through the sizes hardly rises; the first tenth, in which memory settles, is left out."""
        settled = sizes_mb[len(sizes_mb) // 10 :]
        growth = float(np.polyfit(np.linspace(0, 1, len(settled)), settled, 1)[0]) if len(settled) > 1 else 0.0
        self.hold(
            f"memory over {what}: {max(sizes_mb):.0f} MB at most, {growth:+.1f} MB from beginning to end (at most "
            f"{self._growth_mb})",
            growth <= self._growth_mb,
        )


def soak_service(photos: list[bytes], short: bool, bars: Bars) -> None:
    """All of the service."""
    with service() as (port, process):

        def run(seconds: float, rate: float | None = None, connections: int = CONNECTIONS) -> Answers:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                return runner.run(load(port, photos, seconds / (15 if short else 1), rate, connections))

        run(15, connections=8)
        capacity = run(30, connections=16)
        bars.hold(f"capacity: {capacity.rate:.1f} requests a second, {dict(capacity.statuses)}",
                  set(capacity.statuses) == {200})  # fmt: skip
        rate = RATE / 4 if short else RATE
        steady = run(60, rate)
        bars.hold(
            f"{rate:.0f} a second for {steady.seconds:.0f} s: {dict(steady.statuses)}, p99 {steady.p99_ms:.0f} ms "
            f"(below {P99_MS})",
            set(steady.statuses) == {200} and (short or steady.p99_ms < P99_MS),
        )
        flood = run(60, OVERLOAD * capacity.rate)
        share, times = flood.rate / capacity.rate, flood.statuses.total() / flood.seconds / capacity.rate
        bars.hold(
            f"{times:.1f} times as many for {flood.seconds:.0f} s: {dict(flood.statuses)}, 200s at {flood.rate:.1f} a "
            f"second, {share:.2f} of capacity (at least {KEPT})",
            set(flood.statuses) <= {200, 503} and (short or (share >= KEPT and times >= 0.95 * OVERLOAD)),
        )
        sizes, answered = [family_mb(process)], 0
        while answered < (300 if short else 10_000):
            answers = run(10, connections=4)
            answered += answers.statuses[200]
            sizes.append(family_mb(process))
        bars.hold_flat(f"{answered} requests", sizes)


def soak_mixed(short: bool, bars: Bars) -> None:
    """Memory and open files over requests of every kind."""
    count = 200 if short else 10_000
    with tempfile.TemporaryDirectory() as folder:
        clip = write_video(Path(folder, "short.mp4"), 15).read_bytes()
    with service() as (port, process), httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        statuses: Counter[str] = Counter()
        sizes, files = [], []
        for number, request in enumerate(mixed_requests(count, next(iter(sample_frames(1))), clip)):
            statuses[f"{request.kind} {request.send(client)}"] += 1
            if number % (count // 50) == 0:
                sizes.append(family_mb(process))
                files.append(process.num_fds())
        expected = {"broken 0", "bad 422", "page 404", *(f"{kind} 200" for kind in KINDS)}
        bars.hold(f"{count} requests of every kind: {dict(sorted(statuses.items()))}", set(statuses) <= expected)
        bars.hold_flat("them", sizes)
        bars.hold(f"open files: {files[5]} at the beginning, {files[-1]} at the end", files[-1] <= files[5] + 5)


def soak_video(clip: Path | None, short: bool, bars: Bars) -> None:
    """Memory over a long video."""
    count = (20 if short else 600) * VIDEO_FPS
    with tempfile.TemporaryDirectory() as folder:
        video = write_video(Path(folder, "long.mp4"), count, VIDEO_FPS, clip=clip)
        faces = Path(folder, "faces.csv")
        seen = watch("analyze", video, "--out", faces, since=faces)
        with faces.open() as rows:
            found = sum(1 for _ in rows) - 1
        bars.hold(f"{count / VIDEO_FPS:.0f} s of video in {seen.seconds:.0f} s: {found} rows of {count} frames",
                  found >= count)  # fmt: skip
        bars.hold_flat("the video", seen.own_mb)


def main() -> None:
    """Everything, in order."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--clip", type=Path)
    options = parser.parse_args()
    frames = sample_frames(PHOTOS, clip=options.clip)
    photos = [cv2.imencode(".jpg", frame[..., ::-1])[1].tobytes() for frame in frames]
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}; "
          f"{len(photos)} photos of {np.mean([len(photo) for photo in photos]) / 1000:.0f} kB")  # fmt: skip
    bars = Bars(60 if options.short else GROWTH_MB)
    soak_service(photos, options.short, bars)
    soak_mixed(options.short, bars)
    soak_video(options.clip, options.short, bars)
    sys.exit(bool(bars.missed))


if __name__ == "__main__":
    main()
