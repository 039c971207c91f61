"""DINOv2's vision transformers (Oquab et al. 2023, arXiv:2304.07193) through timm: patches of 14 pixels, a CLS token.

Weights: Apache-2.0, through the Hugging Face hub.
"""

from typing import Any

import timm

from affectlens.core.errors import BadSetting
from affectlens.models.layers.published import copy_into, timm_state

_NAMES = {"base": "vit_base_patch14_dinov2", "small": "vit_small_patch14_dinov2"}
_PATCH_PX = 14


def create(size: str, image_px: int) -> Any:
    """ViT-B/14 ("base") or ViT-S/14 ("small") with fresh weights for faces of `image_px`, a multiple of 14.

    Raises:
        BadSetting: there is no such size, or the faces do not fall into patches.
    """
    if size not in _NAMES:
        raise BadSetting(f"backbone must be {' or '.join(_NAMES)}, got '{size}'")
    if image_px % _PATCH_PX:
        raise BadSetting(f"the face size must be a multiple of {_PATCH_PX} pixels for DINOv2, got {image_px}")
    return timm.create_model(_NAMES[size], num_classes=0, img_size=image_px)


def load(network: Any, size: str, image_px: int, file: str) -> None:
    """The published weights, from `file` or the hub, into what `create` made.  Raises BadModelFile."""
    copy_into(network, timm_state(_NAMES[size], file, img_size=image_px), _NAMES[size])
