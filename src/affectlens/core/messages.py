"""Messages for third-party errors in logs and rows."""

import logging
from functools import lru_cache


def one_line(error: Exception) -> str:
    """The type of an error and the first line of what it says."""
    return f"{type(error).__name__}: {error}".partition("\n")[0]


@lru_cache(maxsize=10_000)
def warn_once(message: str) -> None:
    """A warning in the log, the first time that it is given in this process."""
    logging.getLogger("affectlens").warning("%s", message)
