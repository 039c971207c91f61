import pytest
import torch
from scipy.special import ive

from affectlens.models.layers.scalar_attention import _terms, scalar_attention


def inputs(scale, shape=(2, 3), positions=50, width=4, offset=0.0):
    """Float64 queries, keys and values; a product of query and key is about `scale`."""
    random = torch.Generator().manual_seed(0)
    query, key = (torch.randn((*shape, positions, 1), generator=random, dtype=torch.float64) for _ in range(2))
    value = torch.randn((*shape, positions, width), generator=random, dtype=torch.float64)
    return query * scale**0.5, key * scale**0.5 + offset, value


def naive(query, key, value):
    return torch.softmax(query @ key.transpose(-1, -2), dim=-1) @ value


def gradients(function, tensors):
    tensors = [tensor.clone().requires_grad_() for tensor in tensors]
    result = function(*tensors)
    weights = torch.randn(result.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return torch.autograd.grad((result * weights.to(result.dtype)).sum(), tensors)


SCALES = pytest.mark.parametrize("scale", [0.0, 1e-6, 0.01, 1.0, 5.0, 20.0, 60.0, 1e3, 1e5])
"""The last two are beyond what a series is tried for."""


@SCALES
@pytest.mark.parametrize("offset", [0.0, 3.0])
def test_values_are_those_of_softmax_attention_in_double_precision(scale, offset):
    tensors = inputs(scale, offset=offset)
    got = scalar_attention(*(tensor.float() for tensor in tensors))
    assert got.dtype == torch.float32
    torch.testing.assert_close(got.double(), naive(*tensors), atol=1e-3, rtol=1e-3)


@SCALES
def test_gradients_are_those_of_softmax_attention_in_double_precision(scale):
    tensors = [tensor.float().double() for tensor in inputs(scale)]
    expected = gradients(naive, tensors)
    got = gradients(scalar_attention, [tensor.float() for tensor in tensors])
    floor = 1e-3 * torch.cat([gradient.flatten() for gradient in expected]).norm()
    for mine, exact in zip(got, expected, strict=True):
        assert (mine.double() - exact).norm() <= 1e-2 * exact.norm() + floor


@pytest.mark.parametrize("reach", [0.001, 0.1, 1.0, 10.0, 100.0, 500.0])
def test_the_series_ends_soon_after_what_is_left_out_is_below_float32(reach):
    orders = range(_terms(reach) - 7, 400)
    rest = [2 * sum(ive(order, reach) for order in orders if order >= first) for first in (orders[0], _terms(reach))]
    assert rest[0] > 1e-7 > 2 * rest[1]


def test_equal_keys_give_the_mean_of_the_values():
    query, key, value = (tensor.float() for tensor in inputs(1.0))
    mean = value.mean(dim=-2, keepdim=True).expand_as(value)
    torch.testing.assert_close(scalar_attention(query, torch.full_like(key, 2.0), value), mean, atol=1e-5, rtol=1e-5)


def test_half_precision_comes_in_and_single_goes_out():
    tensors = [tensor.bfloat16() for tensor in inputs(1.0)]
    got = scalar_attention(*tensors)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got.double(), naive(*(tensor.double() for tensor in tensors)), atol=1e-3, rtol=1e-3)


def test_what_is_not_a_number_stays_visible():
    query, key, value = (tensor.float() for tensor in inputs(1.0))
    query[0, 0, 0] = float("nan")
    assert scalar_attention(query, key, value).isnan().any()


@pytest.mark.parametrize("scale", [1.0, 1e5], ids=["series", "beyond the series"])
def test_the_map_of_all_pairs_is_never_built(scale, largest_tensor):
    tensors = [tensor.float().requires_grad_() for tensor in inputs(scale, shape=(1, 1), positions=1000)]
    assert largest_tensor(lambda: scalar_attention(*tensors).sum().backward()) < 1000 * 1000 / 4
    assert largest_tensor(lambda: naive(*tensors)) == 1000 * 1000


@pytest.mark.parametrize("scale", [0.1, 1, 2, 4])
@pytest.mark.parametrize("spread", [1, 0.01, 0])
def test_it_is_as_exact_under_autocast_and_where_keys_all_but_coincide(scale, spread):
    torch.manual_seed(0)
    query = torch.randn(1, 2, 42 * 42, 1) * (scale if spread == 1 else 100 * scale)
    key, value = torch.randn(1, 2, 42 * 42, 1) * scale * spread + 3, torch.randn(1, 2, 42 * 42, 4)
    with torch.autocast("cpu", torch.bfloat16):
        found = scalar_attention(query, key, value)
    exact = torch.softmax(query.double() @ key.double().transpose(-1, -2), dim=-1) @ value.double()
    assert found.dtype == torch.float32
    assert (found - exact).abs().max() < 2e-3
