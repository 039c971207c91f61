"""Comparison of models on the same labelled faces."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from affectlens.core.errors import BadData, BadSetting
from affectlens.core.progress import SILENT, Progress
from affectlens.data.source import DataSource
from affectlens.evaluation import evaluation, report
from affectlens.runtime.recognizer import Prior
from affectlens.workflows.evaluate import facts_of, open_all
from affectlens.workflows.reports import Report, heading
from affectlens.workflows.scoring import Scored, score


def compare(
    models: Sequence[str | Path],
    data: str | Path | DataSource,
    split: str = "test",
    find_faces: bool = False,
    prior: str = Prior.NATURAL,
    progress: Progress = SILENT,
) -> Report:
    """Score two or more models on the faces that all of them can score.

    If one of the models was trained on faces found by the detector, all are scored on such faces. The arguments are
    those of `evaluate`.

    Returns:
        `metrics` has "models" (name -> metrics) and "against_the_first": for each other model, its difference in
            accuracy and McNemar's test (`evaluation.evaluation.compare`).

    Raises:
        As `evaluate`. BadSetting: also if there are fewer than two models, or the same one twice.
    """
    if len(models) < 2:
        raise BadSetting(f"compare needs at least two models, got {len(models)}")
    opened, source, table = open_all(models, data, split, progress)
    names = names_of([model.name for model in opened], [str(model) for model in models])
    search = find_faces or any(model.find_faces for model in opened)
    answers = [score(model, table, search, prior, progress) for model in opened]
    scored = shared(dict(zip(names, answers, strict=True)))
    right = {name: _right(part) for name, part in scored.items()}
    result = facts_of(source, split, next(iter(scored.values())).table, prior) | {
        "model_sha256": {name: model.sha256 for name, model in zip(names, opened, strict=True)},
        "models": {name: evaluation.compute_metrics(part.scores) for name, part in scored.items()},
        "against_the_first": {name: evaluation.compare(right[names[0]], right[name]) for name in names[1:]},
    }

    def page() -> str:
        return report.comparison_report(result["models"], heading(result), result["against_the_first"])

    return Report(result, page)


def names_of(own: Sequence[str], given: Sequence[str]) -> list[str]:
    """What the models are called: by their own names, and where two have the same, by what the user called them."""
    unique = [name if own.count(name) == 1 else model for name, model in zip(own, given, strict=True)]
    if len(set(unique)) < len(unique):
        raise BadSetting(f"the same model is given twice: {', '.join(unique)}")
    return unique


def shared(scored: dict[str, Scored]) -> dict[str, Scored]:
    """The answers for the faces that every model has answered for."""
    common = set.intersection(*(set(part.table.ids) for part in scored.values()))
    if not common:
        raise BadData("no face was scored by all models")
    return {name: part.keep(np.array([i in common for i in part.table.ids])) for name, part in scored.items()}


def _right(part: Scored) -> NDArray[np.bool_]:
    labelled = part.scores.targets >= 0
    return np.asarray(part.scores.predicted[labelled] == part.scores.targets[labelled])
