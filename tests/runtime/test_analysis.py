import json
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from affectlens import Analysis, Reason
from affectlens.core.affect import Face
from affectlens.core.columns import Schema
from affectlens.core.errors import BadSetting, MissingExtra
from affectlens.core.quality import Quality

LABELS = ("neutral", "happiness", "surprise")


def test_a_face_fills_its_row(make_face):
    face = make_face({"neutral": 0.125, "happiness": 0.75, "surprise": 0.125})
    (row,) = Analysis("x.jpg", "m", LABELS, (face,)).to_rows()
    assert row == {
        "source": "x.jpg",
        "frame": None,
        "time_s": None,
        "face": 0,
        "track": None,
        "x1": 10,
        "y1": 20,
        "x2": 50,
        "y2": 70,
        "score": 0.9,
        "expression": "happiness",
        "uncertain": False,
        "disagreement": 0.5,
        "valence": 0.57,
        "arousal": 0.36,
        "va_source": "projected",
        "quality": None,
        "reason": None,
        "model": "m",
        "p_neutral": 0.125,
        "p_happiness": 0.75,
        "p_surprise": 0.125,
        "incomplete": False,
    }


def test_an_uncertain_face_keeps_its_top_expression(make_face):
    (row,) = Analysis("", "m", ("neutral", "happiness"), (make_face(uncertain=True),)).to_rows()
    assert (row["expression"], row["uncertain"]) == ("happiness", True)


def test_a_face_without_affect_leaves_its_cells_empty(make_face):
    face = make_face(valence=None, arousal=None, va_source=None)
    (row,) = Analysis("", "m", ("neutral", "happiness"), (face,)).to_rows()
    assert (row["valence"], row["arousal"], row["va_source"]) == (None, None, None)


def test_without_a_face_there_is_one_row_with_the_reason_and_nothing_else():
    (row,) = Analysis("x.jpg", "m", LABELS, reason=Reason.TRUNCATED).to_rows()
    filled = {key: value for key, value in row.items() if value is not None}
    assert filled == {"source": "x.jpg", "model": "m", "reason": "truncated", "incomplete": False}
    assert list(row) == list(Schema(LABELS).names)


def test_faces_are_numbered_in_their_order(make_face):
    faces = tuple(make_face(score=score) for score in (0.9, 0.8, 0.7))
    rows = Analysis("", "m", ("neutral", "happiness"), faces).to_rows()
    assert [(row["face"], row["score"]) for row in rows] == [(0, 0.9), (1, 0.8), (2, 0.7)]


@st.composite
def faces(draw):
    weights = np.array(draw(st.lists(st.floats(1e-6, 1), min_size=3, max_size=3)))
    probabilities = dict(zip(LABELS, (weights / weights.sum()).tolist(), strict=True))
    unit = st.floats(0, 1)
    return Face(
        box_xyxy=np.array(draw(st.lists(st.floats(-1e5, 1e5, width=32), min_size=4, max_size=4)), dtype=np.float32),
        landmarks_xy=np.full((5, 2), np.nan, dtype=np.float32),
        score=draw(unit),
        probabilities=probabilities,
        expression=max(probabilities, key=probabilities.get),
        uncertain=draw(st.booleans()),
        disagreement=draw(unit),
        valence=draw(st.none() | st.floats(-1, 1)),
        arousal=draw(st.none() | st.floats(-1, 1)),
        va_source=draw(st.sampled_from([None, "projected"])),
        quality=draw(st.none() | st.builds(Quality, *[st.floats(0, 100)] * 6, *[st.floats(-90, 90)] * 3)),
    )


@pytest.mark.slow
@settings(max_examples=50)
@given(st.lists(faces(), max_size=4), st.text())
def test_any_faces_give_rows_of_plain_values_whose_probabilities_sum_to_one(found, source):
    rows = Analysis(source, "m", LABELS, tuple(found), None if found else Reason.NO_FACE).to_rows()
    assert len(rows) == max(len(found), 1)
    for row in rows:
        assert tuple(row) == Schema(LABELS).names
        assert {type(value) for value in row.values()} <= {str, int, float, bool, type(None)}
        assert json.loads(json.dumps(row, allow_nan=False)) == row
    for row, face in zip(rows, found, strict=False):
        assert sum(row[f"p_{label}"] for label in LABELS) == pytest.approx(1, abs=3e-6)
        assert row[f"p_{face.expression}"] == max(row[f"p_{label}"] for label in LABELS)
        assert [row["x1"], row["y1"], row["x2"], row["y2"]] == pytest.approx(face.box_xyxy.tolist(), abs=0.011)


def test_the_data_frame_has_the_columns_and_rows(make_face):
    analysis = Analysis("x.jpg", "m", ("neutral", "happiness"), (make_face(), make_face()))
    frame = analysis.to_pandas()
    assert isinstance(frame, pd.DataFrame)
    assert tuple(frame.columns) == analysis.schema.names
    assert frame["face"].tolist() == [0, 1]
    assert frame["p_happiness"].tolist() == [0.75, 0.75]


def test_the_data_frame_of_a_bad_source_has_one_row():
    frame = Analysis("x.jpg", "m", LABELS, reason=Reason.MISSING).to_pandas()
    assert frame["reason"].tolist() == ["missing"]


def test_without_pandas_the_message_names_an_extra_that_exists(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtra, match="pandas") as caught:
        Analysis("", "m", LABELS).to_pandas()
    assert caught.value.extra in metadata.metadata("affectlens").get_all("Provides-Extra")


@pytest.mark.parametrize(
    ("name", "format"), [("x.png", "PNG"), ("x.jpg", "JPEG"), ("x.JPEG", "JPEG"), ("x.webp", "WEBP")]
)
@pytest.mark.parametrize("kind", [Path, str])
def test_the_drawn_picture_is_saved_in_the_format_of_its_suffix(analyzer, portrait, tmp_path, name, format, kind):
    analysis = analyzer.analyze(portrait)
    analysis.save(kind(tmp_path / name))
    with Image.open(tmp_path / name) as saved:
        assert saved.format == format
        assert saved.size == (512, 512)
        difference = np.abs(np.asarray(saved.convert("RGB")).astype(int) - analysis.draw())
    assert difference.mean() < (1e-9 if format == "PNG" else 4)


def test_without_an_image_there_is_no_picture_to_save(tmp_path):
    analysis = Analysis("x.jpg", "m", LABELS, reason=Reason.MISSING, detail="no such file or folder")
    with pytest.raises(BadSetting, match=r"no picture to write: missing \(no such file or folder\)"):
        analysis.save(tmp_path / "x.jpg")
    assert not (tmp_path / "x.jpg").exists()


def test_a_picture_in_an_unknown_format_is_refused(tmp_path):
    analysis = Analysis("", "m", LABELS, reason=Reason.NO_FACE, image=np.zeros((9, 9, 3), dtype=np.uint8))
    with pytest.raises(BadSetting, match=r"'\.xyz'"):
        analysis.save(tmp_path / "x.xyz")
