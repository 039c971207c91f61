"""Frames to try a program with, or to measure it."""

import os
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from affectlens.core.errors import BadSetting
from affectlens.runtime.media import PORTRAIT, read_image
from affectlens.runtime.video import open_video

_HEIGHT, _WIDTH = 480, 640
_ROWS, _COLUMNS = 2, 3
_PORTRAITS = 30
_MAX_CLIP_FRAMES = 300
"""Of a clip, which are kept in memory."""


def sample_frames(
    count: int = 1, faces: int = 1, clip: "str | os.PathLike[str] | None" = None
) -> Iterator[NDArray[np.uint8]]:
    """Frames with a known number of faces: of the portrait that comes with the package, moving, or of a clip.

    Args:
        count: number of frames. Pictures repeat, forwards and backwards, so that faces never jump; the first is the
            portrait as it is.
        faces: 1, or up to 6 copies side by side.
        clip: a video with one face, of which the first 300 frames are used (extra `video`).

    Yields:
        (480, 640, 3) RGB uint8, each an array of its own.

    Raises:
        BadSetting: `count` or `faces` is out of range. UnreadableMedia: the clip cannot be read. MissingExtra: the
            extra `video` is not installed.
    """
    if count < 0:
        raise BadSetting(f"count must be at least 0, got {count}")
    if not 1 <= faces <= _ROWS * _COLUMNS:
        raise BadSetting(f"faces must be 1 to {_ROWS * _COLUMNS}, got {faces}")
    pictures = _portraits() if clip is None else _frames_of(Path(clip))
    frames = [_frame(picture, faces) for picture in islice(pictures, count)]
    there_and_back = [*frames, *frames[::-1]]
    return (there_and_back[number % len(there_and_back)].copy() for number in range(count))


def _portraits() -> Iterator[NDArray[np.uint8]]:
    portrait = read_image(PORTRAIT)
    return (np.roll(portrait, (step, 2 * step), axis=(0, 1)) for step in range(_PORTRAITS))


def _frames_of(clip: Path) -> Iterator[NDArray[np.uint8]]:
    with closing(open_video(clip)) as video:
        for frame in islice(video, _MAX_CLIP_FRAMES):
            yield frame.image


def _frame(picture: NDArray[np.uint8], faces: int) -> NDArray[np.uint8]:
    """One picture as a frame, or copies of its middle in it, row by row."""
    frame = _letterboxed(picture)
    if faces == 1:
        return frame
    height, width = _HEIGHT // _ROWS, _WIDTH // _COLUMNS
    edge = (_WIDTH - _ROWS * width) // 2
    small = cv2.resize(frame[:, edge : _WIDTH - edge], (width, height), interpolation=cv2.INTER_AREA)
    tiles = np.zeros_like(frame)
    for place in range(faces):
        top, left = height * (place // _COLUMNS), width * (place % _COLUMNS)
        tiles[top : top + height, left : left + width] = small
    return tiles


def _letterboxed(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`image` as large as it fits into a frame, in its middle, black around it."""
    scale = min(_HEIGHT / image.shape[0], _WIDTH / image.shape[1])
    scaled = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)[:_HEIGHT, :_WIDTH]
    frame = np.zeros((_HEIGHT, _WIDTH, 3), dtype=np.uint8)
    top, left = (_HEIGHT - scaled.shape[0]) // 2, (_WIDTH - scaled.shape[1]) // 2
    frame[top : top + scaled.shape[0], left : left + scaled.shape[1]] = scaled
    return frame
