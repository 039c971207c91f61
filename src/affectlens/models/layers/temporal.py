"""Causal heads over the frames of a video: what they predict for a frame depends on it and on earlier frames only.

Recurrent ("gru"; Cho et al. 2014, arXiv:1406.1078), dilated convolutions ("tcn"; after Bai et al. 2018,
arXiv:1803.01271, but with one convolution in each block instead of two, without weight normalisation, plain dropout,
and no ReLU behind the sum), or of the frame alone ("frame"), for comparison.

A head adds a correction to the predictions that a network makes for single frames. Its last layer is initialised with
zeros, so that training starts from these predictions.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from affectlens.core.catalog import unknown
from affectlens.core.errors import BadSetting

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


class _Convolutions(nn.Module):
    """(B, T, D) -> (B, T, D): dilated convolutions, one after another."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(_Dilated(width, dilation) for dilation in _DILATIONS))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.blocks(x.transpose(1, 2))
        return found.transpose(1, 2)


class _Recurrence(nn.Module):
    """(B, T, D) -> (B, T, D): a gated recurrent unit."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.unit = nn.GRU(width, width, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.unit(x)[0]
        return found


def _per_frame(width: int) -> nn.Module:
    """(B, T, D) -> (B, T, D): a layer for each frame by itself."""
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Dropout(_DROPOUT))


HEADS: dict[str, Callable[[int], nn.Module]] = {"gru": _Recurrence, "tcn": _Convolutions, "frame": _per_frame}
"""Name -> width -> what connects the frames."""


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
        self.options = {"kind": kind, "features": features, "predictions": predictions, "width": width}
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.first = nn.Sequential(nn.Linear(features, width), nn.ReLU(), nn.Dropout(_DROPOUT))
        self.middle = HEADS[kind](width)
        self.last = nn.Linear(width, predictions)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, features: Tensor, predictions: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, D) and (B, T, K) float32 -> (B, T, K) and (B, T, width)."""
        seen = self.middle(self.first((features - self.mean) / self.scale))
        return predictions + self.last(seen), seen
