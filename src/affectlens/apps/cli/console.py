"""Terminal output shared by the commands."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table as RichTable
from rich.text import Text

from affectlens.core.messages import describe, visible
from affectlens.core.progress import Advance

PLAIN: dict[str, Any] = {"soft_wrap": True, "highlight": False, "markup": False, "emoji": False}
"""Settings of every console: file names are printed as they are, whatever brackets and colons they hold."""

out = Console(**PLAIN)
wide = Console(width=1000, **PLAIN)
"""For tables whose rows must stay lines of their own however narrow the terminal is."""
err = Console(stderr=True, **PLAIN)


def say(text: str = "", console: Console = out) -> None:
    """One line, in which control characters are escaped; on standard output by default."""
    console.print(visible(text))


def fail(error: Exception) -> None:
    """One line on standard error."""
    print("error:", describe(error), file=sys.stderr)


class Warnings(logging.Handler):
    """Prints what the package logs as a line on standard error; the work goes on."""

    def emit(self, record: logging.LogRecord) -> None:
        """One line per record."""
        warn(record.getMessage())


def warn(text: str) -> None:
    """One line on standard error; the work goes on."""
    print("warning:", visible(" ".join(text.split())), file=sys.stderr)


def note(text: str) -> None:
    """One line on standard error about what was done, for people: silent when that is no terminal."""
    if err.is_terminal:
        print(visible(text), file=sys.stderr)


class Table(RichTable):
    """Columns with nothing between them; control characters are escaped, so that each row stays a row."""

    def __init__(self, show_header: bool = True) -> None:
        super().__init__(box=None, pad_edge=False, header_style="bold", show_header=show_header)

    def add_column(self, header: RenderableType = "", *arguments: Any, **options: Any) -> None:
        """A column with its header."""
        super().add_column(_visible(header), *arguments, **options)

    def add_row(self, *cells: RenderableType | None, **options: Any) -> None:
        """A row of texts."""
        super().add_row(*map(_visible, cells), **options)


def _visible(cell: Any) -> Any:
    return visible(cell) if isinstance(cell, str) else cell


def print_table(table: RichTable, console: Console = out, fold: bool = False) -> None:
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


class Terminal:
    """A `core.progress.Progress`: messages on standard output, and bars on standard error, if that is a terminal. Tasks
    that are under way at the same time have their bars below each other.
    """

    def __init__(self) -> None:
        self._bars: Progress | None = None
        self._open = 0

    def message(self, text: str) -> None:
        """One line."""
        say(text)

    @contextmanager
    def task(self, description: str, total: float | None = None) -> Iterator[Advance]:
        """A bar that is taken away at the end."""
        if self._bars is None:
            self._bars = _progress_bars()
            self._bars.start()
        bars, self._open = self._bars, self._open + 1
        bar = bars.add_task(visible(description), total=total)
        try:
            yield partial(bars.advance, bar)
        finally:
            bars.remove_task(bar)
            self._open -= 1
            if not self._open:
                bars.stop()
                self._bars = None


def _progress_bars() -> Progress:
    """Bars on standard error that leave no trace; silent when that is no terminal."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    )


TERMINAL = Terminal()
