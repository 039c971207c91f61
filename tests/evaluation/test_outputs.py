import math

import numpy as np
import pytest

from affectlens.core.errors import BadData
from affectlens.core.outputs import OUTPUTS
from affectlens.evaluation import metrics
from affectlens.evaluation.evaluation import Scores, compute_metrics
from affectlens.evaluation.outputs import Compared

NAMES = ("Bald", "Young")
SAID = np.array([[0.9, 0.2], [0.4, 0.6], [0.8, 0.9]])
TRUTH = np.array([[1, 1], [0, np.nan], [0, 1]])


def test_attributes_are_compared_each_by_itself():
    found = Compared(OUTPUTS["attributes"], SAID, TRUTH, NAMES)
    assert found.faces == 3
    assert found.each == {"Bald": pytest.approx(2 / 3), "Young": 1 / 2}
    assert found.value == pytest.approx((2 / 3 + 1 / 2) / 2) == metrics.attribute_accuracy(SAID, TRUTH)
    assert Compared(OUTPUTS["attributes"], SAID, TRUTH).each == {}
    assert found.keep(np.array([True, False, False])).each == {"Bald": 1, "Young": 0}


def test_valence_and_arousal_are_compared_where_both_are_known():
    said, truth = np.random.default_rng(0).uniform(-1, 1, (2, 20, 2))
    truth[3, 1] = np.nan
    found = Compared(OUTPUTS["affect"], said, truth, OUTPUTS["affect"].names)
    kept = np.arange(20) != 3
    expected = [metrics.ccc(said[kept, column], truth[kept, column]) for column in (0, 1)]
    assert (found.faces, list(found.each.values())) == (19, expected)
    assert found.value == pytest.approx(sum(expected) / 2)


def test_sectors_and_signs_of_the_plane():
    truth = np.array([[0.5, 0.1], [-0.1, 0.5], [-0.5, -0.1], [np.nan, 0.1]])
    sectors = np.eye(4)[[0, 1, 1, 0]]
    assert Compared(OUTPUTS["divisions"], sectors, truth).value == pytest.approx(2 / 3)
    signs = np.array([[0.9, 0.9], [0.9, 0.9], [0.1, 0.9], [0.1, 0.1]])
    assert Compared(OUTPUTS["divisions"], signs, truth).values.tolist() == pytest.approx([2 / 3, 2 / 3])


def test_what_cannot_be_measured():
    nothing = Compared(OUTPUTS["attributes"], SAID, TRUTH * np.nan, NAMES)
    assert (nothing.faces, nothing.each) == (0, {})
    assert math.isnan(nothing.value)
    assert math.isnan(Compared(OUTPUTS["attributes"], SAID, TRUTH[:, :0]).value)
    with pytest.raises(BadData, match="facial attributes: the network predicts 2 values per face, but the data have 1"):
        Compared(OUTPUTS["attributes"], SAID, TRUTH[:, :1]).values  # noqa: B018
    with pytest.raises(BadData, match="'attributes' has predictions for 3 faces, but ground truth for 2"):
        Compared(OUTPUTS["attributes"], SAID, TRUTH[:2])


def test_they_stand_beside_the_other_figures():
    compared = Compared(OUTPUTS["attributes"], SAID, TRUTH, NAMES)
    targets, even = np.array([0, 1, -1]), np.full((3, 2), 0.5)
    scores = Scores(("calm", "excited"), even, targets, outputs={"attributes": compared})
    found = compute_metrics(scores)["outputs"]["attributes"]
    assert found == {"faces": 3, "attribute_accuracy": compared.value, "each": compared.each}
    assert compute_metrics(scores.keep(targets >= 0))["outputs"]["attributes"]["faces"] == 2
    with pytest.raises(BadData, match="the output 'attributes' must have predictions for 2 faces, got 3"):
        Scores(("calm", "excited"), even[:2], targets[:2], outputs={"attributes": compared})
