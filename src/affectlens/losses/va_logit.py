"""Logit loss (Antoniadis, eq. 3.4.2): squared distance of the probabilities from the class distribution of the sample's
square of the VA plane (section 3.4). That probabilities are meant, not logits as the name says, is our reading. The 10
bins are those of table 3.2, per axis in our reading; faces in a square without training faces do not count, which is
ours.
"""

from torch import Tensor, nn

from affectlens.core.statistics import DatasetStatistics
from affectlens.losses._va_bins import VABins
from affectlens.losses._vectors import reduced


class VALogitLoss(nn.Module):
    """1/2 sum_c (p_c - l_c)^2."""

    def __init__(self, bins: VABins) -> None:
        super().__init__()
        self.bins = bins

    def forward(self, logits: Tensor, affect_target: Tensor) -> Tensor:
        """(B, C) logits and (B, 2) true valence and arousal, NaN where unknown -> () mean over the known."""
        known, shares = self.bins(affect_target)
        return reduced((logits[known].softmax(dim=1) - shares).square().sum(dim=1) / 2, "mean")


def build(statistics: DatasetStatistics, bins: int = 10) -> VALogitLoss:
    """`bins` per axis.

    Raises:
        BadSetting: `bins` is below 1, or no training face has a label, valence and arousal.
    """
    return VALogitLoss(VABins(statistics, bins))
