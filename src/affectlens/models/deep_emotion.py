"""Deep-Emotion and its baseline for 48x48 gray faces (Minaee and Abdolrashidi 2019, arXiv:1902.01019, as built by
Caciolai).

Four valid 3x3 convolutions of 10 channels with a pooling after every second, dropout, two linear layers (43,737
parameters with 7 classes). With `stn` the picture first goes through a spatial transformer, and a batch norm follows
the last convolution (66,877). With `msa` a multiple self-attention sits in the localiser after its first convolution,
on 8x42x42 (95,829; 100,302 in the form `joint`).

From the author's code: ReLU after every pooling and after the first and third convolution (the report names only the
former), dropout 0.5 in the network without the transformer (with it, the code has none). No weights of others.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from affectlens.core.errors import BadSetting
from affectlens.models.layers.multi_self_attention import Form, MultiSelfAttention
from affectlens.models.layers.network import Network
from affectlens.models.layers.spatial_transformer import SpatialTransformer


class DeepEmotion(Network):
    """(B, C, 48, 48) float in [0, 1] -> (B, classes) logits."""

    def __init__(self, classes: int, in_channels: int, stn: bool, attention: nn.Module | None, dropout: float) -> None:
        super().__init__()
        self.stn: nn.Module = nn.Identity()
        self.norm: nn.Module = nn.Identity()
        if stn:
            first = [nn.Conv2d(in_channels, 8, 7)] + ([attention] if attention is not None else [])
            localiser = nn.Sequential(
                *first, nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(8, 10, 5), nn.MaxPool2d(2), nn.ReLU()
            )
            self.stn = SpatialTransformer(localiser, features=10 * 8 * 8, hidden=32)
            self.norm = nn.BatchNorm2d(10)
        self.conv1 = nn.Conv2d(in_channels, 10, 3)
        self.conv2 = nn.Conv2d(10, 10, 3)
        self.conv3 = nn.Conv2d(10, 10, 3)
        self.conv4 = nn.Conv2d(10, 10, 3)
        self.dropout = nn.Dropout(dropout)
        self.hidden = nn.Linear(10 * 9 * 9, 50)
        self.head = nn.Linear(50, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stn(x)
        x = self.conv2(torch.relu(self.conv1(x)))
        x = torch.relu(max_pool2d(x, 2))
        x = self.norm(self.conv4(torch.relu(self.conv3(x))))
        x = torch.relu(max_pool2d(x, 2))
        x = torch.relu(self.hidden(self.dropout(x).flatten(1)))
        logits: Tensor = self.head(x)
        return logits


def build(
    classes: int,
    in_channels: int = 1,
    stn: bool = False,
    msa: bool = False,
    msa_form: Form = "separate",
    dropout: float = 0.5,
) -> DeepEmotion:
    """A fresh network.

    Raises:
        BadSetting: `msa` without `stn`, in whose localiser it sits, or `dropout` outside [0, 1).
    """
    if msa and not stn:
        raise BadSetting("msa needs stn=True, because it is part of the spatial transformer's localisation network")
    if not 0 <= dropout < 1:
        raise BadSetting(f"dropout must be in [0, 1), got {dropout}")
    attention = MultiSelfAttention(8, 42, form=msa_form) if msa else None
    return DeepEmotion(classes, in_channels, stn, attention, dropout)
