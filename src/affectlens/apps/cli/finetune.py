"""`affectlens finetune`: fine-tuning of the bundled model on the user's own labels."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from affectlens.apps.cli.console import TERMINAL, say
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
    """Fine-tune the bundled model on your own pictures and labels.

    Labels that name a known expression get its standard name (happy and joy become happiness); others are kept. If
    there are no folders train, valid and test and no column `split`, a tenth of the pictures is held out for validation
    and another tenth for test. Faces are detected and cropped as in `analyze`; pictures of at most 128 pixels a side
    are assumed to be cropped faces. The result is a calibrated model.onnx with your labels in the run folder:
    `affectlens analyze photo.jpg --model runs/finetune/model.onnx`.
    """
    finetuning.finetune(source, folder, settings=settings or (), resume=resume, progress=TERMINAL)
    if sources.has_faces(source_of(source), "test"):
        command = shlex.join(["affectlens", "evaluate", str(folder), "--data", source])
        say(f"to score the model on the held-out test pictures: {command}")
