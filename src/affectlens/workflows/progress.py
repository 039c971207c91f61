"""Progress in notebooks and logs; the command line has its own for terminals."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from affectlens.core.errors import MissingExtra
from affectlens.core.messages import visible
from affectlens.core.progress import Advance, advance_nothing


class NotebookProgress:
    """Show messages and progress bars with `tqdm.auto`: widgets in a notebook, text elsewhere.

    Raises:
        MissingExtra: the extra `train`, which includes tqdm, is not installed.
    """

    def __init__(self) -> None:
        try:
            from tqdm.auto import tqdm
        except ImportError as error:
            raise MissingExtra("the progress of notebooks", "train") from error
        self._bar = tqdm

    def message(self, text: str) -> None:
        """Show one line, above the bar if there is one."""
        self._bar.write(visible(text))

    @contextmanager
    def task(self, description: str, total: float | None = None) -> Iterator[Advance]:
        """Show a bar, which is removed at the end."""
        counts = "{l_bar}{bar}| {n:.0f}" + ("" if total is None else "/{total:.0f}") + " [{elapsed}<{remaining}]"
        with self._bar(desc=visible(description), total=total, leave=False, bar_format=counts) as bar:
            yield bar.update


class LoggingProgress:
    """Write messages and the starts of tasks to a logger."""

    def __init__(self, logger: logging.Logger | None = None) -> None:
        """`logger` is "affectlens" by default; its level must let INFO through."""
        self._logger = logger or logging.getLogger("affectlens")

    def message(self, text: str) -> None:
        """One line."""
        self._logger.info("%s", visible(text))

    @contextmanager
    def task(self, description: str, total: float | None = None) -> Iterator[Advance]:
        """Log one line at the start."""
        self._logger.info("%s%s", visible(description), "" if total is None else f" ({total:.0f} steps)")
        yield advance_nothing
