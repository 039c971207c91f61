import cv2
import numpy as np
import pytest

from affectlens.core.errors import BadSetting, UnknownName
from affectlens.evaluation import corruptions
from affectlens.evaluation.corruptions import CORRUPTIONS, SEVERITIES


@pytest.fixture
def face(portrait):
    return cv2.resize(portrait[40:190, 170:280], (48, 48), interpolation=cv2.INTER_AREA)


def difference(a, b):
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("form", ["colour", "gray", "large"])
def test_each_severity_changes_more_than_the_one_before_and_keeps_the_shape(face, name, form):
    if form == "gray":
        face = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)
    if form == "large":
        face = cv2.resize(face, (90, 120))
    how = CORRUPTIONS[name]
    assert len(how.levels) == SEVERITIES
    before = face.copy()
    changes = []
    for level in how.levels:
        corrupted = [how.corrupt(face, level, number) for number in range(8)]
        assert {(one.shape, one.dtype) for one in corrupted} == {(face.shape, face.dtype)}
        changes.append(np.mean([difference(one, face) for one in corrupted]))
    assert changes == sorted(changes)
    assert changes[0] > 0.1
    assert changes[-1] > 1.5 * changes[0]
    assert np.array_equal(face, before)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_face_is_spoilt_alike_each_time(face, name):
    how = CORRUPTIONS[name]
    assert np.array_equal(how.corrupt(face, how.levels[2], 5), how.corrupt(face, how.levels[2], 5))


def test_chance_differs_from_face_to_face(face):
    for corrupt, level in ((corruptions.noisy, 20), (corruptions.covered, 0.4), (corruptions.rotated, 20)):
        assert not np.array_equal(corrupt(face, level, 0), corrupt(face, level, 1))


def test_a_face_that_is_small_already_stays_as_it_is(face):
    assert np.array_equal(corruptions.smaller(face, 48), face)
    assert corruptions.smaller(cv2.resize(face, (20, 30)), 24).shape == (30, 20, 3)


def test_light_is_a_factor_and_white_the_end():
    face = np.array([[10, 100, 200]], dtype=np.uint8)
    assert corruptions.lit(face, 0.5).tolist() == [[5, 50, 100]]
    assert corruptions.lit(face, 2).tolist() == [[20, 200, 255]]
    assert corruptions.flattened(face, 0.1).tolist() == [[116, 125, 135]]


def test_a_quarter_turn_turns_by_a_quarter(face):
    turned = corruptions.rotated(face, 90, 1)
    assert difference(turned, np.rot90(face)) < 1


@pytest.mark.parametrize(("number", "side"), [(0, "left"), (1, "top"), (2, "right"), (3, "bottom")])
def test_what_is_cut_off_repeats_the_edge(number, side):
    face = np.arange(400, dtype=np.uint16).reshape(20, 20).astype(np.uint8)
    cut = corruptions.cut_off(face, 0.25, number)
    kept = {
        "left": np.s_[:, 5:],
        "top": np.s_[5:],
        "right": np.s_[:, :15],
        "bottom": np.s_[:15],
    }
    edge = {"left": (np.s_[:, 0], np.s_[:, 5]), "top": (np.s_[0], np.s_[5])}
    edge |= {"right": (np.s_[:, 19], np.s_[:, 14]), "bottom": (np.s_[19], np.s_[14])}
    assert np.array_equal(cut[kept[side]], face[kept[side]])
    gone, last = edge[side]
    assert np.array_equal(cut[gone], face[last])


def test_a_cover_has_its_size(face):
    covered = corruptions.covered(np.zeros_like(face), 0.5, 3)
    assert int((covered == 128).all(axis=2).sum()) == 24 * 24


def test_a_corruption_is_applied_by_its_name(face):
    assert np.array_equal(corruptions.corrupt("noise", 20, face, 3), corruptions.noisy(face, 20, 3))
    with pytest.raises(UnknownName, match="did you mean 'noise'"):
        corruptions.corrupt("noises", 20, face, 3)
    assert all(f'"{name}"' in corruptions.corrupt.__doc__ for name in CORRUPTIONS)


@pytest.mark.parametrize(
    ("name", "level"), [("blur", 0), ("size", -3), ("compression", 101), ("occlusion", 2.0), ("cut off", 1.0)]
)
def test_a_level_out_of_range_is_refused_by_name(face, name, level):
    with pytest.raises(BadSetting, match=f"the level of '{name}' must be from"):
        corruptions.corrupt(name, level, face)


def test_another_kind_of_array_is_refused(face):
    for wrong in (face.astype(np.float32), face[..., None], face[:0]):
        with pytest.raises(BadSetting, match="must be"):
            corruptions.corrupt("noise", 20, wrong)
