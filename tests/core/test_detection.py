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


def test_no_faces_is_empty_and_well_formed():
    assert len(no_faces()) == 0
    assert no_faces().landmarks_xy.shape == (0, len(LANDMARKS), 2)
