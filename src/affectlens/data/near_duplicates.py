"""Faces that occur in two splits: the same picture, its mirror image, or a close copy of either."""

import cv2
import numpy as np
from numpy.typing import NDArray

from affectlens.data.images import FaceImages, decoded, to_gray

BITS = 256
MAX_DIFFERING_BITS = 28
"""Two faces are near-duplicates when their hashes differ in at most this many of 256 bits.

Chosen by looking at the pairs of FER+: up to 28 bits all inspected pairs show one photo (re-cropped, watermarked,
re-toned); from 29 bits on, different people begin to appear.
"""


def difference_hash(images: FaceImages, mirrored: bool = False) -> NDArray[np.float32]:
    """N gray or RGB uint8 images -> (N, 256) float32 of +1 and -1: is a cell of a 16x16 grid darker than its right one?

    With `mirrored` the hashes are those of the mirror images. An image that cannot be decoded has zeros, and so no
    near-duplicate.
    """
    signs = np.zeros((len(images), BITS), dtype=np.float32)
    for row in range(len(images)):
        for image in decoded(images, [row])[0]:
            signs[row] = hash_one(image, mirrored)
    return signs


def hash_one(image: NDArray[np.uint8], mirrored: bool = False) -> NDArray[np.int8]:
    """(H, W) gray or (H, W, 3) RGB uint8 -> (256,) int8, one row of `difference_hash`."""
    gray = to_gray(image)[:, ::-1] if mirrored else to_gray(image)
    small = cv2.resize(np.ascontiguousarray(gray), (17, 16), interpolation=cv2.INTER_AREA).astype(np.int16)
    return np.where(small[:, :-1] < small[:, 1:], 1, -1).astype(np.int8).reshape(-1)


def nearest_distance(images: FaceImages, *others: FaceImages) -> NDArray[np.int64]:
    """For each of N `images`, the bits (0 to 256) in which it differs from the nearest of all others, also mirrored.

    The Hamming distance of two rows of signs is (256 - their dot product) / 2.
    """
    pool = [sign for part in others for mirrored in (False, True) for sign in difference_hash(part, mirrored)]
    if not pool:
        return np.full(len(images), BITS, dtype=np.int64)
    return nearest_hash(difference_hash(images), np.stack(pool))[0]


def nearest_hash(
    hashes: NDArray[np.floating], pool: NDArray[np.floating]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each of (N, 256) signs the bits by which the nearest of (M, 256), M > 0, differs, and the row of that one."""
    bits, rows = np.empty(len(hashes), dtype=np.int64), np.empty(len(hashes), dtype=np.int64)
    columns = np.ascontiguousarray(pool.T)
    for start in range(0, len(hashes), 256):
        products = hashes[start : start + 256] @ columns
        rows[start : start + 256] = products.argmax(axis=1)
        bits[start : start + 256] = ((BITS - products.max(axis=1)) / 2).round()
    return bits, rows


def has_near_duplicate(images: FaceImages, *others: FaceImages) -> NDArray[np.bool_]:
    """(N,) true where an image has a near-duplicate among the others."""
    return nearest_distance(images, *others) <= MAX_DIFFERING_BITS
