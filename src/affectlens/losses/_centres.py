"""Centres of classes in feature space, learned by their own rule beside the network."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from affectlens.core.errors import BadSetting

Reduction = Literal["mean", "sum"]
Energy = Callable[[Tensor], Tensor]


class Centres(nn.Module):
    """K centres of D features; shape (K, D). They are drawn from a normal distribution of deviation 1 / sqrt(D), so
    that they begin about 1.4 apart, within the margins that the thesis gives.

    By the rule of Wen et al. 2016 (eq. 4): c_j <- c_j - rate * sum(c_j - x_i) / (1 + n_j) over the n_j features of the
    batch that belong to c_j. With `learn` "gradient" they are parameters that the network's optimiser moves instead.

    Raises:
        BadSetting: `rate` is outside (0, 1], `learn` is unknown, or there are no features.
    """

    def __init__(self, number: int, features: int, rate: float, learn: str) -> None:
        super().__init__()
        if not 0 < rate <= 1:
            raise BadSetting(f"the rate of the centres must be in (0, 1], got {rate}")
        if learn not in ("rule", "gradient"):
            raise BadSetting(f"centres learn by 'rule' or 'gradient', got '{learn}'")
        if not features:
            raise BadSetting("the network gives no features, which centres need")
        self.rate = rate
        drawn = torch.randn(number, features) / features**0.5
        self.by_rule = learn == "rule"
        if self.by_rule:
            self.register_buffer("points", drawn)
        else:
            self.points = nn.Parameter(drawn)

    def follow(self, features: Tensor, belongs: Tensor, energy: Energy | None = None, weight: float = 0.0) -> None:
        """Move by the rule towards the (B, D) features that belong to the centres (B,).

        `energy` of the (K, D) centres, a sum over pairs, adds `weight` times its gradient to the step. Nothing happens
        in evaluation mode, or where the optimiser moves the centres.
        """
        if not (self.by_rule and self.training):
            return
        push = None
        if energy is not None:
            with torch.enable_grad():
                points = self.points.detach().requires_grad_()
                (push,) = torch.autograd.grad(energy(points), points)
        self._step(features.detach(), belongs, 0 if push is None else weight * push)

    @torch.no_grad()
    def _step(self, features: Tensor, belongs: Tensor, push: Tensor | int) -> None:
        points = self.points
        counts = torch.zeros(len(points), device=points.device).index_add_(
            0, belongs, torch.ones(len(belongs), device=points.device)
        )
        sums = torch.zeros_like(points).index_add_(0, belongs, features.to(points.dtype))
        counts = counts.to(points.dtype).unsqueeze(1)
        points.sub_(self.rate * ((counts * points - sums) / (1 + counts) + push))


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
    belongs = torch.zeros(classes, len(features), dtype=features.dtype, device=features.device)
    belongs[label, torch.arange(len(label), device=label.device)] = 1
    return belongs @ features / belongs.sum(dim=1, keepdim=True).clamp_min(1)
