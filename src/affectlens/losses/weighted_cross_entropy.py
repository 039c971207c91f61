"""Cross-entropy with class weights n_min / n_i, where n_i is the number of training faces of the class.

Antoniadis, eq. 3.3.3. The text has the ratio inverted (eq. 3.3.4, 5.1.3 and 5.3.1); his code uses it as here. The mean
is that of PyTorch's weighted cross-entropy: over the weights of the batch. On votes each share has its class's weight.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from affectlens.core.errors import BadSetting
from affectlens.core.statistics import DatasetStatistics


def class_weights(statistics: DatasetStatistics) -> Tensor:
    """(C,) float32 n_min / n_i; 0 for a class without faces.

    Raises:
        BadSetting: no face has a label.
    """
    counts = statistics.class_counts
    if not counts.any():
        raise BadSetting("class weights need training faces with a label, but there are none")
    return rarity(torch.from_numpy(counts))


def rarity(counts: Tensor) -> Tensor:
    """(K,) faces of each kind, not all 0 -> (K,) float32 n_min / n_i; 0 for a kind without faces."""
    counts = counts.float()
    return torch.where(counts > 0, counts[counts > 0].min() / counts.clamp_min(1), 0)


class WeightedCrossEntropy(nn.Module):
    """- sum_i sum_c w_c t_ic log p_ic / sum_i sum_c w_c t_ic."""

    weights: Tensor

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.register_buffer("weights", weights)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """(B, C) logits and (B, C) rows that sum to 1 -> () weighted mean in nats."""
        weighted = self.weights * target
        return -(weighted * log_softmax(logits, dim=1)).sum() / weighted.sum().clamp_min(1e-12)


def build(statistics: DatasetStatistics) -> WeightedCrossEntropy:
    """Weights by the classes of `statistics`.

    Raises:
        BadSetting: no face has a label.
    """
    return WeightedCrossEntropy(class_weights(statistics))
