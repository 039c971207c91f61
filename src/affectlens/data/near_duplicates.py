"""Faces that occur in two splits: the same picture, its mirror image, or a close copy of either."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from affectlens.data.images import FaceImages, in_chunks, to_gray

BITS = 256
_AT_ONCE = 32
"""Images that are decoded together."""
_POOL_ROWS = 20_000
"""Hashes that are compared at once, 20 MB as numbers."""
MAX_DIFFERING_BITS = 28
"""Two faces are near-duplicates when their hashes differ in at most this many of 256 bits.

Chosen by looking at the pairs of FER+: up to 28 bits all inspected pairs show one photo (re-cropped, watermarked,
re-toned); from 29 bits on, different people begin to appear.
"""


def difference_hash(images: FaceImages, mirrored: Sequence[bool] = (False, True)) -> NDArray[np.int8]:
    """N gray or RGB uint8 images -> (2, N, 256) int8 of +1 and -1: is a cell of a 16x16 grid darker than its right one?
    First of the images, then of their mirror images, or of what `mirrored` says; each image is decoded once.

    An image that cannot be decoded has zeros, and so no near-duplicate.
    """
    signs = np.zeros((len(mirrored), len(images), BITS), dtype=np.int8)
    for found, rows in in_chunks(images, _AT_ONCE):
        for image, row in zip(found, rows, strict=True):
            gray = to_gray(image)
            for place, flipped in enumerate(mirrored):
                signs[place, row] = hash_one(gray, flipped)
    return signs


def hash_one(image: NDArray[np.uint8], mirrored: bool = False) -> NDArray[np.int8]:
    """(H, W) gray or (H, W, 3) RGB uint8 -> (256,) int8, one row of `difference_hash`."""
    gray = to_gray(image)[:, ::-1] if mirrored else to_gray(image)
    small = cv2.resize(np.ascontiguousarray(gray), (17, 16), interpolation=cv2.INTER_AREA).astype(np.int16)
    return np.where(small[:, :-1] < small[:, 1:], 1, -1).astype(np.int8).reshape(-1)


def nearest_distance(images: FaceImages, *others: FaceImages) -> NDArray[np.int64]:
    """For each of N `images`, the bits (0 to 256) in which it differs from the nearest of all others, also mirrored."""
    pool = [difference_hash(part).reshape(-1, BITS) for part in others if len(part)]
    if not pool:
        return np.full(len(images), BITS, dtype=np.int64)
    return nearest_hash(difference_hash(images, (False,))[0], np.concatenate(pool))[0]


def nearest_hash(hashes: NDArray[np.integer], pool: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each of (N, 256) signs the bits by which the nearest of (M, 256), M > 0, differs, and the row of that one.

    The Hamming distance of two rows of signs is (256 - their dot product) / 2.
    """
    best = np.full(len(hashes), -np.inf, dtype=np.float32)
    rows = np.zeros(len(hashes), dtype=np.int64)
    for first in range(0, len(pool), _POOL_ROWS):
        columns = np.ascontiguousarray(pool[first : first + _POOL_ROWS].T, dtype=np.float32)
        for start in range(0, len(hashes), 256):
            some = slice(start, start + 256)
            products = hashes[some].astype(np.float32) @ columns
            nearest, top = products.argmax(axis=1), products.max(axis=1)
            better = top > best[some]
            rows[some] = np.where(better, nearest + first, rows[some])
            best[some] = np.where(better, top, best[some])
    return ((BITS - best) / 2).round().astype(np.int64), rows


def has_near_duplicate(images: FaceImages, *others: FaceImages) -> NDArray[np.bool_]:
    """(N,) true where an image has a near-duplicate among the others."""
    return nearest_distance(images, *others) <= MAX_DIFFERING_BITS
