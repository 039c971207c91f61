"""What a recipe makes of a data set's faces, before any training."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from affectlens.core.preprocessing import to_input
from affectlens.data.samplers import EpochBatches
from affectlens.data.table import FaceTable
from affectlens.training.augment import augment, draws
from affectlens.training.crops import find_faces
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


def look(table: FaceTable, recipe: Recipe, faces: int) -> Preview:
    """The first faces of as many classes as there are, raw, as network input, and augmented in three epochs."""
    classes = table.votes.argmax(axis=1)
    turn = np.argsort([int((classes[:i] == c).sum()) for i, c in enumerate(classes[:5000])], kind="stable")[:faces]
    chosen = table.keep(np.isin(np.arange(len(table)), turn))
    raw = list(chosen.images)
    if recipe.find_faces:
        chosen = find_faces(chosen, recipe.input_spec())
    plain = torch.from_numpy(to_input(list(chosen.images), recipe.input_spec()))
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


def _pictures(batch: torch.Tensor, recipe: Recipe) -> list[NDArray[np.uint8]]:
    """Network input as pictures again."""
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (recipe.mean, recipe.std))
    pixels = ((batch * std + mean).clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return [image[..., 0] if image.shape[2] == 1 else image for image in pixels]
