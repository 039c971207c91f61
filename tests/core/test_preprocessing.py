import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError

from affectlens.core.preprocessing import InputSpec, normalise, resize, to_channels, to_input

GRAY = InputSpec(size_px=16, channels="gray", mean=(0.5,), std=(0.25,), rotate=False, margin=1, shift_y=0)
RGB = InputSpec(
    size_px=24, channels="rgb", mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3), rotate=True, margin=1.2, shift_y=0.1
)
SPECS = pytest.mark.parametrize("spec", [GRAY, RGB], ids=["gray", "rgb"])

SIDES = st.integers(1, 40)
SHAPES = st.tuples(SIDES, SIDES) | st.tuples(SIDES, SIDES, st.just(3))
CROPS = st.lists(arrays(np.uint8, SHAPES), min_size=1, max_size=3)


@SPECS
@settings(deadline=None, max_examples=50)
@given(crops=CROPS)
def test_any_crops_become_one_contiguous_batch_within_the_range_of_the_spec(spec, crops):
    batch = to_input(crops, spec)
    assert batch.shape == (len(crops), spec.channel_count, spec.size_px, spec.size_px)
    assert batch.dtype == np.float32
    assert batch.flags.c_contiguous
    lowest = (0 - np.array(spec.mean)) / spec.std
    highest = (1 - np.array(spec.mean)) / spec.std
    assert (batch.min(axis=(0, 2, 3)) >= lowest - 1e-4).all()
    assert (batch.max(axis=(0, 2, 3)) <= highest + 1e-4).all()


@SPECS
def test_no_crops_become_an_empty_batch(spec):
    assert to_input([], spec).shape == (0, spec.channel_count, spec.size_px, spec.size_px)


@settings(deadline=None, max_examples=50)
@given(image=arrays(np.uint8, st.tuples(SIDES, SIDES, st.just(3))))
def test_gray_is_the_luma_of_bt_601(image):
    luma = image @ np.array([0.299, 0.587, 0.114])
    assert np.abs(to_channels(image, GRAY)[..., 0] - luma).max() < 0.52


def test_gray_input_is_repeated_for_an_rgb_model():
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert (to_channels(image, RGB) == image[..., None]).all()


def test_rgb_keeps_its_order():
    image = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    np.testing.assert_array_equal(to_channels(image, RGB), image)


@settings(deadline=None, max_examples=20)
@given(batch=arrays(np.uint8, (2, 3, 4, 3)))
def test_normalise_matches_a_naive_loop(batch):
    expected = np.empty((2, 3, 3, 4))
    for n, row, column, channel in np.ndindex(batch.shape):
        value = int(batch[n, row, column, channel]) / 255
        expected[n, channel, row, column] = (value - RGB.mean[channel]) / RGB.std[channel]
    np.testing.assert_allclose(normalise(batch, RGB), expected, atol=1e-5)


def test_an_image_of_the_right_size_is_not_resampled():
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    assert resize(image, 16) is image


@pytest.mark.parametrize("side", [1, 7, 16, 33, 200])
def test_resizing_a_flat_image_keeps_its_tone(side):
    flat = np.full((side, side, 1), 93, dtype=np.uint8)
    assert (resize(flat, 16) == 93).all()


def test_shrinking_averages_areas():
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 1), dtype=np.uint8)
    means = image.reshape(16, 2, 16, 2).mean(axis=(1, 3))
    assert np.abs(resize(image, 16)[..., 0] - means).max() <= 0.5


@pytest.mark.parametrize(
    "changes",
    [
        {"size_px": 0},
        {"channels": "bgr"},
        {"margin": 0},
        {"shift_y": 2},
        {"mean": (0.5, 0.5, 0.5)},
        {"std": (0.25, 0.25)},
        {"std": (0.0,)},
        {"sise_px": 48},
    ],
)
def test_a_spec_that_makes_no_sense_is_refused(changes):
    with pytest.raises(ValidationError):
        InputSpec.model_validate(GRAY.model_dump() | changes)


@SPECS
@pytest.mark.parametrize(
    ("low", "high", "mean", "deviation"),
    [(0, 30, 0.3, 0.12), (225, 256, 0.7, 0.12), (100, 120, None, 0.12), (40, 60, 0.3, 0.12)],
    ids=["dark", "light", "flat", "dark and flat"],
)
def test_faces_in_an_unusual_light_are_brought_into_the_usual_range(spec, low, high, mean, deviation):
    spec = spec.model_copy(update={"relight": True, "size_px": 16})
    face = np.random.default_rng(0).integers(low, high, (16, 16), dtype=np.uint8)
    scale, zero = (np.array(values)[:, None, None] for values in (spec.std, spec.mean))
    (seen,) = to_input([face], spec) * scale + zero
    assert seen.mean() == pytest.approx(face.mean() / 255 if mean is None else mean, abs=1e-5)
    assert seen.std() == pytest.approx(deviation, abs=1e-5)
    assert np.corrcoef(seen[0].ravel(), face.ravel())[0, 1] > 0.9999


@SPECS
def test_faces_in_a_usual_light_stay_as_they_are(spec):
    face = np.random.default_rng(0).integers(40, 220, (16, 16), dtype=np.uint8)
    spec = spec.model_copy(update={"size_px": 16})
    relit = spec.model_copy(update={"relight": True, "size_px": 16})
    np.testing.assert_allclose(to_input([face], relit), to_input([face], spec), atol=1e-5)


def test_harsh_faces_are_softened():
    face = np.zeros((16, 16), dtype=np.uint8)
    face[:8] = 255
    seen = to_input([face], GRAY.model_copy(update={"relight": True, "size_px": 16})) * GRAY.std[0] + GRAY.mean[0]
    assert np.unique(seen.round(4)) == pytest.approx([0.18, 0.82])


def test_a_face_of_one_tone_has_no_contrast_to_raise():
    seen = to_input([np.full((16, 16), 220, dtype=np.uint8)], GRAY.model_copy(update={"relight": True, "size_px": 16}))
    np.testing.assert_allclose(seen * GRAY.std[0] + GRAY.mean[0], 0.7, atol=1e-4)


def test_channels_keep_their_colour_in_another_light():
    spec = RGB.model_copy(update={"relight": True, "size_px": 16})
    red = np.zeros((16, 16, 3), dtype=np.uint8)
    red[:8, :, 0] = 60
    batch = to_input([red], spec)[0]
    assert batch[0, :8].min() > batch[0, 8:].max() + 0.5
    assert np.ptp(batch[0, 8:] * spec.std[0] + spec.mean[0] - (batch[2, 8:] * spec.std[2] + spec.mean[2])) < 1e-5
