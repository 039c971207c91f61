"""Benchmarks run as their first lines say, here with four faces."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
CALLS = {
    "class_prior.py bundled {data}": "strength 1.00: accuracy",
    "crop_geometry.py {data} --faces 4": "eyes x 2.80 rotate True",
    "decoding.py --repeats 1 --megapixels 2": "gray PNG, 48x48",
    "detector.py --repeats 1": "4000x3000, five faces",
    "ensemble.py {data} bundled {model}": "mean of 2, mirrored",
    "heat_maps.py {data}": "0.500    0.70  ",
    "quality.py {data}": "found again: 4 of 4",
    "scale.py --repeats 3 --video-s 2": "one driver: ",
    "stream.py --frames 60": "5  followed ",
    "wild.py {data} --faces 4": "turned by 30 degrees",
}


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.parametrize("call", CALLS)
def test_a_benchmark_runs(call, make_ferplus, tmp_path):
    model = BENCHMARKS.parent / "src" / "affectlens" / "weights" / "default.onnx"
    name, *arguments = call.format(data=f"ferplus:{make_ferplus(tmp_path)}", model=model).split()
    done = subprocess.run(
        [sys.executable, BENCHMARKS / name, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert CALLS[call] in done.stdout


def test_all_but_those_that_need_more_are_here():
    soak, long, network = {"kills.py", "soak.py"}, {"batch.py", "training.py"}, {"peer.py", "peer_worker.py"}
    rest = soak | long | network
    assert {file.name for file in BENCHMARKS.glob("*.py")} - rest == {call.split()[0] for call in CALLS}
