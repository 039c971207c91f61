"""Center loss (Wen et al. 2016, A discriminative feature learning approach for deep face recognition, eq. 2 and 4):
pulls features towards the learned centre of their class. Antoniadis, eq. 4.2.1 and 4.2.2.

Neither gives the rate alpha of the thesis's runs; 0.5 is that of Wen et al. The text sums over the faces of the batch
(eq. 4.2.1, 4.3.5 and 4.5.1); the mean is ours, here and in all losses of features, so that a loss does not grow with
the batch. Against a mean of cross-entropies, lambda = 0.1 is then 35 times weaker than printed at 35 faces a batch (Wen
et al. sum both); `reduction` has both.
"""

from torch import Tensor, nn

from affectlens.core.statistics import DatasetStatistics
from affectlens.losses._centres import Centres
from affectlens.losses._vectors import Reduction, reduced, squares


class CenterLoss(nn.Module):
    """1/2 |x_i - c_{y_i}|^2."""

    def __init__(self, centres: Centres, reduction: Reduction) -> None:
        super().__init__()
        self.centres = centres
        self.reduction: Reduction = reduction

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        """(B, D) features and (B,) classes, -1 where there is none -> ()."""
        features, label = features[label >= 0], label[label >= 0]
        loss = reduced(squares(features, self.centres.points[label]) / 2, self.reduction)
        self.centres.follow(features, label)
        return loss


def build(
    statistics: DatasetStatistics, rate: float = 0.5, learn: str = "rule", reduction: Reduction = "mean"
) -> CenterLoss:
    """`rate` is alpha of the centres, `learn` "rule" or "gradient", `reduction` "mean" or "sum" over the batch.

    Raises:
        BadSetting: a setting has an invalid value, or the network gives no features.
    """
    return CenterLoss(Centres(len(statistics.labels), statistics.feature_width, rate, learn), reduction)
