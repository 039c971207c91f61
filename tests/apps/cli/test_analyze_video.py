"""Videos through `affectlens analyze`."""

import csv
import io
import json
import shutil

import cv2
import numpy as np
import pytest
from pyarrow import parquet
from rich.console import Console

from affectlens.apps.cli import console
from affectlens.runtime.video import open_video


@pytest.fixture(scope="module")
def clip(make_video, portrait, tmp_path_factory):
    """Two seconds, ten frames a second: a face comes in after five frames; with sound."""
    face = cv2.resize(portrait[:260, 90:350], (120, 120), interpolation=cv2.INTER_AREA)
    frames = [np.full((160, 200, 3), 110, dtype=np.uint8) for _ in range(20)]
    for i, frame in enumerate(frames[5:]):
        frame[20:140, 20 + 2 * i : 140 + 2 * i] = face
    return make_video(tmp_path_factory.mktemp("clip") / "clip.mp4", frames, fps=10, sound="aac")


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_a_clip_to_csv_has_a_row_for_each_frame(process, clip):
    result = process("analyze", clip, "--format", "csv", "--offline")
    assert (result.code, result.err) == (0, "")
    rows = rows_of(result.out)
    assert [row["frame"] for row in rows] == [str(i) for i in range(20)]
    assert [float(row["time_s"]) for row in rows] == [pytest.approx(i / 10, abs=0.002) for i in range(20)]
    assert [row["reason"] for row in rows] == ["no_face"] * 5 + [""] * 15
    assert {row["track"] for row in rows[5:]} == {"0"}
    assert {row["expression"] for row in rows[5:]} == {"happiness"}


def test_a_clip_to_parquet_and_an_annotated_copy_with_its_sound(cli, clip, tmp_path):
    result = cli("analyze", clip, "--out", tmp_path / "faces.parquet", "--annotate", tmp_path / "drawn", "--every", 2)
    assert (result.code, result.out, result.err) == (0, "", "")
    table = parquet.read_table(tmp_path / "faces.parquet").to_pydict()
    assert table["frame"] == list(range(0, 20, 2))
    copy = open_video(tmp_path / "drawn" / "clip.faces.mp4")
    frames = list(copy)
    assert [frame.time_s for frame in frames] == [pytest.approx(i / 5, abs=0.002) for i in range(10)]
    assert (copy._container.streams.audio[0].codec.canonical_name) == "aac"
    copy.close()
    yellow = np.abs(frames[-1].image.astype(int) - (245, 180, 0)).sum(axis=2) < 120
    assert yellow.sum() > 50
    assert (np.abs(frames[0].image.astype(int) - (245, 180, 0)).sum(axis=2) < 120).sum() == 0


def test_a_table_sums_a_clip_up_by_person(cli, clip):
    result = cli("analyze", clip, "--fps", 5)
    assert (result.code, result.err) == (0, "")
    header, line = result.out.splitlines()
    assert " ".join(header.split()) == "source person from s to s frames mostly share uncertain valence arousal"
    assert line.split()[1:6] == ["0", "0.6", "1.8", "7", "happiness"]


def test_a_clip_without_faces_has_its_line(cli, make_video, tmp_path):
    file = make_video(tmp_path / "empty.mp4", [np.full((80, 80, 3), 90, dtype=np.uint8)] * 3)
    result = cli("analyze", file)
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines()[1].split()[-2:] == ["-", "no_face"]


def test_a_folder_of_photos_clips_and_bad_files_loses_none(cli, clip, tmp_path, bad_files):
    folder, reasons = bad_files
    shutil.copy(clip, folder / "a.mp4")
    (folder / "text.mov").write_bytes(b"Dear diary")
    (folder / "none.mkv").touch()
    (folder / "a.faces.mp4").write_bytes(b"an annotated copy is left out")
    result = cli("analyze", folder, "--format", "jsonl")
    assert result.code == 0
    rows = [json.loads(line) for line in result.out.splitlines()]
    whole = {row["source"]: row["reason"] for row in rows if row["frame"] is None}
    new = {str(folder / "text.mov"): "not_a_video", str(folder / "none.mkv"): "empty_file"}
    assert whole == reasons | new
    assert sum(row["source"] == str(folder / "a.mp4") for row in rows) == 20
    assert result.errors == [
        f"warning: {len(whole)} of {len(whole) + 1} sources could not be read; see the reason in their rows"
    ]


def test_a_clip_that_breaks_off_keeps_its_rows_and_says_so(cli, make_video, tmp_path):
    rng = np.random.default_rng(0)
    file = make_video(tmp_path / "a.mkv", [rng.integers(0, 255, (64, 64, 3), dtype=np.uint8) for _ in range(120)])
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    result = cli("analyze", file, "--format", "csv", "--detector", "whole", "--every", 10)
    rows = rows_of(result.out)
    assert result.code == 0
    assert len(rows) > 4
    assert [row["reason"] for row in rows] == [""] * (len(rows) - 1) + ["truncated"]
    (line,) = result.errors
    assert "(truncated)" in line
    assert f"the {len(rows) - 1} frames before that were analyzed" in line


def test_without_the_extra_photos_go_on_and_videos_have_a_reason(cli, clip, monkeypatch, tmp_path):
    cv2.imwrite(str(tmp_path / "photo.png"), np.full((60, 60, 3), 90, dtype=np.uint8))
    shutil.copy(clip, tmp_path / "clip.mp4")
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    result = cli("analyze", tmp_path, "--format", "csv")
    assert result.code == 0
    assert [row["reason"] for row in rows_of(result.out)] == ["missing_extra", "no_face"]
    assert "1 of 2 sources could not be read; see the reason in their rows; " in result.err
    assert "affectlens[video]" in result.err
    result = cli("analyze", clip)
    assert (result.code, len(result.errors)) == (1, 1)
    assert "pip install 'affectlens[video]'" in result.err


def test_a_name_that_is_taken_is_numbered(cli, clip, tmp_path):
    other = tmp_path / "other" / "clip.mov"
    other.parent.mkdir()
    shutil.copy(clip, other)
    result = cli("analyze", clip, other, "--every", 10, "--format", "csv", "--annotate", tmp_path / "drawn")
    assert result.code == 0
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == ["clip-2.faces.mp4", "clip.faces.mp4"]


def test_a_picture_that_cannot_be_written_costs_one_line(cli, clip, tmp_path):
    (tmp_path / "drawn" / "clip.faces.mp4").mkdir(parents=True)
    result = cli("analyze", clip, "--every", 5, "--format", "csv", "--annotate", tmp_path / "drawn")
    assert (result.code, len(rows_of(result.out)), len(result.errors)) == (0, 4, 1)


def test_parquet_needs_a_file(cli, clip):
    result = cli("analyze", clip, "--format", "parquet")
    assert (result.code, result.errors) == (
        1,
        ["error: Parquet cannot be written to the terminal; name a file"],
    )


def test_each_frame_for_itself_and_a_baseline(cli, clip):
    for option in ("--no-smooth", "--baseline"):
        result = cli("analyze", clip, option, "--every", 5, "--format", "csv")
        assert (result.code, result.err, len(rows_of(result.out))) == (0, "", 4)


def test_a_camera_that_is_not_there_is_one_line(cli):
    result = cli("analyze", "camera:97")
    assert (result.code, len(result.errors)) == (1, 1)
    assert "(no_camera)" in result.err


def test_a_name_with_markup_stops_no_video(cli, clip, tmp_path, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(console, "err", Console(stderr=True, force_terminal=True, width=200, **console.PLAIN))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w[").mkdir()
    names = ("w[/x].mp4", "[red]y[link=http:evil]z.mp4", "\x1b]0;pwn.mp4")
    for name in names:
        shutil.copy(clip, name)
    result = cli("analyze", ".", "--out", "a.csv", "--fps", "1")
    assert result.code == 0
    for name in (*names[:2], r"\x1b]0;pwn.mp4"):
        assert f"seconds of {name}" in result.err
    assert "\x1b]" not in result.err  # titles and links
