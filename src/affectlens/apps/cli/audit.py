"""`affectlens audit`: reliability of a model on groups of faces and on corrupted pictures."""

from typing import Annotated, Any

import typer

from affectlens.apps.cli.console import TERMINAL, Table, print_table, say
from affectlens.apps.cli.evaluate import about, deliver, print_left_out
from affectlens.apps.cli.options import AsJson, Data, FindFaces, PriorOption, ReportFolder, Split, SplitOption
from affectlens.evaluation.corruptions import SEVERITIES
from affectlens.runtime.recognizer import Prior
from affectlens.workflows import audit as auditing
from affectlens.workflows.reports import ready


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(audit)


def audit(
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
    """Score a model under ten kinds of image corruption, and on groups of faces.

    Groups are the group columns of the data (?meta=FILE adds some), quartiles of size, sharpness, brightness and
    contrast, and the values of the column `quality` in 'affectlens analyze'. Reports accuracy and mean confidence for
    each.
    """
    if folder:
        ready(folder)
    found = auditing.audit(model, data, split, find_faces, prior, TERMINAL)
    deliver(found, folder, as_json, _print)


def _print(result: dict[str, Any]) -> None:
    clean = result["clean"]
    say(f"{result['model']} on {about(result)}")
    print_left_out(result, clean)
    say(f"{clean['faces']} faces, accuracy {clean['accuracy']:.4f}; severities 1 to 5:")
    table = Table()
    table.add_column("accuracy (confidence)")
    for severity in range(1, SEVERITIES + 1):
        table.add_column(str(severity), justify="right")
    for name, rows in result["corruptions"].items():
        table.add_row(name, *(f"{row['accuracy']:.2f} ({row['confidence']:.2f})" for row in rows))
    print_table(table)
    for column, group in result["calibration"].items():
        cells = (f"{value} {row['accuracy']:.3f} ({row['confidence']:.3f})" for value, row in group.items())
        say(f"{column}: {', '.join(cells)}")
