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


NAIVE = {"soft_cross_entropy": naive_soft_cross_entropy}
LOSSES = pytest.mark.parametrize("name", catalog.available("losses"))


def batch(seed=0, rows=6, classes=8):
    rng = np.random.default_rng(seed)
    return torch.tensor(rng.normal(size=(rows, classes)) * 3), torch.tensor(rng.dirichlet(np.ones(classes), rows))


@LOSSES
def test_loss_matches_a_naive_calculation(name):
    logits, target = batch()
    loss = catalog.load("losses", name).build()(logits, target)
    assert loss.shape == ()
    assert loss.item() == pytest.approx(NAIVE[name](logits.tolist(), target.tolist()))


@LOSSES
def test_gradient_matches_finite_differences(name):
    logits, target = batch(rows=3, classes=4)
    loss = catalog.load("losses", name).build()
    assert torch.autograd.gradcheck(lambda z: loss(z, target), logits.requires_grad_())


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
