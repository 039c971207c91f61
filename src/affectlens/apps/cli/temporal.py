"""`affectlens temporal`: a temporal head over the frames of videos, on top of a trained run."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from affectlens.apps.cli.console import TERMINAL, Table, out, print_table, say
from affectlens.apps.cli.options import Data
from affectlens.workflows import temporal as workflow

_COLUMNS = ("challenge", "macro_f1", "accuracy", "valence_ccc", "arousal_ccc")


class Head(StrEnum):
    """Architectures of the head."""

    GRU = "gru"
    TCN = "tcn"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(temporal)


def temporal(
    run: Annotated[Path, typer.Argument(help="Run folder of `train`, with its checkpoints.")],
    data: Data,
    folder: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Folder for features and heads.  [default: RUN/temporal]"),
    ] = None,
    head: Annotated[
        Head, typer.Option(help="gru: recurrent; tcn: dilated causal convolutions over 31 frames.")
    ] = Head.GRU,
    window: Annotated[
        int, typer.Option(metavar="N", min=1, help="Number of consecutive frames in a training sample.")
    ] = 64,
    epochs: Annotated[int, typer.Option(metavar="N", min=1, help="Passes over the training frames.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Random seed for training the head.")] = 0,
) -> None:
    """Train a temporal head on consecutive frames of videos, on top of a trained run.

    The network of the run is not changed. Its features of all frames are stored in the output folder, where further
    heads find them. Each head gets a folder with metrics.json (the run, a head without memory and the head, compared on
    the same frames), curves.csv and head.pt. The head is for research: `analyze` does not use it.
    """
    done = workflow.train_temporal(
        run, data, folder, head=str(head), window=window, epochs=epochs, seed=seed, progress=TERMINAL
    )
    for split in ("valid", "test"):
        if split in done.metrics:
            print_table(_table(split, done.metrics[split], str(head)), out)
    say(f"written: {done.folder}")


def _table(split: str, metrics: dict[str, Any], head: str) -> Table:
    """A line per model."""
    shown = [column for column in _COLUMNS if column in metrics[head]]
    table = Table()
    table.add_column(split)
    for column in shown:
        table.add_column(column, justify="right")
    names = {workflow.RUN: "the run, frame by frame", workflow.ALONE: "a head without memory", head: f"the head {head}"}
    for name, words in names.items():
        cells = [metrics[name][column] for column in shown]
        table.add_row(words, *("-" if cell is None else f"{cell:.4f}" for cell in cells))
    return table
