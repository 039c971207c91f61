"""Binary cross-entropy per pixel of the mask of eyes and mouth (Antoniadis, section 5.1.2)."""

from collections.abc import Callable

from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, binary_cross_entropy_with_logits

from affectlens.core.statistics import DatasetStatistics
from affectlens.losses._vectors import reduced


def build(statistics: DatasetStatistics) -> Callable[[Tensor, Tensor], Tensor]:
    """A loss without settings."""
    del statistics

    def loss(mask: Tensor, mask_target: Tensor) -> Tensor:
        """(B, 1, h, w) logits and (B, 1, H, W) masks in [0, 1], NaN where unknown -> () in nats.

        Masks are averaged down to the size of the logits; faces without one do not count.
        """
        known = mask_target.isfinite().all(dim=(1, 2, 3))
        target = adaptive_avg_pool2d(mask_target[known], (mask.shape[2], mask.shape[3]))
        values = binary_cross_entropy_with_logits(mask[known], target, reduction="none")
        return reduced(values.mean(dim=(1, 2, 3)), "mean")

    return loss
