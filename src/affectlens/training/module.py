"""The Lightning module that every recipe trains with."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import lightning as L
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from affectlens.core import catalog
from affectlens.core.errors import BadSetting
from affectlens.core.outputs import OUTPUTS
from affectlens.core.statistics import DatasetStatistics
from affectlens.evaluation import metrics
from affectlens.evaluation.outputs import Compared
from affectlens.models.layers.network import Network, as_network
from affectlens.models.layers.outputs import Outputs, as_outputs
from affectlens.training import masks, sam
from affectlens.training.augment import augment, degrade, draws, move, rows_of_draws
from affectlens.training.distillation import Teacher, teach
from affectlens.training.loaders import Batch, with_images
from affectlens.training.mix import mix
from affectlens.training.objective import WeightedLosses, targets
from affectlens.training.optimisers import optimisation
from affectlens.training.recipe import Recipe
from affectlens.training.tta import averaged

_MONITORS: dict[str, tuple[str, Literal["min", "max"]]] = {
    "nll": ("valid_nll", "min"),
    "accuracy": ("valid_accuracy", "max"),
    "macro_recall": ("valid_macro_recall", "max"),
}


def monitor(recipe: Recipe) -> tuple[str, Literal["min", "max"]]:
    """Name of the logged metric that selects the best epoch, and "min" or "max"."""
    of_outputs = {output.metric_name: (f"valid_{output.metric_name}", output.best) for output in OUTPUTS.values()}
    return (of_outputs | _MONITORS)[recipe.select]


class ExpressionModule(L.LightningModule):
    """Trains the recipe's network; validates on the faces with a majority label.

    Without `statistics` of a training set it has no losses: for evaluation.
    """

    def __init__(
        self,
        recipe: Recipe,
        classes: int,
        statistics: DatasetStatistics | None = None,
        teachers: tuple[Teacher, ...] = (),
    ) -> None:
        super().__init__()
        self.recipe = recipe
        self.train_faces = len(statistics.targets) if statistics else 0
        self.network: Network = _build(recipe, classes).to(memory_format=torch.channels_last)
        self.losses = WeightedLosses(
            recipe, replace(statistics, feature_width=self.network.feature_width) if statistics else None
        )
        self._uniform = torch.empty(0)
        self._first_pass = True
        self._teachers = teachers  # a tuple, so that they are no part of this module's state
        self._train: list[dict[str, Tensor]] = []
        self._valid: list[dict[str, Tensor]] = []

    def forward(self, images: Tensor) -> Outputs:
        """(B, C, H, W) -> outputs."""
        return as_outputs(self.network(images))

    def on_fit_start(self) -> None:
        for teacher in self._teachers:
            teacher.network.to(self.device)

    def on_train_epoch_start(self) -> None:
        if self.recipe.freeze_norms:
            for module in self.network.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        self._train.clear()
        self._uniform = draws(self.train_faces, self.recipe.seed, self.current_epoch)

    def training_step(self, batch: Batch) -> Tensor | None:
        if not len(batch["index"]):
            if self.trainer.world_size == 1:
                return None  # Lightning goes on with the next batch
            return torch.stack([weight.sum() for weight in self.parameters()]).sum() * 0  # the others have gradients
        # dropout, the same after a resumption, another in each process
        torch.manual_seed(self.recipe.seed * 1_000_003 + self.global_step + 500_000_003 * self.global_rank)
        rows = rows_of_draws(batch["index"].cpu(), batch["copy"].cpu(), self.train_faces)
        uniform = self._uniform[rows].to(batch["target"].device)
        target, labels = targets(batch, uniform, self.recipe.target), batch["target"]
        if "embedded" in batch:
            outputs = self.network.answers(batch["embedded"])
        else:
            outputs, target, labels = self._seen(batch, uniform, target, labels)
        truth = {one.target: batch[one.target] for one in OUTPUTS.values() if one.target in batch}
        truth |= {"target": target, "label": batch["target"]}
        if masks.TARGET in batch:
            truth[masks.TARGET] = move(batch[masks.TARGET], uniform, self.recipe)
        parts: dict[str, Tensor] = self.losses(outputs, **truth)
        loss = torch.stack(list(parts.values())).sum()
        if self._first_pass:
            self._log_mean("train_loss", loss, len(target))
            for name, part in parts.items() if len(parts) > 1 else ():
                self._log_mean(f"train_{name}_loss", part, len(target))
            right = outputs.logits.argmax(dim=1) == labels
            if labelled := int(batch["labelled"]):
                self._log_mean("train_accuracy", right.float().sum() / labelled, labelled)
            if kept := _measured(outputs, batch):
                self._train.append(kept)
        return loss

    def _seen(self, batch: Batch, uniform: Tensor, target: Tensor, labels: Tensor) -> tuple[Outputs, Tensor, Tensor]:
        """The outputs for the augmented images; target and labels, where faces are mixed or teachers have a say."""
        batch = with_images(batch, self.recipe.input_spec())
        with torch.autocast(self.device.type, enabled=False):  # it moves pixels by less than half precision resolves
            images = augment(batch["image"], uniform, self.recipe)
        if self.recipe.mixup or self.recipe.cutmix:
            images, target = mix(images, target, uniform, self.recipe)
            labels = torch.where(labels >= 0, target.argmax(dim=1), labels)  # of a mixed face that of its larger part
        if self._teachers:
            taught = teach(self._teachers, images, batch.get("light"), self.recipe)
            target = torch.lerp(target, taught, self.recipe.teacher_weight)
        with torch.autocast(self.device.type, enabled=False):
            images = degrade(images, uniform, self.recipe)
        return self(images), target, labels

    def _log_mean(self, name: str, value: Tensor, count: int) -> None:
        """The mean over the epoch of what each of `count` faces of a batch has."""
        self.log(name, value, on_step=False, on_epoch=True, batch_size=count, sync_dist=True)

    def _again(self, closure: Callable[[], Any]) -> None:
        """The second pass of sharpness-aware minimisation, whose loss is not the network's; centres stay where they
        are.
        """
        self._first_pass = False
        self.losses.eval()
        try:
            closure()
        finally:
            self._first_pass = True
            self.losses.train()

    def validation_step(self, batch: Batch) -> None:
        """Keep what metrics compare, and neither images nor maps."""
        if "embedded" in batch:
            outputs = self.network.answers(batch["embedded"])
        else:
            images = with_images(batch, self.recipe.input_spec())["image"]
            outputs = averaged(self, images, self.recipe.tta)
        logits = {"logits": outputs.logits, "target": batch["target"]}
        self._valid.append(_measured(outputs, batch) | _detached(logits))

    def on_validation_epoch_end(self) -> None:
        """Log what validation found, and what outputs were worth on the augmented faces of the epoch before it, with
        the weights of each step; `Curves` would miss what is logged any later.
        """
        kept = _joined(self._valid)
        logged = {f"train_{name}": value for name, value in _values(_joined(self._train)).items()}
        logged |= {f"valid_{name}": value for name, value in _values(kept).items()}
        logits, target = kept["logits"].float().numpy(), kept["target"].numpy()
        logits, target = logits[target >= 0], target[target >= 0]
        predicted = logits.argmax(axis=1)
        logged |= {
            "valid_accuracy": metrics.accuracy(predicted, target),
            "valid_macro_recall": metrics.macro_recall(predicted, target, logits.shape[1]),
            "valid_nll": metrics.negative_log_likelihood(logits + self.losses.shift.cpu().numpy(), target),
        }
        self.log_dict(logged, sync_dist=True)  # those of validation are the same in every process

    def on_train_epoch_end(self) -> None:
        """Schedules by epoch step here, before the checkpoint is written, so that a resumed run has the same rate."""
        if self.recipe.schedule == "plateau":
            self.lr_schedulers().step(self.trainer.callback_metrics[monitor(self.recipe)[0]])
        elif self.recipe.schedule in ("exponential", "steps"):
            self.lr_schedulers().step()

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Lightning's own step, after the checkpoint: only for the schedule by step."""
        if self.recipe.schedule == "one-cycle":
            super().lr_scheduler_step(scheduler, metric)

    def configure_optimizers(self) -> Any:
        return optimisation(nn.ModuleList([self.network, self.losses]), self.recipe, *monitor(self.recipe), self._steps)

    def _steps(self) -> int:
        """Number of optimiser steps of the whole training."""
        return int(self.trainer.estimated_stepping_batches)

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Callable[[], Any] | None = None
    ) -> None:
        """One step; with `sam_radius` its gradient is the one at the worst point nearby."""
        if self.recipe.sam_radius and optimizer_closure is not None:
            passes = (optimizer_closure, partial(self._again, optimizer_closure))
            optimizer_closure = partial(
                sam.two_passes, self.network, self.recipe.sam_radius, *passes, norms=self.recipe.sam_norms
            )
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)


def _measured(outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
    """Each output of the network that has a metric, and its truth."""
    measured = [OUTPUTS[name] for name in outputs.others if OUTPUTS[name].metric]
    said = {output.name: outputs.others[output.name] for output in measured}
    return _detached(said | {output.target: batch[output.target] for output in measured})


def _detached(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies without what they were computed from, where they are: an epoch's numbers leave the device at its end."""
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def _joined(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The parts of an epoch as one, on the CPU; they are forgotten."""
    joined = {name: torch.cat([part[name] for part in parts]).cpu() for name in (parts[0] if parts else ())}
    parts.clear()
    return joined


def _values(kept: dict[str, Tensor]) -> dict[str, float]:
    """`Output.metric_name` -> its value, of every output among `kept`."""
    found = [
        Compared(OUTPUTS[name], OUTPUTS[name].decode(kept[name].float().numpy()), kept[OUTPUTS[name].target].numpy())
        for name in kept
        if name in OUTPUTS
    ]
    return {compared.output.metric_name: compared.value for compared in found}


def needs_of(recipe: Recipe, classes: int) -> tuple[str, ...]:
    """`Network.needs` of the recipe's network, without memory for its weights where it can be built so."""
    try:
        with torch.device("meta"):
            return _build(recipe, classes).needs
    except (RuntimeError, NotImplementedError):  # a constructor that computes with tensors
        return _build(recipe, classes).needs


def _build(recipe: Recipe, classes: int) -> Network:
    """The recipe's network.  Raises BadSetting."""
    in_channels = 1 if recipe.channels == "gray" else 3
    network = catalog.build("models", recipe.model, classes, in_channels, options=model_options(recipe))
    if not isinstance(network, nn.Module):
        raise BadSetting(
            f"build of the model '{recipe.model}' must return a torch.nn.Module, got {type(network).__name__}"
        )
    return as_network(network)


def model_options(recipe: Recipe) -> dict[str, Any]:
    """Those that `build` of the recipe's model gets: the recipe's, with size and normalisation of the faces where the
    model asks for them.
    """
    asked = catalog.options("models", recipe.model)
    known = {"image_px": recipe.size_px, "mean": recipe.mean, "std": recipe.std}
    return {key: value for key, value in known.items() if key in asked} | dict(recipe.model_options)
