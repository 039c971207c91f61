"""Networks with frozen parts."""

from typing import Any, Self

from torch import nn

from affectlens.core.errors import BadSetting
from affectlens.models.layers.network import Network

TRAIN = ("full", "head")


class PartlyFrozen(Network):
    """A network whose frozen parts get no gradient and stay in evaluation mode, so that their statistics stay too.

    With `train` "head" all but the head is frozen: its `backbone`.

    Raises:
        BadSetting: `train` is neither that nor "full".
    """

    backbone: Any

    def __init__(self, train: str = "full") -> None:
        super().__init__()
        if train not in TRAIN:
            raise BadSetting(f"train must be {' or '.join(TRAIN)}, got '{train}'")
        self.head_only = train == "head"
        self._frozen: tuple[nn.Module, ...] = ()

    def settle(self, pretrained: bool) -> str:
        """Freeze the backbone if only the head learns; return why it learns after all, else ""."""
        if self.head_only and not pretrained:
            return "the whole network is trained, because there are no pretrained weights below its last layer"
        if self.head_only:
            self.freeze(self.backbone)
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
