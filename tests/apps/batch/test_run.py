"""Where a batch begins, goes on, and is refused."""

import pyarrow as pa
import pytest
from pyarrow import parquet

from affectlens import __version__
from affectlens.apps.batch.run import run
from affectlens.apps.batch.work import BatchSettings
from affectlens.core.errors import BadData, BadSetting


def go(source, folder, **changes):
    return run(str(source), folder, BatchSettings(), **{"workers": 0, "max_rows": 5} | changes)


def test_shards_of_something_else_are_neither_deleted_nor_mixed_in(photos, tmp_path):
    go(photos, tmp_path / "first")
    (tmp_path / "first" / "manifest.sqlite").unlink()
    kept = sorted((tmp_path / "first").glob("part-*.parquet"))
    with pytest.raises(
        BadSetting, match=r"contains shards \(part-000000.parquet\) but no manifest; choose another folder"
    ):
        go(photos, tmp_path / "first")
    assert sorted((tmp_path / "first").glob("part-*.parquet")) == kept


def test_files_with_other_names_stay(photos, tmp_path):
    (tmp_path / "out").mkdir()
    other = tmp_path / "out" / "part-00000-spark.parquet"
    other.write_bytes(b"of another program")
    go(photos, tmp_path / "out")
    go(photos, tmp_path / "out", resume=True)
    assert other.read_bytes() == b"of another program"


def test_it_goes_on_from_another_folder(photos, tmp_path, monkeypatch, read_back):
    def stopped(parts, _):
        for _ in range(6):
            yield next(parts)

    monkeypatch.chdir(tmp_path)
    assert go("photos", tmp_path / "out", progress=stopped).waiting == 6
    monkeypatch.chdir(tmp_path / "photos")
    with pytest.raises(BadSetting, match=r"this batch was started with source="):
        go("photos", tmp_path / "out", resume=True)
    outcome = go("../photos/", tmp_path / "out", resume=True)
    assert (outcome.done, outcome.failed, outcome.waiting) == (10, 2, 0)
    rows, states = read_back(tmp_path / "out")
    assert sorted(row["source"] for row in rows) == sorted(states)


def test_a_batch_that_lost_a_shard_does_not_go_on(photos, tmp_path):
    go(photos, tmp_path / "out")
    lost = tmp_path / "out" / "part-000001.parquet"
    lost.unlink()
    with pytest.raises(BadData, match=rf"'{lost}' is missing \(1 of 3 shards are\)"):
        go(photos, tmp_path / "out", resume=True)


def test_another_version_does_not_go_on(photos, tmp_path, monkeypatch):
    go(photos, tmp_path / "out")
    monkeypatch.setattr("affectlens.apps.batch.run.__version__", "99")
    with pytest.raises(BadSetting, match=rf'started with affectlens="{__version__}", got "99"'):
        go(photos, tmp_path / "out", resume=True)


def test_copies_are_drawn_of_all_or_none(photos, tmp_path):
    go(photos, tmp_path / "out")
    with pytest.raises(BadSetting, match="this batch was started with annotate=false, got true"):
        run(str(photos), tmp_path / "out", BatchSettings(annotate_in=tmp_path / "out"), 0, 5, resume=True)


def test_a_folder_at_a_url_is_refused(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadSetting, match="must be a folder on this machine"):
        go(photos, type(tmp_path)("s3://bucket/faces"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]


def test_a_table_that_shrank_after_it_was_listed_costs_its_sources(jpeg, tmp_path, read_back):
    file = tmp_path / "photos.parquet"
    parquet.write_table(pa.table({"image": [jpeg] * 6}), file, row_group_size=2)

    def shrinking(parts, _):
        yield next(parts)
        parquet.write_table(pa.table({"image": [jpeg]}), file)
        yield from parts

    outcome = go(file, tmp_path / "out", progress=shrinking)
    assert (outcome.done + outcome.failed, outcome.waiting) == (6, 0)
    assert outcome.failed > 0
    rows, states = read_back(tmp_path / "out")
    assert len(rows) == len(states) == 6
