"""From a face crop to the network's input; training and inference call the same functions."""

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the pictures of ImageNet, in RGB from 0 to 1."""

USUAL_MEANS, USUAL_DEVIATIONS = (0.3, 0.7), (0.12, 0.32)
"""Of the pixels of a face, 0 is black and 1 is white; nine in ten of FER+'s lie within."""


class InputSpec(BaseModel):
    """How a face becomes the input tensor of a model.

    Attributes:
        size_px: side of the square input.
        channels: "gray" (1 channel, ITU-R BT.601 luma) or "rgb" (3).
        mean, std: per channel, on the scale [0, 1]; std above 0.
        relight: first bring faces that are darker, lighter, flatter or harsher than nearly all of FER+'s into the range
            of these (`light_change`).
        rotate: turn the face so that the eyes are level before it is cut out.
        margin: side of the square crop divided by the larger side of the face box.
        shift_y: downward shift of the crop's centre from the box centre, as a fraction of the larger box side.
        eye_distance: distance of the eye centres as a fraction of the crop's side. Above 0 the eyes alone say where the
            crop is, level and in its middle, `eye_height` of its side below the upper edge; faces without eyes, and
            all faces with 0, are cut by their box.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size_px: int = Field(ge=8, le=1024)
    channels: Literal["gray", "rgb"]
    mean: tuple[FiniteFloat, ...]
    std: tuple[FiniteFloat, ...]
    relight: bool = False
    rotate: bool
    margin: float = Field(gt=0, le=4)
    shift_y: float = Field(ge=-1, le=1)
    eye_distance: float = Field(default=0, ge=0, le=1)
    eye_height: float = Field(default=0.4, ge=0, le=1)

    @model_validator(mode="after")
    def _one_value_per_channel(self) -> "InputSpec":
        if not len(self.mean) == len(self.std) == self.channel_count:
            raise ValueError(f"mean and std must have {self.channel_count} values, one per channel")
        if min(self.std) <= 0:
            raise ValueError("std must be > 0")
        return self

    @property
    def channel_count(self) -> int:
        """1 for gray, 3 for rgb."""
        return 1 if self.channels == "gray" else 3


def to_channels(image: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.uint8]:
    """(H, W) gray or (H, W, 3) RGB uint8 -> (H, W, C) uint8 with the channels of `spec`."""
    if spec.channels == "gray":
        gray = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        return np.asarray(gray, dtype=np.uint8)[..., None]
    rgb = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) if image.ndim == 2 else image
    return np.asarray(rgb, dtype=np.uint8)


def resize(image: NDArray[np.uint8], size_px: int) -> NDArray[np.uint8]:
    """(H, W, C) uint8 -> (size_px, size_px, C) uint8; area averaging when shrinking, bilinear when enlarging."""
    if image.shape[:2] == (size_px, size_px):
        return image
    shrinking = min(image.shape[:2]) > size_px
    resized = cv2.resize(image, (size_px, size_px), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)
    return np.asarray(resized, dtype=np.uint8).reshape(size_px, size_px, image.shape[2])


def to_pixels(crops: list[NDArray[np.uint8]], spec: InputSpec) -> NDArray[np.uint8]:
    """Crops, each (H, W) or (H, W, 3) RGB uint8 -> (N, size_px, size_px, C) uint8."""
    size = spec.size_px
    batch = np.empty((len(crops), size, size, spec.channel_count), dtype=np.uint8)
    for i, crop in enumerate(crops):
        batch[i] = resize(to_channels(crop, spec), size)
    return batch


def to_input(crops: list[NDArray[np.uint8]], spec: InputSpec) -> NDArray[np.float32]:
    """Crops, each (H, W) or (H, W, 3) RGB uint8 -> (N, C, size_px, size_px) float32, normalised as `spec` says."""
    return normalise(to_pixels(crops, spec), spec)


def normalise(batch: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.float32]:
    """(N, H, W, C) uint8 -> (N, C, H, W) float32, (x / 255 - mean) / std, in another light if `relight` says so."""
    mean = np.asarray(spec.mean, dtype=np.float32) * 255
    std = np.asarray(spec.std, dtype=np.float32) * 255
    pixels: NDArray[np.floating | np.uint8] = batch
    if spec.relight:
        gain, offset = (change.reshape(-1, 1, 1, 1) for change in light_change(batch).T)
        pixels = batch * gain + 255 * offset
    return np.ascontiguousarray(((pixels - mean) / std).transpose(0, 3, 1, 2), dtype=np.float32)


def light_change(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(N, H, W, C) uint8 -> (N, 2) gain and offset that bring each face, on the scale [0, 1], into `USUAL_MEANS` and
    `USUAL_DEVIATIONS`; 1 and 0 where it is there already. All its channels get the same light.
    """
    pixels = batch.reshape(len(batch), -1).astype(np.float32) / 255
    mean, deviation = pixels.mean(axis=1), np.maximum(pixels.std(axis=1), 1 / 255)
    gain = deviation.clip(*USUAL_DEVIATIONS) / deviation
    return np.stack([gain, mean.clip(*USUAL_MEANS) - gain * mean], axis=1)
