"""Engine for one machine: independent processes, each of which analyzes whole sources."""

import math
import multiprocessing
import os
import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

import cv2

from affectlens.apps.batch.item import Item
from affectlens.apps.batch.work import BatchSettings, ResultPart, Worker
from affectlens.core.errors import AffectLensError
from affectlens.core.reasons import Reason

_MAX_QUEUED = 8
"""Photos that wait for a worker; a video counts as so many."""
MAX_DEATHS = 2
"""So often a process may die with a source before that is given up."""
_MAX_FAILED_STARTS = 4
"""So many processes may die before they begin."""
_JOIN_TIMEOUT_S, _MAX_WAIT_S = 1.0, 60.0
_IDLE = 0  # sources are numbered from 1

Sources = Iterator[tuple[int, Item]]
Parts = Generator[ResultPart, None, None]


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def analyze_here(sources: Sources, settings: BatchSettings) -> Parts:
    """Parts of all sources, in their order, in this process.  Raises AffectLensError if the model cannot be opened."""
    worker = Worker(settings)
    for number, item in sources:
        yield from worker.parts(number, item)


def analyze_in_processes(sources: Sources, settings: BatchSettings, workers: int) -> Parts:
    """Parts of all sources, as they come, from `workers` processes of one thread each.

    A process that dies costs the source that it was at: it is tried once more, then given up with the reason "crashed";
    another process takes its place. A process from which nothing comes for `settings.timeout_s` is killed, its source
    given up with the reason "too_slow". Queues are short, so that memory does not grow with the batch.

    Raises:
        AffectLensError: the processes end before they begin, or cannot open the model.
    """
    context = multiprocessing.get_context("spawn")
    deaths: Counter[int] = Counter()
    again: deque[tuple[int, Item]] = deque()
    here = cache(partial(Worker, settings))  # which says what of a source that nobody survives
    crew = [_Process(context, settings) for _ in range(workers)]
    try:
        while True:
            for _ in range(_MAX_QUEUED):  # in turns, so that none has eight videos and another nothing
                for one in crew:
                    if one.has_room and (found := again.popleft() if again else next(sources, None)):
                        one.give(found)
            if not any(one.given for one in crew):
                return
            busy = [one for one in crew if one.given]
            until_s = min(one.due_s for one in busy) - time.monotonic()
            ready = wait([one.pipe for one in busy], min(max(until_s, 0.0), _MAX_WAIT_S))
            for one in busy:
                if one.pipe not in ready:
                    if time.monotonic() > one.due_s:
                        crew[crew.index(one)] = _Process(context, settings)
                        yield _given_up(one, again, here)
                    continue
                try:
                    part = one.receive()
                except (EOFError, OSError):
                    crew[crew.index(one)] = _Process(context, settings)
                    yield from _after_death(one, deaths, again, here)
                else:
                    if part is not None:
                        yield part
    finally:
        for one in crew:
            one.pipe.close()
        until = time.monotonic() + _JOIN_TIMEOUT_S
        for one in crew:
            one.end(until)


def _given_up(slow: "_Process", again: deque[tuple[int, Item]], here: Callable[[], Worker]) -> ResultPart:
    """Kill a process; give up its source and give back the others."""
    slow.end()
    number, item = slow.given.popleft()
    again.extend(slow.given)
    return here().too_slow(number, item)


def _after_death(
    dead: "_Process", deaths: Counter[int], again: deque[tuple[int, Item]], here: Callable[[], Worker]
) -> Iterator[ResultPart]:
    """Give back what a process was to analyze, except what has killed it twice."""
    code = dead.end(time.monotonic() + _JOIN_TIMEOUT_S)
    if not dead.started:
        deaths[_IDLE] += 1
        if deaths[_IDLE] > _MAX_FAILED_STARTS:
            raise AffectLensError(f"worker processes exit before they start working (exit code {code})")
        again.extend(dead.given)
        return
    number, item = dead.given.popleft()
    deaths[number] += 1
    if deaths[number] < MAX_DEATHS:
        again.append((number, item))
    else:
        yield here().failed(number, item, Reason.CRASHED, f"the process that read it exited with code {code}")
    again.extend(dead.given)


@dataclass(eq=False)
class _Process:
    """A worker process, seen from outside."""

    context: multiprocessing.context.SpawnContext
    settings: BatchSettings
    given: deque[tuple[int, Item]] = field(default_factory=deque)
    started: bool = False
    due_s: float = math.inf
    """Time on the monotonic clock by which it has to say something."""

    def __post_init__(self) -> None:
        self.pipe, theirs = self.context.Pipe()
        self.process: BaseProcess = self.context.Process(target=_serve, args=(theirs, self.settings), daemon=True)
        with _without_interrupts():
            self.process.start()
        theirs.close()

    @property
    def has_room(self) -> bool:
        """Whether it has little left to do."""
        return sum(_MAX_QUEUED if item.video else 1 for _, item in self.given) < _MAX_QUEUED

    def give(self, source: tuple[int, Item]) -> None:
        """One more to analyze."""
        if self.started and not self.given:
            self._expect()
        self.given.append(source)
        with suppress(OSError):  # that it is dead shows when it is asked for an answer
            self.pipe.send(source)

    def receive(self) -> ResultPart | None:
        """What it has to say; None where that is no part.  Raises EOFError or OSError where it is dead."""
        said = self.pipe.recv()
        self._expect()
        if isinstance(said, Exception):
            raise said
        if not isinstance(said, ResultPart):
            self.started = True
            return None
        if said.end is not None:
            self.given.popleft()
        return said

    def _expect(self) -> None:
        self.due_s = time.monotonic() + self.settings.timeout_s

    def end(self, until: float = 0) -> int | None:
        """Let it go, by force after `until` on the monotonic clock; its exit code."""
        self.pipe.close()
        self.process.join(max(0.0, until - time.monotonic()))
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        return self.process.exitcode


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Ctrl-C waits; a process that is started here never hears of it, not even while it imports what it needs."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(pipe: Connection, settings: BatchSettings) -> None:
    """Analyze what comes until nothing comes any more; a worker's whole life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all, and ends the batch from outside
    cv2.setNumThreads(1)
    with suppress(EOFError, OSError):
        try:
            worker = Worker(settings)
            pipe.send("ready")
            while True:
                for part in worker.parts(*pipe.recv()):
                    pipe.send(part)
        except AffectLensError as error:
            pipe.send(error)
