"""Face crops from larger pictures, or aligned by landmarks, the same as in the runtime."""

import logging
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from affectlens.core import catalog
from affectlens.core.detection import Detections, Detector
from affectlens.core.landmarks import eyes_of
from affectlens.core.preprocessing import InputSpec
from affectlens.core.progress import SILENT, Progress, track
from affectlens.data.images import KEEP_BYTES, KEEP_SIDE_PX, Decodable, Images, decoded, pixels_of
from affectlens.data.table import FaceTable
from affectlens.faces.align import by_eyes, cut_by_eyes, cut_faces, has_eyes

DETECTOR = "mtcnn"


def detector() -> Detector:
    """What finds faces in larger pictures."""
    found: Detector = catalog.build("faces.detectors", DETECTOR, options={})
    return found


def cut(table: FaceTable, spec: InputSpec, search: bool, progress: Progress = SILENT) -> FaceTable:
    """The table with its faces as `spec` wants them: found in larger pictures where `search` says so, or aligned."""
    if search:
        return find_faces(table, spec, progress)
    return align(table, spec) if spec.eye_distance else table


@dataclass(frozen=True, eq=False)
class _Aligned:
    """A face that is turned, scaled and cut by its eyes when it is asked for."""

    picture: NDArray[np.uint8] | Decodable
    eyes_xy: NDArray[np.float32]
    spec: InputSpec

    def decode(self) -> NDArray[np.uint8]:
        """(S, S) gray or (S, S, 3) RGB uint8."""
        return cut_by_eyes(pixels_of(self.picture), self.eyes_xy, self.spec)


def align(table: FaceTable, spec: InputSpec) -> FaceTable:
    """The table with its faces cut by the eyes of their 5 or 68 landmarks; faces without stay as they are, which is
    logged.
    """
    eyes = [eyes_of(points) for points in table.landmarks_xy]
    known = np.array([has_eyes(pair) for pair in eyes], dtype=bool)
    if not known.all():
        first = table.ids[int(np.flatnonzero(~known)[0])]
        logging.getLogger("affectlens").warning(
            "%d of %d faces have no landmarks and are not aligned; the first is '%s'", (~known).sum(), len(table), first
        )
    pictures = table.images.entries if isinstance(table.images, Images) else list(table.images)
    faces = [
        _Aligned(picture, pair, spec) if has else picture
        for picture, pair, has in zip(pictures, eyes, known, strict=True)
    ]
    landmarks = [
        by_eyes(points, pair, spec) if has else points
        for points, pair, has in zip(table.landmarks_xy, eyes, known, strict=True)
    ]
    return replace(table, images=Images(faces), landmarks_xy=np.stack(landmarks))


@dataclass(frozen=True, eq=False)
class _Found:
    """A face in a larger picture, cut when it is asked for."""

    picture: NDArray[np.uint8] | Decodable
    face: Detections
    spec: InputSpec

    def decode(self) -> NDArray[np.uint8]:
        """(S, S) gray or (S, S, 3) RGB uint8."""
        return cut_faces(_rgb(pixels_of(self.picture)), self.face, self.spec)[0]


def find_faces(table: FaceTable, spec: InputSpec, progress: Progress = SILENT) -> FaceTable:
    """The table with the largest face of each picture in its place; landmarks of the picture are left behind.

    Pictures of at most `KEEP_SIDE_PX` on both sides are faces already. Pictures without a face, and those that cannot
    be decoded, are dropped and counted. Faces are kept in memory up to `KEEP_BYTES`; those beyond are cut again
    whenever they are asked for.
    """
    detect, budget_bytes = detector(), KEEP_BYTES
    pictures = table.images.entries if isinstance(table.images, Images) else list(table.images)
    crops: list[NDArray[np.uint8] | Decodable] = []
    kept = np.zeros(len(table), dtype=bool)
    dropped = Counter(table.dropped)
    for row in track(range(len(table)), progress, "finding faces", len(table)):
        images, _ = decoded(table.images, [row])
        found = _largest_face(images[0], detect) if images else None
        if not images or (found is not None and not len(found)):
            dropped["no face found" if images else "image cannot be decoded"] += 1
            continue
        crop = images[0] if found is None else cut_faces(_rgb(images[0]), found, spec)[0]
        budget_bytes -= crop.nbytes
        beyond = pictures[row] if found is None else _Found(pictures[row], found, spec)
        crops.append(crop if budget_bytes >= 0 else beyond)
        kept[row] = True
    return table.keep(kept).with_images(Images(crops), dict(dropped))


def _largest_face(image: NDArray[np.uint8], detect: Detector) -> Detections | None:
    """The largest face, none or one; None where the picture is no larger than a face."""
    return None if max(image.shape[:2]) <= KEEP_SIDE_PX else largest(image, detect)[1]


def _rgb(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return image if image.ndim == 3 else np.stack([image] * 3, axis=-1)


def largest(image: NDArray[np.uint8], detect: Detector) -> tuple[NDArray[np.uint8], Detections]:
    """The picture in RGB, and its largest face, if it has any."""
    rgb = _rgb(image)
    faces = detect(rgb)
    if not len(faces):
        return rgb, faces
    sides = faces.boxes_xyxy[:, 2:] - faces.boxes_xyxy[:, :2]
    return rgb, faces.only(int(sides.prod(axis=1).argmax()))
