"""Multi-target loss: any label that enough raters chose counts as correct (Barsoum et al. 2016, arXiv:1608.01041, eq.
4).
"""

from collections.abc import Callable

from torch import Tensor
from torch.nn.functional import log_softmax

from affectlens.core.statistics import DatasetStatistics


def build(statistics: DatasetStatistics) -> Callable[[Tensor, Tensor], Tensor]:
    """A loss without settings."""
    del statistics

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        """(B, C) logits and (B, C) rows that are positive for the labels that count -> () mean in nats.

        -log of the largest probability among those labels; how much of the votes each has does not matter.
        """
        wanted = log_softmax(logits, dim=1).masked_fill(target <= 0, float("-inf"))
        return -wanted.amax(dim=1).mean()

    return loss
