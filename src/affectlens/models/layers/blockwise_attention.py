"""Exact softmax attention for training on a CPU: a few maps at a time, recomputed in the backward pass.

PyTorch's fused kernel for CPUs handles one small tile after the other; whole products over as many (N x M) maps as fit
into the cache take half of its time (experiments/training.txt), and memory stays nearly as small.
Dot products and softmax are in float32, the other products in the type of the values.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_MAP_ENTRIES = 1 << 20
"""Entries of all maps at work, 4 MiB in float32, unless a single map has more."""


def blockwise_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """(..., N, D) queries, (..., M, D) keys, (..., M, V) values -> (..., N, V): softmax(query key^T) value.

    Unscaled, in the type of `value`; the leading dimensions are equal. Differentiable once.
    """
    flat = (x.flatten(0, -3) for x in (query, key, value))
    attended: Tensor = _Blockwise.apply(*flat)
    return attended.view(*query.shape[:-1], value.shape[-1])


class _Blockwise(torch.autograd.Function):
    """The same on (B, N, D), (B, M, D), (B, M, V)."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        ctx.save_for_backward(query, key, value)
        attended = value.new_empty(*query.shape[:2], value.shape[2])
        with torch.autocast(query.device.type, enabled=False):
            for some in _blocks(query, key):
                attended[some] = _map(query[some], key[some]).to(value.dtype) @ value[some]
        return attended

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = ctx.saved_tensors
        to_query, to_key, to_value = torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)
        with torch.autocast(query.device.type, enabled=False):
            for some in _blocks(query, key):
                attention = _map(query[some], key[some]).to(value.dtype)
                to_value[some] = attention.transpose(1, 2) @ gradient[some]
                to_attention = gradient[some] @ value[some].transpose(1, 2)
                to_product = torch._softmax_backward_data(to_attention, attention, -1, attention.dtype)
                to_query[some] = to_product.to(key.dtype) @ key[some]
                to_key[some] = to_product.to(query.dtype).transpose(1, 2) @ query[some]
        return to_query, to_key, to_value


def _blocks(query: Tensor, key: Tensor) -> list[slice]:
    """Runs of the first dimension whose maps stay within `_MAP_ENTRIES`."""
    run = max(1, _MAP_ENTRIES // (query.shape[1] * key.shape[1]))
    return [slice(start, start + run) for start in range(0, query.shape[0], run)]


def _map(query: Tensor, key: Tensor) -> Tensor:
    """(B, N, M) float32: the softmax of the dot products."""
    return torch.softmax(query.float() @ key.float().transpose(1, 2), dim=-1)
