"""Runs side by side, each in a process of its own."""

import logging
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import TypeAlias

from affectlens.core.errors import AffectLensError
from affectlens.core.progress import Advance, Progress, advance_nothing
from affectlens.workflows.plan import Planned, RunError, Task

Work: TypeAlias = Callable[[Planned, Task, Progress], RunError | None]


def in_processes(
    work: Work, waiting: Sequence[Planned], task: Task, jobs: int, progress: Progress
) -> Iterator[tuple[Planned, RunError | None]]:
    """Make `jobs` runs at a time with their share of the cores; yield each with its error as it ends.

    A run that starts from another waits for it. What runs report and warn of is passed on with their names. A process
    that is killed costs its own run; when the caller stops, all are terminated, and continue from their last epoch.
    """
    threads = max((os.cpu_count() or 1) // jobs, 1)
    pending, ended = list(waiting), dict[Path, RunError | None]()
    running: dict[Connection, tuple[Planned, SpawnProcess]] = {}
    try:
        while pending or running:
            busy = {one.folder for one in (*pending, *(one for one, _ in running.values()))}
            for one in [one for one in pending if one.after not in busy][: jobs - len(running)]:
                pending.remove(one)
                if error := one.hindrance(ended):
                    ended[one.folder] = error
                    yield one, error
                    continue
                connection, process = _begun(work, one, task, threads)
                running[connection] = one, process
            ready = wait(list(running)) if running else []  # of none it would wait for ever
            for connection in [one for one in running if one in ready]:
                one, process = running[connection]
                try:
                    text, error = connection.recv()
                except EOFError:
                    process.join()
                    text, error = None, AffectLensError("its process was killed, probably for lack of memory")
                if text is not None:
                    progress.message(text if text.startswith(one.name) else f"{one.name}: {text}")
                    continue
                del running[connection]
                process.join()
                ended[one.folder] = error
                yield one, error
    finally:
        for _, process in running.values():
            process.terminate()
        for _, process in running.values():
            process.join()


def _begun(work: Work, one: Planned, task: Task, threads: int) -> tuple[Connection, SpawnProcess]:
    """A process that makes the run, and where it reports."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_make, args=(work, one, task, threads, theirs), name=one.name, daemon=True)
    process.start()
    theirs.close()  # so that ours ends with the process
    return ours, process


def _make(work: Work, one: Planned, task: Task, threads: int, connection: Connection) -> None:
    """Make a run in this process; send (text, None) for each message, and at the end (None, error)."""
    import torch

    torch.set_num_threads(threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that waits ends this one
    reports = _Reports(connection)
    logging.getLogger("affectlens").addHandler(reports)
    error = work(one, task, reports)
    connection.send((None, error))


class _Reports(logging.Handler):
    """A `Progress` whose messages, like the warnings of the package, go to the process that waits.

    Where that is gone, sending fails, and the run ends with it.
    """

    def __init__(self, connection: Connection) -> None:
        super().__init__(logging.WARNING)
        self.connection = connection

    def message(self, text: str) -> None:
        """Send a line."""
        self.connection.send((text, None))

    def task(self, description: str, total: float | None = None) -> AbstractContextManager[Advance]:
        """Nothing: bars of several runs would be too many."""
        del description, total
        return nullcontext(advance_nothing)

    def emit(self, record: logging.LogRecord) -> None:
        """Send a warning."""
        self.message(f"warning: {' '.join(record.getMessage().split())}")
