"""Measures as plug-ins: one that a package from outside brings stands wherever those of the package do."""

import csv
import json
from dataclasses import dataclass

import numpy as np
import pytest
from pyarrow import parquet

from affectlens import Analyzer, BatchAnalyzer, read_table
from affectlens.core import catalog, messages
from affectlens.core.columns import Column, Kind
from affectlens.core.errors import BadSetting, UnknownName
from affectlens.core.measures import Measure
from affectlens.faces.measures import pose
from affectlens.runtime.media import PORTRAIT

POSE = ("yaw_deg", "pitch_deg", "roll_deg")


def test_without_plug_ins_there_is_the_pose(analyzer):
    assert "pose" in catalog.available("faces.measures")
    assert set(POSE) <= set(analyzer.schema.names)
    assert Analyzer(measures=["pose"]).schema.names[-3:] == POSE


def test_measures_can_be_left_out_chosen_and_given(portrait):
    assert Analyzer(measures=()).schema.extra == ()
    (face,) = Analyzer(measures=()).analyze(portrait).faces
    assert face.measures == {}
    own = Measure("width", (Column("width_px", Kind.REAL, "of the box", (), "px", 0),), lambda face: {"width_px": 3.2})
    both = Analyzer(measures=["pose", own])
    assert both.schema.names[-4:] == (*POSE, "width_px")
    (row,) = both.analyze(portrait).to_rows()
    assert row["width_px"] == 3


@pytest.mark.parametrize(
    ("measures", "error", "message"),
    [
        (["poze"], UnknownName, "unknown measure 'poze'; did you mean 'pose'?"),
        ("pose", BadSetting, "measures must be a list, for example ['pose']"),
        (pose.build(), BadSetting, "measures must be a list, got the single measure 'pose'"),
        ([len], BadSetting, "measures must be names or affectlens.Measure objects, got builtin_function_or_method"),
        (["pose", pose.build()], BadSetting, "two measures have the name 'pose'"),
        ([Measure("m", (Column("score", Kind.REAL, "", ()),))], BadSetting, "two columns are named 'score'"),
        ([Measure("m", (Column("x", Kind.REAL, "", ()),), needs=("mesh",))], BadSetting, "needs 'mesh'"),
    ],
)
def test_measures_that_cannot_be_are_refused(measures, error, message):
    with pytest.raises(error) as caught:
        Analyzer(measures=measures)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("x", {"needs": "crop"}, "needs of 'm' must be a list, such as ['crop']"),
        ("x", {"measure": 3}, "measure of 'm' must be a function, got int"),
        ("x", {"time_constant_s": "0.5"}, "time_constant_s of 'm' must be >= 0, got '0.5'"),
        ("x", {"time_constant_s": float("nan")}, "time_constant_s of 'm' must be >= 0, got nan"),
        (
            "x",
            {"columns": Column("x", Kind.REAL, "")},
            "columns of 'm' must be a list of affectlens.Column, such as (column,)",
        ),
        ("x", {"columns": ("x",)}, "columns of 'm' must be a list of affectlens.Column, such as (column,)"),
        (
            "x",
            {"name": "my measure"},
            "the name of a measure must be an identifier, such as mouth_open, got 'my measure'",
        ),
        ("mouth-open", {}, "the name of a column must be an identifier, such as mouth_open; 'm' has 'mouth-open'"),
        ("share", {}, "the measure 'm' has a column 'share', which is a reserved name (name, faces, share, "),
        ("n_blinks", {}, "the measure 'm' has a column 'n_blinks', which is a reserved name ("),
        ("p_anger", {}, "the measure 'm' has a column 'p_anger', which is a reserved name ("),
    ],
)
def test_what_is_no_measure_is_refused_when_it_is_made(name, changes, message):
    with pytest.raises(BadSetting) as caught:
        Measure(**{"name": "m", "columns": (Column(name, Kind.REAL, ""),)} | changes)
    assert str(caught.value).startswith(message)


def test_lists_and_objects_that_are_called_make_a_measure_too(portrait):
    @dataclass
    class Width:
        times: float

        def __call__(self, face):
            return {"width": self.times * float(face.box_xyxy[2] - face.box_xyxy[0])}

    analyzer = Analyzer(measures=[Measure("m", (Column("width", Kind.REAL, ""),), Width(2.0), needs=["crop"])])
    (row,) = analyzer.analyze(portrait).to_rows()
    assert row["width"] == pytest.approx(2 * (row["x2"] - row["x1"]), abs=0.1)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("", "measure 'broken' of the package 'madeup' must define build(...): it is missing"),
        ("import nowhere", "measure 'broken' of the package 'madeup' cannot be loaded: ModuleNotFoundError: "),
        (
            "def build():\n    return 3",
            "the installed measure 'broken' must be an affectlens.Measure, got int",
        ),
        (
            "from affectlens.faces.measures.pose import build",
            "the installed measure 'broken' calls itself 'pose'; the names must agree",
        ),
    ],
)
def test_an_installed_one_that_cannot_be_made_is_named_and_tables_are_read_without_it(
    install, code, message, portrait, tmp_path, caplog
):
    rows = Analyzer(measures=["pose"]).analyze(portrait).to_pandas()
    rows.to_csv(tmp_path / "rows.csv", index=False)
    install("faces.measures", "broken", code)
    with pytest.raises(BadSetting) as caught:
        Analyzer()
    assert str(caught.value).startswith(message)
    messages.warn_once.cache_clear()
    assert list(read_table(tmp_path / "rows.csv").columns) == list(rows.columns)
    assert any(line.startswith(message) for line in caplog.messages)


@pytest.mark.parametrize(("need", "warnings"), [("attributes", 0), ("landmark", 1)])
def test_one_whose_needs_are_not_met_is_left_out_with_a_warning_where_nothing_meets_them(
    made_up_measure, tmp_path, caplog, need, warnings
):
    messages.warn_once.cache_clear()
    plugin = tmp_path / "site" / "madeup_gloss.py"
    plugin.write_text(plugin.read_text().replace('needs=("crop",)', f'needs=("{need}",)'))
    assert Analyzer().schema.names[-3:] == POSE
    assert Analyzer().schema.names[-3:] == POSE
    assert [line.startswith(f"the measure 'gloss' is skipped: it needs '{need}'") for line in caplog.messages] == [
        True
    ] * warnings


def test_a_measure_from_outside_is_in_rows_frames_and_tables(made_up_measure, portrait, tmp_path):
    analyzer = Analyzer()
    analysis = analyzer.analyze(portrait, "portrait")
    (row,) = analysis.to_rows()
    assert tuple(row)[-6:] == (*POSE, *made_up_measure)
    assert 0.3 < row["gloss"] < 0.9
    assert (row["glossy"], row["gloss_frames"]) == (row["gloss"] > 0.5, None)
    frame = analysis.to_pandas()
    assert [str(frame[name].dtype) for name in made_up_measure] == ["float64", "boolean", "Int64"]
    for suffix in ("csv", "jsonl", "parquet"):
        file = tmp_path / f"faces.{suffix}"
        with catalog.load("runtime.writers", suffix).build(file, analyzer.schema) as write:
            write(analysis)
        assert read_table(file).equals(frame)
    assert next(csv.reader((tmp_path / "faces.csv").read_text().splitlines()))[-6:] == [*POSE, *made_up_measure]
    assert json.loads((tmp_path / "faces.jsonl").read_text())["gloss"] == row["gloss"]
    assert parquet.read_table(tmp_path / "faces.parquet")["gloss"].to_pylist() == [row["gloss"]]
    assert BatchAnalyzer()({"image": [PORTRAIT]})["gloss"].to_pylist() == [row["gloss"]]


def test_it_is_drawn_followed_and_smoothed(made_up_measure, portrait, make_video, tmp_path):
    plain, drawn = Analyzer(measures=()).analyze(portrait).draw(), Analyzer().analyze(portrait).draw()
    changed = np.argwhere((plain != drawn).any(axis=2))
    assert len(changed) == 64
    clip = make_video(tmp_path / "clip.mp4", [portrait, (portrait * 0.5).astype(np.uint8), portrait], fps=10)
    first, second, _ = Analyzer().video(clip)
    (a,), (b,) = first.faces, second.faces
    assert [row["gloss_frames"] for analysis in (first, second) for row in analysis.to_rows()] == [1, 2]
    before, now = a.measures["gloss"]["gloss"], b.measures["gloss"]["gloss"]
    gain = 1 - np.exp(-0.1 / 0.5)
    assert b.smoothed.measures["gloss"]["gloss"] == pytest.approx(before + gain * (now - before), abs=1e-6)


X = Column("x", Kind.REAL, "", ())


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (lambda face: {"x": 1 / 0}, "ZeroDivisionError: division by zero"),
        (lambda face: None, "TypeError: expected a dictionary of columns, got NoneType"),
        (lambda face: {"x": face.landmarks_xy.fill(0)}, "ValueError: assignment destination is read-only"),
        (lambda face: {"x": "wide"}, "TypeError: expected real or None, got 'wide'"),
        (lambda face: {"x": np.zeros(2)}, "TypeError: expected real or None"),
        (lambda face: {"y": 1.0}, "unknown column 'y'; the measure has x"),
    ],
)
def test_a_failing_measure_costs_its_cells_alone_and_is_named_once(portrait, caplog, values, said):
    broken = Analyzer(measures=["pose", Measure("broken", (X,), values)])
    rows = [broken.analyze(portrait).to_rows()[0] for _ in range(2)]
    (sound,) = Analyzer(measures=["pose"]).analyze(portrait).to_rows()
    assert rows == [sound | {"x": None}] * 2
    (warning,) = caplog.messages
    assert warning.startswith("the measure 'broken' failed, so its cells are empty: ")
    assert said in warning


def test_a_failing_history_costs_its_cells_alone(portrait):
    def follow():
        return lambda values, time_s: {"x": 1 / 0}

    with Analyzer(measures=[Measure("history", (X,), lambda face: {"x": 1.0}, follow=follow)]).stream() as stream:
        (row,) = stream.push(portrait).to_rows()
    assert (row["expression"], row["x"]) == ("happiness", None)


def test_a_measure_of_landmarks_is_not_asked_without_any(portrait):
    asked = []
    measure = Measure("m", (X,), lambda face: asked.append(face) or {"x": 1.0}, needs=("landmarks",))
    face = np.ascontiguousarray(portrait[40:190, 170:280])
    (row,) = Analyzer(detector="whole", measures=[measure]).analyze(face).to_rows()
    assert (row["x"], asked) == (None, [])
