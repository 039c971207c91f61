import numpy as np
import pytest

from affectlens.faces.detectors import whole


@pytest.mark.parametrize("shape", [(48, 48, 3), (30, 70, 3), (1, 1, 3)])
def test_the_whole_image_is_one_framed_face_with_score_one(shape):
    found = whole.build()(np.zeros(shape, dtype=np.uint8))
    assert found.boxes_xyxy.tolist() == [[0, 0, shape[1], shape[0]]]
    assert found.scores.tolist() == [1]
    assert found.framed


def test_there_are_no_landmarks():
    assert np.isnan(whole.build()(np.zeros((9, 9, 3), dtype=np.uint8)).landmarks_xy).all()


def test_the_smallest_face_has_no_effect():
    assert len(whole.build(min_face_px=500)(np.zeros((9, 9, 3), dtype=np.uint8))) == 1
