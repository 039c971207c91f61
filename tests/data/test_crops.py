import cv2
import numpy as np
import pytest

from affectlens.core.preprocessing import InputSpec
from affectlens.data import crops
from affectlens.data.crops import cut, find_faces
from affectlens.data.images import KEEP_SIDE_PX, Images, Stored
from affectlens.data.table import FaceTable
from affectlens.faces.align import cut_faces
from affectlens.faces.detectors import mtcnn

LABELS = ("calm", "keen")
SPEC = InputSpec(size_px=48, channels="gray", mean=(0.5,), std=(0.25,), margin=0.9, shift_y=0.0, rotate=True)


def table_of(*images, **columns):
    """Faces of these pictures, of both classes in turn."""
    targets = np.arange(len(images)) % 2
    votes = np.eye(2, dtype=np.float32)[targets]
    names = tuple(f"train/{number}" for number in range(len(images)))
    return FaceTable(names, Images(list(images)), votes, targets, LABELS, **columns)


@pytest.fixture
def detects(monkeypatch, make_detector):
    """Puts a detector of these boxes in place; "fail" one that must not be called."""

    def put(boxes):
        detector = make_detector(boxes) if boxes != "fail" else lambda _: pytest.fail("a face was searched for")
        monkeypatch.setattr(crops.catalog, "build", lambda *_, **__: detector)
        return detector

    return put


def wall(height=200, width=200, colour=False):
    """A picture without a face."""
    return np.full((height, width, 3) if colour else (height, width), 90, dtype=np.uint8)


def test_the_face_of_a_portrait_is_cut_as_the_runtime_cuts_it(portrait):
    found = find_faces(table_of(portrait), SPEC)
    (expected,) = cut_faces(portrait, mtcnn.build()(portrait), SPEC)
    np.testing.assert_array_equal(found.images[0], expected)
    assert found.images[0].shape == (48, 48, 3)
    assert found.dropped == {}


def test_a_gray_portrait_is_searched_too(portrait):
    found = find_faces(table_of(cv2.cvtColor(portrait, cv2.COLOR_RGB2GRAY)), SPEC)
    assert found.images[0].shape == (48, 48, 3)
    assert len(np.unique(found.images[0])) > 50


def test_pictures_without_a_face_are_counted_and_the_rest_keeps_its_columns(portrait):
    table = table_of(
        wall(),
        portrait,
        wall(colour=True),
        np.zeros((48, 48), dtype=np.uint8),
        valence=np.array([0.1, 0.2, 0.3, 0.4], dtype=np.float32),
        groups={"sex": np.array(["a", "b", "c", "d"])},
        landmarks_xy=np.ones((4, 5, 2), dtype=np.float32),
        dropped={"top vote": 7},
    )
    found = find_faces(table, SPEC)
    assert found.ids == ("train/1", "train/3")
    assert found.targets.tolist() == [1, 1]
    np.testing.assert_array_equal(found.votes, table.votes[[1, 3]])
    np.testing.assert_array_equal(found.valence, table.valence[[1, 3]])
    assert found.groups["sex"].tolist() == ["b", "d"]
    assert found.landmarks_xy.shape == (2, 0, 2)
    assert found.dropped == {"top vote": 7, "no face found": 2}
    assert (len(table), table.dropped, table.landmarks_xy.shape) == (4, {"top vote": 7}, (4, 5, 2))


def test_the_largest_of_several_faces_is_taken(detects):
    detects([[0, 0, 20, 20], [100, 100, 180, 180], [60, 0, 90, 30]])
    image = wall()
    image[100:180, 100:180] = 250
    (crop,) = find_faces(table_of(image), replace_spec(margin=0.5, rotate=False)).images
    assert (crop == 250).all()


def replace_spec(**changes):
    return InputSpec.model_validate(SPEC.model_dump() | changes)


@pytest.mark.parametrize("shape", [(48, 48), (KEEP_SIDE_PX, KEEP_SIDE_PX), (20, KEEP_SIDE_PX, 3), (1, 1)])
def test_pictures_of_the_size_of_faces_stay_as_they_are(detects, shape):
    detects("fail")
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    np.testing.assert_array_equal(find_faces(table_of(image), SPEC).images[0], image)


@pytest.mark.parametrize("shape", [(KEEP_SIDE_PX + 1, 40), (40, KEEP_SIDE_PX + 1), (200, 300, 3)])
def test_a_picture_that_is_larger_on_one_side_is_searched(detects, shape):
    detects([])
    found = find_faces(table_of(np.zeros(shape, dtype=np.uint8)), SPEC)
    assert (len(found), found.dropped) == (0, {"no face found": 1})


def test_a_picture_that_cannot_be_decoded_is_counted(detects, tmp_path):
    detects([[0, 0, 150, 150]])
    (tmp_path / "bad.png").write_bytes(b"no picture")
    found = find_faces(table_of(Stored(tmp_path / "bad.png"), Stored(tmp_path / "none.png"), wall()), SPEC)
    assert found.ids == ("train/2",)
    assert found.dropped == {"image cannot be decoded": 2}


def test_faces_are_searched_only_if_asked_for(portrait):
    assert cut(table_of(portrait), SPEC, search=True).images[0].shape == (48, 48, 3)
    assert cut(table_of(portrait), SPEC, search=False).images[0].shape == portrait.shape


def test_faces_beyond_what_is_kept_are_cut_again_when_they_are_asked_for(portrait, monkeypatch):
    kept = find_faces(table_of(portrait, portrait), SPEC)
    monkeypatch.setattr(crops, "KEEP_BYTES", kept.images[0].nbytes)
    cut_again = find_faces(table_of(portrait, portrait), SPEC)
    assert [isinstance(entry, np.ndarray) for entry in cut_again.images.entries] == [True, False]
    for row in range(2):
        np.testing.assert_array_equal(cut_again.images[row], kept.images[row])
