import cv2
import numpy as np
import pytest

from affectlens.core.detection import Detections
from affectlens.core.preprocessing import InputSpec
from affectlens.faces.align import by_eyes, cut_by_eyes, cut_faces, eye_angle_rad

SIZE = 64


def spec(**changes):
    facts = {"size_px": SIZE, "channels": "gray", "mean": (0.0,), "std": (1.0,)}
    return InputSpec(**(facts | {"rotate": True, "margin": 1.0, "shift_y": 0.0} | changes))


def one_face(box, eyes=None, framed=False):
    landmarks = np.full((1, 5, 2), np.nan, dtype=np.float32)
    if eyes is not None:
        landmarks[0, :2] = eyes
    return Detections(np.array([box], dtype=np.float32), landmarks, np.ones(1, dtype=np.float32), framed)


def smooth_picture(height=300, width=400, seed=0):
    """Soft random colours, so that half a pixel of shift changes little and five pixels change much."""
    noise = np.random.default_rng(seed).integers(0, 256, (height // 10, width // 10, 3), dtype=np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def eyes_picture(angle_deg, centre=(200, 150), distance=80):
    """A gray picture with two dark dots on a line at `angle_deg`, and where the dots are."""
    picture = np.full((300, 400, 3), 200, dtype=np.uint8)
    half = distance / 2 * np.array([np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))])
    eyes = np.array([centre - half, centre + half], dtype=np.float32)
    for x, y in eyes:
        cv2.circle(picture, (round(float(x)), round(float(y))), 9, (0, 0, 0), -1, cv2.LINE_AA)
    return picture, eyes


def dots(crop):
    """Centres (x, y) of the dark dots, left to right."""
    dark = (crop[..., 0] < 100).astype(np.uint8)
    _, _, _, centres = cv2.connectedComponentsWithStats(dark)
    return centres[1:][np.argsort(centres[1:, 0])]


def difference(a, b):
    return np.abs(a.astype(float) - b.astype(float)).mean()


def test_a_box_of_the_final_size_comes_back_pixel_for_pixel():
    picture = smooth_picture()
    (crop,) = cut_faces(picture, one_face([100, 50, 100 + SIZE, 50 + SIZE]), spec())
    np.testing.assert_array_equal(crop, picture[50 : 50 + SIZE, 100 : 100 + SIZE])


@pytest.mark.parametrize("side", [32, 100, 128, 200])
def test_an_upright_crop_with_margin_one_is_the_box_resized(side):
    picture = smooth_picture()
    (crop,) = cut_faces(picture, one_face([90, 40, 90 + side, 40 + side]), spec())
    inside = picture[40 : 40 + side, 90 : 90 + side]
    expected = cv2.resize(inside, (SIZE, SIZE), interpolation=cv2.INTER_AREA if side > SIZE else cv2.INTER_LINEAR)
    assert crop.shape == (SIZE, SIZE, 3)
    assert crop.dtype == np.uint8
    assert difference(crop, expected) < 2


def test_an_oblong_box_is_widened_to_its_larger_side_around_its_centre():
    picture = smooth_picture()
    (tall,) = cut_faces(picture, one_face([150, 100, 190, 200]), spec())
    (square,) = cut_faces(picture, one_face([120, 100, 220, 200]), spec())
    np.testing.assert_array_equal(tall, square)


def test_margin_two_shows_twice_the_side():
    picture = smooth_picture()
    (crop,) = cut_faces(picture, one_face([150, 100, 214, 164]), spec(margin=2))
    (expected,) = cut_faces(picture, one_face([118, 68, 246, 196]), spec())
    np.testing.assert_array_equal(crop, expected)


def test_shift_y_moves_the_crop_down_by_that_share_of_the_box():
    picture = smooth_picture()
    (crop,) = cut_faces(picture, one_face([150, 100, 214, 164]), spec(shift_y=0.25))
    np.testing.assert_array_equal(crop, picture[116:180, 150:214])


@pytest.mark.parametrize("angle_deg", [-60, -20, 0, 10, 45, 80])
def test_a_turned_face_comes_back_level(angle_deg):
    picture, eyes = eyes_picture(angle_deg)
    (crop,) = cut_faces(picture, one_face([140, 90, 260, 210], eyes), spec())
    left, right = dots(crop)
    assert abs(left[1] - right[1]) < 1
    assert right[0] - left[0] == pytest.approx(80 * SIZE / 120, abs=1)
    assert (left + right) / 2 == pytest.approx([(SIZE - 1) / 2] * 2, abs=1)


def test_a_face_upside_down_comes_back_upright():
    picture, eyes = eyes_picture(180)
    picture[:, 200:] //= 2
    (crop,) = cut_faces(picture, one_face([140, 90, 260, 210], eyes), spec())
    assert crop[-1, 0, 0] < crop[-1, -1, 0]


def test_without_rotate_the_face_stays_as_turned_as_it_was():
    picture, eyes = eyes_picture(45)
    (crop,) = cut_faces(picture, one_face([140, 90, 260, 210], eyes), spec(rotate=False))
    left, right = dots(crop)
    assert right[1] - left[1] == pytest.approx(right[0] - left[0], abs=1)


def test_shift_y_follows_the_turned_face():
    picture, eyes = eyes_picture(90)
    (crop,) = cut_faces(picture, one_face([140, 90, 260, 210], eyes), spec(shift_y=0.25))
    left, right = dots(crop)
    assert left[1] == pytest.approx(right[1], abs=1)
    assert left[1] == pytest.approx((SIZE - 1) / 2 - SIZE / 4, abs=1)


@pytest.mark.parametrize(
    ("box", "colour"),
    [([-300, 100, -200, 200], "left"), ([600, 100, 700, 200], "right")],
)
def test_outside_the_image_the_nearest_edge_repeats(box, colour):
    picture = np.zeros((300, 400, 3), dtype=np.uint8)
    picture[:, 0] = (10, 20, 30)
    picture[:, -1] = (40, 50, 60)
    (crop,) = cut_faces(picture, one_face(box), spec())
    assert (crop == ((10, 20, 30) if colour == "left" else (40, 50, 60))).all()


def test_a_framed_face_is_the_inside_of_its_box_as_it_is():
    picture, eyes = eyes_picture(45)
    (crop,) = cut_faces(picture, one_face([30, 20, 130, 220], eyes, framed=True), spec(margin=2, shift_y=0.5))
    np.testing.assert_array_equal(crop, picture[20:220, 30:130])


def test_a_framed_box_beyond_the_image_is_cut_at_its_border():
    picture = smooth_picture()
    (crop,) = cut_faces(picture, one_face([-20, -10, 500, 400], framed=True), spec())
    np.testing.assert_array_equal(crop, picture)


def test_a_box_without_extent_still_gives_a_crop_of_the_right_size():
    (crop,) = cut_faces(smooth_picture(), one_face([50, 50, 50, 50]), spec())
    assert crop.shape == (SIZE, SIZE, 3)


def test_each_face_gets_its_own_crop_in_order():
    picture = smooth_picture()
    boxes = np.array([[10, 10, 74, 74], [100, 50, 164, 114]], dtype=np.float32)
    faces = Detections(boxes, np.full((2, 5, 2), np.nan, np.float32), np.array([0.5, 0.9], np.float32))
    first, second = cut_faces(picture, faces, spec())
    np.testing.assert_array_equal(first, picture[10:74, 10:74])
    np.testing.assert_array_equal(second, picture[50:114, 100:164])


def test_the_image_is_left_untouched():
    picture, eyes = eyes_picture(30)
    before = picture.copy()
    cut_faces(picture, one_face([140, 90, 260, 210], eyes), spec())
    np.testing.assert_array_equal(picture, before)


@pytest.mark.parametrize("angle_deg", [-135, -30, 0, 30, 135])
def test_the_eye_angle_is_that_of_the_line_from_left_to_right(angle_deg):
    _, eyes = eyes_picture(angle_deg)
    assert np.rad2deg(eye_angle_rad(eyes)) == pytest.approx(angle_deg, abs=1e-3)


def test_without_landmarks_the_eye_angle_is_zero():
    assert eye_angle_rad(np.array([[10, 20], [np.nan, np.nan]], dtype=np.float32)) == 0


@pytest.mark.parametrize("angle", [-30, 0, 20])
def test_by_the_eyes_the_face_is_level_at_the_wanted_scale_and_height(angle):
    picture, eyes = eyes_picture(angle, distance=60)
    wanted = spec(eye_distance=0.4, eye_height=0.35)
    crop = cut_by_eyes(picture, eyes, wanted)
    assert crop.shape == (SIZE, SIZE, 3)
    expected = SIZE * np.array([[0.3, 0.35], [0.7, 0.35]])
    np.testing.assert_allclose(dots(crop), expected - 0.5, atol=0.8)
    np.testing.assert_allclose(by_eyes(eyes, eyes, wanted), expected, atol=1e-3)
    (same,) = cut_faces(picture, one_face([0, 0, 9, 9], eyes), wanted)
    np.testing.assert_array_equal(same, crop)


def test_landmarks_move_with_the_face():
    picture, eyes = eyes_picture(25, distance=60)
    mouth = eyes.mean(axis=0) + 70 * np.array([-np.sin(np.deg2rad(25)), np.cos(np.deg2rad(25))])
    cv2.circle(picture, tuple(int(value) for value in mouth.round()), 9, (0, 0, 0), -1, cv2.LINE_AA)
    wanted = spec(eye_distance=0.3, eye_height=0.3)
    points = np.concatenate([eyes, mouth[None]]).astype(np.float32)
    moved = by_eyes(points, eyes, wanted)
    seen = dots(cut_by_eyes(picture, eyes, wanted))
    np.testing.assert_allclose(moved[np.argsort(moved[:, 0])] - 0.5, seen, atol=0.8)


@pytest.mark.parametrize("eyes", [None, [[30, 30], [30, 30]]])
def test_a_face_without_eyes_is_cut_by_its_box(eyes):
    picture = smooth_picture()
    face = one_face([100, 50, 100 + SIZE, 50 + SIZE], eyes)
    (crop,) = cut_faces(picture, face, spec(eye_distance=0.4))
    np.testing.assert_array_equal(crop, picture[50 : 50 + SIZE, 100 : 100 + SIZE])
