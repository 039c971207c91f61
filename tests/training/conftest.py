from dataclasses import replace

import cv2
import lightning as L
import numpy as np
import pytest

from affectlens.core.expressions import FERPLUS
from affectlens.data.table import FaceTable
from affectlens.training.data import TrainingData
from affectlens.training.recipe import find

SMALL = {"widths": (8, 16, 16, 16), "depths": (1, 1, 1, 1)}


def synthetic(count, seed):
    """`count` noisy faces of 48x48 whose class is the tone of one of eight tiles; every tenth has no majority."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % len(FERPLUS)
    tiles = rng.integers(60, 120, (count, 2, 4), dtype=np.uint8)
    tiles.reshape(count, 8)[np.arange(count), labels] = 250
    images = np.stack([cv2.resize(tile, (48, 48), interpolation=cv2.INTER_NEAREST) for tile in tiles])
    votes = (0.8 * np.eye(len(FERPLUS))[labels] + 0.2 / len(FERPLUS)).astype(np.float32)
    targets = np.where(np.arange(count) % 10 == 9, -1, labels)
    return FaceTable(tuple(f"{seed}/{i}" for i in range(count)), images, votes, targets, FERPLUS)


@pytest.fixture(scope="session")
def faces():
    """A factory of synthetic faces: `faces(count, seed)`."""
    return synthetic


@pytest.fixture(scope="session")
def data():
    return TrainingData(
        synthetic(64, seed=1),
        synthetic(40, seed=2),
        near_duplicates_left_out=3,
        licence="for tests",
        reader="ferplus",
        options={"protocol": "standard"},
    )


@pytest.fixture(scope="session")
def recipe():
    """The default recipe with a tiny network, two epochs and full precision."""
    return replace(
        find("default"),
        work="tiny",
        row="faces",
        model_options=SMALL,
        epochs=2,
        batch_size=16,
        ema=0.5,
        precision="32-true",
    )


@pytest.fixture(scope="session")
def make_trainer():
    """A factory of trainers that write nothing."""

    def make(**options):
        return L.Trainer(
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            **options,
        )

    return make
