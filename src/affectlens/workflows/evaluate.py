"""Evaluation of a model on labelled faces."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from affectlens.core.errors import BadData
from affectlens.core.progress import SILENT, Progress
from affectlens.data import source as sources
from affectlens.data.near_duplicates import has_near_duplicate
from affectlens.data.source import DataSource
from affectlens.data.table import FaceTable
from affectlens.evaluation import evaluation, report
from affectlens.runtime.recognizer import Prior
from affectlens.workflows.data import source_of
from affectlens.workflows.reports import Report, heading
from affectlens.workflows.scoring import Predictor, open_model, score, with_options_of


def evaluate(
    model: str | Path,
    data: str | Path | DataSource,
    split: str = "test",
    find_faces: bool = False,
    prior: str = Prior.NATURAL,
    progress: Progress = SILENT,
) -> Report:
    """Score a model on the labelled faces of a split, and on those without a near-duplicate in the training split.

    Args:
        model: "bundled", an ONNX file, a run folder, or a checkpoint in one (extra `train`).
        data: "NAME:FOLDER[?key=value&...]". For data of the same reader, data options that the model was trained with
            apply unless they are set here.
        split: "train", "valid" or "test".
        find_faces: search pictures of more than 128 pixels a side for their largest face.
        prior: "natural", or "balanced" to treat all expressions as equally frequent.
        progress: receives progress updates.

    Returns:
        `metrics` has "all" and, except for the training split and data without one, "without_near_duplicates_of_train",
            each as returned by `evaluation.evaluation.compute_metrics`. Faces without a label are used only for
            disagreement, valence and arousal.

    Raises:
        BadData: the data cannot be read, have no labelled faces, or have classes that the model does not have.
            BadModelFile: the model does not exist. BadSetting: the split, an option or the prior is invalid.
    """
    (opened,), source, table = open_all([model], data, split, progress)
    train = None
    if split != "train":
        with progress.task("reading the split train"):
            train = sources.load_if_usable(source.without_meta(), "train")
    scored = score(opened, table, find_faces, prior, progress)
    result = facts_of(source, split, scored.table, prior)
    result |= {"model": scored.name, "model_sha256": opened.sha256, "all": evaluation.compute_metrics(scored.scores)}
    if train is not None:
        alone = dict(zip(table.ids, ~has_near_duplicate(table.images, train.images), strict=True))
        kept = scored.scores.keep(np.array([alone[name] for name in scored.table.ids]))
        found = evaluation.compute_metrics(kept) if (kept.targets >= 0).any() else None
        result["without_near_duplicates_of_train"] = found

    def page() -> str:
        alone = result.get("without_near_duplicates_of_train")
        return report.evaluation_report(result["all"], heading(result), without_near_duplicates=alone)

    return Report(result, page)


def open_all(
    models: Sequence[str | Path], data: str | Path | DataSource, split: str, progress: Progress
) -> tuple[list[Predictor], DataSource, FaceTable]:
    """Models, data and the faces of a split, of which at least one has a label; what takes longest comes last.

    Raises:
        As `evaluate`.
    """
    opened = [open_model(model) for model in models]
    source = with_options_of(opened, source_of(data))
    labels = source.labels()
    for model in opened:
        model.check(labels)
    with progress.task(f"reading the split {split}"):
        table = source.load(split)
    if not table.labelled.any():
        raise BadData(f"no face of the split '{split}' has a label, so there is nothing to score")
    return opened, source, table


def facts_of(source: DataSource, split: str, table: FaceTable, prior: str) -> dict[str, Any]:
    """What metrics are about, for JSON and reports."""
    options = {f"data_{key}": value for key, value in source.options.items() if value}
    facts = {"data": source.reader, **options, "split": str(split), "class_count": len(table.labels)}
    facts |= {"affectlens": version("affectlens")} | ({} if prior == Prior.NATURAL else {"prior": str(prior)})
    return facts | {"left_out": dict(table.dropped)}
