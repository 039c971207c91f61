"""Faces out of larger pictures, cut as the runtime cuts them."""

from collections import Counter

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from affectlens.core import catalog
from affectlens.core.detection import Detector
from affectlens.core.preprocessing import InputSpec
from affectlens.data.images import KEEP_SIDE_PX, Images, Stored, decoded
from affectlens.data.table import FaceTable
from affectlens.faces.align import cut_faces

DETECTOR = "mtcnn"


def detector() -> Detector:
    """What finds faces in larger pictures."""
    found: Detector = catalog.build("faces.detectors", DETECTOR, options={})
    return found


def find_faces(table: FaceTable, spec: InputSpec, progress: bool = False) -> FaceTable:
    """The table with the largest face of each picture in its place; landmarks of the picture are left behind.

    Pictures of at most `KEEP_SIDE_PX` on both sides are faces already. Pictures without a face, and those that cannot
    be decoded, are dropped and counted. `progress` shows a bar on standard error.
    """
    detect = detector()
    crops: list[NDArray[np.uint8] | Stored] = []
    kept = np.zeros(len(table), dtype=bool)
    dropped = Counter(table.dropped)
    rows = range(len(table))
    for row in track(rows, "finding faces", console=Console(stderr=True), transient=True, disable=not progress):
        images, _ = decoded(table.images, [row])
        crop = largest_face(images[0], detect, spec) if images else None
        if crop is None:
            dropped["no face found" if images else "image cannot be decoded"] += 1
        else:
            crops.append(crop)
            kept[row] = True
    return table.keep(kept).with_images(Images(crops), dict(dropped))


def largest_face(image: NDArray[np.uint8], detect: Detector, spec: InputSpec) -> NDArray[np.uint8] | None:
    """The crop of the largest face, the picture itself where it is no larger than a face, or None without one."""
    if max(image.shape[:2]) <= KEEP_SIDE_PX:
        return image
    rgb = image if image.ndim == 3 else np.stack([image] * 3, axis=-1)
    faces = detect(rgb)
    if not len(faces):
        return None
    sides = faces.boxes_xyxy[:, 2:] - faces.boxes_xyxy[:, :2]
    largest = int(sides.prod(axis=1).argmax())
    return cut_faces(rgb, faces.only(largest), spec)[0]
