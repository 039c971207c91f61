"""Predictions for frames of videos: the metrics of the Aff-Wild2 challenge, and two models on the same frames.

Neighbouring frames resemble each other, so confidence intervals come from resampling whole videos.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from affectlens.core.errors import BadData
from affectlens.evaluation import metrics
from affectlens.evaluation.metrics import Bools, Floats, Ints


@dataclass(frozen=True, eq=False)
class FramePredictions:
    """What a model predicts for N frames, and the truth.

    Attributes:
        logits: (N, C), or None where the model does not classify expressions.
        affect: (N, 2) valence and arousal in [-1, 1], or None.
        targets: (N,) class, -1 where unknown.
        affect_true: (N, 2), NaN where unknown.
        videos: (N,) number of the video, from 0.

    Raises:
        BadData: the arrays are not of the same frames.
    """

    logits: Floats | None
    affect: Floats | None
    targets: Ints
    affect_true: Floats
    videos: Ints

    def __post_init__(self) -> None:
        arrays = (self.logits, self.affect, self.targets, self.affect_true, self.videos)
        lengths = [len(array) for array in arrays if array is not None]
        if len(set(lengths)) > 1:
            raise BadData(f"predictions and truth must be of the same frames, got {lengths}")

    @property
    def labelled(self) -> Bools:
        """(N,) frames with an expression."""
        return self.targets >= 0

    def confusions(self) -> Ints:
        """(V, C, C) counts of each video with labelled frames; rows are targets.  Raises BadData without logits."""
        if self.logits is None:
            raise BadData("the model does not classify expressions")
        known, classes = self.labelled, self.logits.shape[1]
        predicted = self.logits[known].argmax(axis=1)
        _, video = np.unique(self.videos[known], return_inverse=True)
        counts = np.zeros((video.max(initial=-1) + 1, classes, classes), dtype=np.int64)
        np.add.at(counts, (video, self.targets[known], predicted), 1)
        return counts


def frame_metrics(predictions: FramePredictions) -> dict[str, Any]:
    """Metrics over the frames that have the truth, ready for JSON; those of what the model does not predict are left
    out.

    `challenge` (0.67 macro F1 + 0.33 accuracy), `macro_f1`, `accuracy` and `frames` with an expression; `valence_ccc`,
    `arousal_ccc` and `described_frames`. None for what cannot be computed.
    """
    found: dict[str, Any] = {}
    if predictions.logits is not None:
        known, classes = predictions.labelled, predictions.logits.shape[1]
        predicted, target = predictions.logits[known].argmax(axis=1), predictions.targets[known]
        confusion = metrics.confusion_matrix(predicted, target, classes)
        found |= {
            "frames": len(target),
            "challenge": _number(metrics.challenge(confusion)),
            "macro_f1": _number(metrics.macro_f1(predicted, target, classes)),
            "accuracy": _number(metrics.accuracy(predicted, target)),
        }
    if predictions.affect is not None:
        described = np.isfinite(predictions.affect_true).all(axis=1)
        pairs = zip(predictions.affect[described].T, predictions.affect_true[described].T, strict=True)
        valence, arousal = (metrics.ccc(*pair) for pair in pairs)
        found |= {
            "described_frames": int(described.sum()),
            "valence_ccc": _number(valence),
            "arousal_ccc": _number(arousal),
        }
    return found


def selection(found: dict[str, Any]) -> float:
    """The mean of the challenge's metrics: of expressions, and of valence and arousal; NaN of none."""
    parts = [found.get("challenge")]
    if found.get("valence_ccc") is not None and found.get("arousal_ccc") is not None:
        parts.append((found["valence_ccc"] + found["arousal_ccc"]) / 2)
    known = [float(part) for part in parts if part is not None]
    return sum(known) / len(known) if known else math.nan


def difference(first: FramePredictions, second: FramePredictions, samples: int = 2000, seed: int = 0) -> dict[str, Any]:
    """By how much the second model exceeds the first on the same frames, ready for JSON.

    The difference in `challenge`, its 95 % bootstrap `interval` over videos (Efron 1979), and the number of `videos`
    with labelled frames; in `better` of them the second model classifies more frames correctly, in `worse` fewer.

    Raises:
        BadData: one of them does not classify expressions.
    """
    a, b = first.confusions(), second.confusions()
    right_a, right_b = (np.diagonal(counts, axis1=1, axis2=2).sum(axis=1) for counts in (a, b))
    low = high = math.nan
    if len(a):
        drawn = np.random.default_rng(seed).multinomial(len(a), np.full(len(a), 1 / len(a)), samples)
        gains = metrics.challenge(np.tensordot(drawn, b, 1)) - metrics.challenge(np.tensordot(drawn, a, 1))
        low, high = np.quantile(gains, [0.025, 0.975])
    return {
        "challenge": _number(metrics.challenge(b.sum(axis=0)) - metrics.challenge(a.sum(axis=0))),
        "interval": [_number(low), _number(high)],
        "videos": len(a),
        "better": int((right_b > right_a).sum()),
        "worse": int((right_b < right_a).sum()),
    }


def _number(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None
