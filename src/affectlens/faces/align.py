"""Cut a face out of a photo the way the model's training faces were cut (spec of the crop: `InputSpec`).

Rotation follows the eye line, angle = atan2(dy, dx) of the eye centres (Antoniadis, section 3.1). The square's side is
`margin` times the longer side of the detector's box; its centre lies `shift_y` times that longer side below the box
centre, in the direction of the turned face.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from affectlens.core.detection import Detections
from affectlens.core.preprocessing import InputSpec

_MOST_OVERSAMPLING = 8


def cut_faces(image: NDArray[np.uint8], faces: Detections, spec: InputSpec) -> list[NDArray[np.uint8]]:
    """(H, W, 3) RGB uint8 and its N detections -> N crops, RGB uint8, each (S, S, 3) with S = `spec.size_px`.

    Framed detections are cut without rotation and margin, at their own size. What lies outside the image repeats
    the nearest edge pixel.
    """
    if faces.framed:
        return [_inside(image, box) for box in faces.boxes_xyxy]
    return [_cut(image, box, eyes, spec) for box, eyes in zip(faces.boxes_xyxy, faces.landmarks_xy[:, :2], strict=True)]


def eye_angle_rad(eyes_xy: NDArray[np.float32]) -> float:
    """Angle of the line from the left to the right eye (as seen in the image) to the horizontal; 0 without eyes."""
    if not np.isfinite(eyes_xy).all():
        return 0.0
    dx, dy = eyes_xy[1] - eyes_xy[0]
    return float(np.arctan2(dy, dx))


def _inside(image: NDArray[np.uint8], box_xyxy: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The part of the box within the image, at least one pixel."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = np.rint(box_xyxy).astype(int)
    x1, y1 = min(max(x1, 0), width - 1), min(max(y1, 0), height - 1)
    return image[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)]


def _cut(
    image: NDArray[np.uint8], box_xyxy: NDArray[np.float32], eyes_xy: NDArray[np.float32], spec: InputSpec
) -> NDArray[np.uint8]:
    """Turn, scale and cut in one resampling, at a whole multiple of the final size, then average down."""
    centre = (box_xyxy[:2] + box_xyxy[2:]) / 2
    extent = float((box_xyxy[2:] - box_xyxy[:2]).max())
    angle = eye_angle_rad(eyes_xy) if spec.rotate else 0.0
    cos, sin = np.cos(angle), np.sin(angle)
    centre = centre + spec.shift_y * extent * np.array([-sin, cos])
    side = max(spec.margin * extent, 1.0)
    multiple = int(np.clip(np.ceil(side / spec.size_px), 1, _MOST_OVERSAMPLING))
    pixels = spec.size_px * multiple
    scale = pixels / side
    turn = scale * np.array([[cos, sin], [-sin, cos]])
    middle = (pixels - 1) / 2
    matrix = np.hstack([turn, (middle - turn @ (centre - 0.5))[:, None]])
    crop = cv2.warpAffine(image, matrix, (pixels, pixels), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    if multiple > 1:
        crop = cv2.resize(crop, (spec.size_px, spec.size_px), interpolation=cv2.INTER_AREA)
    return np.asarray(crop, dtype=np.uint8)
