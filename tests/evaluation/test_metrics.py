import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from affectlens.core.probabilities import softmax
from affectlens.evaluation import metrics

CLASSES = 4
FACES = st.lists(st.tuples(st.integers(0, CLASSES - 1), st.integers(0, CLASSES - 1)), min_size=1, max_size=40)
QUICK = settings(deadline=None, max_examples=50)


@st.composite
def scored(draw):
    """(N, C) probabilities on a coarse grid, so that ties occur, and (N,) targets."""
    weights = draw(st.lists(st.tuples(*[st.integers(1, 3)] * CLASSES), min_size=1, max_size=30))
    target = draw(st.lists(st.integers(0, CLASSES - 1), min_size=len(weights), max_size=len(weights)))
    probabilities = np.array(weights) / np.sum(weights, axis=1, keepdims=True)
    return probabilities, np.array(target)


@pytest.fixture
def logits_and_target():
    """Logits that are right more often than not, and too sure of themselves."""
    rng = np.random.default_rng(0)
    target = rng.integers(0, CLASSES, 400)
    return 4 * (rng.normal(size=(400, CLASSES)) + 1.5 * np.eye(CLASSES)[target]), target


@QUICK
@given(FACES)
def test_accuracy_and_confusion_matrix_match_scikit_learn(faces):
    predicted, target = np.array(faces).T
    matrix = metrics.confusion_matrix(predicted, target, CLASSES)
    assert metrics.accuracy(predicted, target) == pytest.approx(reference.accuracy_score(target, predicted))
    np.testing.assert_array_equal(matrix, reference.confusion_matrix(target, predicted, labels=range(CLASSES)))


@QUICK
@given(FACES)
def test_recalls_match_scikit_learn_and_absent_classes_do_not_count(faces):
    predicted, target = np.array(faces).T
    expected = reference.recall_score(target, predicted, labels=range(CLASSES), average=None, zero_division=np.nan)
    np.testing.assert_allclose(metrics.recall_per_class(predicted, target, CLASSES), expected)
    assert metrics.macro_recall(predicted, target, CLASSES) == pytest.approx(np.nanmean(expected))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_negative_log_likelihood_matches_scikit_learn(logits_and_target, temperature):
    logits, target = logits_and_target
    expected = reference.log_loss(target, softmax(logits, temperature), labels=range(CLASSES))
    assert metrics.negative_log_likelihood(logits, target, temperature) == pytest.approx(expected)


def naive_calibration_error(probabilities, target, bins):
    error = 0.0
    for low in range(bins):
        inside = [
            (row.max(), row.argmax() == label)
            for row, label in zip(probabilities, target, strict=True)
            if low / bins < row.max() <= (low + 1) / bins
        ]
        if inside:
            confidence, correct = np.mean(inside, axis=0)
            error += len(inside) / len(target) * abs(confidence - correct)
    return error


@QUICK
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.sampled_from([1, 10, 15]))
def test_calibration_error_matches_a_naive_loop(seed, faces, bins):
    rng = np.random.default_rng(seed)
    probabilities, target = rng.dirichlet(np.ones(CLASSES), faces), rng.integers(0, CLASSES, faces)
    expected = naive_calibration_error(probabilities, target, bins)
    assert metrics.expected_calibration_error(probabilities, target, bins) == pytest.approx(expected)


def test_calibration_error_of_honest_confidence_is_zero():
    probabilities = np.array([[0.75, 0.25]] * 4)
    assert metrics.expected_calibration_error(probabilities, np.array([0, 0, 0, 1])) == pytest.approx(0)
    assert metrics.expected_calibration_error(probabilities, np.array([1, 1, 1, 1])) == pytest.approx(0.75)


@pytest.mark.parametrize("scale", [0.3, 1.0, 5.0])
def test_fitted_temperature_matches_a_dense_grid(logits_and_target, scale):
    logits, target = logits_and_target[0] * scale, logits_and_target[1]
    grid = np.geomspace(0.05, 20, 3000)
    losses = [metrics.negative_log_likelihood(logits, target, temperature) for temperature in grid]
    fitted = metrics.fit_temperature(logits, target)
    assert fitted == pytest.approx(grid[np.argmin(losses)], rel=5e-3)
    assert metrics.negative_log_likelihood(logits, target, fitted) <= min(losses) + 1e-6


def test_fitted_temperature_stays_within_its_bounds():
    logits, right = np.eye(3), np.arange(3)
    assert metrics.fit_temperature(logits, right) == pytest.approx(0.05, rel=1e-3)
    assert metrics.fit_temperature(logits, (right + 1) % 3) == pytest.approx(20, rel=1e-3)


def test_fitted_temperature_is_the_lowest_minimum_even_for_absurdly_sure_logits():
    sure_and_wrong, unsure_and_right = [[400.0, 0.0]] * 3, [[1.0, 0.0]] * 7
    logits, target = np.array(sure_and_wrong + unsure_and_right), np.array([1] * 3 + [0] * 7)
    grid = np.geomspace(0.05, 20, 500)
    exact = [np.logaddexp(0, np.array([400] * 3 + [-1] * 7) / temperature).mean() for temperature in grid]
    assert metrics.fit_temperature(logits, target) == pytest.approx(grid[np.argmin(exact)], rel=0.02)


def naive_threshold(probabilities, target, wanted):
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == target
    for threshold in sorted(confidence):
        if correct[confidence >= threshold].mean() >= wanted:
            return threshold
    return 1.0


@QUICK
@given(scored(), st.sampled_from([0.5, 0.8, 0.9, 1.0]))
def test_threshold_for_accuracy_matches_a_naive_loop(faces, wanted):
    assert metrics.threshold_for_accuracy(*faces, wanted) == pytest.approx(naive_threshold(*faces, wanted))


def test_threshold_keeps_or_drops_equal_confidences_together():
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4]])
    assert metrics.threshold_for_accuracy(probabilities, np.array([0, 1, 0]), 0.9) == 1.0


def test_threshold_is_one_where_nothing_reaches_the_accuracy():
    assert metrics.threshold_for_accuracy(np.array([[0.8, 0.2]]), np.array([1]), 0.5) == 1.0


def test_summary_agrees_with_its_parts():
    probabilities = np.array([[0.8, 0.1, 0.1], [0.4, 0.5, 0.1], [0.6, 0.4, 0.0], [0.9, 0.1, 0.0]])
    target = np.array([0, 1, 1, 0])
    figures = metrics.summary(probabilities, target, ("happiness", "sadness", "fear"), uncertain_below=0.6)
    assert figures == {
        "faces": 4,
        "accuracy": 0.75,
        "macro_recall": 0.75,
        "expected_calibration_error": pytest.approx((0.2 + 0.5 + 0.6 + 0.1) / 4),
        "coverage": 0.75,
        "accuracy_when_certain": pytest.approx(2 / 3),
        "recall": {"happiness": 1.0, "sadness": 0.5},
    }


def test_summary_without_a_certain_face_has_no_accuracy_on_those():
    figures = metrics.summary(np.array([[0.6, 0.4]]), np.array([0]), ("happiness", "sadness"), uncertain_below=0.9)
    assert figures["coverage"] == 0
    assert figures["accuracy_when_certain"] is None
