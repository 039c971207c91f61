"""Center loss with the batch mean of a class as its centre (Hayale et al. 2019; Antoniadis, eq. 4.2.4).

The gradient flows through the means, which is ours. The text sums over the batch, the default here is the mean
(`losses.center`).
"""

from collections.abc import Callable

from torch import Tensor

from affectlens.core.statistics import DatasetStatistics
from affectlens.losses._vectors import Reduction, batch_means, reduced, squares


def build(statistics: DatasetStatistics, reduction: Reduction = "mean") -> Callable[[Tensor, Tensor], Tensor]:
    """`reduction` is "mean" or "sum" over the batch."""
    classes = len(statistics.labels)

    def loss(features: Tensor, label: Tensor) -> Tensor:
        """(B, D) features and (B,) classes, -1 where there is none -> () of 1/2 |x_i - mean of its class|^2."""
        features, label = features[label >= 0], label[label >= 0]
        return reduced(squares(features, batch_means(features, label, classes)[label]) / 2, reduction)

    return loss
