"""`affectlens train`: a recipe and data in, a run folder with a calibrated ONNX model out."""

import importlib.util
import logging
from pathlib import Path
from typing import Annotated

import typer

from affectlens.apps.cli.console import err, out
from affectlens.core.errors import MissingExtra


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(train)


def train(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe: WORK/ROW, or 'default'.")],
    data: Annotated[
        str, typer.Option(metavar="NAME:FOLDER", help="Labelled data, for example ferplus:~/data/ferplus.")
    ],
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one setting of the recipe.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Run folder.  [default: runs/WORK-ROW]")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on after the last complete epoch of the run folder.")
    ] = False,
) -> None:
    """Train a model, calibrate it, export it.

    The run folder receives recipe.json, versions.json, curves.csv, checkpoints/, metrics.json (validation) and
    model.onnx, which has been checked against torch.
    """
    if not all(importlib.util.find_spec(name) for name in ("lightning", "onnx", "onnxscript", "torch")):
        raise MissingExtra("'affectlens train'", "train")
    from affectlens.data import source as sources
    from affectlens.training import export, fit
    from affectlens.training.recipe import find, with_settings

    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    chosen = with_settings(find(recipe), settings or [])
    folder = folder or Path("runs") / chosen.name.replace("/", "-")
    training_data = fit.load_data(chosen, sources.parse(data))
    out.print(
        f"{chosen.name}: {len(training_data.train)} training faces "
        f"({training_data.twins_left_out} left out as twins of held-out faces), "
        f"{len(training_data.valid)} for validation"
    )
    best = fit.fit(chosen, training_data, folder, resume, progress=err.is_terminal)
    module = fit.load_checkpoint(chosen, len(training_data.train.labels), best)
    spec = export.export(module, training_data, folder)
    figures = spec.provenance["validation"]
    out.print(
        f"validation: accuracy {figures['accuracy']:.4f}, macro recall {figures['macro_recall']:.4f}, "
        f"calibration error {figures['expected_calibration_error']:.4f} at temperature {spec.temperature}"
    )
    out.print(f"model: {folder / 'model.onnx'}")
