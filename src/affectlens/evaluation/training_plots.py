"""Figures of training (batches, losses), in the style of `plots`."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from affectlens.evaluation.plots import (
    COLOURS,
    GRID,
    INK,
    MUTED,
    SMALL_PT,
    WIDTH_IN,
    axes_in,
    figure_of,
    legend_above,
    shown,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_RANGE = (5, 95)
"""Percentiles between which most batches lie."""


def batch_shares(labels: Sequence[str], batches: Mapping[str, NDArray[np.integer]]) -> "Figure":
    """Mean share of each of C classes in the batches of each sampler, and the range of nine in ten batches.

    `batches` maps a sampler to (B, C) integers, the faces of each class in each batch (>= 0, not all 0 in a batch);
    batches are of one size.
    """
    thick = 0.8 / len(batches)
    size = int(next(iter(batches.values()))[0].sum())
    figure = figure_of(WIDTH_IN, 1.1 + len(labels) * max(0.34, 0.22 * len(batches)))
    axes = axes_in(figure, f"share of a batch of {size:,}: mean, and range of nine in ten batches", "", grid="x")
    names = []
    for i, (sampler, drawn) in enumerate(batches.items()):
        shares = drawn / drawn.sum(axis=1, keepdims=True)
        places = np.arange(len(labels)) + (i - (len(batches) - 1) / 2) * thick
        axes.barh(places, shares.mean(axis=0), 0.92 * thick, color=COLOURS[(5, 4)[i % 2]])
        low, high = np.percentile(shares, _RANGE, axis=0)
        axes.hlines(places, low, high, color=INK, linewidth=1.2)
        for place, share, end in zip(places, shares.mean(axis=0), high, strict=True):
            style: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": SMALL_PT, "color": INK}
            axes.annotate(f"{100 * share:.1f} %", (max(end, share), place), xytext=(4, 0), **style)
        names.append(f"{sampler} ({len(drawn):,} batch{'' if len(drawn) == 1 else 'es'})")
    axes.set_yticks(range(len(labels)), shown(labels))
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.14)
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    legend_above(figure, axes.containers, names)
    return figure


def focal_curves(probability: NDArray[np.floating], losses: Mapping[float, NDArray[np.floating]]) -> "Figure":
    """Losses of a face against the probability of its true class: (P,) floats in (0, 1), ascending.

    `losses` maps a gamma (>= 0) to (P,) floats in nats, >= 0; those above 5 are not shown.
    """
    figure = figure_of(WIDTH_IN, 3.6)
    axes = axes_in(figure, "probability of the true class", "loss (nats)")
    axes.axvspan(0.5, 1, color=GRID, alpha=0.5, linewidth=0, zorder=0)
    dashes = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
    for i, loss in enumerate(losses.values()):
        axes.plot(probability, loss, color=COLOURS[i % 8], linestyle=dashes[i % len(dashes)], linewidth=1.8)
    axes.set(xlim=(0, 1), ylim=(0, 5))
    style: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "ha": "center", "va": "top", "fontsize": SMALL_PT}
    axes.text(0.75, 0.97, "well-classified faces", color=MUTED, **style)
    names = [f"γ = {gamma:g}" + ("" if gamma else " (cross-entropy)") for gamma in losses]
    legend_above(figure, axes.lines, names)
    return figure
