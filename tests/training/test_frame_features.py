from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from affectlens.core.errors import BadData
from affectlens.data.images import Images, Stored
from affectlens.data.source import DataSource, SourcePart
from affectlens.data.table import FaceTable
from affectlens.models.layers.outputs import Outputs
from affectlens.training import frame_features
from affectlens.training.recipe import find


@pytest.fixture
def recipe():
    return replace(find("antoniadis/t6.1-ccc-affwild2"), size_px=16)


class TonesFirst(torch.nn.Module):
    """A network that says how bright a picture is."""

    recipe = None

    def forward(self, images):
        bright = images.mean(dim=(1, 2, 3))
        return Outputs(torch.stack([bright, -bright], dim=1))


@pytest.mark.parametrize("target", ["votes", "label"])
def test_frames_are_described_in_their_order_and_undecodable_ones_left_out(recipe, tmp_path, target, caplog):
    (tmp_path / "broken.png").write_bytes(b"no picture" * 20)
    pictures = [np.full((200, 200, 3), tone, dtype=np.uint8) for tone in (10, 40, 90, 160, 250)]
    stored = [Stored(tmp_path / "broken.png"), *pictures]
    table = FaceTable(
        ("b/2", "b/3", "a/2", "a/1", "b/1", "a/3"),
        Images(stored),
        np.tile(np.float32([0.25, 0.75]), (6, 1)),
        np.array([1, 1, -1, 0, 1, 1]),
        ("dark", "light"),
        valence=np.arange(6, dtype=np.float32) / 10,
        arousal=np.zeros(6, dtype=np.float32),
        groups={"video": np.array(list("bbaaba"))},
    )
    module = TonesFirst()
    module.recipe = replace(recipe, size_px=16, target=target)
    found = frame_features.features_of(module, table)
    assert found.starts.tolist() == [0, 2, 5]
    assert found.affect[:, 0].tolist() == pytest.approx([0.4, 0.1, 0.3, 0.2, 0.5])
    assert found.targets.tolist() == [1, 1, 0, -1, 1]
    assert found.predictions[:, 0].argsort().tolist() == [1, 3, 2, 0, 4]
    np.testing.assert_array_equal(found.features, found.predictions)  # of a network without features
    expected = [[0.25, 0.75]] * 5 if target == "votes" else [[0, 1], [0, 1], [1, 0], [0, 0], [0, 1]]
    assert found.votes.tolist() == expected


def test_without_a_picture_that_can_be_decoded_there_are_no_features(recipe, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture" * 20)
    nothing = np.zeros((1, 2), dtype=np.float32)
    table = FaceTable(
        ("1",),
        Images([Stored(tmp_path / "broken.png")]),
        nothing,
        np.array([-1]),
        ("a", "b"),
        groups={"video": np.array(["v"])},
    )
    module = TonesFirst()
    module.recipe = recipe
    with pytest.raises(BadData, match="cannot decode any of 1 images"):
        frame_features.features_of(module, table)


@pytest.fixture
def stored(recipe, tmp_path):
    """What `stored_features` gives for two videos, or for changes to them, and how often the network ran for that."""
    module = TonesFirst()
    module.recipe = recipe
    passes = []
    module.register_forward_hook(lambda *_: passes.append(1))
    rng = np.random.default_rng(0)
    table = FaceTable(
        tuple(f"{video}/{frame}" for video in "ab" for frame in range(4)),
        rng.integers(0, 256, (8, 16, 16, 3), dtype=np.uint8),
        np.eye(2, dtype=np.float32)[[0, 1] * 4],
        np.array([0, 1] * 4),
        ("dark", "light"),
        groups={"video": np.repeat(["a", "b"], 4)},
    )

    def call(weights="abc", options=None, folder=tmp_path, **changes):
        source = DataSource((SourcePart("affwild2", folder, options or {}),))
        before = len(passes)
        found = frame_features.stored_features(
            tmp_path / "features.npz", module, weights, source, replace(table, **changes)
        )
        return found, len(passes) - before

    return call


def test_features_are_computed_once_and_read_again(stored):
    (first, passes), (second, again) = stored(), stored()
    assert (passes, again) == (1, 0)
    for field in fields(first):
        one, other = getattr(first, field.name), getattr(second, field.name)
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "changes",
    [
        {"weights": "def"},
        {"options": {"both": "yes"}},
        {"targets": np.array([1, 0] * 4)},
        {"valence": np.zeros(8, dtype=np.float32)},
        {"ids": tuple(map(str, range(8)))},
        {"groups": {"video": np.repeat(["a", "c"], 4)}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_features_of_something_else_are_not_reused(stored, changes):
    stored()
    assert stored(**changes)[1] == 1
    assert stored(**changes)[1] == 0


def test_features_of_another_folder_are_not_reused(stored, tmp_path):
    stored()
    assert stored(folder=tmp_path / "other")[1] == 1


@pytest.mark.parametrize("damage", [b"", b"PK no archive", b"anything"])
def test_a_damaged_file_is_written_again(stored, tmp_path, damage):
    stored()
    (tmp_path / "features.npz").write_bytes(damage)
    assert stored()[1] == 1
    assert stored()[1] == 0
