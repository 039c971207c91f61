"""`affectlens evaluate`: the accuracy of a model, through the same runtime that `analyze` uses."""

import json
from enum import StrEnum
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table

from affectlens.apps.cli.console import out, track
from affectlens.core.errors import BadData
from affectlens.data import source as sources
from affectlens.data.table import FaceTable
from affectlens.data.twins import has_twin
from affectlens.evaluation import metrics
from affectlens.runtime.analyzer import Analyzer


class Split(StrEnum):
    """Parts of a data set."""

    TRAIN = "train"
    VALID = "valid"
    TEST = "test"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(evaluate)


def evaluate(
    model: Annotated[str, typer.Argument(help="'bundled' or an ONNX file exported by affectlens.")],
    data: Annotated[
        str, typer.Option(metavar="NAME:FOLDER", help="Labelled data, for example ferplus:~/data/ferplus.")
    ],
    split: Annotated[Split, typer.Option(help="Which part of the data.")] = Split.TEST,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Score a model on labelled faces.

    Prints accuracy, macro recall and calibration error, over all faces and over those without a twin in Train (the same
    picture, its mirror image, or nearly so). Faces without a majority label are not scored.
    """
    source = sources.parse(data)
    analyzer = Analyzer(model, detector="whole")
    spec = analyzer.spec
    table = source.load(split)
    table = table.keep(table.targets >= 0)
    if not len(table):
        raise BadData(f"no face of the split '{split}' has a majority label, so there is nothing to score")
    if set(table.labels) != set(spec.labels):
        raise BadData(f"the model's labels are {', '.join(spec.labels)}; those of the data {', '.join(table.labels)}")
    alone = None if split is Split.TRAIN else ~has_twin(table.images, source.load("train").images)
    probabilities = _probabilities(analyzer, table)
    views = {"all": np.ones(len(table), dtype=bool)}
    if alone is not None:
        views["without_twins_of_train"] = alone
    result: dict[str, Any] = {
        "model": spec.name,
        "data": source.reader,
        "split": split,
        "protocol": "majority",
        "classes": len(table.labels),
    }
    for view, rows in views.items():
        result[view] = (
            metrics.summary(probabilities[rows], table.targets[rows], table.labels, spec.uncertain_below)
            if rows.any()
            else None
        )
    if as_json:
        typer.echo(json.dumps(result, indent=2, allow_nan=False))
    else:
        _print(result)


def _probabilities(analyzer: Analyzer, table: FaceTable) -> NDArray[np.float64]:
    """(N, C) in the order of the table's labels, face by face through `Analyzer.analyze`."""
    rows = np.empty((len(table), len(table.labels)))
    for i, image in enumerate(track(table.images, len(table), "evaluating")):
        (face,) = analyzer.analyze(image).faces
        rows[i] = [face.probabilities[label] for label in table.labels]
    return rows


def _print(result: dict[str, Any]) -> None:
    """The figures as a table."""
    out.print(
        f"{result['model']} on {result['data']}, split {result['split']}, {result['classes']} classes, majority labels"
    )
    views = [name for name in ("all", "without_twins_of_train") if result.get(name)]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for view in views:
        table.add_column(view.replace("_", " "), justify="right")
    for key in ("faces", "accuracy", "macro_recall", "expected_calibration_error", "coverage", "accuracy_when_certain"):
        table.add_row(key.replace("_", " "), *(_cell(result[view][key]) for view in views))
    for label in result["all"]["recall"]:
        table.add_row(f"recall of {label}", *(_cell(result[view]["recall"].get(label)) for view in views))
    out.print(table)


def _cell(value: float | int | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
