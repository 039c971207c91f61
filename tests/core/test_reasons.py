import re

from affectlens.core.reasons import Reason


def test_every_reason_has_its_own_value():
    assert len(Reason) == len(Reason.__members__)


def test_every_value_is_its_name_in_lower_snake_case():
    assert all(reason.value == name.lower() for name, reason in Reason.__members__.items())
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", reason.value) for reason in Reason)


def test_a_reason_is_written_as_its_value():
    assert f"{Reason.NO_FACE}" == "no_face"
