"""Parquet shards that contain every source exactly once, even if the writing process is killed at any point."""

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from affectlens.apps.batch.manifest import Manifest
from affectlens.apps.batch.work import UNFINISHED, ResultPart, SourceEnd
from affectlens.core.columns import Row, Schema
from affectlens.core.errors import BadSetting
from affectlens.core.files import own_folder, remove_own, sha256_of, sync
from affectlens.core.reasons import Reason
from affectlens.runtime.batch_folder import Shard, all_there, files_like_shards
from affectlens.runtime.tables import arrow_schema

_MAX_ROWS_IN_MEMORY = 5000
"""Rows of one source; a video of more has shards of its own."""

_TEMPORARY = r"[0-9a-f]{32}\.[a-z0-9]+"
"""Names of shards and annotated copies that are being written."""
_BATCH_KEY = b"affectlens_batch"
"""Key of a shard's metadata that holds the identifier of its batch."""


class Shards:
    """Collects the rows of sources and writes them, at most `max_rows` in a file: `part-NUMBER.parquet`.

    A shard is written under another name, synced, renamed and synced again, and counts when the manifest says so; one
    of this batch that it does not mention is deleted when the batch goes on.

    Raises:
        BadData: a shard that the manifest names is missing or damaged, or the manifest lacks shards. BadSetting: a file
            is named like a shard but is not one of this batch, or a link takes the place of the folder for temporary
            files. MissingExtra: the extra "parquet" is not installed.
    """

    def __init__(self, folder: Path, manifest: Manifest, schema: Schema, max_rows: int) -> None:
        self._folder, self._manifest, self._most = folder, manifest, max_rows
        batch = manifest.batch
        self._schema = arrow_schema(schema).with_metadata({_BATCH_KEY: batch})
        manifest.check_rows()
        known = {file.name for file in all_there(folder, manifest.shards())}
        self._next = max((int(name[len("part-") : -len(".parquet")]) for name in known), default=-1) + 1
        forgotten = [file for file in files_like_shards(folder) if file.name not in known]
        for file in forgotten:
            _check_own(file, batch)
        self._work = own_folder(folder / UNFINISHED)
        remove_own(self._work, _TEMPORARY)
        for file in forgotten:
            file.unlink(missing_ok=True)
        self._growing: dict[int, _Growing] = {}
        self._rows: list[Row] = []
        self._ends: list[tuple[int, int, SourceEnd]] = []

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
            count = sum(file.count for file in source.files)
            self._commit(source.files, [(part.number, count, part.end)], source.fault)
            return
        if len(self._rows) + len(source.rows) > self._most:
            self.flush()
        self._rows += source.rows
        self._ends.append((part.number, len(source.rows), part.end))

    def close(self) -> None:
        """Write the sources that are complete, and forget those that are not.

        Raises:
            AffectLensError: the manifest cannot be written.
        """
        for source in self._growing.values():
            source.discard()
        self.flush()
        with suppress(OSError):  # what is left there belongs to a process that was stopped at its work
            remove_own(self._work, _TEMPORARY)
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
        return _File(self._work, f"part-{self._next - 1:06d}.parquet", self._schema)

    def _spill(self, source: "_Growing", whole: bool) -> None:
        """Move the rows of a source into files of its own: all, or those that fill a piece of a file."""
        while len(source.rows) >= min(self._most, _MAX_ROWS_IN_MEMORY) or (whole and source.rows):
            if not source.files or source.files[-1].count >= self._most:
                source.files.append(self._new_file())
            file = source.files[-1]
            some = min(len(source.rows), self._most - file.count, _MAX_ROWS_IN_MEMORY)
            file.write(source.rows[:some])
            del source.rows[:some]

    def _commit(self, files: "list[_File]", ends: list[tuple[int, int, SourceEnd]], fault: OSError | None) -> None:
        """Move the files to where they belong and tell the manifest; where they cannot be written, tell it that."""
        shards: list[Shard] = []
        moved: list[Path] = []
        try:
            if fault:
                raise fault
            shards.extend(file.close() for file in files)
            moved.extend(file.path.replace(self._folder / file.name) for file in files)
            sync(self._folder)
        except OSError as error:
            for file in files:
                file.discard()
            for path in moved:
                path.unlink(missing_ok=True)
            end = SourceEnd(False, Reason.NOT_WRITTEN, error.strerror or str(error))
            self._manifest.commit([], [(number, 0, end) for number, *_ in ends])
            return
        self._manifest.commit(shards, ends)


def _check_own(file: Path, batch: str) -> None:
    """Check that a file named like a shard is one of this batch, which was killed before it entered it in the manifest.

    Raises:
        BadSetting: it was not.
    """
    from pyarrow import ArrowException, parquet

    found = None
    if file.is_file() and not file.is_symlink():
        with suppress(ArrowException, OSError):
            found = (parquet.read_schema(file).metadata or {}).get(_BATCH_KEY)
    if found != batch.encode():
        raise BadSetting(f"'{file}' is named like a shard but is not one of this batch; move it to another folder")


class _File:
    """A Parquet file that is being written into a folder for temporary files; `name` is that of the shard."""

    def __init__(self, folder: Path, name: str, schema: Any) -> None:
        from pyarrow import OSFile, parquet

        self.path, self.name, self.count = folder / f"{uuid4().hex}.parquet", name, 0
        self._schema = schema
        self._file = OSFile(str(self.path), "wb")
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

    def close(self) -> Shard:
        """Finish it and wait until it is on the disk.  Raises OSError."""
        self._table.close()
        self._file.close()
        sync(self.path)
        return Shard(self.name, self.count, self.path.stat().st_size, sha256_of(self.path))

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
