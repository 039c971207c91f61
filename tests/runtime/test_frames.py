import json
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import affectlens
from affectlens import Analysis, Analyzer, Column, Kind, Measure, Reason
from affectlens.core import catalog
from affectlens.core.errors import BadData, BadSetting, MissingExtra
from affectlens.core.headers import all_measures
from affectlens.runtime.frames import read_table, to_pandas
from affectlens.runtime.writers import parquet as parquet_format

LABELS = ("neutral", "happiness")


@pytest.fixture
def found(make_face):
    return Analysis("a.jpg", "m", LABELS, (make_face(score=0.5), make_face(score=0.9, uncertain=True)))


@pytest.fixture
def nothing():
    return Analysis("b.jpg", "m", LABELS, reason=Reason.NO_FACE)


def test_the_root_offers_both():
    assert affectlens.to_pandas is to_pandas
    assert affectlens.read_table is read_table


def test_types_are_those_of_the_columns_whatever_the_cells_hold(found, nothing):
    parts = [found.to_pandas(), nothing.to_pandas()]
    for frame in (*parts, to_pandas([nothing, found]), pd.concat(parts)):
        types = {name: str(kind) for name, kind in frame.dtypes.items()}
        assert types["face"] == types["frame"] == types["track"] == "Int64"
        assert types["uncertain"] == "boolean"
        assert types["expression"] == types["reason"] == types["va_source"] == "category"
        assert types["source"] == types["model"] == types["quality"] == "string"
        assert {types[name] for name in ("time_s", "x1", "score", "valence", "p_neutral")} == {"float64"}
        assert list(frame["expression"].cat.categories) == list(LABELS)


def test_frames_with_and_without_faces_compute_when_joined(found, nothing):
    frame = pd.concat([nothing.to_pandas(), found.to_pandas()], ignore_index=True)
    assert frame.nlargest(1, "score")["score"].tolist() == [0.9]
    assert frame.round(0)["valence"].dropna().tolist() == [1.0, 1.0]
    assert frame[~frame.uncertain]["score"].tolist() == [0.5]
    assert frame.describe().loc["count", "score"] == 2
    assert frame["face"].isna().tolist() == [True, False, False]
    assert frame.groupby("expression", observed=False)["score"].mean().tolist()[1] == pytest.approx(0.7)


def test_several_analyses_make_one_table_in_their_order(found, nothing):
    frame = to_pandas([found, nothing, found])
    assert frame["source"].tolist() == ["a.jpg", "a.jpg", "b.jpg", "a.jpg", "a.jpg"]
    assert tuple(frame.columns) == found.schema.names


def test_one_analysis_makes_a_table_too(found):
    pd.testing.assert_frame_equal(to_pandas(found), to_pandas([found]))


def test_no_analysis_and_other_columns_are_refused(found):
    with pytest.raises(BadSetting, match="at least one analysis"):
        to_pandas([])
    with pytest.raises(BadSetting, match="different columns"):
        to_pandas([found, Analysis("b", "m", ("x", "y"), reason=Reason.NO_FACE)])


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_tables_come_back_with_values_and_types(found, nothing, make_face, tmp_path, format):
    pose = {"pose": {"yaw_deg": 12.34, "pitch_deg": float("nan"), "roll_deg": -3.0}}
    measures = all_measures()
    analyses = [
        Analysis(a.source, "m", LABELS, a.faces, a.reason, measures=measures)
        for a in (nothing, found, Analysis("12", "m", LABELS, (make_face(measures=pose, track=4),)))
    ]
    file = tmp_path / f"a.{format}"
    with catalog.load("runtime.writers", format).build(file, analyses[0].schema) as write:
        for analysis in analyses:
            write(analysis)
    pd.testing.assert_frame_equal(read_table(str(file)), to_pandas(analyses))
    assert read_table(file)["yaw_deg"].dropna().tolist() == [12.3]


def test_columns_that_are_not_known_stay_as_they_are_found(found, tmp_path):
    frame = found.to_pandas().assign(group=["a", "b"], number=[1, 2])
    frame.to_parquet(tmp_path / "a.parquet")
    again = read_table(tmp_path / "a.parquet")
    assert again["group"].tolist() == ["a", "b"]
    assert again["number"].dtype == np.int64


def test_parquet_says_the_types_of_a_measure_that_is_not_installed(portrait, tmp_path):
    columns = (
        Column("blinks", Kind.INTEGER, "so far", unit="blinks"),
        Column("asleep", Kind.BOOLEAN, ""),
        Column("hair", Kind.CATEGORY, "", categories=("dark", "fair")),
        Column("room", Kind.TEXT, ""),
    )
    said = {"blinks": 3, "asleep": False, "hair": "dark", "room": "007"}
    analysis = Analyzer(measures=[Measure("own", columns, lambda face: said)]).analyze(portrait)
    file = tmp_path / "a.parquet"
    with parquet_format.build(file, analysis.schema) as write:
        write(analysis)
        write(replace(analysis, faces=()))
    again = read_table(file)
    assert [str(again[name].dtype) for name in said] == ["Int64", "boolean", "category", "string"]
    assert again.loc[0, list(said)].to_dict() == said
    assert again.loc[1, list(said)].isna().all()


def test_sources_make_a_table_and_what_is_no_analysis_is_refused(analyzer, portrait, tmp_path):
    analyzer.analyze(portrait).save(tmp_path / "a.png")
    analyzer.analyze(portrait).save(tmp_path / "b.png")
    table = to_pandas(affectlens.analyses_of(analyzer, tmp_path))
    assert list(table.source) == [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    for wrong in ("photo.jpg", ["photo.jpg"], 3):
        with pytest.raises(BadSetting, match=r"expected analyses, .* got (str|int)"):
            to_pandas(wrong)


def test_a_table_without_faces_keeps_its_types(nothing, tmp_path):
    with catalog.load("runtime.writers", "csv").build(tmp_path / "a.csv", nothing.schema) as write:
        write(nothing)
    pd.testing.assert_frame_equal(read_table(tmp_path / "a.csv"), nothing.to_pandas())


def test_values_of_newer_versions_and_odd_names_are_kept(found, tmp_path):
    frame = found.to_pandas().astype({"reason": "string", "va_source": "string"})
    frame.loc[0, ["source", "reason", "va_source"]] = ["null", "from_the_future", "guessed"]
    frame.loc[1, "source"] = "NA"
    frame.to_csv(tmp_path / "a.csv", index=False)
    again = read_table(tmp_path / "a.csv")
    assert again["source"].tolist() == ["null", "NA"]
    assert again["reason"].cat.categories[-1] == "from_the_future"
    assert (again["reason"][0], again["va_source"].tolist()) == ("from_the_future", ["guessed", "projected"])
    assert again["uncertain"].tolist() == [False, True]


def test_a_table_of_an_older_version_gains_no_columns(found, tmp_path):
    lines = [{key: value for key, value in row.items() if key != "incomplete"} for row in found.to_rows()]
    (tmp_path / "a.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert list(read_table(tmp_path / "a.jsonl").columns) == list(lines[0])


def test_other_files_are_refused_in_one_line(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    with pytest.raises(BadData, match="is not a table of 'affectlens analyze'"):
        read_table(tmp_path / "a.csv")
    for text in ("Dear diary\n", "[1, 2]\n", ""):
        (tmp_path / "b.jsonl").write_text(text)
        with pytest.raises(BadData, match="first line is not a JSON object"):
            read_table(tmp_path / "b.jsonl")
    with pytest.raises(BadSetting, match=r"\.parquet, \.csv or \.jsonl"):
        read_table(tmp_path / "a.xlsx")
    with pytest.raises(FileNotFoundError):
        read_table(tmp_path / "none.csv")


@pytest.mark.parametrize(("package", "extra"), [("pandas", "pandas"), ("pyarrow", "parquet")])
def test_without_a_package_its_extra_is_named(monkeypatch, tmp_path, package, extra):
    (tmp_path / "a.csv").write_text("source\n")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=rf"affectlens\[{extra}\]"):
        read_table(tmp_path / "a.csv")


NAMES = [
    "a\rb.jpg",
    "a\r\nb.jpg",
    "=1+1.jpg",
    "'=1.jpg",
    "''@x",
    "\tq.jpg",
    "-1",
    "a;b,c.jpg",
    "\x1b[2J.jpg",
    "\u202egpj.jpg",
]


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_names_and_labels_of_others_come_back_exactly(make_face, tmp_path, format):
    labels = ("=cmd|' /C calc'!A0", "a;b\r", "-1")
    face = make_face({labels[0]: 0.7, labels[1]: 0.2, labels[2]: 0.1}, valence=-0.5)
    analyses = [Analysis(name, "-m", labels, (face,)) for name in NAMES]
    file = tmp_path / f"a.{format}"
    with catalog.load("runtime.writers", format).build(file, analyses[0].schema) as write:
        for analysis in analyses:
            write(analysis)
    pd.testing.assert_frame_equal(read_table(file), to_pandas(analyses))


def test_line_breaks_in_names_hold_over_the_blocks_of_a_large_file(tmp_path):
    names = [f"{'a' * 300}{end}{number}.jpg" for number in range(4000) for end in ("\r", "\n", "\r\n")]
    with catalog.load("runtime.writers", "csv").build(tmp_path / "a.csv", Analysis("", "m", LABELS).schema) as write:
        for name in names:
            write(Analysis(name, "m", LABELS, reason=Reason.NO_FACE))
    assert (tmp_path / "a.csv").stat().st_size > 3 * 2**20
    assert read_table(tmp_path / "a.csv")["source"].tolist() == names
