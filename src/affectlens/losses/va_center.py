"""VA-based center loss (Antoniadis, eq. 4.5.1 to 4.5.3): features are pulled towards the centre of their class, more
strongly the closer the face is to the class's mean valence and arousal.

The rows of table 4.1 are "VA-based Center local": the centre is the class's mean in the batch (eq. 4.2.4). Its gradient
flows through that mean too, which is ours: the thesis gives no gradient. Learned centres are an option. Eq. 4.5.3 has
d_max = 2 sqrt(2), the largest distance in the plane; for valence or arousal alone it is 2, which is ours. The text sums
over the batch, the default here is the mean (`losses.center`).
"""

import torch
from torch import Tensor, nn

from affectlens.core.errors import BadSetting
from affectlens.core.statistics import DatasetStatistics
from affectlens.losses._centres import Centres
from affectlens.losses._vectors import Reduction, batch_means, reduced, squares

DIMENSIONS = {"both": (0, 1), "valence": (0,), "arousal": (1,)}


class VACenterLoss(nn.Module):
    """1/2 w_i |x_i - c_{y_i}|^2 with w_i = (d_max - d_i)^2 / 4 of the distance d_i to the class mean in the VA
    plane.
    """

    means: Tensor

    def __init__(
        self, means: Tensor, columns: tuple[int, ...], centres: Centres | None, reduction: Reduction, of_batch: bool
    ) -> None:
        super().__init__()
        self.register_buffer("means", means[:, list(columns)])
        self.columns = columns
        self.of_batch = of_batch
        self.centres = centres
        self.reduction: Reduction = reduction

    def forward(self, features: Tensor, label: Tensor, affect_target: Tensor) -> Tensor:
        """(B, D) features, (B,) classes and (B, 2) true valence and arousal, -1 and NaN where there is none -> ()."""
        position = affect_target[:, list(self.columns)]
        known = (label >= 0) & position.isfinite().all(dim=1)
        features, label, position = features[known], label[known], position[known]
        means = batch_means(position, label, len(self.means)) if self.of_batch else self.means
        away = (position - means[label]).square().sum(dim=1).sqrt()
        farthest = 2 * len(self.columns) ** 0.5
        weight = (farthest - away).square() / 4
        points = batch_means(features, label, len(self.means)) if self.centres is None else self.centres.points
        loss = reduced(weight * squares(features, points[label]) / 2, self.reduction)
        if self.centres is not None:
            self.centres.follow(features, label)
        return loss


def build(
    statistics: DatasetStatistics,
    dimensions: str = "both",
    centres: str = "batch",
    means: str = "training",
    rate: float = 0.5,
    reduction: Reduction = "mean",
) -> VACenterLoss:
    """`dimensions` is "both", "valence" or "arousal"; `centres` "batch", or "rule" or "gradient" for learned ones;
    `means`, the class means of valence and arousal, are those of the "training" set or of the "batch" (eq. 4.5.2 sums
    over m, which is the batch elsewhere).

    Raises:
        BadSetting: a setting has an invalid value, or no training face has valence and arousal.
    """
    if dimensions not in DIMENSIONS:
        raise BadSetting(f"dimensions must be one of {', '.join(DIMENSIONS)}, got '{dimensions}'")
    if means not in ("training", "batch"):
        raise BadSetting(f"means must be training or batch, got '{means}'")
    if not statistics.described.any():
        raise BadSetting(
            "the center loss by valence and arousal needs training faces with a label, valence and arousal, but "
            "there are none"
        )
    learned = None if centres == "batch" else Centres(len(statistics.labels), statistics.feature_width, rate, centres)
    class_means = torch.from_numpy(statistics.class_affect)
    return VACenterLoss(class_means, DIMENSIONS[dimensions], learned, reduction, of_batch=means == "batch")
