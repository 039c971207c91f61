"""Softmax attention with queries and keys of width one, in O(N M) instead of O(N^2).

softmax over j of q_i k_j needs sums over j of exp(q_i k_j) v_j. The exponential is smooth in k, so on the interval that
the keys fill it equals its Chebyshev series to rounding after M terms; the sums over j of T_m(k_j) v_j then serve all
queries at once. With z = |q| times half the interval, coefficient m falls off as exp(-m^2 / 2z), hence M ~ sqrt(z).
Relative to the largest value on the interval, which one key attains, the denominator is at least 1, so that rounding
does not grow: in float32 the values are within 1e-3 of the exact ones (tests/models/layers/test_scalar_attention.py).
Keys that all but coincide get an interval of their own width 0.1, or less where |q| is large.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from affectlens.models.layers.fused_attention import fused_attention

_MAX_TERMS = 128
_WIDER = 1.001
"""The interval reaches a little beyond the keys: at its ends, the angle has no derivative."""
_MAX_POSITIONS = 64_000
"""Positions of all maps at work; more no longer fit into the cache, fewer cost more calls (measured on 42x42 maps)."""


def scalar_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """(..., N, 1) queries and keys, (..., N, V) values -> (..., N, V) float32: softmax(query key^T) value, unscaled.

    Differentiable once.
    """
    with torch.autocast(query.device.type, enabled=False):  # the series cancels; half precision would lose everything
        attended: Tensor = _InBlocks.apply(*(x.float().flatten(0, -3) for x in (query, key, value)))
    return attended.view(value.shape)


class _InBlocks(torch.autograd.Function):
    """The same on (B, N, 1), (B, N, 1), (B, N, V) float32, a few maps at a time, recomputed in the backward pass: their
    series stay in the cache, and maps that need many terms cost only their own block.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        ctx.save_for_backward(query, key, value)
        return torch.cat([_attend(query[some], key[some], value[some]) for some in _blocks(query)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        query, key, value = ctx.saved_tensors
        with torch.autocast(gradient.device.type, enabled=False):
            found = [_backward(query[some], key[some], value[some], gradient[some]) for some in _blocks(gradient)]
        return tuple(torch.cat(parts) for parts in zip(*found, strict=True))


def _blocks(query: Tensor) -> list[slice]:
    """Runs of the first dimension of at most `_MAX_POSITIONS` queries, or single maps."""
    run = max(1, _MAX_POSITIONS // query.shape[1])
    return [slice(start, start + run) for start in range(0, query.shape[0], run)]


class _Series:
    """The series of a block; `terms` is above `_MAX_TERMS` where it would be longer than it is worth.

    With t the keys on their interval, cos(m angle) = T_m(t); `waves` (B, N, M) at the keys, `growth` (B, N, M) the
    exponential at the nodes, divided by its largest value. Sums over j are `growth` @ `moments`.
    """

    def __init__(self, query: Tensor, key: Tensor) -> None:
        low, high = key.amin(dim=-2, keepdim=True), key.amax(dim=-2, keepdim=True)
        steepest = query.abs().amax(dim=-2, keepdim=True)
        narrowest = torch.minimum(torch.full_like(steepest, 0.1), 1 / steepest.clamp_min(1e-6))
        self.half = torch.maximum((high - low) / 2 * _WIDER, narrowest)
        reach = float((steepest * self.half).max())
        self.terms = _terms(reach)
        if self.terms > _MAX_TERMS:
            return
        self.orders = torch.arange(self.terms, device=key.device, dtype=torch.float32)
        nodes = math.pi * (self.orders + 0.5) / self.terms
        self.nodes = torch.cos(nodes)
        self.to_nodes = torch.cos(self.orders.unsqueeze(1) * nodes) * 2 / self.terms
        self.to_nodes[0] /= 2
        self.angles = torch.acos((key - (low + high) / 2) / self.half)
        self.phases = self.angles * self.orders
        self.waves = torch.cos(self.phases)
        exponent = query * self.half
        self.growth = torch.exp(exponent * self.nodes - exponent.abs())

    def sums(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """(B, M, V + 1) moments of the values and of ones, and (B, N, V + 1) the sums over all keys."""
        with_ones = torch.cat([value, torch.ones_like(value[..., :1])], dim=-1)
        moments = self.to_nodes.T @ (self.waves.transpose(-1, -2) @ with_ones)
        return moments, self.growth @ moments


def _terms(reach: float) -> int:
    """Terms after which the series of exp(z t - z) on [-1, 1] for z = `reach` is exact to float32.

    The rest of the series is 2 exp(-z) times the sum of the modified Bessel functions I_m(z) from there on; this fit
    to the first m at which it is below 2e-7 is two to six terms longer.
    """
    return 5 + math.ceil(math.sqrt(28 * reach)) if math.isfinite(reach) else _MAX_TERMS + 1


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """`scalar_attention` of one block."""
    series = _Series(query, key)
    if series.terms > _MAX_TERMS:
        return fused_attention(query, key, value)
    _, sums = series.sums(value)
    return sums[..., :-1] / sums[..., -1:]


def _backward(query: Tensor, key: Tensor, value: Tensor, gradient: Tensor) -> tuple[Tensor, ...]:
    """Gradients of `_attend`; the interval and the largest value cancel, so that they have none."""
    series = _Series(query, key)
    if series.terms > _MAX_TERMS:
        with torch.enable_grad():
            tensors = [tensor.detach().requires_grad_() for tensor in (query, key, value)]
            return torch.autograd.grad(fused_attention(*tensors), tensors, gradient)
    moments, sums = series.sums(value)
    denominator = sums[..., -1:]
    attended = sums[..., :-1] / denominator
    to_sums = torch.cat([gradient, -(gradient * attended).sum(dim=-1, keepdim=True)], dim=-1) / denominator
    to_growth = (to_sums @ moments.transpose(-1, -2)) * series.growth
    to_query = (to_growth @ series.nodes.unsqueeze(1)) * series.half
    to_series = series.to_nodes @ (series.growth.transpose(-1, -2) @ to_sums)
    to_value = series.waves @ to_series[..., :-1]
    to_waves = value @ to_series[..., :-1].transpose(-1, -2) + to_series[..., -1:].transpose(-1, -2)
    slopes = (to_waves * torch.sin(series.phases)) @ series.orders.unsqueeze(1)
    return to_query, slopes / (torch.sin(series.angles) * series.half), to_value
