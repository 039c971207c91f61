"""What a recipe makes of a data set's faces, before any training."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from affectlens.core.errors import BadData
from affectlens.core.preprocessing import to_input
from affectlens.data.images import decoded
from affectlens.data.samplers import EpochBatches, classes_of
from affectlens.data.table import FaceTable
from affectlens.training.augment import augment, draws
from affectlens.training.crops import detector, largest_face
from affectlens.training.recipe import Recipe

EPOCHS = 3
_LOOKED_AT = 1000


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


def look(table: FaceTable, recipe: Recipe, faces: int) -> Preview:
    """The first faces of as many classes as there are, raw, as network input, and augmented in three epochs."""
    table = table.keep(table.votes.sum(axis=1) > 0)
    classes = classes_of(table)
    turns = np.argsort([int((classes[:i] == c).sum()) for i, c in enumerate(classes[:_LOOKED_AT])], kind="stable")
    raw, crops = _pairs(table, turns, recipe, faces)
    plain = torch.from_numpy(to_input(crops, recipe.input_spec()))
    seen = [plain, *(augment(plain, draws(len(plain), recipe.seed, epoch), recipe) for epoch in range(EPOCHS))]
    sheet = [raw, *(_pictures(batch, recipe) for batch in seen)]
    picks = np.concatenate(list(EpochBatches(table, recipe.sampler, recipe.batch_size, recipe.seed)))
    count = len(table.labels)
    return Preview(
        sheet,
        ["raw", "input", *(f"epoch {epoch + 1}" for epoch in range(EPOCHS))],
        np.bincount(classes, minlength=count),
        np.bincount(classes[picks[:, 0]], minlength=count),
    )


def _pairs(
    table: FaceTable, rows: NDArray[np.int64], recipe: Recipe, faces: int
) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]]:
    """Pictures of the first rows that have a face, and the faces.

    Raises:
        BadData: none has.
    """
    raw: list[NDArray[np.uint8]] = []
    crops: list[NDArray[np.uint8]] = []
    spec, detect = recipe.input_spec(), detector() if recipe.find_faces else None
    for row in rows:
        for picture in decoded(table.images, [row])[0]:
            crop = picture if detect is None else largest_face(picture, detect, spec)
            if crop is not None:
                raw.append(picture)
                crops.append(crop)
        if len(crops) == faces:
            break
    if not crops:
        raise BadData(f"no face in any of {len(rows)} pictures")
    return raw, crops


def _pictures(batch: torch.Tensor, recipe: Recipe) -> list[NDArray[np.uint8]]:
    """Network input as pictures again."""
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (recipe.mean, recipe.std))
    pixels = ((batch * std + mean).clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return [image[..., 0] if image.shape[2] == 1 else image for image in pixels]
