"""Reading of the output folder of a batch: the states of sources and the shards in its manifest."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from affectlens.core.errors import BadData, BadSetting

NAME = "manifest.sqlite"
WAITING, DONE, FAILED = "not yet", "done", "failed"
"""States of a source. A source failed if nothing of it could be read; the reason is in the shards and in `reason` here.
"""

TABLES = """
begin;
create table if not exists settings (key text primary key, value text not null);
create table if not exists shards (name text primary key, rows integer not null);
create table if not exists sources (
    number integer primary key,
    source text not null,
    url blob not null,
    place text not null,
    fault text,
    state text not null default 'not yet',
    reason text,
    detail text,
    unique (url, place)
);
create index if not exists by_state on sources (state);
commit;
"""


@dataclass(frozen=True)
class Shard:
    """A Parquet file of the batch, by its name, and how many rows it has."""

    name: str
    rows: int


def states_in(folder: Path) -> dict[str, int] | None:
    """How many sources of the batch in `folder` are done, failed and not yet analyzed; None where there is no batch.

    Raises:
        BadSetting: its manifest cannot be read.
    """
    if not (folder / NAME).is_file():
        return None
    with _reading(folder) as base:
        return counts(base)


def shards_in(folder: Path) -> list[Shard]:
    """The shards of the batch in `folder` that were committed.  Raises BadSetting: its manifest cannot be read."""
    with _reading(folder) as base:
        return shards(base)


@contextmanager
def _reading(folder: Path) -> Iterator[sqlite3.Connection]:
    """The manifest in a folder, which another process may be writing."""
    # not mode=ro: what a process that was killed left half done is put right
    base = sqlite3.connect(f"{(folder / NAME).absolute().as_uri()}?mode=rw", uri=True)
    try:
        if not base.execute("select count(*) from sqlite_master").fetchone()[0]:  # of a batch that was killed at once
            base.executescript(TABLES)
        yield base
    except sqlite3.Error as error:
        raise BadSetting(f"'{folder / NAME}' is not a manifest: {error}") from error
    finally:
        base.close()


def shards_of(folder: Path) -> list[Path]:
    """The files of the batch in a folder, as its manifest says.

    Raises:
        BadData: one of them is not there. BadSetting: its manifest cannot be read.
    """
    return all_there(folder, shards_in(folder))


def all_there(folder: Path, shards: Sequence[Shard]) -> list[Path]:
    """The files of `shards`.  Raises BadData: one of them is not there."""
    files = [folder / shard.name for shard in shards]
    if lost := [file for file in files if not file.is_file()]:
        raise BadData(
            f"'{lost[0]}' is missing ({len(lost)} of {len(files)} shards are); it is listed in '{folder / NAME}'"
        )
    return files


def shards(base: sqlite3.Connection) -> list[Shard]:
    """Those that were committed."""
    return [Shard(*row) for row in base.execute("select name, rows from shards order by name")]


def counts(base: sqlite3.Connection) -> dict[str, int]:
    """How many sources are in each state."""
    found = dict(base.execute("select state, count(*) from sources group by state"))
    return {state: found.get(state, 0) for state in (DONE, FAILED, WAITING)}
