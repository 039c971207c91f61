"""Networks without a head, by name: (B, C, H, W) -> a map (B, D, h, w), and how that is pooled.

densenet121 (Huang et al. 2017, arXiv:1608.06993; D = 1024, 6,953,856 parameters in RGB) and resnet50 (He et al. 2016,
arXiv:1512.03385; D = 2048) are timm's, with torchvision's ImageNet weights, which the thesis has, from timm's hub
(BSD-3-Clause). breg_next is our own file. Maps of the first two are pooled by their maximum, as in the thesis; that of
breg_next by its mean, as its authors and the thesis's code have it.
"""

import timm
from torch import Tensor, nn
from torch.nn.functional import adaptive_max_pool2d

from affectlens.core.catalog import unknown
from affectlens.core.errors import BadSetting
from affectlens.models import breg_next
from affectlens.models.layers.evidence import of_max, of_mean
from affectlens.models.layers.published import copy_into, timm_state

_TIMM = {"densenet121": 1024, "resnet50": 2048}
NAMES = (*_TIMM, "breg_next")
FIRST_PLACE = {"densenet121": 14.5 / 32, "resnet50": 0.5 / 32, "breg_next": breg_next.FIRST_PLACE}
"""Of their maps (`layers.evidence`)."""


def backbone(name: str, in_channels: int, rectified: bool = True) -> tuple[nn.Module, int]:
    """A fresh network and D; without `rectified` the ReLU behind DenseNet's last norm is left out.

    Raises:
        BadSetting: there is no such backbone.
    """
    if name == "breg_next":
        return breg_next.trunk(in_channels), breg_next.FEATURES
    if name not in _TIMM:
        raise BadSetting(unknown("backbone", name, list(NAMES)))
    network = timm.create_model(name, pretrained=False, in_chans=in_channels, num_classes=0, global_pool="")
    if not rectified and name == "densenet121":
        network.get_submodule("features.norm5").act = nn.Identity()
    return network, _TIMM[name]


def load_imagenet(network: nn.Module, name: str, in_channels: int, file: str = "") -> None:
    """ImageNet weights into a backbone, from `file` or, without one, as `published.timm_state` finds them.

    Raises:
        BadSetting: there are none for this backbone. BadModelFile: the hub cannot be reached, or the file does not fit.
    """
    if name not in _TIMM:
        raise BadSetting(f"the backbone '{name}' has no ImageNet weights; set pretrained=false")
    copy_into(network, timm_state(f"{name}.tv_in1k", file, in_chans=in_channels), name)


def pooled(space: Tensor, name: str) -> Tensor:
    """(B, D, h, w) map of the backbone `name` -> (B, D)."""
    return space.mean(dim=(2, 3)) if name == "breg_next" else adaptive_max_pool2d(space, 1).flatten(1)


def evidence(space: Tensor, weights: Tensor, name: str) -> Tensor:
    """Where in the map of the backbone `name`, pooled and weighed by `weights`, each answer comes from; see
    `layers.evidence`.
    """
    return of_mean(space, weights) if name == "breg_next" else of_max(space, weights)
