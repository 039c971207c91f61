"""Progress of long tasks: one protocol for terminals, notebooks, logs and any other observer."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Advance = Callable[[], object]
"""Says that one more step is done."""


class Progress(Protocol):
    """Receives the progress of a task."""

    def message(self, text: str) -> None:
        """Receive a line of text worth keeping, about what was done or found."""

    def task(self, description: str, total: int | None = None) -> AbstractContextManager[Advance]:
        """Begin a part of the work with `total` steps, or None if unknown."""


class _Silent:
    """Nobody watches."""

    def message(self, text: str) -> None:
        del text

    def task(self, description: str, total: int | None = None) -> AbstractContextManager[Advance]:
        del description, total
        return nullcontext(lambda: None)


SILENT: Progress = _Silent()


def track(items: Iterable[Item], progress: Progress, description: str, total: int | None = None) -> Iterator[Item]:
    """Yield `items` as one task of `progress`."""
    with progress.task(description, total) as advance:
        for item in items:
            yield item
            advance()
