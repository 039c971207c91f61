"""Progress of long tasks: one protocol for terminals, notebooks, logs and any other observer."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TypeVar

Item = TypeVar("Item")


class Advance(Protocol):
    """Says that one more step is done, or `steps` more."""

    def __call__(self, steps: float = 1) -> object: ...


def advance_nothing(steps: float = 1) -> None:
    """Advance a task that nothing displays."""
    del steps


class Progress(Protocol):
    """Receives the progress of a task."""

    def message(self, text: str) -> None:
        """Receive a line of text worth keeping, about what was done or found."""

    def task(self, description: str, total: float | None = None) -> AbstractContextManager[Advance]:
        """Begin a part of the work with `total` steps, or None if unknown."""


class _Silent:
    """Nobody watches."""

    def message(self, text: str) -> None:
        del text

    def task(self, description: str, total: float | None = None) -> AbstractContextManager[Advance]:
        del description, total
        return nullcontext(advance_nothing)


SILENT: Progress = _Silent()


def track(items: Iterable[Item], progress: Progress, description: str, total: float | None = None) -> Iterator[Item]:
    """Yield `items` as one task of `progress`; three or fewer are not worth one."""
    if total is not None and total <= 3:
        yield from items
        return
    with progress.task(description, total) as advance:
        for item in items:
            yield item
            advance()
