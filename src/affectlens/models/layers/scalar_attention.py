"""Softmax attention with queries and keys of width one, in O(N M) instead of O(N^2).

softmax over j of q_i k_j needs sums over j of exp(q_i k_j) v_j. The exponential is smooth in k, so on the interval that
the keys fill it equals its Chebyshev series to rounding after M terms; the sums over j of T_m(k_j) v_j then serve all
queries at once. With z = |q| times half the interval, coefficient m falls off as exp(-m^2 / 2z), hence M ~ sqrt(z).
Relative to the largest value on the interval, which one key attains, the denominator is at least 1, so that rounding
does not grow: in float32 the values are within 1e-3 of the exact ones (tests/models/layers/test_scalar_attention.py).
Keys that all but coincide get an interval of their own width 0.1, or less where |q| is large.
"""

import math

import torch
from torch import Tensor

from affectlens.models.layers.fused_attention import fused_attention

_MAX_TERMS = 128


def scalar_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """(..., N, 1) queries and keys, (..., N, V) values -> (..., N, V) float32: softmax(query key^T) value, unscaled."""
    with torch.autocast(query.device.type, enabled=False):  # the series cancels; half precision would lose everything
        return _attend(query.float(), key.float(), value.float())


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """`scalar_attention` in float32."""
    low, high = key.detach().amin(dim=-2, keepdim=True), key.detach().amax(dim=-2, keepdim=True)
    steepest = query.detach().abs().amax(dim=-2, keepdim=True)
    narrowest = torch.minimum(torch.full_like(steepest, 0.1), 1 / steepest.clamp_min(1e-6))
    middle, half = (low + high) / 2, torch.maximum((high - low) / 2, narrowest)
    reach = float((steepest * half).max())
    terms = 12 + math.ceil(math.sqrt(36 * reach)) if math.isfinite(reach) else _MAX_TERMS + 1
    if terms > _MAX_TERMS:
        return fused_attention(query, key, value)
    angle = math.pi * (torch.arange(terms, device=key.device) + 0.5) / terms
    nodes = torch.cos(angle)
    to_nodes = torch.cos(torch.arange(terms, device=key.device).unsqueeze(1) * angle) * 2 / terms
    to_nodes[0] /= 2
    series = _chebyshev((key - middle) / half, terms)
    moments = to_nodes.T @ (series.transpose(-1, -2) @ torch.cat([value, torch.ones_like(key)], dim=-1))
    exponent = query * half
    sums = torch.exp(exponent * nodes - exponent.abs()) @ moments
    return sums[..., :-1] / sums[..., -1:]


def _chebyshev(t: Tensor, terms: int) -> Tensor:
    """(..., N, 1) in [-1, 1] -> (..., N, terms): T_0(t) to T_(terms-1)(t)."""
    columns = [torch.ones_like(t), t]
    for _ in range(terms - 2):
        columns.append(2 * t * columns[-1] - columns[-2])
    return torch.cat(columns, dim=-1)
