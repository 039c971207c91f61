"""Class centres in feature space, learned by their own update rule."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from affectlens.core.errors import BadSetting

Energy = Callable[[Tensor], Tensor]


class Centres(nn.Module):
    """K centres of D features; shape (K, D). They are drawn from a normal distribution of deviation 1 / sqrt(D), so
    that they begin about 1.4 apart, within the margins of the Euclidean island loss (2 and 5). The text says only that
    they are initialised randomly.

    By the rule of Wen et al. 2016 (eq. 4): c_j <- c_j - rate * sum(c_j - x_i) / (1 + n_j) over the n_j features of the
    batch that belong to c_j. With `learn` "gradient" they are parameters that the network's optimiser moves instead.

    Raises:
        BadSetting: `rate` is outside (0, 1], `learn` is unknown, or there are no features.
    """

    def __init__(self, number: int, features: int, rate: float, learn: str) -> None:
        super().__init__()
        if not 0 < rate <= 1:
            raise BadSetting(f"rate must be in (0, 1], got {rate}")
        if learn not in ("rule", "gradient"):
            raise BadSetting(f"learn must be 'rule' or 'gradient', got '{learn}'")
        if not features:
            raise BadSetting("a loss with centres needs features, which this network does not output")
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
