"""`affectlens finetune`: the bundled model with the user's own labels."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from affectlens.apps.cli.console import out
from affectlens.apps.cli.train import Resume, Settings, require_training, run_recipe
from affectlens.core.errors import BadData
from affectlens.data import source as sources

_TABLES = (".csv", ".parquet")


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
    require_training("'affectlens finetune'")
    from affectlens.training.recipe import find, with_settings

    spec = _spec(source)
    parsed = sources.parse(spec)
    run_recipe(with_settings(find("finetune"), settings or []), parsed, folder, resume)
    if sources.has_faces(parsed, "test"):
        command = shlex.join(["affectlens", "evaluate", str(folder), "--data", spec])
        out.print(f"on the test pictures, which it has not seen: {command}")


def _spec(source: str) -> str:
    """A bare path as a data set."""
    path = Path(source).expanduser()
    if path.is_dir():
        return f"folder:{source}"
    if path.suffix.lower() in _TABLES and path.is_file():
        return f"table:{source}"
    if ":" not in source:
        raise BadData(f"'{source}' is neither a folder nor a CSV or Parquet file")
    return source
