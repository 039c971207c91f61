"""Squeeze and excitation (Hu et al. 2018, arXiv:1709.01507): channels weighed by a gate computed from themselves."""

from torch import Tensor, nn


class Excitation(nn.Module):
    """(..., C) -> (..., C): the vector times a gate in (0, 1) that two layers, C -> C / reduction -> C, make of it.

    That is the excitation alone, for vectors that are pooled already; `squeeze` first takes the mean over all positions
    of (B, ..., C).
    """

    def __init__(self, channels: int, reduction: int = 16, squeeze: bool = False) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.gate = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels), nn.Sigmoid())
        self.squeeze = squeeze

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.flatten(1, -2).mean(dim=1) if self.squeeze else x
        gate: Tensor = self.gate(pooled)
        return x * (gate.view(x.shape[0], *[1] * (x.ndim - 2), -1) if self.squeeze else gate)
