import contextlib
import sqlite3
import subprocess
import sys

import pytest

from affectlens.apps.batch.item import Item
from affectlens.apps.batch.manifest import Manifest
from affectlens.apps.batch.run import run
from affectlens.apps.batch.work import BatchSettings, SourceEnd
from affectlens.core.errors import AffectLensError, BadSetting
from affectlens.core.reasons import Reason
from affectlens.runtime.batch_folder import NAME, Shard, states_in

ITEMS = [Item("a.jpg", "/a.jpg"), Item("b\ufffd.jpg", "/b\udcff.jpg"), Item("c#1", "c", within="tar", place=(1, 2))]


def test_sources_wait_until_they_are_committed(tmp_path):
    with Manifest(tmp_path / "out") as manifest:
        assert not manifest.listed
        manifest.add([*ITEMS, ITEMS[0]])
        assert manifest.listed
        assert list(manifest.waiting()) == list(enumerate(ITEMS, 1))
        manifest.commit(
            [Shard("part-000000.parquet", 5, 77, "ab")],
            [(1, 4, SourceEnd(True)), (3, 1, SourceEnd(False, Reason.DAMAGED, "why"))],
        )
        assert list(manifest.waiting()) == [(2, ITEMS[1])]
    with Manifest(tmp_path / "out") as manifest:
        assert manifest.counts() == {"done": 1, "failed": 1, "not yet": 1}
        assert manifest.shards() == [Shard("part-000000.parquet", 5, 77, "ab")]
        manifest.check_rows()
        assert list(manifest.waiting()) == [(2, ITEMS[1])]
    rows = sqlite3.connect(tmp_path / "out" / NAME).execute("select source, state, reason, detail from sources")
    assert rows.fetchall() == [
        ("a.jpg", "done", None, None),
        ("b\ufffd.jpg", "not yet", None, None),
        ("c#1", "failed", "damaged", "why"),
    ]


def test_what_could_not_be_written_waits_again_when_the_batch_goes_on(tmp_path):
    with Manifest(tmp_path) as manifest:
        manifest.begin({})
        manifest.add(ITEMS)
        manifest.commit(
            [], [(1, 0, SourceEnd(False, Reason.NOT_WRITTEN, "no space")), (2, 1, SourceEnd(False, Reason.CRASHED))]
        )
        assert manifest.counts() == {"done": 0, "failed": 2, "not yet": 1}
        manifest.begin({})
        assert [number for number, _ in manifest.waiting()] == [1, 3]


def test_more_than_one_page_of_sources_waits(tmp_path):
    items = [Item(f"{number}.jpg", f"/{number}.jpg") for number in range(2500)]
    with Manifest(tmp_path) as manifest:
        manifest.add(iter(items))
        assert [item for _, item in manifest.waiting()] == items


def test_other_settings_are_refused(tmp_path):
    with Manifest(tmp_path) as manifest:
        manifest.begin({"prior": "natural", "min_face_px": None})
        manifest.begin({"prior": "natural", "min_face_px": None})
        with pytest.raises(
            BadSetting,
            match="this batch was started with min_face_px=null, got 30; use the same settings",
        ):
            manifest.begin({"prior": "natural", "min_face_px": 30})


def test_of_nested_settings_the_one_that_changed_is_named(tmp_path):
    with Manifest(tmp_path) as manifest:
        manifest.begin({"video": {"every": 1, "smoothing": {"margin": 0.6}}})
        with pytest.raises(BadSetting, match=r"started with margin=0\.6, got 0\.7;"):
            manifest.begin({"video": {"every": 1, "smoothing": {"margin": 0.7}}})
        with pytest.raises(BadSetting, match=r"started with smoothing=\{\"margin\": 0\.6\}, got null;"):
            manifest.begin({"video": {"every": 1, "smoothing": None}})


def test_reasons_are_counted_over_failed_sources(tmp_path):
    with Manifest(tmp_path) as manifest:
        manifest.add(Item(f"{number}.jpg", f"/{number}.jpg") for number in range(4))
        faults = [(number, 1, SourceEnd(False, Reason.TRUNCATED)) for number in (1, 2)]
        manifest.commit([], [*faults, (3, 1, SourceEnd(False, Reason.MISSING)), (4, 1, SourceEnd(True))])
        assert list(manifest.reasons().items()) == [("truncated", 2), ("missing", 1)]


def test_one_process_at_a_time_writes(tmp_path):
    with Manifest(tmp_path), pytest.raises(BadSetting, match="another process is writing to"):
        Manifest(tmp_path)
    with Manifest(tmp_path) as manifest:
        assert manifest.counts() == {"done": 0, "failed": 0, "not yet": 0}


def test_a_commit_is_whole_or_nothing(tmp_path):
    with Manifest(tmp_path) as manifest:
        manifest.add(ITEMS)
        manifest.commit([Shard("part-000000.parquet", 5)], [(1, 5, SourceEnd(True))])
        with pytest.raises(AffectLensError, match=r"cannot write the manifest: UNIQUE constraint .* --resume"):
            manifest.commit([Shard("new", 1), Shard("part-000000.parquet", 5)], [(2, 6, SourceEnd(True))])
        assert manifest.shards() == [Shard("part-000000.parquet", 5)]
        assert [number for number, _ in manifest.waiting()] == [2, 3]


def test_a_file_that_is_no_manifest_is_one_line(tmp_path):
    (tmp_path / NAME).write_bytes(b"something else" * 100)
    with pytest.raises(BadSetting, match="is not a manifest, or is damaged: file is not a database"):
        Manifest(tmp_path)


KILLED = """
import os, signal, sys
from pathlib import Path
from affectlens.apps.batch.item import Item
from affectlens.apps.batch.manifest import Manifest

manifest = Manifest(Path(sys.argv[1]))
manifest.add(Item(f"{number}.jpg", f"/{number}.jpg") for number in range(5000))
manifest._base.execute("pragma cache_size = 1")
manifest._base.execute("begin immediate")
manifest._base.execute("update sources set state = 'failed', detail = 'x' || number")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_step_that_was_killed_in_the_middle_has_not_been(tmp_path):
    subprocess.run([sys.executable, "-c", KILLED, tmp_path], check=False)
    assert (tmp_path / f"{NAME}-journal").stat().st_size > 0
    assert states_in(tmp_path) == {"done": 0, "failed": 0, "not yet": 5000}


def test_what_was_missing_and_is_there_when_it_is_listed_again_is_one_source(tmp_path):
    missing = Item("a.jpg", "/a.jpg", fault=(Reason.MISSING, "no such file or folder"))
    with Manifest(tmp_path) as manifest:
        manifest.add([missing, ITEMS[0]])
        assert list(manifest.waiting()) == [(1, missing)]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of a megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_written_down_and_the_rest_goes_on(small_disk, photos, read_back):
    folder = small_disk / "out"

    def fill(parts, _):
        """Nothing is left after the fourth source, and all again after the eighth."""
        ballast = small_disk / "ballast"
        for number, part in enumerate(parts):
            if number == 4:
                with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as stream:
                    while stream.write(bytes(4096)) == 4096:
                        pass
            if number == 8:
                ballast.unlink()
            yield part

    outcome = run(str(photos), folder, BatchSettings(), workers=0, max_rows=1, progress=fill)
    rows, states = read_back(folder)
    unwritten = [source for source, (_, reason) in states.items() if reason == "not_written"]
    assert (outcome.waiting, len(unwritten)) == (0, 4)
    assert sorted(row["source"] for row in rows) == sorted(states.keys() - set(unwritten))
    run(str(photos), folder, BatchSettings(), workers=0, max_rows=1, resume=True)
    rows, states = read_back(folder)
    assert sorted(row["source"] for row in rows) == sorted(states)
    assert not list(folder.glob("*.reserve"))
