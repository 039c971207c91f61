"""Masks of eyes and mouth from 68 landmarks: the target of the second task in Antoniadis, section 5.1.2."""

import cv2
import numpy as np
from numpy.typing import NDArray

from affectlens.core.errors import BadData
from affectlens.core.landmarks import EYES, MOUTH
from affectlens.core.outputs import OUTPUTS

OUTPUT = "mask"
"""The output that networks name among their `needs` when they want these masks."""
TARGET = OUTPUTS[OUTPUT].target
"""The name under which losses ask for the masks."""


def draw(landmarks_xy: NDArray[np.float32], shape: tuple[int, ...], size_px: int) -> NDArray[np.float32]:
    """(K, 2) landmarks in pixels of a face of `shape` (height, width, ...) -> (size_px, size_px) of 0 and 1.

    NaN everywhere where these are not 68 known points.
    """
    if len(landmarks_xy) != 68 or not np.isfinite(landmarks_xy).all():
        return np.full((size_px, size_px), np.nan, dtype=np.float32)
    points = landmarks_xy * np.array([size_px / shape[1], size_px / shape[0]], dtype=np.float32) - 0.5
    mask = np.zeros((size_px, size_px), dtype=np.uint8)
    for part in (*EYES, MOUTH):
        cv2.fillPoly(mask, [np.rint(points[part]).astype(np.int32)], 1)
    return mask.astype(np.float32)


def check(landmarks_xy: NDArray[np.float32], find_faces: bool = False) -> None:
    """Raises BadData where none of N faces has 68 known landmarks, (N, 68, 2), or where faces are still to be found."""
    if find_faces or landmarks_xy.shape[1] != 68 or not np.isfinite(landmarks_xy).all(axis=(1, 2)).any():
        raise BadData("the mask task needs faces with 68 landmarks, and find_faces=false")
