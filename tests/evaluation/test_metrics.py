import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as reference

from affectlens.core import correlation
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


PER_CLASS = {
    metrics.precision_per_class: (metrics.macro_precision, metrics.weighted_precision, reference.precision_score),
    metrics.recall_per_class: (metrics.macro_recall, metrics.weighted_recall, reference.recall_score),
    metrics.f1_per_class: (metrics.macro_f1, metrics.weighted_f1, reference.f1_score),
}


@pytest.mark.parametrize("per_class", PER_CLASS)
@QUICK
@given(FACES)
def test_precision_recall_and_f1_match_scikit_learn_over_classes_with_targets(per_class, faces):
    predicted, target = np.array(faces).T
    macro, weighted, score = PER_CLASS[per_class]
    present = np.unique(target)

    def expected(average):
        return score(target, predicted, labels=present, average=average, zero_division=0)

    found = per_class(predicted, target, CLASSES)
    np.testing.assert_allclose(found[present], expected(None))
    assert np.isnan(np.delete(found, present)).all()
    assert macro(predicted, target, CLASSES) == pytest.approx(expected("macro"))
    assert weighted(predicted, target, CLASSES) == pytest.approx(expected("weighted"))


def test_a_class_that_is_never_predicted_has_precision_and_f1_zero_and_an_absent_one_none():
    predicted, target = np.array([0, 0, 2]), np.array([0, 1, 0])
    np.testing.assert_array_equal(metrics.precision_per_class(predicted, target, 3), [0.5, 0, np.nan])
    np.testing.assert_array_equal(metrics.f1_per_class(predicted, target, 3), [0.5, 0, np.nan])
    assert metrics.macro_precision(predicted, target, 3) == 0.25


def test_all_correct_is_one_everywhere():
    target = np.array([0, 2, 2])
    for per_class, (macro, weighted, _) in PER_CLASS.items():
        np.testing.assert_array_equal(per_class(target, target, 3), [1, np.nan, 1])
        assert macro(target, target, 3) == weighted(target, target, 3) == 1


def test_nothing_measured_is_nan_and_warns_of_nothing():
    nobody, probabilities = np.empty(0, dtype=np.int64), np.empty((0, CLASSES))
    assert math.isnan(metrics.accuracy(nobody, nobody))
    assert math.isnan(metrics.macro_f1(nobody, nobody, CLASSES))
    assert math.isnan(metrics.weighted_f1(nobody, nobody, CLASSES))
    assert math.isnan(metrics.expected_calibration_error(probabilities, nobody))
    assert math.isnan(metrics.negative_log_likelihood(probabilities, nobody))
    assert math.isnan(metrics.selective_accuracy(probabilities, nobody).area)
    assert math.isnan(metrics.disagreement_correlation(probabilities, probabilities))
    assert all(math.isnan(function(probabilities[:, 0], probabilities[:, 0])) for function in AGREEMENT)
    assert all(map(math.isnan, metrics.wilson_interval(0, 0)))


AGREEMENT = (metrics.ccc, metrics.rmse, correlation.pearson, correlation.spearman)


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


@QUICK
@given(scored(), st.sampled_from([1, 7, 15]))
def test_reliability_bins_match_a_naive_loop(faces, bins):
    probabilities, target = faces
    found = metrics.reliability(probabilities, target, bins)
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == target
    np.testing.assert_allclose(found.edges, [i / bins for i in range(bins + 1)])
    for i in range(bins):
        inside = np.ceil(confidence * bins) == i + 1
        assert found.count[i] == inside.sum()
        expected = (confidence[inside].mean(), correct[inside].mean()) if inside.any() else (np.nan, np.nan)
        np.testing.assert_allclose((found.confidence[i], found.accuracy[i]), expected)
    assert found.count.sum() == len(target)


@QUICK
@given(scored(), st.randoms(use_true_random=False))
def test_selective_accuracy_matches_a_naive_loop_in_any_order(faces, random):
    probabilities, target = faces
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == target
    kept = [confidence >= threshold for threshold in sorted(set(confidence), reverse=True)]
    found = metrics.selective_accuracy(probabilities, target)
    np.testing.assert_allclose(found.coverage, [mask.mean() for mask in kept])
    np.testing.assert_allclose(found.accuracy, [correct[mask].mean() for mask in kept])
    risks = [1 - correct[confidence >= own].mean() for own in confidence]
    assert found.area == pytest.approx(np.mean(risks))
    order = random.sample(range(len(target)), len(target))
    assert metrics.selective_accuracy(probabilities[order], target[order]).area == pytest.approx(found.area)


def test_area_under_risk_coverage_of_known_orders():
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    assert metrics.selective_accuracy(probabilities, np.zeros(4, dtype=int)).area == 0
    assert metrics.selective_accuracy(probabilities, np.ones(4, dtype=int)).area == 1
    assert metrics.selective_accuracy(probabilities, np.array([0, 0, 0, 1])).area == pytest.approx(1 / 16)
    assert metrics.selective_accuracy(probabilities, np.array([1, 0, 0, 0])).area == pytest.approx(25 / 48)


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


PAIRS = st.lists(st.tuples(st.integers(-4, 4), st.integers(-4, 4)), min_size=2, max_size=40)


@QUICK
@given(PAIRS)
def test_correlations_match_scipy_also_with_ties(pairs):
    a, b = np.array(pairs, dtype=np.float64).T / 3
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        assert math.isnan(correlation.pearson(a, b))
        assert math.isnan(correlation.spearman(a, b))
    else:
        assert correlation.pearson(a, b) == pytest.approx(stats.pearsonr(a, b).statistic, abs=1e-9)
        assert correlation.spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_correlations_and_errors_of_affect_match_references(seed):
    rng = np.random.default_rng(seed)
    true = rng.uniform(-1, 1, 50).astype(np.float32)
    predicted = (0.6 * true + 0.2 * rng.normal(size=50) + 0.1).astype(np.float32)
    assert correlation.pearson(predicted, true) == pytest.approx(stats.pearsonr(predicted, true).statistic, rel=1e-5)
    assert correlation.spearman(predicted, true) == pytest.approx(stats.spearmanr(predicted, true).statistic)
    assert metrics.rmse(predicted, true) == pytest.approx(reference.root_mean_squared_error(true, predicted), rel=1e-5)
    wide = np.stack([predicted, true]).astype(np.float64)
    (a, covariance), (_, b) = np.cov(wide, bias=True)
    expected = 2 * covariance / (a + b + (wide[0].mean() - wide[1].mean()) ** 2)
    assert metrics.ccc(predicted, true) == pytest.approx(expected)


def test_concordance_punishes_shift_and_scale_where_correlation_does_not():
    true = np.array([-0.5, 0.0, 0.5])
    assert metrics.ccc(true, true) == pytest.approx(1)
    assert metrics.ccc(-true, true) == pytest.approx(-1)
    assert correlation.pearson(true / 2 + 0.2, true) == pytest.approx(1)
    assert metrics.ccc(true / 2 + 0.2, true) == pytest.approx((2 / 12) / (1 / 24 + 1 / 6 + 0.04))
    assert metrics.ccc(np.zeros(3), true) == 0
    assert math.isnan(metrics.ccc(np.zeros(3), np.zeros(3)))


@pytest.mark.parametrize("faces", [1, 2, 10, 3589])
def test_wilson_interval_matches_scipy(faces):
    for correct in sorted({0, 1, faces // 3, faces - 1, faces}):
        expected = stats.binomtest(correct, faces).proportion_ci(0.95, method="wilson")
        assert metrics.wilson_interval(correct, faces) == pytest.approx((expected.low, expected.high))


def correctness(only_a, only_b, both=5, neither=3):
    """Two arrays with so many faces that one model gets right alone, both, and none."""
    a = [True] * only_a + [False] * only_b + [True] * both + [False] * neither
    b = [False] * only_a + [True] * only_b + [True] * both + [False] * neither
    return np.array(a), np.array(b)


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 1), (3, 3), (1, 9), (24, 0), (10, 14)])
def test_mcnemar_is_binomial_where_few_faces_differ(only_a, only_b):
    found = metrics.mcnemar(*correctness(only_a, only_b))
    assert (found.only_a, found.only_b, found.exact) == (only_a, only_b, True)
    assert found.statistic == min(only_a, only_b)
    assert found.p_value == pytest.approx(stats.binomtest(only_a, only_a + only_b, 0.5).pvalue)


@pytest.mark.parametrize(("only_a", "only_b"), [(25, 0), (12, 13), (40, 40), (300, 350)])
def test_mcnemar_is_chi_square_with_continuity_correction_where_many_differ(only_a, only_b):
    found = metrics.mcnemar(*correctness(only_a, only_b))
    expected = max(abs(only_a - only_b) - 1, 0) ** 2 / (only_a + only_b)
    assert not found.exact
    assert found.statistic == pytest.approx(expected)
    assert found.p_value == pytest.approx(stats.chi2.sf(expected, 1))


def test_mcnemar_of_a_model_with_itself_says_nothing():
    assert metrics.mcnemar(*correctness(0, 0)).p_value == 1


def test_groups_come_in_the_order_of_their_numbers_and_unknown_ones_not_at_all():
    values = np.array(["10-19", "3-9", "more than 70", "3-9", "", "60-69"])
    predicted, target = np.array([0, 1, 1, 0, 0, 1]), np.array([0, 1, 0, 1, 1, 1])
    found = metrics.by_group(values, predicted, target)
    assert list(found.items()) == [
        ("3-9", (0.5, 2)),
        ("10-19", (1.0, 1)),
        ("60-69", (1.0, 1)),
        ("more than 70", (0, 1)),
    ]


@pytest.mark.parametrize("seed", range(5))
def test_disagreement_correlation_is_spearman_of_the_entropies(seed):
    rng = np.random.default_rng(seed)
    votes = rng.multinomial(10, np.ones(CLASSES) / CLASSES, 60) / 10
    probabilities = softmax(np.log(votes + 0.1) + 0.5 * rng.normal(size=votes.shape))
    expected = stats.spearmanr(stats.entropy(probabilities, axis=1), stats.entropy(votes, axis=1).round(6)).statistic
    assert metrics.disagreement_correlation(probabilities, votes) == pytest.approx(expected)


def test_the_same_split_of_votes_over_other_labels_is_a_tie():
    votes = np.array([[0.7, 0.2, 0.1], [0.1, 0.7, 0.2], [0.2, 0.1, 0.7], [1, 0, 0]], dtype=np.float32)
    sure = np.array([[0.5, 0.3, 0.2], [0.6, 0.2, 0.2], [0.4, 0.3, 0.3], [0.9, 0.05, 0.05]])
    assert metrics.disagreement_correlation(sure, votes) == pytest.approx(
        stats.spearmanr([3, 2, 4, 1], [3, 3, 3, 1])[0]
    )


def test_attribute_accuracy_is_the_mean_over_attributes_of_what_is_known():
    signs = np.array([[True, False, True], [True, True, False], [False, True, True]])
    truth = np.array([[1, 0, np.nan], [0, np.nan, np.nan], [0, 0, np.nan]], dtype=np.float32)
    assert metrics.attribute_accuracy(signs, truth) == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_class_distances_are_those_of_a_naive_loop():
    rng = np.random.default_rng(0)
    vectors, targets = rng.normal(size=(30, 5)).astype(np.float32), rng.integers(0, 3, 30)
    found = metrics.class_distances(vectors, targets, 4)
    centres = [np.mean([v for v, t in zip(vectors, targets, strict=True) if t == c], axis=0) for c in range(3)]
    for c in range(3):
        own = [math.dist(v, centres[c]) for v, t in zip(vectors, targets, strict=True) if t == c]
        assert found.within[c] == pytest.approx(sum(own) / len(own), rel=1e-5)
    assert np.isnan(found.within[3])
    pairs = [math.dist(centres[a], centres[b]) for a in range(3) for b in range(a)]
    assert found.between == pytest.approx(sum(pairs) / 3, rel=1e-5)
    assert found.ratio == pytest.approx(np.mean(found.within[:3]) / found.between)
    assert metrics.class_distances(7 * vectors, targets, 4).ratio == pytest.approx(found.ratio, rel=1e-5)


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
