"""Image corruptions with five severities each, as caused by cameras, compression and occlusion.

After Hendrycks and Dietterich (2019, arXiv:1903.12261), with severities for faces: from hardly any effect on a model to
a level at which people start to guess. Lengths are fractions of the side, so that pictures of all sizes are corrupted
equally; only `size` is in pixels, because that is the resolution left of a small face.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from affectlens.core.catalog import unknown
from affectlens.core.errors import BadSetting, UnknownName

Pixels = NDArray[np.uint8]
SEVERITIES = 5


@dataclass(frozen=True)
class Corruption:
    """One kind of corruption.

    Attributes:
        levels: five values, from the mildest. unit: what they measure. lowest, highest: what a level may be.
        corrupt: (H, W) gray or (H, W, 3) RGB uint8, level, number of the face (which decides what is left to chance) ->
            the same shape.
    """

    levels: tuple[float, float, float, float, float]
    unit: str
    corrupt: Callable[[Pixels, float, int], Pixels]
    lowest: float = 0.0
    highest: float = math.inf


def smaller(face: Pixels, side_px: float, _: int = 0) -> Pixels:
    """Reduced to `side_px` a side and enlarged again; smaller faces stay as they are."""
    height, width = face.shape[:2]
    if side_px >= max(height, width):
        return face
    scale = side_px / max(height, width)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    small = cv2.resize(face, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def blurred(face: Pixels, share: float, _: int = 0) -> Pixels:
    """A Gaussian with a deviation of `share` of the side."""
    return np.asarray(cv2.GaussianBlur(face, (0, 0), share * max(face.shape[:2])), dtype=np.uint8)


def lit(face: Pixels, factor: float, _: int = 0) -> Pixels:
    """The light times `factor`; what is lighter than white is white."""
    return np.asarray(np.clip(np.rint(face * float(factor)), 0, 255), dtype=np.uint8)


def flattened(face: Pixels, factor: float, _: int = 0) -> Pixels:
    """Differences from mid-gray times `factor`."""
    return np.asarray(np.rint((face - 127.5) * factor + 127.5), dtype=np.uint8)


def noisy(face: Pixels, deviation: float, number: int = 0) -> Pixels:
    """Gaussian noise of `deviation` (of 255)."""
    noise = np.random.default_rng(number).normal(0, deviation, face.shape)
    return np.clip(np.rint(face + noise), 0, 255).astype(np.uint8)


def compressed(face: Pixels, quality: float, _: int = 0) -> Pixels:
    """JPEG of this quality and back."""
    picture = face if face.ndim == 2 else cv2.cvtColor(face, cv2.COLOR_RGB2BGR)
    code = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])[1]
    flags = cv2.IMREAD_GRAYSCALE if face.ndim == 2 else cv2.IMREAD_COLOR_RGB
    return np.asarray(cv2.imdecode(code, flags), dtype=np.uint8)


def rotated(face: Pixels, angle_deg: float, number: int = 0) -> Pixels:
    """Turned, every other face to the other side; the edge is repeated."""
    height, width = face.shape[:2]
    angle = angle_deg if number % 2 else -angle_deg
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
    return np.asarray(cv2.warpAffine(face, turn, (width, height), borderMode=cv2.BORDER_REPLICATE), dtype=np.uint8)


def covered(face: Pixels, share: float, number: int = 0) -> Pixels:
    """A gray square of `share` of the side somewhere within."""
    height, width = face.shape[:2]
    tall, wide = round(share * height), round(share * width)
    random = np.random.default_rng(number)
    top, left = random.integers(0, height - tall + 1), random.integers(0, width - wide + 1)
    corrupted = face.copy()
    corrupted[top : top + tall, left : left + wide] = 128
    return corrupted


def cut_off(face: Pixels, share: float, number: int = 0) -> Pixels:
    """`share` of the picture missing at the left, right, upper or lower side; the edge is repeated, as the runtime does
    beyond the edge of a photo.
    """
    turned = np.rot90(face, number % 4).copy()
    away = round(share * turned.shape[1])
    turned[:, :away] = turned[:, away : away + 1]
    return np.ascontiguousarray(np.rot90(turned, -(number % 4)))


def corrupt(name: str, level: float, face: Pixels, number: int = 0) -> Pixels:
    """The picture of a face, corrupted as `audit` does it.

    Args:
        name: "size", "blur", "darkness", "overexposure", "low contrast", "noise", "compression", "rotation",
            "occlusion" or "cut off".
        level: how strong: of size, pixels a side; of blur, the deviation as a share of the side; of darkness and
            overexposure, what the light, and of low contrast, what differences from mid-gray are multiplied by; of
            noise, the deviation (of 255); of compression, the quality of the JPEG; of rotation, degrees; of occlusion,
            the side of a gray square as a share of the face's; of cut off, the share of the picture.
        face: (H, W) gray or (H, W, 3) RGB uint8.
        number: of the face; it decides what is left to chance (noise, place, direction).

    Returns:
        The same shape, uint8; a new array, or `face` itself where there is nothing to change.

    Raises:
        UnknownName: there is no such corruption. BadSetting: the level is out of its range, or `face` is not such a
            picture.
    """
    if name not in CORRUPTIONS:
        raise UnknownName(unknown("corruption", name, list(CORRUPTIONS)))
    how = CORRUPTIONS[name]
    if not how.lowest <= level <= how.highest:
        raise BadSetting(f"the level of '{name}' must be from {how.lowest:g} to {how.highest:g}, got {level}")
    if face.dtype != np.uint8 or face.ndim not in (2, 3) or face.shape[2:] not in ((), (3,)) or not face.size:
        raise BadSetting(f"a face must be (H, W) or (H, W, 3) uint8, got {face.shape} {face.dtype}")
    return how.corrupt(face, level, number)


CORRUPTIONS: Mapping[str, Corruption] = {
    "size": Corruption((40, 32, 24, 20, 16), "pixels a side", smaller, 1),
    "blur": Corruption((0.01, 0.02, 0.03, 0.04, 0.06), "of the side", blurred, 0.0001),
    "darkness": Corruption((0.5, 0.35, 0.2, 0.1, 0.05), "of the light", lit),
    "overexposure": Corruption((1.25, 1.5, 2, 2.5, 3), "times the light", lit),
    "low contrast": Corruption((0.6, 0.4, 0.2, 0.1, 0.05), "of the contrast", flattened, 0, 1),
    "noise": Corruption((5, 10, 20, 30, 40), "of 255", noisy),
    "compression": Corruption((50, 30, 20, 10, 5), "JPEG quality", compressed, 0, 100),
    "rotation": Corruption((5, 10, 20, 30, 45), "degrees", rotated, -360, 360),
    "occlusion": Corruption((0.2, 0.3, 0.4, 0.5, 0.6), "of the side", covered, 0, 1),
    "cut off": Corruption((0.1, 0.15, 0.2, 0.25, 0.3), "of the picture", cut_off, 0, 0.9),
}
