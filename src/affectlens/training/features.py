"""Features of faces that do not change while a head learns on them: those of a frozen backbone without augmentation.

They are computed once for the faces of a run, on the GPU where there is one, and kept for the next run of the process
on the same faces with the same backbone: the rows of a table with heads on frozen features take seconds each. Only the
features of the last data set and backbone are kept, with its images, so memory does not grow with the number of runs.
"""

import hashlib
from typing import TypeAlias

import torch
from torch import Tensor, nn

from affectlens.core.progress import SILENT, Progress
from affectlens.data.images import FaceImages
from affectlens.training.data import TrainingData
from affectlens.training.loaders import network_inputs
from affectlens.training.module import ExpressionModule, model_options
from affectlens.training.precision import on_device, resolved

Embedded: TypeAlias = tuple[Tensor, Tensor]
"""(N, D) float32 of the training faces and of the validation faces, NaN where an image cannot be decoded."""

_Key: TypeAlias = tuple[str, FaceImages, FaceImages]

_last: tuple[_Key, Embedded] | None = None
"""What was embedded last: `_fingerprint` and the images of both splits, and their features."""


def are_fixed(module: ExpressionModule) -> bool:
    """Whether each face has the same features in every epoch."""
    recipe = module.recipe
    return module.network.embeds_once and not recipe.augments and not recipe.teacher and recipe.tta == "one"


def embedded(module: ExpressionModule, data: TrainingData, progress: Progress = SILENT) -> Embedded:
    """`Network.embed` of all faces, in evaluation mode and in the recipe's precision."""
    global _last
    fingerprint, train, valid = key = _fingerprint(module), data.train.images, data.valid.images
    if _last is not None:
        known, found = _last
        if known[0] == fingerprint and known[1] is train and known[2] is valid:
            return found
    _last = None  # its memory is for the next
    found = _of(module, train, progress), _of(module, valid, progress)
    _last = key, found
    return found


def _fingerprint(module: ExpressionModule) -> str:
    """Of everything that `Network.embed` depends on: the architecture with its options, the backbone's weights, the
    input and the precision.
    """
    recipe = module.recipe
    options = {k: v for k, v in model_options(recipe).items() if k not in module.network.outer_options}
    settings = (recipe.model, sorted(options.items()), recipe.input_spec(), resolved(recipe.precision))
    digest = hashlib.sha256(repr(settings).encode())
    backbone: nn.Module = module.network.get_submodule("backbone")
    for name, value in backbone.state_dict().items():
        digest.update(name.encode())
        digest.update(value.cpu().numpy().tobytes())
    return digest.hexdigest()


def _of(module: ExpressionModule, images: FaceImages, progress: Progress) -> Tensor:
    """(N, D), NaN where an image cannot be decoded.  Raises BadData where none can."""
    parts: list[tuple[Tensor, Tensor]] = []
    half = resolved(module.recipe.precision) == "bf16-mixed"
    with (
        on_device(module) as device,
        torch.inference_mode(),
        torch.autocast(device.type, torch.bfloat16, enabled=half),
    ):
        for faces, rows in network_inputs(images, module.recipe, progress, "computing features"):
            faces = faces.to(device, memory_format=torch.channels_last)
            parts.append((torch.from_numpy(rows), module.network.embed(faces).float().cpu()))
    found = torch.full((len(images), parts[0][1].shape[1]), torch.nan)
    for places, values in parts:
        found[places] = values
    return found
