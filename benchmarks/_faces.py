"""Labelled faces, faces as photos, and what a model says of them, as several benchmarks need it."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from affectlens import Analysis, Analyzer, Detections, load_data

Image = NDArray[np.uint8]
ENLARGED_PX, BORDER_PX = 192, 64


def labelled(
    data: str, split: str = "valid", count: int | None = None
) -> tuple[list[Image], NDArray[np.int64], list[str]]:
    """Faces of a split that have one label, these as indices, and what they mean; of `count` faces, a random choice."""
    table = load_data(data, split)
    rows = np.flatnonzero(table.labelled)
    if count is not None:
        rows = rows[np.random.default_rng(0).permutation(len(rows))[:count]]
    return [table.images[int(row)] for row in rows], table.targets[rows], list(table.labels)


def as_photos(face: Image) -> tuple[Image, Image]:
    """A training crop as a photo, RGB, with black around it, which does not mislead the detector, and with its edge
    repeated, which does not mislead the network.
    """
    large = cv2.resize(face, (ENLARGED_PX, ENLARGED_PX), interpolation=cv2.INTER_CUBIC)
    black, edge = (
        np.asarray(cv2.cvtColor(cv2.copyMakeBorder(large, *[BORDER_PX] * 4, kind), cv2.COLOR_GRAY2RGB), dtype=np.uint8)
        for kind in (cv2.BORDER_CONSTANT, cv2.BORDER_REPLICATE)
    )
    return black, edge


def analyze_at(model: str | Path, photos: Iterable[Image], detections: Iterable[Detections]) -> Iterable[Analysis]:
    """Analyses of photos in which the faces are known, so that nothing is looked for."""
    answers = iter(detections)
    return Analyzer(model, detector=lambda _: next(answers), measures=()).analyze_many(photos, workers=1)  # in order


def resized_boxes(found: Detections, factor: float, level: bool = True) -> Detections:
    """With sides `factor` times as long; if not `level`, without landmarks, so that crops are not turned."""
    boxes = found.boxes_xyxy
    centres, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    boxes = np.hstack([centres - factor * sides / 2, centres + factor * sides / 2]).astype(np.float32)
    return Detections(boxes, found.landmarks_xy if level else np.full_like(found.landmarks_xy, np.nan), found.scores)


def probabilities(analyses: Iterable[Analysis], labels: Sequence[str]) -> NDArray[np.float64]:
    """(N, C) calibrated probabilities of all faces over these labels alone."""
    rows = []
    for analysis in analyses:
        if not analysis.faces:
            sys.exit(f"no answer: {analysis.detail}")
        rows += [[face.probabilities[label] for label in labels] for face in analysis.faces]
    found = np.array(rows)
    return found / found.sum(axis=1, keepdims=True)


def recalls(chosen: NDArray[np.int64], target: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """(C,) share of the faces of each class that are recognised; NaN without any."""
    return np.array([(chosen[target == c] == c).mean() if (target == c).any() else np.nan for c in range(classes)])


def likelihood(found: NDArray[np.float64], target: NDArray[np.int64]) -> float:
    """Mean negative log-likelihood in nats."""
    return float(-np.log(found[np.arange(len(target)), target]).mean())
