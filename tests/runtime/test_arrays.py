from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from affectlens.core.errors import BadSetting, UnreadableMedia
from affectlens.core.reasons import Reason
from affectlens.runtime.arrays import ArrayFrames, as_rgb

RGB = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)


def test_rgb_is_not_copied_and_bgr_is_turned():
    assert as_rgb(RGB) is RGB
    np.testing.assert_array_equal(as_rgb(RGB, "bgr"), RGB[..., ::-1])
    np.testing.assert_array_equal(as_rgb(RGB[:, ::-1], "bgr"), RGB[:, ::-1, ::-1])


@pytest.mark.parametrize("colour", ["rgb", "bgr"])
def test_gray_has_three_equal_channels(colour):
    np.testing.assert_array_equal(as_rgb(RGB[..., 0], colour), np.dstack([RGB[..., 0]] * 3))


@pytest.mark.parametrize(
    ("image", "complaint"),
    [
        (RGB.astype(np.float32), "expected .* got shape .* and dtype float32"),
        (RGB[..., :1], r"got shape \(2, 3, 1\)"),
        (np.zeros((2, 3, 4), np.uint8), r"got shape \(2, 3, 4\)"),
        (np.zeros(3, np.uint8), r"got shape \(3,\)"),
        (np.zeros((2, 0, 3), np.uint8), "no pixels"),
        ([[1, 2]], "got list"),
    ],
)
def test_what_is_no_image_is_refused_in_one_line(image, complaint):
    with pytest.raises(BadSetting, match=complaint) as refused:
        as_rgb(image)
    assert "\n" not in str(refused.value)


def frames_of(arrays, **options):
    return [(frame.number, frame.time_s, frame.image) for frame in ArrayFrames(arrays, **options)]


def test_arrays_with_a_rate_are_evenly_spaced():
    for arrays in ([RGB] * 3, (RGB for _ in range(3)), np.stack([RGB] * 3)):
        found = frames_of(arrays, frame_rate=4)
        assert [(number, time_s) for number, time_s, _ in found] == [(0, 0.0), (1, 0.25), (2, 0.5)]
        for _, _, image in found:
            np.testing.assert_array_equal(image, RGB)


def test_pairs_have_their_own_times():
    (_, first_s, image), (number, second_s, _) = frames_of([(RGB, 7), (RGB, 7.5)], colour="bgr")
    assert (first_s, number, second_s) == (7.0, 1, 7.5)
    np.testing.assert_array_equal(image, RGB[..., ::-1])


@pytest.mark.parametrize(
    ("arrays", "options", "complaint"),
    [
        (RGB, {"frame_rate": 5}, "a single image"),
        (RGB[..., 0], {"frame_rate": 5}, "a single image"),
        (7, {}, "got int"),
        ([RGB], {}, "arrays without frame_rate"),
        ([(RGB, 0.0)], {"frame_rate": 5}, "pairs and frame_rate"),
        ([RGB], {"frame_rate": 0}, "> 0, got 0"),
        ([RGB], {"frame_rate": float("inf")}, "> 0, got inf"),
        ([RGB], {"colour": "lab"}, "got 'lab'"),
        ([(RGB, 1.0), (RGB, 0.5)], {}, "must not decrease: got 0.5 s after 1 s"),
        ([(RGB, float("nan"))], {}, "finite"),
        ([(RGB, None)], {}, "finite number of seconds, got None"),
        ([(RGB, "1")], {}, "finite number of seconds, got '1'"),
        ([RGB], {"frame_rate": "30"}, "finite number > 0, got '30'"),
        (["a.jpg"], {"frame_rate": 5}, "got the path 'a.jpg'; use analyses_of for lists of paths"),
        ([Path("a.jpg"), Path("b.jpg")], {}, "got the path 'a.jpg'"),
        (("a.mp4", "b.mp4"), {}, "got the path 'a.mp4'"),
        ([RGB.tolist()], {"frame_rate": 5}, "got list"),
    ],
)
def test_what_are_no_frames_is_refused(arrays, options, complaint):
    with pytest.raises(BadSetting, match=complaint):
        frames_of(arrays, **options)


def test_numbers_of_other_types_are_times_and_rates():
    pairs = [(RGB, np.float32(0.5)), (RGB, np.int64(1)), (RGB, Decimal("1.5"))]
    assert [(time_s, type(time_s)) for _, time_s, _ in frames_of(pairs)] == [(0.5, float), (1, float), (1.5, float)]
    assert [time_s for _, time_s, _ in frames_of([RGB] * 2, frame_rate=np.int64(4))] == [0, 0.25]


@pytest.mark.parametrize("arrays", [[], iter(())])
def test_no_frames_are_told_as_a_file_without_frames_tells_it(arrays):
    with pytest.raises(UnreadableMedia) as refused:
        frames_of(arrays)
    assert refused.value.reason == Reason.NO_FRAMES
