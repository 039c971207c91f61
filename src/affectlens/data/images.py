"""Face images by row: small ones are decoded once and kept, large ones are decoded on demand."""

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, overload

import cv2
import numpy as np
from numpy.typing import NDArray

from affectlens.core.errors import BadData, UnreadableMedia
from affectlens.core.image_file import decode, read_file
from affectlens.core.messages import warn_once
from affectlens.core.sample import Dropped, Sample

KEEP_SIDE_PX = 128
"""Images with both sides up to this are kept in memory."""
KEEP_BYTES = 4 << 30
"""The most that is kept; images beyond are decoded when they are asked for."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Stored:
    """Where an image is: a file, or encoded bytes; the box (x1, y1, x2, y2 in pixels) is cut out after decoding."""

    path: Path
    content: bytes | None = None
    box_xyxy: NDArray[np.float32] | None = None

    @classmethod
    def of(cls, sample: Sample | Dropped) -> "Stored | Pixels | None":
        """Where the image of an entry is, or its pixels; None where it has none."""
        box_xyxy = sample.box_xyxy if isinstance(sample, Sample) else None
        if isinstance(sample.content, np.ndarray):
            return sample.content if box_xyxy is None else cut(sample.content, box_xyxy, sample.path or Path())
        return None if sample.path is None else cls(sample.path, sample.content, box_xyxy)

    def encoded(self) -> bytes:
        """The bytes of the image file.  Raises BadData: it cannot be read, or is no image."""
        if self.content is not None:
            return self.content
        try:
            return read_file(self.path)
        except OSError as error:
            raise BadData(f"cannot read '{self.path}': {error.strerror or error}") from error
        except UnreadableMedia as error:
            raise BadData(f"cannot decode '{self.path}' as an image: {error.detail}") from error

    def decode(self) -> Pixels:
        """(H, W) gray or (H, W, 3) RGB uint8; the log names an image once that breaks off but has most of its pixels.

        Raises:
            BadData: it cannot be read or decoded, or the box lies outside.
        """
        try:
            picture = decode(self.encoded())
        except UnreadableMedia as error:
            raise BadData(f"cannot decode '{self.path}' as an image: {error.detail}") from error
        if picture.incomplete:
            warn_once(
                f"'{self.path}' is truncated in its last tenth; the decoded part is used"
            )  # epochs decode it again
        return picture.pixels if self.box_xyxy is None else cut(picture.pixels, self.box_xyxy, self.path)


def cut(pixels: Pixels, box_xyxy: NDArray[np.float32], where: Path) -> Pixels:
    """The part of the image inside the box, whose corners are rounded and held to the image.

    Raises:
        BadData: nothing of the image is inside.
    """
    height, width = pixels.shape[:2]
    x1, y1, x2, y2 = (round(float(value)) for value in box_xyxy)
    part = pixels[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)]
    if not part.size:
        raise BadData(f"'{where}': the face box {x1},{y1},{x2},{y2} is outside the image of {width}x{height} pixels")
    return part.copy()  # so that the whole picture is not kept for its sake


def to_gray(pixels: Pixels) -> Pixels:
    """(H, W) as it is; (H, W, 3) RGB -> (H, W) by ITU-R BT.601 luma."""
    return pixels if pixels.ndim == 2 else np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


class Decodable(Protocol):
    """An image that is made when it is asked for."""

    def decode(self) -> Pixels:
        """(H, W) gray or (H, W, 3) RGB uint8.  Raises BadData where it cannot be had."""
        ...


class Images:
    """N images of any size: `images[3]` is (H, W) gray or (H, W, 3) RGB uint8, `images[rows]` a part of them."""

    def __init__(self, entries: Sequence[Pixels | Decodable], named: set[str] | None = None) -> None:
        self.entries = entries
        self._named: set[str] = set() if named is None else named  # shared by all parts

    def __len__(self) -> int:
        return len(self.entries)

    @overload
    def __getitem__(self, which: int) -> Pixels: ...
    @overload
    def __getitem__(self, which: NDArray[np.int64] | NDArray[np.bool_]) -> "Images": ...
    def __getitem__(self, which: int | NDArray[np.int64] | NDArray[np.bool_]) -> "Pixels | Images":
        if isinstance(which, np.ndarray):
            rows = np.flatnonzero(which) if which.dtype == bool else which
            return Images([self.entries[row] for row in rows], self._named)
        return pixels_of(self.entries[which])

    def __iter__(self) -> Iterator[Pixels]:
        for row in range(len(self)):
            yield self[row]

    def say_once(self, error: BadData) -> None:
        """Name an image that cannot be decoded, the first time that it is met."""
        if str(error) not in self._named:
            self._named.add(str(error))
            logging.getLogger("affectlens").warning("left out: %s", error)


def pixels_of(entry: Pixels | Decodable) -> Pixels:
    """The pixels of an image that may have to be decoded.  Raises BadData where that fails."""
    return entry if isinstance(entry, np.ndarray) else entry.decode()


FaceImages = Images | Pixels
"""N images: `Images`, or an array (N, H, W) or (N, H, W, 3)."""


def in_chunks(images: FaceImages, size: int) -> Iterator[tuple[list[Pixels], NDArray[np.int64]]]:
    """The images in order, up to `size` at a time, and their rows; those that cannot be decoded are left out.

    A chunk of none but such images comes too, so that ceil(N / size) chunks come in all.
    """
    for start in range(0, len(images), size):
        found, places = decoded(images, range(start, min(start + size, len(images))))
        yield found, places + start


def decoded(images: FaceImages, rows: Iterable[int]) -> tuple[list[Pixels], NDArray[np.int64]]:
    """The images of `rows` that can be decoded and their places in `rows`; each that cannot is logged once.

    Several are decoded in as many threads as there are cores.
    """
    if not isinstance(images, Images):
        found = [images[int(row)] for row in rows]
        return found, np.arange(len(found))
    entries = [images.entries[int(row)] for row in rows]
    answers: Iterable[Pixels | BadData] = map(_decode, entries)
    if sum(not isinstance(entry, np.ndarray) for entry in entries) > 1:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            answers = list(pool.map(_decode, entries))
    found, places = [], []
    for place, answer in enumerate(answers):
        if isinstance(answer, BadData):
            images.say_once(answer)
        else:
            found.append(answer)
            places.append(place)
    return found, np.array(places, dtype=np.int64)


def _decode(entry: Pixels | Decodable) -> Pixels | BadData:
    """The pixels, or why there are none."""
    try:
        return pixels_of(entry)
    except BadData as error:
        return error
