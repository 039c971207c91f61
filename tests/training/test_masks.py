from dataclasses import replace

import numpy as np
import pytest
import torch

from affectlens.core.errors import BadData
from affectlens.core.landmarks import EYES, MOUTH
from affectlens.training import masks
from affectlens.training.augment import draws, move
from affectlens.training.loaders import FaceBatches
from affectlens.training.preview import training_faces


def landmarks(scale=1.0):
    """68 points: two square eyes around (14, 20) and (34, 20), a mouth around (24, 36); 48 pixels wide at scale 1."""
    points = np.zeros((68, 2), dtype=np.float32)
    for part, (x, y), half in zip((*EYES, MOUTH), ((14, 20), (34, 20), (24, 36)), (3, 3, 6), strict=True):
        angles = np.linspace(0, 2 * np.pi, part.stop - part.start, endpoint=False)
        points[part] = np.stack([x + half * np.cos(angles), y + half * np.sin(angles)], axis=1)
    return points * scale


def test_eyes_and_mouth_are_white_and_the_rest_is_black():
    mask = masks.draw(landmarks(), (48, 48), 48)
    assert mask.dtype == np.float32
    assert set(np.unique(mask)) == {0, 1}
    for x, y in ((14, 20), (34, 20), (24, 36)):
        assert mask[y, x] == 1
    for x, y in ((24, 20), (24, 10), (10, 36), (2, 2)):
        assert mask[y, x] == 0
    area = 1.5 * np.sqrt(3) * (3**2 + 3**2) + 12 / 2 * np.sin(np.pi / 6) * 6**2  # hexagons and a twelve-sided mouth
    edge = 2 * 6 * 3 + 12 * 2 * 6 * np.sin(np.pi / 12)
    assert mask.sum() == pytest.approx(area + edge / 2, rel=0.1)  # pixels on the edge count


def test_a_mask_is_as_large_as_the_input_whatever_the_picture():
    small, large = masks.draw(landmarks(), (48, 48), 96), masks.draw(landmarks(4), (192, 192), 96)
    assert small.shape == (96, 96)
    np.testing.assert_array_equal(small, large)


@pytest.mark.parametrize("points", [landmarks()[:5], np.full((68, 2), np.nan, dtype=np.float32)])
def test_without_68_landmarks_the_mask_is_unknown(points):
    assert np.isnan(masks.draw(points, (48, 48), 24)).all()


def test_masks_move_with_the_faces(recipe, data):
    table = replace(data.train, landmarks_xy=np.stack([landmarks()] * len(data.train)))
    moving = replace(
        recipe, model_options={**recipe.model_options, "mask": True}, flip=1.0, rotation_deg=20.0, shift=0.1
    )
    batch = FaceBatches(table, moving, needs=("mask",))[np.array([[0, 0], [1, 0]])]
    assert batch["mask_target"].shape == (2, 1, 48, 48)
    uniform = draws(2, seed=0, epoch=0)
    filled = torch.zeros(2, 1, 48, 48) + batch["mask_target"]  # pictures that show the masks
    torch.testing.assert_close(move(batch["mask_target"], uniform, moving), move(filled, uniform, moving))
    assert not torch.equal(move(batch["mask_target"], uniform, moving), batch["mask_target"])


@pytest.mark.parametrize(("points", "find_faces"), [(0, False), (5, False), (68, True)])
def test_the_mask_task_without_68_landmarks_on_faces_as_they_are_is_one_line(recipe, data, points, find_faces):
    masked = replace(
        recipe, model="multi_task", model_options={"backbone": "breg_next", "mask": True}, find_faces=find_faces
    )
    table = replace(data.train, landmarks_xy=np.ones((len(data.train), points, 2), dtype=np.float32))
    for asks in (lambda: masks.check(table.landmarks_xy, find_faces), lambda: training_faces(table, masked, 2, 1)):
        with pytest.raises(BadData, match="the mask task needs faces with 68 landmarks"):
            asks()
