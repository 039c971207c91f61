"""Networks without a head, by name: (B, C, H, W) -> a map (B, D, h, w), and how that is pooled.

densenet121 (Huang et al. 2017, arXiv:1608.06993; D = 1024, 6,953,856 parameters in RGB) and resnet50 (He et al. 2016,
arXiv:1512.03385; D = 2048) are timm's, with torchvision's ImageNet weights, which the thesis has, from timm's hub
(BSD-3-Clause). breg_next is our own file; bundled is the bundled model without its last layer (`models.compact_resnet`;
D = 384, gray faces of 48 pixels), whose weights `pretrained_file=bundled` brings.

Maps of densenet121 are pooled by their maximum, as in Antoniadis's text (sections 5.5 and 6.3.1), and so, by our
choice, are those of resnet50; those of breg_next and bundled by their mean, as they were designed. His code pools the
single- and multi-task networks by ReLU and mean, and only Emotion-GCN by the maximum of the raw map, so that the gain
of the graph contains that of the pooling: `pool` takes either for every backbone. With "mean" the arms are the same;
with "max" the multi-task networks still pool after the last ReLU and Emotion-GCN before it, which differs in channels
that are negative everywhere.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import timm
from torch import Tensor, nn
from torch.nn.functional import adaptive_max_pool2d

from affectlens.core.catalog import unknown
from affectlens.core.errors import BadSetting
from affectlens.models import breg_next, compact_resnet
from affectlens.models.layers.evidence import of_max, of_mean
from affectlens.models.layers.published import copy_into, timm_state

POOLS = ("max", "mean")


@dataclass(frozen=True)
class Backbone:
    """A kind of network without a head.

    Attributes:
        name: its name.
        build: (in_channels, rectified) -> a fresh network; without `rectified` the activation behind its last norm is
            left out, where it has one of its own.
        width: D.
        pool: "max" or "mean".
        first_place: of its map (`layers.evidence`).
        imagenet: timm's name of its ImageNet weights; "" for none.
    """

    name: str
    build: Callable[[int, bool], nn.Module]
    width: int
    pool: str
    first_place: float
    imagenet: str = ""

    def load_imagenet(self, network: nn.Module, in_channels: int, file: str = "") -> None:
        """ImageNet weights into `network`, from `file` or, without one, as `published.timm_state` finds them.

        Raises:
            BadSetting: there are none. BadModelFile: the hub cannot be reached, or the file does not fit.
        """
        if not self.imagenet:
            raise BadSetting(
                f"the backbone '{self.name}' has no ImageNet weights; set pretrained=false, or pretrained_file to a "
                "trained model that has this backbone"
            )
        copy_into(network, timm_state(self.imagenet, file, in_chans=in_channels), self.name)

    def pooled(self, space: Tensor) -> Tensor:
        """(B, D, h, w) map -> (B, D)."""
        return space.mean(dim=(2, 3)) if self.pool == "mean" else adaptive_max_pool2d(space, 1).flatten(1)

    def evidence(self, space: Tensor, weights: Tensor) -> Tensor:
        """(B, D, h, w) map and (C, D) or (B, C, D) weights on the pooled map -> (B, C, h, w), where in the map each of
        C answers comes from; see `layers.evidence`.
        """
        return of_mean(space, weights) if self.pool == "mean" else of_max(space, weights)


def _of_timm(name: str, in_channels: int, rectified: bool) -> nn.Module:
    network = timm.create_model(name, pretrained=False, in_chans=in_channels, num_classes=0, global_pool="")
    if not rectified and name == "densenet121":
        network.get_submodule("features.norm5").act = nn.Identity()
    return network


def _breg_next(in_channels: int, rectified: bool) -> nn.Module:
    del rectified  # its last activation is part of every block
    return breg_next.trunk(in_channels)


def _bundled(in_channels: int, rectified: bool) -> nn.Module:
    del rectified  # its last activation is part of every block
    return compact_resnet.build(1, in_channels, **_BUNDLED).backbone


_BUNDLED: dict[str, Any] = {"widths": (48, 96, 192, 384), "depths": (2, 2, 2, 2)}
BACKBONES = {
    kind.name: kind
    for kind in (
        Backbone(
            "densenet121", partial(_of_timm, "densenet121"), 1024, "max", 14.5 / 32, imagenet="densenet121.tv_in1k"
        ),
        Backbone("resnet50", partial(_of_timm, "resnet50"), 2048, "max", 0.5 / 32, imagenet="resnet50.tv_in1k"),
        Backbone("breg_next", _breg_next, breg_next.FEATURES, "mean", breg_next.FIRST_PLACE),
        Backbone("bundled", _bundled, 384, "mean", compact_resnet.CompactResNet.first_place),
    )
}


def find_backbone(name: str, pool: str = "") -> Backbone:
    """The backbone of that name, pooled as it is by default or by `pool`.

    Raises:
        BadSetting: there is no such backbone or pooling.
    """
    if name not in BACKBONES:
        raise BadSetting(unknown("backbone", name, list(BACKBONES)))
    if pool not in ("", *POOLS):
        raise BadSetting(f"pool must be one of {', '.join(POOLS)}, got '{pool}'")
    return replace(BACKBONES[name], pool=pool) if pool else BACKBONES[name]
