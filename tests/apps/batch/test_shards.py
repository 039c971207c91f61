import errno
import hashlib
import os

import pytest
from pyarrow import parquet

from affectlens.apps.batch import shards as module
from affectlens.apps.batch.item import Item
from affectlens.apps.batch.manifest import Manifest
from affectlens.apps.batch.shards import Shards
from affectlens.apps.batch.work import UNFINISHED, ResultPart, SourceEnd
from affectlens.core.columns import Schema
from affectlens.core.errors import AffectLensError
from affectlens.core.reasons import Reason
from affectlens.runtime.batch_folder import Shard

SCHEMA = Schema(("calm", "excited"))


@pytest.fixture
def manifest(tmp_path):
    with Manifest(tmp_path / "out") as found:
        found.add(Item(f"{number}.jpg", f"/{number}.jpg") for number in range(1, 10))
        yield found


@pytest.fixture
def make(tmp_path, manifest):
    return lambda max_rows=10: Shards(tmp_path / "out", manifest, SCHEMA, max_rows)


def part(number, count, first=True, end=True, start=0):
    empty = dict.fromkeys(SCHEMA.names)
    rows = [empty | {"source": f"{number}.jpg", "frame": start + row, "p_calm": 0.5} for row in range(count)]
    return ResultPart(number, rows, first, SourceEnd(True) if end else None)


def written(folder):
    """Shard -> (source, frame) of its rows."""
    found = {file.name: parquet.read_table(file) for file in sorted(folder.glob("part-*.parquet"))}
    return {
        name: list(zip(table["source"].to_pylist(), table["frame"].to_pylist(), strict=True))
        for name, table in found.items()
    }


def all_rows(folder):
    return sorted(row for rows in written(folder).values() for row in rows)


def rows_of(**counts):
    return sorted((f"{name[1:]}.jpg", row) for name, count in counts.items() for row in range(count))


def test_small_sources_share_a_shard_of_at_most_so_many_rows(make, manifest, tmp_path):
    shards = make(max_rows=10)
    for number, count in ((1, 4), (2, 5), (3, 2), (4, 1)):
        shards.add(part(number, count))
    assert manifest.counts()["done"] == 2
    shards.close()
    assert {name: len(rows) for name, rows in written(tmp_path / "out").items()} == {
        "part-000000.parquet": 9,
        "part-000001.parquet": 3,
    }
    files = [tmp_path / "out" / f"part-00000{number}.parquet" for number in (0, 1)]
    assert manifest.shards() == [
        Shard(file.name, rows, file.stat().st_size, hashlib.sha256(file.read_bytes()).hexdigest())
        for file, rows in zip(files, (9, 3), strict=True)
    ]
    assert all_rows(tmp_path / "out") == rows_of(s1=4, s2=5, s3=2, s4=1)
    assert not (tmp_path / "out" / UNFINISHED).exists()


@pytest.mark.parametrize("in_memory", [3, 5000])
def test_a_source_of_many_rows_has_shards_of_its_own(make, manifest, tmp_path, monkeypatch, in_memory):
    monkeypatch.setattr(module, "_MAX_ROWS_IN_MEMORY", in_memory)
    shards = make(max_rows=10)
    shards.add(part(1, 2))
    shards.add(part(2, 8, end=False))
    shards.add(part(3, 1))
    shards.add(part(2, 8, first=False, end=False, start=8))
    assert not written(tmp_path / "out")
    shards.add(part(2, 9, first=False, start=16))
    assert [len(rows) for rows in written(tmp_path / "out").values()] == [10, 10, 5]
    assert manifest.counts()["done"] == 1
    shards.close()
    assert all_rows(tmp_path / "out") == rows_of(s1=2, s2=25, s3=1)
    assert manifest.counts()["done"] == 3


def test_what_came_before_a_first_part_does_not_count(make, manifest, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_MAX_ROWS_IN_MEMORY", 3)
    shards = make()
    shards.add(part(1, 8, end=False))
    shards.add(part(2, 2, end=False))
    shards.add(part(1, 5))
    shards.add(part(2, 1))
    shards.close()
    assert all_rows(tmp_path / "out") == rows_of(s1=5, s2=1)


def test_a_source_without_an_end_is_not_written(make, manifest, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_MAX_ROWS_IN_MEMORY", 3)
    shards = make()
    shards.add(part(1, 8, end=False))
    shards.add(part(2, 2))
    shards.close()
    assert all_rows(tmp_path / "out") == rows_of(s2=2)
    assert [number for number, _ in manifest.waiting()] == [1, 3, 4, 5, 6, 7, 8, 9]


def test_files_that_the_manifest_does_not_know_are_removed(make, manifest, tmp_path):
    shards = make()
    shards.add(part(1, 2))
    shards.close()
    known = tmp_path / "out" / "part-000000.parquet"
    (tmp_path / "out" / "part-000001.parquet").write_bytes(known.read_bytes())
    (tmp_path / "out" / UNFINISHED).mkdir()
    (tmp_path / "out" / UNFINISHED / f"{'0' * 32}.parquet").write_bytes(b"half")
    shards = make()
    shards.add(part(2, 1))
    shards.close()
    assert written(tmp_path / "out") == {
        "part-000000.parquet": [("1.jpg", 0), ("1.jpg", 1)],
        "part-000001.parquet": [("2.jpg", 0)],
    }


@pytest.mark.parametrize("where", ["write", "fsync", "rename"])
@pytest.mark.parametrize("count", [2, 25], ids=["shared", "own"])
def test_a_full_disk_costs_the_sources_of_a_shard(make, manifest, tmp_path, monkeypatch, where, count):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    shards = make()
    with monkeypatch.context() as patch:
        if where == "write":
            patch.setattr(parquet.ParquetWriter, "write_table", full)
        elif where == "fsync":
            patch.setattr(os, "fsync", full)
        else:
            patch.setattr(module.Path, "replace", full)
        shards.add(part(1, count))
        shards.flush()
    shards.add(part(2, 3))
    shards.close()
    assert all_rows(tmp_path / "out") == rows_of(s2=3)
    assert manifest.counts() == {"done": 1, "failed": 1, "not yet": 7}
    found = manifest._base.execute("select reason, detail from sources where number = 1").fetchone()
    assert found == (Reason.NOT_WRITTEN, "No space left on device")
    manifest.begin({})
    shards = make()
    shards.add(part(1, count))
    shards.close()
    assert all_rows(tmp_path / "out") == rows_of(s1=count, s2=3)


def test_a_manifest_that_cannot_be_written_stops_the_batch(make, manifest, tmp_path, monkeypatch):
    shards = make()
    shards.add(part(1, 2))
    manifest._base.execute("drop table shards")
    with pytest.raises(AffectLensError, match="cannot write the manifest"):
        shards.close()
