"""`affectlens train`: a recipe and data in, a run folder with a calibrated ONNX model out."""

import importlib.util
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from affectlens.apps.cli.console import err, out, warn
from affectlens.core.errors import MissingExtra
from affectlens.data import source as sources
from affectlens.data.source import DataSource

if TYPE_CHECKING:
    from affectlens.training.fit import Machines, TrainingData
    from affectlens.training.recipe import Recipe


Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one setting of the recipe.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on after the last complete epoch of the run folder.")]


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(train)


def train(
    recipe: Annotated[str, typer.Argument(help="WORK/ROW, the name of a work for its first row, or a YAML file.")],
    data: Annotated[
        str, typer.Option(metavar="SPEC", help="NAME:FOLDER[?key=value...]; for example ferplus:~/data/ferplus.")
    ],
    settings: Settings = None,
    folder: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Run folder.  [default: runs/WORK-ROW]")
    ] = None,
    resume: Resume = False,
    devices: Annotated[int, typer.Option(min=1, help="Processes (or GPUs) on this host.")] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="Hosts.")] = 1,
    strategy: Annotated[str, typer.Option(help="Strategy of Lightning, for example ddp.")] = "auto",
) -> None:
    """Train a model, calibrate it, export it.

    The run folder receives recipe.json, labels.json, versions.json, curves.csv and .png, log.txt, checkpoints/,
    metrics.json (validation) and model.onnx, which has been checked against torch.
    """
    require_training("'affectlens train'")
    from affectlens.training.fit import Machines
    from affectlens.training.recipe import find, with_settings

    chosen = with_settings(find(recipe), settings or [])
    folder = folder or Path("runs") / chosen.folder_name
    run_recipe(chosen, sources.parse(data), folder, resume, Machines(devices, nodes, strategy))


def require_training(what: str) -> None:
    """Raises MissingExtra unless everything that training needs is installed."""
    if not all(
        importlib.util.find_spec(name) for name in ("lightning", "matplotlib", "onnx", "onnxscript", "torch", "yaml")
    ):
        raise MissingExtra(what, "train")


def run_recipe(
    recipe: "Recipe", source: DataSource, folder: Path, resume: bool, machines: "Machines | None" = None
) -> None:
    """Train, calibrate and export into `folder`, and say on the terminal what came of it."""
    from lightning.fabric.utilities.rank_zero import rank_zero_only

    from affectlens.training import export, fit, run, svm

    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    if rank_zero_only.rank == 0 and not run.check_free(recipe, folder, resume) and resume:
        out.print(f"nothing to go on with in '{folder}': a new run")
    run.check_sources(recipe)
    data = fit.load_data(recipe, source, err.is_terminal)
    if rank_zero_only.rank == 0:
        _say_what_is_there(recipe.name, data)
    with _telling_how_to_go_on(run.last_checkpoint(folder)):
        best = fit.fit(recipe, data, folder, resume, progress=True, machines=machines)
        if best is None:  # another process of this run goes on
            return
        module = run.load_checkpoint(recipe, len(data.train.labels), best)
        if recipe.classifier == "svm":
            svm.refit(module, data.train)
            run.save_refitted(module, folder)
            said = f"the last layer is now a linear support vector machine, fitted on {_faces(len(data.train))}"
            run.note(folder, said)
            out.print(said)
        spec = export.export(module, data, folder)
    figures = spec.provenance["validation"]
    result = (
        f"validation: accuracy {figures['accuracy']:.4f}, macro recall {figures['macro_recall']:.4f}, "
        f"calibration error {figures['expected_calibration_error']:.4f} at temperature {spec.temperature}"
    )
    if "valence_ccc" in figures:
        result += f", CCC of valence {figures['valence_ccc']:.4f} and of arousal {figures['arousal_ccc']:.4f}"
    if "attribute_accuracy" in figures:
        result += f", mean accuracy of attributes {figures['attribute_accuracy']:.4f}"
    run.note(folder, result)
    out.print(result)
    if remark := run.remark(folder):
        out.print(f"note: {remark}")
    out.print(f"model: {folder / 'model.onnx'}")


@contextmanager
def _telling_how_to_go_on(last: Path) -> Iterator[None]:
    """An interruption says what is there to go on with: the checkpoint `last`."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as end:
        if isinstance(end, SystemExit) and not isinstance(end.__context__, KeyboardInterrupt):
            raise
        if last.is_file():
            warn("interrupted; --resume (or the same 'affectlens reproduce') goes on after the last complete epoch")
        raise KeyboardInterrupt from end  # which Lightning makes a SystemExit


def _faces(count: int) -> str:
    return f"{count} face{'s' if count != 1 else ''}"


def _say_what_is_there(name: str, data: "TrainingData") -> None:
    """How many faces there are, and how many were left out for what."""
    from affectlens.training.export import ENOUGH

    out.print(
        f"{name}: {_faces(len(data.train))} for training ({data.twins_left_out} left out as twins of held-out faces), "
        f"{len(data.valid)} for validation"
    )
    out.print(f"  classes: {', '.join(data.train.labels)}")
    for split, table in (("train", data.train), ("valid", data.valid)):
        for reason, count in table.dropped.items():
            out.print(f"  {split}: {count} left out: {reason}")
        described = np.isfinite(table.valence) & np.isfinite(table.arousal)
        if described.any() and not described.all():
            out.print(f"  {split}: {int((~described).sum())} without valence and arousal")
    held_out = set(data.valid.targets.tolist())
    if absent := [name for i, name in enumerate(data.train.labels) if i not in held_out]:
        out.print(f"  valid: no face of {', '.join(absent)}")
    selecting = int(data.valid.labelled.sum())
    if without := len(data.valid) - selecting:
        out.print(f"  valid: {without} have no majority label and do not count in the figures")
    if selecting < ENOUGH:
        out.print(f"  valid: with {selecting} labelled faces the choice of the epoch and the calibration are rough")
