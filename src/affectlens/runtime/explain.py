"""Where a model looked: heat maps over the crops of faces, from what the model file says or by covering places.

Files exported by affectlens from networks with a pooled map or attention carry an output for it
(`models.layers.evidence`); any other model is explained by occlusion (Zeiler and Fergus 2014, arXiv:1311.2901): a gray
square of a quarter of the side moves over the face, and what the logit of the expression loses is what counts there.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from affectlens.core.affect import Explanation
from affectlens.core.answers import Answers

Ask = Callable[[list[NDArray[np.uint8]]], Answers]
_STEPS = 8
"""Places of the gray square in each direction."""


def explanations(crops: list[NDArray[np.uint8]], answers: Answers, ask: Ask) -> list[Explanation]:
    """Of N crops, (H, W, 3) RGB uint8, and the model's answers for them; `ask` gives the answers for others."""
    maps, found = answers.explanation, []
    for face, crop in enumerate(crops):
        label = int(answers.logits[face].argmax())
        if maps is None:
            method, heat = "occlusion", _occluded(crop, label, ask)
        elif maps.shape[1] == 1:
            method, heat = "attention", maps[face, 0] - maps[face, 0].min()
        else:
            method, heat = "evidence", maps[face, label]
        found.append(Explanation(crop, _over(crop, heat), method))
    return found


def _over(crop: NDArray[np.uint8], heat: NDArray[np.floating]) -> NDArray[np.float32]:
    """(h, w) of any scale -> what is positive of it, from 0 to 1, as large as the crop."""
    positive = np.clip(heat, 0, None).astype(np.float32)
    large = cv2.resize(positive, (crop.shape[1], crop.shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(large / max(float(large.max()), 1e-12), dtype=np.float32)


def _occluded(crop: NDArray[np.uint8], label: int, ask: Ask) -> NDArray[np.float32]:
    """(8, 8) loss of the label's logit with a gray square around each place."""
    height, width = crop.shape[:2]
    covered = [crop]
    for row in range(_STEPS):
        for column in range(_STEPS):
            y, x = (row + 0.5) * height / _STEPS, (column + 0.5) * width / _STEPS
            top, bottom, left, right = y - height / 8, y + height / 8, x - width / 8, x + width / 8
            copy = crop.copy()
            copy[max(round(top), 0) : round(bottom), max(round(left), 0) : round(right)] = 128
            covered.append(copy)
    logits = ask(covered).logits[:, label]
    return np.asarray((logits[0] - logits[1:]).reshape(_STEPS, _STEPS), dtype=np.float32)
