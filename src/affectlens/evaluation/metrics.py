"""Metrics in NumPy; the only implementation, also used by training.

Precision, recall and F1 are those of scikit-learn with `zero_division=0` over the classes that have targets: a class
that is never predicted has precision 0, a class without targets is NaN and not included in means. Metrics that cannot
be computed, because there are too few faces or all values are equal, are NaN.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from affectlens.core.correlation import spearman
from affectlens.core.errors import BadData
from affectlens.core.outputs import sectors
from affectlens.core.probabilities import normalized_entropy

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Reliability:
    """Confidence against accuracy over B equal-width bins of the top probability.

    Attributes:
        edges: (B + 1,) from 0 to 1; a bin holds its upper edge and not its lower one.
        confidence, accuracy: (B,) mean top probability and fraction of right answers, NaN in an empty bin.
        count: (B,) faces.
    """

    edges: NDArray[np.float64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    count: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Selective:
    """What is gained by answering only the surest faces.

    Attributes:
        threshold: (K,) the distinct top probabilities, falling.
        coverage: (K,) fraction of faces whose top probability reaches the threshold.
        accuracy: (K,) fraction of right answers among those.
        area: under the risk-coverage curve, the mean over all faces of the error rate at their own confidence; 0 is
            best.
    """

    threshold: NDArray[np.float64]
    coverage: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    area: float


@dataclass(frozen=True)
class McNemar:
    """Whether two models differ in what they get right on the same faces.

    Attributes:
        only_a, only_b: faces that only the first, only the second model gets right.
        statistic: the smaller of the two counts (exact), else chi-square with one degree of freedom.
        p_value: two-sided.
        exact: the p-value is binomial.
    """

    only_a: int
    only_b: int
    statistic: float
    p_value: float
    exact: bool


def accuracy(predicted: Ints, target: Ints) -> float:
    """Fraction of (N,) predictions equal to the target."""
    return _mean(predicted == target)


def confusion_matrix(predicted: Ints, target: Ints, classes: int) -> NDArray[np.int64]:
    """(classes, classes) counts; rows are targets, columns predictions."""
    return np.bincount(target * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def precision_per_class(predicted: Ints, target: Ints, classes: int) -> NDArray[np.float64]:
    """(classes,) precision."""
    matrix = confusion_matrix(predicted, target, classes)
    return _per_class(matrix.diagonal(), matrix.sum(axis=0), matrix)


def recall_per_class(predicted: Ints, target: Ints, classes: int) -> NDArray[np.float64]:
    """(classes,) recall."""
    matrix = confusion_matrix(predicted, target, classes)
    return _per_class(matrix.diagonal(), matrix.sum(axis=1), matrix)


def f1_per_class(predicted: Ints, target: Ints, classes: int) -> NDArray[np.float64]:
    """(classes,) harmonic mean of precision and recall."""
    matrix = confusion_matrix(predicted, target, classes)
    return _per_class(2 * matrix.diagonal(), matrix.sum(axis=0) + matrix.sum(axis=1), matrix)


def macro_precision(predicted: Ints, target: Ints, classes: int) -> float:
    """Mean precision over the classes that have targets."""
    return _macro(precision_per_class(predicted, target, classes))


def macro_recall(predicted: Ints, target: Ints, classes: int) -> float:
    """Mean recall over the classes that have targets (also called mean class accuracy)."""
    return _macro(recall_per_class(predicted, target, classes))


def macro_f1(predicted: Ints, target: Ints, classes: int) -> float:
    """Mean F1 over the classes that have targets."""
    return _macro(f1_per_class(predicted, target, classes))


def challenge(confusion: ArrayLike) -> NDArray[np.float64]:
    """0.67 macro F1 + 0.33 accuracy, by which the Aff-Wild2 challenge ranks expressions (Kollias et al. 2020,
    arXiv:2001.11409), from (..., C, C) counts, rows are targets -> (...); NaN without any.
    """
    counts = np.asarray(confusion, dtype=np.float64)
    right, faces = np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(axis=-1)
    f1 = np.where(faces > 0, 2 * right / np.maximum(faces + counts.sum(axis=-2), 1), 0)
    whole = faces.sum(axis=-1)
    macro = f1.sum(axis=-1) / np.maximum((faces > 0).sum(axis=-1), 1)
    return np.where(whole > 0, 0.67 * macro + 0.33 * right.sum(axis=-1) / np.maximum(whole, 1), np.nan)


def weighted_precision(predicted: Ints, target: Ints, classes: int) -> float:
    """Mean precision, each class weighted by its number of targets."""
    return _weighted(precision_per_class(predicted, target, classes), target)


def weighted_recall(predicted: Ints, target: Ints, classes: int) -> float:
    """Mean recall, each class weighted by its number of targets: the accuracy under another name."""
    return _weighted(recall_per_class(predicted, target, classes), target)


def weighted_f1(predicted: Ints, target: Ints, classes: int) -> float:
    """Mean F1, each class weighted by its number of targets."""
    return _weighted(f1_per_class(predicted, target, classes), target)


def _per_class(part: Ints, whole: Ints, matrix: Ints) -> NDArray[np.float64]:
    """The quotient, 0 where both are 0, NaN for a class without targets."""
    return np.where(matrix.sum(axis=1) > 0, part / np.maximum(whole, 1), np.nan)


def _macro(per_class: NDArray[np.float64]) -> float:
    return _mean(per_class[~np.isnan(per_class)])


def _weighted(per_class: NDArray[np.float64], target: Ints) -> float:
    return _mean(per_class[target])


def _mean(values: Floats | Bools) -> float:
    """The mean, NaN of nothing."""
    return float(np.mean(values)) if len(values) else math.nan


def accuracy_of_each(predicted: Floats | Bools, target: Floats) -> NDArray[np.float64]:
    """(A,) fraction of right faces, from (N, A) probabilities and (N, A) of 0 and 1 (NaN: unknown); NaN for an
    attribute of which nothing is known.

    Raises:
        BadData: they are not as many.
    """
    _check_columns(predicted, target)
    known = np.isfinite(target)
    right, faces = (((predicted > 0.5) == (target > 0.5)) & known).sum(axis=0), known.sum(axis=0)
    return np.where(faces > 0, right / np.maximum(faces, 1), np.nan)


def attribute_accuracy(predicted: Floats | Bools, target: Floats) -> float:
    """Mean over attributes of `accuracy_of_each`; NaN where nothing is known."""
    each = accuracy_of_each(predicted, target)
    return _mean(each[np.isfinite(each)])


def accuracy_of_divisions(predicted: Floats, affect: Floats) -> NDArray[np.float64]:
    """(N, n) probabilities of sectors and (N, 2) valence and arousal -> (1,) fraction of faces whose likeliest sector
    is theirs; of two probabilities, which are those of positive signs, (2,) fraction of right signs.
    """
    if predicted.shape[1] == 2:
        return accuracy_of_each(predicted, (affect > 0).astype(np.float64))
    return np.array([accuracy(predicted.argmax(axis=1), sectors(affect, predicted.shape[1]))])


def _check_columns(predicted: Floats | Bools, target: Floats) -> None:
    if predicted.shape[1] != target.shape[1]:
        raise BadData(f"the network predicts {predicted.shape[1]} values per face, but the data have {target.shape[1]}")


def by_group(values: Sequence[str] | NDArray[np.str_], predicted: Ints, target: Ints) -> dict[str, tuple[float, int]]:
    """Accuracy and number of faces for each of the (N,) group values, numbers in them in their order.

    Faces with the value "" belong to no group.
    """
    column = np.asarray(values, dtype=np.str_)
    return {
        name: (accuracy(predicted[column == name], target[column == name]), _count(column == name))
        for name in group_names(column)
    }


def group_names(values: NDArray[np.str_]) -> list[str]:
    """The groups among the (N,) values, numbers in them in their order; "" is none."""
    return sorted(set(values.tolist()) - {""}, key=_natural)


def _natural(name: str) -> list[tuple[bool, int, str]]:
    """A sort key: runs of digits by value, before text."""
    parts = [part for part in re.split(r"(\d+)", name) if part]
    return [(False, int(part), "") if part.isdecimal() else (True, 0, part) for part in parts]


def _count(mask: Bools) -> int:
    return int(np.count_nonzero(mask))


def reliability(probabilities: Floats, target: Ints, bins: int = 15) -> Reliability:
    """Bins of the top one of (N, C) probabilities (Guo et al. 2017, arXiv:1706.04599, section 2)."""
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == target
    index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    count = np.bincount(index, minlength=bins)
    sums = np.stack([np.bincount(index, confidence, bins), np.bincount(index, correct, bins)])
    means = np.where(count > 0, sums / np.maximum(count, 1), np.nan)
    return Reliability(np.linspace(0, 1, bins + 1), means[0], means[1], count)


def expected_calibration_error(probabilities: Floats, target: Ints, bins: int = 15) -> float:
    """Mean gap between confidence and accuracy over equal-width bins of the top probability, weighted by bin size.

    Guo et al. 2017, arXiv:1706.04599, eq. 3.
    """
    found = reliability(probabilities, target, bins)
    return _mean(np.repeat(np.abs(found.accuracy - found.confidence), found.count))


def negative_log_likelihood(logits: Floats, target: Ints, temperature: float = 1.0) -> float:
    """Mean negative log-probability of the target, in nats."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    scaled = scaled - scaled.max(axis=1, keepdims=True)
    return _mean(np.log(np.exp(scaled).sum(axis=1)) - scaled[np.arange(len(target)), target])


def fit_temperature(logits: Floats, target: Ints) -> float:
    """The temperature in [0.05, 20] that minimises the negative log-likelihood (Guo et al. 2017, section 4.2).

    The likelihood has one minimum in the temperature, so a golden-section search on its logarithm finds it.
    """
    low, high = np.log(0.05), np.log(20.0)
    ratio = (np.sqrt(5) - 1) / 2
    while high - low > 1e-4:
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if negative_log_likelihood(logits, target, np.exp(left)) < negative_log_likelihood(
            logits, target, np.exp(right)
        ):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


def selective_accuracy(probabilities: Floats, target: Ints) -> Selective:
    """Accuracy against coverage where only faces above a threshold of the top probability are answered.

    Equal confidences are kept or dropped together, so the order of the faces plays no part. Area: Geifman et al. 2019,
    arXiv:1805.08206.
    """
    confidence = np.asarray(probabilities.max(axis=1), dtype=np.float64)
    correct = probabilities.argmax(axis=1) == target
    order = np.argsort(-confidence, kind="stable")
    last = np.flatnonzero(np.append(np.diff(confidence[order]) != 0, True)[: len(order)])
    kept = np.cumsum(correct[order])[last] / (last + 1)
    area = _mean(np.repeat(1 - kept, np.diff(last, prepend=-1)))
    return Selective(confidence[order][last], (last + 1) / max(len(order), 1), kept, area)


def threshold_for_accuracy(probabilities: Floats, target: Ints, wanted: float) -> float:
    """The lowest top probability from which on the answers kept are correct in at least the fraction `wanted`.

    1.0 where no threshold reaches it.
    """
    curve = selective_accuracy(probabilities, target)
    good = np.flatnonzero(curve.accuracy >= wanted)
    return float(curve.threshold[good[-1]]) if len(good) else 1.0


def rmse(predicted: Floats, target: Floats) -> float:
    """Root of the mean squared difference of two (N,) arrays."""
    return math.sqrt(_mean(np.square(_wide(predicted) - _wide(target))))


def ccc(predicted: Floats, target: Floats) -> float:
    """Concordance correlation of two (N,) arrays with biased moments (Lin 1989, Biometrics 45, 255-268).

    NaN where both are constant and equal.
    """
    a, b = _wide(predicted), _wide(target)
    if not len(a):
        return math.nan
    scale = a.var() + b.var() + (a.mean() - b.mean()) ** 2
    return float(2 * ((a - a.mean()) * (b - b.mean())).mean() / scale) if scale > 0 else math.nan


def ccc_of_each(predicted: Floats, target: Floats) -> NDArray[np.float64]:
    """(D,) concordance of each column of two (N, D) arrays.

    Raises:
        BadData: they are not as many.
    """
    _check_columns(predicted, target)
    return np.array([ccc(a, b) for a, b in zip(predicted.T, target.T, strict=True)])


def _wide(values: Floats) -> NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64)


def disagreement_correlation(probabilities: Floats, votes: Floats) -> float:
    """Spearman correlation of the normalised entropies of (N, C) probabilities and (N, C) distributions of votes.

    The entropy of votes is taken to six decimals: the same split over other labels is a tie, whatever the rounding of
    its sum.
    """
    return spearman(normalized_entropy(probabilities), normalized_entropy(votes).round(6))


def mean_class_accuracy_interval(
    confusion: ArrayLike, confidence: float = 0.95, samples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Bootstrap interval of the mean recall of the classes that occur: quantiles over `samples` test sets of the same
    size, drawn from the (C, C) counts `confusion`, rows are targets (Efron 1979, Annals of Statistics 7, 1-26).
    """
    counts = np.asarray(confusion, dtype=np.int64)
    faces = int(counts.sum())
    if not faces:
        return math.nan, math.nan
    drawn = np.random.default_rng(seed).multinomial(faces, counts.reshape(-1) / faces, samples)
    drawn = drawn.reshape(samples, *counts.shape)
    support = drawn.sum(axis=2)
    right = np.diagonal(drawn, axis1=1, axis2=2)
    recall = np.divide(right, support, out=np.full(support.shape, np.nan), where=support > 0)
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.nanmean(recall, axis=1), [tail, 1 - tail])
    return float(low), float(high)


def wilson_interval(correct: int, faces: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of a fraction `correct` / `faces` (Wilson 1927, JASA 22, 209-212)."""
    if not faces:
        return math.nan, math.nan
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate, share = correct / faces, z * z / faces
    centre = (rate + share / 2) / (1 + share)
    half = math.sqrt(rate * (1 - rate) * share + share * share / 4) / (1 + share)
    return (max(centre - half, 0.0) if correct else 0.0), (min(centre + half, 1.0) if correct < faces else 1.0)


def mcnemar(correct_a: Bools, correct_b: Bools) -> McNemar:
    """McNemar's test of two (N,) arrays that say which faces were answered rightly.

    Binomial where fewer than 25 faces are answered rightly by one model only, else chi-square with Edwards' continuity
    correction (McNemar 1947, Psychometrika 12, 153-157; Edwards 1948, Psychometrika 13, 185-187).
    """
    only_a, only_b = _count(correct_a & ~correct_b), _count(correct_b & ~correct_a)
    differ, fewer = only_a + only_b, min(only_a, only_b)
    if differ < 25:
        p_value = min(1.0, 2 * sum(math.comb(differ, k) for k in range(fewer + 1)) / 2**differ)
        return McNemar(only_a, only_b, float(fewer), p_value, exact=True)
    statistic = max(abs(only_a - only_b) - 1, 0) ** 2 / differ
    return McNemar(only_a, only_b, statistic, math.erfc(math.sqrt(statistic / 2)), exact=False)


@dataclass(frozen=True, eq=False)
class ClassDistances:
    """Of feature vectors: (C,) mean distance of a class's faces to their mean, NaN for a class without faces, and the
    mean distance between the means of two classes.
    """

    within: NDArray[np.float64]
    between: float

    @property
    def ratio(self) -> float:
        """The mean of `within` over the classes that have faces, as a fraction of `between`; it knows no scale."""
        return float(np.nanmean(self.within) / self.between)


def class_distances(vectors: Floats, target: Ints, classes: int) -> ClassDistances:
    """(N, D) feature vectors and (N,) targets, of at least two classes."""
    centres = np.full((classes, vectors.shape[1]), np.nan)
    within = np.full(classes, np.nan)
    for label in np.unique(target):
        own = vectors[target == label].astype(np.float64)
        centres[label] = own.mean(axis=0)
        within[label] = np.linalg.norm(own - centres[label], axis=1).mean()
    known = centres[np.isfinite(within)]
    first, second = np.triu_indices(len(known), k=1)
    return ClassDistances(within, float(np.linalg.norm(known[first] - known[second], axis=1).mean()))


def summary(
    probabilities: Floats, target: Ints, labels: tuple[str, ...], uncertain_below: float
) -> dict[str, float | int | dict[str, float] | None]:
    """The metrics that the project publishes for (N, C) calibrated probabilities and (N,) targets, N > 0.

    `coverage` is the fraction of faces whose top probability reaches `uncertain_below`, `accuracy_when_certain` the
    accuracy on those (None where there are none); `recall` leaves out labels without targets.
    """
    predicted = probabilities.argmax(axis=1)
    certain = probabilities.max(axis=1) >= uncertain_below
    recall = recall_per_class(predicted, target, len(labels))
    return {
        "faces": len(target),
        "accuracy": accuracy(predicted, target),
        "macro_recall": macro_recall(predicted, target, len(labels)),
        "expected_calibration_error": expected_calibration_error(probabilities, target),
        "coverage": float(certain.mean()),
        "accuracy_when_certain": accuracy(predicted[certain], target[certain]) if certain.any() else None,
        "recall": {label: float(value) for label, value in zip(labels, recall, strict=True) if not np.isnan(value)},
    }
