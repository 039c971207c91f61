"""Pictures of 640x480 pixels with one or five faces, for measurements."""

from contextlib import closing
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from affectlens.runtime.media import PORTRAIT, read_image
from affectlens.runtime.video import open_video

FRAME = (480, 640)


def letterbox(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`image` as large as it fits into a 640x480 frame, in its middle."""
    height, width = FRAME
    scale = min(height / image.shape[0], width / image.shape[1])
    scaled = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)[:height, :width]
    frame = np.zeros((height, width, 3), dtype=np.uint8)
    top, left = (height - scaled.shape[0]) // 2, (width - scaled.shape[1]) // 2
    frame[top : top + scaled.shape[0], left : left + scaled.shape[1]] = scaled
    return frame


def one_face(clip: Path | None, most: int) -> list[NDArray[np.uint8]]:
    """Frames with one face, forth and back."""
    if clip is None:
        portrait = read_image(PORTRAIT)
        pictures = [np.roll(portrait, (i, 2 * i), axis=(0, 1)) for i in range(30)]
    else:
        with closing(open_video(clip)) as video:
            pictures = [letterbox(frame.image) for frame in islice(video, most)]
    return [*pictures, *pictures[::-1]]


def tiled(picture: NDArray[np.uint8], faces: int) -> NDArray[np.uint8]:
    """One picture as a 640x480 frame, or five copies in it, two rows of three places."""
    frame = letterbox(picture)
    if faces == 1:
        return frame
    small = cv2.resize(frame[:, 107:533], (213, 240), interpolation=cv2.INTER_AREA)
    tiles = np.zeros_like(frame)
    for place in range(faces):
        top, left = 240 * (place // 3), 213 * (place % 3)
        tiles[top : top + 240, left : left + 213] = small
    return tiles
