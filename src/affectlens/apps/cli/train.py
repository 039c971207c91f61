"""`affectlens train`: from a recipe and data to a run folder with a calibrated ONNX model."""

from pathlib import Path
from typing import Annotated

import typer

from affectlens.apps.cli.console import TERMINAL
from affectlens.workflows import train as training

Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of the recipe; repeatable.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue after the last complete epoch in the run folder.")]


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(train)


def train(
    recipe: Annotated[str, typer.Argument(help="Recipe: WORK/ROW, WORK for its first row, or a YAML file.")],
    data: Annotated[
        str,
        typer.Option(
            metavar="SPEC", help="Data set, as NAME:FOLDER[?key=value...]; for example ferplus:~/data/ferplus."
        ),
    ],
    settings: Settings = None,
    folder: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Run folder.  [default: runs/WORK-ROW]")
    ] = None,
    resume: Resume = False,
    devices: Annotated[int, typer.Option(min=1, help="Number of processes (or GPUs) on this machine.")] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="Number of machines.")] = 1,
    strategy: Annotated[str, typer.Option(help="Lightning strategy, for example ddp.")] = "auto",
) -> None:
    """Train, calibrate and export a model.

    Writes to the run folder: recipe.json, labels.json, versions.json, curves.csv and .png, log.txt, checkpoints/,
    metrics.json (validation) and model.onnx, which has been checked against torch.
    """
    training.train(
        recipe,
        data,
        folder,
        settings=settings or (),
        resume=resume,
        devices=devices,
        nodes=nodes,
        strategy=strategy,
        progress=TERMINAL,
    )
