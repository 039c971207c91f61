import math
from dataclasses import replace

import cv2
import numpy as np
import pytest

from affectlens import Analyzer
from affectlens.core import quality
from affectlens.core.detection import Detections
from affectlens.core.quality import pose_deg, qualities
from affectlens.core.reasons import Flaw

NONE = np.full((1, 5, 2), np.nan, dtype=np.float32)


def measured(crop, box=(10, 10, 60, 60), size=(100, 100), points=NONE):
    found = Detections(np.array([box], dtype=np.float32), points, np.ones(1, dtype=np.float32))
    return qualities([crop], found, size)[0]


@pytest.fixture
def face(portrait):
    return cv2.resize(portrait[40:190, 170:280], (48, 48), interpolation=cv2.INTER_AREA)


def turned(yaw, pitch, roll):
    """Rotation of a frontal face: roll, then pitch, then yaw; x to the right, y down, z towards the camera."""
    y, p, r = np.radians([yaw, pitch, roll])
    about_y = np.array([[math.cos(y), 0, math.sin(y)], [0, 1, 0], [-math.sin(y), 0, math.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, math.cos(p), math.sin(p)], [0, -math.sin(p), math.cos(p)]])
    about_z = np.array([[math.cos(r), -math.sin(r), 0], [math.sin(r), math.cos(r), 0], [0, 0, 1]])
    return about_y @ about_x @ about_z


@pytest.mark.parametrize("angles", [(0, 0, 0), (35, 0, 0), (0, -25, 0), (0, 0, 40), (-40, 15, -20), (60, 30, 10)])
def test_the_pose_of_a_turned_average_face_is_found(angles):
    points = (turned(*angles) @ quality._FACE_MM.T).T[:, :2] * 0.7 + [300, 200]
    np.testing.assert_allclose(pose_deg(points), angles, atol=1e-6)


def test_a_mirrored_face_looks_the_other_way(analyzer, portrait):
    (seen,), (mirrored,) = (analyzer.analyze(np.ascontiguousarray(p)).faces for p in (portrait, portrait[:, ::-1]))
    assert mirrored.quality.yaw_deg == pytest.approx(-seen.quality.yaw_deg, abs=4)
    assert mirrored.quality.pitch_deg == pytest.approx(seen.quality.pitch_deg, abs=4)


def test_without_landmarks_there_is_no_pose(face):
    seen = measured(face)
    assert all(math.isnan(angle) for angle in (seen.yaw_deg, seen.pitch_deg, seen.roll_deg))
    assert seen.flaws == ()


def test_light_and_contrast_are_those_of_the_crop():
    crop = np.zeros((48, 48), dtype=np.uint8)
    crop[:, 12:] = 255
    seen = measured(crop)
    assert seen.brightness == pytest.approx(0.75)
    assert seen.contrast == pytest.approx(math.sqrt(0.25 * 0.75))
    assert seen.overexposed == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("box", "size_px", "inside"),
    [
        ((10, 20, 40, 80), 60, 1.0),
        ((-20, 20, 20, 60), 40, 0.5),
        ((80, 80, 120, 120), 40, 0.25),
        ((-50, -50, -10, -10), 40, 0.0),
        ((10, 10, 10, 10), 0, 0.0),
    ],
)
def test_size_and_share_are_those_of_the_box(face, box, size_px, inside):
    seen = measured(face, box)
    assert (seen.size_px, seen.inside) == pytest.approx((size_px, inside))


@pytest.mark.parametrize(
    ("flaw", "corrupt"),
    [
        (Flaw.BLURRED, lambda face: cv2.GaussianBlur(face, (0, 0), 2)),
        (Flaw.BLURRED, lambda face: cv2.resize(cv2.resize(face, (10, 10)), (48, 48))),
        (Flaw.DARK, lambda face: (face * 0.03).astype(np.uint8)),
        (Flaw.OVEREXPOSED, lambda face: np.clip(face.astype(int) * 4, 0, 255).astype(np.uint8)),
        (Flaw.FLAT, lambda face: (face * 0.03 + 120).astype(np.uint8)),
    ],
)
def test_a_spoilt_face_has_its_flaw_and_the_face_itself_none(face, flaw, corrupt):
    assert measured(face).flaws == ()
    assert flaw in measured(corrupt(face)).flaws


@pytest.mark.parametrize(
    ("measure", "limit", "beyond", "flaw"),
    [
        ("size_px", 24, 23.9, Flaw.SMALL),
        ("inside", 0.85, 0.849, Flaw.CUT_OFF),
        ("sharpness", 0.2, 0.199, Flaw.BLURRED),
        ("brightness", 0.03, 0.029, Flaw.DARK),
        ("overexposed", 0.5, 0.501, Flaw.OVEREXPOSED),
        ("contrast", 0.015, 0.0149, Flaw.FLAT),
        ("yaw_deg", 45, -45.1, Flaw.TURNED),
        ("pitch_deg", -40, 40.1, Flaw.TURNED),
    ],
)
def test_a_flaw_begins_beyond_its_limit(measure, limit, beyond, flaw):
    good = quality.Quality(48, 1, 1, 0.5, 0.2, 0, 0, 0, 0)
    assert replace(good, **{measure: limit}).flaws == ()
    assert replace(good, **{measure: beyond}).flaws == (flaw,)


def test_boxes_and_poses_have_their_flaws(face):
    assert measured(face, (10, 10, 30, 30)).flaws == (Flaw.SMALL,)
    assert measured(face, (-20, 10, 40, 70)).flaws == (Flaw.CUT_OFF,)
    points = ((turned(55, 0, 0) @ quality._FACE_MM.T).T[None, :, :2] + 50).astype(np.float32)
    assert measured(face, points=points).flaws == (Flaw.TURNED,)


def test_gray_and_colour_and_every_size_are_measured_alike(face):
    gray = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)
    large = cv2.resize(gray, (96, 96), interpolation=cv2.INTER_NEAREST)
    assert repr(measured(gray)) == repr(measured(face))  # NaN is not equal to itself
    assert measured(large).sharpness == pytest.approx(measured(gray).sharpness)


def test_a_crop_of_one_colour_has_no_edges():
    assert measured(np.full((48, 48), 90, dtype=np.uint8)).sharpness == 0


def test_every_face_of_a_photo_says_how_it_can_be_seen(analyzer, portrait):
    (seen,) = analyzer.analyze(portrait).faces
    assert seen.quality.size_px == pytest.approx(110, abs=5)
    assert seen.quality.flaws == ()
    small = cv2.resize(portrait, None, fx=0.15, fy=0.15, interpolation=cv2.INTER_AREA)
    (tiny,) = Analyzer(min_face_px=14).analyze(small).faces
    assert Flaw.SMALL in tiny.quality.flaws
