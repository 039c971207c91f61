"""Contrastive loss over the pairs of a batch (Hadsell et al. 2006; Antoniadis, section 4.4, eq. 4.4.1 and 4.4.2)."""

from collections.abc import Callable

from torch import Tensor

from affectlens.core.statistics import DatasetStatistics
from affectlens.losses._vectors import distances, pairs, reduced, squares


def build(
    statistics: DatasetStatistics, positive: float = 1.0, negative: float = 1.0, margin: float = 32.0
) -> Callable[[Tensor, Tensor], Tensor]:
    """`positive` and `negative` weigh the two kinds of pairs; `margin` is m.

    The thesis gives no margin; 32 is the distance of two vectors of 1024 features that differ by 1 in each.
    """
    del statistics

    def loss(features: Tensor, label: Tensor) -> Tensor:
        """(B, D) features and (B,) classes, -1 where there is none -> ().

        1/2 |x_i - x_j|^2 averaged over the pairs of one class, 1/2 max(m - |x_i - x_j|, 0)^2 over those of two.
        """
        features, label = features[label >= 0], label[label >= 0]
        first, second = pairs(len(features), features.device)
        same = label[first] == label[second]
        alike, unlike = (first[same], second[same]), (first[~same], second[~same])
        pull = squares(features[alike[0]], features[alike[1]]) / 2
        push = (margin - distances(features[unlike[0]], features[unlike[1]])).clamp_min(0).square() / 2
        return positive * reduced(pull, "mean") + negative * reduced(push, "mean")

    return loss
