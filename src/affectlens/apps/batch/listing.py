"""Listing of the sources of a batch: photos and videos in a folder, glob, list, Parquet or tar files, local or at a
URL.
"""

import os
import re
import tarfile
import zlib
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from glob import has_magic
from itertools import chain
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from affectlens.apps.batch.item import Item, is_photo_name, is_video_name
from affectlens.core.errors import AffectLensError, BadSetting, MissingExtra, UnreadableMedia
from affectlens.core.files import regular_size
from affectlens.core.messages import first_line, one_line
from affectlens.core.parquet_file import batches_of
from affectlens.core.reasons import Reason
from affectlens.runtime.media import ANNOTATED, display_name, expand, file_reasons, is_live

LISTS = frozenset({".txt", ".lst", ".list"})
"""Text files with a source on each line; relative ones are meant from where the list is."""

_MAX_LINE = 8192
"""Bytes of a line in a list that are read, more than the longest name of a file has."""
_TAR_END, _MAX_HEADER = 512, 1 << 20
_TAR = re.compile(r"\.(tar(\.(gz|bz2|xz))?|tgz|tbz2|txz)$", re.IGNORECASE)
_PACKED = {".gz": "gzip", ".tgz": "gzip", ".bz2": "bz2", ".tbz2": "bz2", ".xz": "xz", ".txz": "xz"}
_SHARDS = ("*.tar", "*.tar.*", "*.parquet")
_IN_CELLS = ("image", "bytes", "content", "jpg", "jpeg", "png")
_PATHS = ("path", "file", "filename", "file_name", "image", "image_path", "url", "source")


def list_items(source: str) -> Iterator[Item]:
    """An iterator over the photos and videos of a batch.

    Folders are searched for files that are named like photos and videos; what is inside tar and Parquet files is found
    where these are named, by a glob for example. Annotated copies are left out. What a list or a column of paths names
    and cannot be found is an item with its fault.

    Raises:
        BadSetting: there is nothing of that name, it is a camera or stream, it cannot be reached, or a Parquet file has
            no column of images or paths. MissingExtra: it needs the extra "batch".
    """
    if is_live(source):
        raise BadSetting(f"'{source}' is a live source without an end; analyze it with 'affectlens analyze'")
    items = _items(source)
    first = next(items, None)
    second = next(items, None)
    if first is None or (second is None and first.fault and first.url == absolute(source)):
        why = f": {first.fault[1]}" if first and first.fault else ""
        raise BadSetting(f"'{source}' has no photos or videos{why}{_shards_in(source)}")
    return chain((item for item in (first, second) if item), items)


def _shards_in(source: str) -> str:
    """How to name the tar and Parquet files in a folder, if there are any."""
    with suppress(BadSetting, OSError):
        for glob in (f"{source.rstrip('/')}/{pattern}" for pattern in _SHARDS if not has_magic(source)):
            if next(_files(glob)).fault is None:
                return f"; to read those inside its tar or Parquet files, use '{glob}'"
    return ""


def is_url(source: str) -> bool:
    """Whether a source is at a URL, which fsspec opens."""
    return re.match(r"[a-z][a-z0-9+.-]+(://|::)", source, re.IGNORECASE) is not None


def absolute(source: str) -> str:
    """The same source, whatever the current folder is: a URL as it is, a path or glob in full, without `..`."""
    if source.lower().startswith("file://"):
        source = source[len("file://") :]
    if is_url(source) and not os.path.lexists(source):  # a file may be called img::1.jpg
        return source
    return os.path.abspath(os.path.expanduser(source))


@contextmanager
def faults() -> Iterator[None]:
    """Whatever goes wrong with one file while it is listed or read becomes an UnreadableMedia.

    Raises:
        BadSetting, MissingExtra: as they are.
    """
    try:
        with file_reasons():
            yield
    except AffectLensError:
        raise
    except EOFError as error:
        raise UnreadableMedia(Reason.TRUNCATED, str(error)) from error
    except MemoryError as error:
        raise UnreadableMedia(Reason.FAILED, "out of memory") from error
    except (tarfile.TarError, zlib.error, LZMAError) as error:
        raise UnreadableMedia(Reason.DAMAGED, str(error)) from error
    except Exception as error:  # of tarfile, Arrow or any store
        raise UnreadableMedia(Reason.DAMAGED, one_line(error)) from error


@contextmanager
def opened(url: str) -> Iterator[BinaryIO]:
    """The bytes of a file here or at a URL; `.gz`, `.bz2` and `.xz` are unpacked.

    Raises:
        OSError, BadSetting, MissingExtra.
    """
    filesystem, path = _filesystem(url)
    if not is_url(url):
        regular_size(path)
    with filesystem.open(path, "rb", compression=_PACKED.get(PurePosixPath(path.lower()).suffix)) as stream:
        yield stream


def _filesystem(url: str) -> tuple[Any, str]:
    """The file system of a URL and the path in it."""
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise MissingExtra("a batch", "batch") from error
    try:
        found: tuple[Any, str] = url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise BadSetting(f"cannot reach '{url}': {error}") from error
    return found


def _items(source: str, in_list: bool = False) -> Iterator[Item]:
    """As `list_items`; what is not there has a fault."""
    for item in _files(source):
        suffix = PurePosixPath(item.url.lower()).suffix
        if item.fault or is_photo_name(item.url) or is_video_name(item.url):
            yield item
        elif suffix == ".parquet":
            yield from _to_its_end(item, _in_parquet)
        elif _TAR.search(item.url):
            yield from _to_its_end(item, _in_tar)
        elif suffix in LISTS and not in_list:
            yield from _to_its_end(item, _in_list)
        else:
            yield item


def _files(source: str) -> Iterator[Item]:
    """The files that a source names, here or at a URL; at least one, with its fault where there is none."""
    return _remote(source) if is_url(absolute(source)) else _local(source)


def _entries(file: str, entry: str) -> Iterator[Item]:
    """The sources behind an entry of the list `file`; what is wrong with one is the fault of that one."""
    source = beside(file, entry)
    try:
        if is_live(source):
            raise BadSetting("a camera or stream has no end; analyze it with 'affectlens analyze'")
        with faults():
            yield from _items(source, in_list=True)
    except (BadSetting, MissingExtra) as error:
        reason = Reason.MISSING_EXTRA if isinstance(error, MissingExtra) else Reason.MISSING
        yield Item(display_name(source), absolute(source), fault=(reason, str(error)))
    except UnreadableMedia as error:
        yield Item(display_name(source), absolute(source), fault=(Reason(error.reason), error.detail))


def _local(source: str) -> Iterator[Item]:
    path = source[len("file://") :] if source.lower().startswith("file://") else source
    for name, found in expand(path):
        if isinstance(found, UnreadableMedia):
            yield Item(display_name(name), absolute(name), fault=(Reason(found.reason), found.detail))
        elif isinstance(found, Path) and not os.path.lexists(found):
            yield Item(name, absolute(str(found)), fault=(Reason.MISSING, "no such file or folder"))
        else:
            yield Item(name, absolute(str(found)), is_video_name(name))


def _remote(url: str) -> Iterator[Item]:
    filesystem, path = _filesystem(url)
    _, chained, rest = url.partition("::")  # zip://*.jpg::s3://bucket/photos.zip
    found = False
    try:
        for one in _paths(filesystem, path):
            found = True
            full = filesystem.unstrip_protocol(one) + chained + rest
            yield Item(display_name(full), full, is_video_name(one))
    except OSError:
        raise
    except Exception as error:  # of any store's own kind
        raise BadSetting(f"cannot list '{url}': {type(error).__name__}: {error}") from error
    if not found:
        yield Item(url, url, fault=(Reason.MISSING, "no file matches"))


def _paths(filesystem: Any, path: str) -> Iterator[str]:
    """What a path in a store stands for: the file, files in a folder, or what matches a glob."""
    if ("*" in path or "[" in path) and not filesystem.exists(path):
        for match, facts in sorted(filesystem.glob(path, detail=True).items()):
            yield from _walk(filesystem, match) if facts["type"] == "directory" else [match]
    elif is_photo_name(path) or is_video_name(path) or not filesystem.isdir(path):  # asking takes a round trip
        yield path
    else:
        yield from _walk(filesystem, path)


def _walk(filesystem: Any, path: str) -> Iterator[str]:
    """Files in a folder and below that are named like photos or videos, folder by folder, sorted."""
    for folder, folders, names in filesystem.walk(path):
        folders.sort()
        for name in sorted(names):
            if (is_photo_name(name) or is_video_name(name)) and not PurePosixPath(name).stem.endswith(ANNOTATED):
                yield f"{folder}/{name}"


def _to_its_end(file: Item, inside: Callable[[Item], Iterator[Item]]) -> Iterator[Item]:
    """What is inside a file; where that breaks off, the file itself with its fault."""
    try:
        with faults():
            yield from inside(file)
    except UnreadableMedia as error:
        yield Item(file.name, file.url, fault=(Reason(error.reason), error.detail))


def _in_list(file: Item) -> Iterator[Item]:
    """The sources in the lines of a text file."""
    with opened(file.url) as stream:
        for number, line in enumerate(_lines(stream)):
            if entry := os.fsdecode(line.removeprefix(b"" if number else BOM_UTF8).strip()):
                yield from _entries(file.url, entry)


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    """The lines of a list; of one that is too long for any name, its beginning."""
    while line := stream.readline(_MAX_LINE):
        yield line
        while len(line) == _MAX_LINE and not line.endswith(b"\n"):
            line = stream.readline(_MAX_LINE)


class _Headers:
    """What tarfile reads of a tar file: headers of limited length, since it skips what is inside."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _MAX_HEADER:
            raise tarfile.ReadError(f"a header of the tar file states a size of {size:,} bytes")
        return self._stream.read(size)


def _members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The members of a tar file.  Raises ReadError where one is smaller than nothing, and would lead back."""
    for member in archive:
        if member.size < 0:
            raise tarfile.ReadError(f"the tar file states a size of {member.size:,} bytes for '{member.name}'")
        yield member
        archive.members.clear()  # type: ignore[attr-defined]  # or it remembers all


def _in_tar(file: Item) -> Iterator[Item]:
    """The photos and videos of a tar file (WebDataset), by their place in it, which the name of one tells from others
    of the same name.
    """
    names: set[int] = set()  # their hashes: there can be millions
    with opened(file.url) as stream, tarfile.open(fileobj=cast(BinaryIO, _Headers(stream)), mode="r:") as archive:
        for member in _members(archive):
            if not member.isdir() and (is_photo_name(member.name) or is_video_name(member.name)):
                name, place = f"{file.name}#{display_name(member.name)}", (member.offset_data, member.size)
                if hash(name) in names:
                    name += f"@{member.offset_data}"
                names.add(hash(name))
                said = f"a link to '{member.linkname}'" if member.linkname else "not a regular file"
                fault = None if member.isfile() else (Reason.NOT_A_FILE, said)
                yield Item(name, file.url, is_video_name(member.name), "tar", place, fault)
        stream.seek(archive.offset)  # where tarfile stops at what is no header, without a word
        if stream.read(_TAR_END) != bytes(_TAR_END):
            raise tarfile.ReadError("the tar file is truncated or damaged after the last member that was found")


def _in_parquet(file: Item) -> Iterator[Item]:
    """The pictures in the cells of a column, or the sources that a column of paths names."""
    from pyarrow import ArrowInvalid, parquet

    with opened(file.url) as stream:
        try:
            table = parquet.ParquetFile(stream)
            column, paths = parquet_column(table.schema_arrow, file.name)
            if paths:
                cells = (cell for part in batches_of(table, [column]) for cell in part.column(0).to_pylist())
                for cell in cells:
                    yield from _entries(file.url, cell) if cell else ()
                return
            number = 0
            for group in range(table.num_row_groups):
                for row in range(table.metadata.row_group(group).num_rows):
                    yield Item(f"{file.name}#{number}", file.url, False, "parquet", (group, row))
                    number += 1
        except ArrowInvalid as error:
            raise UnreadableMedia(Reason.DAMAGED, first_line(error)) from error


def parquet_column(schema: Any, name: str) -> tuple[str, bool]:
    """The column of images (bytes, or a structure with `bytes`) or else of paths, and whether it is of paths.

    Raises:
        BadSetting: there is none.
    """
    from pyarrow import types

    kinds = {field.name: field.type for field in schema}
    kinds = {column: kind.value_type if types.is_dictionary(kind) else kind for column, kind in kinds.items()}
    pictures, texts = ("binary", "large_binary", "binary_view"), ("string", "large_string", "string_view")
    for column in _IN_CELLS:
        kind = kinds.get(column)
        embedded = kind is not None and types.is_struct(kind) and kind.get_field_index("bytes") >= 0
        if embedded or str(kind) in pictures:
            return column, False
    for column in _PATHS:
        if str(kinds.get(column)) in texts:
            return column, True
    raise BadSetting(
        f"'{name}' has no column of images ({', '.join(_IN_CELLS)}) or paths ({', '.join(_PATHS)}); its columns "
        f"are {', '.join(f'{column} ({kind})' for column, kind in kinds.items())}"
    )


def beside(file: str, entry: str) -> str:
    """A path that is meant from where `file` is."""
    if "://" in entry or is_live(entry) or os.path.isabs(entry) or entry.startswith("~"):
        return entry
    if is_url(file):
        return f"{file.rpartition('/')[0]}/{entry}"
    path = str(Path(file).parent / entry)
    return entry if is_url(entry) and not os.path.lexists(path) else path
