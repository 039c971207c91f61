import json

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as reference

from affectlens.core import correlation
from affectlens.core.errors import BadData
from affectlens.evaluation import metrics
from affectlens.evaluation.evaluation import CURVE_POINTS, Scores, compare, compute_metrics

NOBODY = Scores(("anger", "fear"), np.empty((0, 2)), np.empty(0, dtype=np.int64))


def test_figures_are_json_without_nan_and_survive_the_way_through_a_file(scores):
    found = compute_metrics(scores())
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@pytest.mark.parametrize("seed", range(3))
def test_classification_matches_scikit_learn(scores, seed):
    given = scores(seed=seed)
    found = compute_metrics(given)
    labelled = given.targets >= 0
    target, predicted = given.targets[labelled], given.predicted[labelled]
    assert (found["faces"], found["faces_without_label"]) == (labelled.sum(), (~labelled).sum())
    assert found["faces_without_label"] > 0
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(target, predicted))
    present = np.unique(target)
    for mean in ("macro", "weighted"):
        precision, recall, f1, _ = reference.precision_recall_fscore_support(
            target, predicted, labels=present, average=mean, zero_division=0
        )
        assert found[mean] == pytest.approx({"precision": precision, "recall": recall, "f1": f1})
    assert found["mean_class_accuracy"] == found["macro"]["recall"]
    assert found["confusion_matrix"] == reference.confusion_matrix(target, predicted, labels=range(8)).tolist()
    assert [row["faces"] for row in found["classes"]] == [(target == i).sum() for i in range(8)]
    probabilities = given.probabilities[labelled]
    assert found["negative_log_likelihood"] == pytest.approx(reference.log_loss(target, probabilities, labels=range(8)))
    np.testing.assert_allclose(found["mean_probabilities"][1], probabilities[target == 1].mean(axis=0))


def test_a_class_without_faces_has_no_figures_of_its_own(scores):
    given = scores()
    assert 7 not in given.targets
    found = compute_metrics(given)
    assert found["classes"][7] == {"label": "contempt", "faces": 0, "precision": None, "recall": None, "f1": None}
    assert found["mean_probabilities"][7] == [None] * 8
    assert found["mean_class_accuracy"] is not None


def test_certainty_and_the_selective_curve_agree(scores):
    given = scores(2000)
    labelled = given.keep(given.targets >= 0)
    certain = labelled.probabilities.max(axis=1) >= 0.4
    found = compute_metrics(given)
    assert found["coverage"] == pytest.approx(certain.mean())
    right = labelled.predicted == labelled.targets
    assert found["accuracy_when_certain"] == pytest.approx(right[certain].mean())
    curve = found["selective"]
    assert len(labelled) > CURVE_POINTS >= len(curve["coverage"]) == len(curve["accuracy"]) == len(curve["threshold"])
    assert curve["coverage"] == sorted(set(curve["coverage"]))
    assert (curve["coverage"][-1], curve["accuracy"][-1]) == (1, pytest.approx(found["accuracy"]))
    assert np.diff(curve["coverage"]).max() < 0.011
    whole = metrics.selective_accuracy(labelled.probabilities, labelled.targets)
    assert found["area_under_risk_coverage"] == pytest.approx(whole.area)
    for threshold, accuracy in zip(curve["threshold"], curve["accuracy"], strict=True):
        kept = labelled.probabilities.max(axis=1) >= threshold
        assert accuracy == pytest.approx(right[kept].mean())


def test_disagreement_counts_faces_without_a_label_but_not_those_without_votes(scores):
    given = scores()
    votes = given.votes.copy()
    votes[:50] = 0
    found = compute_metrics(scores(votes=votes))["disagreement"]
    entropies = [stats.entropy(rows[50:], axis=1).round(9) for rows in (given.probabilities, votes)]
    assert found == {"faces": 150, "spearman": pytest.approx(stats.spearmanr(*entropies).statistic)}


def test_affect_is_judged_where_it_is_known(scores):
    given = scores()
    known = np.isfinite(given.valence_true)
    pair = given.valence_predicted[known], given.valence_true[known]
    found = compute_metrics(given)
    assert found["valence"] == {
        "faces": known.sum(),
        "ccc": metrics.ccc(*pair),
        "rmse": metrics.rmse(*pair),
        "pearson": correlation.pearson(*pair),
    }
    assert found["arousal"] == {"faces": 0, "ccc": None, "rmse": None, "pearson": None}
    assert found["va_source"] == "projected"


def test_groups_have_accuracy_interval_number_and_labels(scores):
    given = scores()
    found = compute_metrics(given)["groups"]["age"]
    assert list(found) == ["3-9", "10-19", "more than 70"]
    mask = (given.groups["age"] == "3-9") & (given.targets >= 0)
    right = (given.predicted == given.targets)[mask]
    interval = stats.binomtest(int(right.sum()), len(right)).proportion_ci(method="wilson")
    assert found["3-9"] == {
        "faces": len(right),
        "accuracy": pytest.approx(right.mean()),
        "accuracy_interval": pytest.approx([interval.low, interval.high]),
        "labels": [int((given.targets[mask] == label).sum()) for label in range(len(given.labels))],
    }


def test_what_was_not_given_is_none():
    found = compute_metrics(Scores(("anger", "fear"), np.array([[0.9, 0.1]]), np.array([0])))
    assert (found["disagreement"], found["valence"], found["arousal"], found["groups"]) == (None, None, None, {})
    assert found["va_source"] is None


def test_a_single_face_that_is_right():
    found = compute_metrics(Scores(("anger", "fear"), np.array([[0.9, 0.1]]), np.array([0]), uncertain_below=0.95))
    json.dumps(found, allow_nan=False)
    assert (found["accuracy"], found["macro"]["f1"], found["area_under_risk_coverage"]) == (1, 1, 0)
    assert (found["coverage"], found["accuracy_when_certain"]) == (0, None)
    assert found["expected_calibration_error"] == pytest.approx(0.1)


def test_a_probability_of_zero_for_the_label_leaves_the_likelihood_finite():
    given = Scores(("anger", "fear"), np.array([[1.0, 0.0]], dtype=np.float32), np.array([1]))
    assert compute_metrics(given)["negative_log_likelihood"] == pytest.approx(-np.log(np.finfo(np.float64).eps))


@pytest.mark.parametrize("given", [NOBODY, Scores(("anger", "fear"), np.array([[0.9, 0.1]]), np.array([-1]))])
def test_faces_without_any_label_give_figures_without_values(given):
    found = compute_metrics(given)
    json.dumps(found, allow_nan=False)
    assert found["faces"] == 0
    assert found["accuracy"] is found["coverage"] is found["area_under_risk_coverage"] is None
    assert found["selective"] == {"threshold": [], "coverage": [], "accuracy": []}
    assert set(found) == set(compute_metrics(Scores(("anger", "fear"), np.array([[0.9, 0.1]]), np.array([0]))))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": np.full(200, 8)}, "targets must be in -1 .. 7"),
        ({"probabilities": np.full((200, 8), 0.2)}, "sum to 1"),
        ({"probabilities": np.full((200, 8), np.nan)}, "sum to 1"),
        ({"probabilities": np.full((200, 7), 1 / 7)}, r"probabilities must have the shape \(200, 8\), got \(200, 7\)"),
        ({"votes": np.zeros(200)}, "votes must have the shape"),
        ({"valence_true": None}, "as prediction and as ground truth"),
        ({"valence_predicted": np.full(200, np.nan)}, "predicted valence must be finite"),
        ({"arousal_true": np.zeros(3)}, "arousal_true must have the shape"),
        ({"groups": {"age": np.array(["3-9"])}}, "the group 'age' must have the shape"),
        ({"uncertain_below": 1.5}, "uncertain_below must be in"),
    ],
)
def test_scores_that_do_not_fit_together_are_refused(scores, changes, message):
    with pytest.raises(BadData, match=message):
        scores(**changes)


def test_keep_takes_the_same_rows_of_everything(scores):
    given = scores()
    mask = np.arange(200) % 3 == 0
    kept = given.keep(mask)
    assert len(kept) == mask.sum()
    np.testing.assert_array_equal(kept.votes, given.votes[mask])
    np.testing.assert_array_equal(kept.groups["age"], given.groups["age"][mask])
    assert (kept.labels, kept.uncertain_below) == (given.labels, given.uncertain_below)


def test_compare_says_who_is_better_and_whether_by_chance():
    a, b = np.array([True] * 6 + [False] * 4), np.array([True] * 9 + [False])
    assert compare(a, b) == {
        "faces": 10,
        "accuracy_a": 0.6,
        "accuracy_b": 0.9,
        "difference": pytest.approx(0.3),
        "only_a": 0,
        "only_b": 3,
        "statistic": 0,
        "p_value": pytest.approx(0.25),
        "exact": True,
    }


def test_compare_refuses_other_faces():
    with pytest.raises(BadData, match="the same faces"):
        compare(np.ones(3, dtype=bool), np.ones(4, dtype=bool))


def test_compare_on_no_faces_is_json():
    found = compare(np.empty(0, dtype=bool), np.empty(0, dtype=bool))
    assert (found["accuracy_a"], found["difference"], found["p_value"]) == (None, None, 1)
