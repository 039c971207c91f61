from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from affectlens import Analyzer
from affectlens.core.errors import BadModelFile, BadSetting
from affectlens.faces.detectors import yunet

SIDE = 64
BOX = [8, -4, 40, 36]
LANDMARKS = [[16, 8], [32, 8], [24, 16], [18, 24], [30, 24]]
SCORE = 0.81


@pytest.fixture(scope="module")
def model(yunet_file):
    return yunet_file


@pytest.fixture(scope="module")
def image():
    return np.zeros((SIDE, SIDE, 3), dtype=np.uint8)


def test_a_face_comes_back_as_corners_landmarks_and_score(model, image):
    found = yunet.build(min_face_px=1, model=model)(image)
    np.testing.assert_allclose(found.boxes_xyxy, [BOX], atol=1e-3)
    np.testing.assert_allclose(found.landmarks_xy, [LANDMARKS], atol=1e-3)
    np.testing.assert_allclose(found.scores, [SCORE], atol=1e-3)
    assert not found.framed


@pytest.mark.parametrize(("min_face_px", "faces"), [(40, 1), (41, 0)])
def test_the_larger_side_of_a_box_decides_whether_it_is_too_small(model, image, min_face_px, faces):
    assert len(yunet.build(min_face_px, model)(image)) == faces


def test_a_score_below_the_threshold_gives_no_faces(model, image):
    assert len(yunet.build(1, model, score=0.9)(image)) == 0


def test_the_image_reaches_opencv_as_bgr_with_its_size_and_rows_come_back_best_first(model, monkeypatch):
    rows = np.zeros((3, 15), dtype=np.float32)
    rows[:, 2:4] = 50
    rows[:, 14] = 0.8, 0.99, 0.9
    seen = {}

    class Detector:
        def setInputSize(self, size):  # noqa: N802
            seen["size"] = size

        def detect(self, image):
            seen["pixel"] = image[0, 0].tolist()
            return 1, rows

    detect = yunet.build(1, model)
    monkeypatch.setattr(detect, "open", Detector)
    found = detect(np.full((30, 70, 3), (1, 2, 3), dtype=np.uint8))
    assert seen == {"size": (70, 30), "pixel": [3, 2, 1]}
    assert found.scores.tolist() == pytest.approx([0.99, 0.9, 0.8])


def test_several_threads_each_get_the_face(model, image):
    detect = yunet.build(1, model)
    with ThreadPoolExecutor(4) as pool:
        assert {len(found) for found in pool.map(detect, [image] * 12)} == {1}


def test_the_analyzer_takes_it_by_name_and_file(model, image):
    (face,) = Analyzer(detector=f"yunet:{model}").analyze(image).faces
    np.testing.assert_allclose(face.box_xyxy, BOX, atol=1e-3)


def test_without_a_model_file_the_message_says_how_to_name_one():
    with pytest.raises(BadSetting, match="yunet:FILE"):
        yunet.build()


def test_a_missing_model_file_is_named(tmp_path):
    with pytest.raises(BadModelFile, match=r"nowhere\.onnx"):
        yunet.build(model=tmp_path / "nowhere.onnx")


@pytest.mark.parametrize("content", [b"", b"garbage" * 100])
def test_a_file_that_is_no_network_is_refused_by_name(tmp_path, content):
    file = tmp_path / "garbage.onnx"
    file.write_bytes(content)
    with pytest.raises(BadModelFile, match=r"garbage\.onnx"):
        yunet.build(model=file)


def test_a_network_of_another_kind_is_refused_by_name(write_model, tmp_path):
    with pytest.raises(BadModelFile, match=r"tiny\.onnx"):
        yunet.build(model=write_model(tmp_path / "tiny.onnx"))


def test_a_smallest_face_below_one_pixel_is_refused(model):
    with pytest.raises(BadSetting, match="0"):
        yunet.build(min_face_px=0, model=model)


@pytest.mark.parametrize("settings", [{"score": 1.5}, {"score": -0.1}, {"overlap": 1.5}, {"overlap": -1.0}])
def test_a_score_or_overlap_out_of_range_is_refused(model, settings):
    with pytest.raises(BadSetting, match=str(next(iter(settings.values())))):
        yunet.build(model=model, **settings)


def test_opencv_has_the_detector_that_this_file_wraps():
    assert hasattr(cv2, "FaceDetectorYN")
