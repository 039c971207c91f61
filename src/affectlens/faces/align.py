"""Crop a face from a photo in the same way as the model's training faces (crop settings: `InputSpec`).

Rotation follows the eye line, angle = atan2(dy, dx) of the eye centres (Antoniadis, eq. 3.1.1). By the box, the
square's side is `margin` times its longer side; its centre lies `shift_y` times that longer side below the box centre,
in the direction of the turned face. By the eyes, the scale is that at which they are `eye_distance` apart (eq. 3.1.2).
They alone set the crop: his text crops the face region once more, and his code turns without scaling and then cuts out
AffectNet's box.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from affectlens.core.detection import Detections
from affectlens.core.preprocessing import InputSpec

_MAX_OVERSAMPLING = 8


def cut_faces(image: NDArray[np.uint8], faces: Detections, spec: InputSpec) -> list[NDArray[np.uint8]]:
    """(H, W, 3) RGB uint8 and its N detections -> N crops, RGB uint8, each (S, S, 3) with S = `spec.size_px`.

    Framed detections are cut without rotation and margin, at their own size. What lies outside the image repeats
    the nearest edge pixel.
    """
    if faces.framed:
        return [_inside(image, box) for box in faces.boxes_xyxy]
    return [
        cut_by_eyes(image, eyes, spec) if spec.eye_distance and has_eyes(eyes) else _by_box(image, box, eyes, spec)
        for box, eyes in zip(faces.boxes_xyxy, faces.landmarks_xy[:, :2], strict=True)
    ]


def by_eyes(points_xy: NDArray[np.float32], eyes_xy: NDArray[np.float32], spec: InputSpec) -> NDArray[np.float32]:
    """(K, 2) points of an image -> where they are in the crop that `cut_by_eyes` makes, in its pixels."""
    return _placed(points_xy, *_frame(eyes_xy, spec), spec.size_px)


def landmarks_in_crop(face: Detections, spec: InputSpec) -> NDArray[np.float32]:
    """(5, 2) landmarks of the one face in `face`, in pixels of the crop that `cut_faces` makes of it."""
    points, eyes = face.landmarks_xy[0], face.landmarks_xy[0, :2]
    if spec.eye_distance and has_eyes(eyes):
        return by_eyes(points, eyes, spec)
    return _placed(points, *_box_frame(face.boxes_xyxy[0], eyes, spec), spec.size_px)


def _placed(
    points_xy: NDArray[np.float32], centre: NDArray[np.floating], side: float, angle: float, size_px: int
) -> NDArray[np.float32]:
    cos, sin = np.cos(angle), np.sin(angle)
    turned = (points_xy - centre) @ np.array([[cos, -sin], [sin, cos]])
    return np.asarray(turned * (size_px / side) + size_px / 2, dtype=np.float32)


def cut_by_eyes(image: NDArray[np.uint8], eyes_xy: NDArray[np.float32], spec: InputSpec) -> NDArray[np.uint8]:
    """(H, W) or (H, W, 3) uint8 and the (2, 2) centres of its left and right eye -> the crop that `eye_distance` and
    `eye_height` of `spec` ask for, (S, S) or (S, S, 3).
    """
    return _cut(image, *_frame(eyes_xy, spec), spec.size_px)


def _frame(eyes_xy: NDArray[np.float32], spec: InputSpec) -> tuple[NDArray[np.floating], float, float]:
    """Centre, side and angle of the square that the eyes ask for."""
    angle = eye_angle_rad(eyes_xy)
    side = float(np.linalg.norm(eyes_xy[1] - eyes_xy[0])) / spec.eye_distance
    below = (0.5 - spec.eye_height) * side
    return eyes_xy.mean(axis=0) + below * np.array([-np.sin(angle), np.cos(angle)]), side, angle


def has_eyes(eyes_xy: NDArray[np.float32]) -> bool:
    """Whether both of the (2, 2) eye centres are known, a pixel or more apart."""
    return bool(np.isfinite(eyes_xy).all() and np.linalg.norm(eyes_xy[1] - eyes_xy[0]) >= 1)


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


def _by_box(
    image: NDArray[np.uint8], box_xyxy: NDArray[np.float32], eyes_xy: NDArray[np.float32], spec: InputSpec
) -> NDArray[np.uint8]:
    """The crop that `margin`, `shift_y` and `rotate` ask for."""
    return _cut(image, *_box_frame(box_xyxy, eyes_xy, spec), spec.size_px)


def _box_frame(
    box_xyxy: NDArray[np.float32], eyes_xy: NDArray[np.float32], spec: InputSpec
) -> tuple[NDArray[np.floating], float, float]:
    """Centre, side and angle of the square that the box asks for."""
    extent = float((box_xyxy[2:] - box_xyxy[:2]).max())
    angle = eye_angle_rad(eyes_xy) if spec.rotate else 0.0
    down = spec.shift_y * extent * np.array([-np.sin(angle), np.cos(angle)])
    return (box_xyxy[:2] + box_xyxy[2:]) / 2 + down, max(spec.margin * extent, 1.0), angle


def _cut(
    image: NDArray[np.uint8], centre: NDArray[np.floating], side: float, angle: float, size_px: int
) -> NDArray[np.uint8]:
    """Turn, scale and cut in one resampling, at a whole multiple of the final size, then average down."""
    cos, sin = np.cos(angle), np.sin(angle)
    multiple = int(np.clip(np.ceil(side / size_px), 1, _MAX_OVERSAMPLING))
    pixels = size_px * multiple
    turn = pixels / side * np.array([[cos, sin], [-sin, cos]])
    middle = (pixels - 1) / 2
    matrix = np.hstack([turn, (middle - turn @ (centre - 0.5))[:, None]])
    crop = cv2.warpAffine(image, matrix, (pixels, pixels), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    if multiple > 1:
        crop = cv2.resize(crop, (size_px, size_px), interpolation=cv2.INTER_AREA)
    return np.asarray(crop, dtype=np.uint8)
