import errno
import re
import sqlite3
import tarfile
from pathlib import Path

import cv2
import pytest
from pyarrow import parquet

from affectlens.runtime.media import read_image


@pytest.fixture
def photos(tmp_path, portrait):
    """Four photos, one of which is cut off."""
    folder = tmp_path / "photos"
    folder.mkdir()
    content = cv2.imencode(".jpg", cv2.resize(portrait, (256, 256))[..., ::-1])[1].tobytes()
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (folder / name).write_bytes(content)
    (folder / "d.jpg").write_bytes(content[:999])
    return folder


def rows_of(folder):
    return [row for file in sorted(folder.glob("part-*.parquet")) for row in parquet.read_table(file).to_pylist()]


@pytest.mark.slow
def test_it_says_what_analyze_says(cli, photos, tmp_path, analyzer):
    result = cli("batch", photos, "--out", tmp_path / "out", "--workers", 2)
    assert (result.code, result.out) == (0, f"3 of 4 done, 1 failed; rows: 4, shards in {tmp_path}/out: 1\n")
    assert result.errors == [
        f"warning: 1 of 4 sources could not be read (truncated 1); '{tmp_path}/out/manifest.sqlite' lists them"
    ]
    assert cli("analyze", photos, "--out", tmp_path / "rows.parquet").code == 0
    wanted = parquet.read_table(tmp_path / "rows.parquet")
    (shard,) = (tmp_path / "out").glob("part-*.parquet")
    found = parquet.read_table(shard)
    assert found.schema.equals(wanted.schema)
    assert tuple(found.column_names) == analyzer.schema.names
    assert sorted(found.to_pylist(), key=str) == sorted(wanted.to_pylist(), key=str)


def test_it_goes_on_only_when_told_to_and_as_it_began(cli, photos, tmp_path):
    out = tmp_path / "out"
    assert cli("batch", photos, "--out", out, "--workers", 0).code == 0
    again = cli("batch", photos, "--out", out, "--workers", 0)
    assert (again.code, again.errors) == (
        1,
        [f"error: '{out}' already contains a batch; continue it with --resume, or choose another folder"],
    )
    (photos / "e.jpg").write_bytes((photos / "a.jpg").read_bytes())
    assert cli("batch", photos, "--out", out, "--workers", 0, "--resume").code == 0
    assert len(rows_of(out)) == 4
    other = cli("batch", photos, "--out", out, "--resume", "--prior", "balanced")
    assert (other.code, len(other.errors)) == (1, 1)
    assert 'started with prior="natural", got "balanced"' in other.err


@pytest.mark.slow
def test_photos_and_videos_from_a_tar_are_annotated(cli, photos, media, tmp_path):
    with tarfile.open(tmp_path / "shard.tar", "w") as archive:
        archive.add(photos / "a.jpg", "x/a.jpg")
        archive.add(media("single_face.mp4"), "film.mp4")
    out = tmp_path / "out"
    result = cli("batch", tmp_path / "*.tar", "--out", out, "--workers", 1, "--annotate", "--fps", 2, "--no-smooth")
    assert (result.code, result.err) == (0, "")
    rows = rows_of(out)
    assert {row["source"] for row in rows} == {f"{tmp_path}/shard.tar#x/a.jpg", f"{tmp_path}/shard.tar#film.mp4"}
    times = [row["time_s"] for row in rows if row["source"].endswith("mp4")]
    assert len(times) > 4
    assert times == sorted(times)
    assert sorted(file.name for file in (out / "annotated").iterdir()) == [
        "000001-a.faces.jpg",
        "000002-film.faces.mp4",
    ]
    assert read_image(out / "annotated" / "000001-a.faces.jpg").shape == (256, 256, 3)
    assert cv2.VideoCapture(str(out / "annotated" / "000002-film.faces.mp4")).read()[1] is not None


def test_a_copy_that_cannot_be_written_costs_a_warning(cli, photos, tmp_path):
    out = tmp_path / "out"
    (out / "annotated" / "000001-a.faces.jpg" / "in the way").mkdir(parents=True)
    result = cli("batch", photos / "a.jpg", "--out", out, "--workers", 0, "--annotate")
    assert result.code == 0
    assert len(result.errors) == 1
    assert result.err.startswith("warning: cannot write the annotated copy: ")
    assert len(rows_of(out)) == 1


def test_where_nothing_can_be_read_it_exits_1(cli, photos, tmp_path):
    out = tmp_path / "out"
    result = cli("batch", photos / "d.jpg", "--out", out, "--workers", 0)
    why = f"error: no source could be read (truncated 1); '{out}/manifest.sqlite' lists them"
    assert (result.code, result.errors) == (1, [why])
    states = sqlite3.connect(out / "manifest.sqlite").execute("select state, reason from sources").fetchall()
    assert states == [("failed", "truncated")]


def test_a_source_that_is_not_there_leaves_nothing(cli, tmp_path):
    result = cli("batch", tmp_path / "nowhere", "--out", tmp_path / "out")
    assert (result.code, len(result.errors)) == (1, 1)
    assert not (tmp_path / "out").exists()


def test_options_that_do_not_fit_are_one_line(cli, photos, tmp_path):
    alone = cli("batch", photos, "--out", tmp_path / "out", "--address", "auto")
    assert (alone.code, alone.errors) == (
        1,
        ["error: --address requires --engine ray"],
    )
    nobody = cli("batch", photos, "--out", tmp_path / "out", "--engine", "ray", "--workers", 0)
    assert (nobody.code, nobody.errors) == (
        1,
        ["error: --workers 0 requires --engine local"],
    )
    device = cli("batch", photos, "--out", tmp_path / "out", "--gpus", "0.5")
    assert device.code == 1
    assert "does not support the device 'cuda'" in device.err
    assert not (tmp_path / "out").exists()


def test_a_log_gets_a_line_now_and_then(cli, photos, tmp_path, monkeypatch):
    monkeypatch.setattr("affectlens.apps.cli.batch._LINE_EVERY_S", 0.0)
    result = cli("batch", photos, "--out", tmp_path / "out", "--workers", 0)
    *lines, last = result.errors
    assert [re.sub(r"[\d.]+(/s| min)", r"N\1", line) for line in lines] == [
        f"{number} of 4 sources, N/s, N min left" for number in (1, 2, 3, 4)
    ]
    assert last.startswith("warning: 1 of 4 sources could not be read")


def test_ctrl_c_says_how_far_it_came(cli, photos, tmp_path, monkeypatch):
    def stopped(parts, _):
        for _ in range(2):
            yield next(parts)
        raise KeyboardInterrupt

    monkeypatch.setattr("affectlens.apps.cli.batch._shown", stopped)
    result = cli("batch", photos, "--out", tmp_path / "out", "--workers", "0", "--shard-rows", "2")
    assert (result.code, result.out) == (130, "")
    assert result.errors == ["warning: stopped, 2 of 4 sources are written; continue with --resume"]


def test_rows_that_could_not_be_written_are_an_error(cli, photos, tmp_path, monkeypatch):
    written, move = [], Path.replace

    def full_once(path, target):
        written.append(target)
        if len(written) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return move(path, target)

    monkeypatch.setattr(Path, "replace", full_once)
    options = ("--out", tmp_path / "out", "--workers", "0", "--shard-rows", "1")
    result = cli("batch", photos, *options)
    why = "error: 1 of 4 sources could not be written (is the disk full?); continue with --resume"
    assert (result.code, result.errors) == (1, [why])
    assert result.out.startswith("2 of 4 done, 2 failed; rows: 3, ")
    again = cli("batch", photos, *options, "--resume")
    assert (again.code, len(rows_of(tmp_path / "out"))) == (0, 4)
