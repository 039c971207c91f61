"""Networks without a head, by name: (B, C, H, W) -> a map (B, D, h, w), to be pooled by whoever uses it.

densenet121 (Huang et al. 2017, arXiv:1608.06993; D = 1024, 6,953,856 parameters in RGB) and resnet50 (He et al. 2016,
arXiv:1512.03385; D = 2048) are timm's; its ImageNet weights come from the hub, under timm's licence (Apache-2.0).
breg_next is our own file.
"""

from pathlib import Path

import timm
import torch
from torch import nn

from affectlens.core.catalog import unknown
from affectlens.core.errors import BadModelFile, BadSetting
from affectlens.models import breg_next

_TIMM = {"densenet121": 1024, "resnet50": 2048}
NAMES = (*_TIMM, "breg_next")


def backbone(name: str, in_channels: int, rectified: bool = True) -> tuple[nn.Module, int]:
    """A fresh network and D; without `rectified` the last norm's ReLU is left out where there is one.

    Raises:
        BadSetting: there is no such backbone.
    """
    if name == "breg_next":
        return breg_next.trunk(in_channels, rectified), breg_next.FEATURES
    if name not in _TIMM:
        raise BadSetting(unknown("backbone", name, list(NAMES)))
    network = timm.create_model(name, pretrained=False, in_chans=in_channels, num_classes=0, global_pool="")
    if not rectified and name == "densenet121":
        network.get_submodule("features.norm5").act = nn.Identity()
    return network, _TIMM[name]


def load_imagenet(network: nn.Module, name: str, in_channels: int, file: str = "") -> None:
    """ImageNet weights into a backbone, from `file` (a state dict of timm's) or, without one, from timm's hub.

    Raises:
        BadSetting: there are none for this backbone. BadModelFile: the hub cannot be reached, or the file does not fit.
    """
    if name not in _TIMM:
        raise BadSetting(f"there are no ImageNet weights for the backbone '{name}'; use --set pretrained=false")
    if file:
        path = Path(file).expanduser()
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many types for a file that is not its own
            raise BadModelFile(f"'{path}' cannot be read as weights: {str(error).splitlines()[0]}") from error
    else:
        try:
            full = timm.create_model(name, pretrained=True, in_chans=in_channels, num_classes=0, global_pool="")
        except Exception as error:  # the hub raises many types when it is out of reach
            raise BadModelFile(
                f"the ImageNet weights of '{name}' cannot be fetched from the Hugging Face hub "
                f"({type(error).__name__}); name a local file with --set pretrained_file=FILE, or train from scratch "
                "with --set pretrained=false"
            ) from error
        state = full.state_dict()
    missing = [key for key in network.state_dict() if key not in state]
    if missing:
        raise BadModelFile(f"the weights of '{name}' lack '{missing[0]}'")
    try:
        network.load_state_dict({key: state[key] for key in network.state_dict()})
    except RuntimeError as error:
        raise BadModelFile(f"the weights of '{name}' do not fit: {str(error).splitlines()[-1].strip()}") from error
