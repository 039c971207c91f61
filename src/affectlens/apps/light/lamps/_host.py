"""What lamps at a host share: their URL, and how long they may take."""

import re
from urllib.parse import SplitResult, urlsplit

from affectlens.core.errors import BadSetting

RESPONSE_TIMEOUT_S = 3.0
"""How long a lamp may take for each answer."""

_HOST = re.compile(r"[\w.:%-]+")


def split(url: str, port: int, form: str) -> tuple[SplitResult, int]:
    """The parts of a URL like `form`, and its port, by default `port`.

    Raises:
        BadSetting: it has no host, no such port, or a character that must be escaped; the message has nothing secret.
    """
    try:
        parts = urlsplit(url)
        port = port if parts.port is None else parts.port
        unclear = set("?#") & set(url) or "@" in parts.path
        good = port > 0 and not unclear and _HOST.fullmatch(parts.hostname or "")
    except ValueError:
        good = False
    if not good:
        raise BadSetting(
            f"invalid lamp URL; expected {form}, with /, @, ?, # and % in names written as %2F, %40, %3F, %23 and %25"
        )
    return parts, port


def place(parts: SplitResult) -> str:
    """Host and port as they stand in the URL."""
    return parts.netloc.rpartition("@")[2]
