"""1 - (CCC of valence + CCC of arousal) / 2, the concordance correlation coefficient of a batch (Lin 1989; Antoniadis,
section 5.2.2, eq. 5.2.1 and 5.2.2).

The text calls s the variance but squares it; here s squared is the variance. How it is estimated is not said. The
author's code (ccc.py) divides a biased covariance by unbiased variances (`torch.var`), so that perfect agreement gives
less than 1 in a batch; here all moments are biased.
"""

from collections.abc import Callable

from torch import Tensor

from affectlens.core.statistics import DatasetStatistics


def build(statistics: DatasetStatistics) -> Callable[[Tensor, Tensor], Tensor]:
    """A loss without settings.

    Raises:
        BadSetting: no training face has valence and arousal.
    """
    statistics.known_affect("their concordance")

    def loss(affect: Tensor, affect_target: Tensor) -> Tensor:
        """(B, 2) and (B, 2) valence and arousal, the true ones NaN where unknown -> () in [0, 2]; 0 without any."""
        known = affect_target.isfinite().all(dim=1)
        x, y = affect[known], affect_target[known]
        if not len(x):
            return affect.sum() * 0
        mean_x, mean_y = x.mean(dim=0), y.mean(dim=0)
        covariance = ((x - mean_x) * (y - mean_y)).mean(dim=0)
        spread = (x - mean_x).square().mean(dim=0) + (y - mean_y).square().mean(dim=0) + (mean_x - mean_y).square()
        return 1 - (2 * covariance / spread.clamp_min(1e-8)).mean()

    return loss
