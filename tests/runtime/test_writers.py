import contextlib
import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from affectlens import Analysis, Reason
from affectlens.core import catalog
from affectlens.core.columns import Schema
from affectlens.core.csv_lines import text_of
from affectlens.core.errors import BadSetting, MissingExtra
from affectlens.core.messages import visible
from affectlens.runtime.writers import csv as csv_format
from affectlens.runtime.writers import parquet as parquet_format

LABELS = ("neutral", "happiness")
SOURCES = [
    "plain.jpg",
    "two\nlines.jpg",
    "a,b.jpg",
    'a "quoted" name.jpg',
    "été 😀.jpg",
    " spaces ",
    "",
    "a\r\nb",
    "a\rb",
    *("=1+1.jpg", "@SUM(1).jpg", "-1+2.jpg", "+3.jpg", "\t=1.jpg", "'=1.jpg"),
]


def written(format, *analyses, **options):
    stream = io.StringIO(newline="")
    with (
        contextlib.redirect_stdout(stream),
        catalog.build("runtime.writers", format, None, Schema(LABELS), options=options) as write,
    ):
        for analysis in analyses:
            write(analysis)
    return stream.getvalue()


def read_csv(text):
    return list(csv.DictReader(io.StringIO(text, newline="")))


def read_jsonl(text):
    return [json.loads(line, parse_constant=pytest.fail) for line in text.splitlines()]


@pytest.fixture
def analyses(make_face):
    return [
        Analysis("photo.jpg", "m", LABELS, (make_face(), make_face(uncertain=True))),
        Analysis("bad.jpg", "m", LABELS, reason=Reason.DAMAGED),
        Analysis("own labels", "m", LABELS, (make_face(valence=None, arousal=None, va_source=None),)),
    ]


def test_csv_has_the_header_even_without_rows():
    assert written("csv") == ",".join(Schema(LABELS).names) + "\n"


def test_jsonl_without_rows_is_empty():
    assert written("jsonl") == ""


def test_csv_reads_back_as_the_rows(analyses):
    rows = [row for analysis in analyses for row in analysis.to_rows()]
    cells = [{key: "" if value is None else str(value) for key, value in row.items()} for row in rows]
    for row in cells:
        row |= {name: row[name].lower() for name in ("uncertain", "incomplete")}
    assert read_csv(written("csv", *analyses)) == cells


def test_jsonl_reads_back_as_the_rows_in_the_order_of_the_columns(analyses):
    rows = read_jsonl(written("jsonl", *analyses))
    assert rows == [row for analysis in analyses for row in analysis.to_rows()]
    assert all(tuple(row) == Schema(LABELS).names for row in rows)


@pytest.mark.parametrize("source", SOURCES)
def test_any_source_name_survives_both_formats(source):
    analysis = Analysis(source, "m", LABELS, reason=Reason.NO_FACE)
    assert [text_of(row["source"]) for row in read_csv(written("csv", analysis))] == [source]
    assert [row["source"] for row in read_csv(written("csv", analysis, raw=True))] == [source]
    assert [row["source"] for row in read_jsonl(written("jsonl", analysis))] == [source]


def test_no_name_and_no_label_of_a_csv_is_a_formula(make_face):
    label = "=cmd|' /C calc'!A0"
    analysis = Analysis("=1+1.jpg", "-m", LABELS, (make_face({label: 0.75, "b": 0.25}, valence=-0.5),))
    (row,) = read_csv(written("csv", analysis))
    assert [row[name] for name in ("source", "expression", "model")] == ["'=1+1.jpg", f"'{label}", "'-m"]
    assert row["valence"] == "-0.5"
    (row,) = read_csv(written("csv", analysis, raw=True))
    assert [row[name] for name in ("source", "expression", "model")] == ["=1+1.jpg", label, "-m"]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("name", ["\x1b]0;pwn\x07.jpg", "\x9b2J.jpg", "\u202egpj.exe", "two\r\nlines.jpg"])
def test_no_row_on_standard_output_controls_the_terminal(name):
    analysis = Analysis(name, "m", LABELS, reason=Reason.NO_FACE)
    (line,) = written("jsonl", analysis).splitlines()
    assert visible(line) == line
    stream = Terminal(newline="")
    with contextlib.redirect_stdout(stream), csv_format.build(None, Schema(LABELS)) as write:
        write(analysis)
    _, line = stream.getvalue().splitlines()
    assert visible(line) == line
    assert line.startswith((visible(name), f'"{visible(name)}"'))


@pytest.mark.slow
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=1, max_size=5))
def test_each_analysis_stays_one_row_whatever_its_name(sources):
    analyses = [Analysis(source, "m", LABELS, reason=Reason.MISSING) for source in sources]
    assert [text_of(row["source"]) for row in read_csv(written("csv", *analyses))] == sources
    assert [json.loads(line)["source"] for line in written("jsonl", *analyses).split("\n")[:-1]] == sources


def test_jsonl_keeps_letters_of_every_script_readable():
    assert "été 😀" in written("jsonl", Analysis("été 😀", "m", LABELS, reason=Reason.NO_FACE))


def test_parquet_reads_back_as_the_rows_with_types_of_its_own(analyses, tmp_path):
    with parquet_format.build(tmp_path / "a.parquet", Schema(LABELS)) as write:
        for analysis in analyses:
            write(analysis)
    table = parquet.read_table(tmp_path / "a.parquet")
    assert table.to_pylist() == [row for analysis in analyses for row in analysis.to_rows()]
    assert [str(table.schema.field(name).type) for name in ("source", "frame", "time_s", "uncertain", "p_neutral")] == [
        "string", "int64", "double", "bool", "double",
    ]  # fmt: skip


def test_parquet_is_whole_where_the_work_breaks_off(analyses, tmp_path):
    def interrupted():
        with parquet_format.build(tmp_path / "a.parquet", Schema(LABELS)) as write:
            for _ in range(3000):
                write(analyses[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert parquet.read_metadata(tmp_path / "a.parquet").num_rows == 6000
    assert parquet.read_metadata(tmp_path / "a.parquet").num_row_groups == 2


def test_until_parquet_is_whole_the_file_of_before_stays(tmp_path, analyses):
    file = tmp_path / "a.parquet"
    file.write_bytes(b"before")
    with parquet_format.build(file, Schema(LABELS)) as write:
        write(analyses[0])
        assert file.read_bytes() == b"before"
    assert parquet.read_metadata(file).num_rows == 2
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


def test_parquet_without_the_package_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with (
        pytest.raises(MissingExtra, match=r"affectlens\[parquet\]"),
        parquet_format.build(tmp_path / "a", Schema(LABELS)),
    ):
        pass


def test_parquet_says_unit_and_meaning_of_its_columns(tmp_path):
    with parquet_format.build(tmp_path / "a.parquet", Schema(LABELS)):
        pass
    field = parquet.read_schema(tmp_path / "a.parquet").field("x1")
    assert field.metadata[b"unit"] == b"px"
    assert field.metadata[b"meaning"].startswith(b"left edge of the box")


def test_parquet_needs_a_file():
    with (
        pytest.raises(BadSetting, match="Parquet cannot be written to the terminal"),
        parquet_format.build(None, Schema(LABELS)),
    ):
        pass
