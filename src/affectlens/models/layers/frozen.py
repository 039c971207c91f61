"""Networks of which parts do not learn."""

from typing import Any, Self

from torch import nn

from affectlens.core.errors import BadSetting

TRAIN = ("full", "head")


class PartlyFrozen(nn.Module):
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

    def load_frozen(self) -> None:
        """Trained weights of what is frozen, where the options name a file of its own.  Raises BadModelFile."""

    def settle(self, pretrained: bool) -> str:
        """Freeze what the network says; the reason, for people, where that learns for lack of trained weights."""
        if self.head_only and not pretrained:
            return "the whole network learns, because there are no pretrained weights below its last layer"
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
