"""Parquet shards that contain every source exactly once, even if the writing process is killed at any point."""

import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from affectlens.apps.batch.manifest import Manifest
from affectlens.apps.batch.work import UNFINISHED, ResultPart, SourceEnd
from affectlens.core.columns import Row, Schema
from affectlens.core.files import sync
from affectlens.core.reasons import Reason
from affectlens.runtime.batch_folder import Shard, all_there
from affectlens.runtime.tables import arrow_schema

_MAX_ROWS_IN_MEMORY = 5000
"""Rows of one source; a video of more has shards of its own."""


def files_like_shards(folder: Path) -> list[Path]:
    """The files in a folder that are named like shards of a batch."""
    return sorted(file for file in folder.glob("part-*.parquet") if re.fullmatch(r"part-\d{6,}", file.stem))


class Shards:
    """Collects the rows of sources and writes them, at most `max_rows` in a file: `part-NUMBER.parquet`.

    A shard is written under another name, synced, renamed and synced again, and counts when the manifest says so; what
    it does not say is deleted when the batch goes on.

    Raises:
        BadData: a shard that the manifest names is not there. MissingExtra: the extra "parquet" is not installed.
    """

    def __init__(self, folder: Path, manifest: Manifest, schema: Schema, max_rows: int) -> None:
        self._folder, self._manifest, self._most = folder, manifest, max_rows
        self._schema = arrow_schema(schema)
        self._work = folder / UNFINISHED
        self._work.mkdir(parents=True, exist_ok=True)
        known = {file.name for file in all_there(folder, manifest.shards())}
        self._next = max((int(name[len("part-") : -len(".parquet")]) for name in known), default=-1) + 1
        for file in (*self._work.iterdir(), *(file for file in files_like_shards(folder) if file.name not in known)):
            file.unlink(missing_ok=True)
        self._growing: dict[int, _Growing] = {}
        self._rows: list[Row] = []
        self._ends: list[tuple[int, SourceEnd]] = []

    def add(self, part: ResultPart) -> None:
        """The next rows of a source.

        Raises:
            AffectLensError: the manifest cannot be written.
        """
        if part.first and part.number in self._growing:
            self._growing.pop(part.number).discard()
        source = self._growing.setdefault(part.number, _Growing())
        source.rows += part.rows
        try:
            if len(source.rows) > min(self._most, _MAX_ROWS_IN_MEMORY) or source.files:
                self._spill(source, whole=part.end is not None)
        except OSError as error:
            source.fault = source.fault or error
            source.rows.clear()
        if part.end is None:
            return
        del self._growing[part.number]
        if source.files or source.fault:
            self._commit(source.files, [(part.number, part.end)], source.fault)
            return
        if len(self._rows) + len(source.rows) > self._most:
            self.flush()
        self._rows += source.rows
        self._ends.append((part.number, part.end))

    def close(self) -> None:
        """Write the sources that are complete, and forget those that are not.

        Raises:
            AffectLensError: the manifest cannot be written.
        """
        for source in self._growing.values():
            source.discard()
        self.flush()
        with suppress(OSError):  # what is left there belongs to a process that was stopped at its work
            for file in self._work.iterdir():
                file.unlink()
            self._work.rmdir()

    def flush(self) -> None:
        """Write the sources that are complete.

        Raises:
            AffectLensError: the manifest cannot be written.
        """
        rows, ends, self._rows, self._ends = self._rows, self._ends, [], []
        if not ends:
            return
        files: list[_File] = []
        fault = None
        try:
            files.append(self._new_file())
            files[0].write(rows)
        except OSError as error:
            fault = error
        self._commit(files, ends, fault)

    def _new_file(self) -> "_File":
        self._next += 1
        return _File(self._work / f"part-{self._next - 1:06d}.parquet", self._schema)

    def _spill(self, source: "_Growing", whole: bool) -> None:
        """Move the rows of a source into files of its own: all, or those that fill a piece of a file."""
        while len(source.rows) >= min(self._most, _MAX_ROWS_IN_MEMORY) or (whole and source.rows):
            if not source.files or source.files[-1].count >= self._most:
                source.files.append(self._new_file())
            file = source.files[-1]
            some = min(len(source.rows), self._most - file.count, _MAX_ROWS_IN_MEMORY)
            file.write(source.rows[:some])
            del source.rows[:some]

    def _commit(self, files: "list[_File]", ends: list[tuple[int, SourceEnd]], fault: OSError | None) -> None:
        """Move the files to where they belong and tell the manifest; where they cannot be written, tell it that."""
        moved: list[Path] = []
        try:
            if fault:
                raise fault
            for file in files:
                file.close()
            moved.extend(file.path.replace(self._folder / file.path.name) for file in files)
            sync(self._folder)
        except OSError as error:
            for file in files:
                file.discard()
            for path in moved:
                path.unlink(missing_ok=True)
            end = SourceEnd(False, Reason.NOT_WRITTEN, error.strerror or str(error))
            self._manifest.commit([], [(number, end) for number, _ in ends])
            return
        self._manifest.commit([Shard(file.path.name, file.count) for file in files], ends)


class _File:
    """A Parquet file that is being written."""

    def __init__(self, path: Path, schema: Any) -> None:
        from pyarrow import OSFile, parquet

        self.path, self.count = path, 0
        self._schema = schema
        self._file = OSFile(str(path), "wb")
        try:
            self._table = parquet.ParquetWriter(self._file, schema)
        except OSError:
            self._file.close()
            raise

    def write(self, rows: list[Row]) -> None:
        """One row group more."""
        import pyarrow

        self._table.write_table(pyarrow.Table.from_pylist(rows, schema=self._schema))
        self.count += len(rows)

    def close(self) -> None:
        """Finish it and wait until it is on the disk.  Raises OSError."""
        self._table.close()
        self._file.close()
        sync(self.path)

    def discard(self) -> None:
        """As if it had not been begun."""
        with suppress(OSError):
            self._table.close()
        self._file.close()
        self.path.unlink(missing_ok=True)


@dataclass
class _Growing:
    """A source whose end has not come: rows that are in no file, files, and why they cannot be written."""

    rows: list[Row] = field(default_factory=list)
    files: list[_File] = field(default_factory=list)
    fault: OSError | None = None

    def discard(self) -> None:
        """As if nothing had come."""
        for file in self.files:
            file.discard()
