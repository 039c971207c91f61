"""Island loss (Cai et al. 2018, arXiv:1710.03144): center loss plus a term that pushes the directions of centres apart.
Antoniadis, eq. 4.3.1 (loss), 4.3.2 and 4.3.3 (rule of the centres).

lambda_1 is not given; 1 is ours. The pairs' term contains no features: it gives the network no gradient and moves only
the centres. With `learn=rule` that is eq. 4.3.2, which `reduction` does not change; with `learn=gradient` the mean over
the batch in the first term, where the text has a sum (`losses.center`), makes lambda_1 weigh more than printed.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from affectlens.core.statistics import DatasetStatistics
from affectlens.losses._centres import Centres
from affectlens.losses._vectors import Reduction, pairs, reduced, squares


class IslandLoss(nn.Module):
    """1/2 |x_i - c_{y_i}|^2, and weight times the sum over ordered pairs of centres of cos(c_j, c_k) + 1."""

    def __init__(self, centres: Centres, weight: float, reduction: Reduction) -> None:
        super().__init__()
        self.centres = centres
        self.weight = weight
        self.reduction: Reduction = reduction

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        """(B, D) features and (B,) classes, -1 where there is none -> ()."""
        features, label = features[label >= 0], label[label >= 0]
        points = self.centres.points
        pull = reduced(squares(features, points[label]) / 2, self.reduction)
        loss = pull + 2 * self.weight * _likeness(points)
        self.centres.follow(features, label, _likeness, self.weight / max(len(points) - 1, 1))
        return loss


def _likeness(points: Tensor) -> Tensor:
    """(K, D) -> () sum over the pairs of centres of their cosine plus 1."""
    directions = normalize(points, dim=1)
    first, second = pairs(len(points), points.device)
    return torch.sum((directions[first] * directions[second]).sum(dim=1) + 1)


def build(
    statistics: DatasetStatistics,
    weight: float = 1.0,
    rate: float = 0.5,
    learn: str = "rule",
    reduction: Reduction = "mean",
) -> IslandLoss:
    """`weight` is lambda_1; the rest is that of the center loss.

    Raises:
        BadSetting: a setting has an invalid value, or the network gives no features.
    """
    return IslandLoss(Centres(len(statistics.labels), statistics.feature_width, rate, learn), weight, reduction)
