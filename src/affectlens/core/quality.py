"""Quality of a face image: size, sharpness, light, contrast, pose, and how much of the face is in the picture.

Light, sharpness and contrast are measured on the network's crop, resized to 48 pixels, so that small faces and blurred
faces give similar values. Pose is the rotation that best explains the five landmarks under a scaled orthographic
projection of one average face; it is accurate only to about ten degrees.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from affectlens.core.detection import Detections
from affectlens.core.preprocessing import resize
from affectlens.core.reasons import Flaw

MIN_SIDE_PX = 24
MIN_INSIDE = 0.85
MIN_SHARPNESS = 0.2
MIN_BRIGHTNESS, MIN_CONTRAST = 0.03, 0.015
MAX_OVEREXPOSED = 0.5
MAX_YAW_DEG, MAX_PITCH_DEG = 45, 40
"""Limits beyond which a face has a flaw (benchmarks/quality.txt)."""

_SIDE_PX = 48
_NEARLY_WHITE = 250
_FACE_MM = np.array([[-31.5, 0, 0], [31.5, 0, 0], [0, 37, 32], [-26, 68, 9], [26, 68, 9]])
"""The five landmarks of an average face, x to the right of the picture, y down, z to the camera: widths and heights
as MTCNN finds them on frontal faces of FER+, depths by anthropometry."""
_FROM_POINTS = np.linalg.pinv(_FACE_MM - _FACE_MM.mean(axis=0))


@dataclass(frozen=True)
class Quality:
    """How well a face can be seen.

    Attributes:
        size_px: longer side of the box in pixels of the image. inside: fraction of the box inside the image, 0 to 1.
        sharpness: standard deviation of the Laplacian of the crop, divided by the standard deviation of the crop; 0.5
            to 1.5 for nearly all of FER+.
        brightness, contrast: mean and standard deviation of the crop, 0 (black) to 1 (white).
        overexposed: fraction of the crop that is white.
        yaw_deg, pitch_deg, roll_deg: pose estimated from the landmarks; NaN without them. Positive when the face looks
            to the right of the picture or down, and when the head is turned clockwise.
    """

    size_px: float
    inside: float
    sharpness: float
    brightness: float
    contrast: float
    overexposed: float
    yaw_deg: float
    pitch_deg: float
    roll_deg: float

    @property
    def flaws(self) -> tuple[Flaw, ...]:
        """Flaws that make the answer less reliable."""
        found = {
            Flaw.SMALL: self.size_px < MIN_SIDE_PX,
            Flaw.CUT_OFF: self.inside < MIN_INSIDE,
            Flaw.BLURRED: self.sharpness < MIN_SHARPNESS,
            Flaw.DARK: self.brightness < MIN_BRIGHTNESS,
            Flaw.OVEREXPOSED: self.overexposed > MAX_OVEREXPOSED,
            Flaw.FLAT: self.contrast < MIN_CONTRAST,
            Flaw.TURNED: abs(self.yaw_deg) > MAX_YAW_DEG or abs(self.pitch_deg) > MAX_PITCH_DEG,
        }
        return tuple(flaw for flaw, here in found.items() if here)

    @property
    def code(self) -> str:
        """The flaws joined by "+"; "ok" if there are none."""
        return "+".join(self.flaws) or "ok"


def qualities(
    crops: Sequence[NDArray[np.uint8]], faces: Detections, image_size: tuple[int, int]
) -> tuple[Quality, ...]:
    """N crops, (H, W) gray or (H, W, 3) RGB uint8, their detections, and the (width, height) of the image."""
    return tuple(
        _quality(crop, box, points, image_size)
        for crop, box, points in zip(crops, faces.boxes_xyxy, faces.landmarks_xy, strict=True)
    )


def _quality(
    crop: NDArray[np.uint8], box_xyxy: NDArray[np.float32], points_xy: NDArray[np.float32], image_size: tuple[int, int]
) -> Quality:
    gray = crop if crop.ndim == 2 else cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    gray = resize(np.asarray(gray, dtype=np.uint8)[..., None], _SIDE_PX)[..., 0]
    mean, deviation = (float(value[0, 0]) for value in cv2.meanStdDev(gray))
    edges = float(cv2.meanStdDev(cv2.Laplacian(gray, cv2.CV_32F))[1][0, 0])
    yaw, pitch, roll = pose_deg(points_xy)
    return Quality(
        size_px=float((box_xyxy[2:] - box_xyxy[:2]).max()),
        inside=_inside(box_xyxy, image_size),
        sharpness=edges / max(deviation, 1.0),
        brightness=mean / 255,
        contrast=deviation / 255,
        overexposed=float(np.count_nonzero(gray >= _NEARLY_WHITE) / gray.size),
        yaw_deg=yaw,
        pitch_deg=pitch,
        roll_deg=roll,
    )


def _inside(box_xyxy: NDArray[np.float32], image_size: tuple[int, int]) -> float:
    """Part of the box that lies within the image."""
    low, high = box_xyxy[:2].clip(0, image_size), box_xyxy[2:].clip(0, image_size)
    area = float(np.prod(box_xyxy[2:] - box_xyxy[:2]))
    return float(np.prod(high - low)) / area if area > 0 else 0.0


def pose_deg(points_xy: NDArray[np.floating]) -> tuple[float, float, float]:
    """(5, 2) landmarks -> yaw, pitch and roll in degrees; NaN without landmarks.

    Yaw is positive where the face looks to the right of the picture, pitch where it looks down, roll where the head is
    turned clockwise. They are applied to a frontal face in the order roll, pitch, yaw.
    """
    if not np.isfinite(points_xy).all():
        return float("nan"), float("nan"), float("nan")
    centred = points_xy - points_xy.mean(axis=0)
    left, _, right = np.linalg.svd((_FROM_POINTS @ centred).T, full_matrices=False)
    across, down = left @ right  # the nearest two orthonormal rows
    towards = np.cross(across, down)
    yaw = np.arctan2(across[2], towards[2])
    pitch = np.arcsin(np.clip(down[2], -1, 1))
    roll = np.arctan2(down[0], down[1])
    return float(np.degrees(yaw)), float(np.degrees(pitch)), float(np.degrees(roll))
