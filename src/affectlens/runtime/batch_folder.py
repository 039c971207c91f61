"""Reading of the output folder of a batch: the states of sources and the shards in its manifest."""

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from affectlens.core.errors import BadData, BadSetting
from affectlens.core.files import sha256_of

NAME = "manifest.sqlite"
WAITING, DONE, FAILED = "not yet", "done", "failed"
"""States of a source. A source failed if nothing of it could be read; the reason is in the shards and in `reason` here.
"""

TABLES = """
begin;
create table settings (key text primary key, value text not null);
create table shards (name text primary key, rows integer not null, bytes integer, sha256 text);
create table sources (
    number integer primary key,
    source text not null,
    url blob not null,
    place text not null,
    fault text,
    state text not null default 'not yet',
    reason text,
    detail text,
    rows integer,
    unique (url, place)
);
create index by_state on sources (state);
commit;
"""
LATER_COLUMNS = {"shards": ("bytes integer", "sha256 text"), "sources": ("rows integer",)}
"""Columns that manifests of earlier versions lack; an empty cell is not compared with anything."""

_TABLE_NAMES = frozenset({"settings", "shards", "sources"})
_SHARD = r"part-\d{6,}\.parquet"
_NOT_OF_THE_FILE = {
    *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR),
    *(sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY),
}
"""Error codes of SQLite that say nothing about what is in the file."""
_SUMS = """
select (select total(rows) from shards), total(rows), count(*) - count(rows) from sources where state != 'not yet'
"""


@dataclass(frozen=True)
class Shard:
    """A Parquet file of the batch: its name, number of rows, size in bytes and SHA-256. The last two are None in
    batches of earlier versions.
    """

    name: str
    rows: int
    bytes: int | None = None
    sha256: str | None = None


def files_like_shards(folder: Path) -> list[Path]:
    """What is in a folder and named like a shard of a batch."""
    return sorted(file for file in folder.glob("part-*.parquet") if re.fullmatch(_SHARD, file.name))


def states_in(folder: Path) -> dict[str, int] | None:
    """How many sources of the batch in `folder` are done, failed and not yet analyzed; None where there is no batch.

    Raises:
        BadSetting: its manifest is damaged.
    """
    if not (folder / NAME).is_file():
        return None
    with _reading(folder) as base:
        return counts(base)


def shards_of(folder: Path) -> list[Path]:
    """The files of the batch in a folder, as its manifest says.

    Raises:
        BadData: one of them is missing or damaged, or the manifest lacks shards. BadSetting: the manifest is damaged.
    """
    with _reading(folder) as base:
        check_rows(base, folder)
        found = shards(base)
    return all_there(folder, found)


@contextmanager
def _reading(folder: Path) -> Iterator[sqlite3.Connection]:
    """The manifest in a folder, which another process may be writing."""
    with errors_named(folder):
        # not mode=ro: what a process that was killed left half done is put right
        base = sqlite3.connect(f"{(folder / NAME).absolute().as_uri()}?mode=rw", uri=True)
        try:
            if not is_begun(base, folder):
                base.close()
                base = sqlite3.connect(":memory:")
                base.executescript(TABLES)
            yield base
        finally:
            base.close()


def damaged(folder: Path, why: str) -> BadSetting:
    """What is said of a manifest that cannot be trusted."""
    return BadSetting(
        f"'{folder / NAME}' is not a manifest, or is damaged: {why}; restore it from a copy, or choose another folder"
    )


@contextmanager
def errors_named(folder: Path) -> Iterator[None]:
    """Reading of the manifest in `folder`.

    Raises:
        BadSetting: SQLite cannot read it, or reads values that were never written.
    """
    try:
        yield
    except (sqlite3.Error, ValueError, TypeError) as error:
        why = " ".join(str(error).split())
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _NOT_OF_THE_FILE:
            raise BadSetting(f"cannot open '{folder / NAME}': {why}") from error
        raise damaged(folder, why) from error


def is_begun(base: sqlite3.Connection, folder: Path) -> bool:
    """Whether a manifest has tables; that of a batch which was killed at once is empty.

    Raises:
        BadSetting: tables are missing, or all are and there are shards.
    """
    found = {name for (name,) in base.execute("select name from sqlite_master where type = 'table'")}
    if found and (missing := sorted(_TABLE_NAMES - found)):
        raise damaged(folder, f"it has no table '{missing[0]}'")
    if not found and (files := files_like_shards(folder)):
        raise damaged(folder, f"it is empty, but there are shards ({files[0].name})")
    return bool(found)


def check_rows(base: sqlite3.Connection, folder: Path) -> None:
    """Compare the rows of all shards with those of all sources that have ended.

    Raises:
        BadData: they differ.
    """
    if "rows" not in _columns(base, "sources"):
        return
    in_shards, of_sources, unknown = base.execute(_SUMS).fetchone()
    if not unknown and in_shards != of_sources:
        raise BadData(
            f"'{folder / NAME}' is damaged: its shards have {in_shards:.0f} rows, its sources {of_sources:.0f}; "
            "restore it from a copy, or analyze the sources again into another folder"
        )


def all_there(folder: Path, shards: Sequence[Shard]) -> list[Path]:
    """The files of `shards`.

    Raises:
        BadData: one of them is missing, or is not what was written.
    """
    if strange := [shard.name for shard in shards if not re.fullmatch(_SHARD, str(shard.name))]:
        raise BadData(f"'{folder / NAME}' is damaged: '{strange[0]}' is not the name of a shard")
    files = [folder / shard.name for shard in shards]
    if lost := [file for file in files if not file.is_file()]:
        raise BadData(
            f"'{lost[0]}' is missing ({len(lost)} of {len(files)} shards are); it is listed in '{folder / NAME}'"
        )
    if changed := [file for file, shard in zip(files, shards, strict=True) if not _is_as_written(file, shard)]:
        raise BadData(
            f"'{changed[0]}' is damaged ({len(changed)} of {len(files)} shards are): its size or SHA-256 is not that "
            f"in '{folder / NAME}'; restore it from a copy, or analyze the sources again into another folder"
        )
    return files


def _is_as_written(file: Path, shard: Shard) -> bool:
    if shard.bytes is not None and file.stat().st_size != shard.bytes:
        return False
    return shard.sha256 is None or sha256_of(file) == shard.sha256


def shards(base: sqlite3.Connection) -> list[Shard]:
    """Those that were committed."""
    known = "name, rows, bytes, sha256" if "sha256" in _columns(base, "shards") else "name, rows"
    return [Shard(*row) for row in base.execute(f"select {known} from shards order by name")]


def counts(base: sqlite3.Connection) -> dict[str, int]:
    """How many sources are in each state.  Raises ValueError: one is in no state that there is."""
    found = dict(base.execute("select state, count(*) from sources group by state"))
    if strange := found.keys() - {DONE, FAILED, WAITING}:
        raise ValueError(f"a source has the state {strange.pop()!r}")
    return {state: found.get(state, 0) for state in (DONE, FAILED, WAITING)}


def _columns(base: sqlite3.Connection, table: str) -> set[str]:
    return {name for _, name, *_ in base.execute(f"pragma table_info({table})")}
