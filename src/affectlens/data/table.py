"""Labelled faces of one split as arrays in memory."""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from affectlens.core.errors import BadData
from affectlens.core.sample import Sample


@dataclass(frozen=True, eq=False)
class FaceTable:
    """N faces of one split, decoded once.

    Attributes:
        ids: (N,) sample ids.
        images: (N, H, W) uint8, gray, all of one size.
        votes: (N, C) float32, each row a distribution over `labels`.
        targets: (N,) int64 index into `labels`, -1 where the raters have no majority.
        labels: names of the C classes.
    """

    ids: tuple[str, ...]
    images: NDArray[np.uint8]
    votes: NDArray[np.float32]
    targets: NDArray[np.int64]
    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        faces, classes = len(self.ids), len(self.labels)
        shapes = (self.images.shape[:1], self.votes.shape, self.targets.shape)
        if shapes != ((faces,), (faces, classes), (faces,)) or self.images.ndim != 3:
            raise BadData(f"a table of {faces} faces and {classes} classes cannot hold arrays of shapes {shapes}")

    def __len__(self) -> int:
        return len(self.ids)

    def keep(self, mask: NDArray[np.bool_]) -> "FaceTable":
        """The rows where the (N,) `mask` is true."""
        ids = tuple(name for name, kept in zip(self.ids, mask, strict=True) if kept)
        return FaceTable(ids, self.images[mask], self.votes[mask], self.targets[mask], self.labels)


def load(samples: Iterable[Sample], labels: tuple[str, ...]) -> FaceTable:
    """Decode every sample as gray.

    Raises:
        BadData: an image cannot be decoded or differs in size from the first, a sample has no votes, or there is none.
    """
    ids: list[str] = []
    images: list[NDArray[np.uint8]] = []
    votes: list[NDArray[np.float32]] = []
    targets: list[int] = []
    for sample in samples:
        data = np.fromfile(sample.path, dtype=np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE) if len(data) else None
        if image is None:
            raise BadData(f"'{sample.path}' cannot be decoded as an image")
        if images and image.shape != images[0].shape:
            raise BadData(f"'{sample.path}' is {image.shape[1]}x{image.shape[0]}, expected the size of the first image")
        if sample.votes is None:
            raise BadData(f"sample '{sample.id}' has no votes")
        ids.append(sample.id)
        images.append(np.asarray(image, dtype=np.uint8))
        votes.append(sample.votes)
        targets.append(labels.index(sample.expression) if sample.expression is not None else -1)
    if not ids:
        raise BadData("the data set has no samples")
    return FaceTable(tuple(ids), np.stack(images), np.stack(votes), np.array(targets, dtype=np.int64), labels)
