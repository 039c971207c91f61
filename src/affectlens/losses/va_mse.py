"""Mean squared error of valence and arousal: 1/2 ((v - v')^2 + (a - a')^2) (Antoniadis, eq. 5.1.5).

The mean over the batch is ours.
"""

from collections.abc import Callable

from torch import Tensor

from affectlens.core.statistics import DatasetStatistics
from affectlens.losses._vectors import Reduction, reduced, squares


def build(statistics: DatasetStatistics, reduction: Reduction = "mean") -> Callable[[Tensor, Tensor], Tensor]:
    """`reduction` is "mean" or "sum" over the batch.

    Raises:
        BadSetting: no training face has valence and arousal.
    """
    statistics.known_affect("the regression loss of valence and arousal")

    def loss(affect: Tensor, affect_target: Tensor) -> Tensor:
        """(B, 2) and (B, 2) valence and arousal, the true ones NaN where unknown -> () over the known."""
        known = affect_target.isfinite().all(dim=1)
        return reduced(squares(affect[known], affect_target[known]) / 2, reduction)

    return loss
