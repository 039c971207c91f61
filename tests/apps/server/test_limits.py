import subprocess
import sys

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


def test_who_moves_few_bytes_is_waited_for_less_and_less():
    limits = Limits(stall_s=20, rate=1000)
    assert limits.patience_s(0, 0) == 20
    assert limits.patience_s(0, 15) == 5
    assert limits.patience_s(10_000, 15) == 15
    assert limits.patience_s(10**9, 500) == 20
    assert limits.patience_s(1000, 50) == 0


@pytest.mark.parametrize(
    ("soft", "hard", "expected"), [(256, 256, 128), (256, 4096, 512), (1024, 1024, 512), (50, 50, 1)]
)
def test_connections_fit_into_the_open_files_that_the_system_allows(soft, hard, expected):
    resource = pytest.importorskip("resource", reason="this system has no limit of open files")
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if allowed != resource.RLIM_INFINITY and allowed < hard:
        pytest.skip(f"this system allows fewer than {hard} open files")
    code = (
        "import resource; from affectlens.apps.server.serving import room_for_connections as room; "
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard})); "
        "print(room(512), resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(expected), str(max(soft, min(hard, 640)))]
