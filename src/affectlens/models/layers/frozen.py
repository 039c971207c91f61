"""Networks with frozen parts."""

from collections.abc import Sequence
from typing import Any, Self

from torch import nn

from affectlens.core.errors import BadSetting
from affectlens.models.layers.network import Network

TRAIN = ("full", "head", "frozen")
FUSION_TRAIN = ("full", "head", "fusion", "frozen")
"""Of networks with layers between backbone and head."""


class PartlyFrozen(Network):
    """A network whose frozen parts get no gradient and stay in evaluation mode, so that their statistics stay too.

    `train` says what learns: "full" all of it; "frozen" all but the pretrained `backbone`; "fusion" the same, in
    networks that fuse the maps of their backbone with others; "head" the classification layer alone, which in networks
    without fusion is all that follows the backbone.

    Raises:
        BadSetting: `train` is not one of `choices`.
    """

    backbone: Any

    def __init__(self, train: str = "full", choices: Sequence[str] = TRAIN) -> None:
        super().__init__()
        if train not in choices:
            raise BadSetting(f"train must be {', '.join(choices[:-1])} or {choices[-1]}, got '{train}'")
        self.trainable = train
        self._frozen: tuple[nn.Module, ...] = ()

    def settle(self, pretrained: bool) -> str:
        """Freeze what `train` says; return why it learns after all, else ""."""
        if self.trainable == "full":
            return ""
        if not pretrained:
            return "the whole network is trained, because there are no pretrained weights below its last layers"
        self.freeze(self.backbone)
        self.embeds_once = type(self).embed is not Network.embed and not self.needs
        return ""

    def freeze(self, *parts: nn.Module) -> None:
        """From now on, whatever mode the network is set to."""
        self._frozen = (*self._frozen, *parts)
        for part in parts:
            part.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """As of every network; frozen parts do not follow."""
        super().train(mode)
        for part in self._frozen:
            part.eval()
        return self
