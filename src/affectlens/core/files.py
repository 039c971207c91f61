"""Atomic writing of files, their digests, text output, and folders of temporary files."""

import hashlib
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISDIR
from typing import TextIO

from affectlens.core.errors import BadSetting


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
