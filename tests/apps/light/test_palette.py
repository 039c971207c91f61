import colorsys
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectlens.apps.light.palette import COLOURS, Light, Palette, encoded, linear
from affectlens.core.affect import Smoothed
from affectlens.core.errors import BadSetting
from affectlens.core.expressions import CIRCUMPLEX, FERPLUS

PALETTE = Palette()
PLAIN = Palette(warmth=0)


@pytest.fixture
def sure(make_face):
    """A face that shows one expression and nothing else."""

    def make(label, **changes):
        valence, arousal = CIRCUMPLEX.get(label, (None, None))
        return make_face({label: 1.0}, **({"valence": valence, "arousal": arousal} | changes))

    return make


def decoded(channel):
    """One sRGB channel as linear light, by the formula of IEC 61966-2-1."""
    share = channel / 255
    return share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4


def coded(light):
    return round(255 * (12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055))


@pytest.mark.parametrize("label", FERPLUS)
def test_a_sure_expression_has_its_own_hue(sure, label):
    assert PLAIN.light([sure(label)]).rgb == COLOURS[label]
    wanted, got = (colorsys.rgb_to_hsv(*rgb) for rgb in (COLOURS[label], PALETTE.light([sure(label)]).rgb))
    assert abs(wanted[0] - got[0]) < 0.03
    assert got[1] >= wanted[1] - 0.15


def test_joy_is_warmer_than_sadness_and_excitement_brighter_than_calm(sure):
    happy, sad = PALETTE.light([sure("happiness")]), PALETTE.light([sure("sadness")])
    assert happy.rgb[0] - happy.rgb[2] > 200 > -200 > sad.rgb[0] - sad.rgb[2]
    assert happy.brightness > sad.brightness
    assert [PALETTE.light([sure("anger", arousal=a)]).brightness for a in (-1, 0, 1)] == [0.25, 0.625, 1.0]


def test_colours_mix_in_linear_light(make_face):
    light = PLAIN.light([make_face({"anger": 0.7, "sadness": 0.3})])
    mixed = [
        0.7 * decoded(one) + 0.3 * decoded(other)
        for one, other in zip(COLOURS["anger"], COLOURS["sadness"], strict=True)
    ]
    assert light.rgb == tuple(coded(channel / max(mixed)) for channel in mixed)


def test_dark_colours_of_a_palette_count_as_much_as_bright_ones(make_face):
    face = make_face({"a": 0.5, "b": 0.5})
    dark = Palette(colours={"a": (100, 0, 0), "b": (0, 0, 255)}, warmth=0)
    bright = Palette(colours={"a": (255, 0, 0), "b": (0, 0, 255)}, warmth=0)
    assert dark.light([face]) == bright.light([face])
    assert bright.light([face]).rgb == (255, 0, 255)


def test_smoothed_probabilities_count_where_there_are_any(sure):
    face = sure("anger", smoothed=Smoothed({"sadness": 1.0}, -0.6, -1.0))
    assert PLAIN.light([face]) == Light(COLOURS["sadness"], 0.25)


def test_an_uncertain_face_is_nearer_to_neutral(sure):
    certain, doubtful, neutral = (
        linear(PLAIN.light([face]).rgb) for face in (sure("fear"), sure("fear", uncertain=True), sure("neutral"))
    )
    assert np.linalg.norm(doubtful - neutral) < np.linalg.norm(certain - neutral)
    assert Palette(doubt=0, warmth=0).light([sure("fear", uncertain=True)]).rgb == COLOURS["fear"]


def test_valence_warms_and_cools_white(sure):
    cold, even, warm = (PALETTE.light([sure("neutral", valence=valence)]).rgb for valence in (-1.0, 0.0, 1.0))
    assert even == COLOURS["neutral"]
    assert cold[2] > even[2] > warm[2]


def test_a_label_without_a_colour_is_neutral(sure, make_face):
    own = PALETTE.light([sure("bored")])
    assert own == Light(COLOURS["neutral"], 0.625)
    assert Palette(colours={"bored": (0, 0, 255)}, warmth=0).light([sure("bored")]).rgb == (0, 0, 255)


def test_nearer_faces_count_more(sure):
    small = np.array([0, 0, 10, 10], dtype=np.float32)
    large = np.array([0, 0, 30, 10], dtype=np.float32)
    light = PLAIN.light([sure("anger", box_xyxy=small), sure("sadness", box_xyxy=large)])
    mixed = linear(COLOURS["anger"]) / 4 + linear(COLOURS["sadness"]) * 3 / 4
    assert light.rgb == encoded(mixed / mixed.max())


def test_a_box_without_an_area_is_a_face_too(sure):
    nothing = np.zeros(4, dtype=np.float32)
    assert PLAIN.light([sure("anger", box_xyxy=nothing)]).rgb == COLOURS["anger"]


def test_nobody_is_dim_and_warm():
    light = PALETTE.light(())
    assert light == Light((255, 170, 90), 0.2)
    assert Palette(nobody_brightness=0).light(()).brightness == 0


def test_a_screen_shows_less_of_the_same():
    assert Light((255, 0, 128), 1).on_screen == (255, 0, 128)
    assert Light((255, 0, 128), 0).on_screen == (0, 0, 0)
    assert Light((255, 0, 0), 0.5).on_screen == (coded(0.5), 0, 0)


rgbs = st.tuples(*[st.integers(0, 255)] * 3)
lit = rgbs.filter(any)
affects = st.one_of(st.none(), st.floats(-1, 1))


@given(lit, lit, st.floats(0, 1), affects, affects, st.floats(0, 0.9), st.booleans())
def test_every_light_is_within_bounds(make_face, one, other, share, valence, arousal, warmth, uncertain):
    palette = Palette(colours={"a": one, "b": other}, dim=0.1, bright=0.7, warmth=warmth)
    face = make_face({"a": share, "b": 1 - share}, valence=valence, arousal=arousal, uncertain=uncertain)
    light = palette.light([face, face])
    assert max(light.rgb) == 255
    assert min(light.rgb) >= 0
    assert 0.1 <= light.brightness <= 0.7


@given(rgbs)
def test_linear_light_and_back(rgb):
    np.testing.assert_allclose(linear(rgb), [decoded(channel) for channel in rgb], atol=1e-12)
    assert encoded(linear(rgb)) == rgb


def test_a_file_changes_what_it_names(tmp_path):
    file = tmp_path / "palette.json"
    file.write_text(json.dumps({"colours": {"anger": [200, 0, 0], "bored": [0, 0, 9]}, "bright": 0.5}))
    palette = Palette.read(file)
    assert palette == Palette(colours={"anger": (200, 0, 0), "bored": (0, 0, 9)}, bright=0.5)
    assert palette.colours["fear"] == COLOURS["fear"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Invalid JSON"),
        ("[]", "should be an object"),
        ('{"colours": {"anger": [256, 0, 0]}}', "colours.anger.0: Input should be less than or equal to 255"),
        ('{"colours": {"anger": [0, 0, 0]}}', "must not be black"),
        ('{"colours": {"anger": "red"}}', "colours.anger: "),
        ('{"dim": 0.9, "bright": 0.1}', "dim must be <= bright"),
        ('{"warmth": NaN}', "warmth: "),
        ('{"time_constant_s": -1}', "time_constant_s: "),
        ('{"colors": {}}', "unknown key 'colors'; did you mean 'colours'?"),
        (b"\xff\xfe", "Invalid JSON"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path, text, said):
    file = tmp_path / "palette.json"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(BadSetting) as refused:
        Palette.read(file)
    assert str(file) in str(refused.value)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
