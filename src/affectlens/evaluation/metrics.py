"""Metrics in NumPy; the only implementation, which training calls too."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]


def accuracy(predicted: Ints, target: Ints) -> float:
    """Fraction of (N,) predictions equal to the target."""
    return float(np.mean(predicted == target))


def confusion_matrix(predicted: Ints, target: Ints, classes: int) -> NDArray[np.int64]:
    """(classes, classes) counts; rows are targets, columns predictions."""
    return np.bincount(target * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def recall_per_class(predicted: Ints, target: Ints, classes: int) -> NDArray[np.float64]:
    """(classes,) recall; NaN for a class without targets."""
    matrix = confusion_matrix(predicted, target, classes)
    support = matrix.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.where(support > 0, matrix.diagonal() / np.maximum(support, 1), np.nan)


def macro_recall(predicted: Ints, target: Ints, classes: int) -> float:
    """Mean recall over the classes that have targets (also called mean class accuracy)."""
    return float(np.nanmean(recall_per_class(predicted, target, classes)))


def expected_calibration_error(probabilities: Floats, target: Ints, bins: int = 15) -> float:
    """Mean gap between confidence and accuracy over equal-width bins of the top probability, weighted by bin size.

    Guo et al. 2017, arXiv:1706.04599, eq. 3.
    """
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == target
    index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    weight = np.bincount(index, minlength=bins)
    gap = np.bincount(index, correct, bins) - np.bincount(index, confidence, bins)
    return float(np.abs(gap).sum() / weight.sum())


def negative_log_likelihood(logits: Floats, target: Ints, temperature: float = 1.0) -> float:
    """Mean negative log-probability of the target, in nats."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    scaled = scaled - scaled.max(axis=1, keepdims=True)
    return float((np.log(np.exp(scaled).sum(axis=1)) - scaled[np.arange(len(target)), target]).mean())


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


def threshold_for_accuracy(probabilities: Floats, target: Ints, wanted: float) -> float:
    """The lowest top probability from which on the answers kept are correct in at least the fraction `wanted`.

    1.0 where no threshold reaches it.
    """
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == target
    order = np.argsort(-confidence, kind="stable")
    kept = np.cumsum(correct[order]) / np.arange(1, len(order) + 1)
    last_of_ties = np.append(np.diff(confidence[order]) != 0, True)
    good = np.flatnonzero((kept >= wanted) & last_of_ties)
    return float(confidence[order][good[-1]]) if len(good) else 1.0


def summary(
    probabilities: Floats, target: Ints, labels: tuple[str, ...], uncertain_below: float
) -> dict[str, float | int | dict[str, float] | None]:
    """The figures that the project publishes for (N, C) calibrated probabilities and (N,) targets, N > 0.

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
