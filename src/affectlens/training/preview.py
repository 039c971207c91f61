"""What the training of a recipe sees: faces as it transforms them, batches as it draws them."""

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
from affectlens.training.augment import augment, degrade, draws
from affectlens.training.data import check_landmarks, of_recipe
from affectlens.training.module import needs_of
from affectlens.training.recipe import Recipe


@dataclass(frozen=True, eq=False)
class TrainingFaces:
    """N faces as training sees them.

    Attributes:
        labels: what each shows.
        steps: what was done -> N pictures, each (H, W) gray or (H, W, 3) RGB uint8.
    """

    labels: list[str]
    steps: dict[str, list[NDArray[np.uint8]]]

    @property
    def by_face(self) -> list[list[NDArray[np.uint8]]]:
        """The pictures of each face, in the order of the steps."""
        return [list(pictures) for pictures in zip(*self.steps.values(), strict=True)]


def training_faces(table: FaceTable, recipe: Recipe, faces: int, versions: int) -> TrainingFaces:
    """The first faces of as many classes as there are: as stored, with their landmarks if they have any, as network
    input (aligned if the recipe says so), with the mask of eyes and mouth if the network has that task, and augmented
    in so many epochs. Faces are not mixed.

    Raises:
        BadData: no picture has a face, or as `training.data.check_landmarks` and `masks.check`.
    """
    needs = needs_of(recipe, len(table.labels))
    if masks.OUTPUT in needs:
        masks.check(table.landmarks_xy, recipe.find_faces)
    check_landmarks(table, recipe)
    table = of_recipe(table, recipe)
    chosen, raw, crops, points = _pairs(table, in_turns(table), recipe, faces)
    plain = torch.from_numpy(to_input(crops, recipe.input_spec()))
    steps = {"stored": raw}
    if any(len(place) for place in points):
        steps["landmarks"] = [dotted(picture, place) for picture, place in zip(crops, points, strict=True)]
    steps["aligned" if recipe.eye_distance else "input"] = _pictures(plain, recipe)
    if masks.OUTPUT in needs:
        pairs = zip(points, crops, strict=True)
        drawn = [masks.draw(place, crop.shape, recipe.size_px) for place, crop in pairs]
        steps["mask"] = [(np.nan_to_num(mask) * 255).astype(np.uint8) for mask in drawn]
    steps |= {f"epoch {epoch + 1}": _pictures(_augmented(plain, recipe, epoch), recipe) for epoch in range(versions)}
    return TrainingFaces([table.labels[label] for label in classes_of(table)[chosen]], steps)


def _augmented(plain: torch.Tensor, recipe: Recipe, epoch: int) -> torch.Tensor:
    """(N, C, H, W) network input as an epoch of training changes it."""
    uniform = draws(len(plain), recipe.seed, epoch)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed * 1_000_003 + epoch)  # of noise
        return degrade(augment(plain, uniform, recipe), uniform, recipe)


def batches_drawn(table: FaceTable, recipe: Recipe) -> dict[str, NDArray[np.int64]]:
    """Sampler -> (B, C) faces of each class in the batches of the first epoch: of "shuffle", every face once,
    and of the recipe's.

    Raises:
        BadData: the sampler needs what the faces lack.
    """
    table = of_recipe(table, recipe)
    classes, count = classes_of(table), len(table.labels)
    drawn = {}
    for sampler in dict.fromkeys(("shuffle", recipe.sampler)):
        batches = EpochBatches(table, sampler, recipe.batch_size, recipe.seed)
        drawn[sampler] = np.stack([np.bincount(classes[picks[:, 0]], minlength=count) for picks in batches])
    return drawn


def _pairs(
    table: FaceTable, rows: NDArray[np.int64], recipe: Recipe, faces: int
) -> tuple[list[int], list[NDArray[np.uint8]], list[NDArray[np.uint8]], list[NDArray[np.float32]]]:
    """The first rows whose picture has a face, their pictures, faces, and landmarks in pixels of the face.

    Raises:
        BadData: none has.
    """
    chosen: list[int] = []
    raw: list[NDArray[np.uint8]] = []
    crops: list[NDArray[np.uint8]] = []
    points: list[NDArray[np.float32]] = []
    spec, search = recipe.input_spec(), table.find_face | recipe.find_faces
    detect = detector() if search.any() else None
    for row in rows:
        for picture in decoded(table.images, [row])[0]:
            crop, place = _face(picture, table.landmarks_xy[row], spec, detect if search[row] else None)
            if crop is not None:
                chosen.append(int(row))
                raw.append(picture)
                crops.append(crop)
                points.append(place)
        if len(crops) == faces:
            break
    if not crops:
        raise BadData(f"no face was found in any of {len(rows)} pictures")
    return chosen, raw, crops, points


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
