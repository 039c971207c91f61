"""Figures of evaluations and training runs in one style; each function returns a matplotlib figure, `save` writes it.

Labels have the colours of their expressions. All others are those of Okabe and Ito (2008), Color universal design,
which are distinguishable with any form of colour blindness; lines also differ in their markers. Figures are narrow, so
that they can be read on a phone, and have no title: the surrounding text says what they show. pyplot and its global
state are not used.
"""

import io
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from affectlens.core import expressions
from affectlens.core.errors import BadData, MissingExtra
from affectlens.core.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Numbers = Sequence[float | None]

WIDTH_IN = 5.6
INK, MUTED, GRID, PAPER = "#1f2933", "#52606d", "#e4e7eb", "#ffffff"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#1f2933", "#8c8c8c")
MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")
SIZE_PT, SMALL_PT = 9.0, 8.0
MAX_NAME_LENGTH = 32

MIN_BIN_FACES = 10
"""A bin of fewer tells nothing of calibration."""


def confusion_matrix(matrix: Sequence[Sequence[int]], labels: Sequence[str]) -> "Figure":
    """(C, C) counts, rows are targets; a cell has its count above its per cent of the row, which shades it."""
    classes = len(labels)
    figure = figure_of(WIDTH_IN + 0.55 * max(0, classes - 8), 0.58 * classes + 0.9)
    from matplotlib.colors import LinearSegmentedColormap

    axes = axes_in(figure, "predicted", "labelled", grid=None)
    share = [[count / max(sum(row), 1) for count in row] for row in matrix]
    shades = LinearSegmentedColormap.from_list("shades", [PAPER, "#9ecae1", COLOURS[0], "#08306b"])
    axes.imshow(share, cmap=shades, vmin=0, vmax=1, aspect="auto")
    for row in range(classes):
        for column in range(classes):
            text = f"{matrix[row][column]}\n{100 * share[row][column]:.0f} %" if sum(matrix[row]) else "–"
            ink = PAPER if share[row][column] > 0.58 else INK if matrix[row][column] else MUTED
            axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=SMALL_PT, linespacing=1.25)
    axes.set_xticks(range(classes), shown(labels), rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(classes), shown(labels))
    edges = [i + 0.5 for i in range(classes - 1)]
    axes.vlines(edges, -0.5, classes - 0.5, color=GRID, linewidth=0.8)
    axes.hlines(edges, -0.5, classes - 0.5, color=GRID, linewidth=0.8)
    axes.tick_params(length=0)
    return figure


def curves(rows: Sequence[Mapping[str, Any]]) -> "Figure":
    """Loss and accuracy of each epoch, from the rows of a run's curves.csv (numbers or their text).

    A column "epoch", columns ending in `loss` or `nll` (above), in `accuracy`, `recall` or `f1` (below) and in `ccc`
    (at the bottom); others are left out, and so is a part without columns.

    Raises:
        BadData: there are no rows, or none of these columns.
    """
    columns = list(rows[0]) if rows else []
    parts = {
        "loss": [name for name in columns if name.endswith(("loss", "nll"))],
        "accuracy": [name for name in columns if name.endswith(("accuracy", "recall", "f1"))],
        "concordance": [name for name in columns if name.endswith("ccc")],
    }
    parts = {label: names for label, names in parts.items() if names}
    if not parts or "epoch" not in columns:
        raise BadData(f"training curves need rows with 'epoch' and a loss or an accuracy, got {columns or 'no rows'}")
    figure = figure_of(WIDTH_IN, 0.6 + 2.1 * len(parts))
    epochs = [int(row["epoch"]) for row in rows]
    for place, (label, names) in enumerate(parts.items()):
        axes = axes_in(figure, "epoch" if place == len(parts) - 1 else "", label, place=(len(parts), 1, place + 1))
        for i, name in enumerate(names):
            values = [_float(row.get(name)) for row in rows]
            mark = MARKS[i] if len(rows) <= 25 else ""
            axes.plot(epochs, values, color=COLOURS[i], marker=mark, markersize=3.5, linewidth=1.5, label=_words(name))
        axes.set_xticks(epochs) if len(epochs) < 3 else axes.locator_params(axis="x", integer=True)
        if label == "accuracy":
            axes.set_ylim(max(axes.get_ylim()[0], 0), min(axes.get_ylim()[1], 1))
        _legend(axes, loc="best")
    return figure


def reliability(bins: Mapping[str, Numbers]) -> "Figure":
    """Accuracy against confidence over the bins of `metrics.Reliability`, and how many faces each holds.

    `bins` has the keys edges, confidence, accuracy and count. The line leaves out bins of fewer than `MIN_BIN_FACES`.
    """
    edges, count = [float(edge or 0) for edge in bins["edges"]], [float(faces or 0) for faces in bins["count"]]
    width = edges[1] - edges[0]
    figure = figure_of(WIDTH_IN, 4.6)
    upper = axes_in(figure, "", "accuracy", place=(4, 1, (1, 3)))
    upper.bar(
        edges[:-1],
        [value or 0 for value in bins["accuracy"]],
        width,
        align="edge",
        color=COLOURS[5],
        edgecolor=PAPER,
        label="accuracy in the bin",
    )
    upper.plot([0, 1], [0, 1], color=MUTED, linestyle="--", linewidth=1, label="confidence = accuracy")
    points = zip(bins["confidence"], bins["accuracy"], count, strict=True)
    if known := [point for *point, faces in points if faces >= MIN_BIN_FACES]:
        upper.plot(
            *zip(*known, strict=True), color=COLOURS[0], marker="o", markersize=4, label="at the mean confidence"
        )
    upper.set(xlim=(0, 1), ylim=(0, 1.02))
    upper.tick_params(labelbottom=False)
    _legend(upper, loc="upper left")
    lower = axes_in(figure, "confidence", "faces", place=(4, 1, 4))
    lower.bar(edges[:-1], count, width, align="edge", color=MUTED, edgecolor=PAPER)
    lower.set(xlim=(0, 1))
    return figure


def selective(
    models: Mapping[str, Mapping[str, Numbers]], chosen: Mapping[str, tuple[float | None, float | None]] | None = None
) -> "Figure":
    """Accuracy against coverage, a line per model, from `coverage` and `accuracy` of `metrics.Selective`.

    `chosen` circles the (coverage, accuracy) of a model's threshold of uncertainty. The scale leaves out the jumps at a
    coverage below 5 %, where single faces decide.
    """
    figure = figure_of(WIDTH_IN, 3.6)
    axes = axes_in(figure, "coverage: fraction of faces answered", "accuracy on answered faces")
    heights = []
    for i, curve in enumerate(models.values()):
        coverage, accuracy = ([_float(value) for value in curve[key]] for key in ("coverage", "accuracy"))
        heights += [a for c, a in zip(coverage, accuracy, strict=True) if c >= 0.05]
        axes.plot(coverage, accuracy, markevery=max(1, len(coverage) // 8), **_line(i))
    places = [place for place in (chosen or {}).values() if None not in place]
    if places:
        axes.plot(*zip(*places, strict=True), "o", mfc="none", mec=INK, mew=1.5, markersize=11)
    if heights:
        room = 0.06 * max(max(heights) - min(heights), 0.05)
        axes.set(ylim=(min(heights) - room, max(heights) + room))
    axes.set_xlim(0, 1.01)
    legend_above(figure, axes.lines, [*models, *(["threshold of uncertainty"] if places else [])])
    return figure


def per_class_bars(models: Mapping[str, Numbers], labels: Sequence[str], measure: str = "recall") -> "Figure":
    """A fraction in [0, 1] for each class, a bar per model; None where a class has no faces."""
    texts = [[_percent(value) for value in part] for part in models.values()]
    figure = bars(labels, models, shown([measure])[0], texts)
    _unit_scale(figure.axes[0])
    return figure


def group_bars(groups: Mapping[str, Mapping[str, Any]], column: str) -> "Figure":
    """Accuracy of each value of a group column with its 95 % interval, from the `groups` of `compute_metrics`."""
    names = [f"{name} ({row['faces']})" for name, row in groups.items()]
    measure = f"accuracy by {shown([column])[0]} (faces), 95 % interval"
    figure = bars(names, {"accuracy": [row["accuracy"] for row in groups.values()]}, measure, None)
    axes = figure.axes[0]
    for place, row in enumerate(groups.values()):
        axes.patches[place].set_color(COLOURS[5])
        low, high = row["accuracy_interval"]
        axes.plot([low, high], [place, place], color=INK, linewidth=1.4, marker="|", markersize=7)
        axes.text(high + 0.02, place, _percent(row["accuracy"]), va="center", fontsize=SMALL_PT, color=INK)
    _unit_scale(axes)
    return figure


def group_labels(groups: Mapping[str, Mapping[str, Any]], labels: Sequence[str], column: str) -> "Figure":
    """Share of each label among the faces of each value of a group column (`groups` of `compute_metrics`)."""
    figure = figure_of(WIDTH_IN, 1.3 + 0.32 * len(groups))
    axes = axes_in(figure, f"share of each label by {shown([column])[0]} (faces)", "", grid="x")
    places = range(len(groups))
    starts = [0.0] * len(groups)
    colours = colours_of(labels)
    for i, label in enumerate(labels):
        shares = [row["labels"][i] / row["faces"] for row in groups.values()]
        hatch = "//" if i >= len(COLOURS) else None
        axes.barh(places, shares, 0.74, starts, color=colours[label], edgecolor=PAPER, hatch=hatch, label=label)
        starts = [start + share for start, share in zip(starts, shares, strict=True)]
    axes.set_yticks(places, shown([f"{name} ({row['faces']})" for name, row in groups.items()]))
    axes.set_ylim(len(groups) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.set(xlim=(0, 1), xticks=[0, 0.2, 0.4, 0.6, 0.8, 1])
    legend_above(figure, axes.containers, labels)
    return figure


def colours_of(labels: Sequence[str]) -> Mapping[str, str]:
    """A colour for each label: that of its expression, another for labels of the user's own."""
    others = iter(COLOURS * (1 + len(labels) // len(COLOURS)))
    return {
        label: "#{:02x}{:02x}{:02x}".format(*expressions.COLOURS[label])
        if label in expressions.COLOURS
        else next(others)
        for label in labels
    }


def parallel_coordinates(
    lines: Mapping[str, Numbers],
    names: Sequence[str],
    limits: tuple[float, float] | None = None,
    measure: str = "",
) -> "Figure":
    """One line per model (or class) across several measures.

    With `limits` all axes have that one scale. Without, each goes from its lowest to its highest value, which are
    written at its ends. A None leaves a gap. `measure` names the common scale.
    """
    figure = figure_of(max(WIDTH_IN, 0.62 * len(names) + 0.6), 3.6 + 0.2 * math.ceil(len(lines) / 4))
    axes = axes_in(figure, "", measure, grid=None if limits is None else "y")
    spans = [limits or _span([line[i] for line in lines.values()]) for i in range(len(names))]
    places = range(len(names))
    axes.vlines(places, 0, 1, color=GRID if limits else MUTED, linewidth=0.8, zorder=1)
    colours = colours_of(list(lines))
    for i, (name, line) in enumerate(lines.items()):
        heights = [math.nan if v is None else _height(v, *spans[k]) for k, v in enumerate(line)]
        axes.plot(places, heights, zorder=3, **_line(i) | {"color": colours[name]})
    if limits is None:
        for place, (low, high) in enumerate(spans):
            for height, value, align in ((-0.03, low, "top"), (1.03, high, "bottom")):
                axes.text(place, height, f"{value:.3f}", ha="center", va=align, fontsize=SMALL_PT, color=MUTED)
        axes.set(ylim=(-0.12, 1.12), yticks=[])
    else:
        ticks = [0, 0.25, 0.5, 0.75, 1]
        axes.set_yticks(ticks, [f"{limits[0] + t * (limits[1] - limits[0]):g}" for t in ticks])
    axes.set_xlim(-0.35, len(names) - 0.65)
    axes.set_xticks(places, shown(names), rotation=30, ha="right", rotation_mode="anchor")
    axes.tick_params(axis="x", length=0)
    legend_above(figure, axes.lines, list(lines))
    return figure


def picture_sheet(sheet: Sequence[Sequence[Any]], names: Sequence[str], columns: Sequence[str] = ()) -> "Figure":
    """Rows of pictures, each (H, W) gray or (H, W, 3) RGB uint8 of any size; `names` stand left of them, those of the
    `columns` above the first.
    """
    width = max(len(row) for row in sheet)
    figure = figure_of(0.7 + 0.95 * width, 0.2 + 0.2 * bool(columns) + 0.95 * len(sheet))
    for i, row in enumerate(sheet):
        for j, picture in enumerate(row):
            axes = axes_in(figure, "", "", grid=None, place=(len(sheet), width, i * width + j + 1))
            axes.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            if j == 0:
                axes.set_ylabel(shown([names[i]])[0], fontsize=SIZE_PT, color=INK, rotation=0, ha="right", va="center")
            if i == 0 and columns:
                axes.set_title(shown([columns[j]])[0], fontsize=SIZE_PT, color=INK)
    return figure


def save(figure: "Figure", path: Path) -> None:
    """Write a PNG; what was there before stays until it is whole.  Raises OSError."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=200)
    atomic_write(path, stream.getvalue())


def svg(figure: "Figure") -> bytes:
    """The figure as a scalable drawing; the same figure gives the same bytes.

    Letters are shapes, or text where matplotlib's font lacks one of them: who looks at it may have a font that has it.
    """
    import matplotlib
    from matplotlib.font_manager import FontProperties, findfont, get_font
    from matplotlib.text import Text

    said = {letter for text in figure.findobj(Text) for letter in text.get_text() if not letter.isspace()}
    font = get_font(findfont(FontProperties()))
    letters = "path" if all(font.get_char_index(ord(letter)) for letter in said) else "none"
    stream = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "affectlens", "svg.fonttype": letters}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return stream.getvalue()


def figure_of(width_in: float, height_in: float) -> "Figure":
    """An empty figure that draws with Agg.  Raises MissingExtra."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError as error:
        raise MissingExtra("drawing figures", "plots") from error
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)
    figure = Figure(figsize=(width_in, height_in), layout=layout, facecolor=PAPER)
    FigureCanvasAgg(figure)
    return figure


def axes_in(figure: "Figure", x: str, y: str, grid: str | None = "both", place: Any = (1, 1, 1)) -> "Axes":
    """Axes in the style of the house, labelled `x` and `y`."""
    axes = figure.add_subplot(*place)
    axes.set_facecolor(PAPER)
    axes.set_xlabel(x, fontsize=SIZE_PT, color=MUTED)
    axes.set_ylabel(y, fontsize=SIZE_PT, color=MUTED)
    axes.tick_params(labelsize=SIZE_PT, labelcolor=INK, color=GRID)
    axes.spines[:].set_visible(False)
    axes.set_axisbelow(True)
    if grid is not None:
        axes.grid(axis=grid, color=GRID, linewidth=0.8)  # type: ignore[arg-type]
    return axes


def bars(
    labels: Sequence[str], series: Mapping[str, Numbers], measure: str, texts: Sequence[Sequence[str]] | None
) -> "Figure":
    """Horizontal bars, first label on top, those of one label together; `texts` stand at their ends."""
    thick = 0.8 / len(series)
    figure = figure_of(WIDTH_IN, 0.9 + len(labels) * max(0.32, 0.19 * len(series)))
    axes = axes_in(figure, measure, "", grid="x")
    for i, values in enumerate(series.values()):
        places = [place + (i - (len(series) - 1) / 2) * thick for place in range(len(labels))]
        axes.barh(places, [value or 0 for value in values], 0.92 * thick, color=COLOURS[i % 8])
        for place, value, text in zip(places, values, texts[i] if texts else (), strict=bool(texts)):
            axes.annotate(
                text,
                (value or 0, place),
                xytext=(3, 0),
                textcoords="offset points",
                va="center",
                fontsize=SMALL_PT,
                color=INK,
            )
    axes.set_yticks(range(len(labels)), shown(labels))
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.12)
    if len(series) > 1:
        legend_above(figure, axes.containers, list(series))
    return figure


def _unit_scale(axes: "Axes") -> None:
    axes.set_xlim(0, 1.16)
    axes.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1])


def _legend(axes: "Axes", loc: Literal["best", "upper left"]) -> None:
    axes.legend(loc=loc, fontsize=SMALL_PT, labelcolor=INK, facecolor=PAPER, edgecolor="none", framealpha=0.85)


def legend_above(figure: "Figure", marks: Sequence[Any], names: Sequence[str]) -> None:
    """A legend of `marks` in as many columns as the width has room for."""
    texts = shown(names)
    column_in = 0.55 + 0.068 * max(len(name) for name in texts)
    columns = max(1, min(len(texts), int(figure.get_figwidth() / column_in)))
    style: dict[str, Any] = {"fontsize": SMALL_PT, "frameon": False, "labelcolor": INK}
    figure.legend(marks, texts, loc="outside upper center", ncols=columns, **style)


def shown(names: Sequence[str]) -> list[str]:
    """Names as they stand in a figure: long ones cut, dollar signs no beginning of a formula."""
    cut = (name if len(name) <= MAX_NAME_LENGTH else f"{name[: MAX_NAME_LENGTH - 1]}…" for name in names)
    return [name.replace("$", r"\$") for name in cut]


def _line(i: int) -> dict[str, Any]:
    """Colour and mark of the i-th line, and its dashes from the ninth on."""
    dashes = ("-", "--", ":", "-.")[i // 8 % 4]
    return {"color": COLOURS[i % 8], "linestyle": dashes, "linewidth": 1.6, "marker": MARKS[i % 8], "markersize": 5}


def _span(values: Numbers) -> tuple[float, float]:
    known = [value for value in values if value is not None]
    return (min(known), max(known)) if known else (0.0, 1.0)


def _height(value: float, low: float, high: float) -> float:
    return (value - low) / (high - low) if high > low else 0.5


def _float(value: Any) -> float:
    return math.nan if value in (None, "") else float(value)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _words(name: str) -> str:
    return name.replace("_", " ")
