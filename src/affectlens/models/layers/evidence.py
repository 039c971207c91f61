"""Location of the evidence for each class, for networks whose output is linear in a pooled map.

Class activation maps (Zhou et al. 2016, arXiv:1512.04150): the logit of class c is its bias plus the sum of its map
over all places, so the maps are exact, not an estimate.
"""

import torch
from torch import Tensor

from affectlens.models.layers.network import Network


class Explaining(Network):
    """A network that, while `explaining` is on, says where it looked (`Outputs.explanation`)."""

    explains = True


def of_mean(space: Tensor, weights: Tensor) -> Tensor:
    """(B, D, h, w) map that is averaged over its places, (C, D) or (B, C, D) weights on the average -> (B, C, h, w)."""
    return _weighed(space, weights) / (space.shape[2] * space.shape[3])


def of_max(space: Tensor, weights: Tensor) -> Tensor:
    """(B, D, h, w) map that is max-pooled, and weights as in `of_mean` -> (B, C, h, w); places that share the maximum
    of a channel share its evidence.
    """
    top = (space == space.amax(dim=(2, 3), keepdim=True)).to(space.dtype)
    return _weighed(space * top / top.sum(dim=(2, 3), keepdim=True), weights)


def through_relus(hidden: list[tuple[Tensor, Tensor]], last: Tensor) -> Tensor:
    """Weights on the input of linear layers with ReLUs between them, which are linear in any one face's input.

    `hidden` has, from the input on, the (E, D) weight of each layer but the last and the (B, E) values behind its
    ReLU; `last` is (C, E). Returns (B, C, D).
    """
    weights = last.unsqueeze(0)
    for weight, active in reversed(hidden):
        weights = (weights * (active > 0).unsqueeze(1).to(weight.dtype)) @ weight
    return weights


def _weighed(space: Tensor, weights: Tensor) -> Tensor:
    return torch.einsum("bcd,bdhw->bchw", weights.expand(space.shape[0], *weights.shape[-2:]), space)
