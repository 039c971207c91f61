"""State of a batch: one row per source, in a file that survives the death of any process."""

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from affectlens.apps.batch.item import Item
from affectlens.apps.batch.work import SourceEnd
from affectlens.core.errors import AffectLensError, BadSetting, MissingExtra
from affectlens.core.reasons import Reason
from affectlens.runtime import batch_folder
from affectlens.runtime.batch_folder import DONE, FAILED, NAME, WAITING, Shard

_FETCH_ROWS = 1000
_PATIENCE_S = 60.0
"""For another program that reads the manifest."""
_BATCH, _LISTED = "batch", "listed"
"""Settings of the manifest itself: an identifier of the batch, and how many sources were listed."""
_KILOBYTE, _ROOM, _TOGETHER = 1024, 64, 10_000
"""What is kept for the end of a disk: 100 bytes for each source and, for those that end together, 300 more."""


class Manifest:
    """`manifest.sqlite` in the folder of a batch: tables `sources` (source, state, reason, detail), `shards` and
    `settings`. A context manager; one process at a time may hold it for writing.

    Raises:
        BadSetting: another process holds it, or it is damaged. MissingExtra: the extra "batch" is not installed.
        OSError: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from filelock import FileLock, Timeout
        except ImportError as error:
            raise MissingExtra("a batch", "batch") from error
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._reserve = folder / f"{NAME}.reserve"
        self._lock = FileLock(folder / f"{NAME}.lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise BadSetting(f"another process is writing to '{folder}'") from error
        with ExitStack() as held:
            held.callback(self._lock.release)
            held.callback(self._drop_reserve)
            with batch_folder.errors_named(folder):
                self._base = sqlite3.connect(folder / NAME, timeout=_PATIENCE_S, isolation_level=None)
                held.callback(self._base.close)
                self._open()
            self._held = held.pop_all()

    def _open(self) -> None:
        """Create the tables of a new batch, or check those of one that goes on."""
        self._base.execute("pragma synchronous = full")
        if not batch_folder.is_begun(self._base, self._folder):
            self._base.executescript(batch_folder.TABLES)
            return
        if (found := self._base.execute("pragma quick_check(1)").fetchone()[0]) != "ok":
            raise ValueError(found)
        for table, columns in batch_folder.LATER_COLUMNS.items():
            known = {name for _, name, *_ in self._base.execute(f"pragma table_info({table})")}
            for column in columns:
                if column.partition(" ")[0] not in known:
                    self._base.execute(f"alter table {table} add column {column}")
        self._check_listing()

    def _check_listing(self) -> None:
        """Whether there are as many sources as were listed.  Raises ValueError: there are not."""
        settings, counts = self._settings(), batch_folder.counts(self._base)
        listed, there = settings.get(_LISTED), sum(counts.values())
        if listed is None and (there > counts[WAITING] or batch_folder.shards(self._base)):
            raise ValueError("sources have ended, but it does not say that all were listed")
        if listed not in (None, "true", str(there)):  # of earlier versions: "true"
            raise ValueError(f"it has {there} sources, of {listed} that were listed")

    def _settings(self) -> dict[str, str]:
        return dict(self._base.execute("select key, value from settings"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def begin(self, settings: Mapping[str, Any]) -> None:
        """A new batch, or one that goes on: sources whose rows could not be written wait again.

        Raises:
            BadSetting: it was begun with other settings, or is damaged.
        """
        wanted = {key: json.dumps(value) for key, value in settings.items()}
        with batch_folder.errors_named(self._folder):
            known = self._settings()
            begun = known.keys() - {_BATCH, _LISTED}
            if wanted and not begun and sum(self.counts().values()):
                raise ValueError("its settings are missing")
            for key, value in wanted.items():
                if begun and (before := known.get(key, "null")) != value:
                    raise _changed(key, json.loads(before), json.loads(value))
        with self._transaction():
            self._base.executemany("insert or ignore into settings values (?, ?)", wanted.items())
            again = "update sources set state = ?, reason = null, detail = null, rows = null"
            self._base.execute(f"{again} where state = ? and reason = ?", (WAITING, FAILED, Reason.NOT_WRITTEN))

    def add(self, items: Iterable[Item]) -> None:
        """All sources; those that are listed already stay as they are."""
        add = "insert or ignore into sources (source, url, place, fault) values (?, ?, ?, ?)"
        rows = ((item.name, os.fsencode(item.url), item.where, item.fault_json) for item in items)
        while some := list(islice(rows, _FETCH_ROWS)):
            with self._transaction():
                self._base.executemany(add, some)
        with self._transaction():
            self._base.execute("insert into settings select ?, count(*) from sources", (_LISTED,))

    @property
    def listed(self) -> bool:
        """Whether all sources are in it."""
        with batch_folder.errors_named(self._folder):
            return _LISTED in self._settings()

    @property
    def batch(self) -> str:
        """An identifier of the batch, which its shards contain."""
        with self._transaction():
            self._base.execute("insert or ignore into settings values (?, ?)", (_BATCH, uuid4().hex))
        with batch_folder.errors_named(self._folder):
            return str(self._settings()[_BATCH])

    def waiting(self) -> Iterator[tuple[int, Item]]:
        """Number and item of each source that is to be analyzed."""
        last = 0
        find = "select number, source, url, place, fault from sources where state = ? and number > ? order by 1 limit ?"
        while True:
            with batch_folder.errors_named(self._folder):
                rows = self._base.execute(find, (WAITING, last, _FETCH_ROWS)).fetchall()
                items = [(number, Item.of(name, os.fsdecode(url), *rest)) for number, name, url, *rest in rows]
            if not items:
                return
            yield from items
            last = items[-1][0]

    def commit(self, shards: Iterable[Shard], ends: Iterable[tuple[int, int, SourceEnd]]) -> None:
        """The shards are where they belong, and hold all rows of these sources (their number, how many rows, how they
        ended): all of it is so, or nothing.

        Raises:
            AffectLensError: it cannot be written, not even into the room that was kept.
        """
        files = [(shard.name, shard.rows, shard.bytes, shard.sha256) for shard in shards]
        done = [
            (DONE if end.read else FAILED, end.reason, end.detail or None, rows, number) for number, rows, end in ends
        ]
        try:
            self._commit(files, done)
        except AffectLensError:
            self._drop_reserve()
            self._commit(files, done)
            self.keep_room()

    def _commit(self, files: Sequence[tuple[Any, ...]], done: Sequence[tuple[Any, ...]]) -> None:
        with self._transaction():
            self._base.executemany("insert into shards (name, rows, bytes, sha256) values (?, ?, ?, ?)", files)
            self._base.executemany(
                "update sources set state = ?, reason = ?, detail = ?, rows = ? where number = ?", done
            )

    def keep_room(self) -> None:
        """Take the place on the disk that the states of all waiting sources need, so that they can be written down on a
        full disk too; on one that has not even this place, none.
        """
        waiting = self.counts()[WAITING]
        try:
            self._reserve.unlink(missing_ok=True)
            with self._reserve.open("xb", buffering=0) as stream:  # never what a link of this name leads to
                for _ in range(_ROOM + waiting // 10 + min(waiting, _TOGETHER) // 3):
                    if stream.write(bytes(_KILOBYTE)) < _KILOBYTE:
                        raise OSError("the disk is full")
        except OSError:
            self._drop_reserve()

    def _drop_reserve(self) -> None:
        with suppress(OSError):
            self._reserve.unlink(missing_ok=True)

    def shards(self) -> list[Shard]:
        """Those that were committed.  Raises BadSetting: they cannot be read."""
        with batch_folder.errors_named(self._folder):
            return batch_folder.shards(self._base)

    def check_rows(self) -> None:
        """Compare the rows of all shards with those of all sources that have ended.  Raises BadData: they differ."""
        with batch_folder.errors_named(self._folder):
            batch_folder.check_rows(self._base, self._folder)

    def counts(self) -> dict[str, int]:
        """How many sources are done, failed and not yet analyzed.  Raises BadSetting: they cannot be read."""
        with batch_folder.errors_named(self._folder):
            return batch_folder.counts(self._base)

    def reasons(self) -> dict[str, int]:
        """How many of the failed sources have each reason, the most frequent first.  Raises BadSetting: they cannot be
        read.
        """
        count = "select reason, count(*) from sources where state = ? group by reason order by 2 desc, 1"
        with batch_folder.errors_named(self._folder):
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


def _changed(key: str, before: Any, now: Any) -> BadSetting:
    """What is said of a setting that is another one now."""
    name, before, now = _what_changed(key, before, now)
    return BadSetting(
        f"this batch was started with {name}={json.dumps(before)}, got {json.dumps(now)}; use the same settings or "
        "choose another folder for --out"
    )


def _what_changed(name: str, before: Any, now: Any) -> tuple[str, Any, Any]:
    """The innermost of nested settings that is another one now, with both values."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key, value in now.items():
            if before.get(key) != value:
                return _what_changed(key, before.get(key), value)
    return name, before, now
