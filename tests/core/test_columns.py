import time
from types import SimpleNamespace

import numpy as np
import pytest

from affectlens import Analysis, Reason
from affectlens.core.affect import Face
from affectlens.core.columns import Column, Kind, Schema
from affectlens.core.errors import BadSetting

FIRST = [
    *("source", "frame", "time_s", "face", "track", "x1", "y1", "x2", "y2", "score", "expression", "uncertain"),
    *("disagreement", "valence", "arousal", "va_source", "quality", "reason", "model"),
]
EXTRA = Column("yaw_deg", Kind.REAL, "how it is turned", ("face", "measures", "pose", "yaw_deg"), "deg", 1)


def column(kind, *path, **more):
    return Column("x", kind, "", path, **more)


def test_the_columns_and_their_order_are_fixed():
    assert list(Schema(()).names) == [*FIRST, "incomplete"]


def test_probabilities_follow_in_the_order_of_the_labels_and_measures_after_them():
    assert list(Schema(("b", "a"), (EXTRA,)).names) == [*FIRST, "p_b", "p_a", "incomplete", "yaw_deg"]


def test_every_column_says_what_it_holds():
    for found in Schema(("a",), (EXTRA,)).columns:
        assert found.meaning
        assert bool(found.categories) == (found.kind is Kind.CATEGORY)


def test_every_column_leads_to_something_that_a_full_face_has(make_face):
    face = make_face({"neutral": 0.25, "happiness": 0.75}, track=3, quality=SimpleNamespace(code="ok"))
    analysis = Analysis("a", "m", ("neutral", "happiness"), (face,), Reason.NO_FACE, frame=1, time_s=0.5)
    (row,) = Schema(analysis.labels).rows(analysis, analysis.faces)
    assert None not in row.values()
    kinds = {found.name: found.kind for found in Schema(analysis.labels).columns}
    assert {name: type(value) for name, value in row.items()} == {name: kind.python for name, kind in kinds.items()}


def test_two_columns_of_one_name_are_refused():
    with pytest.raises(BadSetting, match="two columns are named 'score'"):
        Schema((), (Column("score", Kind.REAL, "", ("face", "score")),))


@pytest.mark.parametrize(
    ("kind", "value", "cell"),
    [
        (Kind.REAL, 0.123456, 0.1235),
        (Kind.REAL, np.float32(0.5), 0.5),
        (Kind.REAL, float("nan"), None),
        (Kind.REAL, float("inf"), None),
        (Kind.REAL, None, None),
        (Kind.INTEGER, np.int64(7), 7),
        (Kind.BOOLEAN, np.True_, True),
        (Kind.TEXT, "a", "a"),
        (Kind.CATEGORY, Reason.NO_FACE, "no_face"),
    ],
)
def test_a_cell_is_a_plain_value_or_empty(kind, value, cell):
    found = column(kind, "face", "it").cell(None, 0, SimpleNamespace(it=value))
    assert found == cell
    assert type(found) is type(cell)


def test_a_path_goes_through_attributes_entries_and_elements():
    face = SimpleNamespace(points={"eye": np.array([3.0, 4.0])}, none=None)
    assert column(Kind.REAL, "face", "points", "eye", "1").cell(None, 0, face) == 4
    assert column(Kind.REAL, "face", "points", "nose", "1").cell(None, 0, face) is None
    assert column(Kind.REAL, "face", "none", "deeper").cell(None, 0, face) is None
    assert column(Kind.REAL, "face", "points").cell(None, None, None) is None
    assert column(Kind.INTEGER, "place").cell(None, 2, face) == 2
    assert column(Kind.TEXT, "frame", "none").cell(face, 0, None) is None


def test_rows_of_a_frame_without_a_face_have_its_facts_alone():
    analysis = Analysis("a", "m", ("x", "y"), reason=Reason.DAMAGED, frame=2, time_s=0.25)
    (row,) = Schema(("x", "y"), (EXTRA,)).rows(analysis, ())
    filled = {name: value for name, value in row.items() if value is not None}
    facts = {"source": "a", "model": "m", "reason": "damaged", "frame": 2, "time_s": 0.25, "incomplete": False}
    assert filled == facts


def test_a_header_tells_labels_and_the_extra_columns_that_it_has():
    other = Column("other", Kind.TEXT, "", ("face", "other"))
    schema = Schema.of_names(["source", "p_b", "p_a", "yaw_deg", "mine"], (EXTRA, other))
    assert schema == Schema(("b", "a"), (EXTRA,))


def test_a_number_is_shown_as_its_column_says():
    assert Schema(())["valence"].shown(-0.0001) == "+0.00"
    assert Schema(())["valence"].shown(None) == ""
    assert Schema(())["va_source"].shown("projected") == "projected"


def test_every_scalar_of_an_analysis_is_a_column():
    reached = {found.path[1] for found in Schema(()).columns if found.path[0] == "frame"}
    assert set(Analysis.__dataclass_fields__) == reached | {"labels", "faces", "detail", "image", "measures"}


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        (
            {"kind": "float"},
            "the kind of the column 'a' must be one of text, category, integer, boolean, real, got 'float'",
        ),
        ({"digits": 2.5}, "digits of the column 'a' must be an integer >= 0, got 2.5"),
        ({"digits": -2}, "digits of the column 'a' must be an integer >= 0, got -2"),
    ],
)
def test_a_column_that_cannot_be_is_refused(facts, message):
    with pytest.raises(BadSetting) as caught:
        Column(**{"name": "a", "kind": "real", "meaning": ""} | facts)
    assert str(caught.value) == message
    assert Column("a", "real", "").kind is Kind.REAL


def test_names_that_differ_in_their_case_alone_are_the_same():
    with pytest.raises(BadSetting, match="two columns are named 'score'"):
        Schema((), (Column("SCORE", Kind.REAL, ""),))


def test_many_columns_are_compared_quickly():
    began = time.perf_counter()
    Schema(tuple(f"label {i}" for i in range(40_000)))
    assert time.perf_counter() - began < 5  # each with each: half a minute


def test_every_scalar_of_a_face_is_a_column():
    """What is added to `Face` as a number, word or truth value stands in the rows, too."""
    reached = {found.path[1] for found in Schema(()).columns if found.path[0] == "face"}
    structured = {"landmarks_xy", "probabilities", "explanation", "smoothed", "measures"}
    assert set(Face.__dataclass_fields__) == reached | structured
