"""How learned centres move, checked by hand and against autograd."""

import numpy as np
import pytest
import torch

from affectlens.core import catalog
from affectlens.core.errors import BadSetting
from affectlens.core.statistics import DatasetStatistics
from affectlens.training.recipe import find

STATISTICS = DatasetStatistics(("a", "b", "c"), np.arange(30) % 3, np.zeros((30, 2), dtype=np.float32), 2)
FEATURES = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 5.0], [9.0, 9.0]], dtype=torch.float64)
LABEL = torch.tensor([0, 0, 1, -1])


def made(name, points, **options):
    loss = catalog.load("losses", name).build(STATISTICS, **options).double()
    with torch.no_grad():
        loss.centres.points.copy_(torch.tensor(points, dtype=torch.float64))
    return loss


def test_centres_step_towards_the_features_of_their_class():
    loss = made("center", [[0.0, 0.0], [0.0, 1.0], [7.0, 7.0]], rate=0.5)
    loss(FEATURES, LABEL)
    # class 0: sum(c - x) = (-4, 0), divided by 1 + 2; class 1: (0, -4) by 1 + 1; class 2 has no face
    expected = [[0.5 * 4 / 3, 0], [0, 1 + 0.5 * 4 / 2], [7, 7]]
    np.testing.assert_allclose(loss.centres.points, expected)


def test_in_evaluation_mode_they_stay():
    loss = made("center", [[0.0, 0.0], [0.0, 1.0], [7.0, 7.0]]).eval()
    loss(FEATURES, LABEL)
    np.testing.assert_array_equal(loss.centres.points, [[0, 0], [0, 1], [7, 7]])


def test_island_centres_also_step_apart_by_the_cosine_terms():
    points = np.array([[1.0, 0.2], [0.5, 1.0], [-1.0, 0.3]])
    loss = made("island", points, rate=0.5, weight=2.0)
    loss(FEATURES, LABEL)
    for k, own in enumerate(([0, 1], [2], [])):
        pull = sum((points[k] - FEATURES[i].numpy() for i in own), np.zeros(2)) / (1 + len(own))
        push = np.zeros(2)
        for j in range(3):  # d cos(c_k, c_j) / d c_k = c_j / (|c_k||c_j|) - (c_k . c_j) c_k / (|c_k|^3 |c_j|)
            if j != k:
                a, b = points[k], points[j]
                size = np.linalg.norm(a) * np.linalg.norm(b)
                push += b / size - (a @ b) * a / (size * (a @ a))
        expected = points[k] - 0.5 * (pull + 2.0 / (3 - 1) * push)
        np.testing.assert_allclose(loss.centres.points[k], expected)


def test_only_the_nearest_subcentre_of_a_class_steps():
    points = [[0.0, 0.0], [4.0, 0.0], [0.0, 4.0], [0.0, 9.0], [1.0, 1.0], [2.0, 2.0]]
    loss = made("local_subclass", points, subclasses=2, rate=1.0)
    found = loss(FEATURES, LABEL).item()
    # 1,0 is nearest to 0,0; 3,0 to 4,0; 0,5 to 0,4
    assert found == pytest.approx((1 + 1 + 1) / 2 / 3)
    expected = [[0.5, 0], [3.5, 0], [0, 4.5], [0, 9], [1, 1], [2, 2]]
    np.testing.assert_allclose(loss.centres.points, expected)


def test_euclidean_island_centres_also_step_apart_within_the_margin():
    points = np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]])
    loss = made("island_euclidean", points, rate=0.5, weight=2.0, margin=2.0)
    loss(FEATURES, LABEL)
    # only the first and the third are within the margin: d (2 - |a - b|)^2 / d a = -2 (2 - 1) (a - b) / |a - b|
    push = np.array([[0, 2.0], [0, 0], [0, -2.0]])
    pull = np.array([[-4 / 3, 0], [3 / 2, -1 / 2], [0, 0]])
    np.testing.assert_allclose(loss.centres.points, points - 0.5 * (pull + 2.0 / (3 - 1) * push))


def test_subcentres_beyond_the_margin_step_towards_each_other():
    points = np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 5.0], [0.0, 5.2], [7.0, 7.0], [7.0, 7.0]])
    loss = made("local_subclass", points, subclasses=2, rate=0.5, weight=0.4, margin=1.0)
    loss(FEATURES, LABEL)
    # class 0: |a - b| = 5, d (5 - 1)^2 / d a = 8 (a - b) / 5; both faces belong to the first
    push = 8 / 5 * (points[0] - points[1])
    pull = np.array([-4.0, 0]) / 3
    np.testing.assert_allclose(loss.centres.points[0], points[0] - 0.5 * (pull + 0.4 * push))
    np.testing.assert_allclose(loss.centres.points[1], points[1] + 0.5 * 0.4 * push)
    np.testing.assert_allclose(loss.centres.points[2:], points[2:])  # closer than the margin, and where they belong


@pytest.mark.parametrize("subclasses", [2, 3, 10])
def test_subcentres_settle_with_the_margin_of_the_recipes(subclasses):
    options = find(f"antoniadis/t4.1-subclass-margin-{subclasses}").loss_options
    torch.manual_seed(0)
    statistics = DatasetStatistics(("a", "b", "c"), np.arange(30) % 3, np.zeros((30, 2), dtype=np.float32), 256)
    loss = catalog.load("losses", "local_subclass").build(statistics, **options["local_subclass"])
    features, label = torch.randn(36, 256) * 2, torch.arange(36) % 3
    values = [loss(features, label).item() for _ in range(400)]
    assert max(values[200:]) < 1.05 * min(values[200:])
    with pytest.raises(BadSetting, match="do not converge"):
        catalog.load("losses", "local_subclass").build(statistics, subclasses=2, weight=1.0)


@pytest.mark.parametrize("name", ["center", "island", "island_euclidean", "local_subclass", "va_center"])
def test_learning_by_gradient_makes_parameters_of_the_centres(name):
    choice = {"centres": "gradient"} if name == "va_center" else {"learn": "gradient"}
    loss = catalog.load("losses", name).build(STATISTICS, **choice).double()
    (points,) = loss.parameters()
    before = points.detach().clone()
    answers = (FEATURES, LABEL) if name != "va_center" else (FEATURES, LABEL, torch.zeros(4, 2, dtype=torch.float64))
    loss(*answers).backward()
    assert points.grad.abs().max() > 0
    torch.testing.assert_close(points.detach(), before)


@pytest.mark.parametrize(
    ("options", "message"), [({"rate": 0.0}, "must be in \\(0, 1\\], got 0"), ({"learn": "magic"}, "got 'magic'")]
)
def test_settings_of_centres_are_checked(options, message):
    with pytest.raises(BadSetting, match=message):
        catalog.load("losses", "center").build(STATISTICS, **options)


def test_centres_need_features():
    bare = DatasetStatistics(STATISTICS.labels, STATISTICS.targets, STATISTICS.affect, 0)
    with pytest.raises(BadSetting, match="needs features, which this network does not output"):
        catalog.load("losses", "center").build(bare)
