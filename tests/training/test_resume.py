"""A process that is killed in the middle of an epoch loses that epoch and nothing else."""

import csv
import json
import multiprocessing
import pickle
import runpy
import signal
import time
from dataclasses import replace

import pytest
import torch

from affectlens.training.fit import fit

pytestmark = [pytest.mark.slow, pytest.mark.no_cover]

BATCHES = 4
"""Per epoch: 64 faces, 16 at a time."""

SCRIPT = """
import json, os, pickle, time

import torch

from affectlens.training import callbacks, fit
from affectlens.training.module import ExpressionModule
from affectlens.training.recipe import from_dict

log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT)
os.dup2(log, 1)
os.dup2(log, 2)
torch.set_num_threads(1)
step, steps = ExpressionModule.training_step, []
write, writes = callbacks.atomic_write, []


def step_or_wait(module, batch):
    if len(steps) == last_step:
        (folder / "waiting").touch()
        time.sleep(600)
    steps.append(batch["index"])
    return step(module, batch)


def write_or_wait(file, content):
    if len(writes) == last_write:
        (folder / "waiting").touch()
        time.sleep(600)
    writes.append(file)
    write(file, content)


ExpressionModule.training_step = step_or_wait
callbacks.atomic_write = write_or_wait  # of curves.csv and checkpoints
data = pickle.loads((folder / "data.pickle").read_bytes())
recipe = from_dict(json.loads((folder / "wanted.json").read_text()))
fit.fit(recipe, data, folder / "run", resume=False)
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
    "a loss that counts, averaged weights": {
        "losses": {"small_loss": 1.0},
        "loss_options": {"small_loss": {"share": 0.4, "warmup": 4.0}},
        "ema": 0.5,
        "schedule": "exponential",
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
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["affectlens.training.fit"])  # so that it is imported once

EPOCHS = 7
NEVER = 1_000_000


@pytest.fixture
def variant(recipe, request):
    """The recipe of a variant, as plain as a file holds it."""
    options = json.loads(json.dumps(dict(recipe.model_options))) | {"dropout": 0.3}
    return replace(recipe, **{"epochs": EPOCHS, "model_options": options} | VARIANTS[request.param])


def killed(recipe, data, folder, steps=NEVER, writes=NEVER):
    """Start the script, kill it before it goes beyond so many steps or written files; return the folder of the run."""
    (folder / "data.pickle").write_bytes(pickle.dumps(data))
    (folder / "wanted.json").write_text(json.dumps(recipe.as_dict()))
    (folder / "script.py").write_text(SCRIPT)
    passes = 2 if recipe.sam_radius else 1
    known = {"folder": folder, "last_step": passes * steps, "last_write": writes}
    process = FORKS.Process(target=runpy.run_path, args=(str(folder / "script.py"), known))
    process.start()
    deadline = time.monotonic() + 120
    try:
        while not (folder / "waiting").is_file():
            assert process.is_alive(), (folder / "log").read_text()
            assert time.monotonic() < deadline, "the process is too slow"
            time.sleep(0.02)
    finally:
        process.kill()
        process.join()
    assert process.exitcode == -signal.SIGKILL
    return folder / "run"


def curves(run):
    with (run / "curves.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def checkpoint(run, name):
    return torch.load(run / "checkpoints" / name, map_location="cpu", weights_only=True)


@pytest.mark.parametrize("variant", list(VARIANTS), indirect=True)
def test_a_killed_and_resumed_run_ends_as_an_uninterrupted_one(variant, data, tmp_path):
    whole = tmp_path / "whole"
    fit(variant, data, whole, resume=False)
    run = killed(variant, data, tmp_path, steps=2 * BATCHES + BATCHES // 2)
    assert [row["epoch"] for row in curves(run)] == ["0", "1"]
    check_same_end(variant, data, run, whole)


@pytest.fixture(scope="module")
def plain(recipe, data, tmp_path_factory):
    """A recipe of three epochs, and its run when it is left alone."""
    options = json.loads(json.dumps(dict(recipe.model_options)))
    three = replace(recipe, **VARIANTS["plateau, averaged weights"], epochs=3, model_options=options)
    whole = tmp_path_factory.mktemp("whole") / "run"
    fit(three, data, whole, resume=False)
    return three, whole


@pytest.mark.parametrize(
    "moment",
    [
        {"steps": BATCHES // 2},  # in the first epoch
        {"writes": 0},  # before the first curves.csv
        {"writes": 1},  # before the first best.ckpt
        {"writes": 2},  # before the first last.ckpt
        {"writes": 3},  # before the curves.csv of the second epoch
        {"writes": 4},  # between it and the checkpoints
    ],
    ids=str,
)
def test_it_may_be_killed_between_any_two_files(plain, data, tmp_path, moment):
    recipe, whole = plain
    run = killed(recipe, data, tmp_path, **moment)
    check_same_end(recipe, data, run, whole)


def check_same_end(variant, data, run, whole):
    """Resumed, the run ends with the files of the whole one."""
    fit(variant, data, run, resume=True)
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
