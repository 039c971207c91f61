"""Focal loss, -alpha_t (1 - p_t)^gamma log p_t (Lin et al. 2017, arXiv:1708.02002, eq. 5; Antoniadis, eq. 5.4.1 and
5.4.2).

The text gives the binary form, in which gamma 0 is the cross-entropy, and neither the gamma nor the alpha of its runs.
Ours: p_t is the softmax of the true class, gamma 2 (its example), alpha n_min / n_t, and the division by the sum of
alpha.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from affectlens.core.errors import BadSetting
from affectlens.core.statistics import DatasetStatistics
from affectlens.losses.weighted_cross_entropy import class_weights


class FocalLoss(nn.Module):
    """Divided by the sum of alpha_t over the batch, so that gamma 0 is `weighted_cross_entropy`; on votes each share
    counts as a label of its own.
    """

    alpha: Tensor

    def __init__(self, alpha: Tensor, gamma: float) -> None:
        super().__init__()
        self.register_buffer("alpha", alpha)
        self.gamma = gamma

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """(B, C) logits and (B, C) rows that sum to 1 -> () mean in nats."""
        log_p = log_softmax(logits, dim=1)
        doubt = (1 - log_p.exp()).clamp_min(1e-12) ** self.gamma
        weight = self.alpha * target
        return -(weight * doubt * log_p).sum() / weight.sum().clamp_min(1e-12)


def build(statistics: DatasetStatistics, gamma: float = 2.0, weighted: bool = True) -> FocalLoss:
    """`gamma` >= 0; `weighted`: alpha_t is n_min / n_t as in the weighted cross-entropy, else 1.

    Raises:
        BadSetting: `gamma` is negative, or no face has a label and `weighted` is on.
    """
    if not gamma >= 0:
        raise BadSetting(f"gamma must be >= 0, got {gamma}")
    return FocalLoss(class_weights(statistics) if weighted else torch.ones(len(statistics.labels)), gamma)
