"""Binary cross-entropy of facial attributes, each independently, for Da Re's stage on CelebA's 40 (section 4.8.1, which
names no loss: this one is ours).
"""

from collections.abc import Callable

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from affectlens.core.errors import BadData
from affectlens.core.statistics import DatasetStatistics
from affectlens.losses._vectors import reduced


def build(statistics: DatasetStatistics) -> Callable[[Tensor, Tensor], Tensor]:
    """A loss without settings."""
    del statistics

    def loss(attributes: Tensor, attribute_target: Tensor) -> Tensor:
        """(B, A) logits and (B, A) of 0 and 1, NaN where unknown -> () mean over all that are known, in nats.

        Raises:
            BadData: the faces have another number of attributes.
        """
        if attributes.shape != attribute_target.shape:
            given, asked = attribute_target.shape[1], attributes.shape[1]
            raise BadData(f"the loss 'attribute_bce' needs {asked} attributes per face, but the data have {given}")
        known = attribute_target.isfinite()
        values = binary_cross_entropy_with_logits(attributes[known], attribute_target[known], reduction="none")
        return reduced(values, "mean")

    return loss
