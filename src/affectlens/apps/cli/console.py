"""Terminal output shared by the commands."""

import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from affectlens.core import progress
from affectlens.core.progress import Advance

Item = TypeVar("Item")

PLAIN: dict[str, Any] = {"soft_wrap": True, "highlight": False, "markup": False, "emoji": False}
"""Settings of every console: file names are printed as they are, whatever brackets and colons they hold."""

out = Console(**PLAIN)
wide = Console(width=1000, **PLAIN)
"""For tables whose rows must stay lines of their own however narrow the terminal is."""
err = Console(stderr=True, **PLAIN)


def fail(error: Exception) -> None:
    """One line on standard error."""
    text = str(error)
    if isinstance(error, OSError) and error.filename:
        text = f"{error.strerror}: '{error.filename}'"
        if isinstance(error, FileExistsError) and Path(error.filename).is_file():
            text = f"'{error.filename}' is a file, expected a folder"
        if isinstance(error, FileNotFoundError) and not (parent := Path(error.filename).parent).exists():
            text = f"cannot write '{error.filename}': the folder '{parent}' does not exist"
    print("error:", " ".join(text.split()), file=sys.stderr)


class Warnings(logging.Handler):
    """Prints what the package logs as a line on standard error; the work goes on."""

    def emit(self, record: logging.LogRecord) -> None:
        """One line per record."""
        warn(record.getMessage())


def warn(text: str) -> None:
    """One line on standard error; the work goes on."""
    print("warning:", " ".join(text.split()), file=sys.stderr)


def note(text: str) -> None:
    """One line on standard error about what was done, for people: silent when that is no terminal."""
    if err.is_terminal:
        print(text, file=sys.stderr)


def print_table(table: Table, console: Console = out, fold: bool = False) -> None:
    """A table without blanks at the ends of its lines; with `fold` no wider than `console`."""
    with console.capture() as capture:
        console.print(table, soft_wrap=not fold)
    for line in capture.get().splitlines():
        console.file.write(f"{line.rstrip()}\n")


class _RateColumn(ProgressColumn):
    """How many a second, over the last half minute."""

    def render(self, task: Task) -> Text:
        """Empty until it is known."""
        return Text("" if task.speed is None else f"{task.speed:.3g}/s", style="progress.data.speed")


class ProgressBars:
    """Progress bars on standard error; silent when that is no terminal.  A context manager."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _RateColumn(),
            TimeRemainingColumn(),
            console=err,
            transient=True,
            disable=not err.is_terminal,
        )

    def __enter__(self) -> "ProgressBars":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def steps(self, what: str, total: int | None) -> Advance:
        """Begin a bar of so many steps; a call for each."""
        return partial(self._progress.advance, self._progress.add_task(what, total=total))

    def over(self, items: Iterable[Item], total: int | None, what: str) -> Iterator[Item]:
        """Yield `items` with a progress bar; without one if there are three or fewer. `total` is None if unknown."""
        if total is not None and total <= 3:
            yield from items
            return
        yield from self._progress.track(items, total=total, description=what)

    def along(
        self, items: Iterable[Item], at: Callable[[Item], float | None], total: float | None, what: str
    ) -> Iterator[Item]:
        """Yield `items` under a bar; `at` says how far it is after each."""
        task = self._progress.add_task(what, total=total)
        for item in items:
            yield item
            self._progress.update(task, completed=at(item))
        self._progress.remove_task(task)


class Terminal:
    """A `core.progress.Progress`: messages on standard output, and for tasks of more than three steps a bar on standard
    error, if that is a terminal.
    """

    def message(self, text: str) -> None:
        """One line."""
        out.print(text)

    @contextmanager
    def task(self, description: str, total: int | None = None) -> Iterator[Advance]:
        """A bar that is taken away at the end."""
        if total is not None and total <= 3:
            yield lambda: None
            return
        with ProgressBars() as bars:
            yield bars.steps(description, total)


TERMINAL = Terminal()


def track(items: Iterable[Item], total: int | None, what: str) -> Iterator[Item]:
    """Yield `items` under a progress bar on standard error; silent for three or fewer, or when that is no terminal.

    `total` is None if unknown.
    """
    return progress.track(items, TERMINAL, what, total)
