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
    """The table with its faces as `spec` wants them: found in larger pictures where the table says so, or everywhere
    with `search`; the others aligned.
    """
    rows = np.ones(len(table), dtype=bool) if search else table.find_face
    if spec.eye_distance and not rows.all():
        table = align(table, spec, ~rows)
    return find_faces(table, spec, rows, progress) if rows.any() else table


@dataclass(frozen=True, eq=False)
class _Aligned:
    """A face that is turned, scaled and cut by its eyes when it is asked for."""

    picture: NDArray[np.uint8] | Decodable
    eyes_xy: NDArray[np.float32]
    spec: InputSpec

    def decode(self) -> NDArray[np.uint8]:
        """(S, S) gray or (S, S, 3) RGB uint8."""
        return cut_by_eyes(pixels_of(self.picture), self.eyes_xy, self.spec)


def align(table: FaceTable, spec: InputSpec, rows: NDArray[np.bool_]) -> FaceTable:
    """The table with its faces of the (N,) `rows` cut by the eyes of their 5 or 68 landmarks; faces without stay as
    they are, which is logged.
    """
    eyes = [eyes_of(points) for points in table.landmarks_xy]
    known = rows & np.array([has_eyes(pair) for pair in eyes], dtype=bool)
    if lacking := np.flatnonzero(rows & ~known).tolist():
        logging.getLogger("affectlens").warning(
            "%d of %d faces have no landmarks and are not aligned; the first is '%s'",
            len(lacking), rows.sum(), table.ids[lacking[0]],
        )  # fmt: skip
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


def find_faces(table: FaceTable, spec: InputSpec, rows: NDArray[np.bool_], progress: Progress = SILENT) -> FaceTable:
    """The table with the largest face of each picture of the (N,) `rows` in its place; landmarks of these pictures are
    left behind.

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
        if not rows[row]:
            crops.append(pictures[row])
            kept[row] = True
            continue
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
    landmarks_xy = table.landmarks_xy.copy()
    landmarks_xy[rows] = np.nan
    cut_out = replace(table, find_face=np.zeros(len(table), dtype=bool)).keep(kept)
    cut_out = cut_out.with_images(Images(crops), dict(dropped))  # and without landmarks
    return cut_out if rows.all() else replace(cut_out, landmarks_xy=landmarks_xy[kept])


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
