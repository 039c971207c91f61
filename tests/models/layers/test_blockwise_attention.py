import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from affectlens.models.layers.blockwise_attention import blockwise_attention


def inputs(shape=(2, 3), queries=40, keys=50, width=5, values=4, kind=torch.float64):
    random = torch.Generator().manual_seed(0)
    sizes = ((queries, width), (keys, width), (keys, values))
    return [torch.randn(*shape, *size, generator=random, dtype=torch.float64).to(kind) for size in sizes]


def naive(query, key, value):
    return torch.softmax(query @ key.transpose(-1, -2), dim=-1) @ value


@pytest.mark.parametrize("shape", [(7,), (2, 3), (700, 2)])
def test_values_and_gradients_are_those_of_softmax_attention(shape):
    mine, exact = inputs(shape, kind=torch.float32), inputs(shape)
    for tensor in (*mine, *exact):
        tensor.requires_grad_()
    found, expected = blockwise_attention(*mine), naive(*exact)
    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-4)
    (found * weights).sum().backward()
    (expected * weights.double()).sum().backward()
    for one, other in zip(mine, exact, strict=True):
        torch.testing.assert_close(one.grad.double(), other.grad, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("scale", [1, 3])
def test_half_precision_under_autocast_is_as_exact_as_the_fused_kernel(scale):
    query, key, value = inputs((1, 8), 576, 576, 8, 8, torch.bfloat16)
    query = query * scale
    exact = naive(query.double(), key.double(), value.double())
    fused = scaled_dot_product_attention(query, key, value, scale=1.0)
    with torch.autocast("cpu", torch.bfloat16):
        found = blockwise_attention(query, key, value)
    assert found.dtype == torch.bfloat16
    assert (found - exact).norm() < 1.5 * (fused - exact).norm()


def test_gradients_in_half_precision_are_as_exact_as_those_of_the_fused_kernel():
    kinds = {}
    for name, attend in {
        "exact": lambda *tensors: naive(*(tensor.double() for tensor in tensors)),
        "fused": lambda *tensors: scaled_dot_product_attention(*tensors, scale=1.0),
        "mine": blockwise_attention,
    }.items():
        tensors = [tensor.requires_grad_() for tensor in inputs((1, 8), 576, 576, 8, 8, torch.bfloat16)]
        with torch.autocast("cpu", torch.bfloat16, enabled=name == "mine"):
            attend(*tensors).double().square().sum().backward()
        kinds[name] = [tensor.grad.double() for tensor in tensors]
    for exact, fused, mine in zip(*kinds.values(), strict=True):
        assert (mine - exact).norm() < 1.5 * (fused - exact).norm()


def test_memory_does_not_grow_with_the_number_of_maps(largest_tensor):
    tensors = [tensor.requires_grad_() for tensor in inputs((16,), 400, 400, kind=torch.float32)]
    assert largest_tensor(lambda: blockwise_attention(*tensors).sum().backward()) <= 1 << 20
    assert largest_tensor(lambda: naive(*tensors)) == 16 * 400 * 400


def test_what_is_not_a_number_stays_visible():
    query, key, value = inputs(kind=torch.float32)
    query[0, 0, 0] = float("nan")
    assert blockwise_attention(query, key, value).isnan().any()
