"""Cross-entropy on crowd label distributions (Barsoum et al. 2016, arXiv:1608.01041, eq. 3)."""

from collections.abc import Callable

from torch import Tensor
from torch.nn.functional import cross_entropy

from affectlens.core.errors import BadSetting
from affectlens.core.statistics import DatasetStatistics


def build(statistics: DatasetStatistics, temperature: float = 1.0) -> Callable[[Tensor, Tensor], Tensor]:
    """`temperature` (> 0, unitless) divides the logits.

    Raises:
        BadSetting: `temperature` is not positive.
    """
    del statistics
    if not temperature > 0:
        raise BadSetting(f"temperature must be > 0, got {temperature}")

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        """(B, C) logits and (B, C) rows that sum to 1 -> () mean in nats."""
        return cross_entropy(logits / temperature, target)

    return loss
