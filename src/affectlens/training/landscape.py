"""The loss around the weights of a trained network (Li et al. 2018, arXiv:1712.09913)."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from affectlens.core.errors import BadData
from affectlens.core.preprocessing import to_input
from affectlens.core.progress import SILENT, Progress, track
from affectlens.data.images import decoded
from affectlens.data.table import FaceTable
from affectlens.training.loaders import faces_at_once
from affectlens.training.module import ExpressionModule


def landscape(
    module: ExpressionModule, table: FaceTable, points: int, reach: float, progress: Progress = SILENT
) -> NDArray[np.float32]:
    """(points, points) mean cross-entropy on the labelled faces where the weights are moved along two random directions
    from -`reach` to `reach` times their own length (directions normalised by filter; biases and norms stay). Rows are
    steps of the second direction.

    Raises:
        BadData: no labelled face can be decoded.
    """
    module.eval()
    labelled = table.keep(table.labelled)
    images, rows = decoded(labelled.images, range(len(labelled)))
    if not images:
        raise BadData("no labelled face can be decoded")
    faces = torch.from_numpy(to_input(images, module.recipe.input_spec()))
    targets = torch.from_numpy(labelled.targets[rows])
    at_once = faces_at_once(module.recipe)
    weights = [weight for weight in module.network.parameters() if weight.ndim > 1]
    random = torch.Generator().manual_seed(module.recipe.seed)
    surface = np.zeros((points, points), dtype=np.float32)
    steps = np.linspace(-reach, reach, points)
    cells = [(row, column) for row in range(points) for column in range(points)]
    with torch.no_grad():
        start = [weight.clone() for weight in weights]
        first, second = ([_direction(weight, random) for weight in weights] for _ in range(2))
        try:
            for row, column in track(cells, progress, "moving weights", len(cells)):
                for weight, origin, x, y in zip(weights, start, first, second, strict=True):
                    weight.copy_(origin + steps[column] * x + steps[row] * y)
                losses = [
                    cross_entropy(module(batch).logits.float(), truth, reduction="sum")
                    for batch, truth in zip(faces.split(at_once), targets.split(at_once), strict=True)
                ]
                surface[row, column] = float(torch.stack(losses).sum()) / len(faces)
        finally:
            for weight, origin in zip(weights, start, strict=True):
                weight.copy_(origin)
    return surface


def _direction(weight: Tensor, random: torch.Generator) -> Tensor:
    """Random numbers in which each filter has the same norm as in `weight`."""
    drawn = torch.randn(weight.shape, generator=random)
    length = weight.flatten(1).norm(dim=1) / drawn.flatten(1).norm(dim=1).clamp_min(1e-12)
    return torch.mul(drawn, length.view(-1, *[1] * (weight.ndim - 1)))
