"""Training objective: the weighted sum of a recipe's losses, and their target distributions."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from affectlens.core import catalog
from affectlens.core.errors import AffectLensError, BadSetting
from affectlens.core.messages import one_line
from affectlens.core.outputs import OUTPUTS
from affectlens.core.statistics import DatasetStatistics
from affectlens.data.table import FaceTable
from affectlens.models.layers.outputs import Outputs
from affectlens.training.augment import Draw
from affectlens.training.loaders import Batch
from affectlens.training.recipe import Recipe


def dataset_statistics(train: FaceTable) -> DatasetStatistics:
    """What losses and networks are told about the training faces."""
    affect = np.stack([train.valence, train.arousal], axis=1)
    return DatasetStatistics(train.labels, train.targets, affect, votes=train.votes)


def adjustment(share: float, statistics: DatasetStatistics) -> Tensor | None:
    """(C,) offset that losses add to the logits with a `logit_adjustment` of `share`; None for nothing."""
    return torch.tensor(share * np.log(statistics.class_shares), dtype=torch.float32) if share else None


class WeightedLosses(nn.Module):
    """The recipe's losses by weight; none without `statistics`.

    A loss names what it needs: the parameters of its call are of the network's outputs (`logits`, `features`, or
    an output in `core.outputs`, raw) or of the truth: `target` (B, classes), the distribution to learn, `label` (B,),
    and the target of an output: `affect_target` (B, 2), `attribute_target` (B, A), `mask_target` (B, 1, H, W), -1 and
    NaN where unknown. The logits that losses see are adjusted by the recipe's share of the classes' log frequencies
    (`logit_adjustment`). A parameter with a default is the loss's own.

    Raises:
        BadSetting: `build` of a loss returns something that is not callable, or whose parameters are unknown; mixup or
            cutmix is combined with a loss that needs more than logits and target.
    """

    shift: Tensor

    def __init__(self, recipe: Recipe, statistics: DatasetStatistics | None) -> None:
        super().__init__()
        built = {
            name: catalog.build("losses", _loss_of(name), statistics, options=recipe.loss_options.get(name, {}))
            for name in (recipe.losses if statistics else ())
        }
        self.model = recipe.model
        self.weights = dict(recipe.losses)
        self.calls: dict[str, Callable[..., Tensor]] = built
        self.needs = {name: _needs(name, loss) for name, loss in built.items()}
        other = [name for name, needs in self.needs.items() if not {"logits", "target"}.issuperset(needs)]
        if other and (recipe.mixup or recipe.cutmix):
            raise BadSetting(f"mixup and cutmix require losses of logits and target only; '{other[0]}' needs more")
        shift = adjustment(recipe.logit_adjustment, statistics) if statistics else None
        self.register_buffer("shift", torch.zeros(1) if shift is None else shift, persistent=False)
        self.modules_of = nn.ModuleDict({name: loss for name, loss in built.items() if isinstance(loss, nn.Module)})

    def forward(self, outputs: Outputs, **truth: Tensor) -> dict[str, Tensor]:
        """Each loss times its weight, (); their sum is the objective.

        Raises:
            BadSetting: a loss needs what the network does not give, fails, or returns something else than one number.
        """
        given = {name: value.float() for name, value in outputs.others.items()}
        if outputs.features is not None:
            given["features"] = outputs.features.float()
        given["logits"] = outputs.logits.float() + self.shift
        given |= truth
        weighted = {}
        for name, loss in self.calls.items():
            if missing := [need for need in self.needs[name] if need not in given]:
                raise BadSetting(
                    f"the loss '{name}' needs '{missing[0]}', which '{self.model}' does not provide with these options"
                )
            try:
                value = loss(**{need: given[need] for need in self.needs[name]})
            except AffectLensError:
                raise
            except Exception as error:  # whatever a loss of others raises
                raise BadSetting(f"the loss '{name}' failed: {one_line(error)}") from error
            if not isinstance(value, Tensor) or value.shape != ():
                got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
                raise BadSetting(f"the loss '{name}' must return a scalar tensor of shape (), got {got}")
            weighted[name] = self.weights[name] * value
        return weighted


def _needs(name: str, loss: Any) -> list[str]:
    """What a loss asks for: the parameters of its call that have no default."""
    if not callable(loss):
        raise BadSetting(f"build() of the loss '{name}' must return a callable, got {type(loss).__name__}")
    parameters = inspect.signature(loss.forward if isinstance(loss, nn.Module) else loss).parameters.values()
    needs = [one.name for one in parameters if one.default is one.empty]
    known = ["logits", "features", *OUTPUTS, "target", "label", *(output.target for output in OUTPUTS.values())]
    if unknown := [need for need in needs if need not in known]:
        names = ", ".join(dict.fromkeys(known))
        raise BadSetting(f"the loss '{name}' asks for '{unknown[0]}'; it may ask for {names}")
    return needs


def _loss_of(name: str) -> str:
    """The loss of this name, or the usual one of the output of this name."""
    return OUTPUTS[name].loss if name in OUTPUTS else name


def targets(batch: Batch, uniform: Tensor, kind: str) -> Tensor:
    """(B, classes) distributions that the losses see: the votes, their one label, or one label drawn from them."""
    votes = batch["votes"]
    if kind == "votes":
        return votes
    if kind == "label":
        label = torch.where(batch["target"] >= 0, batch["target"], votes.argmax(dim=1))
    else:
        drawn = uniform[:, Draw.LABEL, None] * votes.sum(dim=1, keepdim=True)
        label = (votes.cumsum(dim=1) <= drawn).sum(dim=1)
        label = label.clamp_max(votes.shape[1] - 1)
    return one_hot(label, votes.shape[1]).to(votes.dtype)
