"""`affectlens reproduce`: run the rows of a published table and write it beside our own figures."""

from pathlib import Path
from typing import Annotated

import typer

from affectlens.apps.cli.console import TERMINAL, out
from affectlens.apps.cli.train import Settings
from affectlens.workflows import reproduce as reproducing


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(reproduce)


def reproduce(
    work: Annotated[str, typer.Argument(help="Name of a work, for example caciolai.")],
    data: Annotated[str, typer.Option(metavar="SPEC", help="Its data, for example ferplus:~/data/ferplus.")],
    rows: Annotated[
        list[str] | None,
        typer.Option("--row", metavar="NAME", help="Only this row.  [default: those with published figures]"),
    ] = None,
    settings: Settings = None,
    test: Annotated[
        str | None, typer.Option(metavar="SPEC", help="Test on these data.  [default: the test split of --data]")
    ] = None,
    other_data: Annotated[
        bool, typer.Option("--other-data", help="Measure on data of another kind than the paper's; the table says so.")
    ] = False,
    results: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the table goes.")] = Path("results"),
    runs: Annotated[Path, typer.Option("--runs", metavar="DIR", help="Where the runs are.")] = Path("runs"),
) -> None:
    """Train each row of a published table (or go on with it), test it once, and write the table.

    A row whose run is finished is not trained again. One whose test is written is not tested again, whatever number of
    epochs it had; a row there of other settings is an error: choose another --out.
    DIR/WORK/ receives README.md with the table, and a folder per row: settings, versions, log, curves, confusion
    matrix, figures.
    """
    table = reproducing.reproduce(
        work,
        data,
        rows or (),
        settings=settings or (),
        test=test,
        other_data=other_data,
        out=results,
        runs=runs,
        progress=TERMINAL,
    )
    out.print(table.read_text(encoding="utf-8"))
