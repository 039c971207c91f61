"""Messages of one line, in which control characters are escaped, and reason codes of third-party errors."""

import logging
import re
from functools import lru_cache
from pathlib import Path

from affectlens.core.errors import AffectLensError, BadAnswer, MissingExtra, UnreadableMedia
from affectlens.core.reasons import Reason

MAX_LENGTH = 500
"""Characters of a message; what it quotes from a file can be much longer."""
_HIDDEN = r"\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
"""Characters that control a terminal, break lines or change the direction of text. Joiners, which emoji and many
scripts need, are not among them.
"""
_CONTROL = re.compile(rf"[\x00-\x1f{_HIDDEN}]")
_CONTROL_IN_JSON = re.compile(f"[{_HIDDEN}]")


def visible(text: str) -> str:
    r"""The text with control characters as Python escapes them: `\n`, `\x1b`, `\u202e`. It stays on its line, and does
    to a terminal what other letters do.
    """
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def visible_json(text: str) -> str:
    r"""JSON of `json.dumps` with the same characters as `\u009b`, `\u202e`; it means the same."""
    return _CONTROL_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def shortened(text: str) -> str:
    """A message in one line, of which the middle is left out if it is too long: its end says what to do."""
    line = " ".join(text.split())
    half = (MAX_LENGTH - 5) // 2
    return line if len(line) <= MAX_LENGTH else f"{line[:half]} ... {line[-half:]}"


def first_line(error: Exception) -> str:
    """The first line of what an error says, without its type, which for those of Arrow says nothing."""
    return shortened((str(error) or type(error).__name__).splitlines()[0])


def one_line(error: Exception) -> str:
    """The type of an error and the first line of what it says."""
    said = str(error).partition("\n")[0]
    return shortened(f"{type(error).__name__}: {said}" if said else type(error).__name__)


def describe(error: Exception) -> str:
    """Describe an error in one line; an OSError with the file that it concerns."""
    text = str(error)
    if isinstance(error, OSError) and error.filename:
        text = f"{error.strerror}: '{error.filename}'"
        file = Path(error.filename)
        if isinstance(error, FileExistsError | NotADirectoryError) and (
            blocking := [part for part in (file, *file.parents) if part.is_file()]
        ):
            text = f"'{blocking[0]}' is a file, expected a folder"
        if isinstance(error, FileNotFoundError) and not (parent := file.parent).exists():
            text = f"cannot open '{error.filename}': the folder '{parent}' does not exist"
    return visible(shortened(text))


def without_advice(said: str) -> str:
    """What torch says of a file that it cannot load, but not that it should be unpickled all the same."""
    return "it contains no weights that can be read safely" if re.search(r"weights_only|pickle", said) else said


@lru_cache(maxsize=10_000)
def warn_once(message: str) -> None:
    """A warning in the log, the first time that it is given in this process."""
    logging.getLogger("affectlens").warning("%s", message)


def reason_of(error: Exception) -> tuple[Reason, str]:
    """Reason code and detail, in one line, of what went wrong with one source.

    Raises:
        AffectLensError: `error` itself, where every other source would fail in the same way.
    """
    if isinstance(error, UnreadableMedia):
        return Reason(error.reason), shortened(error.detail)
    if isinstance(error, MissingExtra):
        return Reason.MISSING_EXTRA, shortened(str(error))
    if isinstance(error, BadAnswer):
        return Reason.FAILED, shortened(str(error))
    if isinstance(error, AffectLensError):
        raise error
    # of OpenCV, onnxruntime or memory: one picture must not cost the results of others
    return Reason.FAILED, one_line(error)
