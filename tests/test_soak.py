"""The long checks of scripts/soak, shortened."""

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
    assert len(lines) == 7
    assert all(line.startswith("ok ") for line in lines[1:])
    assert "503" in lines[3], "the overload was none"


@pytest.mark.parametrize(("engine", "killed"), [("local", ["driver", "worker"]), ("ray", ["driver"])])
def test_a_batch_that_is_killed_holds_every_source_once(engine, killed):
    done = run("kills.py", "--times", str(len(killed)), "--engine", engine)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert [line[:3] for line in done.stdout.splitlines()[1:]] == ["ok "] * len(killed)
    assert [line.split()[2] for line in done.stdout.splitlines()[1:]] == killed
