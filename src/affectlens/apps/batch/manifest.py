"""State of a batch: one row per source, in a file that survives the death of any process."""

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Self

from affectlens.apps.batch.item import Item
from affectlens.apps.batch.work import SourceEnd
from affectlens.core.errors import AffectLensError, BadSetting, MissingExtra
from affectlens.core.reasons import Reason
from affectlens.runtime import batch_folder
from affectlens.runtime.batch_folder import DONE, FAILED, NAME, WAITING, Shard

_FETCH_ROWS = 1000
_KILOBYTE, _ROOM, _TOGETHER = 1024, 64, 10_000
"""What is kept for the end of a disk: 100 bytes for each source and, for those that end together, 300 more."""


class Manifest:
    """`manifest.sqlite` in the folder of a batch: tables `sources` (source, state, reason, detail), `shards` and
    `settings`. A context manager; one process at a time may hold it for writing.

    Raises:
        BadSetting: another process holds it. MissingExtra: the extra "batch" is not installed. OSError: the folder
            cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from filelock import FileLock, Timeout
        except ImportError as error:
            raise MissingExtra("a batch", "batch") from error
        folder.mkdir(parents=True, exist_ok=True)
        self._reserve = folder / f"{NAME}.reserve"
        self._lock = FileLock(folder / f"{NAME}.lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise BadSetting(f"another process is writing to '{folder}'") from error
        self._base = sqlite3.connect(folder / NAME, isolation_level=None)
        try:
            self._base.execute("pragma synchronous = full")
            self._base.executescript(batch_folder.TABLES)
        except sqlite3.Error as error:
            self.__exit__()
            raise BadSetting(f"'{folder / NAME}' is not a manifest: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._base.close()
        self._reserve.unlink(missing_ok=True)
        self._lock.release()

    def begin(self, settings: Mapping[str, Any]) -> None:
        """A new batch, or one that goes on: sources whose rows could not be written wait again.

        Raises:
            BadSetting: it was begun with other settings.
        """
        known = dict(self._base.execute("select key, value from settings"))
        wanted = {key: json.dumps(value) for key, value in settings.items()}
        for key, value in wanted.items():
            if known and (begun := known.get(key, "null")) != value:
                name, before, now = _what_changed(key, json.loads(begun), json.loads(value))
                raise BadSetting(
                    f"this batch was started with {name}={json.dumps(before)}, got {json.dumps(now)}; use the "
                    "same settings or choose another folder for --out"
                )
        with self._transaction():
            self._base.executemany("insert or ignore into settings values (?, ?)", wanted.items())
            again = (WAITING, FAILED, Reason.NOT_WRITTEN)
            self._base.execute(
                "update sources set state = ?, reason = null, detail = null where state = ? and reason = ?", again
            )

    def add(self, items: Iterable[Item]) -> None:
        """All sources; those that are listed already stay as they are."""
        add = "insert or ignore into sources (source, url, place, fault) values (?, ?, ?, ?)"
        rows = ((item.name, os.fsencode(item.url), item.where, item.fault_json) for item in items)
        while some := list(islice(rows, _FETCH_ROWS)):
            with self._transaction():
                self._base.executemany(add, some)
        with self._transaction():
            self._base.execute("insert into settings values ('listed', 'true')")

    @property
    def listed(self) -> bool:
        """Whether all sources are in it."""
        return bool(self._base.execute("select count(*) from settings where key = 'listed'").fetchone()[0])

    def waiting(self) -> Iterator[tuple[int, Item]]:
        """Number and item of each source that is to be analyzed."""
        last = 0
        find = "select number, source, url, place, fault from sources where state = ? and number > ? order by 1 limit ?"
        while rows := self._base.execute(find, (WAITING, last, _FETCH_ROWS)).fetchall():
            for number, name, url, place, fault in rows:
                yield number, Item.of(name, os.fsdecode(url), place, fault)
            last = rows[-1][0]

    def commit(self, shards: Iterable[Shard], ends: Iterable[tuple[int, SourceEnd]]) -> None:
        """The shards are where they belong, and hold all rows of these sources: all of it is so, or nothing.

        Raises:
            AffectLensError: it cannot be written, not even into the room that was kept.
        """
        files = [(shard.name, shard.rows) for shard in shards]
        done = [(DONE if end.read else FAILED, end.reason, end.detail or None, number) for number, end in ends]
        try:
            self._commit(files, done)
        except AffectLensError:
            self._reserve.unlink(missing_ok=True)
            self._commit(files, done)
            self.keep_room()

    def _commit(self, files: list[tuple[str, int]], done: Sequence[tuple[str, str | None, str | None, int]]) -> None:
        with self._transaction():
            self._base.executemany("insert into shards values (?, ?)", files)
            self._base.executemany("update sources set state = ?, reason = ?, detail = ? where number = ?", done)

    def keep_room(self) -> None:
        """Take the place on the disk that the states of all waiting sources need, so that they can be written down on a
        full disk too; on one that has not even this place, none.
        """
        waiting = self.counts()[WAITING]
        try:
            with self._reserve.open("wb", buffering=0) as stream:
                for _ in range(_ROOM + waiting // 10 + min(waiting, _TOGETHER) // 3):
                    if stream.write(bytes(_KILOBYTE)) < _KILOBYTE:
                        raise OSError("the disk is full")
        except OSError:
            self._reserve.unlink(missing_ok=True)

    def shards(self) -> list[Shard]:
        """Those that were committed."""
        return batch_folder.shards(self._base)

    def counts(self) -> dict[str, int]:
        """How many sources are done, failed and not yet analyzed."""
        return batch_folder.counts(self._base)

    def reasons(self) -> dict[str, int]:
        """How many of the failed sources have each reason, the most frequent first."""
        count = "select reason, count(*) from sources where state = ? group by reason order by 2 desc, 1"
        return dict(self._base.execute(count, (FAILED,)))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All that is done here, or nothing."""
        try:
            self._base.execute("begin immediate")
            yield
            self._base.execute("commit")
        except sqlite3.Error as error:
            if self._base.in_transaction:
                self._base.execute("rollback")
            raise AffectLensError(f"cannot write the manifest: {error}; continue with --resume") from error
        except BaseException:
            if self._base.in_transaction:
                self._base.execute("rollback")
            raise


def _what_changed(name: str, before: Any, now: Any) -> tuple[str, Any, Any]:
    """The innermost of nested settings that is another one now, with both values."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key, value in now.items():
            if before.get(key) != value:
                return _what_changed(key, before.get(key), value)
    return name, before, now
