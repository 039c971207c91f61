"""Loss over the signs of valence and arousal: two binary outputs, valence > 0 and arousal > 0 (Antoniadis, "half"
in table 5.1).

The text names "half" with MSE and with BCE and defines neither; section 5.2.1 divides the plane "according to the sign
of the values of valence and arousal", and two binary outputs are the reading chosen here.
"""

from collections.abc import Callable

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from affectlens.core.errors import BadSetting
from affectlens.core.statistics import DatasetStatistics
from affectlens.losses._vectors import reduced


def build(statistics: DatasetStatistics, by: str = "bce") -> Callable[[Tensor, Tensor], Tensor]:
    """`by` is "bce" (cross-entropy of each sign) or "mse" (1/2 squared distance of the sigmoids from 0 and 1).

    Raises:
        BadSetting: `by` is neither, or no training face has valence and arousal.
    """
    statistics.known_affect("the loss over the signs of valence and arousal")
    if by not in ("bce", "mse"):
        raise BadSetting(f"by must be 'bce' or 'mse', got '{by}'")

    def loss(divisions: Tensor, affect_target: Tensor) -> Tensor:
        """(B, 2) logits of the signs and (B, 2) true valence and arousal, NaN where unknown -> () over the known."""
        known = affect_target.isfinite().all(dim=1)
        logits, signs = divisions[known], (affect_target[known] > 0).to(divisions.dtype)
        if by == "mse":
            return reduced((logits.sigmoid() - signs).square().sum(dim=1) / 2, "mean")
        return reduced(binary_cross_entropy_with_logits(logits, signs, reduction="none").mean(dim=1), "mean")

    return loss
