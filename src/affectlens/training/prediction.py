"""What a trained network says of faces."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from affectlens.core.answers import Answers
from affectlens.core.errors import BadData
from affectlens.core.outputs import OUTPUTS
from affectlens.core.preprocessing import to_input
from affectlens.data.images import in_chunks
from affectlens.data.table import FaceTable
from affectlens.training.loaders import faces_at_once
from affectlens.training.module import ExpressionModule
from affectlens.training.tta import averaged


def answers_of(module: ExpressionModule, crops: list[NDArray[np.uint8]]) -> Answers:
    """What the network says of N crops, each (H, W) gray or (H, W, 3) RGB uint8, as its exported file would; in
    evaluation mode and float32.
    """
    module.eval()
    with torch.inference_mode():
        faces = torch.from_numpy(to_input(crops, module.recipe.input_spec()))
        answer = averaged(module, faces, module.recipe.views)
    return Answers(
        answer.logits.numpy(), {name: OUTPUTS[name].said(raw.numpy()) for name, raw in answer.others.items()}
    )


def predict(module: ExpressionModule, table: FaceTable) -> tuple[Answers, NDArray[np.int64]]:
    """Answers in evaluation mode and float32, and the (N,) rows of `table` whose images can be decoded.

    Raises:
        BadData: none can.
    """
    return answers_for(table, partial(answers_of, module), faces_at_once(module.recipe))


def answers_for(
    table: FaceTable, answers_of: Callable[[list[NDArray[np.uint8]]], Answers], at_once: int
) -> tuple[Answers, NDArray[np.int64]]:
    """What `answers_of` says of the images of `table`, `at_once` at a time, and the (N,) rows that can be decoded.

    Raises:
        BadData: none can.
    """
    answers, rows = [], []
    for images, places in in_chunks(table.images, at_once):
        if images:
            answers.append(answers_of(images))
            rows.append(places)
    if not rows:
        raise BadData(f"none of {len(table)} images can be decoded")
    return Answers.joined(answers), np.concatenate(rows)
