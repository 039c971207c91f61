"""`affectlens finetune`: the bundled model with the user's own labels."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from affectlens.apps.cli.console import TERMINAL, out
from affectlens.apps.cli.train import Resume, Settings
from affectlens.data import source as sources
from affectlens.workflows import finetune as finetuning
from affectlens.workflows.data import source_of


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(finetune)


def finetune(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER_OR_CSV",
            help="A folder with one folder of pictures per label, a CSV or Parquet file with the columns path and "
            "expression, or NAME:FOLDER.",
        ),
    ],
    settings: Settings = None,
    folder: Annotated[Path, typer.Option("--out", metavar="DIR", help="Run folder.")] = Path("runs/finetune"),
    resume: Resume = False,
) -> None:
    """Train the bundled model on with your own pictures and labels.

    Labels that name a known expression get the project's name for it (happy and joy become happiness), others
    stay as they are. Without folders or a column of splits, a tenth of the pictures is kept for validation and another
    for test. Faces are found and cut out as `analyze` does; pictures of at most 128 pixels a side are taken for faces
    that are already cut out. The run folder ends with a calibrated model.onnx, whose labels are yours:
    `affectlens analyze photo.jpg --model runs/finetune/model.onnx`.
    """
    finetuning.finetune(source, folder, settings=settings or (), resume=resume, progress=TERMINAL)
    if sources.has_faces(source_of(source), "test"):
        command = shlex.join(["affectlens", "evaluate", str(folder), "--data", source])
        out.print(f"on the test pictures, which it has not seen: {command}")
