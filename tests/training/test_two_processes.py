"""Two processes of Lightning's data-parallel strategy (gloo on the CPU) do what one does alone."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from affectlens.data import source
from affectlens.training.data import load_data
from affectlens.training.fit import fit
from affectlens.training.recipe import find, with_settings

pytestmark = pytest.mark.slow

COMMAND = Path(sys.executable).with_name("affectlens")
SETTINGS = ("epochs=2", "batch_size=16", "model_options.dropout=0", "precision=32-true", "early_stop=0")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """FER+ folders with 64, 24 and 8 random faces whose votes are all for one of two labels."""
    root = tmp_path_factory.mktemp("ferplus")
    rng = np.random.default_rng(0)
    for name, count in (("Train", 64), ("Valid", 24), ("Test", 8)):
        split = root / f"FER2013{name}"
        split.mkdir()
        lines = []
        for number in range(count):
            face = rng.integers(0, 128, (48, 48), dtype=np.uint8) + np.uint8(127 * (number % 2))
            cv2.imwrite(str(split / f"fer{number:07d}.png"), face)
            votes = [10 * (column == number % 2) for column in range(10)]
            lines.append(f'fer{number:07d}.png,"(0, 0, 48, 48)",{",".join(map(str, votes))}\n')
        (split / "label.csv").write_text("".join(lines))
    return root


def train(folder, out, *options, reader="ferplus"):
    """The run folder of a training run in a process of its own, and what it printed."""
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    command = [str(COMMAND), "train", "caciolai/baseline", "--data", f"{reader}:{folder}", "--out", str(out)]
    done = subprocess.run(
        [*command, *settings, *options],
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def train_alone(folder, out):
    """The same run in this process, as far as its curves."""
    recipe = with_settings(find("caciolai/baseline"), SETTINGS)
    fit(recipe, load_data(recipe, source.parse(f"ferplus:{folder}")), out, resume=False)


def curves(out):
    with (out / "curves.csv").open(newline="") as stream:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(stream)]


def test_two_processes_follow_the_curve_of_one(folder, tmp_path):
    train_alone(folder, tmp_path / "one")
    printed, warned = train(folder, tmp_path / "two", "--devices", "2", "--strategy", "ddp")
    one, two = curves(tmp_path / "one"), curves(tmp_path / "two")
    assert len(one) == len(two) == 2
    for alone, together in zip(one, two, strict=True):
        assert together == pytest.approx(alone, rel=1e-4, abs=1e-4)
    assert [printed.count(text) for text in (" for training", "classes: ", "validation: ", "model: ")] == [1, 1, 1, 1]
    assert "sync_dist" not in warned
    assert (tmp_path / "two" / "model.onnx").is_file()
    assert len(json.loads((tmp_path / "two" / "versions.json").read_text())) == 1


def test_a_batch_whose_share_in_one_process_is_damaged_stops_neither(folder, tmp_path):
    """Pictures too large to be kept in memory; of the last ones only some are opened before training."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 150), ("valid", 4)):
        for label in ("calm", "keen"):
            place = tmp_path / "large" / split / label
            place.mkdir(parents=True)
            for number in range(count):
                cv2.imwrite(str(place / f"{number:03d}.jpg"), rng.integers(0, 256, (130, 130), dtype=np.uint8))
    (tmp_path / "large" / "train" / "keen" / "149.jpg").write_bytes(b"\xff\xd8\xff no more")
    options = ("--set", "epochs=1", "--set", "batch_size=2", "--devices", "2", "--strategy", "ddp")
    printed, warned = train(tmp_path / "large", tmp_path / "run", *options, reader="folder")
    assert "model: " in printed
    assert "149.jpg" in warned
