"""Processes that decode and analyze what clients send, and that can be killed.

Decoders and networks cannot be interrupted, and a crash in one of them ends its process. They therefore run in
processes of their own, one task at a time each; a process whose task takes too long is killed and replaced. They are
forked from one that has imported what they need and does nothing else, or spawned where there is no fork (Windows).
"""

import asyncio
import contextlib
import multiprocessing
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from queue import SimpleQueue
from typing import Any, TypeVar

import cv2

from affectlens.apps.server.limits import Limits
from affectlens.core.errors import UnreadableMedia
from affectlens.core.malloc import return_freed_memory
from affectlens.core.messages import one_line
from affectlens.core.reasons import Reason
from affectlens.runtime.analyzer import Analyzer

T = TypeVar("T")
Task = Callable[..., Iterator[Any]]
"""A function of `apps.server.tasks`."""

_MAX_DEATHS = 2
"""So often a process may die with a picture before that is given up."""
_LAST_S = 2.0
"""How long a picture may go on when the service ends."""


def _context() -> BaseContext:
    """Of the processes."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["affectlens.apps.server.tasks"])
    return context


class Died(Exception):
    """A worker process died with its task, or was killed; `reason` says which."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Worker:
    """A process with an analyzer of its own; starting it waits for the first process that others are forked from."""

    def __init__(self, analyzer: Analyzer, limits: Limits) -> None:
        context = _context()
        self._pipe, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(  # type: ignore[attr-defined]
            target=_serve, args=(theirs, analyzer, limits), name="affectlens-worker", daemon=True
        )
        self._process.start()
        theirs.close()

    def run(self, limit_s: float, task: Task, *args: Any) -> Iterator[Any]:
        """Yield what the task yields.

        Raises:
            Died: the process is dead, or killed since the next took longer than `limit_s`.
            Exception: what the task raises.
        """
        self._exchange(self._pipe.send, (task, args))
        while self._exchange(self._pipe.poll, limit_s):
            found, error = self._exchange(self._pipe.recv)
            if error is not None:
                raise error
            if found is None:
                return
            yield found
        self.kill()
        raise Died(Reason.TOO_SLOW, f"not finished after {limit_s:g} s")

    def _exchange(self, act: Callable[..., Any], *args: Any) -> Any:
        """Use the pipe.  Raises Died."""
        try:
            return act(*args)
        except (EOFError, OSError) as error:
            self.kill()
            detail = f"the process that read it exited with code {self._process.exitcode}"
            raise Died(Reason.CRASHED, detail) from error

    def leave(self) -> None:
        """Let the process end, which has nothing to do."""
        self._pipe.close()
        self._process.join(_LAST_S)
        self.kill()

    def kill(self) -> None:
        """End the process, whatever it does; from any thread."""
        self._process.kill()
        self._process.join()


class WorkerPool:
    """Workers for pictures, as many as there are threads."""

    def __init__(self, analyzer: Analyzer, limits: Limits) -> None:
        self._analyzer, self._limits = analyzer, limits
        self._threads = ThreadPoolExecutor(limits.threads, "affectlens-worker")
        self._idle: SimpleQueue[Worker | None] = SimpleQueue()
        self._alive: set[Worker] = set()
        self._ended = False
        for _ in range(limits.threads):
            self._idle.put(None)

    def start(self) -> None:
        """Begin all workers, without waiting for them."""
        for _ in range(self._limits.threads):
            self._threads.submit(lambda: self._idle.put(self._idle.get() or self._new()))

    def end(self) -> None:
        """Give what is under way a moment; after it, and for what is begun later, UnreadableMedia is raised."""
        self._ended = True
        timer = threading.Timer(_LAST_S, self._kill)
        timer.daemon = True
        timer.start()

    def close(self) -> None:
        """End all workers: let those go that have nothing to do, and kill the others."""
        self._ended = True
        for _ in range(self._idle.qsize()):
            if worker := self._idle.get():
                self._alive.discard(worker)
                worker.leave()
            self._idle.put(None)
        self._kill()
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._kill()

    async def run(self, task: Callable[..., Iterator[T]], *args: Any) -> T:
        """What the task yields, once, as soon as a worker is free.

        Raises:
            UnreadableMedia: it takes too long, its process dies twice, or the service ends.
            Exception: what the task raises.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._run, task, *args)

    def _run(self, task: Callable[..., Iterator[T]], *args: Any) -> T:
        worker = self._idle.get()
        deaths = 0
        try:
            while not self._ended:
                worker = worker or self._new()
                try:
                    found: tuple[T] = tuple(worker.run(self._limits.photo_s, task, *args))
                    return found[0]
                except Died as died:
                    self._alive.discard(worker)
                    worker, deaths = None, deaths + 1
                    if died.reason == Reason.TOO_SLOW or deaths == _MAX_DEATHS:
                        raise UnreadableMedia(died.reason, str(died)) from died
            raise UnreadableMedia(Reason.STOPPED, "the service is being stopped")
        finally:
            self._idle.put(worker)

    def _new(self) -> Worker:
        worker = Worker(self._analyzer, self._limits)
        self._alive.add(worker)
        return worker

    def _kill(self) -> None:
        for worker in tuple(self._alive):
            worker.kill()


def _serve(pipe: Connection, analyzer: Analyzer, limits: Limits) -> None:
    """Do what comes until nothing comes any more; a worker's whole life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all, and ends the service from outside
    cv2.setNumThreads(1)
    return_freed_memory()
    with contextlib.suppress(EOFError, OSError):
        while True:
            task, args = pipe.recv()
            for answer in _answers(task, analyzer, limits, *args):
                try:
                    pipe.send(answer)
                except (EOFError, OSError):
                    raise
                except Exception as error:  # what cannot be pickled
                    pipe.send((None, RuntimeError(one_line(error))))
                    break


def _answers(task: Task, *args: Any) -> Iterator[tuple[Any, Exception | None]]:
    """What the task yields, each without an error, and at the end nothing or its error."""
    try:
        for found in task(*args):
            yield found, None
    except Exception as error:
        error.add_note(traceback.format_exc())  # which a pickle leaves out
        yield None, error
    else:
        yield None, None
