from dataclasses import replace

import numpy as np
import pytest

from affectlens.core.errors import BadData
from affectlens.data.images import Images
from affectlens.data.table import FaceTable
from affectlens.training import preview
from affectlens.training.preview import EPOCHS, make_preview

LABELS = ("calm", "keen", "wry")
STEPS = ("flip", "rotation_deg", "shear_deg", "scale", "shift", "brightness", "contrast", "sharpness", "erase")
PLAIN = dict.fromkeys(STEPS, 0.0)


def unequal(counts=(20, 6, 2)):
    """Random faces, so many of each class."""
    targets = np.repeat(np.arange(len(counts)), counts)
    rng = np.random.default_rng(0)
    targets = rng.permutation(targets)
    images = rng.integers(0, 256, (len(targets), 48, 48), dtype=np.uint8)
    return FaceTable(
        tuple(f"train/{number}" for number in range(len(targets))),
        images,
        np.eye(len(counts), dtype=np.float32)[targets],
        targets,
        LABELS,
    )


@pytest.fixture
def plain(recipe):
    """A recipe that changes nothing."""
    return replace(recipe, **PLAIN, batch_size=4)


def test_every_row_shows_the_same_faces(recipe):
    seen = make_preview(unequal(), recipe, 5)
    assert seen.rows == ["raw", "input", "epoch 1", "epoch 2", "epoch 3"]
    assert len(seen.rows) == len(seen.sheet) == 2 + EPOCHS
    assert [len(row) for row in seen.sheet] == [5] * len(seen.rows)
    for row in seen.sheet:
        assert all(image.shape == (48, 48) and image.dtype == np.uint8 for image in row)


def test_the_first_faces_are_of_as_many_classes_as_there_are(plain):
    table = unequal()
    seen = make_preview(table, plain, 3)
    shown = [next(row for row, face in enumerate(table.images) if (face == image).all()) for image in seen.sheet[0]]
    assert sorted(table.targets[shown]) == [0, 1, 2]
    assert all((table.targets[:row] != table.targets[row]).all() for row in shown)


def test_without_augmentation_every_epoch_shows_the_input(plain):
    seen = make_preview(unequal(), plain, 4)
    raw, *others = (np.stack(row).astype(int) for row in seen.sheet)
    for row in others:
        assert np.abs(row - raw).max() <= 1


def test_with_augmentation_every_epoch_looks_different(recipe):
    _, plain, *epochs = (np.stack(row).astype(int) for row in make_preview(unequal(), recipe, 4).sheet)
    everything = [plain, *epochs]
    for i, one in enumerate(everything):
        for other in everything[i + 1 :]:
            assert np.abs(one - other).mean() > 1


def test_fewer_faces_than_asked_for_are_all_shown(plain):
    assert [len(row) for row in make_preview(unequal((2, 1, 0)), plain, 8).sheet] == [3] * 5


def test_pictures_in_colour_are_shown_in_colour_where_the_network_sees_it(plain):
    images = np.random.default_rng(0).integers(0, 256, (4, 48, 48, 3), dtype=np.uint8)
    table = replace(unequal((2, 1, 1)), images=images)
    colour = replace(plain, channels="rgb", mean=(0.5,) * 3, std=(0.25, 0.2, 0.3))
    assert {image.shape for image in make_preview(table, plain, 4).sheet[1]} == {(48, 48)}
    raw, shown, *_ = (np.stack(row).astype(int) for row in make_preview(table, colour, 4).sheet)
    assert np.abs(raw - shown).max() <= 1


@pytest.mark.parametrize(
    ("sampler", "expected"), [("shuffle", [20, 6, 2]), ("augment", [20, 20, 20])], ids=["shuffle", "augment"]
)
def test_classes_are_counted_without_and_with_the_sampler(plain, sampler, expected):
    seen = make_preview(unequal(), replace(plain, sampler=sampler), 3)
    assert seen.without.tolist() == [20, 6, 2]
    assert seen.with_sampler.tolist() == expected


def test_the_sampler_by_expression_balances_the_classes(plain):
    seen = make_preview(unequal((600, 60, 6)), replace(plain, sampler="expression", batch_size=1), 3)
    assert seen.without.tolist() == [600, 60, 6]
    assert seen.with_sampler.sum() == 666
    assert (np.abs(seen.with_sampler - 222) < 50).all()


def test_a_class_without_faces_has_its_place(plain):
    seen = make_preview(unequal((4, 0, 4)), plain, 2)
    assert seen.without.tolist() == seen.with_sampler.tolist() == [4, 0, 4]


def test_faces_without_any_votes_are_of_no_class(plain):
    table = unequal((4, 4, 4))
    known = np.arange(len(table)) % 2 == 0
    targets = np.where(known, table.targets, -1)
    seen = make_preview(replace(table, votes=table.votes * known[:, None], targets=targets), plain, 2)
    expected = np.bincount(table.targets[known], minlength=3).tolist()
    assert seen.without.tolist() == expected


def test_a_sampler_that_needs_ages_says_so(plain):
    with pytest.raises(BadData, match="needs a column age_years"):
        make_preview(unequal(), replace(plain, sampler="age"), 2)


def test_the_same_recipe_shows_the_same_pictures(recipe):
    first, second = (make_preview(unequal(), recipe, 4) for _ in range(2))
    for ours, theirs in zip(first.sheet, second.sheet, strict=True):
        np.testing.assert_array_equal(np.stack(ours), np.stack(theirs))


def test_a_larger_picture_is_shown_whole_above_its_face(recipe, portrait):
    faces = [portrait, np.zeros((48, 48), dtype=np.uint8)]
    table = replace(unequal((1, 1, 0)), images=Images(faces))
    seen = make_preview(table, replace(recipe, find_faces=True), 2)
    assert [image.shape for image in seen.sheet[0]] == [portrait.shape, (48, 48)]
    assert [len(row) for row in seen.sheet] == [2] * 6
    found = dict(zip(seen.rows, seen.sheet, strict=True))["landmarks"][0]
    dots = np.argwhere((found == (0, 255, 255)).all(axis=2)) / len(found)
    assert len(dots) > 5 * 9
    eyes = dots[dots[:, 0] < 0.5]
    assert 0.2 < eyes[:, 1].min() < 0.45 < 0.55 < eyes[:, 1].max() < 0.8


def test_a_picture_without_a_face_does_not_move_the_others(recipe, portrait):
    wall = np.full((200, 200), 90, dtype=np.uint8)
    table = replace(unequal((1, 1, 1)), images=Images([wall, portrait, np.zeros((48, 48), dtype=np.uint8)]))
    seen = make_preview(table, replace(recipe, **PLAIN, find_faces=True), 3)
    assert len({len(row) for row in seen.sheet}) == 1


def test_a_picture_is_searched_if_its_part_of_the_data_says_so(recipe, portrait):
    table = replace(unequal((1, 1, 0)), images=Images([portrait, portrait]), find_face=np.array([True, False]))
    seen = make_preview(table, replace(recipe, **PLAIN), 2)
    whole, searched = (seen.sheet[seen.rows.index(name)] for name in ("raw", "input"))
    assert [image.shape for image in whole] == [portrait.shape] * 2
    assert np.abs(searched[0].astype(int) - searched[1]).mean() > 5


def test_pictures_of_normalised_input_are_clamped(recipe, monkeypatch):
    import torch

    batch = torch.tensor([-100.0, 0.0, 100.0]).view(1, 1, 1, 3)
    (shown,) = preview._pictures(batch, recipe)
    assert shown.tolist() == [[0, 128, 255]]
