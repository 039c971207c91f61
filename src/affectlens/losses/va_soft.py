"""Soft loss (Antoniadis, eq. 3.4.1): cross-entropy with the class distribution of the sample's square of the VA plane
(section 3.4). The 5 bins are those of table 3.2, per axis in our reading; faces in a square without training faces do
not count, which is ours.
"""

from torch import Tensor, nn
from torch.nn.functional import log_softmax

from affectlens.core.statistics import DatasetStatistics
from affectlens.losses._va_bins import VABins
from affectlens.losses._vectors import reduced


class VASoftLoss(nn.Module):
    """-sum_c l_c log p_c."""

    def __init__(self, bins: VABins) -> None:
        super().__init__()
        self.bins = bins

    def forward(self, logits: Tensor, affect_target: Tensor) -> Tensor:
        """(B, C) logits and (B, 2) true valence and arousal, NaN where unknown -> () mean in nats over the known."""
        known, shares = self.bins(affect_target)
        return reduced(-(shares * log_softmax(logits[known], dim=1)).sum(dim=1), "mean")


def build(statistics: DatasetStatistics, bins: int = 5) -> VASoftLoss:
    """`bins` per axis.

    Raises:
        BadSetting: `bins` is below 1, or no training face has a label, valence and arousal.
    """
    return VASoftLoss(VABins(statistics, bins))
