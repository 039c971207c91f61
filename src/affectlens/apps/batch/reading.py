"""Reading of the sources of a batch as bytes."""

import io
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from affectlens.apps.batch.item import Item
from affectlens.apps.batch.listing import absolute, beside, faults, is_url, opened, parquet_column
from affectlens.core.errors import BadSetting, UnreadableMedia
from affectlens.core.image_file import MAX_BYTES, read_file
from affectlens.core.reasons import Reason

_BUFFER = 1 << 20
"""Bytes of a Parquet file that are read together: a row group can be large."""


@contextmanager
def _reasons() -> Iterator[None]:
    """What stands between a source and its bytes becomes an UnreadableMedia, an address that cannot be used too."""
    try:
        with faults():
            yield
    except BadSetting as error:
        raise UnreadableMedia(Reason.FAILED, str(error)) from error


class Reader:
    """Reads one source after the other and keeps the file open that holds several."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._url = ""
        self._file: Any = None
        self._cells: Iterator[Any] = iter(())
        self._next = (-1, 0)

    def photo(self, item: Item) -> Path | bytes:
        """The path of a file that is here, else its bytes.

        Raises:
            UnreadableMedia: it cannot be read. MissingExtra: nor can others like it.
        """
        if item.fault:
            raise UnreadableMedia(*item.fault)
        return self.content(item) if item.within or is_url(item.url) else Path(item.url)

    def content(self, item: Item) -> bytes:
        """The bytes of a photo, wherever it is.

        Raises:
            UnreadableMedia, MissingExtra: as `photo`.
        """
        with _reasons():
            if item.within == "tar":
                return self._in_tar(item)
            if item.within == "parquet":
                return self._in_parquet(item)
            if not is_url(item.url):
                return read_file(Path(item.url), MAX_BYTES)
            with opened(item.url) as stream:
                data = stream.read(MAX_BYTES + 1)
        _check_size(len(data))
        return data

    def video(self, item: Item) -> Path | BinaryIO:
        """The path of a file that is here, else a stream that is open until something else is read.

        Raises:
            UnreadableMedia, MissingExtra: as `photo`.
        """
        if item.within or not is_url(item.url):
            media = self.photo(item)
            return io.BytesIO(media) if isinstance(media, bytes) else media
        self.close()
        with _reasons():
            return self._stack.enter_context(opened(item.url))

    def close(self) -> None:
        """Close what is open."""
        self._stack.close()
        self._url = ""

    def _in_tar(self, item: Item) -> bytes:
        start, size = item.place
        _check_size(size)
        if self._url != item.url:
            self.close()
            self._file, self._url = self._stack.enter_context(opened(item.url)), item.url
        self._file.seek(start)
        data: bytes = self._file.read(size)
        if len(data) < size:
            raise UnreadableMedia(Reason.TRUNCATED, "the tar file ends before the end of the picture")
        return data

    def _in_parquet(self, item: Item) -> bytes:
        from pyarrow import StructScalar, parquet

        group, row = item.place
        if self._url != item.url:
            self.close()
            stream = self._stack.enter_context(opened(item.url))
            self._file = parquet.ParquetFile(stream, pre_buffer=False, buffer_size=_BUFFER)
            self._url, self._next = item.url, (-1, 0)
        if self._next[0] != group or row < self._next[1]:
            column, _ = parquet_column(self._file.schema_arrow, item.name)
            one_by_one = self._file.iter_batches(
                1, row_groups=[group], columns=[column]
            )  # a dictionary hides their size
            self._cells = (cell for batch in one_by_one for cell in batch.column(0))
            self._next = (group, 0)
        cell = next(islice(self._cells, row - self._next[1], None), None)
        self._next = (group, row + 1)
        if cell is None:
            raise UnreadableMedia(Reason.TRUNCATED, "the file has fewer rows than when it was listed")
        data = cell.as_py()
        if isinstance(cell, StructScalar) and data is not None:
            if data["bytes"] is None and data.get("path"):  # as Hugging Face writes pictures that it does not embed
                return self.content(Item(item.name, absolute(beside(item.url, data["path"]))))
            data = data["bytes"]
        if data is None:
            raise UnreadableMedia(Reason.EMPTY_FILE, "the cell is empty")
        _check_size(len(data))
        return bytes(data)


def _check_size(size: int) -> None:
    if size < 0:
        raise UnreadableMedia(Reason.DAMAGED, f"the file states a size of {size:,} bytes")
    if size > MAX_BYTES:
        raise UnreadableMedia(Reason.TOO_LARGE, f"the file has {size:,} bytes; the limit is {MAX_BYTES:,}")
