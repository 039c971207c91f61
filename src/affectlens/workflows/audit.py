"""Reliability of a model on groups of faces and corrupted pictures."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from affectlens.core.detection import Detections
from affectlens.core.errors import BadData
from affectlens.core.progress import SILENT, Progress
from affectlens.core.quality import Quality, qualities
from affectlens.data.images import Pixels, in_chunks
from affectlens.data.source import DataSource
from affectlens.evaluation import audit as auditing
from affectlens.evaluation.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from affectlens.runtime.analyzer import Analyzer
from affectlens.runtime.media import PORTRAIT, read_image
from affectlens.runtime.recognizer import Prior
from affectlens.workflows.evaluate import facts_of, open_all
from affectlens.workflows.reports import Report, heading
from affectlens.workflows.scoring import Scored, score_changed

_MAX_BATCH = 256


def audit(
    model: str | Path,
    data: str | Path | DataSource,
    split: str = "test",
    find_faces: bool = False,
    prior: str = Prior.NATURAL,
    progress: Progress = SILENT,
) -> Report:
    """Score a model on an unchanged split, on groups of faces, and under ten corruptions with five severities each.

    Groups are the group columns of the data (?meta=FILE adds some), quartiles of size, sharpness, brightness and
    contrast, and the codes of `Face.quality`. The arguments are those of `evaluate`.

    Returns:
        `metrics` has "clean", "corruptions" and "calibration", as returned by `evaluation.audit.audit`.

    Raises:
        As `evaluate`. BadData: also if the data have a group column with the name of a group that audit measures
            itself.
    """
    (opened,), source, table = open_all([model], data, split, progress)
    changes = [(lambda face, _: face), *_changes()]
    whole, *corrupted = score_changed(opened, table, changes, find_faces, prior, progress)
    clean = _with_measures(whole)
    by_name = {
        name: [part.scores for part in corrupted[place * SEVERITIES : (place + 1) * SEVERITIES]]
        for place, name in enumerate(CORRUPTIONS)
    }
    result = facts_of(source, split, whole.table, prior) | {"model": whole.name, "model_sha256": opened.sha256}
    result |= auditing.audit(clean.scores, by_name)
    return Report(result, lambda: auditing.audit_report(result, heading(result), _example()))


def _changes() -> list[Callable[[Pixels, int], Pixels]]:
    """(face, row) -> corrupted face, for each severity of each corruption."""
    return [partial(corrupt, name, level) for name, how in CORRUPTIONS.items() for level in how.levels]


def _with_measures(scored: Scored) -> Scored:
    """With quarters of the faces by what can be measured of them as groups."""
    seen: list[Quality] = []
    for faces, _ in in_chunks(scored.table.images, _MAX_BATCH):
        seen += [_measured(face) for face in faces]
    given, measured = scored.scores.groups, auditing.measured_groups(seen)
    if taken := sorted(given.keys() & measured.keys()):
        raise BadData(
            f"the group column '{taken[0]}' of the data has the name of a group that audit measures itself; rename it"
        )
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
    return analyzer.recognizer.cut(portrait, analyzer.detector(portrait)).crops[0]
