from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from affectlens.core.errors import BadData
from affectlens.evaluation import metrics
from affectlens.evaluation.videos import FramePredictions, difference, frame_metrics, selection

CLASSES = 4


@pytest.fixture
def predictions():
    """Predictions for 300 frames of ten videos, right more often than not; some frames without truth."""
    rng = np.random.default_rng(0)
    targets = rng.integers(0, CLASSES, 300)
    truth = rng.uniform(-1, 1, (300, 2))
    logits = rng.normal(size=(300, CLASSES)) + 1.5 * np.eye(CLASSES)[targets]
    affect = (truth + rng.normal(size=truth.shape) / 3).clip(-1, 1)
    targets[::7], truth[::5] = -1, np.nan
    return FramePredictions(logits, affect, targets, truth, np.repeat(np.arange(10), 30))


def test_the_metric_of_the_challenge_is_that_of_scikit_learn(predictions):
    known = predictions.labelled
    truth, predicted = predictions.targets[known], predictions.logits[known].argmax(axis=1)
    expected = 0.67 * f1_score(truth, predicted, average="macro") + 0.33 * accuracy_score(truth, predicted)
    found = frame_metrics(predictions)
    assert found["challenge"] == pytest.approx(expected)
    assert metrics.challenge(predictions.confusions().sum(axis=0)) == pytest.approx(expected)
    described = np.isfinite(predictions.affect_true).all(axis=1)
    assert found["valence_ccc"] == metrics.ccc(predictions.affect[described, 0], predictions.affect_true[described, 0])
    assert (found["frames"], found["described_frames"]) == (known.sum(), described.sum())
    affect = (found["valence_ccc"] + found["arousal_ccc"]) / 2
    assert selection(found) == pytest.approx((found["challenge"] + affect) / 2)


def test_classes_without_faces_do_not_count_and_nothing_is_not_a_number():
    counts = np.zeros((2, 3, 3), dtype=int)
    counts[0, :2, :2] = [[3, 1], [2, 4]]
    first, second = metrics.challenge(counts)
    assert first == pytest.approx(0.67 * (6 / 9 + 8 / 11) / 2 + 0.33 * 0.7)
    assert np.isnan(second)


def test_what_a_model_does_not_say_is_left_out(predictions):
    assert set(frame_metrics(replace(predictions, logits=None))) == {"described_frames", "valence_ccc", "arousal_ccc"}
    alone = frame_metrics(replace(predictions, affect=None))
    assert selection(alone) == alone["challenge"]
    assert np.isnan(selection({}))
    with pytest.raises(BadData, match="does not classify expressions"):
        replace(predictions, logits=None).confusions()


def test_truth_of_other_frames_is_refused(predictions):
    with pytest.raises(BadData, match="must be of the same frames, got"):
        replace(predictions, targets=predictions.targets[1:])


def test_a_difference_is_paired_and_resampled_by_video(predictions):
    better = replace(
        predictions,
        logits=np.where(predictions.videos[:, None] < 8, 5 * np.eye(CLASSES)[predictions.targets], predictions.logits),
    )
    found = difference(predictions, better)
    assert (found["videos"], found["better"], found["worse"]) == (10, 8, 0)
    gain = frame_metrics(better)["challenge"] - frame_metrics(predictions)["challenge"]
    assert found["challenge"] == pytest.approx(gain)
    low, high = found["interval"]
    assert 0 < low < gain < high
    same = difference(predictions, predictions)
    assert (same["challenge"], same["interval"], same["better"]) == (0, [0, 0], 0)


def test_a_difference_without_labelled_frames_is_not_known(predictions):
    nothing = replace(predictions, targets=np.full(300, -1))
    found = difference(nothing, nothing)
    assert (found["challenge"], found["interval"], found["videos"]) == (None, [None, None], 0)
