"""Features of faces that do not change while a head learns on them: those of a frozen backbone without augmentation.

They are computed once for the faces of a run, and kept for the next run of the process on the same faces with the same
backbone: the rows of a table with heads on frozen features take seconds each.
"""

import hashlib
from typing import TypeAlias

import torch
from torch import Tensor, nn

from affectlens.core.progress import SILENT, Progress
from affectlens.data.images import FaceImages
from affectlens.training.data import TrainingData
from affectlens.training.loaders import network_inputs
from affectlens.training.module import ExpressionModule
from affectlens.training.precision import resolved

Embedded: TypeAlias = tuple[Tensor, Tensor]
"""(N, D) float32 of the training faces and of the validation faces, NaN where an image cannot be decoded."""

_known: list[tuple[str, tuple[FaceImages, ...], Embedded]] = []
"""What the last data set was embedded as: backbone and input, the images, the features."""
_MAX_KNOWN = 4


def are_fixed(module: ExpressionModule) -> bool:
    """Whether each face has the same features in every epoch."""
    recipe = module.recipe
    return module.network.embeds_once and not recipe.augments and not recipe.teacher and recipe.tta == "one"


def embedded(module: ExpressionModule, data: TrainingData, progress: Progress = SILENT) -> Embedded:
    """`Network.embed` of all faces, in evaluation mode and in the recipe's precision."""
    images = (data.train.images, data.valid.images)
    key = _fingerprint(module)
    for known_key, known_images, known in _known:
        if known_key == key and all(one is other for one, other in zip(known_images, images, strict=True)):
            return known
    found = (_of(module, images[0], progress), _of(module, images[1], progress))
    _known[:] = [*_known, (key, images, found)][-_MAX_KNOWN:]
    return found


def _fingerprint(module: ExpressionModule) -> str:
    """Of the backbone's weights, its pooling, its input and the precision."""
    recipe = module.recipe
    settings = (recipe.model_options.get("pool"), recipe.input_spec(), resolved(recipe.precision))
    digest = hashlib.sha256(repr(settings).encode())
    backbone: nn.Module = module.network.get_submodule("backbone")
    for name, value in backbone.state_dict().items():
        digest.update(name.encode())
        digest.update(value.cpu().numpy().tobytes())
    return digest.hexdigest()


def _of(module: ExpressionModule, images: FaceImages, progress: Progress) -> Tensor:
    """(N, D), NaN where an image cannot be decoded.  Raises BadData where none can."""
    module.eval()
    parts: list[tuple[Tensor, Tensor]] = []
    half = resolved(module.recipe.precision) == "bf16-mixed"
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=half):
        for faces, rows in network_inputs(images, module.recipe, progress, "computing features"):
            embedded = module.network.embed(faces.contiguous(memory_format=torch.channels_last))
            parts.append((torch.from_numpy(rows), embedded.float()))
    module.train()
    found = torch.full((len(images), parts[0][1].shape[1]), torch.nan)
    for places, values in parts:
        found[places] = values
    return found
