"""`affectlens summary`: summary of the rows of a batch, by expression, source, time and groups."""

from pathlib import Path
from typing import Annotated, Any

import typer

from affectlens.apps.cli.console import Table, print_table, say, wide
from affectlens.apps.cli.evaluate import deliver
from affectlens.apps.cli.options import AsJson, Raw, ReportFolder
from affectlens.core.errors import BadSetting
from affectlens.evaluation.summary_report import cells, header
from affectlens.workflows.reports import ready
from affectlens.workflows.summarise import SummaryReport, reasons_in, states_in_words, summarise

_MAX_ROWS_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(summary)


def summary(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="Output folder of 'affectlens batch', or Parquet file of 'affectlens analyze'."
        ),
    ],
    by: Annotated[
        list[str] | None,
        typer.Option(
            help="Group by expression, source, window or a column of --groups; repeat to group by combinations.  "
            "[default: expression]"
        ),
    ] = None,
    window: Annotated[
        float, typer.Option(metavar="S", help="Length of a time window in seconds, from the start of each video.")
    ] = 60.0,
    groups: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="CSV file with a column 'source' (source or file name) and columns to group by."
        ),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write the complete table to this file.")
    ] = None,
    raw: Raw = False,
    folder: ReportFolder = None,
    as_json: AsJson = False,
) -> None:
    """Summarise faces by expression, source, time window or your own groups, as a table, CSV or HTML report.

    Reads any number of rows in constant memory (extra 'summary'). The terminal shows at most twenty rows: those with
    the most faces, or the first time windows.
    """
    if raw and not csv:
        raise BadSetting("--raw requires --csv")
    if folder:
        ready(folder)
    found = summarise(path, by or ("expression",), groups=groups, window_s=window, csv=csv, raw=raw)

    def show(_: dict[str, Any]) -> None:
        _print(found)
        if csv:
            say(f"table: {csv}")

    deliver(found, folder, as_json, show)


def _print(found: SummaryReport) -> None:
    result, means = found.metrics, found.means
    keys = result["by"]
    say(f"{result['path']}: {result['rows']:,} rows, {result['sources']:,} sources, {result['faces']:,} faces")
    if result["states"]:
        say(f"  sources in the batch: {states_in_words(result)}")
    if result["reasons"]:
        say(f"  rows without a face: {reasons_in(result)}")
    if result.get("ungrouped", {}).get("sources"):
        lost = result["ungrouped"]
        say(f"  not in the groups file: {lost['sources']:,} sources, for example '{lost['one']}'")
    table = Table()
    for name in (*keys, *header(means)):
        table.add_column(name, justify="left" if name in (*keys, "mostly") else "right")
    listed = result["table"][:_MAX_ROWS_SHOWN]
    for row in listed:
        shown = (row["window_s" if key == "window" else key] for key in keys)
        table.add_row(*("–" if value is None else str(value) for value in shown), *cells(row, means))
    print_table(table, wide)
    if "window" in keys:
        say("faces in photos have no time and belong to no window; 'window' is the start of a window in seconds")
    if result["count"] > len(listed):
        say(f"showing {len(listed)} of {result['count']:,} rows; --csv FILE writes all")
