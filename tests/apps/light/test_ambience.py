import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectlens.apps.light.ambience import Ambience
from affectlens.apps.light.palette import Palette, linear

SLOW = Palette(colours={"cold": (0, 0, 255)}, nobody=(255, 0, 0), warmth=0, time_constant_s=2.0)


@pytest.fixture
def cold(make_face):
    return [make_face({"cold": 1.0}, valence=None, arousal=1.0)]


@pytest.mark.parametrize("fps", [3, 30, 200])
def test_the_time_constant_is_that_of_the_palette_at_any_frame_rate(cold, fps):
    ambience = Ambience(SLOW)
    for frame in range(2 * fps + 1):
        light = ambience(cold, frame / fps)
    gone = 1 - np.exp(-1)
    assert light.brightness == pytest.approx(0.2 + 0.8 * gone, abs=1e-4)
    assert light.rgb[2] == 255
    assert linear(light.rgb)[0] == pytest.approx((1 - gone) / gone, abs=0.01)


def test_it_begins_with_nobodys_light_and_ends_with_that_of_the_faces(cold):
    ambience = Ambience(SLOW)
    assert ambience(cold, 7.0) == SLOW.light(())
    assert ambience(cold, 100.0) == SLOW.light(cold)


def test_a_steady_face_gives_a_steady_light(cold):
    ambience = Ambience(SLOW)
    lights = [ambience(cold, frame / 30) for frame in range(1500)]
    assert len(set(lights[-150:])) == 1
    blues = [light.rgb[2] - light.rgb[0] for light in lights]
    assert blues == sorted(blues)


def test_a_face_that_comes_and_goes_frame_by_frame_does_not_flicker(cold):
    ambience = Ambience(SLOW)
    ambience(cold, 0.0)
    ambience(cold, 60.0)
    lights = {ambience(cold if frame % 2 else (), 60 + frame / 30) for frame in range(90)}
    assert lights == {SLOW.light(cold)}


def test_nobodys_light_comes_a_while_after_the_last_face(cold):
    ambience = Ambience(SLOW.model_copy(update={"time_constant_s": 0.0}))
    ambience(cold, 0.0)
    assert ambience((), 2.9) == SLOW.light(cold)
    assert ambience((), 3.0) == SLOW.light(())
    assert ambience(cold, 3.1) == SLOW.light(cold)


def test_times_that_do_not_advance_change_nothing(cold):
    ambience = Ambience(SLOW)
    ambience((), 5.0)
    seen = ambience(cold, 5.5)
    assert ambience(cold, 5.5) == seen
    assert ambience(cold, 1.0) == seen
    assert ambience(cold, 1.5) != seen


@given(st.lists(st.tuples(st.booleans(), st.floats(-1e6, 1e6)), max_size=20))
def test_whatever_comes_it_is_a_light(make_face, pushed):
    ambience = Ambience()
    for there, time_s in pushed:
        light = ambience([make_face()] if there else (), time_s)
        assert max(light.rgb) == 255
        assert 0.2 - 1e-9 <= light.brightness <= 1
