"""Progress of long tasks: one protocol for terminals, notebooks, logs and any other observer."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Advance = Callable[[], object]
"""Says that one more step is done."""


class Progress(Protocol):
    """Watches a task."""

    def message(self, text: str) -> None:
        """Take a line about what was done or found, which is worth keeping."""

    def task(self, description: str, total: int | None = None) -> AbstractContextManager[Advance]:
        """Begin a part of the work that has `total` steps, None where that is unknown."""


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
