"""Reliability of a model: accuracy and calibration on corrupted pictures and in groups; metrics and a report."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from affectlens.core.quality import Quality
from affectlens.evaluation import evaluation, metrics, plots
from affectlens.evaluation.corruptions import CORRUPTIONS, SEVERITIES, Pixels
from affectlens.evaluation.evaluation import Scores
from affectlens.evaluation.plots import COLOURS, MUTED, SMALL_PT, axes_in, figure_of, legend_above
from affectlens.evaluation.report import (
    Metrics,
    ReportFigure,
    ReportPage,
    Section,
    Table,
    classes_section,
    groups_section,
    number,
    percent,
    render,
    summary_section,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_QUANTILES = 4
_MIN_FACES = 30


def measured_groups(qualities: Sequence[Quality]) -> dict[str, NDArray[np.str_]]:
    """Quarters of N faces by what can be measured of them, none of what hardly differs; their flaws, if there are any.

    A quarter is called by its bounds, so that the groups of `Scores` sort by them.
    """
    measures = {
        "size in pixels": [one.size_px for one in qualities],
        "sharpness": [one.sharpness for one in qualities],
        "brightness": [one.brightness for one in qualities],
        "contrast": [one.contrast for one in qualities],
    }
    found = {name: np.array(values) for name, values in measures.items()}
    groups = {name: _quarters(values) for name, values in found.items() if np.ptp(values) > 0.01 * abs(values.mean())}
    flaws = np.array([one.code for one in qualities])
    return groups | ({"quality": flaws} if (flaws != "ok").any() else {})


def _quarters(values: NDArray[np.float64]) -> NDArray[np.str_]:
    edges = np.unique(np.quantile(values, np.linspace(0, 1, _QUANTILES + 1)))
    place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    digits = 0 if edges[-1] > 10 else 2
    while len({f"{edge:.{digits}f}" for edge in edges}) < len(edges):
        digits += 1
    names = np.array([f"{low:.{digits}f} to {high:.{digits}f}" for low, high in pairwise(edges)])
    return names[place]


def audit(clean: Scores, corrupted: Mapping[str, Sequence[Scores]]) -> dict[str, Any]:
    """All figures, ready for JSON.

    - `clean`: `evaluation.compute_metrics`, with its groups, and mean `confidence`
    - `corruptions`: name -> for each severity `level`, `accuracy` with `accuracy_interval`, mean `confidence`,
      `expected_calibration_error`, `coverage`, `accuracy_when_certain`
    - `calibration`: group column -> value -> `faces`, `accuracy`, `confidence`, `expected_calibration_error` (None for
      fewer than 30 faces, where it is mostly chance)
    """
    labelled = clean.keep(clean.targets >= 0)
    return {
        "clean": evaluation.compute_metrics(clean) | {"confidence": _confidence(clean)},
        "corruptions": {
            name: [
                {"level": level, **_metrics(part)} for level, part in zip(CORRUPTIONS[name].levels, parts, strict=True)
            ]
            for name, parts in corrupted.items()
        },
        "calibration": {
            column: {value: _calibration(labelled.keep(values == value)) for value in metrics.group_names(values)}
            for column, values in labelled.groups.items()
        },
    }


def _confidence(scores: Scores) -> float:
    """Mean top probability of the faces with a label."""
    return float(scores.probabilities[scores.targets >= 0].max(axis=1).mean())


def _metrics(scores: Scores) -> dict[str, Any]:
    found = evaluation.compute_metrics(scores)
    kept = ("accuracy", "accuracy_interval", "expected_calibration_error", "coverage", "accuracy_when_certain")
    return {name: found[name] for name in kept} | {"confidence": _confidence(scores)}


def _calibration(scores: Scores) -> dict[str, Any]:
    enough = len(scores) >= _MIN_FACES
    error = metrics.expected_calibration_error(scores.probabilities, scores.targets) if enough else None
    right = metrics.accuracy(scores.predicted, scores.targets)
    sure = _confidence(scores)
    return {"faces": len(scores), "accuracy": right, "confidence": sure, "expected_calibration_error": error}


def example_sheet(face: Pixels) -> "Figure":
    """A face as it is and in each severity of each corruption."""
    rows = [[face, *(how.corrupt(face, level, 1) for level in how.levels)] for how in CORRUPTIONS.values()]
    return plots.picture_sheet(rows, list(CORRUPTIONS))


def severity_curves(clean: Metrics, corruptions: Mapping[str, Sequence[Mapping[str, Any]]]) -> "Figure":
    """Accuracy and mean confidence against severity, a small figure for each corruption; 0 is the picture as it is."""
    columns = 2
    lines = -(-len(corruptions) // columns)
    figure = figure_of(plots.WIDTH_IN, 0.5 + 1.5 * lines)
    sure = clean["confidence"]
    for place, (name, rows) in enumerate(corruptions.items()):
        low = place >= len(corruptions) - columns
        axes = axes_in(figure, "severity" if low else "", "", place=(lines, columns, place + 1))
        axes.set_title(name, fontsize=SMALL_PT, color=MUTED, loc="left")
        severities = range(SEVERITIES + 1)
        axes.plot(
            severities, [sure, *(row["confidence"] for row in rows)], "--", color=COLOURS[1], marker="s", markersize=3
        )
        axes.plot(
            severities,
            [clean["accuracy"], *(row["accuracy"] for row in rows)],
            color=COLOURS[0],
            marker="o",
            markersize=3,
        )
        axes.set(ylim=(0, 1.02), yticks=[0, 0.25, 0.5, 0.75, 1], xticks=list(severities))
        axes.tick_params(labelsize=SMALL_PT, labelbottom=low, labelleft=place % columns == 0)
    legend_above(figure, figure.axes[0].lines, ["mean confidence", "accuracy"])
    return figure


def audit_report(found: Metrics, facts: Mapping[str, str], example: Pixels, title: str = "Audit") -> str:
    """`audit` as one HTML page; `example` is the face that shows the corruptions."""
    clean, corruptions = found["clean"], found["corruptions"]
    groups = [
        _with_calibration(groups_section(column, clean), found["calibration"][column], column)
        for column, group in clean["groups"].items()
        if group
    ]
    sections = [
        summary_section(clean),
        _corruptions(clean, corruptions, example),
        classes_section(clean),
        *groups,
    ]
    return render(ReportPage(title, facts, sections))


def _corruptions(whole: Metrics, corruptions: Mapping[str, Sequence[Mapping[str, Any]]], example: Pixels) -> Section:
    rows = [
        [
            f"{name}, {row['level']:g} {CORRUPTIONS[name].unit}",
            *map(percent, (row["accuracy"], row["confidence"])),
            number(row["expected_calibration_error"]),
            *map(percent, (row["coverage"], row["accuracy_when_certain"])),
        ]
        for name, parts in corruptions.items()
        for row in parts
    ]
    worst = min(corruptions, key=lambda name: corruptions[name][2]["accuracy"])
    doubt = max(corruptions, key=lambda name: corruptions[name][-1]["confidence"] - corruptions[name][-1]["accuracy"])
    said = (
        f"At the third of five severities, {worst} reduces accuracy most, from {percent(whole['accuracy'])} to "
        f"{percent(corruptions[worst][2]['accuracy'])}. The model is most overconfident under {doubt}: at the "
        f"fifth severity its accuracy is {percent(corruptions[doubt][-1]['accuracy'])}, but its mean confidence "
        f"{percent(corruptions[doubt][-1]['confidence'])}."
    )
    pictures = [
        ReportFigure(
            severity_curves(whole, corruptions),
            f"Accuracy and mean confidence at severities 0 to 5 of {', '.join(corruptions)}; the table has the "
            "numbers.",
            "Where the dashed line is above the solid one, the model is overconfident.",
        ),
        ReportFigure(
            example_sheet(example),
            f"One face unchanged, and at severities 1 to 5 of {', '.join(corruptions)}.",
            "What the severities look like; the first picture in each row is the unchanged face.",
        ),
    ]
    header = ["corruption", "accuracy", "confidence", "calibration error", "coverage", "accuracy when certain"]
    return Section("Corrupted pictures", said, pictures, [Table("Every severity", header, rows, folded=True)])


def _with_calibration(section: Section, group: Mapping[str, Mapping[str, Any]], column: str) -> Section:
    """The section and a table more: whether the model is as sure in each group as it may be."""
    rows = [
        [
            value,
            str(row["faces"]),
            *map(percent, (row["accuracy"], row["confidence"])),
            number(row["expected_calibration_error"]),
        ]
        for value, row in group.items()
    ]
    table = Table(f"Calibration by {column}", [column, "faces", "accuracy", "confidence", "calibration error"], rows)
    return Section(section.heading, section.text, section.pictures, [*section.tables, table])
