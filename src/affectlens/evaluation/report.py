"""Reports as one self-contained HTML page: `render` fills the one template, the rest provides its contents."""

import base64
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Any

from affectlens.core.errors import BadData, MissingExtra
from affectlens.core.outputs import AFFECT
from affectlens.evaluation import plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Metrics = Mapping[str, Any]
"""What `evaluation.compute_metrics` gives, or its JSON read back."""


@dataclass(frozen=True, eq=False)
class ReportFigure:
    """A figure, what it shows for those who cannot see it, and a line below it."""

    figure: "Figure"
    alt: str
    caption: str = ""

    @property
    def base64(self) -> str:
        """The figure as SVG in base64."""
        return base64.b64encode(plots.svg(self.figure)).decode("ascii")


@dataclass(frozen=True)
class Table:
    """Cells as text; the first of a row is its head. A folded table is shown when the reader opens it."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    folded: bool = False

    def __post_init__(self) -> None:
        widths = {len(row) for row in self.rows} - {len(self.header)}
        if widths:
            raise BadData(f"the table '{self.caption}' has {len(self.header)} columns and rows of {sorted(widths)}")


@dataclass(frozen=True)
class Section:
    """A heading, a paragraph, pictures and tables, in this order."""

    heading: str
    text: str = ""
    pictures: Sequence[ReportFigure] = ()
    tables: Sequence[Table] = ()


@dataclass(frozen=True)
class ReportPage:
    """A title, facts (name -> text) and sections."""

    title: str
    facts: Mapping[str, str] = field(default_factory=dict)
    sections: Sequence[Section] = ()


def require() -> None:
    """Raises MissingExtra unless reports can be written; to be asked before the metrics are computed."""
    if not all(importlib.util.find_spec(name) for name in ("jinja2", "matplotlib")):
        raise MissingExtra("writing a report", "report")


def render(report: ReportPage) -> str:
    """The page as HTML; it loads nothing, neither from the network nor from other files.

    Raises:
        MissingExtra: as `require`.
    """
    require()
    import jinja2

    text = resources.files("affectlens.evaluation").joinpath("report.html.j2").read_text(encoding="utf-8")
    settings = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    return settings.from_string(text).render(report=report)


def evaluation_report(
    metrics: Metrics,
    facts: Mapping[str, str],
    title: str = "Evaluation",
    without_near_duplicates: Metrics | None = None,
) -> str:
    """One model on one set of faces, as HTML; beside its metrics those `without_near_duplicates` of training faces."""
    views = {"": metrics}
    if without_near_duplicates:
        views = {"all": metrics, "without near-duplicates of Train": without_near_duplicates}
    sections = [_summary(views)]
    if metrics["faces"]:
        sections += [
            classes_section(metrics),
            _confusion(metrics),
            _calibration(metrics),
            _selective({"model": metrics}),
        ]
    sections += [groups_section(column, metrics) for column, group in metrics["groups"].items() if group]
    return render(ReportPage(title, facts, sections))


def comparison_report(
    models: Mapping[str, Metrics],
    facts: Mapping[str, str],
    against_the_first: Mapping[str, Mapping[str, Any]] | None = None,
    title: str = "Comparison",
) -> str:
    """Several models on the same faces, as HTML.

    `against_the_first` holds, by name, `evaluation.compare` of the first model (a) and another (b).

    Raises:
        BadData: there are no models.
    """
    if not models:
        raise BadData("a comparison needs at least one model, got none")
    scored = {name: metrics for name, metrics in models.items() if metrics["faces"]}
    sections = [_summary(models)]
    if len(scored) > 1:
        sections[0] = _with_picture(sections[0], scored)
    if against_the_first:
        sections.append(_differences(next(iter(models)), against_the_first))
    if scored:
        sections += [_classes_compared(scored), _selective(scored)]
    columns = dict.fromkeys(name for metrics in scored.values() for name, part in metrics["groups"].items() if part)
    sections += [_groups_compared(column, scored) for column in columns]
    return render(ReportPage(title, facts, sections))


def percent(value: float | None) -> str:
    """A fraction as per cent with two decimals, an en dash for None."""
    return "–" if value is None else f"{100 * value:.2f}\N{NO-BREAK SPACE}%"


def number(value: float | None) -> str:
    """Four decimals, an en dash for None."""
    return "–" if value is None else f"{value:.4f}"


def _interval(bounds: Sequence[float | None]) -> str:
    low, high = bounds
    return "–" if low is None or high is None else f"{100 * low:.2f} – {100 * high:.2f}\N{NO-BREAK SPACE}%"


def _rows(metrics: Metrics) -> dict[str, str]:
    """The metrics of the summary by name."""
    rows = {
        "faces": str(metrics["faces"]),
        "faces without a majority label": str(metrics["faces_without_label"]),
        "accuracy": percent(metrics["accuracy"]),
        "95 % interval": _interval(metrics["accuracy_interval"]),
        "mean class accuracy": percent(metrics["mean_class_accuracy"]),
    }
    for mean in ("macro", "weighted"):
        for measure, name in (("precision", "precision"), ("recall", "recall"), ("f1", "F1")):
            rows[f"{mean} {name}"] = percent(metrics[mean][measure])
    rows |= {
        "expected calibration error": number(metrics["expected_calibration_error"]),
        "negative log-likelihood (nats)": number(metrics["negative_log_likelihood"]),
        "threshold of uncertainty": number(metrics["uncertain_below"]),
        "coverage": percent(metrics["coverage"]),
        "accuracy when certain": percent(metrics["accuracy_when_certain"]),
        "area under risk-coverage": number(metrics["area_under_risk_coverage"]),
    }
    if metrics["disagreement"]:
        rows["faces with votes"] = str(metrics["disagreement"]["faces"])
        rows["disagreement (Spearman)"] = number(metrics["disagreement"]["spearman"])
    if metrics["va_source"]:
        rows["valence and arousal are"] = metrics["va_source"]
    for name in ("valence", "arousal"):
        if metrics[name]:
            rows[f"faces with {name}"] = str(metrics[name]["faces"])
            rows |= {
                f"{name} {measure.upper() if measure != 'pearson' else '(Pearson)'}": number(metrics[name][measure])
                for measure in ("ccc", "rmse", "pearson")
            }
    for name, part in metrics.get("outputs", {}).items():
        if name != AFFECT:
            rows |= {key.replace("_", " "): number(part[key]) for key in part if key not in ("faces", "each")}
    return rows


def _summary(models: Mapping[str, Metrics]) -> Section:
    """A row per metric, a column per model."""
    columns = {name: _rows(metrics) for name, metrics in models.items()}
    names = dict.fromkeys(row for column in columns.values() for row in column)
    rows = [[row, *(column.get(row, "–") for column in columns.values())] for row in names]
    return Section("Summary", tables=[Table("All metrics", ["metric", *(name or "value" for name in columns)], rows)])


def summary_section(metrics: Metrics) -> Section:
    """All metrics of one model."""
    return _summary({"": metrics})


def _with_picture(section: Section, models: Mapping[str, Metrics]) -> Section:
    measures: dict[str, list[float | None]] = {
        "accuracy": [metrics["accuracy"] for metrics in models.values()],
        "mean class accuracy": [metrics["mean_class_accuracy"] for metrics in models.values()],
        "macro F1": [metrics["macro"]["f1"] for metrics in models.values()],
        "weighted F1": [metrics["weighted"]["f1"] for metrics in models.values()],
        "disagreement": [(metrics["disagreement"] or {}).get("spearman") for metrics in models.values()],
        "valence CCC": [(metrics["valence"] or {}).get("ccc") for metrics in models.values()],
        "arousal CCC": [(metrics["arousal"] or {}).get("ccc") for metrics in models.values()],
    }
    measures = {name: values for name, values in measures.items() if set(values) != {None}}
    lines = dict(zip(models, zip(*measures.values(), strict=True), strict=True))
    best = max(models, key=lambda name: models[name]["accuracy"])
    picture = ReportFigure(
        plots.parallel_coordinates(lines, list(measures)),
        f"{len(models)} models across {', '.join(measures)}; {best} has the highest accuracy, "
        f"{percent(models[best]['accuracy'])}.",
        "Higher is better; each axis ranges from the lowest to the highest value of the models.",
    )
    return Section(section.heading, section.text, [picture], section.tables)


def classes_section(metrics: Metrics) -> Section:
    """Recall and mean probabilities of each class."""
    rows = [
        [row["label"], str(row["faces"]), *(percent(row[name]) for name in ("precision", "recall", "f1"))]
        for row in metrics["classes"]
    ]
    recall = {"recall": [row["recall"] for row in metrics["classes"]]}
    alt = "Recall: " + ", ".join(f"{row[0]} {row[3]}" for row in rows) + "."
    mean = dict(zip(metrics["labels"], metrics["mean_probabilities"], strict=True))
    shown = {label: line for label, line in mean.items() if None not in line}
    pictures = [
        ReportFigure(plots.per_class_bars(recall, metrics["labels"]), alt, "Recall of each class."),
        ReportFigure(
            plots.parallel_coordinates(shown, metrics["labels"], (0, 1), "mean probability"),
            "Mean probability of every label for the faces of each class; the table has the numbers.",
            "Mean predicted probabilities, with one line for the faces of each class.",
        ),
    ]
    tables = [
        Table("Metrics of each class", ["class", "faces", "precision", "recall", "F1"], rows),
        Table(
            "Mean probabilities (rows: class of the faces)",
            ["class", *metrics["labels"]],
            [[label, *map(number, line)] for label, line in mean.items()],
            folded=True,
        ),
    ]
    return Section("Classes", pictures=pictures, tables=tables)


def _confusion(metrics: Metrics) -> Section:
    labels, matrix = metrics["labels"], metrics["confusion_matrix"]
    wrong = [(matrix[i][j], i, j) for i in range(len(labels)) for j in range(len(labels)) if i != j]
    most, i, j = max(wrong, default=(0, 0, 0))
    alt = f"Confusion matrix of {metrics['faces']} faces" + (
        f"; the most frequent error is {labels[i]} classified as {labels[j]}: {most} of {sum(matrix[i])} faces."
        if most
        else "; there are no errors."
    )
    rows = [[label, *map(str, row)] for label, row in zip(labels, matrix, strict=True)]
    return Section(
        "Confusion",
        pictures=[
            ReportFigure(plots.confusion_matrix(matrix, labels), alt, "Number of faces, and per cent of the row.")
        ],
        tables=[Table("Confusion matrix (rows: label, columns: prediction)", ["label", *labels], rows, folded=True)],
    )


def _calibration(metrics: Metrics) -> Section:
    bins = metrics["reliability"]
    error = number(metrics["expected_calibration_error"])
    rows = [
        [f"{low:.3f} – {high:.3f}", str(count), number(confidence), number(accuracy)]
        for low, high, count, confidence, accuracy in zip(
            bins["edges"][:-1], bins["edges"][1:], bins["count"], bins["confidence"], bins["accuracy"], strict=True
        )
    ]
    return Section(
        "Calibration",
        f"The expected calibration error, the mean gap between confidence and accuracy, is {error}.",
        [
            ReportFigure(
                plots.reliability(bins),
                f"Accuracy against confidence in {len(rows)} bins; expected calibration error {error}.",
                "Above: accuracy of the answers in each confidence bin, with a point if it has "
                f"{plots.MIN_BIN_FACES} or more. Below: number of answers.",
            )
        ],
        [Table("Bins of confidence", ["confidence", "faces", "mean confidence", "accuracy"], rows, folded=True)],
    )


def _selective(models: Mapping[str, Metrics]) -> Section:
    chosen = {
        name: (metrics["coverage"], metrics["accuracy_when_certain"])
        for name, metrics in models.items()
        if metrics["uncertain_below"] > 0
    }
    said = [
        f"At its uncertainty threshold, {name} answers {percent(metrics['coverage'])} of the faces and is right "
        f"for {percent(metrics['accuracy_when_certain'])} of them; its accuracy over all faces is "
        f"{percent(metrics['accuracy'])}"
        for name, metrics in models.items()
    ]
    tables = [
        Table(
            "Accuracy against coverage" + (f", {name}" if len(models) > 1 else ""),
            ["threshold", "coverage", "accuracy"],
            [
                [number(threshold), percent(coverage), percent(accuracy)]
                for threshold, coverage, accuracy in zip(
                    *(metrics["selective"][key] for key in ("threshold", "coverage", "accuracy")), strict=True
                )
            ],
            folded=True,
        )
        for name, metrics in models.items()
    ]
    curves = {name: metrics["selective"] for name, metrics in models.items()}
    return Section(
        "Selective answers",
        "Accuracy when only the most confident answers are counted." + (f" The {said[0]}." if len(models) == 1 else ""),
        [ReportFigure(plots.selective(curves, chosen), "; ".join(said) + ".")],
        tables,
    )


def groups_section(column: str, metrics: Metrics) -> Section:
    """Accuracy and labels of the faces of each value of a group column."""
    group, labels = metrics["groups"][column], metrics["labels"]
    rows = [
        [value, str(row["faces"]), percent(row["accuracy"]), _interval(row["accuracy_interval"])]
        for value, row in group.items()
    ]
    counts = [[value, *map(str, row["labels"])] for value, row in group.items()]
    alt = "Accuracy: " + ", ".join(f"{row[0]} {row[2]}" for row in rows) + "."
    most = (f"{value} {labels[row['labels'].index(max(row['labels']))]}" for value, row in group.items())
    pictures = [
        ReportFigure(plots.group_bars(group, column), alt),
        ReportFigure(plots.group_labels(group, labels, column), "Most frequent labels: " + ", ".join(most) + "."),
    ]
    tables = [
        Table(f"Accuracy by {column}", [column, "faces", "accuracy", "95 % interval"], rows),
        Table(f"Labels by {column}", [column, *labels], counts, folded=True),
    ]
    return Section(f"By {column}", pictures=pictures, tables=tables)


def _groups_compared(column: str, models: Mapping[str, Metrics]) -> Section:
    """Accuracy of each model for each value of a group column."""
    parts = {name: metrics["groups"].get(column, {}) for name, metrics in models.items()}
    values = list(dict.fromkeys(value for part in parts.values() for value in part))
    rows = []
    for value in values:
        cells = [part.get(value, {}) for part in parts.values()]
        faces = next(str(cell["faces"]) for cell in cells if cell)
        rows.append([value, faces, *(percent(cell.get("accuracy")) for cell in cells)])
    bars = {name: [part.get(value, {}).get("accuracy") for value in values] for name, part in parts.items()}
    alt = f"Accuracy of each model by {column}; the table has the numbers."
    picture = ReportFigure(plots.per_class_bars(bars, values, f"accuracy by {column}"), alt)
    table = Table(f"Accuracy by {column}", [column, "faces", *models], rows)
    return Section(f"By {column}", pictures=[picture], tables=[table])


def _classes_compared(models: Mapping[str, Metrics]) -> Section:
    labels = list(dict.fromkeys(label for metrics in models.values() for label in metrics["labels"]))
    recall = {name: {row["label"]: row["recall"] for row in metrics["classes"]} for name, metrics in models.items()}
    bars = {name: [part.get(label) for label in labels] for name, part in recall.items()}
    rows = [[label, *(percent(part.get(label)) for part in recall.values())] for label in labels]
    return Section(
        "Classes",
        pictures=[
            ReportFigure(
                plots.per_class_bars(bars, labels), "Recall of each class by each model; the table has the numbers."
            )
        ],
        tables=[Table("Recall of each class", ["class", *models], rows)],
    )


def _differences(first: str, tests: Mapping[str, Mapping[str, Any]]) -> Section:
    rows = [
        [
            name,
            percent(test["accuracy_a"]),
            percent(test["accuracy_b"]),
            "–" if test["difference"] is None else f"{100 * test['difference']:+.2f}",
            number(test["p_value"]) if test["p_value"] >= 1e-4 else "< 0.0001",
            str(test["only_a"]),
            str(test["only_b"]),
            f"{test['statistic']:.2f}",
            str(test["faces"]),
        ]
        for name, test in tests.items()
    ]
    header = ["model", "first", "this", "points", "p", "only first", "only this", "statistic", "faces"]
    return Section(
        "Differences",
        f"McNemar's test of each model against the first, {first}, on the same faces. A small p means that the "
        "difference between the faces they get right is unlikely to be chance. The test is binomial if fewer "
        "than 25 faces distinguish the models (the statistic is the smaller of the two counts), otherwise "
        "chi-square with continuity correction.",
        tables=[Table("Accuracy, difference in percentage points, faces that only one model gets right", header, rows)],
    )
