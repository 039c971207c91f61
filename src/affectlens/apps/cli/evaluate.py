"""`affectlens evaluate` and `affectlens compare`: models on labelled faces, in figures, tables and one HTML report."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from affectlens import __version__
from affectlens.apps.cli.console import err, out, print_table
from affectlens.apps.cli.options import AsJson, Data, FindFaces, PriorOption, ReportFolder, Split, SplitOption
from affectlens.apps.cli.scoring import Model, Scored, open_model, score, with_options_of
from affectlens.core.errors import BadData, BadSetting
from affectlens.core.files import write_whole
from affectlens.core.outputs import AFFECT, OUTPUTS
from affectlens.data import source as sources
from affectlens.data.source import DataSource
from affectlens.data.table import FaceTable
from affectlens.data.twins import has_twin
from affectlens.evaluation import evaluation, report
from affectlens.runtime.analyzer import Prior


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command()(evaluate)
    app.command()(compare)


def evaluate(
    model: Annotated[str, typer.Argument(help="'bundled', an exported ONNX file, a run folder, or its checkpoint.")],
    data: Data,
    split: SplitOption = Split.TEST,
    find_faces: FindFaces = False,
    prior: PriorOption = Prior.NATURAL,
    folder: ReportFolder = None,
    as_json: AsJson = False,
) -> None:
    """Score a model on labelled faces.

    Over all faces, and over those without a twin in Train (the same picture, its mirror image, or nearly so). Faces
    without a label count for disagreement, valence and arousal only.
    """
    (opened,), source, table = open_all([model], data, split, folder)
    with err.status("reading the split train"):
        train = None if split is Split.TRAIN else sources.load_if_usable(source.without_meta(), "train")
    scored = score(opened, table, find_faces, prior)
    result = facts_of(source, split, scored.table, prior)
    result |= {"model": scored.name, "model_sha256": opened.sha256, "all": evaluation.figures(scored.scores)}
    if train is not None:
        alone = dict(zip(table.ids, ~has_twin(table.images, train.images), strict=True))
        kept = scored.scores.keep(np.array([alone[name] for name in scored.table.ids]))
        result["without_twins_of_train"] = evaluation.figures(kept) if (kept.targets >= 0).any() else None

    def page(facts: dict[str, str]) -> str:
        return report.evaluation_report(result["all"], facts, without_twins=result.get("without_twins_of_train"))

    deliver(result, folder, as_json, page, _print)


def compare(
    models: Annotated[list[str], typer.Argument(help="Two or more models, as for evaluate.")],
    data: Data,
    split: SplitOption = Split.TEST,
    find_faces: FindFaces = False,
    prior: PriorOption = Prior.NATURAL,
    folder: ReportFolder = None,
    as_json: AsJson = False,
) -> None:
    """Put models side by side on the same faces; McNemar's test says whether each differs from the first.

    Where one of the models was trained on faces that are searched for, all get these.
    """
    if len(models) < 2:
        raise BadSetting(f"compare needs at least two models, got {len(models)}")
    opened, source, table = open_all(models, data, split, folder)
    names = _names([model.name for model in opened], models)
    search = find_faces or any(model.find_faces for model in opened)
    scored = _shared(dict(zip(names, [score(model, table, search, prior) for model in opened], strict=True)))
    right = {name: _right(part) for name, part in scored.items()}
    result = facts_of(source, split, next(iter(scored.values())).table, prior) | {
        "model_sha256": {name: model.sha256 for name, model in zip(names, opened, strict=True)},
        "models": {name: evaluation.figures(part.scores) for name, part in scored.items()},
        "against_the_first": {name: evaluation.compare(right[names[0]], right[name]) for name in names[1:]},
    }

    def page(facts: dict[str, str]) -> str:
        return report.comparison_report(result["models"], facts, result["against_the_first"])

    deliver(result, folder, as_json, page, _print_comparison)


def open_all(
    models: list[str], data: str, split: Split, folder: Path | None
) -> tuple[list[Model], DataSource, FaceTable]:
    """Models, data and the faces of a split; what takes longest comes last."""
    if folder:
        report.require()
        folder.mkdir(parents=True, exist_ok=True)  # what cannot be written to is said before the work
    opened = [open_model(model) for model in models]
    source = with_options_of(opened, sources.parse(data))
    labels = source.labels()
    for model in opened:
        model.check(labels)
    return opened, source, _table(source, split)


def _table(source: DataSource, split: Split) -> FaceTable:
    """The faces of a split, of which at least one has a label."""
    with err.status(f"reading the split {split}"):
        table = source.load(split)
    if not table.labelled.any():
        raise BadData(f"no face of the split '{split}' has a label, so there is nothing to score")
    return table


def facts_of(source: DataSource, split: Split, table: FaceTable, prior: Prior) -> dict[str, Any]:
    """What figures are about, for JSON and reports."""
    options = {f"data_{key}": value for key, value in source.options.items() if value}
    facts = {"data": source.reader, **options, "split": split, "class_count": len(table.labels)}
    facts |= {"affectlens": __version__} | ({} if prior is Prior.NATURAL else {"prior": prior})
    return facts | {"left_out": dict(table.dropped)}


def _names(own: list[str], given: list[str]) -> list[str]:
    """What the models are called: by their own names, and where two have the same, by what the user called them."""
    unique = [name if own.count(name) == 1 else model for name, model in zip(own, given, strict=True)]
    if len(set(unique)) < len(unique):
        raise BadSetting(f"the same model twice: {', '.join(unique)}")
    return unique


def _shared(scored: dict[str, Scored]) -> dict[str, Scored]:
    """The answers for the faces that every model has answered for."""
    common = set.intersection(*(set(part.table.ids) for part in scored.values()))
    if not common:
        raise BadData("there is no face that all models have answered for")
    return {name: part.keep(np.array([i in common for i in part.table.ids])) for name, part in scored.items()}


def _right(part: Scored) -> np.ndarray[Any, np.dtype[np.bool_]]:
    labelled = part.scores.targets >= 0
    return np.asarray(part.scores.predicted[labelled] == part.scores.targets[labelled])


def deliver(
    result: dict[str, Any],
    folder: Path | None,
    as_json: bool,
    page: Callable[[dict[str, str]], str],
    show: Callable[[dict[str, Any]], None],
) -> None:
    """report.json and report.html in `folder`, if there is one; then the result as JSON or as `show` prints it."""
    if folder:
        facts = {
            key.replace("_", " "): str(value) for key, value in result.items() if not isinstance(value, dict | None)
        }
        facts |= {f"left out: {reason}": str(count) for reason, count in result["left_out"].items()}
        write_whole(folder / "report.json", json.dumps(result, indent=2, allow_nan=False) + "\n")
        write_whole(folder / "report.html", page(facts))
    if as_json:
        typer.echo(json.dumps(result, indent=2, allow_nan=False))
        return
    show(result)
    if folder:
        out.print(f"report: {folder / 'report.html'}")


_SHOWN = ("faces", "accuracy", "mean_class_accuracy", "expected_calibration_error", "coverage", "accuracy_when_certain")


def _print(result: dict[str, Any]) -> None:
    """The figures as a table, one column per view."""
    out.print(f"{result['model']} on {about(result)}")
    print_left_out(result, result["all"])
    views = {name.replace("_", " "): result[name] for name in ("all", "without_twins_of_train") if result.get(name)}
    print_table(_columns(views))


def about(result: dict[str, Any]) -> str:
    """Data with their options, split and number of classes."""
    options = [f"{key.removeprefix('data_')}={value}" for key, value in result.items() if key.startswith("data_")]
    return f"{', '.join([result['data'], *options])}, split {result['split']}, {result['class_count']} classes" + (
        f", {result['prior']} prior" if "prior" in result else ""
    )


def _print_comparison(result: dict[str, Any]) -> None:
    out.print(about(result))
    print_left_out(result, next(iter(result["models"].values())))
    print_table(_columns(result["models"]))
    first = next(iter(result["models"]))
    for name, test in result["against_the_first"].items():
        out.print(
            f"{name} against {first}: {test['difference']:+.4f} accuracy; right alone {test['only_b']} and "
            f"{test['only_a']} times; McNemar p = {test['p_value']:.4g}"
        )


def print_left_out(result: dict[str, Any], figures: dict[str, Any]) -> None:
    """What does not count in `figures`, and why."""
    for reason, count in result["left_out"].items():
        out.print(f"  {count} left out: {reason}")
    if without := figures["faces_without_label"]:
        out.print(f"  {without} have no majority label and count for disagreement, valence and arousal only")


def _columns(views: dict[str, Any]) -> Table:
    """One row per figure, one column per view or model."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for view in views:
        table.add_column(view, justify="right")
    figures = list(views.values())
    for key in _SHOWN:
        table.add_row(key.replace("_", " "), *(_cell(part[key]) for part in figures))
    for average in ("macro", "weighted"):
        table.add_row(f"{average} F1", *(_cell(part[average]["f1"]) for part in figures))
    if any(part["va_source"] for part in figures):
        table.add_row("valence and arousal are", *(part["va_source"] or "–" for part in figures))
    for name in ("valence", "arousal"):
        if figures[0][name]:
            table.add_row(f"CCC of {name}", *(_cell((part[name] or {}).get("ccc")) for part in figures))
    for name, output in OUTPUTS.items():
        if name != AFFECT and any(name in part["outputs"] for part in figures):
            cells = (part["outputs"].get(name, {}).get(output.figure) for part in figures)
            table.add_row(output.figure.replace("_", " "), *(_cell(cell) for cell in cells))
    if figures[0]["disagreement"]:
        table.add_row("disagreement (Spearman)", *(_cell(_spearman(part)) for part in figures))
    for row, label in enumerate(figures[0]["labels"]):
        if figures[0]["classes"][row]["faces"]:
            table.add_row(f"recall of {label}", *(_cell(part["classes"][row]["recall"]) for part in figures))
    for column, values in figures[0]["groups"].items():
        for value in values:
            cells = (part["groups"].get(column, {}).get(value, {}).get("accuracy") for part in figures)
            table.add_row(f"accuracy, {column} {value or 'unknown'}", *(_cell(cell) for cell in cells))
    return table


def _spearman(part: dict[str, Any]) -> float | None:
    found: float | None = (part["disagreement"] or {}).get("spearman")
    return found


def _cell(value: float | int | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
