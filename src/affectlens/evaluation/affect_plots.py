"""Figures of valence and arousal, feature spaces and relations between labels, in the style of `plots`."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from affectlens.core.errors import BadData, BadSetting
from affectlens.evaluation.plots import (
    COLOURS,
    GRID,
    INK,
    MARKS,
    MUTED,
    PAPER,
    SMALL_PT,
    WIDTH_IN,
    axes_in,
    figure_of,
    legend_above,
    shown,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = NDArray[np.floating]
DIVISIONS = (0, 4, 8, 12)
"""Into how many sectors the plane can be shown to fall; 0: none."""
_MOST_POINTS = 3000


def va_plane(
    affect: Floats, targets: NDArray[np.int64], labels: Sequence[str], divisions: int = 8, note: str = ""
) -> "Figure":
    """(N, 2) valence and arousal in [-1, 1] of faces by their class (-1: none): a panel for each class, all others in
    gray. `note` stands above.

    Lines show the `divisions` of the plane. At most 3,000 faces of a class are drawn.

    Raises:
        BadSetting: the plane is not divided so. BadData: no face has both and a class.
    """
    if divisions not in DIVISIONS:
        raise BadSetting(f"divisions must be {', '.join(map(str, DIVISIONS))}, got {divisions}")
    known = np.isfinite(affect).all(axis=1) & (targets >= 0)
    if not known.any():
        raise BadData("no face has a label, valence and arousal")
    affect, targets = affect[known], targets[known]
    present = [label for label in range(len(labels)) if (targets == label).any()]
    columns = min(4, len(present))
    rows = math.ceil(len(present) / columns)
    figure = figure_of(0.4 + 1.75 * columns, 0.6 + 0.2 * bool(note) + 1.95 * rows)
    words = "blue: faces of the class, cross: their mean, gray: all faces"
    figure.suptitle(f"{words}\n{note}" if note else words, fontsize=SMALL_PT, color=MUTED)
    some = affect[_spread(len(affect))]
    for place, label in enumerate(present):
        x = "valence" if place >= len(present) - columns else ""
        axes = axes_in(figure, x, "" if place % columns else "arousal", grid=None, place=(rows, columns, place + 1))
        for sector in range(divisions):
            angle = 2 * math.pi * sector / divisions
            axes.plot([0, 1.5 * math.cos(angle)], [0, 1.5 * math.sin(angle)], color=GRID, linewidth=0.8, zorder=1)
        axes.add_patch(_circle())
        axes.scatter(some[:, 0], some[:, 1], s=1, color=GRID, linewidths=0, zorder=2, rasterized=True)
        own = affect[targets == label]
        dots = own[_spread(len(own))]
        style: dict[str, Any] = {"color": COLOURS[0], "alpha": 0.5, "linewidths": 0, "rasterized": True}
        axes.scatter(dots[:, 0], dots[:, 1], s=3, zorder=3, **style)
        axes.plot(*own.mean(axis=0), marker="X", color=COLOURS[1], markersize=7, markeredgecolor=PAPER, zorder=4)
        axes.set(xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), xticks=[-1, 0, 1], yticks=[-1, 0, 1], aspect="equal")
        axes.set_title(f"{shown([labels[label]])[0]} ({len(own):,})", fontsize=SMALL_PT, color=INK)
    return figure


def feature_map(points: Floats, targets: NDArray[np.int64], labels: Sequence[str], centres: Floats | None) -> "Figure":
    """(N, 2) places of faces in a map of their features, coloured by class, and (C, 2) places of the class centres."""
    figure = figure_of(WIDTH_IN, 5.2)
    axes = axes_in(figure, "", "", grid=None)
    axes.set(xticks=[], yticks=[])
    marks = []
    for label in range(len(labels)):
        own = points[targets == label]
        style: dict[str, Any] = {"color": COLOURS[label % 8], "marker": MARKS[label % 8]}
        axes.scatter(own[:, 0], own[:, 1], s=8, linewidths=0, alpha=0.45, rasterized=True, **style)
        marks += axes.plot([], [], linestyle="none", markersize=6, **style)
        if centres is not None:
            edge: dict[str, Any] = {"markersize": 11, "markeredgecolor": INK, "markeredgewidth": 1.4, "zorder": 5}
            axes.plot(*centres[label], linestyle="none", **style, **edge)
    if centres is None:
        legend_above(figure, marks, labels)
    else:
        ring = axes.plot([], [], "o", markerfacecolor="none", **edge)
        legend_above(figure, [*marks, *ring], [*labels, "mean of the class"])
    return figure


def relations(values: Floats, names: Sequence[str], lowest: float, x: str = "", y: str = "") -> "Figure":
    """(K, K) relations between `names`, in [lowest, 1]: numbers, shaded; with a `lowest` below 0 by two colours.

    `x` and `y` say what columns and rows are.
    """
    from matplotlib.colors import LinearSegmentedColormap

    count = len(names)
    figure = figure_of(max(WIDTH_IN, 1.6 + 0.5 * count), 1.1 + 0.45 * count)
    axes = axes_in(figure, x, y, grid=None)
    below = ["#8c3b00", "#f0b88a"] if lowest < 0 else []
    shades = LinearSegmentedColormap.from_list("shades", [*below, PAPER, "#9ecae1", "#08306b"])
    axes.imshow(values, cmap=shades, vmin=lowest, vmax=1, aspect="auto")
    for row in range(count):
        for column in range(count):
            value = float(values[row, column])
            ink = PAPER if abs(value) > 0.6 else INK if value else MUTED
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=ink, fontsize=SMALL_PT)
    axes.set_xticks(range(count), shown(names), rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(count), shown(names))
    axes.tick_params(length=0)
    return figure


def captioned_faces(
    faces: Sequence[NDArray[np.uint8]], captions: Sequence[str], right: Sequence[bool], columns: int = 6
) -> "Figure":
    """Faces, each (H, W) gray or (H, W, 3) RGB uint8, with lines of text below; blue where they are right, else red."""
    columns = min(columns, len(faces))
    rows = math.ceil(len(faces) / columns)
    lines = max(caption.count("\n") + 1 for caption in captions)
    figure = figure_of(0.2 + 1.45 * columns, 0.2 + rows * (1.25 + 0.15 * lines))
    for place, (face, caption, is_right) in enumerate(zip(faces, captions, right, strict=True)):
        axes = axes_in(figure, "", "", grid=None, place=(rows, columns, place + 1))
        axes.imshow(face, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        colour = COLOURS[0] if is_right else COLOURS[1]
        axes.set_xlabel(shown_lines(caption), fontsize=SMALL_PT, color=colour, linespacing=1.25)
    return figure


def shown_lines(text: str) -> str:
    """Text of several lines as it stands in a figure."""
    return "\n".join(shown(text.split("\n")))


def _circle() -> Any:
    from matplotlib.patches import Circle

    return Circle((0, 0), 1, fill=False, edgecolor=GRID, linewidth=0.8)


def _spread(count: int) -> NDArray[np.int64]:
    """Rows of at most `_MOST_POINTS` of `count`, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, _MOST_POINTS)).astype(np.int64))
