import cv2
import numpy as np
import pytest

from affectlens.core.preprocessing import InputSpec
from affectlens.data import crops
from affectlens.data.crops import cut
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
    found = cut(table_of(portrait), SPEC, search=True)
    (expected,) = cut_faces(portrait, mtcnn.build()(portrait), SPEC)
    np.testing.assert_array_equal(found.images[0], expected)
    assert found.images[0].shape == (48, 48, 3)
    assert found.dropped == {}


def test_a_gray_portrait_is_searched_too(portrait):
    found = cut(table_of(cv2.cvtColor(portrait, cv2.COLOR_RGB2GRAY)), SPEC, search=True)
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
    found = cut(table, SPEC, search=True)
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
    (crop,) = cut(table_of(image), replace_spec(margin=0.5, rotate=False), search=True).images
    assert (crop == 250).all()


def replace_spec(**changes):
    return InputSpec.model_validate(SPEC.model_dump() | changes)


@pytest.mark.parametrize("shape", [(48, 48), (KEEP_SIDE_PX, KEEP_SIDE_PX), (20, KEEP_SIDE_PX, 3), (1, 1)])
def test_pictures_of_the_size_of_faces_stay_as_they_are(detects, shape):
    detects("fail")
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    np.testing.assert_array_equal(cut(table_of(image), SPEC, search=True).images[0], image)


@pytest.mark.parametrize("shape", [(KEEP_SIDE_PX + 1, 40), (40, KEEP_SIDE_PX + 1), (200, 300, 3)])
def test_a_picture_that_is_larger_on_one_side_is_searched(detects, shape):
    detects([])
    found = cut(table_of(np.zeros(shape, dtype=np.uint8)), SPEC, search=True)
    assert (len(found), found.dropped) == (0, {"no face found": 1})


def test_a_picture_that_cannot_be_decoded_is_counted(detects, tmp_path):
    detects([[0, 0, 150, 150]])
    (tmp_path / "bad.png").write_bytes(b"no picture")
    found = cut(table_of(Stored(tmp_path / "bad.png"), Stored(tmp_path / "none.png"), wall()), SPEC, search=True)
    assert found.ids == ("train/2",)
    assert found.dropped == {"image cannot be decoded": 2}


def test_faces_are_searched_only_if_asked_for(portrait):
    assert cut(table_of(portrait), SPEC, search=True).images[0].shape == (48, 48, 3)
    assert cut(table_of(portrait), SPEC, search=False).images[0].shape == portrait.shape


def test_faces_beyond_what_is_kept_are_cut_again_when_they_are_asked_for(portrait, monkeypatch):
    kept = cut(table_of(portrait, portrait), SPEC, search=True)
    monkeypatch.setattr(crops, "KEEP_BYTES", kept.images[0].nbytes)
    cut_again = cut(table_of(portrait, portrait), SPEC, search=True)
    assert [isinstance(entry, np.ndarray) for entry in cut_again.images.entries] == [True, False]
    for row in range(2):
        np.testing.assert_array_equal(cut_again.images[row], kept.images[row])


def full_frame(portrait, height=490, width=640):
    """The portrait in a larger gray picture, as CK+'s frames are."""
    frame = np.full((height, width, 3), 128, dtype=np.uint8)
    frame[20:410, 130:520] = cv2.resize(portrait, (390, 390), interpolation=cv2.INTER_AREA)
    return frame


def test_only_rows_that_ask_for_it_are_searched(portrait):
    """A part of full frames beside one of faces: the latter may be larger than `KEEP_SIDE_PX` and show no face."""
    frame, face = full_frame(portrait), wall(224, 224, colour=True)
    landmarks = np.full((3, 5, 2), 7, dtype=np.float32)
    table = table_of(face, frame, frame, find_face=np.array([False, True, False]), landmarks_xy=landmarks)
    found = cut(table, SPEC, search=False)
    assert found.ids == table.ids
    assert [image.shape for image in found.images] == [(224, 224, 3), (48, 48, 3), (490, 640, 3)]
    (expected,) = cut_faces(frame, mtcnn.build()(frame), SPEC)
    np.testing.assert_array_equal(found.images[1], expected)
    assert np.isfinite(found.landmarks_xy).all(axis=(1, 2)).tolist() == [True, False, True]
    assert not found.find_face.any()
    assert cut(table, SPEC, search=True).dropped == {"no face found": 1}


def test_a_row_that_asks_for_it_and_has_no_face_is_counted():
    found = cut(table_of(wall(), wall(), find_face=np.array([True, False])), SPEC, search=False)
    assert (found.ids, found.dropped) == (("train/1",), {"no face found": 1})


def test_faces_beside_those_to_be_found_are_aligned(portrait, caplog):
    spec = replace_spec(eye_distance=0.4, rotate=False)
    frame = full_frame(portrait)
    face = mtcnn.build()(portrait)
    landmarks = np.full((2, 5, 2), np.nan, dtype=np.float32)
    landmarks[0] = face.landmarks_xy[0][:5]
    table = table_of(portrait, frame, find_face=np.array([False, True]), landmarks_xy=landmarks)
    found = cut(table, spec, search=False)
    assert [image.shape for image in found.images] == [(48, 48, 3), (48, 48, 3)]
    assert "not aligned" not in caplog.text
    difference = np.abs(found.images[0].astype(int) - found.images[1].astype(int)).mean()
    assert difference < 12  # the same face, by its eyes
