"""Greedy non-maximum suppression, shared by the detectors that need it."""

import numpy as np
from numpy.typing import NDArray


def non_maximum_suppression(
    boxes_xyxy: NDArray[np.float32], scores: NDArray[np.float32], overlap: float, over_smaller: bool = False
) -> NDArray[np.int64]:
    """Indices of the boxes that stay, best score first.

    Args:
        boxes_xyxy: (N, 4).
        scores: (N,), higher is better.
        overlap: a box goes when its overlap with a better one exceeds this fraction.
        over_smaller: measure overlap as intersection over the smaller area instead of over the union.
    """
    areas = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).clip(0).prod(axis=1)
    order = np.argsort(-scores, kind="stable")
    kept = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(best)
        low = np.maximum(boxes_xyxy[best, :2], boxes_xyxy[rest, :2])
        high = np.minimum(boxes_xyxy[best, 2:], boxes_xyxy[rest, 2:])
        shared = (high - low).clip(0).prod(axis=1)
        whole = np.minimum(areas[best], areas[rest]) if over_smaller else areas[best] + areas[rest] - shared
        order = rest[shared <= overlap * whole]
    return np.array(kept, dtype=np.int64)
