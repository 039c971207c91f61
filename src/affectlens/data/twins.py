"""Faces that stand on both sides of a split: the same picture, its mirror image, or a near copy of either."""

import cv2
import numpy as np
from numpy.typing import NDArray

BITS = 256
TWIN_BITS = 28
"""Two faces are twins when their hashes differ in at most this many of 256 bits.

Chosen by looking at the pairs of FER+: up to 28 bits all inspected pairs show one photo (re-cropped, watermarked,
re-toned); from 29 bits on, different people begin to appear.
"""


def difference_hash(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(N, H, W) uint8 -> (N, 256) float32 of +1 and -1: is a cell of a 16x16 grid darker than its right neighbour?"""
    signs = np.empty((len(images), BITS), dtype=np.float32)
    for i, image in enumerate(images):
        small = cv2.resize(image, (17, 16), interpolation=cv2.INTER_AREA).astype(np.int16)
        signs[i] = np.where(small[:, :-1] < small[:, 1:], 1, -1).reshape(-1)
    return signs


def nearest_distance(images: NDArray[np.uint8], others: NDArray[np.uint8]) -> NDArray[np.int64]:
    """For each of (N, H, W) `images`, the bits (0 to 256) in which it differs from the nearest other, also mirrored.

    The Hamming distance of two rows of signs is (256 - their dot product) / 2.
    """
    if not len(others):
        return np.full(len(images), BITS, dtype=np.int64)
    hashes = difference_hash(images)
    pool = np.concatenate([difference_hash(others), difference_hash(others[:, :, ::-1])]).T
    nearest = np.empty(len(hashes), dtype=np.int64)
    for start in range(0, len(hashes), 256):
        best = (hashes[start : start + 256] @ pool).max(axis=1)
        nearest[start : start + 256] = ((BITS - best) / 2).round()
    return nearest


def has_twin(images: NDArray[np.uint8], others: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(N,) true where an image has a twin among `others`."""
    return nearest_distance(images, others) <= TWIN_BITS
