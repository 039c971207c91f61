"""Arrays from other programs as images and as video frames."""

import math
import os
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from affectlens.core.errors import BadSetting, UnreadableMedia
from affectlens.core.reasons import Reason
from affectlens.runtime.video import Frame

TimedArrays: TypeAlias = "Iterable[NDArray[np.uint8]] | Iterable[tuple[NDArray[np.uint8], float]]"
"""Images, or pairs of an image and its time in seconds."""


class ChannelOrder(StrEnum):
    """Order of the channels of an array."""

    RGB = "rgb"
    """As Pillow, imageio, torchvision and this package have them."""
    BGR = "bgr"
    """As OpenCV reads them."""


def as_rgb(image: Any, colour: str = ChannelOrder.RGB) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 in this order of channels, or (H, W) gray uint8 -> (H, W, 3) RGB uint8; not copied if it is that.

    Raises:
        BadSetting: it has another type, dtype or shape or no pixels, or there is no such order.
    """
    check_colour(colour)
    expected = f"(H, W, 3) {colour.upper()} or (H, W) gray uint8"
    if not isinstance(image, np.ndarray):
        raise BadSetting(f"expected an array of {expected}, got {type(image).__name__}")
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise BadSetting(f"expected {expected}, got shape {image.shape} and dtype {image.dtype}")
    if image.size == 0:
        raise BadSetting(f"the image has no pixels: shape {image.shape}")
    if image.ndim == 2:
        return np.stack([image] * 3, axis=-1)
    if colour == ChannelOrder.BGR:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)
    return image


def check_colour(colour: str) -> None:
    """Raises BadSetting where there is no such order of channels."""
    if colour not in list(ChannelOrder):
        raise BadSetting(f"colour must be {' or '.join(ChannelOrder)}, got '{colour}'")


def check_time(time_s: Any, before_s: float) -> float:
    """The time of a frame in seconds, any number, as a float.

    Raises:
        BadSetting: it is not a finite number, or before `before_s`, the time of the frame before it.
    """
    seconds = _number(time_s)
    if not math.isfinite(seconds):
        got = repr(time_s) if isinstance(time_s, float | str | None) else type(time_s).__name__
        raise BadSetting(f"time_s must be a finite number of seconds, got {got}; pairs must be (image, time_s)")
    if seconds < before_s:
        raise BadSetting(f"time_s must not decrease: got {seconds:g} s after {before_s:g} s")
    return seconds


def _number(value: Any) -> float:
    """Any number as a float; NaN for what is none, such as text."""
    try:
        return math.nan if isinstance(value, (str, bytes)) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


class ArrayFrames:
    """Frames of an iterable of arrays, as `runtime.video.Frames`; iterate once.

    Args:
        arrays: what `as_rgb` takes, with `frame_rate`; or pairs of such an image and its time in seconds.
        frame_rate: frames per second of images without times; the first is at 0 s.
        colour: order of the channels, "rgb" or "bgr".

    Raises:
        BadSetting: `arrays` is a single image or cannot be iterated, there is no such colour, or `frame_rate` is not
            a finite number above 0.
    """

    live = False
    duration_s: float | None = None

    def __init__(self, arrays: TimedArrays, frame_rate: float | None = None, colour: str = ChannelOrder.RGB) -> None:
        check_colour(colour)
        if isinstance(arrays, np.ndarray) and (arrays.ndim < 3 or (arrays.ndim == 3 and arrays.shape[2] == 3)):
            raise BadSetting(
                f"expected an iterable of frames, got a single image of shape {arrays.shape}; put it into a list"
            )
        if not isinstance(arrays, Iterable):
            raise BadSetting(f"expected a video or an iterable of arrays, got {type(arrays).__name__}")
        rate = None if frame_rate is None else _number(frame_rate)
        if rate is not None and not (rate > 0 and math.isfinite(rate)):
            raise BadSetting(f"frame_rate must be a finite number > 0, got {frame_rate!r}")
        self._arrays, self._frame_rate, self._colour = arrays, rate, colour

    def __iter__(self) -> Iterator[Frame]:
        """The frames.

        Raises:
            BadSetting: one is not what `as_rgb` takes, it has no time and there is no `frame_rate` or the other way
                round, or its time is no number or before that of the frame before it.
            UnreadableMedia: there are none.
        """
        before_s, number = -math.inf, -1
        item: Any
        for number, item in enumerate(self._arrays):
            if isinstance(item, (str, os.PathLike)):
                raise BadSetting(
                    f"expected arrays, got the path '{os.fspath(item)}'; use analyses_of for lists of paths"
                )
            timed = isinstance(item, tuple) and len(item) == 2
            if timed is (self._frame_rate is not None):
                raise BadSetting(
                    "expected pairs (array, time_s), or arrays with frame_rate=...; got "
                    f"{'pairs and' if timed else 'arrays without'} frame_rate"
                )
            image, time_s = item if timed else (item, number / (self._frame_rate or 1.0))
            before_s = check_time(time_s, before_s)
            yield Frame(number, before_s, as_rgb(image, self._colour))
        if number < 0:
            raise UnreadableMedia(Reason.NO_FRAMES, "the iterable yielded no images")

    def close(self) -> None:
        """Nothing is held."""
