"""The two landmark schemes: five points as in `core.detection`, and the 68 of iBUG (Sagonas et al. 2013).

The five are, as seen in the image, the centres of the left and the right eye, the tip of the nose and the left and the
right corner of the mouth. Of the 68, counted from 0, 36 to 41 and 42 to 47 surround the eyes, 30 is the tip of the
nose, 48 to 59 surround the mouth, beginning with its left corner; 54 is the right one.
"""

import numpy as np
from numpy.typing import NDArray

EYES = (slice(36, 42), slice(42, 48))
MOUTH = slice(48, 60)
_NOSE_AND_CORNERS = (30, 48, 54)


def eyes_of(landmarks_xy: NDArray[np.float32]) -> NDArray[np.float32]:
    """(5, 2) or (68, 2) landmarks -> (2, 2) centres of the eyes; NaN for other numbers of landmarks."""
    if len(landmarks_xy) == 68:
        return np.stack([landmarks_xy[eye].mean(axis=0) for eye in EYES])
    return landmarks_xy[:2] if len(landmarks_xy) == 5 else np.full((2, 2), np.nan, dtype=np.float32)


def as_68(five_xy: NDArray[np.float32]) -> NDArray[np.float32]:
    """(5, 2) landmarks -> (68, 2) with the same centres of the eyes, nose and corners of the mouth, the others NaN."""
    points = np.full((68, 2), np.nan, dtype=np.float32)
    for eye, centre in zip(EYES, five_xy[:2], strict=True):
        points[eye] = centre
    points[list(_NOSE_AND_CORNERS)] = five_xy[2:]
    return points
