import numpy as np
import pytest

from affectlens.core.detection import LANDMARKS, Detections, no_faces
from affectlens.core.errors import BadSetting


def detections(boxes, landmarks, scores):
    return Detections(*(np.zeros(shape, dtype=np.float32) for shape in (boxes, landmarks, scores)))


def test_length_is_the_number_of_faces():
    assert len(detections((3, 4), (3, 5, 2), (3,))) == 3


@pytest.mark.parametrize(
    ("boxes", "landmarks", "scores"),
    [((2, 4), (3, 5, 2), (3,)), ((3, 5), (3, 5, 2), (3,)), ((3, 4), (3, 10), (3,)), ((3, 4), (3, 5, 2), (2,))],
)
def test_arrays_that_do_not_belong_together_are_refused(boxes, landmarks, scores):
    with pytest.raises(BadSetting, match="faces need boxes"):
        detections(boxes, landmarks, scores)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_boxes_that_are_not_finite_are_refused(bad):
    boxes = np.zeros((2, 4), dtype=np.float32)
    boxes[1, 2] = bad
    with pytest.raises(BadSetting, match="finite boxes"):
        Detections(boxes, np.zeros((2, 5, 2), dtype=np.float32), np.ones(2, dtype=np.float32))


@pytest.mark.parametrize("score", [-0.1, 1.1, np.nan, np.inf])
def test_scores_beyond_zero_and_one_are_refused(score):
    scores = np.array([1, score], dtype=np.float32)
    with pytest.raises(BadSetting, match=r"scores in \[0, 1\]"):
        Detections(np.zeros((2, 4), dtype=np.float32), np.zeros((2, 5, 2), dtype=np.float32), scores)


def test_lists_and_other_numbers_become_float32():
    found = Detections([[1, 2, 3, 4]], np.zeros((1, 5, 2)), [1])
    assert {array.dtype for array in (found.boxes_xyxy, found.landmarks_xy, found.scores)} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    ("boxes", "scores", "message"),
    [
        (None, [], r"detections of 0 faces need boxes \(0, 4\)"),
        ([["left", 2, 3, 4]], [1], "boxes_xyxy of detections must be an array of numbers"),
        ([[1, 2, 3, 4]], 1, r"scores of detections must have the shape \(faces,\), got \(\)"),
    ],
)
def test_what_is_no_array_of_numbers_is_refused(boxes, scores, message):
    with pytest.raises(BadSetting, match=message):
        Detections(boxes, np.zeros((1, 5, 2)), scores)


def test_landmarks_may_be_missing():
    missing = np.full((1, 5, 2), np.nan, dtype=np.float32)
    assert len(Detections(np.zeros((1, 4), dtype=np.float32), missing, np.zeros(1, dtype=np.float32))) == 1


def test_no_faces_is_empty_and_well_formed():
    assert len(no_faces()) == 0
    assert no_faces().landmarks_xy.shape == (0, len(LANDMARKS), 2)
