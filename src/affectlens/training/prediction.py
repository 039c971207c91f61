"""Predictions of a trained network for faces."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from affectlens.core.errors import BadData
from affectlens.core.model_outputs import ModelOutputs
from affectlens.core.outputs import OUTPUTS
from affectlens.core.preprocessing import to_input
from affectlens.data.images import in_chunks
from affectlens.data.table import FaceTable
from affectlens.training.loaders import faces_at_once
from affectlens.training.module import ExpressionModule
from affectlens.training.tta import averaged


def run_network(module: ExpressionModule, crops: list[NDArray[np.uint8]]) -> ModelOutputs:
    """What the network says of N crops, each (H, W) gray or (H, W, 3) RGB uint8, as its exported file would; in
    evaluation mode and float32.
    """
    module.eval()
    with torch.inference_mode():
        faces = torch.from_numpy(to_input(crops, module.recipe.input_spec()))
        outputs = averaged(module, faces, module.recipe.tta)
    return ModelOutputs(
        outputs.logits.numpy(), {name: OUTPUTS[name].decode(raw.numpy()) for name, raw in outputs.others.items()}
    )


def predict(module: ExpressionModule, table: FaceTable) -> tuple[ModelOutputs, NDArray[np.int64]]:
    """Answers in evaluation mode and float32, and the (N,) rows of `table` whose images can be decoded.

    Raises:
        BadData: none can.
    """
    return outputs_for(table, partial(run_network, module), faces_at_once(module.recipe))


def outputs_for(
    table: FaceTable, run: Callable[[list[NDArray[np.uint8]]], ModelOutputs], at_once: int
) -> tuple[ModelOutputs, NDArray[np.int64]]:
    """What `run` says of the images of `table`, `at_once` at a time, and the (N,) rows that can be decoded.

    Raises:
        BadData: none can.
    """
    outputs, rows = [], []
    for images, places in in_chunks(table.images, at_once):
        if images:
            outputs.append(run(images))
            rows.append(places)
    if not rows:
        raise BadData(f"cannot decode any of {len(table)} images")
    return ModelOutputs.joined(outputs), np.concatenate(rows)
