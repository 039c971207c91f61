"""Benchmarks and experiments run as their first lines say, here with four faces."""

import subprocess
import sys
from pathlib import Path

import pytest

from affectlens.core.expressions import FERPLUS

ROOT = Path(__file__).parent.parent
CALLS = {
    "benchmarks/class_prior.py bundled {data}": "strength 1.00: accuracy",
    "benchmarks/crop_geometry.py {data} --faces 4": "eyes x 2.80 rotate True",
    "benchmarks/decoding.py --repeats 1 --megapixels 2": "gray PNG, 48x48",
    "benchmarks/ensemble.py {data} bundled {model}": "mean of 2, mirrored",
    "benchmarks/heat_maps.py {data}": "mean of all drawn",
    "benchmarks/quality.py {data}": "found again: 4 of 4",
    "benchmarks/scale.py --repeats 3 --video-s 2 --photos 300": "one driver: ",
    "benchmarks/stream.py --frames 60": "5  followed ",
    "benchmarks/wild.py {data} {photos} --faces 4": "JPEG of the crop, quality 50",
    "experiments/detector.py --repeats 1": "4000x3000, five faces",
    "experiments/heat_maps.py {data}": "0.500    0.70  ",
    "experiments/noisy_labels.py --seeds 1 --epochs 1": "  0.4  rare classes   small_loss, 0.4 ",
    "experiments/spatial_transformer.py {run} {data}": "caciolai/stn: 4 validation faces",
    "experiments/training.py --steps 2 --rounds 1 --small": "memory: a step of the custom VGG",
}


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.parametrize("call", CALLS)
def test_a_benchmark_runs(call, make_ferplus, untrained, tmp_path):
    weights = ROOT / "src" / "affectlens" / "weights"
    data = f"ferplus:{make_ferplus(tmp_path)}"
    run = tmp_path / "run"
    if "{run}" in call:
        untrained(run, FERPLUS[:-1], "caciolai/stn", weights="best")
    name, *arguments = call.format(data=data, model=weights / "default.onnx", photos=weights, run=run).split()
    done = subprocess.run(
        [sys.executable, ROOT / name, *arguments], capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert CALLS[call] in done.stdout


def test_all_but_those_that_need_more_are_here():
    soak, long, network = {"hostile.py", "kills.py", "soak.py"}, {"batch.py"}, {"peer.py", "peer_worker.py"}
    scripts = [file for folder in ("benchmarks", "experiments") for file in (ROOT / folder).glob("[!_]*.py")]
    assert {file.name for file in scripts} - soak - long - network == {Path(call.split()[0]).name for call in CALLS}
