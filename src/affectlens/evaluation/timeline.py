"""Faces of videos over time, as a figure and as a report."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from affectlens.core.series import Event, Series
from affectlens.evaluation import plots
from affectlens.evaluation.plots import (
    GRID,
    INK,
    MUTED,
    SMALL_PT,
    axes_in,
    colours_of,
    figure_of,
    legend_above,
    shown,
)
from affectlens.evaluation.report import ReportFigure, ReportPage, Section, Table, render

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.floating]

_WIDTH_IN = 8.0
_MAX_POINTS = 1500
_MAX_FACES = 6
_MIN_FRAMES = 5
_GAP_S = 0.5
_STRIP = (1.06, 0.12)
"""Bottom and height of the strip of events, in units of the probabilities below it."""


def timeline(faces: Sequence[Series], events: Sequence[Sequence[Event]]) -> "Figure":
    """Each face's probabilities as areas, its events as a strip above them (a tick is the apex), valence and arousal
    below. The six faces that were seen most are drawn, without those of fewer than five frames.
    """
    chosen = _drawn(faces)
    labels = list(dict.fromkeys(label for i in chosen for label in faces[i].labels))
    colours = colours_of(labels)
    several = len({face.source for face in faces}) > 1
    figure = figure_of(_WIDTH_IN, 0.7 + 2.3 * len(chosen))
    heights = [2.0, 1.0] * len(chosen)
    grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
    ends = [float(faces[i].times_s[-1]) for i in chosen]
    for place, i in enumerate(chosen):
        name = f"person {faces[i].track}" + (f" of {Path(faces[i].source).name}" if several else "")
        above = axes_in(figure, "", "probability", grid=None, place=(grid[2 * place],))
        _areas(above, faces[i], events[i], colours)
        above.set_title(shown([name])[0], fontsize=SMALL_PT, color=INK, loc="left")
        x = "seconds" if place == len(chosen) - 1 else ""
        below = axes_in(figure, x, "", grid="y", place=(grid[2 * place + 1],))
        _affect(below, faces[i])
        for axes in (above, below):
            axes.set_xlim(0, max(*ends, 0.1))
            axes.tick_params(labelsize=SMALL_PT)
            axes.tick_params(labelbottom=bool(x) and axes is below)
    from matplotlib.patches import Patch

    legend_above(figure, [Patch(color=colours[label]) for label in labels], labels)
    return figure


def _drawn(faces: Sequence[Series]) -> list[int]:
    """Which faces have a place in the figure: those seen most, and none of a few frames beside others."""
    by_length = sorted(range(len(faces)), key=lambda i: -len(faces[i].times_s))
    long = [i for i in by_length if len(faces[i].times_s) >= _MIN_FRAMES]
    return sorted((long or by_length)[:_MAX_FACES])


def timeline_report(title: str, faces: Sequence[Series], events: Sequence[Sequence[Event]]) -> str:
    """The figure, a table of the persons and one of the events, as HTML."""
    persons = Table(
        "Each person over all frames",
        _PERSON,
        [_person(face, found) for face, found in zip(faces, events, strict=True)],
    )
    listed = Table(
        "Each event, by video and person",
        ("expression", "video", "person", "onset s", "apex s", "offset s", "duration s", "intensity", "ended"),
        [_event(face, event) for face, found in zip(faces, events, strict=True) for event in found],
    )
    picture = ReportFigure(
        timeline(faces, events),
        f"Probabilities, events, valence and arousal of {len(_drawn(faces))} faces over time; the tables below "
        "have the numbers.",
        "Areas: probabilities of the expressions in each frame. Strip above: events, with a tick at the apex. "
        f"Below: valence (solid) and arousal (dashed). Shows the {len(_drawn(faces))} of {len(faces)} faces that "
        "are seen most.",
    )
    text = (
        "An event starts when the five-frame median of an expression's probability reaches 0.5 and ends when it "
        "falls below 0.35; its onset is where the rise began. Events shorter than 0.2 s are not counted."
    )
    facts = {"videos": str(len({face.source for face in faces})), "faces": str(len(faces))}
    sections = [Section("Over time", "", [picture]), Section("Persons", tables=[persons])]
    return render(ReportPage(title, facts, [*sections, Section("Events", text, tables=[listed])]))


_PERSON = (
    "person", "video", "from s", "to s", "frames", "mostly", "share", "uncertain", "valence", "arousal", "events",
)  # fmt: skip


def _person(face: Series, events: Sequence[Event]) -> list[str]:
    (label, count), *_ = Counter(face.expressions).most_common(1)
    frames = len(face.times_s)
    known = np.isfinite(face.valence) & np.isfinite(face.arousal)
    affect = [f"{values[known].mean():+.2f}" if known.any() else "–" for values in (face.valence, face.arousal)]
    span = [f"{face.times_s[0]:.2f}", f"{face.times_s[-1]:.2f}", str(frames)]
    shares = [f"{count / frames:.0%}", f"{face.uncertain.mean():.0%}"]
    return [str(face.track), Path(face.source).name, *span, label, *shares, *affect, str(len(events))]


def _event(face: Series, event: Event) -> list[str]:
    times = (event.onset_s, event.apex_s, event.offset_s, event.duration_s, event.intensity)
    where = [event.expression, Path(face.source).name, str(face.track)]
    return [*where, *(f"{value:.2f}" for value in times), "yes" if event.ended else "no"]


def _areas(axes: "Axes", face: Series, events: Sequence[Event], colours: Mapping[str, str]) -> None:
    times, values = _thinned(face.times_s, face.probabilities)
    top = np.zeros(len(times))
    for i, label in enumerate(face.labels):
        bottom, top = top, top + values[:, i]
        axes.fill_between(times, bottom, top, color=colours[label], linewidth=0)
    for event in events:
        strip = (event.onset_s, event.duration_s)
        axes.broken_barh([strip], _STRIP, color=colours[event.expression], linewidth=0)
        axes.plot([event.apex_s] * 2, [_STRIP[0], sum(_STRIP)], color=INK, linewidth=1.0)
    axes.set(ylim=(0, 1.22), yticks=[0, 0.5, 1])


def _affect(axes: "Axes", face: Series) -> None:
    times, values = _thinned(face.times_s, np.stack([face.valence, face.arousal], axis=1))
    axes.axhline(0, color=GRID, linewidth=0.8)
    for i, (name, dashes) in enumerate((("valence", "-"), ("arousal", (0, (4, 2))))):
        axes.plot(times, values[:, i], color=plots.COLOURS[i], linestyle=dashes, linewidth=1.2, label=name)
    axes.set(ylim=(-1.05, 1.05), yticks=[-1, 0, 1])
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=SMALL_PT, labelcolor=MUTED, frameon=False)


def _thinned(times_s: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Means over some 1,500 pieces of a (T, K) series, none of them across an absence, for which a NaN stands."""
    steps = np.diff(times_s)
    usual = float(np.median(steps)) if len(steps) else 0.0
    stays = np.split(np.arange(len(times_s)), np.flatnonzero(steps > max(_GAP_S, 5 * usual)) + 1)
    times, means = [], []
    for stay in stays:
        share = max(round(_MAX_POINTS * len(stay) / len(times_s)), 1)
        for piece in np.array_split(stay, min(share, len(stay))):
            times.append(times_s[piece].mean())
            means.append(values[piece].mean(axis=0))
        times.append(times_s[stay[-1]] + 1e-6)
        means.append(np.full(values.shape[1], np.nan))
    return np.array(times[:-1]), np.array(means[:-1])
