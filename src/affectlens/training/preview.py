"""Preview of a data set's faces as a recipe transforms them."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from affectlens.core.detection import Detector
from affectlens.core.errors import BadData
from affectlens.core.landmarks import eyes_of
from affectlens.core.preprocessing import InputSpec, to_input
from affectlens.data.crops import detector, largest
from affectlens.data.images import KEEP_SIDE_PX, decoded
from affectlens.data.samplers import EpochBatches, classes_of, in_turns
from affectlens.data.table import FaceTable
from affectlens.evaluation.affect_plots import dotted
from affectlens.faces.align import by_eyes, cut_by_eyes, cut_faces, has_eyes, landmarks_in_crop
from affectlens.training import masks
from affectlens.training.augment import augment, draws
from affectlens.training.data import check_landmarks
from affectlens.training.module import needs_of
from affectlens.training.recipe import Recipe

EPOCHS = 3


@dataclass(frozen=True, eq=False)
class Preview:
    """Pictures and counts.

    Attributes:
        sheet: one list per row of pictures, each (H, W) gray or (H, W, 3) RGB uint8.
        rows: what each row shows.
        without, with_sampler: (C,) faces of each class in one epoch.
    """

    sheet: list[list[NDArray[np.uint8]]]
    rows: list[str]
    without: NDArray[np.int64]
    with_sampler: NDArray[np.int64]


def make_preview(table: FaceTable, recipe: Recipe, faces: int) -> Preview:
    """The first faces of as many classes as there are: raw, with their landmarks if they have any, as network input,
    with the mask of eyes and mouth if the network has that task, and augmented in three epochs.

    Raises:
        BadData: no picture has a face, or as `training.data.check_landmarks` and `masks.check`.
    """
    needs = needs_of(recipe, len(table.labels))
    if masks.OUTPUT in needs:
        masks.check(table.landmarks_xy, recipe.find_faces)
    check_landmarks(table, recipe)
    table = table.keep(table.votes.sum(axis=1) > 0)
    raw, crops, points = _pairs(table, in_turns(table), recipe, faces)
    plain = torch.from_numpy(to_input(crops, recipe.input_spec()))
    augmented = [augment(plain, draws(len(plain), recipe.seed, epoch), recipe) for epoch in range(EPOCHS)]
    sheet = {"raw": raw}
    if any(len(place) for place in points):
        sheet["landmarks"] = [dotted(picture, place) for picture, place in zip(crops, points, strict=True)]
    sheet["input"] = _pictures(plain, recipe)
    if masks.OUTPUT in needs:
        pairs = zip(points, crops, strict=True)
        drawn = [masks.draw(place, crop.shape, recipe.size_px) for place, crop in pairs]
        sheet["mask"] = [(np.nan_to_num(mask) * 255).astype(np.uint8) for mask in drawn]
    sheet |= {f"epoch {epoch + 1}": _pictures(batch, recipe) for epoch, batch in enumerate(augmented)}
    picks = np.concatenate(list(EpochBatches(table, recipe.sampler, recipe.batch_size, recipe.seed)))
    classes, count = classes_of(table), len(table.labels)
    return Preview(
        list(sheet.values()),
        list(sheet),
        np.bincount(classes, minlength=count),
        np.bincount(classes[picks[:, 0]], minlength=count),
    )


def _pairs(
    table: FaceTable, rows: NDArray[np.int64], recipe: Recipe, faces: int
) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]], list[NDArray[np.float32]]]:
    """Pictures of the first rows that have a face, the faces, and their landmarks in pixels of the face.

    Raises:
        BadData: none has.
    """
    raw: list[NDArray[np.uint8]] = []
    crops: list[NDArray[np.uint8]] = []
    points: list[NDArray[np.float32]] = []
    spec, search = recipe.input_spec(), table.find_face | recipe.find_faces
    detect = detector() if search.any() else None
    for row in rows:
        for picture in decoded(table.images, [row])[0]:
            crop, place = _face(picture, table.landmarks_xy[row], spec, detect if search[row] else None)
            if crop is not None:
                raw.append(picture)
                crops.append(crop)
                points.append(place)
        if len(crops) == faces:
            break
    if not crops:
        raise BadData(f"no face was found in any of {len(rows)} pictures")
    return raw, crops, points


def _face(
    picture: NDArray[np.uint8], landmarks_xy: NDArray[np.float32], spec: InputSpec, detect: Detector | None
) -> tuple[NDArray[np.uint8] | None, NDArray[np.float32]]:
    """The face as training cuts it, None without one, and the landmarks in it."""
    if detect is not None and max(picture.shape[:2]) > KEEP_SIDE_PX:
        rgb, face = largest(picture, detect)
        return (cut_faces(rgb, face, spec)[0], landmarks_in_crop(face, spec)) if len(face) else (None, landmarks_xy)
    if spec.eye_distance and has_eyes(eyes := eyes_of(landmarks_xy)):
        return cut_by_eyes(picture, eyes, spec), by_eyes(landmarks_xy, eyes, spec)
    return picture, landmarks_xy


def _pictures(batch: torch.Tensor, recipe: Recipe) -> list[NDArray[np.uint8]]:
    """Network input as pictures again."""
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (recipe.mean, recipe.std))
    pixels = ((batch * std + mean).clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return [image[..., 0] if image.shape[2] == 1 else image for image in pixels]
