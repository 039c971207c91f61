"""Labels that a model finds unlikely."""

from dataclasses import dataclass

import numpy as np

from affectlens.core.progress import SILENT, Progress
from affectlens.data import source as sources
from affectlens.data.source import DataSource
from affectlens.workflows.scoring import Predictor, score


@dataclass(frozen=True)
class Suspect:
    """A face, its label, the probability that the model gives the label, in [0, 1], and the model's own."""

    id: str
    label: str
    p: float
    model: str


def find_suspects(data: DataSource, model: Predictor, count: int, progress: Progress = SILENT) -> list[Suspect]:
    """The `count` labelled faces of all splits whose label the model gives the lowest probability, lowest first.

    Raises:
        BadData: the data have classes that the model does not know.
    """
    found: list[Suspect] = []
    for split in sources.SPLITS:
        table = sources.load_if_usable(data, split)
        if table is None:
            continue
        scored = score(model, table, progress=progress)
        labels, targets, probabilities = scored.scores.labels, scored.scores.targets, scored.scores.probabilities
        for row in np.flatnonzero(targets >= 0):
            answer = labels[int(probabilities[row].argmax())]
            p = float(probabilities[row, targets[row]])
            found.append(Suspect(scored.table.ids[row], labels[targets[row]], p, answer))
    return sorted(found, key=lambda one: one.p)[:count]
