"""Made answers with known truth: labels that flicker, expressions that come and go, a face that is never neutral."""

from itertools import pairwise

import numpy as np
import pytest

from affectlens.core.errors import BadSetting
from affectlens.core.expressions import FERPLUS, projected_affect
from affectlens.core.probabilities import normalized_entropy
from affectlens.runtime.temporal import EventFinder, RestingBaseline, Smoother, Smoothing, events

RATES = [15, 30, 60]


def probabilities_of(logits):
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def noisy(target, frames, noise, seed, width=8):
    """(frames, 8) probabilities around logits that favour `target` (place -> logit)."""
    rng = np.random.default_rng(seed)
    logits = np.zeros((frames, width))
    for place, value in target.items():
        logits[:, place] = value
    return probabilities_of(logits + rng.normal(0, noise, logits.shape))


def as_face(make_face, row):
    labels = FERPLUS[: len(row)]
    valence, arousal = projected_affect(row[None], labels)
    return make_face(
        dict(zip(labels, row.tolist(), strict=True)),
        disagreement=float(normalized_entropy(row[None])[0]),
        valence=float(valence[0]),
        arousal=float(arousal[0]),
    )


def smoothed(make_face, rows, fps, **settings):
    smoother = Smoother(Smoothing(**settings), uncertain_below=0.4)
    return [smoother(as_face(make_face, row), i / fps) for i, row in enumerate(rows)]


def flips(labels):
    return sum(a != b for a, b in pairwise(labels))


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("seed", range(3))
def test_labels_flip_at_most_a_fifth_as_often(make_face, fps, seed):
    rows = noisy({0: 3.0, 3: 2.7}, 20 * fps, noise=1.0, seed=seed)
    raw = flips(rows.argmax(axis=1).tolist())
    shown = flips([face.expression for face in smoothed(make_face, rows, fps)])
    assert raw > 3 * fps
    assert shown <= 0.2 * raw


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("seed", range(3))
def test_uncertain_flips_at_most_a_fifth_as_often(make_face, fps, seed):
    rows = noisy({0: 1.5}, 20 * fps, noise=0.6, seed=seed)
    raw = flips((rows.max(axis=1) < 0.4).tolist())
    assert raw > 3 * fps
    assert flips([face.uncertain for face in smoothed(make_face, rows, fps)]) <= 0.2 * raw


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("height", [2.5, 4.0])
def test_a_new_expression_is_shown_within_150_ms(make_face, fps, seed, height):
    before = noisy({0: height}, fps, noise=0.3, seed=seed)
    after = noisy({1: height}, fps, noise=0.3, seed=seed + 100)
    shown = [face.expression for face in smoothed(make_face, np.vstack([before, after]), fps)]
    assert 0 <= (shown.index("happiness") - fps) / fps <= 0.15


def test_what_is_shown_hangs_together(make_face):
    rows = noisy({1: 3.0, 2: 2.5}, 60, noise=0.7, seed=0)
    for row, face in zip(rows, smoothed(make_face, rows, 30), strict=True):
        np.testing.assert_allclose(list(face.probabilities.values()), row)
        shown = np.array(list(face.smoothed.probabilities.values()))
        assert shown.sum() == pytest.approx(1)
        assert face.smoothed.valence == pytest.approx(float(projected_affect(shown[None], FERPLUS)[0][0]))
        assert face.percent == int(100 * face.smoothed.probabilities[face.expression])
        assert face.expression in ("happiness", "surprise")


def test_one_sure_but_wrong_frame_changes_nothing(make_face):
    rows = noisy({0: 3.0}, 30, noise=0.1, seed=0)
    rows[15] = np.eye(8)[4]
    assert {face.expression for face in smoothed(make_face, rows, 30)} == {"neutral"}


def test_unsure_frames_count_less(make_face):
    start = probabilities_of(np.array([4.0, 0, 0, 0, 0, 0, 0, 0]))
    sure, unsure = (probabilities_of(np.array([0, x, 0, 0, 0, 0, 0, 0.0])) for x in (6.0, 0.5))

    def moved(row):
        first, second = smoothed(make_face, np.stack([start, row]), 30)
        path = np.log(row[0]) - np.log(row[1]) - 4.0
        before, after = (face.smoothed.probabilities for face in (first, second))
        ratio = [np.log(shown["neutral"] / shown["happiness"]) for shown in (before, after)]
        return (ratio[1] - ratio[0]) / path

    assert 0 < moved(unsure) < 0.7 * moved(sure)


def test_regressed_valence_and_arousal_follow_too(make_face):
    smoother = Smoother(Smoothing(), 0.4)
    faces = [make_face(valence=v, arousal=0.0, va_source="regressed", disagreement=0.0) for v in (0.0, 1.0, 1.0)]
    shown = [smoother(face, i / 30).smoothed.valence for i, face in enumerate(faces)]
    assert shown[0] == 0 < shown[1] < shown[2] < 1


def test_labels_without_coordinates_stay_without(make_face):
    face = make_face({"calm": 0.3, "tense": 0.7}, valence=None, arousal=None, va_source=None)
    shown = Smoother(Smoothing(baseline=True), 0.4)(face, 0.0)
    assert (shown.smoothed.valence, shown.smoothed.arousal, shown.expression) == (None, None, "tense")


def test_without_time_constant_and_margin_every_frame_is_its_own(make_face):
    rows = noisy({0: 1.0, 1: 1.0}, 30, noise=1.0, seed=0)
    shown = smoothed(make_face, rows, 30, time_constant_s=0, margin=0)
    assert [FERPLUS.index(face.expression) for face in shown] == rows.argmax(axis=1).tolist()


def test_a_face_that_looks_sad_at_rest_becomes_neutral_and_still_smiles(make_face):
    rest = noisy({3: 3.0, 0: 2.6}, 300, noise=0.3, seed=0)
    smile = noisy({1: 4.0, 3: 1.0}, 60, noise=0.3, seed=1)
    rows = np.vstack([rest, smile])
    plain = smoothed(make_face, rows, 30)
    fitted = smoothed(make_face, rows, 30, baseline=True)
    assert plain[290].expression == "sadness"
    assert fitted[290].expression == "neutral"
    assert fitted[290].probabilities["neutral"] > 0.6
    assert plain[-1].expression == fitted[-1].expression == "happiness"


@pytest.mark.parametrize("fps", [1, 5, 30])
def test_rest_is_learned_after_three_seconds_at_any_rate(fps):
    baseline, row = RestingBaseline(), probabilities_of(np.array([1.0, 0, 0, 1.2, 0, 0, 0, 0]))
    changed = [not np.array_equal(baseline(row, 0, i / fps), row) for i in range(6 * fps)]
    assert changed.index(True) / fps == pytest.approx(3, abs=0.11)


def test_a_face_that_is_neutral_at_rest_stays_as_it_is():
    baseline = RestingBaseline()
    row = probabilities_of(np.array([4.0, 0.5, 0, 0, 0, 0, 0, 0]))
    for i in range(200):
        corrected = baseline(row, 0, i / 30)
    np.testing.assert_allclose(corrected, row, atol=0.05)


def test_clear_expressions_are_not_learned_as_rest():
    baseline = RestingBaseline()
    row = probabilities_of(np.array([0.0, 5.0, 0, 0, 0, 0, 0, 0]))
    for i in range(600):
        corrected = baseline(row, 0, i / 30)
    np.testing.assert_array_equal(corrected, row)


@pytest.mark.parametrize("field", ["time_constant_s", "margin", "band"])
def test_negative_settings_are_refused(field):
    with pytest.raises(BadSetting, match=field):
        Smoothing(**{field: -0.1})


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("rise_frames", [1, 4, 12])
@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_onsets_are_at_most_two_frames_off(fps, rise_frames, noise, seed):
    rng = np.random.default_rng(seed)
    begin, frames = 2 * fps, 6 * fps
    way = np.clip((np.arange(frames) - begin + 1) / rise_frames, 0, 1)
    way[4 * fps :] = 0
    start, top = (probabilities_of(np.array([4.0 * (i == j) for j in range(8)])) for i in (0, 1))
    logits = np.log((1 - way[:, None]) * start + way[:, None] * top)
    rows = probabilities_of(logits + rng.normal(0, noise, logits.shape))
    (event,) = events(np.arange(frames) / fps, rows, FERPLUS)
    assert event.expression == "happiness"
    assert abs(event.onset_s * fps - begin) <= 2.01
    assert abs(event.offset_s * fps - 4 * fps) <= 2.01
    assert event.onset_s <= event.apex_s <= event.offset_s
    assert event.ended
    assert 0.8 < event.intensity <= rows[:, 1].max()


def known(probabilities, fps=30, **levels):
    """(frame, kind, event) as the finder of one expression answers, then those of its end with the frame "end"."""
    finder = EventFinder("fear", **levels)
    found = [(i, *one) for i, p in enumerate(probabilities) for one in finder(i / fps, p)]
    return found + [("end", *one) for one in finder.end()]


def test_what_is_short_is_no_event_and_what_goes_on_is_not_ended():
    finder = EventFinder("fear")
    found = [one for i, p in enumerate([0.1] * 30 + [0.9] * 3 + [0.1] * 30) for one in finder(i / 30, p)]
    assert found == []
    (frame, kind, event), *rest = known([0.1] * 63 + [0.9] * 30)
    assert (frame, kind, event.onset_s) == (72, "onset", 63 / 30)
    (apex, _), (offset, event) = ((kind, event) for _, kind, event in rest)
    assert (apex, offset, event.onset_s, event.ended) == ("apex", "offset", 63 / 30, False)
    assert event.duration_s == pytest.approx(29 / 30)
    assert finder.end() == []


def test_onset_apex_and_offset_are_known_two_frames_late():
    way = [0.1] * 30 + [0.6] * 10 + [0.95] * 10 + [0.6] * 10 + [0.1] * 10
    found = known(way, fps=32)
    assert [(frame, kind) for frame, kind, _ in found] == [(37 + 2, "onset"), (50 + 2, "apex"), (60 + 2, "offset")]
    assert [event.apex_s for _, _, event in found[1:]] == [40 / 32] * 2
    assert found[-1][2].offset_s == 60 / 32


def test_a_second_peak_is_another_apex_only_if_it_is_higher():
    def peaks(first, second):
        way = [0.1] * 30 + [first] * 10 + [0.4] * 10 + [second] * 10 + [0.1] * 10
        return [(kind, event.intensity) for _, kind, event in known(way)]

    assert peaks(0.8, 0.9) == [("onset", 0.8), ("apex", 0.8), ("apex", 0.9), ("offset", 0.9)]
    assert peaks(0.9, 0.8) == [("onset", 0.9), ("apex", 0.9), ("offset", 0.9)]


@pytest.mark.parametrize("seed", range(5))
def test_whatever_comes_each_event_has_one_onset_rising_apexes_and_one_offset(seed):
    rng = np.random.default_rng(seed)
    way = np.clip(np.repeat(rng.uniform(size=120), 5) + rng.normal(0, 0.15, 600), 0, 1).tolist()
    kinds = [kind for _, kind, _ in known(way)]
    whole = [(kind, event) for _, kind, event in known(way)]
    assert kinds.count("onset") == kinds.count("offset") > 3
    onset, apex = None, 0.0
    for kind, event in whole:
        if kind == "onset":
            assert onset is None
            onset, apex = event.onset_s, 0.0
        assert event.onset_s == onset
        if kind == "apex":
            assert event.intensity > apex
            apex = event.intensity
        if kind == "offset":
            assert event.intensity == apex
            onset = None
    rows = np.array([[1 - p, p] for p in way])
    ends = [event for kind, event in whole if kind == "offset"]
    assert ends == list(events(np.arange(600) / 30, rows, ("neutral", "fear")))


def test_what_was_there_from_the_beginning_begins_there():
    (event,) = events([5.0, 5.5, 6.0], np.array([[0.1, 0.9], [0.2, 0.8], [0.9, 0.1]]), ("neutral", "happiness"))
    assert (event.onset_s, event.apex_s, event.offset_s) == (5.0, 5.0, 6.0)


def test_levels_must_be_in_order():
    with pytest.raises(BadSetting, match="off"):
        EventFinder("fear", on=0.3, off=0.5)
