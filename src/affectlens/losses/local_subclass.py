"""Local subclass loss (Luo et al. 2018; Antoniadis, eq. 4.3.5 to 4.3.8): pulls features towards the nearest of several
learned centres of their class; with a margin, centres of a class that are farther apart pull each other close.

The rule of the centres is eq. 4.3.7; with a margin it adds the gradient of the pairs of a class as that of the island
loss does (eq. 4.3.2), since the text gives none. With k centres a class they settle where rate * lambda_1 * k / (k - 1)
is below 1; at 1 two centres without a margin only swap places. k and m are those of table 4.1; lambda_1 is not given.
The text sums over the batch, the default here is the mean (`losses.center`). The pairs' term gives the network no
gradient and moves only the centres, as that of `losses.island`.
"""

import torch
from torch import Tensor, nn

from affectlens.core.errors import BadSetting
from affectlens.core.statistics import DatasetStatistics
from affectlens.losses._centres import Centres
from affectlens.losses._vectors import Reduction, distances, pairs, reduced, squares


class LocalSubclassLoss(nn.Module):
    """1/2 |x_i - c|^2 of the nearest centre c of the class of x_i, and with `weight` > 0 that times the sum over the
    ordered pairs of centres of one class of max(|c_i - c_j| - margin, 0)^2.
    """

    def __init__(self, centres: Centres, subclasses: int, weight: float, margin: float, reduction: Reduction) -> None:
        super().__init__()
        self.centres = centres
        self.subclasses = subclasses
        self.weight = weight
        self.margin = margin
        self.reduction: Reduction = reduction

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        """(B, D) features and (B,) classes, -1 where there is none -> ()."""
        features, label = features[label >= 0], label[label >= 0]
        points = self.centres.points
        with torch.no_grad():
            own = points.view(-1, self.subclasses, points.shape[1])[label].to(features.dtype)
            nearest = (own - features.unsqueeze(1)).square().sum(dim=2).argmin(dim=1)
            belongs = label * self.subclasses + nearest
        loss = reduced(squares(features, points[belongs]) / 2, self.reduction)
        if not self.weight:
            self.centres.follow(features, belongs)
            return loss
        loss = loss + 2 * self.weight * self._spread(points)
        self.centres.follow(features, belongs, self._spread, self.weight / max(self.subclasses - 1, 1))
        return loss

    def _spread(self, points: Tensor) -> Tensor:
        """(K, D) -> () sum over the pairs of centres of one class."""
        by_class = points.view(-1, self.subclasses, points.shape[1])
        first, second = pairs(self.subclasses, points.device)
        apart = distances(by_class[:, first].flatten(0, 1), by_class[:, second].flatten(0, 1))
        return (apart - self.margin).clamp_min(0).square().sum()


def build(
    statistics: DatasetStatistics,
    subclasses: int = 5,
    weight: float = 0.0,
    margin: float = 0.5,
    rate: float = 0.5,
    learn: str = "rule",
    reduction: Reduction = "mean",
) -> LocalSubclassLoss:
    """`subclasses` is k, `weight` lambda_1 of the margin's term (0: without it), `margin` m.

    Raises:
        BadSetting: a setting has an invalid value, or the network gives no features.
    """
    if subclasses < 1:
        raise BadSetting(f"subclasses must be at least 1, got {subclasses}")
    if learn == "rule" and subclasses > 1 and rate * weight * subclasses >= subclasses - 1:
        raise BadSetting(f"centres do not converge with rate {rate} and weight {weight}; choose a lower weight")
    centres = Centres(len(statistics.labels) * subclasses, statistics.feature_width, rate, learn)
    return LocalSubclassLoss(centres, subclasses, weight, margin, reduction)
