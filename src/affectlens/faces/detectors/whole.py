"""Detector that takes the whole image as the face, for data sets of crops."""

import numpy as np
from numpy.typing import NDArray

from affectlens.core.detection import Detections, Detector


def build(min_face_px: int = 1) -> Detector:
    """A detector that answers one face, the whole image, with score 1; `min_face_px` has no effect."""
    del min_face_px

    def detect(image: NDArray[np.uint8]) -> Detections:
        height, width = image.shape[:2]
        return Detections(
            boxes_xyxy=np.array([[0, 0, width, height]], dtype=np.float32),
            landmarks_xy=np.full((1, 5, 2), np.nan, dtype=np.float32),
            scores=np.ones(1, dtype=np.float32),
            framed=True,
        )

    return detect
