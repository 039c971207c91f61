"""The long checks of scripts/soak, shortened."""

import subprocess
import sys
from pathlib import Path

SOAK = Path(__file__).parent.parent / "benchmarks" / "soak.py"


def test_the_service_and_a_video_hold_their_bars():
    done = subprocess.run([sys.executable, SOAK, "--short"], capture_output=True, text=True, timeout=300, check=False)
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert len(lines) == 7
    assert all(line.startswith("ok ") for line in lines[1:])
    assert "503" in lines[3], "the overload was none"
