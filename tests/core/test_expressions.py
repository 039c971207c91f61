import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectlens.core.errors import UnknownName
from affectlens.core.expressions import _SYNONYMS, CIRCUMPLEX, FERPLUS, canonical, label_fault, projected_affect


@pytest.mark.parametrize("name", FERPLUS)
def test_project_names_stand_for_themselves(name):
    assert canonical(name) == name


@pytest.mark.parametrize(
    ("name", "expected"),
    [("happy", "happiness"), (" Angry ", "anger"), ("SAD", "sadness"), ("Fear", "fear"), ("fearful", "fear")],
)
def test_names_of_other_data_sets_are_understood_in_any_case_and_spacing(name, expected):
    assert canonical(name) == expected


def test_every_synonym_leads_to_a_project_name():
    assert {canonical(name) for name in _SYNONYMS} <= set(FERPLUS)


def test_an_unknown_expression_is_answered_with_the_nearest_name():
    with pytest.raises(UnknownName, match="unknown expression 'disgusst'; did you mean 'disgust'"):
        canonical("disgusst")


def test_every_expression_has_coordinates_in_the_plane():
    assert set(CIRCUMPLEX) == set(FERPLUS)
    assert np.abs(list(CIRCUMPLEX.values())).max() <= 1


def test_projected_affect_is_the_expectation_of_the_coordinates():
    labels = ("neutral", "happiness", "sadness")
    valence, arousal = projected_affect(np.array([[0.2, 0.5, 0.3], [1.0, 0.0, 0.0]]), labels)
    np.testing.assert_allclose(valence, [0.5 * 0.76 - 0.3 * 0.63, 0.0])
    np.testing.assert_allclose(arousal, [0.5 * 0.48 - 0.3 * 0.27, 0.0])


def test_labels_without_published_coordinates_have_no_affect():
    assert projected_affect(np.array([[0.5, 0.5]]), ("happiness", "boredom")) is None


@settings(deadline=None)
@given(st.lists(st.floats(0.01, 1), min_size=8, max_size=8))
def test_projected_affect_stays_within_one(weights):
    probabilities = np.array([weights]) / sum(weights)
    valence, arousal = projected_affect(probabilities, FERPLUS)
    assert abs(valence[0]) <= 1
    assert abs(arousal[0]) <= 1


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (FERPLUS, ""),
        (("müde", "悲しみ", "half asleep", "می‌خواهم"), ""),
        (("calm", ""), "must not be empty"),
        (("calm", " bored"), "begin or end with a space, got ' bored'"),
        (("calm", "x" * 101), "at most 100 characters, got 101"),
        (("calm", "bo\x07red"), r"control characters, got 'bo\x07red'"),
        (("calm", "bo\u202ered"), "control characters"),
        (("calm", "bored", "CALM"), "labels must differ, got 'calm' and 'CALM'"),
        (tuple(map(str, range(1001))), "at most 1000 labels, got 1,001"),
    ],
)
def test_labels_are_short_and_unlike_each_other_and_control_nothing(labels, said):
    fault = label_fault(labels)
    assert said in fault
    assert bool(said) == bool(fault)
