from dataclasses import replace

import numpy as np
import pytest

from affectlens.core.errors import BadData
from affectlens.data.images import Images
from affectlens.data.table import FaceTable
from affectlens.training import preview
from affectlens.training.preview import batches_drawn, training_faces

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


def totals(table, recipe):
    """Sampler -> faces of each class in the batches of an epoch."""
    return {sampler: drawn.sum(axis=0).tolist() for sampler, drawn in batches_drawn(table, recipe).items()}


@pytest.fixture
def plain(recipe):
    """A recipe that changes nothing."""
    return replace(recipe, **PLAIN, batch_size=4)


def test_every_step_shows_the_same_faces(recipe):
    seen = training_faces(unequal(), recipe, 5, 3)
    assert list(seen.steps) == ["stored", "input", "epoch 1", "epoch 2", "epoch 3"]
    assert [len(row) for row in seen.steps.values()] == [5] * 5
    for row in seen.steps.values():
        assert all(image.shape == (48, 48) and image.dtype == np.uint8 for image in row)


def test_the_first_faces_are_of_as_many_classes_as_there_are(plain):
    table = unequal()
    seen = training_faces(table, plain, 3, 3)
    stored = [pictures[0] for pictures in seen.by_face]
    shown = [next(row for row, face in enumerate(table.images) if (face == image).all()) for image in stored]
    assert seen.labels == [LABELS[target] for target in table.targets[shown]]
    assert sorted(table.targets[shown]) == [0, 1, 2]
    assert all((table.targets[:row] != table.targets[row]).all() for row in shown)


def test_without_augmentation_every_epoch_shows_the_input(plain):
    seen = training_faces(unequal(), plain, 4, 3)
    raw, *others = (np.stack(row).astype(int) for row in seen.steps.values())
    for row in others:
        assert np.abs(row - raw).max() <= 1


def test_with_augmentation_every_epoch_looks_different(recipe):
    _, plain, *epochs = (np.stack(row).astype(int) for row in training_faces(unequal(), recipe, 4, 3).steps.values())
    everything = [plain, *epochs]
    for i, one in enumerate(everything):
        for other in everything[i + 1 :]:
            assert np.abs(one - other).mean() > 1


def test_versions_are_blurred_and_noisy_as_training_degrades_them(plain):
    noisy, blurred = (replace(plain, **{step: strength}) for step, strength in (("noise", 0.5), ("blur", 3.0)))
    still = np.stack(training_faces(unequal(), plain, 4, 1).steps["epoch 1"]).astype(float)
    rough = np.stack(training_faces(unequal(), noisy, 4, 1).steps["epoch 1"]).astype(float)
    smooth = np.stack(training_faces(unequal(), blurred, 4, 1).steps["epoch 1"]).astype(float)
    assert np.abs(rough - still).max() > 20
    assert smooth.std() < still.std() - 5


def test_aligned_faces_are_called_so_and_have_their_eyes_on_one_level(plain):
    picture = np.zeros((48, 48), dtype=np.uint8)
    picture[28:31, 12:15] = picture[18:21, 32:35] = 255
    points = np.full((68, 2), np.nan, dtype=np.float32)
    points[36:42], points[42:48] = (13, 29), (33, 19)
    table = replace(unequal((1, 0, 0)), images=picture[None], landmarks_xy=points[None])
    aligned = replace(plain, eye_distance=0.4, eye_height=0.35)
    seen = training_faces(table, aligned, 1, 1)
    assert list(seen.steps) == ["stored", "landmarks", "aligned", "epoch 1"]
    (shown,) = seen.steps["aligned"]
    rows, columns = np.nonzero(shown > 100)
    left, right = (rows[side].mean() / 48 for side in (columns < 24, columns >= 24))
    assert (left, right) == pytest.approx((0.35, 0.35), abs=0.03)
    assert columns[columns >= 24].mean() - columns[columns < 24].mean() == pytest.approx(0.4 * 48, abs=1)


def test_fewer_faces_than_asked_for_are_all_shown(plain):
    assert [len(row) for row in training_faces(unequal((2, 1, 0)), plain, 8, 3).steps.values()] == [3] * 5


def test_pictures_in_colour_are_shown_in_colour_where_the_network_sees_it(plain):
    images = np.random.default_rng(0).integers(0, 256, (4, 48, 48, 3), dtype=np.uint8)
    table = replace(unequal((2, 1, 1)), images=images)
    colour = replace(plain, channels="rgb", mean=(0.5,) * 3, std=(0.25, 0.2, 0.3))
    assert {image.shape for image in training_faces(table, plain, 4, 3).steps["input"]} == {(48, 48)}
    raw, shown, *_ = (np.stack(row).astype(int) for row in training_faces(table, colour, 4, 3).steps.values())
    assert np.abs(raw - shown).max() <= 1


@pytest.mark.parametrize(
    ("sampler", "expected"), [("shuffle", [20, 6, 2]), ("augment", [20, 20, 20])], ids=["shuffle", "augment"]
)
def test_classes_are_counted_without_and_with_the_sampler(plain, sampler, expected):
    drawn = totals(unequal(), replace(plain, sampler=sampler))
    assert drawn["shuffle"] == [20, 6, 2]
    assert drawn[sampler] == expected


def test_the_sampler_by_expression_balances_the_classes(plain):
    balanced = replace(plain, sampler="expression", batch_size=1)
    seen = totals(unequal((600, 60, 6)), balanced)
    assert seen["shuffle"] == [600, 60, 6]
    assert sum(seen["expression"]) == 666
    assert max(abs(count - 222) for count in seen["expression"]) < 50
    drawn = batches_drawn(unequal((600, 60, 6)), replace(balanced, batch_size=60))
    assert list(drawn) == ["shuffle", "expression"]
    assert [part.shape for part in drawn.values()] == [(11, 3), (11, 3)]
    assert all((part.sum(axis=1) == 60).all() for part in drawn.values())
    shuffled, even = ((part / 60).mean(axis=0) for part in drawn.values())
    np.testing.assert_allclose(shuffled, [0.9, 0.09, 0.01], atol=0.01)
    np.testing.assert_allclose(even, [1 / 3] * 3, atol=0.07)


def test_batches_are_of_the_faces_that_the_recipe_takes(plain):
    assert totals(unequal(), replace(plain, max_per_class=3, batch_size=2)) == {"shuffle": [3, 3, 2]}


def test_a_class_without_faces_has_its_place(plain):
    assert totals(unequal((4, 0, 4)), plain) == {"shuffle": [4, 0, 4]}


def test_faces_without_any_votes_are_of_no_class(plain):
    table = unequal((4, 4, 4))
    known = np.arange(len(table)) % 2 == 0
    targets = np.where(known, table.targets, -1)
    seen = totals(replace(table, votes=table.votes * known[:, None], targets=targets), replace(plain, batch_size=1))
    assert seen == {"shuffle": np.bincount(table.targets[known], minlength=3).tolist()}


def test_a_sampler_that_needs_ages_says_so(plain):
    with pytest.raises(BadData, match="needs a column age_years"):
        batches_drawn(unequal(), replace(plain, sampler="age"))


def test_the_same_recipe_shows_the_same_pictures(recipe):
    first, second = (training_faces(unequal(), replace(recipe, blur=2.0, noise=0.2), 4, 3) for _ in range(2))
    for ours, theirs in zip(first.steps.values(), second.steps.values(), strict=True):
        np.testing.assert_array_equal(np.stack(ours), np.stack(theirs))


def test_a_larger_picture_is_shown_whole_above_its_face(recipe, portrait):
    faces = [portrait, np.zeros((48, 48), dtype=np.uint8)]
    table = replace(unequal((1, 1, 0)), images=Images(faces))
    seen = training_faces(table, replace(recipe, find_faces=True), 2, 3)
    assert [image.shape for image in seen.steps["stored"]] == [portrait.shape, (48, 48)]
    assert [len(row) for row in seen.steps.values()] == [2] * 6
    found = seen.steps["landmarks"][0]
    dots = np.argwhere((found == (0, 255, 255)).all(axis=2)) / len(found)
    assert len(dots) > 5 * 9
    eyes = dots[dots[:, 0] < 0.5]
    assert 0.2 < eyes[:, 1].min() < 0.45 < 0.55 < eyes[:, 1].max() < 0.8


def test_a_picture_without_a_face_does_not_move_the_others(recipe, portrait):
    wall = np.full((200, 200), 90, dtype=np.uint8)
    table = replace(unequal((1, 1, 1)), images=Images([wall, portrait, np.zeros((48, 48), dtype=np.uint8)]))
    seen = training_faces(table, replace(recipe, **PLAIN, find_faces=True), 3, 3)
    assert len({len(row) for row in seen.steps.values()}) == 1


def test_a_picture_is_searched_if_its_part_of_the_data_says_so(recipe, portrait):
    table = replace(unequal((1, 1, 0)), images=Images([portrait, portrait]), find_face=np.array([True, False]))
    seen = training_faces(table, replace(recipe, **PLAIN), 2, versions=1)
    whole, searched = seen.steps["stored"], seen.steps["input"]
    assert [image.shape for image in whole] == [portrait.shape] * 2
    assert np.abs(searched[0].astype(int) - searched[1]).mean() > 5


def test_pictures_of_normalised_input_are_clamped(recipe, monkeypatch):
    import torch

    batch = torch.tensor([-100.0, 0.0, 100.0]).view(1, 1, 1, 3)
    (shown,) = preview._pictures(batch, recipe)
    assert shown.tolist() == [[0, 128, 255]]
