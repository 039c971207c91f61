"""Vector operations shared by losses."""

from typing import Literal

import torch
from torch import Tensor

from affectlens.core.errors import BadSetting

Reduction = Literal["mean", "sum"]


def reduced(values: Tensor, reduction: Reduction) -> Tensor:
    """(B,) -> () mean (0 of none) or sum.

    Raises:
        BadSetting: there is no such reduction.
    """
    if reduction not in ("mean", "sum"):
        raise BadSetting(f"reduction must be mean or sum, got '{reduction}'")
    return values.sum() / (max(len(values), 1) if reduction == "mean" else 1)


def squares(x: Tensor, y: Tensor) -> Tensor:
    """(B, D), (B, D) -> (B,) squared Euclidean distances."""
    return (x - y).square().sum(dim=1)


def distances(x: Tensor, y: Tensor) -> Tensor:
    """(B, D), (B, D) -> (B,) Euclidean distances, with a finite gradient where they are 0."""
    return squares(x, y).clamp_min(1e-12).sqrt()


def pairs(number: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """First and second members of all pairs i < j of `number` things."""
    first, second = torch.triu_indices(number, number, offset=1, device=device)
    return first, second


def batch_means(features: Tensor, label: Tensor, classes: int) -> Tensor:
    """(B, D) features, (B,) classes -> (classes, D) mean feature of each class; 0 where the batch has none of it."""
    sums = torch.zeros(classes, features.shape[1], dtype=features.dtype, device=features.device)
    counts = torch.bincount(label, minlength=classes).clamp_min(1).unsqueeze(1)
    return sums.index_add(0, label, features) / counts  # a product of matrices would round to bfloat16 under autocast
