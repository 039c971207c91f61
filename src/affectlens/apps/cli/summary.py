"""`affectlens summary`: what is in the rows of a batch, by expression, source, time and groups."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from affectlens.apps.batch.manifest import states_in
from affectlens.apps.batch.shards import shards_of
from affectlens.apps.cli.console import out, print_table, wide
from affectlens.apps.cli.options import AsJson, ReportFolder
from affectlens.core.columns import Column
from affectlens.core.errors import BadData
from affectlens.core.files import atomic_write
from affectlens.evaluation import report
from affectlens.evaluation.summary import Summary
from affectlens.evaluation.summary_report import LISTED, WINDOWS, cells, header, summary_report, table_by

_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(summary)


def summary(
    path: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder of 'affectlens batch', or a Parquet file of 'analyze'.")
    ],
    by: Annotated[
        list[str] | None,
        typer.Option(
            help="expression, source, window or a column of --groups; several are crossed.  [default: expression]"
        ),
    ] = None,
    window: Annotated[
        float, typer.Option(metavar="S", help="Seconds of a time window, from the beginning of each video.")
    ] = 60.0,
    groups: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="CSV with a column 'source' (or file name) and columns to group by."),
    ] = None,
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write the whole table there.")] = None,
    folder: ReportFolder = None,
    as_json: AsJson = False,
) -> None:
    """Sum up faces by expression, source, time window or groups of your own: a table, a CSV, an HTML page with plots.

    Reads any number of rows in constant memory (extra summary). The terminal shows the first twenty rows, those with
    the most faces or the first windows.
    """
    keys = list(dict.fromkeys(by or ["expression"]))
    if folder:
        report.require()
    states = states_in(path)
    shards = None if states is None else shards_of(path)
    if shards == []:
        raise BadData(f"the batch in '{path}' has written no rows yet; go on with 'affectlens batch --resume'")
    with Summary(path, groups, window, shards=shards) as found:
        result: dict[str, Any] = {"path": str(path), **found.overall(), "states": states}
        if not result["faces"]:
            raise BadData(f"'{path}' holds no face; its rows say why: {_reasons(result)}")
        rows = found.table(keys, WINDOWS if "window" in keys else LISTED)
        result |= {"by": keys, "count": found.count(keys), "table": rows}
        if csv:
            found.write_csv(keys, csv)
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
            atomic_write(folder / "report.json", json.dumps(result, indent=2) + "\n")
            atomic_write(folder / "report.html", _page(found, result, window))
    if as_json:
        typer.echo(json.dumps(result, indent=2))
        return
    _print(result, keys, found.means)
    for what, file in (("table", csv), ("report", folder / "report.html" if folder else None)):
        if file:
            out.print(f"{what}: {file}")


def _page(found: Summary, result: dict[str, Any], window_s: float) -> str:
    keys = ("expression", "window", *found.groups, "source")
    tables = {key: found.table([key], WINDOWS if key == "window" else LISTED) for key in keys}
    totals = {key: found.count([key]) for key in keys}
    facts = {"folder": result["path"]} | {key: f"{result[key]:,}" for key in ("rows", "sources", "faces")}
    if result["states"]:
        facts["sources of the batch"] = _states(result)
    if result["reasons"]:
        facts["rows without a face"] = _reasons(result)
    if result.get("ungrouped", {}).get("sources"):
        facts["sources not in the file of groups"] = f"{result['ungrouped']['sources']:,}"
    several = len(result["by"]) > 1
    asked = table_by(result["by"], result["table"], found.means, result["count"]) if several else None
    return summary_report(facts, found.labels, tables, totals, found.plane(), window_s, found.means, asked)


def _reasons(result: dict[str, Any]) -> str:
    return ", ".join(f"{reason} {count:,}" for reason, count in result["reasons"].items())


def _states(result: dict[str, Any]) -> str:
    return ", ".join(f"{count:,} {state}" for state, count in result["states"].items())


def _print(result: dict[str, Any], keys: list[str], means: Sequence[Column]) -> None:
    out.print(f"{result['path']}: {result['rows']:,} rows, {result['sources']:,} sources, {result['faces']:,} faces")
    if result["states"]:
        out.print(f"  sources of the batch: {_states(result)}")
    if result["reasons"]:
        out.print(f"  rows without a face: {_reasons(result)}")
    if result.get("ungrouped", {}).get("sources"):
        lost = result["ungrouped"]
        out.print(f"  not in the file of groups: {lost['sources']:,} sources, such as '{lost['one']}'")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in (*keys, *header(means)):
        table.add_column(name, justify="left" if name in (*keys, "mostly") else "right")
    listed = result["table"][:_SHOWN]
    for row in listed:
        shown = (row["window_s" if key == "window" else key] for key in keys)
        table.add_row(*("–" if value is None else " ".join(str(value).split()) for value in shown), *cells(row, means))
    print_table(table, wide)
    if "window" in keys:
        out.print("faces of photos have no time and are in no window; window is where one begins, in seconds")
    if result["count"] > len(listed):
        out.print(f"{len(listed)} of {result['count']:,} rows; --csv FILE writes all")
