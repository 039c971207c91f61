"""Where a model looked: heat maps over face crops, from an output of the model file or by occlusion.

Files exported by affectlens from networks with a pooled map or attention have an output for it
(`models.layers.evidence`); any other model is explained by occlusion (Zeiler and Fergus 2014, arXiv:1311.2901): a gray
square of a quarter of the side moves over the face, and the drop of the expression's logit is the value at that place.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from affectlens.core.affect import Explanation
from affectlens.core.model_outputs import ModelOutputs

Run = Callable[[list[NDArray[np.uint8]]], ModelOutputs]
SPREAD_PLACES = 0.5
"""Standard deviation of what a place of a map is drawn as, in places."""
_OCCLUSION_STEPS = 8
"""Places of the gray square in each direction."""


def explanations(
    crops: list[NDArray[np.uint8]], outputs: ModelOutputs, run: Run, first_place: float = 0.5
) -> list[Explanation]:
    """Of N crops, (H, W, 3) RGB uint8, and the model's outputs for them; `run` gives the outputs for others.

    `first_place` is that of the model's maps (`core.session.ModelSpec`).
    """
    maps, found = outputs.explanation, []
    for face, crop in enumerate(crops):
        label = int(outputs.logits[face].argmax())
        start = first_place
        if maps is None:
            method, heat, start = "occlusion", _occluded(crop, label, run), 0.5
        elif maps.shape[1] == 1:
            method, heat = "attention", maps[face, 0] - maps[face, 0].min()
        else:
            method, heat = "evidence", maps[face, label]
        found.append(Explanation(crop, _over(crop, heat, start), method))
    return found


def _over(crop: NDArray[np.uint8], heat: NDArray[np.floating], start: float) -> NDArray[np.float32]:
    """(h, w) of any scale, whose first place lies `start` places from the edges -> what is positive of it, from 0 to 1,
    as large as the crop; each place spreads as a Gaussian (experiments/heat_maps.txt).
    """
    down, across = (_spread(*sides, start) for sides in zip(heat.shape, crop.shape[:2], strict=True))
    large = down @ np.clip(heat, 0, None) @ across.T
    return np.asarray(large / max(float(large.max()), 1e-12), dtype=np.float32)


def _spread(places: int, pixels: int, start: float) -> NDArray[np.float64]:
    """(pixels, places) weight of each place at each pixel."""
    at = (np.arange(pixels)[:, None] + 0.5) * places / pixels
    return np.asarray(np.exp(-(((at - np.arange(places) - start) / SPREAD_PLACES) ** 2) / 2))


def _occluded(crop: NDArray[np.uint8], label: int, run: Run) -> NDArray[np.float32]:
    """(8, 8) loss of the label's logit with a gray square around each place."""
    height, width = crop.shape[:2]
    covered = [crop]
    for row in range(_OCCLUSION_STEPS):
        for column in range(_OCCLUSION_STEPS):
            y, x = (row + 0.5) * height / _OCCLUSION_STEPS, (column + 0.5) * width / _OCCLUSION_STEPS
            top, bottom, left, right = y - height / 8, y + height / 8, x - width / 8, x + width / 8
            copy = crop.copy()
            copy[max(round(top), 0) : round(bottom), max(round(left), 0) : round(right)] = 128
            covered.append(copy)
    logits = run(covered).logits[:, label]
    return np.asarray((logits[0] - logits[1:]).reshape(_OCCLUSION_STEPS, _OCCLUSION_STEPS), dtype=np.float32)
