import pytest

from affectlens.apps.server.limits import Limits
from affectlens.core.errors import BadSetting


@pytest.mark.parametrize("name", ["waiting", "videos", "photo_bytes", "stall_s", "photo_s"])
def test_limits_that_let_nothing_through_are_refused(name):
    with pytest.raises(BadSetting, match=name):
        Limits(**{name: 0})


def test_zero_workers_are_one_per_core():
    assert Limits().threads >= 1
    assert Limits(workers=3).threads == 3
