"""The report of `affectlens summary`: expressions, valence-arousal plane, time, sources and groups."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from affectlens.core.columns import Column, Row
from affectlens.evaluation import plots
from affectlens.evaluation.plots import COLOURS, GRID, MUTED, SMALL_PT, axes_in, colours_of, figure_of, legend_above
from affectlens.evaluation.report import ReportFigure, ReportPage, Section, Table, render
from affectlens.evaluation.summary import PLANE_CELLS

DRAWN, LISTED, WINDOWS = 20, 100, 1000
"""Sources or values of a group that a figure and a table of the page hold at most, and windows that are drawn."""


def header(means: Sequence[Column]) -> list[str]:
    """What is said of faces that belong together: counts and these means."""
    return ["faces", "share", "sources", "mostly", "uncertain", *(column.name for column in means)]


def cells(row: Row, means: Sequence[Column]) -> list[str]:
    """The values of `header` in a row of `Summary.table`, as text."""
    counted = [f"{row['faces']:,}", f"{row['share']:.1%}", f"{row['sources']:,}", row["mostly"]]
    return [*counted, f"{row['uncertain']:.1%}", *(column.shown(row[column.name]) or "–" for column in means)]


def summary_report(
    facts: Mapping[str, str],
    labels: Sequence[str],
    tables: Mapping[str, Sequence[Row]],
    totals: Mapping[str, int],
    plane: Sequence[tuple[float, float, int]],
    window_s: float,
    means: Sequence[Column],
    asked: Table | None = None,
    title: str = "Summary",
) -> str:
    """One HTML page.

    Args:
        facts: name -> text.
        labels: of the model.
        tables: key -> its rows of `Summary.table`, "expression" and "window" among them.
        totals: key -> how many rows there are.
        plane: `Summary.plane`.
        window_s: length of a window.
        means: `Summary.means`.
        asked: a table that stands first.
        title: of the page.
    """
    sections = [_expressions(tables["expression"], means)]
    if plane:
        sections.append(_plane(plane))
    if len(tables["window"]) > 1:
        sections.append(_time(tables["window"], labels, window_s, means, totals["window"]))
    others = [key for key, rows in tables.items() if key not in ("expression", "window") and rows]
    sections += [_groups(key, tables[key], totals[key], labels, means) for key in others]
    if asked:
        sections.insert(0, Section("Requested table", "", [], [asked]))
    return render(ReportPage(title, facts, sections))


def _expressions(rows: Sequence[Row], means: Sequence[Column]) -> Section:
    names = [row["expression"] for row in rows]
    shares = [f"{row['share']:.1%}" for row in rows]
    figure = plots.bars(names, {"share": [row["share"] for row in rows]}, "share of faces", [shares])
    colours = colours_of(names)
    for name, bar in zip(names, figure.axes[0].patches, strict=True):
        bar.set_color(colours[name])
    said = ", ".join(f"{name} {share}" for name, share in zip(names, shares, strict=True))
    return Section(
        "Expressions",
        "",
        [ReportFigure(figure, f"Share of faces: {said}.")],
        [table_by(["expression"], rows, means)],
    )


def table_by(keys: Sequence[str], rows: Sequence[Row], means: Sequence[Column], total: int | None = None) -> Table:
    """Rows of `Summary.table` by these keys and with these means, the first hundred at most; `total` is how many there
    are.
    """
    columns = ["window_s" if key == "window" else key for key in keys]
    names = header(means)
    shown = [name for name in names if name != "mostly" or "expression" not in keys]  # which is mostly itself
    listed = [
        ["–" if row[name] is None else str(row[name]) for name in columns]
        + [cell for name, cell in zip(names, cells(row, means), strict=True) if name in shown]
        for row in rows[:LISTED]
    ]
    few = f", {len(listed)} of {total:,}" if total is not None and total > len(listed) else ""
    return Table(f"Faces by {' and '.join(keys)}{few}", [*keys, *shown], listed, folded=len(rows) > DRAWN)


def _plane(plane: Sequence[tuple[float, float, int]]) -> Section:
    figure = figure_of(4.6, 4.0)
    axes = axes_in(figure, "valence", "arousal", grid=None)
    from matplotlib.colors import LogNorm

    x, y, faces = (np.array(values) for values in zip(*plane, strict=True))
    counts = np.zeros((PLANE_CELLS, PLANE_CELLS))
    counts[_places(y), _places(x)] = faces
    shades = LogNorm(0.3, max(2, faces.max()))  # one face is not white yet
    drawn = axes.imshow(
        np.ma.masked_equal(counts, 0), cmap="Blues", norm=shades, origin="lower", extent=(-1, 1, -1, 1), zorder=1
    )
    axes.axhline(0, color=GRID, linewidth=0.8, zorder=0)
    axes.axvline(0, color=GRID, linewidth=0.8, zorder=0)
    axes.set(xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), xticks=[-1, 0, 1], yticks=[-1, 0, 1], aspect="equal")
    bar = figure.colorbar(drawn, ax=axes, shrink=0.8, ticks=_counts_to(max(2, faces.max())), format="{x:,.0f}")
    bar.minorticks_off()
    bar.set_label("faces", fontsize=SMALL_PT, color=MUTED)
    bar.ax.set_ylim(1, max(2, faces.max()))
    bar.ax.tick_params(labelsize=SMALL_PT)
    top = plane[int(faces.argmax())]
    alt = f"Faces in the valence-arousal plane; most are near {top[0]:+.1f}, {top[1]:+.1f}."
    note = "Each square is 0.1 wide; the colour scale is logarithmic."
    return Section("Valence and arousal", "", [ReportFigure(figure, alt, note)])


def _counts_to(most: int) -> list[int]:
    """One, the powers of ten, and the most, for a scale; the last power only where it stands apart from the most."""
    powers = [10**power for power in range(len(str(most)))]
    return [power for power in powers if power * 2 < most] + [most]


def _places(middles: NDArray[np.float64]) -> NDArray[np.int64]:
    """Cells of the plane by their middles."""
    return ((middles + 1) / 2 * PLANE_CELLS).astype(np.int64)


def _time(rows: Sequence[Row], labels: Sequence[str], width: float, means: Sequence[Column], total: int) -> Section:
    """Shares of the labels in each window, and mean valence and arousal; windows without a face are gaps."""
    drawn: list[Row | None] = [rows[0]]
    for before, row in pairwise(rows):
        drawn += [row] if row["window_s"] - before["window_s"] < 1.5 * width else [None, row]
    nothing = dict.fromkeys(rows[0], np.nan)
    starts = [row["window_s"] if row else np.nan for row in drawn]
    edges = [edge for start in starts for edge in (start, start + width)]
    figure = figure_of(plots.WIDTH_IN, 4.4)
    upper = axes_in(figure, "", "share of faces", place=(3, 1, (1, 2)))
    colours = colours_of(labels)
    top = np.zeros(len(edges))
    for label in labels:
        shares = np.repeat([row[f"n_{label}"] / row["faces"] for row in (row or nothing for row in drawn)], 2)
        bottom, top = top, top + shares
        upper.fill_between(edges, bottom, top, color=colours[label], linewidth=0, label=label)
    upper.set(ylim=(0, 1), yticks=[0, 0.5, 1])
    upper.tick_params(labelbottom=False)
    lower = axes_in(figure, "seconds from the start of each video", "mean", place=(3, 1, 3))
    lower.axhline(0, color=GRID, linewidth=0.8)
    middles = [start + width / 2 for start in starts]
    for i, (name, mark) in enumerate((("valence", "o"), ("arousal", "s"))):
        values = [np.nan if row is None or row[name] is None else row[name] for row in drawn]
        lower.plot(middles, values, color=COLOURS[i], marker=mark, markersize=3, linewidth=1.2, label=name)
    lower.set(ylim=(-1.05, 1.05), yticks=[-1, 0, 1])
    lower.legend(loc="lower right", bbox_to_anchor=(1, 0.98), fontsize=SMALL_PT, frameon=False, ncols=2)
    for axes in (upper, lower):
        axes.set_xlim(edges[0], edges[-1])
    legend_above(figure, upper.collections, labels)
    alt = f"Shares of the expressions in {len(rows)} windows of {width:g} s, and mean valence and arousal in each."
    note = f"Windows of {width:g} s" + (f", the first {len(rows):,} of {total:,}." if total > len(rows) else ".")
    return Section("Over time", "", [ReportFigure(figure, alt, note)], [table_by(["window"], rows, means, total)])


def _groups(key: str, rows: Sequence[Row], total: int, labels: Sequence[str], means: Sequence[Column]) -> Section:
    """Labels of each value of a key, those with the most faces first."""
    groups = {
        "–" if row[key] is None else str(row[key]): {
            "faces": row["faces"],
            "labels": [row[f"n_{label}"] for label in labels],
        }
        for row in rows[:DRAWN]
    }
    alt = f"Share of each expression by {key}; the table has the numbers."
    picture = ReportFigure(plots.group_labels(groups, labels, key), alt)
    return Section(f"By {key}", "", [picture], [table_by([key], rows, means, total)])
