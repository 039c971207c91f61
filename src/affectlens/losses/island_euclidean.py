"""Euclidean island loss (Antoniadis, eq. 4.3.4): center loss plus a term that pushes centres closer than a margin
apart.

The update rule of the centres includes the gradient of the pairs, as for the island loss (eq. 4.3.2); the text
gives no rule. lambda_1 is not given; 1 is ours. Margins of table 4.1: 2 and 5. As in `losses.island`, the pairs' term
gives the network no gradient, and the mean over the batch in the first term is ours.
"""

from torch import Tensor, nn

from affectlens.core.statistics import DatasetStatistics
from affectlens.losses._centres import Centres
from affectlens.losses._vectors import Reduction, distances, pairs, reduced, squares


class EuclideanIslandLoss(nn.Module):
    """1/2 |x_i - c_{y_i}|^2, and weight times the sum over ordered pairs of max(margin - |c_j - c_k|, 0)^2."""

    def __init__(self, centres: Centres, weight: float, margin: float, reduction: Reduction) -> None:
        super().__init__()
        self.centres = centres
        self.weight = weight
        self.margin = margin
        self.reduction: Reduction = reduction

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        """(B, D) features and (B,) classes, -1 where there is none -> ()."""
        features, label = features[label >= 0], label[label >= 0]
        points = self.centres.points
        pull = reduced(squares(features, points[label]) / 2, self.reduction)
        loss = pull + 2 * self.weight * self._closeness(points)
        self.centres.follow(features, label, self._closeness, self.weight / max(len(points) - 1, 1))
        return loss

    def _closeness(self, points: Tensor) -> Tensor:
        """(K, D) -> () sum over the pairs of centres."""
        first, second = pairs(len(points), points.device)
        return (self.margin - distances(points[first], points[second])).clamp_min(0).square().sum()


def build(
    statistics: DatasetStatistics,
    margin: float = 5.0,
    weight: float = 1.0,
    rate: float = 0.5,
    learn: str = "rule",
    reduction: Reduction = "mean",
) -> EuclideanIslandLoss:
    """`margin` is m, `weight` lambda_1; the rest is that of the center loss.

    Raises:
        BadSetting: a setting has an invalid value, or the network gives no features.
    """
    return EuclideanIslandLoss(
        Centres(len(statistics.labels), statistics.feature_width, rate, learn), weight, margin, reduction
    )
