"""Summaries of the rows of a batch, or of one table."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from affectlens.core.columns import Column
from affectlens.core.errors import BadData
from affectlens.evaluation.summary import Summary
from affectlens.evaluation.summary_report import LISTED, WINDOWS, summary_report, table_by
from affectlens.runtime.batch_folder import shards_of, states_in
from affectlens.workflows.reports import Report


@dataclass(frozen=True, eq=False)
class SummaryReport(Report):
    """A summary.

    Attributes:
        means: the columns whose means are stated, in the order of the table.
    """

    means: Sequence[Column] = ()


def summarise(
    path: str | Path,
    by: Sequence[str] = ("expression",),
    *,
    groups: str | Path | None = None,
    window_s: float = 60.0,
    csv: str | Path | None = None,
    raw: bool = False,
) -> SummaryReport:
    """Summarise faces by expression, source, time window or your own groups, in constant memory (extra `summary`).

    Args:
        path: output folder of a batch, or a Parquet file of `affectlens analyze`.
        by: "expression", "source", "window" or a column of `groups`; several are combined.
        groups: CSV file with a column `source` (source or file name) and columns to group by.
        window_s: length of a time window in seconds, from the start of each video.
        csv: file for the complete table.
        raw: write texts that a spreadsheet would take for formulas as they are; by default, an apostrophe is put
            before them.

    Returns:
        `metrics` has "rows", "sources", "faces", "reasons" (rows without a face), "states" (sources in the batch, or
        None), "by", "count" (rows of the table) and "table" (those with the most faces, or the first windows).

    Raises:
        BadData: there are no rows with faces. BadSetting: a group does not exist. MissingExtra: the extra `summary` is
            not installed.
    """
    path, keys = Path(path).expanduser(), list(dict.fromkeys(by))
    states = states_in(path)
    shards = None if states is None else shards_of(path)
    if shards == []:
        raise BadData(f"the batch in '{path}' has not written any rows yet; resume the batch first")
    group_file = None if groups is None else Path(groups).expanduser()
    with Summary(path, group_file, window_s, shards=shards) as found:
        result: dict[str, Any] = {"path": str(path), **found.overall(), "states": states}
        if not result["faces"]:
            raise BadData(f"'{path}' contains no faces; the reasons in its rows are: {reasons_in(result)}")
        rows = found.table(keys, WINDOWS if "window" in keys else LISTED)
        result |= {"by": keys, "count": found.count(keys), "table": rows}
        if csv is not None:
            found.write_csv(keys, Path(csv).expanduser(), raw)

    def page() -> str:
        with Summary(path, group_file, window_s, shards=shards) as found:
            return _page(found, result, window_s)

    return SummaryReport(result, page, found.means)


def _page(found: Summary, result: dict[str, Any], window_s: float) -> str:
    keys = ("expression", "window", *found.groups, "source")
    tables = {key: found.table([key], WINDOWS if key == "window" else LISTED) for key in keys}
    totals = {key: found.count([key]) for key in keys}
    facts = {"folder": result["path"]} | {key: f"{result[key]:,}" for key in ("rows", "sources", "faces")}
    if result["states"]:
        facts["sources in the batch"] = states_in_words(result)
    if result["reasons"]:
        facts["rows without a face"] = reasons_in(result)
    if result.get("ungrouped", {}).get("sources"):
        facts["sources not in the groups file"] = f"{result['ungrouped']['sources']:,}"
    several = len(result["by"]) > 1
    asked = table_by(result["by"], result["table"], found.means, result["count"]) if several else None
    return summary_report(facts, found.labels, tables, totals, found.plane(), window_s, found.means, asked)


def reasons_in(metrics: dict[str, Any]) -> str:
    """Why rows have no face, and how many, in one line."""
    return ", ".join(f"{reason} {count:,}" for reason, count in metrics["reasons"].items())


def states_in_words(metrics: dict[str, Any]) -> str:
    """How many sources in the batch are in each state, in one line."""
    return ", ".join(f"{count:,} {state}" for state, count in metrics["states"].items())
