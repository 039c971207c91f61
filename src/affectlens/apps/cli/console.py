"""What the commands share on the terminal."""

import logging
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

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
            text = f"'{error.filename}' is a file; a folder is needed"
    print("error:", " ".join(text.split()), file=sys.stderr)


class Warnings(logging.Handler):
    """Prints what the package logs as a line on standard error; the work goes on."""

    def emit(self, record: logging.LogRecord) -> None:
        """One line per record."""
        warn(record.getMessage())


def warn(text: str) -> None:
    """One line on standard error; the work goes on."""
    print("warning:", " ".join(text.split()), file=sys.stderr)


def print_table(table: Table, console: Console = out, fold: bool = False) -> None:
    """A table without blanks at the ends of its lines; with `fold` no wider than `console`."""
    with console.capture() as capture:
        console.print(table, soft_wrap=not fold)
    for line in capture.get().splitlines():
        console.file.write(f"{line.rstrip()}\n")


def track(items: Iterable[Item], total: int | None, what: str) -> Iterator[Item]:
    """Yield `items` under a progress bar on standard error; silent for three or fewer, or when that is no terminal.

    `total` is None where nobody knows.
    """
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        disable=(total is not None and total <= 3) or not err.is_terminal,
    ) as progress:
        yield from progress.track(items, total=total, description=what)
