import math

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


@pytest.mark.parametrize("changes", [{"columns": ()}, {"time_constant_s": -1.0}])
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


@pytest.mark.parametrize("unknown", [None, math.nan])
def test_what_is_not_known_in_a_frame_is_shown_as_before(unknown):
    follower = MeasureFollower((Measure("mouth", (OPEN,), time_constant_s=0.5),))
    follower({"mouth": {"open": unknown}}, 0.0)
    assert follower({"mouth": {"open": 0.75}}, 0.1)[1] == {"mouth": {"open": 0.75}}
    assert follower({"mouth": {"open": unknown}}, 0.2)[1] == {"mouth": {"open": 0.75}}


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
