from dataclasses import replace

import cv2
import numpy as np
import pytest

from affectlens.core.errors import BadData
from affectlens.core.landmarks import eyes_of
from affectlens.core.sample import Dropped, Sample
from affectlens.data import images, table
from affectlens.data.images import Images, Stored
from affectlens.data.table import FaceTable

LABELS = ("happiness", "sadness")
VOTES = np.array([0.75, 0.25], dtype=np.float32)
POINTS = np.array([[10, 20], [30, 20], [20, 40]], dtype=np.float32)


@pytest.fixture
def sample(tmp_path):
    """A writer of samples whose image is flat in `tone`, anything else by name."""

    def write(name, tone=7, side=48, shape=None, **changes):
        path = tmp_path / name
        cv2.imwrite(str(path), np.full(shape or (side, side), tone, dtype=np.uint8))
        return Sample(f"train/{name}", path, "train", **({"expression": "happiness", "votes": VOTES} | changes))

    return write


def tones(faces):
    return [int(image.flat[0]) for image in faces.images]


def test_samples_become_arrays_in_their_order(sample):
    faces = table.load([sample("a.png", 10), sample("b.png", 20, expression=None)], LABELS)
    assert len(faces) == 2
    assert faces.ids == ("train/a.png", "train/b.png")
    assert faces.labels == LABELS
    assert isinstance(faces.images, Images)
    assert tones(faces) == [10, 20]
    assert faces.targets.tolist() == [0, -1]
    assert faces.labelled.tolist() == [True, False]
    assert faces.targets.dtype == np.int64
    np.testing.assert_array_equal(faces.votes, [VOTES, VOTES])
    assert faces.votes.dtype == np.float32
    assert faces.dropped == {}


def test_a_label_without_votes_is_a_vote_for_it(sample):
    faces = table.load([sample("a.png", expression="sadness", votes=None)], LABELS)
    np.testing.assert_array_equal(faces.votes, [[0, 1]])


def test_neither_label_nor_votes_is_a_row_of_zeros(sample):
    faces = table.load([sample("a.png", expression=None, votes=None, valence=0.5)], LABELS)
    np.testing.assert_array_equal(faces.votes, [[0, 0]])
    assert faces.targets.tolist() == [-1]


def test_colour_images_are_red_green_blue(sample, tmp_path):
    face = sample("a.png")
    cv2.imwrite(str(face.path), np.full((48, 48, 3), (0, 0, 255), dtype=np.uint8))
    (image,) = table.load([face], LABELS).images
    assert image.shape == (48, 48, 3)
    assert image[0, 0].tolist() == [255, 0, 0]


def test_images_of_different_sizes_and_colours_stand_in_one_table(sample):
    faces = table.load([sample("a.png"), sample("b.png", side=32), sample("c.png", shape=(300, 200, 3))], LABELS)
    assert [image.shape for image in faces.images] == [(48, 48), (32, 32), (300, 200, 3)]


def test_small_images_are_kept_and_large_ones_are_decoded_when_asked_for(sample):
    limit = images.KEEP_SIDE_PX
    faces = table.load([sample("a.png", 5, limit), sample("b.png", 6, limit + 1)], LABELS)
    assert [isinstance(entry, Stored) for entry in faces.images.entries] == [False, True]
    assert tones(faces) == [5, 6]


def test_images_beyond_the_room_are_decoded_when_asked_for(sample, monkeypatch):
    monkeypatch.setattr(table, "KEEP_BYTES", 2 * 48 * 48)
    faces = table.load([sample(f"{tone}.png", tone) for tone in range(4)], LABELS)
    assert [isinstance(entry, Stored) for entry in faces.images.entries] == [False, False, True, True]
    assert tones(faces) == [0, 1, 2, 3]


def test_a_small_face_does_not_hold_the_large_image_it_was_cut_from(sample):
    face = sample("a.png", side=600, box_xyxy=np.array([10, 10, 50, 50], dtype=np.float32))
    (kept,) = table.load([face], LABELS).images.entries
    assert kept.shape == (40, 40)
    held_bytes = kept.nbytes if kept.base is None else kept.base.nbytes
    assert held_bytes == 40 * 40


def test_pixels_and_bytes_in_a_sample_are_its_image(sample):
    pixels = np.arange(16, dtype=np.uint8).reshape(4, 4)
    encoded = cv2.imencode(".png", pixels)[1].tobytes()
    faces = table.load([sample("a.png", content=pixels), sample("b.png", content=encoded)], LABELS)
    for image in faces.images:
        np.testing.assert_array_equal(image, pixels)


def test_the_box_of_a_sample_is_its_image(sample):
    pixels = np.arange(100, dtype=np.uint8).reshape(10, 10)
    corners = np.array([2, 3, 6, 9], dtype=np.float32)
    face = sample("a.png", box_xyxy=corners)
    cv2.imwrite(str(face.path), pixels)
    faces = table.load([face, sample("b.png", content=pixels, box_xyxy=corners)], LABELS)
    for image in faces.images:
        np.testing.assert_array_equal(image, pixels[3:9, 2:6])


def test_what_readers_drop_is_counted_by_reason(sample):
    entries = [Dropped("train/1", "no label"), sample("a.png"), Dropped("train/2", "no face"), Dropped("x", "no label")]
    faces = table.load(entries, LABELS)
    assert faces.ids == ("train/a.png",)
    assert faces.dropped == {"no label": 2, "no face": 1}


def test_an_image_that_cannot_be_decoded_is_counted(sample):
    broken, missing, outside = sample("b.png"), sample("c.png"), sample("d.png", box_xyxy=np.array([90, 90, 99, 99]))
    broken.path.write_bytes(b"no image")
    missing.path.unlink()
    faces = table.load([broken, sample("a.png", 3), missing, outside, sample("e.png", 4)], LABELS)
    assert faces.ids == ("train/a.png", "train/e.png")
    assert tones(faces) == [3, 4]
    assert faces.dropped == {"image cannot be decoded": 3}


def test_columns_that_no_sample_has_are_empty(sample):
    faces = table.load([sample("a.png"), sample("b.png")], LABELS)
    assert np.isnan([faces.valence, faces.arousal, faces.age_years]).all()
    assert faces.landmarks_xy.shape == (2, 0, 2)
    assert faces.attributes.shape == (2, 0)
    assert faces.groups == {}


def test_columns_of_some_samples_are_unknown_for_the_others(sample):
    full = sample(
        "a.png",
        valence=0.0,
        arousal=-1.0,
        age_years=30.5,
        landmarks_xy=POINTS,
        attributes=np.array([0, 1, 1], dtype=np.float32),
        groups={"sex": "f"},
    )
    faces = table.load([full, sample("b.png", groups={"country": "NL"})], LABELS)
    np.testing.assert_array_equal(faces.valence, [0, np.nan])
    np.testing.assert_array_equal(faces.arousal, [-1, np.nan])
    np.testing.assert_array_equal(faces.age_years, [30.5, np.nan])
    np.testing.assert_array_equal(faces.landmarks_xy, [POINTS, np.full((3, 2), np.nan)])
    np.testing.assert_array_equal(faces.attributes, [[0, 1, 1], [np.nan] * 3])
    assert {name: column.tolist() for name, column in faces.groups.items()} == {"sex": ["f", ""], "country": ["", "NL"]}
    for column in (faces.valence, faces.arousal, faces.age_years, faces.landmarks_xy, faces.attributes):
        assert column.dtype == np.float32


def test_five_landmarks_stand_beside_68(sample):
    five = np.arange(10, dtype=np.float32).reshape(5, 2)
    many = np.arange(136, dtype=np.float32).reshape(68, 2)
    faces = table.load([sample("a.png", landmarks_xy=five), sample("b.png", landmarks_xy=many)], LABELS)
    np.testing.assert_array_equal(eyes_of(faces.landmarks_xy[0]), five[:2])
    np.testing.assert_array_equal(faces.landmarks_xy[1], many)


def test_landmarks_move_with_the_box(sample):
    corners = np.array([4.6, 8.4, 40, 44], dtype=np.float32)
    pixels = np.zeros((48, 48), dtype=np.uint8)
    pixels[20, 10] = 255
    face = sample("a.png", content=pixels, box_xyxy=corners, landmarks_xy=POINTS)
    faces = table.load([face], LABELS)
    np.testing.assert_array_equal(faces.landmarks_xy, [POINTS - [5, 8]])
    x, y = faces.landmarks_xy[0, 0].astype(int)
    assert faces.images[0][y, x] == 255


def test_landmarks_stay_where_the_box_begins_outside_the_image(sample):
    face = sample("a.png", box_xyxy=np.array([-6, -3, 40, 44], dtype=np.float32), landmarks_xy=POINTS)
    np.testing.assert_array_equal(table.load([face], LABELS).landmarks_xy, [POINTS])


def test_landmarks_without_a_box_stay(sample):
    np.testing.assert_array_equal(table.load([sample("a.png", landmarks_xy=POINTS)], LABELS).landmarks_xy, [POINTS])


def test_keep_selects_rows_of_every_column(sample):
    entries = [
        sample(
            f"{tone}.png",
            tone,
            side=100 * tone,
            expression=("happiness", None, "sadness")[tone - 1],
            votes=np.array([tone / 4, 1 - tone / 4], dtype=np.float32),
            valence=tone / 10,
            arousal=-tone / 10,
            age_years=float(tone),
            landmarks_xy=POINTS * tone,
            attributes=np.array([tone % 2], dtype=np.float32),
            groups={"sex": "fmd"[tone - 1]},
        )
        for tone in (1, 2, 3)
    ]
    faces = table.load([*entries, Dropped("x", "no label")], LABELS)
    kept = faces.keep(np.array([True, False, True]))
    assert len(kept) == 2
    assert kept.ids == ("train/1.png", "train/3.png")
    assert tones(kept) == [1, 3]
    assert kept.targets.tolist() == [0, 1]
    assert kept.groups["sex"].tolist() == ["f", "d"]
    for name in ("votes", "valence", "arousal", "age_years", "landmarks_xy", "attributes"):
        np.testing.assert_array_equal(getattr(kept, name), getattr(faces, name)[[0, 2]], err_msg=name)
    assert kept.labels == LABELS
    assert kept.dropped == faces.dropped == {"no label": 1}
    assert len(faces) == 3


def test_keep_works_on_an_array_of_images_too():
    pixels = np.arange(3, dtype=np.uint8)[:, None, None] * np.ones((1, 4, 4), dtype=np.uint8)
    faces = FaceTable(("a", "b", "c"), pixels, np.eye(3, 2, dtype=np.float32), np.arange(3) % 2, LABELS)
    assert faces.keep(np.array([False, True, True])).images[:, 0, 0].tolist() == [1, 2]


def test_keep_wants_a_mask_of_the_same_length(sample):
    with pytest.raises(ValueError, match="shorter"):
        table.load([sample("a.png")], LABELS).keep(np.array([], dtype=bool))


@pytest.mark.parametrize(
    "changes",
    [
        {"images": np.zeros((3, 4, 4), dtype=np.uint8)},
        {"votes": np.zeros((2, 3), dtype=np.float32)},
        {"targets": np.zeros(1, dtype=np.int64)},
        {"valence": np.zeros(3, dtype=np.float32)},
        {"landmarks_xy": np.zeros((1, 5, 2), dtype=np.float32)},
        {"groups": {"sex": np.array(["f"])}},
    ],
)
def test_columns_of_different_lengths_are_refused(changes):
    columns = {
        "images": np.zeros((2, 4, 4), dtype=np.uint8),
        "votes": np.zeros((2, 2), dtype=np.float32),
        "targets": np.zeros(2, dtype=np.int64),
    }
    assert len(FaceTable(ids=("a", "b"), labels=LABELS, **columns)) == 2
    with pytest.raises(BadData, match="do not match 2 faces and 2 classes"):
        FaceTable(ids=("a", "b"), labels=LABELS, **(columns | changes))


def test_a_label_that_is_not_in_the_table_is_named(sample):
    with pytest.raises(
        BadData, match=r"the label of sample 'train/a\.png' must be one of happiness, sadness, got 'fear'"
    ):
        table.load([sample("a.png", expression="fear", votes=None)], LABELS)


def test_votes_over_other_labels_are_refused(sample):
    with pytest.raises(BadData, match=r"sample 'train/a\.png' has 3 votes, expected 2"):
        table.load([sample("a.png", votes=np.array([1, 0, 0], dtype=np.float32))], LABELS)


def test_an_empty_data_set_is_refused():
    with pytest.raises(BadData, match=r"the data set has no samples$"):
        table.load([], LABELS)


def test_a_data_set_of_which_nothing_is_left_says_why(sample):
    broken = sample("a.png")
    broken.path.write_bytes(b"no image")
    entries = [Dropped("1", "no label"), broken, Dropped("2", "no label")]
    with pytest.raises(BadData, match=r"no samples \(left out: 2 x no label; 1 x image cannot be decoded\)"):
        table.load(entries, LABELS)


def test_attributes_have_the_names_of_the_data_and_only_those(sample):
    bits = np.array([0, 1], dtype=np.float32)
    faces = table.load(
        [sample("a.png", attributes=bits), sample("b.png", attributes=bits[:1])], LABELS, ("Bald", "Young")
    )
    assert faces.attribute_names == ("Bald", "Young")
    np.testing.assert_array_equal(faces.attributes, [[0, 1], [np.nan, np.nan]])
    assert table.load([sample("a.png")], LABELS, ("Bald", "Young")).attribute_names == ()
    with pytest.raises(BadData, match="expected one name for each of 2 attributes, got 1"):
        replace(faces, attribute_names=("Bald",))
