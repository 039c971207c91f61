"""The long checks of scripts/soak, shortened."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.no_cover]

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def run(name, *options):
    command = [sys.executable, BENCHMARKS / name, *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)


def test_the_service_and_a_video_hold_their_bars():
    done = run("soak.py", "--short")
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert len(lines) == 10
    assert all(line.startswith("ok ") for line in lines[1:])
    assert "503" in lines[3], "the overload was none"


@pytest.mark.parametrize(("engine", "killed"), [("local", ["driver", "worker"]), ("ray", ["driver"])])
def test_a_batch_that_is_killed_holds_every_source_once(engine, killed):
    done = run("kills.py", "--times", str(len(killed)), "--engine", engine)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert [line[:3] for line in done.stdout.splitlines()[1:]] == ["ok "] * len(killed)
    assert [line.split()[2] for line in done.stdout.splitlines()[1:]] == killed


def openers():
    """Of benchmarks/hostile.py, as its help lists them."""
    listed = re.search(r"--only \{([^}]+)\}", run("hostile.py", "--help").stdout)
    return listed[1].split(",")


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such limits")
def test_hostile_files_of_every_kind_break_nothing_but_themselves():
    for opener in openers():
        done = run("hostile.py", "--only", opener, "--count", "40")
        first, second = done.stdout.splitlines()[:2]
        assert first.startswith("40 inputs each"), done.stderr
        assert (done.returncode, second.split()[:2]) == (0, ["ok", opener]), done.stdout
