"""The bytes of the sources of a batch."""

import io
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

from affectlens.apps.batch.item import Item
from affectlens.apps.batch.listing import is_url, opened, parquet_column
from affectlens.core.errors import UnreadableMedia
from affectlens.core.reasons import Reason
from affectlens.runtime.media import MAX_BYTES, file_reasons, read_bytes


class Reader:
    """Reads one source after the other and keeps the file open that holds several."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._url = ""
        self._file: Any = None
        self._group: tuple[int, Any] = (-1, None)

    def photo(self, item: Item) -> Path | bytes:
        """The path of a file that is here, else its bytes.

        Raises:
            UnreadableMedia: it cannot be read. BadSetting, MissingExtra: others like it cannot be read either.
        """
        if item.fault:
            raise UnreadableMedia(*item.fault)
        return self.content(item) if item.within or is_url(item.url) else Path(item.url)

    def content(self, item: Item) -> bytes:
        """The bytes of a photo, wherever it is.

        Raises:
            UnreadableMedia, BadSetting, MissingExtra: as `photo`.
        """
        with file_reasons():
            if item.within == "tar":
                return self._in_tar(item)
            if item.within == "parquet":
                return self._in_parquet(item)
            if not is_url(item.url):
                return read_bytes(Path(item.url))
            with opened(item.url) as stream:
                data = stream.read(MAX_BYTES + 1)
        _check_size(len(data))
        return data

    def video(self, item: Item) -> Path | BinaryIO:
        """The path of a file that is here, else a stream that is open until something else is read.

        Raises:
            UnreadableMedia, BadSetting, MissingExtra: as `photo`.
        """
        if item.within or not is_url(item.url):
            media = self.photo(item)
            return io.BytesIO(media) if isinstance(media, bytes) else media
        self.close()
        with file_reasons():
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
            raise UnreadableMedia(Reason.TRUNCATED, "the tar file ends before the picture does")
        return data

    def _in_parquet(self, item: Item) -> bytes:
        from pyarrow import parquet

        group, row = item.place
        if self._url != item.url:
            self.close()
            self._file = parquet.ParquetFile(self._stack.enter_context(opened(item.url)))
            self._url, self._group = item.url, (-1, None)
        if self._group[0] != group:
            column, _ = parquet_column(self._file.schema_arrow, item.name)
            self._group = (group, self._file.read_row_group(group, columns=[column]).column(0))
        cell = self._group[1][row].as_py()
        data = cell["bytes"] if isinstance(cell, dict) else cell
        if data is None:
            raise UnreadableMedia(Reason.EMPTY_FILE, "the cell is empty")
        _check_size(len(data))
        return bytes(data)


def _check_size(size: int) -> None:
    if size > MAX_BYTES:
        raise UnreadableMedia(Reason.TOO_LARGE, f"{size:,} bytes, at most {MAX_BYTES:,} are read")
