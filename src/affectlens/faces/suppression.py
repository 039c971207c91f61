"""Overlap of boxes, and greedy non-maximum suppression."""

import numpy as np
from numpy.typing import NDArray

_BLOCK_SIZE = 128


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
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(order):  # the best few against all at once
        head = order[:_BLOCK_SIZE]
        going = overlapping(boxes_xyxy[head], boxes_xyxy[order], overlap, over_smaller)
        stays = np.ones(len(order), dtype=bool)
        for place, box in enumerate(head):
            if stays[place]:
                kept.append(box)
                stays &= ~going[place]
        stays[: len(head)] = False
        order = order[stays]
    return np.array(kept, dtype=np.int64)


def overlapping(
    boxes_xyxy: NDArray[np.float32], others_xyxy: NDArray[np.float32], overlap: float, over_smaller: bool
) -> NDArray[np.bool_]:
    """(N, M) which of (N, 4) boxes overlap too much with which of (M, 4) others, as for `non_maximum_suppression`."""
    left, top, right, bottom = (edges[:, None] for edges in boxes_xyxy.T)
    lefts, tops, rights, bottoms = others_xyxy.T
    width = np.minimum(right, rights) - np.maximum(left, lefts)
    height = np.minimum(bottom, bottoms) - np.maximum(top, tops)
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    area = np.maximum(right - left, 0) * np.maximum(bottom - top, 0)
    areas = np.maximum(rights - lefts, 0) * np.maximum(bottoms - tops, 0)
    whole = np.minimum(area, areas) if over_smaller else area + areas - shared
    return np.asarray(shared > overlap * whole)
