"""Atomic writing of files, their digests, text output, and reading of files that come from anywhere."""

import errno
import hashlib
import io
import json
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, AnyStr, BinaryIO, TextIO

from affectlens.core.errors import BadData, BadModelFile


def atomic_write(file: Path, content: str | bytes | memoryview) -> None:
    """Write under a temporary name in the same folder, then rename; what was there before stays until then.

    Raises:
        OSError: the disk is full, or the folder cannot be written to; nothing is left behind.
    """
    partial = file.with_name(f"{file.name}.partial")
    try:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def sha256_of(file: Path) -> str:
    """The digest of a file's bytes, in hexadecimal.  Raises OSError."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def text_output(file: Path | None) -> Iterator[TextIO]:
    """A file to write in UTF-8 with the line ends that are written, or standard output, which stays open.

    Raises:
        OSError: it cannot be opened.
    """
    if file is None:
        yield sys.stdout
        return
    with file.open("w", newline="", encoding="utf-8") as stream:
        yield stream


def sync(path: Path) -> None:
    """Wait until a file or a folder is on the disk; folders cannot be waited for on Windows.  Raises OSError."""
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


MAX_TEXT_BYTES = 1 << 28
"""The largest text file that is read as a whole."""
MAX_LINE = 1 << 20
"""The longest line of a text file that is read line by line, in characters."""


def real_path(path: str | os.PathLike[str]) -> Path:
    """The absolute path without symbolic links; one that leads to itself stays, unlike with `Path.resolve`."""
    try:
        return Path(os.path.realpath(path))
    except (OSError, ValueError):  # a name that no file can have
        return Path(os.path.abspath(path))


def regular_size(path: str | os.PathLike[str]) -> int:
    """Bytes of a regular file; opening a pipe could wait for ever, and a device need not end.

    Raises:
        OSError: it is missing or something else.
    """
    status = Path(path).stat()
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return status.st_size


def open_regular(path: str | os.PathLike[str], most: int | None = None) -> BinaryIO:
    """A regular file of at most so many bytes, opened for reading.

    Raises:
        OSError: it is something else, larger (EFBIG), missing or unreadable.
    """
    size = regular_size(path)
    if most is not None and size > most:
        raise OSError(errno.EFBIG, f"the file has {size:,} bytes; the limit is {most:,}", str(path))
    return Path(path).open("rb")


def open_text(
    path: str | os.PathLike[str], most: int | None = None, encoding: str = "utf-8", newline: str | None = None
) -> TextIO:
    """As `open_regular`, for text."""
    return io.TextIOWrapper(open_regular(path, most), encoding=encoding, newline=newline)


def read_bytes(path: str | os.PathLike[str], most: int = MAX_TEXT_BYTES) -> bytes:
    """What is in a regular file of at most so many bytes.  Raises OSError."""
    with open_regular(path, most) as stream:
        return stream.read()


def read_text(path: str | os.PathLike[str], most: int = MAX_TEXT_BYTES, encoding: str = "utf-8") -> str:
    """What is in a text file of at most so many bytes.  Raises OSError, UnicodeDecodeError."""
    with open_text(path, most, encoding) as stream:
        return stream.read()


def limited_lines(stream: IO[AnyStr], most: int = MAX_LINE) -> Iterator[AnyStr]:
    """The lines of a file, none of which is kept in memory beyond a limit.

    Raises:
        BadData: one is longer than `most`.
    """
    while line := stream.readline(most + 1):
        if len(line) > most:
            raise BadData(f"a line has more than {most:,} characters")
        yield line


def read_json(file: Path, kind: type) -> Any:
    """The value in a JSON file, a `dict` or a `list`.

    Raises:
        BadModelFile: the file is damaged or holds something else. OSError: it cannot be read.
    """
    try:
        found = json.loads(read_text(file))
    except (ValueError, RecursionError, MemoryError) as error:
        raise BadModelFile(f"'{file}' is damaged: {error or type(error).__name__}") from error
    if not isinstance(found, kind):
        raise BadModelFile(f"'{file}' is damaged: expected a {kind.__name__}, got {type(found).__name__}")
    return found
