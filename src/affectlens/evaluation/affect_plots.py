"""Figures of faces, and of their valence and arousal, in the style of `plots`."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import cv2
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
    shown,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = NDArray[np.floating]
DIVISIONS = (0, 4, 8, 12)
"""Into how many sectors the plane can be shown to fall; 0: none."""
_MAX_POINTS = 3000


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


def captioned_faces(
    faces: Sequence[NDArray[np.uint8]], captions: Sequence[str], right: Sequence[bool], columns: int = 6
) -> "Figure":
    """Faces, each (H, W) gray or (H, W, 3) RGB uint8, with lines of text below; blue where they are right, else red.

    Cells are as wide as the first picture asks for.
    """
    columns = min(columns, len(faces))
    rows = math.ceil(len(faces) / columns)
    lines = max(caption.count("\n") + 1 for caption in captions)
    aspect = faces[0].shape[1] / faces[0].shape[0]
    figure = figure_of(0.2 + 1.45 * aspect * columns, 0.2 + rows * (1.25 + 0.15 * lines))
    for place, (face, caption, is_right) in enumerate(zip(faces, captions, right, strict=True)):
        axes = axes_in(figure, "", "", grid=None, place=(rows, columns, place + 1))
        axes.imshow(face, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        colour = COLOURS[0] if is_right else COLOURS[1]
        axes.set_xlabel(shown_lines(caption), fontsize=SMALL_PT, color=colour, linespacing=1.25)
    return figure


def answers_side_by_side(
    faces: Sequence[NDArray[np.uint8]], truths: Sequence[str], answers: Mapping[str, Sequence[tuple[str, bool]]]
) -> "Figure":
    """A row per face, (H, W) gray or (H, W, 3) RGB uint8: the face, the truth, and what each model says in lines of
    text; blue where it is right, else red.
    """
    figure = figure_of(2.8 + 1.45 * len(answers), 0.5 + 1.15 * len(faces))
    widths = [1.0, 1.25, *[1.45] * len(answers)]
    grid = figure.add_gridspec(len(faces), len(widths), width_ratios=widths)
    for row, (face, truth) in enumerate(zip(faces, truths, strict=True)):
        axes = axes_in(figure, "", "", grid=None, place=(grid[row, 0],))
        axes.imshow(face, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        said = {"ground truth": (truth, INK)}
        for model, theirs in answers.items():
            text, is_right = theirs[row]
            said[model] = (text, COLOURS[0] if is_right else COLOURS[1])
        for column, (name, (text, colour)) in enumerate(said.items(), start=1):
            cell = axes_in(figure, "", "", grid=None, place=(grid[row, column],))
            cell.set(xticks=[], yticks=[])
            style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": SMALL_PT, "linespacing": 1.4}
            cell.text(0.5, 0.5, shown_lines(text), color=colour, transform=cell.transAxes, **style)
            if row == 0:
                cell.set_title(shown_lines(textwrap.fill(name, 20)), fontsize=SMALL_PT, color=MUTED)
    return figure


def emotion_space(
    faces: Sequence[NDArray[np.uint8]], scores: Floats, captions: Sequence[str], labels: Sequence[str]
) -> "Figure":
    """Faces above, (H, W) gray or (H, W, 3) RGB uint8, and below a line for each across the axes of the C labels, at
    its (N, C) scores.
    """
    figure = figure_of(max(WIDTH_IN, 0.62 * len(labels) + 0.6, 1.35 * len(faces)), 4.9)
    grid = figure.add_gridspec(2, len(faces), height_ratios=[1, 1.9])
    below = axes_in(figure, "", "logit minus the mean logit of the face", grid="y", place=(grid[1, :],))
    places = range(len(labels))
    below.vlines(places, scores.min(), scores.max(), color=GRID, linewidth=0.8, zorder=1)
    for i, (face, own, caption) in enumerate(zip(faces, scores, captions, strict=True)):
        line: dict[str, Any] = {"color": COLOURS[i % 8], "marker": MARKS[i % 8], "linewidth": 1.6}
        below.plot(places, own, markersize=5, zorder=3, **line)
        axes = axes_in(figure, "", "", grid=None, place=(grid[0, i],))
        axes.imshow(face, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(visible=True, color=COLOURS[i % 8], linewidth=3)
        axes.plot(0.5, 1.12, transform=axes.transAxes, clip_on=False, markersize=7, **line)
        axes.set_xlabel(shown_lines(caption), fontsize=SMALL_PT, color=INK, linespacing=1.25)
    below.set_xticks(places, shown(labels), rotation=30, ha="right", rotation_mode="anchor")
    below.tick_params(axis="x", length=0)
    below.set_xlim(-0.35, len(labels) - 0.65)
    return figure


def dotted(picture: NDArray[np.uint8], points_xy: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(H, W) gray or (H, W, 3) RGB and (K, 2) points in its pixels -> in colour, some 240 pixels large, with a dot at
    each known point.
    """
    scale = max(1, round(240 / max(picture.shape[:2])))
    rgb = picture if picture.ndim == 3 else np.stack([picture] * 3, axis=-1)
    large = np.repeat(np.repeat(rgb, scale, axis=0), scale, axis=1)
    for x, y in points_xy[np.isfinite(points_xy).all(axis=1)] * scale:
        cv2.circle(large, (round(float(x)), round(float(y))), 3, (0, 255, 255), -1, cv2.LINE_AA)
    return large


def shown_lines(text: str) -> str:
    """Text of several lines as it stands in a figure."""
    return "\n".join(shown(text.split("\n")))


def _circle() -> Any:
    from matplotlib.patches import Circle

    return Circle((0, 0), 1, fill=False, edgecolor=GRID, linewidth=0.8)


def _spread(count: int) -> NDArray[np.int64]:
    """Rows of at most `_MAX_POINTS` of `count`, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, _MAX_POINTS)).astype(np.int64))
