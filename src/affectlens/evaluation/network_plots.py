"""Figures of a trained network (features, relations between outputs, loss), in the style of `plots`."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from affectlens.evaluation.metrics import ClassDistances
from affectlens.evaluation.plots import (
    COLOURS,
    INK,
    MARKS,
    MUTED,
    PAPER,
    SIZE_PT,
    SMALL_PT,
    WIDTH_IN,
    axes_in,
    bars,
    figure_of,
    legend_above,
    shown,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.floating]


class CentreKind(StrEnum):
    """What the centres of a map of features are."""

    MEAN = "mean of the class"
    LEARNED = "learned centre"


def feature_map(
    points: Floats,
    targets: NDArray[np.int64],
    labels: Sequence[str],
    centres: Floats,
    owners: NDArray[np.int64],
    kind: CentreKind = CentreKind.MEAN,
) -> "Figure":
    """(N, 2) places of faces in a map of their features, coloured by class, and (K, 2) places of centres, each of the
    class `owners` says; learned ones are squares.
    """
    figure = figure_of(WIDTH_IN, 5.2)
    axes = axes_in(figure, "", "", grid=None)
    axes.set(xticks=[], yticks=[])
    marks = []
    for label in range(len(labels)):
        own = points[targets == label]
        style: dict[str, Any] = {"color": COLOURS[label % 8], "marker": MARKS[label % 8]}
        axes.scatter(own[:, 0], own[:, 1], s=8, linewidths=0, alpha=0.45, rasterized=True, **style)
        marks += axes.plot([], [], linestyle="none", markersize=6, **style)
        if kind is CentreKind.LEARNED:  # there may be several of a class
            style["marker"] = "s"
        edge: dict[str, Any] = {
            "markersize": 8 if kind is CentreKind.LEARNED else 11,
            "markeredgewidth": 1.4,
            "zorder": 5,
        }
        rim = PAPER if style["color"] == INK else INK
        axes.plot(*centres[owners == label].T, linestyle="none", markeredgecolor=rim, **style, **edge)
    shape = "s" if kind is CentreKind.LEARNED else "o"
    ring = axes.plot([], [], shape, linestyle="none", markerfacecolor="none", markeredgecolor=INK, **edge)
    legend_above(figure, [*marks, *ring], [*labels, kind])
    return figure


def relations(values: Floats, names: Sequence[str], lowest: float, x: str = "", y: str = "") -> "Figure":
    """(K, K) relations between `names`, in [lowest, 1]: numbers, shaded; with a `lowest` below 0 by two colours.

    `x` and `y` say what columns and rows are.
    """
    count = len(names)
    figure = figure_of(max(WIDTH_IN, 1.6 + 0.5 * count), 1.1 + 0.45 * count)
    axes = axes_in(figure, x, y, grid=None)
    _shaded(axes, values, lowest)
    axes.set_xticks(range(count), shown(names), rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(count), shown(names))
    axes.tick_params(length=0)
    return figure


def _shaded(axes: "Axes", values: Floats, lowest: float) -> None:
    """(R, C) numbers in [lowest, 1] in shaded cells."""
    from matplotlib.colors import LinearSegmentedColormap

    below = ["#8c3b00", "#f0b88a"] if lowest < 0 else []
    shades = LinearSegmentedColormap.from_list("shades", [*below, PAPER, "#9ecae1", "#08306b"])
    axes.imshow(values, cmap=shades, vmin=lowest, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        ink = PAPER if abs(value) > 0.6 else INK if value else MUTED
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=ink, fontsize=SMALL_PT)


def cross_relations(panels: Mapping[str, Floats], rows: Sequence[str], columns: Sequence[str]) -> "Figure":
    """(R, C) cosines between `rows` and `columns`, a panel for each network, with the mean of their absolute values."""
    figure = figure_of(max(WIDTH_IN, 1.2 + 0.75 * len(columns) * len(panels)), 1.5 + 0.36 * len(rows))
    for place, (name, values) in enumerate(panels.items()):
        axes = axes_in(figure, "", "", None, (1, len(panels), place + 1))
        _shaded(axes, values, -1)
        lines = [*name.split("\n"), f"mean of |cos| {np.abs(values).mean():.2f}"]
        axes.set_title("\n".join(shown(lines)), fontsize=SMALL_PT, color=INK)
        axes.set_xticks(range(len(columns)), shown(columns))
        axes.set_yticks(range(len(rows)), shown(rows) if place == 0 else [""] * len(rows))
        axes.tick_params(length=0)
    figure.supxlabel("cosine of the angle between weight vectors", fontsize=SIZE_PT, color=MUTED)
    return figure


def class_distances(parts: Mapping[str, ClassDistances], labels: Sequence[str]) -> "Figure":
    """How far the faces of each class lie from their centre, as a fraction of the mean distance between the centres of
    two classes; a bar for each of `parts`.
    """
    series = {
        f"{name} ({part.ratio:.2f})": [None if np.isnan(one) else one / part.between for one in part.within]
        for name, part in parts.items()
    }
    texts = [["–" if value is None else f"{value:.2f}" for value in values] for values in series.values()]
    return bars(labels, series, "distance to the class's centre / distance between centres", texts)


def landscapes(surfaces: Mapping[str, Floats], reach: float, faces: str) -> "Figure":
    """(P, P) losses of each network over two directions, from -`reach` to `reach`, P odd: a panel each, in common
    shades; `faces` says on which.
    """
    low, high = (extreme([extreme(surface) for surface in surfaces.values()]) for extreme in (np.min, np.max))
    levels = np.geomspace(max(float(low), 1e-3), max(float(high), 2e-3), 13)
    figure = figure_of(0.9 + 2.6 * len(surfaces), 3.2)
    from matplotlib.colors import LogNorm

    panels = []
    for place, (name, surface) in enumerate(surfaces.items()):
        side = np.linspace(-reach, reach, len(surface))
        axes = axes_in(
            figure, "first direction", "" if place else "second direction", None, (1, len(surfaces), place + 1)
        )
        norm = LogNorm(levels[0], levels[-1])
        filled = axes.contourf(side, side, surface.clip(levels[0], levels[-1]), levels, cmap="viridis", norm=norm)
        axes.contour(side, side, surface, levels, colors=PAPER, linewidths=0.4)
        axes.plot(0, 0, marker="+", color=PAPER, markersize=8)
        centre = float(surface[len(surface) // 2, len(surface) // 2])
        axes.set_title(f"{shown([name])[0]} ({centre:.2f} at +)", fontsize=SMALL_PT, color=INK)
        axes.set_aspect("equal")
        panels.append(axes)
    bar = figure.colorbar(filled, ax=panels, shrink=0.9, format="%.3g", ticks=levels[::2])
    bar.set_label(f"cross-entropy (log scale), {faces}", fontsize=SMALL_PT, color=MUTED)
    bar.ax.tick_params(labelsize=SMALL_PT, labelcolor=INK, which="both", length=0)
    bar.ax.minorticks_off()
    return figure
