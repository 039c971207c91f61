"""Correlation coefficients of two arrays."""

import math

import numpy as np
from numpy.typing import NDArray


def pearson(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Linear correlation of two (N,) arrays; NaN where either is constant."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return math.nan
    a, b = a - a.mean(), b - b.mean()
    return float(np.clip((a / np.linalg.norm(a)) @ (b / np.linalg.norm(b)), -1, 1))


def spearman(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Rank correlation of two (N,) arrays, equal values having their mean rank; NaN where either is constant."""
    return pearson(_ranks(a), _ranks(b))


def _ranks(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """(N,) ranks from 1, equal values sharing their mean rank."""
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[index])
