"""Run a recipe: data in, a run folder out (recipe, versions, curves, checkpoints)."""

import csv
import json
import platform
import subprocess
import warnings
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging, ModelCheckpoint, RichProgressBar

from affectlens.core.errors import BadData, BadSetting
from affectlens.data.source import DataSource
from affectlens.data.table import FaceTable
from affectlens.data.twins import has_twin
from affectlens.training.module import ExpressionModule, input_spec, loaders
from affectlens.training.recipe import Recipe

_NOT_TRAINED = ("margin", "shift_y", "rotate")
"""Settings of the crop on photos; a finished run can be exported again with others."""


@dataclass(frozen=True)
class TrainingData:
    """The two splits that training sees, and how many training faces were left out as twins of held-out ones."""

    train: FaceTable
    valid: FaceTable
    twins_left_out: int


class Curves(Callback):
    """One line per epoch in a CSV file; a resumed run goes on in the file of its first part."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Append this epoch's figures, in place of any that an interrupted attempt left."""
        del pl_module
        figures = {name: f"{float(value):.6f}" for name, value in trainer.callback_metrics.items()}
        now = {"epoch": str(trainer.current_epoch)} | figures
        earlier: list[dict[str, str]] = []
        if self.file.is_file():
            with self.file.open(newline="") as stream:
                earlier = [row for row in csv.DictReader(stream) if int(row["epoch"]) < trainer.current_epoch]
        partial = self.file.with_suffix(".partial")
        with partial.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(now), lineterminator="\n")
            writer.writeheader()
            writer.writerows([*earlier, now])
        partial.replace(self.file)


def load_data(recipe: Recipe, source: DataSource) -> TrainingData:
    """Training and validation faces; without the twins of validation and test faces if the recipe says so.

    Raises:
        BadData: nothing is left to train on or to select on.
    """
    train, valid = source.load("train"), source.load("valid")
    if not (valid.targets >= 0).any():
        raise BadData("no validation face has a majority label, so there is nothing to select on")
    if not recipe.without_twins:
        return TrainingData(train, valid, 0)
    held_out = np.concatenate([valid.images, source.load("test").images])
    twins = has_twin(train.images, held_out)
    if twins.all():
        raise BadData("every training face has a twin in validation or test; see the recipe key 'without_twins'")
    return TrainingData(train.keep(~twins), valid, int(twins.sum()))


def fit(recipe: Recipe, data: TrainingData, out: Path, resume: bool, progress: bool) -> Path:
    """Train; returns the checkpoint with the best validation accuracy.

    `out` receives recipe.json, versions.json, curves.csv, checkpoints/best.ckpt and last.ckpt (written every
    epoch). With `resume` it goes on after the last complete epoch, if there is one; a folder that was moved in between
    goes on too, but counts its best epoch anew.

    Raises:
        BadSetting: `out` holds a run and `resume` is off, or the run there has another recipe.
    """
    last = out / "checkpoints" / "last.ckpt"
    _open_run(recipe, data, out, resume)
    torch.manual_seed(recipe.seed)
    module = ExpressionModule(recipe, len(data.train.labels), len(data.train))
    spec = input_spec(recipe)
    best = ModelCheckpoint(
        out / "checkpoints",
        "best",
        monitor="valid_accuracy",
        mode="max",
        save_last=True,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    callbacks: list[Callback] = [EMAWeightAveraging(decay=recipe.ema), best, Curves(out / "curves.csv")]
    if progress:
        callbacks.append(RichProgressBar())
    trainer = L.Trainer(
        max_epochs=recipe.epochs,
        precision=recipe.precision,
        callbacks=callbacks,
        logger=False,
        enable_progress_bar=progress,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        gradient_clip_val=recipe.gradient_clip,
        log_every_n_steps=1,
    )
    train_batches, valid_batches = loaders(data.train, data.valid, recipe, spec)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")  # so it is meant
        trainer.fit(module, train_batches, valid_batches, ckpt_path=str(last) if resume and last.is_file() else None)
    return out / "checkpoints" / "best.ckpt"


def load_checkpoint(recipe: Recipe, classes: int, checkpoint: Path) -> ExpressionModule:
    """The module with the averaged weights of a checkpoint, in evaluation mode."""
    module = ExpressionModule(recipe, classes, train_faces=0)
    module.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"])
    module.eval()
    return module


def versions() -> dict[str, str]:
    """Versions of what a run depends on, and the commit of the source tree if it is one."""
    names = ("affectlens", "torch", "lightning", "numpy", "onnx", "onnxruntime", "opencv-python-headless")
    found = {name: version(name) for name in names}
    commit = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return found | {"python": platform.python_version(), "commit": commit.stdout.strip() or "not a git checkout"}


def _open_run(recipe: Recipe, data: TrainingData, out: Path, resume: bool) -> None:
    """Create the run folder, or check that it belongs to this recipe."""
    settings = recipe.as_dict()
    file = out / "recipe.json"
    if file.is_file():
        if not resume:
            raise BadSetting(f"'{out}' already holds a run; choose another --out or continue it with --resume")
        earlier = json.loads(file.read_text())
        now = json.loads(json.dumps(settings))
        changed = [key for key in now if key not in _NOT_TRAINED and now[key] != earlier.get(key)]
        if changed:
            raise BadSetting(f"the run in '{out}' has another recipe: {', '.join(changed)} differ; see '{file}'")
    out.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(settings, indent=2))
    facts = versions() | {
        "train_faces": str(len(data.train)),
        "train_faces_left_out_as_twins": str(data.twins_left_out),
        "valid_faces": str(len(data.valid)),
        "valid_faces_with_majority": str(int((data.valid.targets >= 0).sum())),
    }
    (out / "versions.json").write_text(json.dumps(facts, indent=2))
