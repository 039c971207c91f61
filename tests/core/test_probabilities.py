import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from affectlens.core.probabilities import normalized_entropy, softmax

LOGITS = arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(2, 8)), elements=st.floats(-50, 50))


def naive_softmax(row, temperature):
    powers = [math.exp(value / temperature) for value in row]
    return [power / sum(powers) for power in powers]


@settings(deadline=None)
@given(LOGITS, st.floats(0.2, 10))
def test_softmax_matches_a_naive_calculation(logits, temperature):
    expected = [naive_softmax(row, temperature) for row in logits]
    np.testing.assert_allclose(softmax(logits, temperature), expected, rtol=1e-9, atol=1e-12)


@given(LOGITS, st.floats(0.2, 10))
def test_a_prior_is_divided_out(logits, temperature):
    prior = np.arange(1, logits.shape[1] + 1) / 10
    divided = softmax(logits, temperature) / prior
    np.testing.assert_allclose(
        softmax(logits, temperature, prior), divided / divided.sum(axis=1, keepdims=True), rtol=1e-6, atol=1e-12
    )


def test_softmax_of_huge_logits_does_not_overflow():
    np.testing.assert_allclose(softmax(np.array([[1e4, 1e4, -1e4]])), [[0.5, 0.5, 0.0]])


@settings(deadline=None)
@given(LOGITS, st.floats(0.2, 10))
def test_probabilities_sum_to_one_and_keep_the_order_of_the_logits(logits, temperature):
    probabilities = softmax(logits, temperature)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    for p, z in zip(probabilities, logits, strict=True):
        assert p[z.argmax()] == p.max()


@pytest.mark.parametrize(
    ("row", "expected"),
    [([1.0, 0.0, 0.0, 0.0], 0.0), ([0.25] * 4, 1.0), ([0.5, 0.5, 0.0, 0.0], 0.5)],
)
def test_entropy_runs_from_unanimity_to_an_even_split(row, expected):
    assert normalized_entropy(np.array([row]))[0] == pytest.approx(expected)


@settings(deadline=None)
@given(LOGITS)
def test_entropy_lies_between_zero_and_one_and_matches_a_naive_sum(logits):
    probabilities = softmax(logits)
    naive = [-sum(p * math.log(p) for p in row if p > 0) / math.log(len(row)) for row in probabilities]
    entropy = normalized_entropy(probabilities)
    assert entropy.min() >= 0
    assert entropy.max() <= 1 + 1e-12
    np.testing.assert_allclose(entropy, naive, atol=1e-9)
