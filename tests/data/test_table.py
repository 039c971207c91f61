import cv2
import numpy as np
import pytest

from affectlens.core.errors import BadData
from affectlens.core.sample import Sample
from affectlens.data import table

LABELS = ("happiness", "sadness")
VOTES = np.array([0.75, 0.25], dtype=np.float32)


@pytest.fixture
def sample(tmp_path):
    """A writer of samples whose image is flat in `tone`."""

    def write(name, tone=7, side=48, expression="happiness", votes=VOTES):
        path = tmp_path / name
        cv2.imwrite(str(path), np.full((side, side), tone, dtype=np.uint8))
        return Sample(f"train/{name}", path, "train", expression, votes)

    return write


def test_samples_become_arrays_in_their_order(sample):
    faces = table.load([sample("a.png", 10), sample("b.png", 20, expression=None)], LABELS)
    assert len(faces) == 2
    assert faces.ids == ("train/a.png", "train/b.png")
    assert faces.images.shape == (2, 48, 48)
    assert faces.images.dtype == np.uint8
    assert faces.images[:, 0, 0].tolist() == [10, 20]
    assert faces.targets.tolist() == [0, -1]
    np.testing.assert_array_equal(faces.votes, [VOTES, VOTES])


def test_colour_images_are_read_as_gray(sample, tmp_path):
    face = sample("a.png")
    cv2.imwrite(str(face.path), np.full((48, 48, 3), (0, 0, 255), dtype=np.uint8))
    assert (table.load([face], LABELS).images == 76).all()


def test_keep_selects_rows_of_every_array(sample):
    faces = table.load([sample(f"{tone}.png", tone) for tone in (1, 2, 3)], LABELS)
    kept = faces.keep(np.array([True, False, True]))
    assert kept.ids == ("train/1.png", "train/3.png")
    assert kept.images[:, 0, 0].tolist() == [1, 3]
    assert len(kept.votes) == len(kept.targets) == 2
    assert kept.labels == LABELS


def test_keep_wants_a_mask_of_the_same_length(sample):
    with pytest.raises(ValueError, match="shorter"):
        table.load([sample("a.png")], LABELS).keep(np.array([], dtype=bool))


def test_an_image_that_cannot_be_decoded_is_named(sample):
    broken = sample("b.png")
    broken.path.write_bytes(b"no image")
    with pytest.raises(BadData, match=r"b\.png' cannot be decoded as an image"):
        table.load([sample("a.png"), broken], LABELS)


def test_images_of_different_sizes_are_refused(sample):
    with pytest.raises(BadData, match=r"b\.png' is 32x32, expected the size of the first image"):
        table.load([sample("a.png"), sample("b.png", side=32)], LABELS)


def test_samples_without_votes_are_refused(sample):
    with pytest.raises(BadData, match=r"sample 'train/a\.png' has no votes"):
        table.load([sample("a.png", votes=None)], LABELS)


def test_an_empty_data_set_is_refused():
    with pytest.raises(BadData, match="no samples"):
        table.load([], LABELS)
