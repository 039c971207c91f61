"""`affectlens audit`: where a model can be trusted, in groups of faces and under spoilt pictures."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from affectlens.apps.cli.console import out, print_table
from affectlens.apps.cli.evaluate import about, deliver, facts_of, open_all, print_left_out
from affectlens.apps.cli.options import AsJson, Data, FindFaces, PriorOption, ReportFolder, Split, SplitOption
from affectlens.apps.cli.scoring import Scored, score_spoilt
from affectlens.core.detection import Detections
from affectlens.core.errors import BadData
from affectlens.core.quality import Quality, qualities
from affectlens.data.images import Pixels, in_chunks
from affectlens.evaluation import audit as auditing
from affectlens.evaluation.corruptions import CORRUPTIONS, SEVERITIES, spoil
from affectlens.runtime.analyzer import Analyzer, Prior
from affectlens.runtime.media import PORTRAIT, read_image

_FACES_AT_ONCE = 256


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(audit)


def audit(
    model: Annotated[str, typer.Argument(help="'bundled', an exported ONNX file, a run folder, or its checkpoint.")],
    data: Data,
    split: SplitOption = Split.TEST,
    find_faces: FindFaces = False,
    prior: PriorOption = Prior.NATURAL,
    folder: ReportFolder = None,
    as_json: AsJson = False,
) -> None:
    """Score a model where it is hard: pictures spoilt in ten ways, and groups of faces.

    Groups are the columns of the data (?meta=FILE adds some), quarters by size, sharpness, brightness and contrast, and
    what the column `quality` of 'analyze' says. Each has its accuracy, and how sure the model is of itself.
    """
    (opened,), source, table = open_all([model], data, split, folder)
    changes = [(lambda face, _: face), *_changes()]
    whole, *spoilt = score_spoilt(opened, table, changes, find_faces, prior)
    clean = _with_measures(whole)
    by_name = {
        name: [part.scores for part in spoilt[place * SEVERITIES : (place + 1) * SEVERITIES]]
        for place, name in enumerate(CORRUPTIONS)
    }
    result = facts_of(source, split, whole.table, prior) | {"model": whole.name, "model_sha256": opened.sha256}
    result |= auditing.audit(clean.scores, by_name)
    deliver(result, folder, as_json, lambda facts: auditing.audit_report(result, facts, _example()), _print)


def _changes() -> list[Callable[[Pixels, int], Pixels]]:
    """(face, row) -> spoilt face, for each severity of each corruption."""
    return [partial(spoil, name, level) for name, how in CORRUPTIONS.items() for level in how.levels]


def _with_measures(scored: Scored) -> Scored:
    """With quarters of the faces by what can be measured of them as groups."""
    seen: list[Quality] = []
    for faces, _ in in_chunks(scored.table.images, _FACES_AT_ONCE):
        seen += [_measured(face) for face in faces]
    given, measured = scored.scores.groups, auditing.measured_groups(seen)
    if taken := sorted(given.keys() & measured.keys()):
        raise BadData(f"the data have a column '{taken[0]}', which audit measures itself; call it otherwise")
    return scored.with_groups({**given, **measured})


def _measured(face: Pixels) -> Quality:
    """A picture that is cut to its face."""
    height, width = face.shape[:2]
    box = np.array([[0, 0, width, height]], dtype=np.float32)
    found = Detections(box, np.full((1, 5, 2), np.nan, dtype=np.float32), np.ones(1, dtype=np.float32), framed=True)
    return qualities([face], found, (width, height))[0]


def _example() -> Pixels:
    """The face of the portrait that comes with the package, as the bundled model gets it."""
    analyzer, portrait = Analyzer(), read_image(PORTRAIT)
    return analyzer.cut(portrait, analyzer.detector(portrait)).crops[0]


def _print(result: dict[str, Any]) -> None:
    clean = result["clean"]
    out.print(f"{result['model']} on {about(result)}")
    print_left_out(result, clean)
    out.print(f"{clean['faces']} faces, accuracy {clean['accuracy']:.4f}; severities 1 to 5:")
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("accuracy (confidence)")
    for severity in range(1, SEVERITIES + 1):
        table.add_column(str(severity), justify="right")
    for name, rows in result["corruptions"].items():
        table.add_row(name, *(f"{row['accuracy']:.2f} ({row['confidence']:.2f})" for row in rows))
    print_table(table)
    for column, group in result["calibration"].items():
        cells = (f"{value} {row['accuracy']:.3f} ({row['confidence']:.3f})" for value, row in group.items())
        out.print(f"{column}: {', '.join(cells)}")
