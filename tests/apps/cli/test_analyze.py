import csv
import io
import json
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from affectlens import Analyzer
from affectlens.apps.cli import analyze, console
from affectlens.core.messages import visible
from affectlens.runtime.media import PORTRAIT, read_image


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.fixture
def photo(tmp_path):
    return shutil.copy(PORTRAIT, tmp_path / "photo.jpg")


# Whole runs in a process of their own


def test_a_photo_to_csv(process):
    result = process("analyze", PORTRAIT, "--format", "csv", "--offline")
    assert (result.code, result.err) == (0, "")
    (row,) = rows_of(result.out)
    assert tuple(row) == Analyzer().schema.names
    assert (row["source"], row["face"], row["expression"], row["reason"]) == (str(PORTRAIT), "0", "happiness", "")
    assert sum(float(value) for key, value in row.items() if key.startswith("p_")) == pytest.approx(1, abs=1e-5)


def test_a_folder_with_one_good_and_many_bad_files_loses_none(process, bad_files):
    folder, reasons = bad_files
    shutil.copy(PORTRAIT, folder / "good.jpg")
    result = process("analyze", folder, "--format", "csv")
    unread = f"{len(reasons)} of {len(reasons) + 1}"
    assert (result.code, result.errors) == (
        0,
        [f"warning: {unread} sources could not be read; see the reason in their rows"],
    )
    assert {row["source"]: row["reason"] for row in rows_of(result.out)} == reasons | {str(folder / "good.jpg"): ""}


def test_only_bad_files_give_their_rows_one_line_and_exit_1(process, bad_files):
    folder, reasons = bad_files
    result = process("analyze", folder, "--format", "jsonl")
    assert result.code == 1
    assert {row["source"]: row["reason"] for row in map(json.loads, result.out.splitlines())} == reasons
    assert len(result.errors) == 1
    assert result.err.startswith("error: ")


def test_a_table_of_a_photo_and_its_picture(process, tmp_path):
    result = process("analyze", PORTRAIT, "--annotate", tmp_path / "out")
    assert (result.code, result.err) == (0, "")
    assert "happiness" in result.out
    assert read_image(tmp_path / "out" / "portrait.faces.jpg").shape == (512, 512, 3)


def test_names_beyond_ascii_can_be_written_where_the_terminal_has_only_ascii(process, tmp_path):
    photo = shutil.copy(PORTRAIT, tmp_path / "été.jpg")
    result = process("analyze", photo, "--format", "csv", PYTHONIOENCODING="ascii")
    assert "Traceback" not in result.err
    assert result.code == 0
    assert len(rows_of(result.out)) == 1


# Formats and files


def test_people_are_told_where_the_rows_are_and_scripts_are_not(cli, tmp_path, photo, monkeypatch):
    file = tmp_path / "rows.csv"
    assert cli("analyze", PORTRAIT, photo, "--out", file).err == ""
    monkeypatch.setattr(console, "err", Console(stderr=True, force_terminal=True, **console.PLAIN))
    result = cli("analyze", PORTRAIT, photo, "--out", file)
    assert f"{len(rows_of(file.read_text()))} rows to {file}\n" in result.err
    assert result.out == ""


def test_the_suffix_of_the_file_says_the_format(cli, tmp_path):
    assert cli("analyze", PORTRAIT, "--out", tmp_path / "rows.csv").out == ""
    assert cli("analyze", PORTRAIT, "--out", tmp_path / "rows.jsonl").out == ""
    (from_csv,) = rows_of((tmp_path / "rows.csv").read_text())
    from_jsonl = json.loads((tmp_path / "rows.jsonl").read_text())
    assert list(from_csv) == list(from_jsonl)
    assert from_csv["expression"] == from_jsonl["expression"] == "happiness"


def test_a_format_wins_over_the_suffix(cli, tmp_path):
    assert cli("analyze", PORTRAIT, "--out", tmp_path / "rows.txt", "--format", "jsonl").code == 0
    assert json.loads((tmp_path / "rows.txt").read_text())["face"] == 0


def test_a_table_can_go_to_a_file(cli, tmp_path):
    assert cli("analyze", PORTRAIT, "--out", tmp_path / "rows.txt", "--format", "table").out == ""
    assert "happiness" in (tmp_path / "rows.txt").read_text()


def test_the_same_photo_gives_the_same_rows_again(cli):
    assert cli("analyze", PORTRAIT, "--format", "csv").out == cli("analyze", PORTRAIT, "--format", "csv").out


@pytest.mark.parametrize("name", ["rows.foo", "rows", "rows.csv.gz"])
def test_a_suffix_that_says_no_format_is_refused_before_anything_is_done(cli, tmp_path, name):
    result = cli("analyze", PORTRAIT, "--out", tmp_path / name)
    assert result.code == 1
    assert len(result.errors) == 1
    assert "--format" in result.err
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("format", ["csv", "jsonl", "table"])
def test_an_output_folder_that_does_not_exist_is_one_line(cli, tmp_path, format):
    result = cli("analyze", PORTRAIT, "--out", tmp_path / "no" / "rows", "--format", format)
    assert result.code == 1
    assert len(result.errors) == 1
    assert result.err.startswith("error: ")
    assert "no/rows" in result.err
    assert f"the folder '{tmp_path / 'no'}' does not exist" in result.err


def test_a_file_where_a_folder_is_needed_is_named(cli, photo):
    result = cli("analyze", photo, "--annotate", photo)
    assert (result.code, result.errors) == (1, [f"error: '{photo}' is a file, expected a folder"])


def test_an_output_that_is_a_folder_is_one_line(cli, tmp_path):
    result = cli("analyze", PORTRAIT, "--out", tmp_path, "--format", "csv")
    assert (result.code, len(result.errors)) == (1, 1)


# Sources


@pytest.mark.parametrize("options", [(), ("--annotate", "out")])
def test_a_link_to_itself_is_a_row_among_others(cli, tmp_path, photo, monkeypatch, options):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    result = cli("analyze", "loop.jpg", "photo.jpg", "--format", "csv", *options)
    assert result.code == 0
    assert [(row["source"], row["reason"]) for row in rows_of(result.out)] == [
        ("loop.jpg", "not_a_file"),
        ("photo.jpg", ""),
    ]


def test_several_sources_come_in_their_order_and_each_photo_once(cli, tmp_path, photo):
    other = shutil.copy(PORTRAIT, tmp_path / "another.jpg")
    result = cli("analyze", photo, tmp_path, str(tmp_path / "*.jpg"), "--format", "csv")
    assert [row["source"] for row in rows_of(result.out)] == [str(photo), str(other)]


def test_a_photo_without_a_face_is_read_and_says_so(cli, tmp_path):
    cv2.imwrite(str(tmp_path / "gray.png"), np.full((100, 100), 128, dtype=np.uint8))
    result = cli("analyze", tmp_path / "gray.png", "--format", "csv")
    assert (result.code, result.err) == (0, "")
    (row,) = rows_of(result.out)
    assert row["reason"] == "no_face"


@pytest.mark.parametrize(
    ("source", "reason"), [("nowhere.jpg", "missing"), ("*.nope", "missing"), ("", "missing"), ("x" * 300, "missing")]
)
def test_a_source_that_gives_nothing_still_gives_a_row(cli, tmp_path, monkeypatch, source, reason):
    monkeypatch.chdir(tmp_path)
    result = cli("analyze", source, "--format", "csv")
    assert result.code == 1
    assert [row["reason"] for row in rows_of(result.out)] in ([reason], ["not_a_file"])
    assert len(result.errors) == 1


@pytest.mark.parametrize("bad", ["nowhere.jpg", "*.nope", "x" * 300])
def test_a_bad_source_does_not_lose_the_good_one_after_it(cli, bad):
    result = cli("analyze", bad, PORTRAIT, "--format", "csv")
    assert (result.code, result.errors) == (
        0,
        ["warning: 1 of 2 sources could not be read; see the reason in their rows"],
    )
    assert [row["face"] for row in rows_of(result.out)] == ["", "0"]


def test_a_folder_without_images_is_one_row_and_one_line(cli, tmp_path):
    result = cli("analyze", tmp_path, "--format", "csv")
    assert result.code == 1
    assert [row["reason"] for row in rows_of(result.out)] == ["no_images"]
    assert len(result.errors) == 1


def test_heic_without_its_extra_is_not_passed_over_and_says_what_to_install(cli, tmp_path, photo, encode, monkeypatch):
    (tmp_path / "phone.heic").write_bytes(encode(Image.open(PORTRAIT), "HEIF"))
    assert [row["reason"] for row in rows_of(cli("analyze", tmp_path, "--format", "csv").out)] == ["", ""]
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    result = cli("analyze", tmp_path, "--format", "csv")
    assert (result.code, result.errors) == (
        0,
        ["warning: 1 of 2 sources could not be read; see the reason in their rows"],
    )
    assert [row["reason"] for row in rows_of(result.out)] == ["unsupported", ""]
    alone = cli("analyze", tmp_path / "phone.heic")
    assert alone.code == 1
    assert "HEIC needs the extra 'heif': pip install 'affectlens[heif]'" in alone.err


def test_a_file_that_the_decoder_refuses_adds_no_lines_of_the_decoder(cli, tmp_path):
    Image.open(PORTRAIT).save(tmp_path / "photo.tiff", compression="tiff_lzw")
    (tmp_path / "photo.tiff").write_bytes((tmp_path / "photo.tiff").read_bytes()[:-1000])
    result = cli("analyze", tmp_path, PORTRAIT, "--format", "csv")
    assert [row["reason"] for row in rows_of(result.out)] == ["truncated", ""]
    assert result.errors == ["warning: 1 of 2 sources could not be read; see the reason in their rows"]


def test_a_photo_that_breaks_off_late_has_its_row_and_a_warning(cli, tmp_path):
    whole = PORTRAIT.read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: int(0.96 * len(whole))])
    result = cli("analyze", tmp_path / "cut.jpg", "--format", "csv")
    assert (result.code, [row["reason"] for row in rows_of(result.out)]) == (0, [""])
    assert result.errors == [
        f"warning: {tmp_path / 'cut.jpg'}: the file is truncated; the part that could be decoded was analyzed"
    ]


@pytest.mark.parametrize("name", ["a[1].jpg", "[red].jpg", "two\nlines.jpg", "a,b.jpg", 'say "hi".jpg'])
@pytest.mark.parametrize("format", ["csv", "table"])
def test_odd_file_names_pass_through_every_format(cli, tmp_path, monkeypatch, name, format):
    monkeypatch.chdir(tmp_path)
    shutil.copy(PORTRAIT, name)
    result = cli("analyze", name, "--format", format)
    assert (result.code, result.err) == (0, "")
    if format == "csv":
        assert [row["source"] for row in rows_of(result.out)] == [name]
    else:
        assert "happiness" in result.out
        assert visible(name) in result.out


def test_a_name_in_a_csv_is_a_formula_only_if_raw(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"=1+1.jpg": "'=1+1.jpg", "@x.jpg": "'@x.jpg", "-x.jpg": "'-x.jpg", "'=x.jpg": "''=x.jpg"}
    names |= {name: name for name in ("a\rb.jpg", "a;b.jpg", "'x.jpg")}
    for name in names:
        shutil.copy(PORTRAIT, name)
    for options, cells in (((), set(names.values())), (("--raw",), set(names))):
        result = cli("analyze", ".", "--out", "a.csv", "--detector", "whole", *options)
        assert (result.code, result.err) == (0, "")
        assert {row["source"] for row in rows_of((tmp_path / "a.csv").read_bytes().decode())} == cells


@pytest.mark.parametrize("format", ["table", "jsonl", "parquet"])
def test_raw_is_for_csv(cli, tmp_path, format):
    result = cli("analyze", PORTRAIT, "--format", format, "--out", tmp_path / "a", "--raw")
    assert (result.code, result.err) == (1, f"error: --raw requires --format csv, got {format}\n")


def test_no_name_controls_the_terminal_in_a_table_or_a_warning(cli, tmp_path):
    shutil.copy(PORTRAIT, tmp_path / "\x1b]0;pwn\x07\r\n\u202eok.jpg")
    late = PORTRAIT.read_bytes()
    (tmp_path / "\x9b2J.jpg").write_bytes(late[: len(late) * 19 // 20])
    result = cli("analyze", tmp_path, "--detector", "whole")
    assert result.code == 0
    assert r"\x1b]0;pwn\x07\r\n\u202eok.jpg" in "".join(result.out.split())
    assert r"\x9b2J.jpg: " in result.err
    assert not any(one in result.out + result.err for one in "\x1b\x07\x9b\r\u202e")


# Pictures


def test_the_same_stem_twice_gets_a_number(cli, tmp_path, photo):
    (tmp_path / "b").mkdir()
    shutil.copy(PORTRAIT, tmp_path / "b" / "photo.jpeg")
    shutil.copy(PORTRAIT, tmp_path / "b" / "photo-2.jpg")
    result = cli("analyze", tmp_path, "--annotate", tmp_path / "out", "--format", "csv")
    assert result.code == 0
    pictures = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert pictures == ["photo-2.faces.jpg", "photo-3.faces.jpg", "photo.faces.jpg"]
    assert all(read_image(tmp_path / "out" / name).shape == (512, 512, 3) for name in pictures)


def test_bad_files_have_no_picture(cli, tmp_path, bad_files):
    folder, _ = bad_files
    cli("analyze", folder, PORTRAIT, "--annotate", tmp_path / "out", "--format", "csv")
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["portrait.faces.jpg"]


def test_pictures_drawn_into_the_source_folder_are_not_analyzed_the_next_time(cli, tmp_path, photo):
    (tmp_path / "b").mkdir()
    shutil.copy(PORTRAIT, tmp_path / "b" / "photo.jpg")
    for _ in range(3):
        result = cli("analyze", tmp_path, "--annotate", tmp_path, "--format", "csv")
        assert [row["source"] for row in rows_of(result.out)] == [str(photo), str(tmp_path / "b" / "photo.jpg")]
    pictures = sorted(file.name for file in tmp_path.iterdir() if file.is_file())
    assert pictures == ["photo-2.faces.jpg", "photo.faces.jpg", "photo.jpg"]


def test_a_picture_too_large_to_be_drawn_as_jpeg_does_not_lose_the_photos_after_it(cli, tmp_path, photo):
    cv2.imwrite(str(tmp_path / "a wide.png"), np.zeros((8, 70_000, 3), dtype=np.uint8))
    result = cli("analyze", tmp_path, "--annotate", tmp_path / "out", "--format", "csv")
    assert [row["reason"] for row in rows_of(result.out)] == ["no_face", ""]
    assert (tmp_path / "out" / "photo.faces.jpg").is_file()
    assert len(result.errors) <= 1


def test_a_drawn_picture_that_is_named_is_analyzed_and_not_replaced(cli, tmp_path, photo):
    cli("analyze", photo, "--annotate", tmp_path, "--format", "csv")
    drawn = tmp_path / "photo.faces.jpg"
    before = drawn.read_bytes()
    result = cli("analyze", drawn, photo, "--annotate", tmp_path, "--format", "csv")
    assert [row["face"] for row in rows_of(result.out)] == ["0", "0"]
    assert drawn.read_bytes() == before
    assert (tmp_path / "photo-2.faces.jpg").is_file()


def test_pictures_written_beside_the_photos_never_replace_them(cli, tmp_path, photo):
    before = photo.read_bytes()
    cli("analyze", photo, "--annotate", tmp_path, "--format", "csv")
    assert photo.read_bytes() == before


# Settings


def test_the_whole_image_can_be_the_face(cli):
    (row,) = rows_of(cli("analyze", PORTRAIT, "--detector", "whole", "--format", "csv").out)
    assert (row["x1"], row["x2"], row["score"]) == ("0.0", "512.0", "1.0")


def test_a_larger_smallest_face_leaves_smaller_ones_out(cli):
    result = cli("analyze", PORTRAIT, "--min-face", 400, "--format", "csv")
    assert [row["reason"] for row in rows_of(result.out)] == ["no_face"]


def test_a_model_of_ones_own_brings_its_columns(cli, tmp_path, write_model):
    result = cli("analyze", PORTRAIT, "--model", write_model(tmp_path / "tiny.onnx"), "--format", "csv")
    (row,) = rows_of(result.out)
    assert [name for name in row if name.startswith("p_")] == ["p_calm", "p_excited"]
    assert (row["model"], row["valence"], row["va_source"]) == ("tiny", "", "")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--detector", "mtcn"], "did you mean 'mtcnn'?"),
        (["--detector", "yunet"], "yunet:FILE"),
        (["--detector", "yunet:nowhere.onnx"], "nowhere.onnx"),
        (["--min-face", "5"], "at least 12"),
        (["--model", "nowhere.onnx"], "nowhere.onnx"),
        (["--model", str(PORTRAIT)], "portrait.jpg"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_wrong_setting_is_one_line_and_exits_1(cli, options, named):
    result = cli("analyze", PORTRAIT, *options)
    assert (result.code, result.out) == (1, "")
    assert len(result.errors) == 1
    assert result.err.startswith("error: ")
    assert named in result.err


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "def build(file, schema): return id",
            "build of the writer 'new' must return a context manager, got builtin_",
        ),
        (
            "from contextlib import contextmanager\n@contextmanager\ndef build(file, schema): yield",
            "the writer 'new' must yield a function of an Analysis, got NoneType",
        ),
        (
            "from contextlib import contextmanager\n@contextmanager\ndef build(file, schema): return iter(())",
            "the writer 'new' cannot begin: RuntimeError: generator didn't yield",
        ),
        (
            "def build(file): ...",
            "must define build(file, schema, ...), with defaults for further parameters; got build(file)",
        ),
    ],
)
def test_a_writer_that_is_none_is_one_line(cli, contribute, tmp_path, monkeypatch, code, message):
    contribute("runtime.writers", "new", code)
    monkeypatch.setattr(analyze, "FORMATS", (*analyze.FORMATS, "new"))
    result = cli("analyze", PORTRAIT, "--out", tmp_path / "rows.new")
    assert (result.code, len(result.errors)) == (1, 1)
    assert message in result.err


def test_offline_refuses_the_network_from_then_on():
    code = f"""
import socket, sys
sys.argv = ["affectlens", "analyze", {str(PORTRAIT)!r}, "--offline"]
from affectlens.apps.cli.main import main
try:
    main()
except SystemExit as done:
    assert not done.code
try:
    socket.create_connection(("127.0.0.1", 9), timeout=1)
except Exception as error:
    print(type(error).__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "NetworkRefused"


def test_a_picture_that_cannot_be_written_does_not_lose_the_rows_after_it(cli, tmp_path):
    long = tmp_path / f"{'x' * 248}.jpg"
    shutil.copy(PORTRAIT, long)
    result = cli("analyze", long, PORTRAIT, "--format", "csv", "--annotate", tmp_path / "drawn")
    assert result.code == 0
    assert [row["face"] for row in rows_of(result.out)] == ["0", "0"]
    assert len(result.errors) == 1
    assert [path.name for path in (tmp_path / "drawn").iterdir()] == ["portrait.faces.jpg"]


def test_a_home_folder_that_does_not_exist_is_a_row(cli):
    result = cli("analyze", "~nobody-of-this-name/x.jpg", PORTRAIT, "--format", "csv")
    assert [row["reason"] for row in rows_of(result.out)] == ["missing", ""]


def test_out_does_not_overwrite_a_photo_by_another_way_to_it(cli, tmp_path):
    photo = tmp_path / "p.jpg"
    shutil.copy(PORTRAIT, photo)
    (tmp_path / "sub").mkdir()
    result = cli("analyze", photo, "--format", "csv", "--out", tmp_path / "sub" / ".." / "p.jpg")
    assert result.code == 1
    assert photo.read_bytes() == PORTRAIT.read_bytes()
