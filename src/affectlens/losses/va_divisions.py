"""Classification loss over the sectors of the VA plane (quarter, eight, twelve) (Antoniadis, section 5.2.1).

In the text "CE loss is used for both tasks"; table 5.2 calls the same row (65.97 %) weighted in both, as the default
is. How sectors are weighted, and where the first begins, is not stated; weights are those of the classes (n_min / n_i),
by sector. Sector floor((atan2(arousal, valence) mod 2 pi) / (2 pi / n)); how many there are is the width of the
network's head. (0, 0), around which the text sees the neutral faces, has no angle and counts as sector 0.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from affectlens.core.errors import BadSetting
from affectlens.core.statistics import DatasetStatistics
from affectlens.losses.weighted_cross_entropy import rarity


def sector(affect: Tensor, number: int) -> Tensor:
    """(B, 2) valence and arousal -> (B,) sector from 0 to `number` - 1, counter-clockwise from positive valence."""
    angle = torch.atan2(affect[:, 1].double(), affect[:, 0].double()) % (2 * torch.pi)
    return (angle / (2 * torch.pi / number)).long().clamp(0, number - 1)


class VADivisionsLoss(nn.Module):
    """-w_t (1 - p_t)^gamma log p_t of the true sector t, divided by the sum of the weights."""

    def __init__(self, affect: Tensor, weighted: bool, gamma: float) -> None:
        super().__init__()
        self.seen = affect  # a tensor of the CPU
        self.weighted = weighted
        self._by_number: dict[tuple[int, torch.device], Tensor] = {}
        self.gamma = gamma

    def forward(self, divisions: Tensor, affect_target: Tensor) -> Tensor:
        """(B, n) logits and (B, 2) true valence and arousal, NaN where unknown -> () in nats over the known."""
        known = affect_target.isfinite().all(dim=1)
        number = divisions.shape[1]
        truth = sector(affect_target[known], number)
        log_p = log_softmax(divisions[known], dim=1).gather(1, truth.unsqueeze(1)).squeeze(1)
        weight = self._weights(number, log_p.device)[truth].to(log_p.dtype)
        doubt = (1 - log_p.exp()).clamp_min(1e-12) ** self.gamma
        return -(weight * doubt * log_p).sum() / weight.sum().clamp_min(1e-12)

    def _weights(self, number: int, device: torch.device) -> Tensor:
        """(n,) n_min / n_i of the training set's sectors, computed once; 1 where they do not count."""
        if (number, device) not in self._by_number:
            weights = torch.ones(number)
            if self.weighted:
                weights = rarity(torch.bincount(sector(self.seen, number), minlength=number))
            self._by_number[number, device] = weights.to(device)
        return self._by_number[number, device]


def build(statistics: DatasetStatistics, weighted: bool = True, gamma: float = 0.0) -> VADivisionsLoss:
    """`weighted`: by the sectors' faces in training; `gamma` > 0 makes it the focal loss.

    Raises:
        BadSetting: `gamma` is negative, or no training face has valence and arousal.
    """
    if not gamma >= 0:
        raise BadSetting(f"gamma must be >= 0, got {gamma}")
    return VADivisionsLoss(
        torch.from_numpy(statistics.known_affect("the loss over valence-arousal sectors")), weighted, gamma
    )
