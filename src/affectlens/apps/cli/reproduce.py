"""`affectlens reproduce`: train the rows of a published table and write it next to the measured results."""

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
    work: Annotated[str, typer.Argument(help="Name of the work, for example caciolai.")],
    data: Annotated[
        str, typer.Option(metavar="SPEC", help="Data set of the work, for example ferplus:~/data/ferplus.")
    ],
    rows: Annotated[
        list[str] | None,
        typer.Option(
            "--row", metavar="NAME", help="Train only this row; repeatable.  [default: those with published figures]"
        ),
    ] = None,
    settings: Settings = None,
    test: Annotated[
        str | None, typer.Option(metavar="SPEC", help="Data set to test on.  [default: the test split of --data]")
    ] = None,
    other_data: Annotated[
        bool, typer.Option("--other-data", help="Allow a data set other than the paper's; the table says so.")
    ] = False,
    results: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the table.")] = Path("results"),
    runs: Annotated[Path, typer.Option("--runs", metavar="DIR", help="Folder for the runs.")] = Path("runs"),
) -> None:
    """Train each row of a published table (or continue it), test it once, and write the table.

    A row whose run is finished is not trained again. A row that has been tested is not tested again, whatever its
    number of epochs; if it was tested with other settings, choose another --out. Writes DIR/WORK/README.md with the
    table, and a folder per row with settings, versions, log, curves, confusion matrix and metrics.
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
