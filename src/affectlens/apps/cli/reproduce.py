"""`affectlens reproduce`: train the rows of a published table and write it next to the measured results."""

from pathlib import Path
from typing import Annotated

import typer

from affectlens.apps.cli.console import TERMINAL, say
from affectlens.core.files import read_text
from affectlens.workflows import reproduce as reproducing


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(reproduce)


def reproduce(
    work: Annotated[str, typer.Argument(help="Name of the work, for example caciolai.")],
    data: Annotated[
        list[str],
        typer.Option(
            metavar="SPEC",
            help="Data set of the work, for example ferplus:~/data/ferplus; repeatable, for rows that need different "
            "ones.",
        ),
    ],
    rows: Annotated[
        list[str] | None,
        typer.Option(
            "--row",
            metavar="NAME",
            help="Train this row, or those that match a pattern such as 't6.2-*'; repeatable.  [default: those with "
            "published figures]",
        ),
    ] = None,
    tables: Annotated[
        list[str] | None,
        typer.Option("--table", metavar="NAME", help="Train the rows of this table, such as t4.1; repeatable."),
    ] = None,
    seeds: Annotated[
        int, typer.Option(metavar="N", min=1, help="Number of runs of each row, each with its own seed.")
    ] = 1,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="[ROW:]KEY=VALUE",
            help="Change a recipe setting, of all rows or of those that match ROW; repeatable.",
        ),
    ] = None,
    test: Annotated[
        str | None,
        typer.Option(metavar="SPEC", help="Data set to test on.  [default: the test split of the first --data]"),
    ] = None,
    other_data: Annotated[
        bool, typer.Option("--other-data", help="Allow a data set other than the paper's; the table says so.")
    ] = False,
    jobs: Annotated[
        int, typer.Option(metavar="N", min=1, help="Number of runs side by side; they share the cores.")
    ] = 1,
    minutes: Annotated[
        float | None,
        typer.Option(
            metavar="M",
            min=0,
            help="Time limit in minutes: no run starts after it and no epoch that would exceed it; the same command "
            "continues.  [default: none]",
        ),
    ] = None,
    results: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the table.")] = Path("results"),
    runs: Annotated[Path, typer.Option("--runs", metavar="DIR", help="Folder for the runs.")] = Path("runs"),
) -> None:
    """Train rows of a work's tables (or continue them), test each once, and write the tables.

    Settings, weights, folders and data sets are checked before the first run, and the tables are written after every
    row. A row whose run is finished is not trained again. A row that has been tested is not tested again, whatever its
    number of epochs; if it was tested with other settings, choose another --out. Writes DIR/WORK/README.md with the
    tables, and a folder per row with settings, versions, log, curves, confusion matrix and metrics. If interrupted, the
    same command continues.
    """
    table = reproducing.reproduce(
        work,
        data,
        rows or (),
        tables=tables or (),
        seeds=seeds,
        settings=settings or (),
        test=test,
        other_data=other_data,
        jobs=jobs,
        minutes=minutes,
        out=results,
        runs=runs,
        progress=TERMINAL,
    )
    for line in read_text(table).split("\n"):
        say(line)
