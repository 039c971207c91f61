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
from affectlens.training.module import ExpressionModule, loaders
from affectlens.training.recipe import Recipe, from_dict

_NOT_TRAINED = ("margin", "shift_y", "rotate")
"""Settings of the crop on photos; a finished run can be exported again with others."""


@dataclass(frozen=True)
class TrainingData:
    """What training sees: two splits, how many faces were left out as twins of held-out ones, and the licence."""

    train: FaceTable
    valid: FaceTable
    twins_left_out: int
    licence: str


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
            with self.file.open(newline="", encoding="utf-8") as stream:
                earlier = [row for row in csv.DictReader(stream) if int(row["epoch"]) < trainer.current_epoch]
        partial = self.file.with_suffix(".partial")
        with partial.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(now), lineterminator="\n")
            writer.writeheader()
            writer.writerows([*earlier, now])
        partial.replace(self.file)


def load_data(recipe: Recipe, source: DataSource) -> TrainingData:
    """Training and validation faces; without the twins of validation and test faces if the recipe says so.

    Raises:
        BadSetting: the recipe is for other data. BadData: nothing is left to train on or to select on.
    """
    if source.reader != recipe.data:
        raise BadSetting(f"the recipe {recipe.name} is for '{recipe.data}', got '{source.reader}'; see --set data=...")
    train, valid = source.load("train"), source.load("valid")
    if not (valid.targets >= 0).any():
        raise BadData("no validation face has a majority label, so there is nothing to select on")
    if not recipe.without_twins:
        return TrainingData(train, valid, 0, source.licence)
    held_out = np.concatenate([valid.images, source.load("test").images])
    twins = has_twin(train.images, held_out)
    if twins.all():
        raise BadData("every training face has a twin in validation or test; see the recipe key 'without_twins'")
    return TrainingData(train.keep(~twins), valid, int(twins.sum()), source.licence)


def fit(recipe: Recipe, data: TrainingData, out: Path, resume: bool, progress: bool) -> Path:
    """Train; returns the checkpoint with the lowest negative log-likelihood on validation.

    `out` receives recipe.json, versions.json, curves.csv, checkpoints/best.ckpt and last.ckpt (written every
    epoch). With `resume` it goes on after the last complete epoch, if there is one; a folder that was moved in between
    goes on too, but counts its best epoch anew.

    Raises:
        BadSetting: `out` holds a run and `resume` is off, or the run there has another recipe.
    """
    last = out / "checkpoints" / "last.ckpt"
    torch.manual_seed(recipe.seed)
    classes = len(data.train.labels)
    teacher = load_run(Path(recipe.teacher), classes).network if recipe.teacher else None
    module = ExpressionModule(recipe, classes, len(data.train), teacher)
    if teacher is not None and recipe.start_from_teacher:
        _start_from(module.network, teacher, recipe)
    spec = recipe.input_spec()
    _open_run(recipe, data, out, resume)
    best = ModelCheckpoint(
        out / "checkpoints",
        "best",
        monitor="valid_nll",
        mode="min",
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    latest = ModelCheckpoint(out / "checkpoints", "last", save_on_train_epoch_end=True, enable_version_counter=False)
    callbacks: list[Callback] = [EMAWeightAveraging(decay=recipe.ema), Curves(out / "curves.csv"), best, latest]
    if progress:
        callbacks.append(RichProgressBar())
    trainer = L.Trainer(
        max_epochs=recipe.epochs,
        accelerator="cuda" if torch.cuda.is_available() else "cpu",
        devices=1,
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
        warnings.filterwarnings("ignore", module=r"lightning\.pytorch\.utilities\._pytree")
        warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")  # so it is meant
        trainer.fit(module, train_batches, valid_batches, ckpt_path=str(last) if resume and last.is_file() else None)
    return out / "checkpoints" / "best.ckpt"


def _start_from(network: torch.nn.Module, teacher: torch.nn.Module, recipe: Recipe) -> None:
    """Copy the teacher's weights."""
    try:
        network.load_state_dict(teacher.state_dict())
    except RuntimeError as error:
        raise BadSetting(
            f"the teacher '{recipe.teacher}' has another architecture; --set start_from_teacher=false"
        ) from error


def load_checkpoint(recipe: Recipe, classes: int, checkpoint: Path) -> ExpressionModule:
    """The module with the averaged weights of a checkpoint, in evaluation mode."""
    module = ExpressionModule(recipe, classes, train_faces=0)
    module.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"])
    module.eval()
    return module


def load_run(folder: Path, classes: int) -> ExpressionModule:
    """The best network of a run folder, in evaluation mode.

    Raises:
        BadSetting: the folder does not hold a run with a checkpoint.
    """
    settings, checkpoint = folder / "recipe.json", folder / "checkpoints" / "best.ckpt"
    if not settings.is_file() or not checkpoint.is_file():
        raise BadSetting(f"'{folder}' holds no trained run; the teacher is named by --set teacher=RUN_FOLDER")
    return load_checkpoint(from_dict(json.loads(settings.read_text(encoding="utf-8"))), classes, checkpoint)


def versions() -> dict[str, str]:
    """Versions of what a run depends on, and the commit of the source tree if it is one."""
    names = ("affectlens", "torch", "lightning", "numpy", "onnx", "onnxruntime", "opencv-python-headless")
    found = {name: version(name) for name in names}
    return found | {"python": platform.python_version(), "commit": _commit()}


def _commit() -> str:
    """The commit of the source tree, "-dirty" appended where files differ from it."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    try:
        tracked = git("ls-files", Path(__file__).name)
        return git("describe", "--always", "--dirty") if tracked else "not a git checkout"
    except OSError:
        return "unknown: no git"


def _open_run(recipe: Recipe, data: TrainingData, out: Path, resume: bool) -> None:
    """Create the run folder, or check that it belongs to this recipe; versions.json gets an entry per start."""
    settings = recipe.as_dict()
    file = out / "recipe.json"
    if file.is_file():
        if not resume:
            raise BadSetting(f"'{out}' already holds a run; choose another --out or continue it with --resume")
        earlier = from_dict(json.loads(file.read_text(encoding="utf-8"))).as_dict()
        then, now = json.loads(json.dumps([earlier, settings]))
        changed = [key for key in now if key not in _NOT_TRAINED and now[key] != then[key]]
        if changed:
            raise BadSetting(f"the run in '{out}' has another recipe: {', '.join(changed)} differ; see '{file}'")
    out.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(settings, indent=2), encoding="utf-8")
    facts = versions() | {
        "train_faces": str(len(data.train)),
        "train_faces_left_out_as_twins": str(data.twins_left_out),
        "valid_faces": str(len(data.valid)),
        "valid_faces_with_majority": str(int((data.valid.targets >= 0).sum())),
    }
    log = out / "versions.json"
    earlier = json.loads(log.read_text(encoding="utf-8")) if log.is_file() else []
    log.write_text(json.dumps([*earlier, facts], indent=2), encoding="utf-8")
