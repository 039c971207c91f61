"""A process that is killed in the middle of an epoch loses that epoch and nothing else."""

import csv
import json
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch

from affectlens.training.fit import fit

BATCHES = 4
"""Per epoch: 64 faces, 16 at a time."""

SCRIPT = """
import json, pickle, sys, time
from pathlib import Path

import torch

from affectlens.training import fit
from affectlens.training.module import ExpressionModule
from affectlens.training.recipe import from_dict

folder, last_step = Path(sys.argv[1]), int(sys.argv[2])
torch.set_num_threads(1)
step, steps = ExpressionModule.training_step, []


def step_or_wait(module, batch):
    if len(steps) == last_step:
        (folder / "waiting").touch()
        time.sleep(600)
    steps.append(batch["index"])
    return step(module, batch)


ExpressionModule.training_step = step_or_wait
data = pickle.loads((folder / "data.pickle").read_bytes())
recipe = from_dict(json.loads((folder / "wanted.json").read_text()))
fit.fit(recipe, data, folder / "run", resume=False, progress=False)
"""

VARIANTS = {
    "one-cycle, adamw, clipped": {
        "schedule": "one-cycle",
        "optimiser": "adamw",
        "learning_rate": 0.003,
        "gradient_clip": 1.0,
        "ema": 0.5,
    },
    "plateau, early stop": {
        "schedule": "plateau",
        "schedule_patience": 0,
        "early_stop": 2,
        "ema": 0.0,
        "select": "accuracy",
        "learning_rate": 0.5,
    },
    "plateau, averaged weights": {
        "schedule": "plateau",
        "schedule_patience": 0,
        "ema": 0.5,
        "learning_rate": 0.5,
        "select": "accuracy",
    },
    "exponential, adam, sam, drawn": {
        "schedule": "exponential",
        "optimiser": "adam",
        "learning_rate": 0.003,
        "sam_radius": 0.05,
        "sampler": "expression",
        "target": "drawn",
        "early_stop": 4,
    },
}
EPOCHS = 7


@pytest.fixture
def variant(recipe, request):
    """The recipe of a variant, as plain as a file holds it."""
    options = json.loads(json.dumps(dict(recipe.model_options))) | {"dropout": 0.3}
    return replace(recipe, **{"epochs": EPOCHS, "model_options": options} | VARIANTS[request.param])


def killed(recipe, data, folder, complete):
    """Start the script, kill it inside the epoch that follows `complete` ones, and return the folder of the run."""
    (folder / "data.pickle").write_bytes(pickle.dumps(data))
    (folder / "wanted.json").write_text(json.dumps(recipe.as_dict()))
    (folder / "script.py").write_text(SCRIPT)
    passes = 2 if recipe.sam_radius else 1
    command = [sys.executable, folder / "script.py", folder, str(passes * (BATCHES * complete + BATCHES // 2))]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    deadline = time.monotonic() + 120
    try:
        while not (folder / "waiting").is_file():
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, "the process is too slow"
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL
    return folder / "run"


def curves(run):
    with (run / "curves.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def checkpoint(run, name):
    return torch.load(run / "checkpoints" / name, map_location="cpu", weights_only=True)


@pytest.mark.parametrize("variant", list(VARIANTS), indirect=True)
def test_a_killed_and_resumed_run_ends_as_an_uninterrupted_one(variant, data, tmp_path):
    whole = tmp_path / "whole"
    fit(variant, data, whole, resume=False, progress=False)
    run = killed(variant, data, tmp_path, complete=2)
    assert [row["epoch"] for row in curves(run)] == ["0", "1"]
    fit(variant, data, run, resume=True, progress=False)
    assert curves(run) == curves(whole)
    for name in ("last.ckpt", "best.ckpt"):
        ours, theirs = checkpoint(run, name), checkpoint(whole, name)
        assert ours["epoch"] == theirs["epoch"]
        torch.testing.assert_close(ours["state_dict"], theirs["state_dict"], rtol=0, atol=0)
    rates = [
        {group["lr"] for group in checkpoint(folder, "last.ckpt")["optimizer_states"][0]["param_groups"]}
        for folder in (run, whole)
    ]
    assert rates[0] == rates[1]
    assert max(rates[1]) < variant.learning_rate
