from affectlens.core.action_units import NAMES, TYPICAL, described
from affectlens.core.expressions import FERPLUS


def test_every_expression_but_neutral_has_units_with_names():
    assert set(TYPICAL) == set(FERPLUS) - {"neutral"}
    for units in TYPICAL.values():
        assert all(int(unit.strip("RAB")) in NAMES for unit in units)
    assert {int(unit.strip("RAB")) for units in TYPICAL.values() for unit in units} == set(NAMES)


def test_units_in_words():
    assert described("happiness") == "6 cheek raiser + 12 lip corner puller"
    assert described("contempt") == "R12A lip corner puller + R14A dimpler"
    assert described("neutral") == described("bored") == ""
