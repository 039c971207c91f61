"""Frequency of each expression in each square of the valence-arousal plane."""

import numpy as np
import torch
from torch import Tensor, nn

from affectlens.core.errors import BadSetting
from affectlens.core.statistics import DatasetStatistics


class VABins(nn.Module):
    """P(class | valence, arousal) of the training set in `bins` x `bins` squares (Antoniadis, section 3.4). That the
    number of bins is one per axis is our reading.

    Raises:
        BadSetting: `bins` is below 1, or no training face has a label, valence and arousal.
    """

    shares: Tensor

    def __init__(self, statistics: DatasetStatistics, bins: int) -> None:
        super().__init__()
        if bins < 1:
            raise BadSetting(f"bins must be at least 1, got {bins}")
        if not statistics.described.any():
            raise BadSetting(
                "weights by valence-arousal bins need training faces with a label, valence and arousal, but there "
                "are none"
            )
        self.bins = bins
        counts = np.zeros((bins * bins, len(statistics.labels)), dtype=np.float32)
        places = self.place(torch.from_numpy(statistics.affect[statistics.described])).numpy()
        np.add.at(counts, (places, statistics.targets[statistics.described]), 1)
        self.register_buffer("shares", torch.from_numpy(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)))

    def place(self, affect: Tensor) -> Tensor:
        """(B, 2) valence and arousal in [-1, 1] -> (B,) number of the square, arousal fastest."""
        cell = ((affect + 1) / 2 * self.bins).long().clamp(0, self.bins - 1)
        return cell[:, 0] * self.bins + cell[:, 1]

    def forward(self, affect_target: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 2) true valence and arousal -> (B,) true where a distribution is known, and (K, C) distributions."""
        known = affect_target.isfinite().all(dim=1)
        shares = self.shares[self.place(affect_target.nan_to_num())]
        known = known & (shares.sum(dim=1) > 0)
        return known, shares[known]
