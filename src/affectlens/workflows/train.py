"""From a recipe and data to a run folder with a calibrated ONNX model."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from affectlens.core.progress import SILENT, Progress
from affectlens.data.source import DataSource
from affectlens.workflows.data import source_of
from affectlens.workflows.extras import require_training
from affectlens.workflows.recipes import Overrides, find_recipe

if TYPE_CHECKING:
    from affectlens.training.data import TrainingData
    from affectlens.training.fit import Devices
    from affectlens.training.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run.

    Attributes:
        folder: the run folder; it can be used wherever a model is expected.
        metrics: metrics on validation after calibration, as in metrics.json.
        temperature: the logits are divided by it.
        remark: remark for the user about the run, or "".
    """

    folder: Path
    metrics: dict[str, Any]
    temperature: float
    remark: str

    @property
    def model(self) -> Path:
        """The calibrated ONNX file."""
        return self.folder / "model.onnx"


def train(
    recipe: "str | Path | Recipe",
    data: str | Path | DataSource,
    out: str | Path | None = None,
    *,
    settings: Overrides = (),
    resume: bool = False,
    devices: int = 1,
    nodes: int = 1,
    strategy: str = "auto",
    progress: Progress = SILENT,
) -> Run | None:
    """Train a model, calibrate it on validation, export it, and check the file against torch (extra `train`).

    Args:
        recipe: "WORK/ROW", "WORK" for its first row, a YAML file, or a `Recipe`.
        data: "NAME:FOLDER[?key=value&...]".
        out: run folder; by default "runs/WORK-ROW". Files written: recipe.json, labels.json, versions.json, curves.csv
            and .png, log.txt, checkpoints/, metrics.json, model.onnx, and losses.npz.
        settings: changes to the recipe.
        resume: continue after the last complete epoch in the run folder, if there is one.
        devices: number of processes (or GPUs) per machine.
        nodes: number of machines.
        strategy: Lightning strategy.
        progress: receives a description of the data, progress updates, and the results of each epoch.

    Returns:
        The run; None in all processes except the first.

    Raises:
        BadSetting: a setting does not exist, or `out` contains another run. BadData: there are no faces to train or
            validate on. BadModelFile: weights that the recipe starts from are missing. MissingExtra: the extra `train`
            is not installed.
    """
    require_training("training")
    from affectlens.training.fit import Devices

    chosen = find_recipe(recipe, settings)
    folder = Path("runs") / chosen.folder_name if out is None else Path(out).expanduser()
    source = source_of(data)
    return run_recipe(chosen, source, folder, resume, Devices(devices, nodes, strategy), progress)


def run_recipe(
    recipe: "Recipe",
    source: DataSource,
    folder: Path,
    resume: bool = False,
    machines: "Devices | None" = None,
    progress: Progress = SILENT,
    deadline: float | None = None,
    load: "Callable[[Recipe, DataSource, Progress], TrainingData] | None" = None,
    checked: bool = False,
) -> Run | None:
    """Train, calibrate and export into `folder`, and say what comes of it; see `train`.

    `load` takes the place of `training.data.load_data`. `checked` says that the network is known to be buildable and
    its weights to be loadable, so that it is not built for a look before the data are read.

    Raises:
        OutOfTime: the next epoch would end after `deadline`, in seconds since the epoch; all before it are kept.
    """
    from lightning.fabric.utilities.rank_zero import rank_zero_only

    from affectlens.training import fit, run
    from affectlens.training.data import load_data

    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    first = rank_zero_only.rank == 0
    if first:
        run.check_free(recipe, folder, resume)
    with run.locked(folder) if first else nullcontext():  # the processes of a run have one lock
        if first and not run.check_free(recipe, folder, resume) and resume:
            progress.message(f"no run to continue in '{folder}'; starting a new one")
        run.check_sources(recipe)
        if first and not checked and not (resume and run.last_checkpoint(folder).is_file()):
            _check_start(recipe, source)
        data = (load or load_data)(recipe, source, progress)
        if first:
            for line in _facts(recipe.name, data):
                progress.message(line)
        with _interruptible(run.last_checkpoint(folder)):
            best = fit.fit(recipe, data, folder, resume, progress, machines, deadline)
            return _exported(recipe, data, folder, best, progress) if best else None  # another process goes on


def _check_start(recipe: "Recipe", source: DataSource) -> None:
    """Raises what `training.start.start_error` returns."""
    from affectlens.training import run, start

    labels = run.with_data_options(recipe, source).labels()
    error = start.start_error(recipe, labels) if labels else None  # without labels, the data say what is wrong
    if error:
        raise error


def _exported(recipe: "Recipe", data: "TrainingData", folder: Path, best: Path, progress: Progress) -> Run:
    """Finish a run that ended with the checkpoint `best`: its last layer, if that is to be another, and its files."""
    from affectlens.training import export, run, svm

    run.keep_losses(best, folder)
    module = run.load_checkpoint(recipe, len(data.train.labels), best)
    if recipe.classifier == "svm":
        cost = svm.refit(module, data.train, data.valid)
        run.save_refitted(module, folder)
        faces = _faces(len(data.train))
        said = f"the last layer is now a linear support vector machine, fitted on {faces} with C = {cost:g}"
        run.note(folder, said)
        progress.message(said)
    with progress.task("calibrating and exporting", 1) as advance:
        spec = export.export(module, data, folder)
        advance()
    finished = Run(folder, spec.provenance["validation"], spec.temperature, run.remark(folder))
    result = _result(finished)
    run.note(folder, result)
    progress.message(result)
    if finished.remark:
        progress.message(f"note: {finished.remark}")
    progress.message(f"model: {finished.model}")
    return finished


@contextmanager
def _interruptible(last: Path) -> Iterator[None]:
    """An interruption says what is there to go on with, the checkpoint `last`, and stays a KeyboardInterrupt, which
    Lightning makes a SystemExit.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as end:
        if isinstance(end, SystemExit) and not isinstance(end.__context__, KeyboardInterrupt):
            raise
        if last.is_file():
            logging.getLogger("affectlens").warning(
                "interrupted; resume the run to continue after the last complete epoch"
            )
        raise KeyboardInterrupt from end


def _result(run: Run) -> str:
    """The metrics on validation in one line."""
    metrics = run.metrics
    result = (
        f"validation: accuracy {metrics['accuracy']:.4f}, macro recall {metrics['macro_recall']:.4f}, "
        f"calibration error {metrics['expected_calibration_error']:.4f} at temperature {run.temperature}"
    )
    if "valence_ccc" in metrics:
        result += f", CCC of valence {metrics['valence_ccc']:.4f} and of arousal {metrics['arousal_ccc']:.4f}"
    if "attribute_accuracy" in metrics:
        result += f", mean accuracy of attributes {metrics['attribute_accuracy']:.4f}"
    return result


def _faces(count: int) -> str:
    return f"{count} face{'s' if count != 1 else ''}"


def _facts(name: str, data: "TrainingData") -> Iterator[str]:
    """Lines about how many faces there are, and how many were left out for what."""
    from affectlens.training.export import MIN_VALID_FACES

    yield (
        f"{name}: {_faces(len(data.train))} for training ({data.near_duplicates_left_out} left out as near-duplicates "
        f"of held-out faces), {len(data.valid)} for validation"
    )
    yield f"  classes: {', '.join(data.train.labels)}"
    for split, table in (("train", data.train), ("valid", data.valid)):
        for reason, count in table.dropped.items():
            yield f"  {split}: {count} left out: {reason}"
        described = np.isfinite(table.valence) & np.isfinite(table.arousal)
        if described.any() and not described.all():
            yield f"  {split}: {int((~described).sum())} without valence and arousal"
    held_out = set(data.valid.targets.tolist())
    if absent := [label for i, label in enumerate(data.train.labels) if i not in held_out]:
        yield f"  valid: no faces of {', '.join(absent)}"
    selecting = int(data.valid.labelled.sum())
    if without := len(data.valid) - selecting:
        yield f"  valid: {without} have no majority label and are not included in the metrics"
    if selecting < MIN_VALID_FACES:
        yield f"  valid: with only {selecting} labelled faces, epoch selection and calibration are unreliable"
