"""The labelled face that every reader yields, and the entry it yields for one that is left out."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from affectlens.core.errors import BadData


@dataclass(frozen=True, eq=False)
class Sample:
    """A face image with what people said about it.

    Attributes:
        id: unique within its data set, stable between runs.
        path: file that holds the image.
        split: "train", "valid" or "test".
        expression: one of the reader's labels, or None where there is none (the raters did not agree).
        votes: (C,) float32 distribution over the reader's labels, sums to 1, or None where there are no votes.
        valence, arousal: in [-1, 1], or None.
        landmarks_xy: (K, 2) float32, pixels of the stored image before it is cut to `box_xyxy`, or None.
        box_xyxy: (4,) float32, the part of the stored image that is the face, or None for all of it.
        content: the image where it is not the whole of `path`: its encoded bytes, or (H, W) gray or (H, W, 3) RGB
            uint8 pixels; None: read `path`.
        age_years: or None.
        groups: column -> value, of groups that results are broken down by.
        attributes: (A,) float32 of 0 and 1 in the reader's `ATTRIBUTES`, or None.
        find_face: the image is a larger picture in which the face is still to be found.
    """

    id: str
    path: Path
    split: str
    expression: str | None = None
    votes: NDArray[np.float32] | None = None
    valence: float | None = None
    arousal: float | None = None
    landmarks_xy: NDArray[np.float32] | None = None
    box_xyxy: NDArray[np.float32] | None = None
    content: bytes | NDArray[np.uint8] | None = None
    age_years: float | None = None
    groups: Mapping[str, str] = field(default_factory=dict)
    attributes: NDArray[np.float32] | None = None
    find_face: bool = False

    def __post_init__(self) -> None:
        votes = self.votes
        if votes is not None and (not np.isclose(float(votes.sum()), 1.0, atol=1e-4) or float(votes.min()) < 0):
            raise BadData(
                f"votes of sample '{self.id}' must be >= 0 and sum to 1, got a sum of {float(votes.sum()):.4f} "
                f"and a minimum of {float(votes.min()):.4f}"
            )
        for name in ("valence", "arousal"):
            value = getattr(self, name)
            if value is not None and not -1 <= value <= 1:
                raise BadData(f"{name} of sample '{self.id}' must be in [-1, 1], got {value}")
        if self.age_years is not None and not (math.isfinite(self.age_years) and self.age_years >= 0):
            raise BadData(f"age_years of sample '{self.id}' must be >= 0, got {self.age_years}")


@dataclass(frozen=True, eq=False)
class Dropped:
    """An entry of a data set that is left out.

    Attributes:
        id: as of a sample.
        reason: a few words that entries of one kind share.
        path, content: its image as of a sample, where there is one.
    """

    id: str
    reason: str
    path: Path | None = None
    content: bytes | NDArray[np.uint8] | None = None
