"""Progress in notebooks and in logs; that of a terminal is the command line's."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from affectlens.core.errors import MissingExtra
from affectlens.core.progress import Advance


class NotebookProgress:
    """Messages and bars by `tqdm.auto`: widgets in a notebook, text elsewhere.

    Raises:
        MissingExtra: the extra `train`, which brings tqdm, is not installed.
    """

    def __init__(self) -> None:
        try:
            from tqdm.auto import tqdm
        except ImportError as error:
            raise MissingExtra("the progress of notebooks", "train") from error
        self._bar = tqdm

    def message(self, text: str) -> None:
        """One line, above the bar if there is one."""
        self._bar.write(text)

    @contextmanager
    def task(self, description: str, total: int | None = None) -> Iterator[Advance]:
        """A bar that is taken away at the end."""
        with self._bar(desc=description, total=total, leave=False) as bar:
            yield bar.update


class LoggingProgress:
    """Messages and the beginnings of tasks as lines of a logger."""

    def __init__(self, logger: logging.Logger | None = None) -> None:
        """`logger` is "affectlens" by default; its level must let INFO through."""
        self._logger = logger or logging.getLogger("affectlens")

    def message(self, text: str) -> None:
        """One line."""
        self._logger.info(text)

    @contextmanager
    def task(self, description: str, total: int | None = None) -> Iterator[Advance]:
        """One line at the beginning."""
        self._logger.info("%s%s", description, "" if total is None else f" ({total} steps)")
        yield lambda: None
