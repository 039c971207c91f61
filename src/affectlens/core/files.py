"""Atomic writing of files, their digests, text output, and folders of temporary files."""

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from stat import S_ISDIR
from typing import TextIO

from affectlens.core.errors import BadSetting


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
    if not S_ISDIR(path.lstat().st_mode):
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
