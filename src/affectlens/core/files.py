"""Atomic writing of files, their digests, text output, folders of temporary files, and reading of files that come from
anywhere.
"""

import errno
import hashlib
import io
import json
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import IO, Any, AnyStr, BinaryIO, TextIO

from affectlens.core.errors import BadData, BadModelFile, BadSetting


@contextmanager
def partial(file: Path, durable: bool = True) -> Iterator[Path]:
    """A new file in the same folder, to be written in the block, that takes the place of `file` at its end; what was
    there before stays until then. With `durable`, it is on the disk by then.

    Raises:
        OSError: the disk is full, or the folder cannot be written to; nothing is left behind.
    """
    unfinished = file.with_name(f".{file.name[:30]}.{token_hex(6)}.partial")
    os.close(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    try:
        yield unfinished
        if durable:
            sync(unfinished)
        unfinished.replace(file)
        if durable:
            with suppress(OSError):  # not every file system can
                sync(file.parent)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def output_file(file: Path, durable: bool = True) -> Iterator[Path]:
    """As `partial`, for a file that a user names: links, pipes and devices, such as /dev/null, are written to as they
    are.
    """
    if file.is_symlink() or (file.exists() and not file.is_file()):
        yield file
        return
    with partial(file, durable) as unfinished:
        yield unfinished


def atomic_write(file: Path, content: str | bytes | memoryview) -> None:
    """Write text in UTF-8, or bytes, as `partial` does.  Raises OSError."""
    with partial(file) as unfinished:
        unfinished.write_bytes(content.encode() if isinstance(content, str) else content)


def atomic_copy(source: str | Path, target: str | Path) -> None:
    """Write the bytes of a file to another as `partial` does.  Raises OSError."""
    with partial(Path(target)) as unfinished:
        shutil.copyfile(source, unfinished)


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
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def own_folder(path: Path) -> Path:
    """A folder for temporary files, created if there is none.

    Raises:
        BadSetting: it is a link, which could lead to files of others, or a file. OSError: it cannot be created.
    """
    with suppress(FileExistsError):
        path.mkdir(parents=True)
    if not stat.S_ISDIR(path.lstat().st_mode):
        raise BadSetting(
            f"'{path}' must be a folder, not a link or a file: temporary files are deleted in it; remove it"
        )
    return path


def remove_own(folder: Path, names: str) -> None:
    """Delete the regular files in a folder whose names match the regular expression `names`; all else stays.

    Raises:
        OSError: a file cannot be deleted.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            if re.fullmatch(names, entry.name) and entry.is_file(follow_symlinks=False):
                Path(entry).unlink(missing_ok=True)


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
