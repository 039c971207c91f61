"""`affectlens evaluate` and `affectlens compare`: scores of models on labelled faces, as numbers, tables and an HTML
report.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from affectlens.apps.cli.console import TERMINAL, Table, print_table, say
from affectlens.apps.cli.options import AsJson, Data, FindFaces, PriorOption, ReportFolder, Split, SplitOption
from affectlens.core.outputs import AFFECT, OUTPUTS
from affectlens.runtime.recognizer import Prior
from affectlens.workflows import compare as comparing
from affectlens.workflows import evaluate as evaluating
from affectlens.workflows.reports import Report, ready


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command()(evaluate)
    app.command()(compare)


def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            help="Model to score: 'bundled', an exported ONNX file, a run folder, or a checkpoint of a run."
        ),
    ],
    data: Data,
    split: SplitOption = Split.TEST,
    find_faces: FindFaces = False,
    prior: PriorOption = Prior.NATURAL,
    folder: ReportFolder = None,
    as_json: AsJson = False,
) -> None:
    """Score a model on labelled faces.

    Reports metrics over all faces, and over those without a near-duplicate in the training split (the same picture, its
    mirror image, or a close copy). Faces without a label are used only for disagreement, valence and arousal.
    """
    if folder:
        ready(folder)
    found = evaluating.evaluate(model, data, split, find_faces, prior, TERMINAL)
    deliver(found, folder, as_json, _print)


def compare(
    models: Annotated[list[str], typer.Argument(help="Two or more models, as for evaluate.")],
    data: Data,
    split: SplitOption = Split.TEST,
    find_faces: FindFaces = False,
    prior: PriorOption = Prior.NATURAL,
    folder: ReportFolder = None,
    as_json: AsJson = False,
) -> None:
    """Compare models on the same faces, with McNemar's test of each against the first.

    If one of the models was trained on faces found by the detector, all models are scored on such faces.
    """
    if folder:
        ready(folder)
    found = comparing.compare(models, data, split, find_faces, prior, TERMINAL)
    deliver(found, folder, as_json, _print_comparison)


def deliver(found: Report, folder: Path | None, as_json: bool, show: Callable[[dict[str, Any]], None]) -> None:
    """The report in `folder`, if there is one; then the metrics as JSON or as `show` prints them."""
    page = found.save(folder) if folder else None
    if as_json:
        typer.echo(json.dumps(found.metrics, indent=2, allow_nan=False))
        return
    show(found.metrics)
    if page:
        say(f"report: {page}")


_SHOWN = ("faces", "accuracy", "mean_class_accuracy", "expected_calibration_error", "coverage", "accuracy_when_certain")


def _print(result: dict[str, Any]) -> None:
    """The metrics as a table, one column per view."""
    say(f"{result['model']} on {about(result)}")
    print_left_out(result, result["all"])
    names = ("all", "without_near_duplicates_of_train")
    views = {name.replace("_", " "): result[name] for name in names if result.get(name)}
    print_table(_columns(views))


def about(result: dict[str, Any]) -> str:
    """Data with their options, split and number of classes."""
    options = [f"{key.removeprefix('data_')}={value}" for key, value in result.items() if key.startswith("data_")]
    return f"{', '.join([result['data'], *options])}, split {result['split']}, {result['class_count']} classes" + (
        f", {result['prior']} prior" if "prior" in result else ""
    )


def _print_comparison(result: dict[str, Any]) -> None:
    say(about(result))
    print_left_out(result, next(iter(result["models"].values())))
    print_table(_columns(result["models"]))
    first = next(iter(result["models"]))
    for name, test in result["against_the_first"].items():
        say(
            f"{name} against {first}: {test['difference']:+.4f} accuracy; correct only for {name}: {test['only_b']}, "
            f"only for {first}: {test['only_a']}; McNemar p {_p_value(test['p_value'])}"
        )


def _p_value(value: float) -> str:
    return f"= {value:.4g}" if value >= 0.0001 else "< 0.0001"


def print_left_out(result: dict[str, Any], metrics: dict[str, Any]) -> None:
    """What does not count in `metrics`, and why."""
    for reason, count in result["left_out"].items():
        say(f"  {count} left out: {reason}")
    if without := metrics["faces_without_label"]:
        say(f"  {without} have no majority label and count for disagreement, valence and arousal only")


def _columns(views: dict[str, Any]) -> Table:
    """One row per figure, one column per view or model."""
    table = Table()
    table.add_column("")
    for view in views:
        table.add_column(view, justify="right")
    metrics = list(views.values())
    for key in _SHOWN:
        table.add_row(key.replace("_", " "), *(_cell(part[key]) for part in metrics))
    for average in ("macro", "weighted"):
        table.add_row(f"{average} F1", *(_cell(part[average]["f1"]) for part in metrics))
    if any(part["va_source"] for part in metrics):
        table.add_row("valence and arousal are", *(part["va_source"] or "–" for part in metrics))
    for name in ("valence", "arousal"):
        if metrics[0][name]:
            table.add_row(f"CCC of {name}", *(_cell((part[name] or {}).get("ccc")) for part in metrics))
    for name, output in OUTPUTS.items():
        if name != AFFECT and any(name in part["outputs"] for part in metrics):
            cells = (part["outputs"].get(name, {}).get(output.metric_name) for part in metrics)
            table.add_row(output.metric_name.replace("_", " "), *(_cell(cell) for cell in cells))
    if metrics[0]["disagreement"]:
        table.add_row("disagreement (Spearman)", *(_cell(_spearman(part)) for part in metrics))
    for row, label in enumerate(metrics[0]["labels"]):
        if metrics[0]["classes"][row]["faces"]:
            table.add_row(f"recall of {label}", *(_cell(part["classes"][row]["recall"]) for part in metrics))
    for column, values in metrics[0]["groups"].items():
        for value in values:
            cells = (part["groups"].get(column, {}).get(value, {}).get("accuracy") for part in metrics)
            table.add_row(f"accuracy, {column} {value or 'unknown'}", *(_cell(cell) for cell in cells))
    return table


def _spearman(part: dict[str, Any]) -> float | None:
    found: float | None = (part["disagreement"] or {}).get("spearman")
    return found


def _cell(value: float | int | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
