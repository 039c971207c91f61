"""Causal heads over the frames of a video: what they predict for a frame depends on it and on earlier frames only.

A head adds a correction to the predictions that a network makes for single frames. Its last layer is initialised with
zeros, so that training starts from these predictions.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from affectlens.core.catalog import unknown
from affectlens.core.errors import BadSetting

HEADS = ("gru", "tcn", "frame")
"""Recurrent (Cho et al. 2014, arXiv:1406.1078), dilated convolutions (Bai et al. 2018, arXiv:1803.01271), or of the
frame alone, for comparison."""
_DROPOUT = 0.2
_DILATIONS = (1, 2, 4, 8)
_KERNEL = 3
TCN_FRAMES = 1 + (_KERNEL - 1) * sum(_DILATIONS)
"""How many frames a convolutional head sees, the last of them its own."""


class _Dilated(nn.Module):
    """(B, D, T) -> (B, D, T): to each frame, a convolution of it and those `dilation` and twice that before it."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.past = (_KERNEL - 1) * dilation
        self.convolution = nn.Conv1d(width, width, _KERNEL, dilation=dilation)
        self.dropout = nn.Dropout(_DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.dropout(self.convolution(pad(x, (self.past, 0))).relu())
        return x + found


class TemporalHead(nn.Module):
    """(B, T, D) features of consecutive frames and a network's (B, T, K) predictions for each -> (B, T, K) predictions
    and the (B, T, width) features that they are computed from.

    Features are standardised by `mean` and `scale`, (D,), which are those of the training frames.

    `options` are the arguments that it was made with.

    Raises:
        BadSetting: `kind` is not one of `HEADS`, or `width` is below 1.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, kind: str, features: int, predictions: int, width: int) -> None:
        super().__init__()
        if kind not in HEADS:
            raise BadSetting(unknown("head", kind, list(HEADS)))
        if width < 1:
            raise BadSetting(f"width must be at least 1, got {width}")
        self.kind = kind
        self.options = {"kind": kind, "features": features, "predictions": predictions, "width": width}
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.first = nn.Sequential(nn.Linear(features, width), nn.ReLU(), nn.Dropout(_DROPOUT))
        self.middle = self._middle(width)
        self.last = nn.Linear(width, predictions)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def _middle(self, width: int) -> nn.Module:
        if self.kind == "gru":
            return nn.GRU(width, width, batch_first=True)
        if self.kind == "tcn":
            return nn.Sequential(*(_Dilated(width, dilation) for dilation in _DILATIONS))
        return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Dropout(_DROPOUT))

    def forward(self, features: Tensor, predictions: Tensor) -> tuple[Tensor, Tensor]:
        seen = self.first((features - self.mean) / self.scale)
        if self.kind == "gru":
            seen, _ = self.middle(seen)
        elif self.kind == "tcn":
            seen = self.middle(seen.transpose(1, 2)).transpose(1, 2)
        else:
            seen = self.middle(seen)
        return predictions + self.last(seen), seen
