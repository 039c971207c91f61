import math

import numpy as np
import pytest

from affectlens.core.columns import Column, Kind
from affectlens.core.errors import BadSetting
from affectlens.core.measures import Measure, MeasureFollower, schema_of

OPEN = Column("open", Kind.REAL, "how open the mouth is", ())
WORD = Column("word", Kind.TEXT, "a word", ())


def test_columns_lead_to_the_values_of_their_measure():
    measure = Measure("mouth", (OPEN, WORD))
    assert [column.path for column in measure.columns] == [
        ("face", "measures", "mouth", "open"), ("face", "measures", "mouth", "word"),
    ]  # fmt: skip
    assert schema_of(("a", "b"), (measure,)).names[-2:] == ("open", "word")


def test_a_measure_says_which_outputs_it_needs():
    assert Measure("mouth", (OPEN,), needs=("crop", "landmarks", "quality", "mesh")).outputs() == ("mesh",)


@pytest.mark.parametrize(
    "changes",
    [
        {"columns": ()},
        {"time_constant_s": -1.0},
        {"columns": (Column("p_calm", Kind.REAL, "", ()),)},
        {"columns": (Column("name", Kind.TEXT, "", ()),)},
        {"columns": (Column("other", Kind.REAL, "", ("face", "score")),)},
    ],
)
def test_a_measure_that_cannot_be_is_refused(changes):
    with pytest.raises(BadSetting, match="'mouth'"):
        Measure(**({"name": "mouth", "columns": (OPEN,)} | changes))


def test_numbers_follow_with_the_time_constant_and_words_at_once():
    follower = MeasureFollower((Measure("mouth", (OPEN, WORD), time_constant_s=0.5),))
    follower({"mouth": {"open": 0.0, "word": "shut"}}, 0.0)
    values, shown = follower({"mouth": {"open": 1.0, "word": "open"}}, 0.5)
    assert values == {"mouth": {"open": 1.0, "word": "open"}}
    assert shown["mouth"] == {"open": pytest.approx(1 - math.exp(-1)), "word": "open"}


def test_without_a_time_constant_nothing_is_smoothed():
    follower = MeasureFollower((Measure("mouth", (OPEN,)),))
    follower({"mouth": {"open": 0.0}}, 0.0)
    assert follower({"mouth": {"open": 1.0}}, 0.01)[1] == {"mouth": {"open": 1.0}}


def test_what_is_not_known_in_a_frame_is_shown_as_before():
    follower = MeasureFollower((Measure("mouth", (OPEN,), time_constant_s=0.5),))
    follower({"mouth": {"open": None}}, 0.0)
    assert follower({"mouth": {"open": 0.75}}, 0.1)[1] == {"mouth": {"open": 0.75}}
    assert follower({"mouth": {"open": None}}, 0.2)[1] == {"mouth": {"open": 0.75}}


@pytest.mark.parametrize(
    ("kind", "value", "cell"),
    [
        (Kind.REAL, 1, 1.0),
        (Kind.REAL, np.float32(0.5), 0.5),
        (Kind.REAL, math.nan, None),
        (Kind.REAL, -math.inf, None),
        (Kind.INTEGER, np.int64(3), 3),
        (Kind.INTEGER, 3.0, 3),
        (Kind.INTEGER, math.nan, None),
        (Kind.BOOLEAN, np.True_, True),
        (Kind.BOOLEAN, math.nan, None),
        (Kind.TEXT, "a", "a"),
        (Kind.TEXT, math.nan, None),
        (Kind.CATEGORY, None, None),
    ],
)
def test_values_become_plain_cells(kind, value, cell):
    found = kind.checked(value)
    assert found == cell
    assert type(found) is type(cell)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Kind.REAL, "1.0"),
        (Kind.REAL, True),
        (Kind.REAL, np.zeros(1)),
        (Kind.INTEGER, 2.7),
        (Kind.INTEGER, False),
        (Kind.BOOLEAN, 1),
        (Kind.BOOLEAN, "false"),
        (Kind.TEXT, 5),
    ],
)
def test_values_of_another_kind_are_refused(kind, value):
    with pytest.raises(TypeError, match=f"expected {kind} or None"):
        kind.checked(value)


def test_history_adds_to_the_rows_and_each_track_has_its_own():
    def counting():
        seen = []

        def follow(values, time_s):
            seen.append(time_s)
            return {**values, "word": f"{len(seen)} frames until {time_s}"}

        return follow

    measures = (Measure("mouth", (OPEN, WORD), follow=counting),)
    one, other = MeasureFollower(measures), MeasureFollower(measures)
    one({"mouth": {"open": 0.0}}, 0.0)
    assert one({"mouth": {"open": 0.0}}, 0.5)[0]["mouth"]["word"] == "2 frames until 0.5"
    assert other({"mouth": {"open": 0.0}}, 1.0)[0]["mouth"]["word"] == "1 frames until 1.0"


def test_a_face_without_the_measure_has_none():
    follower = MeasureFollower((Measure("mouth", (OPEN,), time_constant_s=0.5),))
    assert follower({}, 0.0) == ({}, {})
