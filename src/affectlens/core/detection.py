"""The output of a face detector: boxes, five landmarks and scores for one image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from affectlens.core.errors import BadSetting

LANDMARKS = ("eye_left", "eye_right", "nose", "mouth_left", "mouth_right")
"""Order of the five landmarks; left and right as seen in the image."""


@dataclass(frozen=True, eq=False)
class Detections:
    """N faces in one image, sorted by decreasing score.

    Attributes:
        boxes_xyxy: (N, 4) float32 in pixels, origin at the top left corner of the image; may extend beyond the image.
        landmarks_xy: (N, 5, 2) float32 in pixels, in the order of `LANDMARKS`; NaN if the detector has none.
        scores: (N,) float32 in [0, 1], the detector's own confidence that this is a face.
        framed: the boxes are already the crops a model wants (data sets of crops), so nothing is turned or widened.

    Numbers of another type, and lists, become float32 arrays.

    Raises:
        BadSetting: they are no numbers, do not belong together, boxes are not finite, or scores are out of range.
    """

    boxes_xyxy: NDArray[np.float32]
    landmarks_xy: NDArray[np.float32]
    scores: NDArray[np.float32]
    framed: bool = False

    def __post_init__(self) -> None:
        for name in ("boxes_xyxy", "landmarks_xy", "scores"):
            try:
                object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float32))
            except (TypeError, ValueError) as error:
                raise BadSetting(f"{name} of detections must be an array of numbers: {error}") from error
        if self.scores.ndim != 1:
            raise BadSetting(f"scores of detections must have the shape (faces,), got {self.scores.shape}")
        faces = len(self.scores)
        if self.boxes_xyxy.shape != (faces, 4) or self.landmarks_xy.shape != (faces, 5, 2):
            raise BadSetting(
                f"detections of {faces} faces need boxes ({faces}, 4) and landmarks ({faces}, 5, 2), "
                f"got {self.boxes_xyxy.shape} and {self.landmarks_xy.shape}"
            )
        if not np.isfinite(self.boxes_xyxy).all() or not ((self.scores >= 0) & (self.scores <= 1)).all():
            raise BadSetting("detections need finite boxes and scores in [0, 1]")

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def joined(cls, parts: "Sequence[Detections]") -> "Detections":
        """Concatenate detections; framed if the first is."""
        return cls(
            np.concatenate([part.boxes_xyxy for part in parts]),
            np.concatenate([part.landmarks_xy for part in parts]),
            np.concatenate([part.scores for part in parts]),
            parts[0].framed,
        )

    def only(self, faces: int | NDArray[np.bool_] | NDArray[np.int64]) -> "Detections":
        """Select one face by index, those where an (N,) mask is true, or those at several indices, in order."""
        some = slice(faces, faces + 1) if isinstance(faces, int) else faces
        return Detections(self.boxes_xyxy[some], self.landmarks_xy[some], self.scores[some], self.framed)


def no_faces() -> Detections:
    """Detections of an image without a face."""
    empty = np.empty((0, 4), dtype=np.float32)
    return Detections(empty, np.empty((0, 5, 2), dtype=np.float32), np.empty(0, dtype=np.float32))


class Detector(Protocol):
    """A callable that finds faces; safe to call from several threads at once."""

    def __call__(self, image: NDArray[np.uint8]) -> Detections:
        """(H, W, 3) RGB uint8 -> its faces."""
        ...


def checked(found: Detections) -> Detections:
    """What a detector answered.  Raises BadSetting where it is something else than `Detections`."""
    if not isinstance(found, Detections):
        raise BadSetting(f"a detector must return affectlens.Detections, got {type(found).__name__}")
    return found


@runtime_checkable
class Follower(Detector, Protocol):
    """A detector that can also look again where faces were a moment before, much faster than everywhere."""

    def follow(self, image: NDArray[np.uint8], boxes_xyxy: NDArray[np.float32]) -> Detections:
        """(H, W, 3) RGB uint8 and (N, 4) boxes in its pixels -> the faces that are still there, best first."""
        ...
