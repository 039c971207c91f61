"""What every loss in the catalogue must do; a new loss adds its naive calculation here."""

import math

import numpy as np
import pytest
import torch

from affectlens.core import catalog
from affectlens.core.errors import BadSetting


def naive_soft_cross_entropy(logits, target, temperature=1.0):
    total = 0.0
    for z, t in zip(logits, target, strict=True):
        normaliser = math.log(sum(math.exp(value / temperature) for value in z))
        for value, share in zip(z, t, strict=True):
            total -= share * (value / temperature - normaliser)
    return total / len(logits)


def naive_multi_target(logits, target):
    total = 0.0
    for z, t in zip(logits, target, strict=True):
        normaliser = sum(math.exp(value) for value in z)
        total -= math.log(max(math.exp(value) / normaliser for value, share in zip(z, t, strict=True) if share > 0))
    return total / len(logits)


NAIVE = {"multi_target": naive_multi_target, "soft_cross_entropy": naive_soft_cross_entropy}
LOSSES = pytest.mark.parametrize("name", catalog.available("losses"))


def batch(seed=0, rows=6, classes=8, unnamed=0):
    """Random logits, and votes of which `unnamed` classes of every row have none."""
    rng = np.random.default_rng(seed)
    logits, votes = rng.normal(size=(rows, classes)) * 3, rng.dirichlet(np.ones(classes), rows)
    for row in votes:
        row[rng.permutation(classes)[:unnamed]] = 0
    return torch.tensor(logits), torch.tensor(votes / votes.sum(axis=1, keepdims=True))


@LOSSES
@pytest.mark.parametrize("unnamed", [0, 5, 7])
def test_loss_matches_a_naive_calculation(name, unnamed):
    logits, target = batch(unnamed=unnamed)
    loss = catalog.load("losses", name).build()(logits, target)
    assert loss.shape == ()
    assert loss.item() == pytest.approx(NAIVE[name](logits.tolist(), target.tolist()))


@LOSSES
@pytest.mark.parametrize("unnamed", [0, 2])
def test_gradient_matches_finite_differences(name, unnamed):
    logits, target = batch(rows=3, classes=4, unnamed=unnamed)
    ranked = logits.sort(dim=1).values
    assert ranked.diff(dim=1).min() > 0.01  # a maximum of logits has a kink where they are equal
    loss = catalog.load("losses", name).build()
    assert torch.autograd.gradcheck(lambda z: loss(z, target), logits.requires_grad_())


@LOSSES
def test_logits_of_any_size_give_a_finite_loss_and_gradient(name):
    logits = torch.tensor([[200.0, -200.0, 0.0], [-1e4, 1e4, 0.0]], requires_grad=True)
    loss = catalog.load("losses", name).build()(logits, torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.5, 0.5]]))
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_soft_cross_entropy_divides_the_logits_by_its_temperature(temperature):
    logits, target = batch()
    loss = catalog.load("losses", "soft_cross_entropy").build(temperature)(logits, target)
    assert loss.item() == pytest.approx(naive_soft_cross_entropy(logits.tolist(), target.tolist(), temperature))


def test_soft_cross_entropy_is_lowest_where_the_network_says_what_the_raters_say():
    _, votes = batch()
    loss = catalog.load("losses", "soft_cross_entropy").build()
    entropy = -(votes * votes.log()).sum(dim=1).mean()
    assert loss(votes.log(), votes).item() == pytest.approx(entropy.item())
    assert loss(votes.log() + torch.randn(votes.shape), votes) > entropy


@pytest.mark.parametrize("temperature", [0, -1.0, math.nan])
def test_a_temperature_that_is_not_positive_is_refused(temperature):
    with pytest.raises(BadSetting, match=f"temperature must be > 0, got {temperature}"):
        catalog.load("losses", "soft_cross_entropy").build(temperature)


def test_multi_target_does_not_ask_how_many_raters_named_a_label():
    logits, votes = batch(unnamed=4)
    loss = catalog.load("losses", "multi_target").build()
    assert loss(logits, votes) == loss(logits, (votes > 0) / 4.0)


def test_multi_target_counts_the_likeliest_of_the_labels_alone():
    logits = torch.tensor([[3.0, 2.0, 1.0, 0.0]], dtype=torch.float64, requires_grad=True)
    catalog.load("losses", "multi_target").build()(logits, torch.tensor([[0.0, 0.1, 0.6, 0.3]])).backward()
    expected = logits.detach().softmax(dim=1) - torch.tensor([[0.0, 1.0, 0.0, 0.0]])
    torch.testing.assert_close(logits.grad, expected)
