"""All metrics of a model on labelled faces, as one JSON-serialisable dictionary."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from affectlens.core.correlation import pearson
from affectlens.core.errors import BadData
from affectlens.evaluation import metrics
from affectlens.evaluation.metrics import Bools, Floats, Ints
from affectlens.evaluation.outputs import Compared

CURVE_POINTS = 101
"""At most so many points of the selective curve are kept, one per whole per cent of coverage."""


@dataclass(frozen=True, eq=False)
class Scores:
    """What a model said about N faces, and what people said about them.

    Attributes:
        labels: names of the C classes.
        probabilities: (N, C) calibrated; rows sum to 1.
        targets: (N,) index into `labels`, -1 where a face has no single label.
        votes: (N, C) rows that sum to 1, all 0 where a face has none, or None.
        valence_predicted, arousal_predicted: (N,) in [-1, 1], or None; given together with the true ones. va_source:
            "regressed" by the model or "projected" from its probabilities, "" where there are none.
        valence_true, arousal_true: (N,) in [-1, 1], NaN where unknown, or None.
        groups: column -> (N,) values, "" where unknown; age groups are the column "age".
        outputs: name -> what each further output of the model says of the N faces, and the truth.
        uncertain_below: answers with a lower top probability count as uncertain, in [0, 1].

    Raises:
        BadData: shapes, sums or ranges are others.
    """

    labels: tuple[str, ...]
    probabilities: Floats
    targets: Ints
    votes: Floats | None = None
    valence_predicted: Floats | None = None
    valence_true: Floats | None = None
    arousal_predicted: Floats | None = None
    arousal_true: Floats | None = None
    va_source: str = ""
    groups: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)
    outputs: Mapping[str, Compared] = field(default_factory=dict)
    uncertain_below: float = 0.0

    def __post_init__(self) -> None:
        faces, classes = len(self.targets), len(self.labels)
        for name, array in self._arrays():
            wanted = (faces, classes) if name in ("probabilities", "votes") else (faces,)
            if array.shape != wanted:
                raise BadData(f"{name} must have the shape {wanted}, got {array.shape}")
        for name, column in self.groups.items():
            if column.shape != (faces,):
                raise BadData(f"the group '{name}' must have the shape ({faces},), got {column.shape}")
        for name, compared in self.outputs.items():
            if len(compared.said) != faces:
                raise BadData(f"the output '{name}' must have predictions for {faces} faces, got {len(compared.said)}")
        sums = self.probabilities.sum(axis=1)
        if not np.allclose(sums, 1, atol=1e-3) or not (self.probabilities >= 0).all():
            raise BadData("the probabilities of a face must be >= 0 and sum to 1")
        if faces and not -1 <= self.targets.min() <= self.targets.max() < classes:
            raise BadData(f"targets must be in -1 .. {classes - 1}, got {self.targets.min()} .. {self.targets.max()}")
        for name in ("valence", "arousal"):
            predicted, true = getattr(self, f"{name}_predicted"), getattr(self, f"{name}_true")
            if (predicted is None) != (true is None):
                raise BadData(f"{name} must be given as prediction and as ground truth, or not at all")
            if predicted is not None and not np.isfinite(predicted).all():
                raise BadData(f"predicted {name} must be finite for every face")
        if not 0 <= self.uncertain_below <= 1:
            raise BadData(f"uncertain_below must be in [0, 1], got {self.uncertain_below}")

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def predicted(self) -> NDArray[np.int64]:
        """(N,) index of the top label."""
        return np.asarray(self.probabilities.argmax(axis=1), dtype=np.int64)

    def keep(self, mask: Bools) -> "Scores":
        """The faces where the (N,) `mask` is true."""
        changes: dict[str, Any] = {name: array[mask] for name, array in self._arrays()}
        groups = {name: column[mask] for name, column in self.groups.items()}
        outputs = {name: compared.keep(mask) for name, compared in self.outputs.items()}
        return replace(self, **changes, groups=groups, outputs=outputs)

    def _arrays(self) -> list[tuple[str, NDArray[Any]]]:
        """The fields that are arrays."""
        values = [(part.name, getattr(self, part.name)) for part in fields(self)]
        return [(name, value) for name, value in values if isinstance(value, np.ndarray)]


def compute_metrics(scores: Scores) -> dict[str, Any]:
    """All metrics, ready for JSON: None for what cannot be measured, fractions in [0, 1].

    Labels are judged on the faces that have one (`faces`), disagreement on those with votes, valence and arousal on
    those with a true value.

    - `accuracy`, `accuracy_interval` (Wilson, 95 %), `mean_class_accuracy` (the macro recall under its other name),
      `mean_class_accuracy_interval` (bootstrap, 95 %), `macro` and `weighted` precision, recall and F1; `classes`: the
      same per label with its number of faces
    - `confusion_matrix`: (C, C) counts, rows are targets; `mean_probabilities`: (C, C) mean prediction for the faces
      of each class
    - `expected_calibration_error`, `reliability` (15 bins), `negative_log_likelihood` (nats)
    - `uncertain_below`, `coverage`, `accuracy_when_certain`; `selective`: accuracy at each coverage;
      `area_under_risk_coverage`
    - `disagreement`: Spearman correlation of predicted and voted entropy
    - `valence`, `arousal`: CCC, RMSE and Pearson correlation; `va_source`: whether the model regresses them
    - `outputs`: name -> the figure of each further output of the model, by its name in `core.outputs`, over the `faces`
      that are known, and `each`: the same by name of a number (the attributes of CelebA)
    - `groups`: column -> value -> accuracy with its interval, number of faces, and of faces with each label
    """
    labelled = scores.keep(scores.targets >= 0)
    found = {
        "labels": scores.labels,
        "faces": len(labelled),
        "faces_without_label": len(scores) - len(labelled),
        **_classification(labelled),
        **_calibration(labelled),
        **_selective(labelled),
        "disagreement": _disagreement(scores),
        "valence": _affect(scores.valence_predicted, scores.valence_true),
        "arousal": _affect(scores.arousal_predicted, scores.arousal_true),
        "va_source": scores.va_source or None,
        "outputs": {name: _output(compared) for name, compared in scores.outputs.items()},
        "groups": {name: _group(labelled, column) for name, column in labelled.groups.items()},
    }
    ready: dict[str, Any] = _plain(found)
    return ready


def compare(a_correct: Bools, b_correct: Bools) -> dict[str, Any]:
    """Two models on the same N faces, from which of them each gets right; ready for JSON.

    `difference` is the accuracy of b less that of a; `only_a`, `only_b`, `statistic`, `p_value` and `exact` are those
    of `metrics.McNemar`.

    Raises:
        BadData: the arrays differ in length.
    """
    a, b = np.asarray(a_correct, dtype=bool), np.asarray(b_correct, dtype=bool)
    if a.ndim != 1 or a.shape != b.shape:
        raise BadData(f"two models must be compared on the same faces, got arrays of shapes {a.shape} and {b.shape}")
    rates = [float(part.mean()) if len(part) else math.nan for part in (a, b)]
    found = {"faces": len(a), "accuracy_a": rates[0], "accuracy_b": rates[1], "difference": rates[1] - rates[0]}
    ready: dict[str, Any] = _plain(found | asdict(metrics.mcnemar(a, b)))
    return ready


def _classification(scores: Scores) -> dict[str, Any]:
    predicted, target, classes = scores.predicted, scores.targets, len(scores.labels)
    correct = int((predicted == target).sum())
    precision = metrics.precision_per_class(predicted, target, classes)
    recall = metrics.recall_per_class(predicted, target, classes)
    f1 = metrics.f1_per_class(predicted, target, classes)
    support = np.bincount(target, minlength=classes)
    confusion = metrics.confusion_matrix(predicted, target, classes)
    return {
        "accuracy": metrics.accuracy(predicted, target),
        "accuracy_interval": metrics.wilson_interval(correct, len(scores)),
        "mean_class_accuracy": metrics.macro_recall(predicted, target, classes),
        "mean_class_accuracy_interval": metrics.mean_class_accuracy_interval(confusion),
        "macro": {
            "precision": metrics.macro_precision(predicted, target, classes),
            "recall": metrics.macro_recall(predicted, target, classes),
            "f1": metrics.macro_f1(predicted, target, classes),
        },
        "weighted": {
            "precision": metrics.weighted_precision(predicted, target, classes),
            "recall": metrics.weighted_recall(predicted, target, classes),
            "f1": metrics.weighted_f1(predicted, target, classes),
        },
        "classes": [
            {"label": label, "faces": support[i], "precision": precision[i], "recall": recall[i], "f1": f1[i]}
            for i, label in enumerate(scores.labels)
        ],
        "confusion_matrix": confusion,
        "mean_probabilities": [
            scores.probabilities[target == i].mean(axis=0) if support[i] else [None] * classes for i in range(classes)
        ],
    }


def _calibration(scores: Scores) -> dict[str, Any]:
    """Probabilities of 0 count as the smallest step from 1 in the likelihood, as in scikit-learn."""
    smallest = np.finfo(np.float64).eps
    logits = np.log(np.clip(scores.probabilities, smallest, None, dtype=np.float64))
    return {
        "expected_calibration_error": metrics.expected_calibration_error(scores.probabilities, scores.targets),
        "reliability": asdict(metrics.reliability(scores.probabilities, scores.targets)),
        "negative_log_likelihood": metrics.negative_log_likelihood(logits, scores.targets),
    }


def _selective(scores: Scores) -> dict[str, Any]:
    certain = scores.probabilities.max(axis=1) >= scores.uncertain_below
    right = scores.predicted == scores.targets
    curve = metrics.selective_accuracy(scores.probabilities, scores.targets)
    points = np.unique(np.searchsorted(curve.coverage, np.linspace(0, 1, CURVE_POINTS)))[: len(curve.coverage)]
    return {
        "uncertain_below": scores.uncertain_below,
        "coverage": certain.mean() if len(scores) else None,
        "accuracy_when_certain": right[certain].mean() if certain.any() else None,
        "selective": {
            "threshold": curve.threshold[points],
            "coverage": curve.coverage[points],
            "accuracy": curve.accuracy[points],
        },
        "area_under_risk_coverage": curve.area,
    }


def _disagreement(scores: Scores) -> dict[str, Any] | None:
    if scores.votes is None:
        return None
    rated = scores.votes.sum(axis=1) > 0
    spearman = metrics.disagreement_correlation(scores.probabilities[rated], scores.votes[rated])
    return {"faces": rated.sum(), "spearman": spearman}


def _affect(predicted: Floats | None, true: Floats | None) -> dict[str, Any] | None:
    if predicted is None or true is None:
        return None
    known = np.isfinite(true)
    a, b = predicted[known], true[known]
    return {
        "faces": known.sum(),
        "ccc": metrics.ccc(a, b),
        "rmse": metrics.rmse(a, b),
        "pearson": pearson(a, b),
    }


def _output(compared: Compared) -> dict[str, Any]:
    return {"faces": compared.faces, compared.output.metric_name: compared.value, "each": compared.each}


def _group(scores: Scores, column: NDArray[np.str_]) -> dict[str, Any]:
    return {
        value: {
            "faces": faces,
            "accuracy": accuracy,
            "accuracy_interval": metrics.wilson_interval(round(accuracy * faces), faces),
            "labels": np.bincount(scores.targets[column == value], minlength=len(scores.labels)),
        }
        for value, (accuracy, faces) in metrics.by_group(column, scores.predicted, scores.targets).items()
    }


def _plain(value: Any) -> Any:
    """`value` in the types of JSON, None for what is not finite."""
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
