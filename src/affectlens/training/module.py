"""The Lightning module and the data loaders that every recipe trains with."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import one_hot
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader, Dataset

from affectlens.core import catalog
from affectlens.core.answers import Answers
from affectlens.core.errors import BadData, BadSetting
from affectlens.core.facts import TrainingFacts
from affectlens.core.outputs import OUTPUTS
from affectlens.core.preprocessing import light_change, normalise, to_input, to_pixels
from affectlens.data.images import decoded, in_chunks
from affectlens.data.samplers import EpochBatches, InOrder, Rows
from affectlens.data.table import FaceTable
from affectlens.evaluation import metrics
from affectlens.evaluation.outputs import Compared
from affectlens.models.layers.outputs import Outputs, as_outputs
from affectlens.training import masks, sam
from affectlens.training.augment import augment, draws, move, rows_of_draws, spoil
from affectlens.training.mix import mix
from affectlens.training.recipe import Recipe
from affectlens.training.teachers import Teacher, teach
from affectlens.training.views import averaged

Batch = dict[str, Tensor]
_MONITORS: dict[str, tuple[str, Literal["min", "max"]]] = {
    "nll": ("valid_nll", "min"),
    "accuracy": ("valid_accuracy", "max"),
    "macro_recall": ("valid_macro_recall", "max"),
}


def monitor(recipe: Recipe) -> tuple[str, Literal["min", "max"]]:
    """Name of the logged figure that selects the best epoch, and "min" or "max"."""
    of_outputs = {output.figure: (f"valid_{output.figure}", output.best) for output in OUTPUTS.values()}
    return (of_outputs | _MONITORS)[recipe.select]


def truth_of(table: FaceTable) -> Batch:
    """What the faces of `table` are known to be, (N, K) float32 by the names under which losses ask for it, NaN where
    unknown.
    """
    return {one.target: torch.from_numpy(one.truth(table)) for one in OUTPUTS.values() if one.fields}


class FaceBatches(Dataset[Batch]):
    """Batches by (B, 2) rows and copies: image (B, C, H, W) float32 normalised, votes (B, classes), target (B,), index
    and copy (B,), and the truth of every output (`truth_of`), affect_target (B, 2) for instance; with `relight` or a
    teacher light (B, 2), gain and offset of `core.preprocessing.light_change`; for networks with a mask task
    mask_target (B, 1, H, W), NaN where the face has no 68 landmarks.

    Images that cannot be decoded are left out; a batch of a single one may be empty.

    Raises:
        BadData: none of several images can be decoded.
    """

    def __init__(self, table: FaceTable, recipe: Recipe) -> None:
        self.table = table
        self.truth = truth_of(table)
        self.spec = recipe.input_spec()
        self.masks = bool(recipe.model_options.get("mask"))
        self.teachers = recipe.teachers

    def __getitem__(self, picks: Rows) -> Batch:
        images, readable = decoded(self.table.images, picks[:, 0])
        if not images and len(picks) > 1:
            first = self.table.ids[picks[0, 0]]
            raise BadData(f"none of the {len(picks)} images of a batch can be decoded, '{first}' first")
        index, copy = picks[readable, 0], picks[readable, 1]
        pixels = to_pixels(images, self.spec)
        batch = {
            "image": torch.from_numpy(normalise(pixels, self.spec)),
            "votes": torch.from_numpy(self.table.votes[index]),
            "target": torch.from_numpy(self.table.targets[index]),
            "index": torch.from_numpy(index),
            "copy": torch.from_numpy(copy),
        }
        batch |= {name: truth[batch["index"]] for name, truth in self.truth.items()}
        if self.spec.relight or self.teachers:
            batch["light"] = torch.from_numpy(light_change(pixels))
        if self.masks:
            faces = zip(self.table.landmarks_xy[index], images, strict=True)
            drawn = [masks.draw(points, image.shape, self.spec.size_px) for points, image in faces]
            batch[masks.TARGET] = torch.from_numpy(np.stack(drawn)).unsqueeze(1)
        return batch


def train_loader(table: FaceTable, recipe: Recipe, rank: int = 0, ranks: int = 1) -> DataLoader[Batch]:
    """Training batches in the sampler's order; with several processes, this one's share of each."""
    order = EpochBatches(table, recipe.sampler, recipe.batch_size, recipe.seed, rank, ranks)
    return DataLoader(FaceBatches(table, recipe), batch_size=None, sampler=order)


def valid_loader(table: FaceTable, recipe: Recipe) -> DataLoader[Batch]:
    """Validation batches in table order."""
    return DataLoader(FaceBatches(table, recipe), batch_size=None, sampler=InOrder(len(table), faces_at_once(recipe)))


def faces_at_once(recipe: Recipe) -> int:
    """How many faces evaluation takes at a time: 256 of 64 pixels a side, fewer larger ones, so that maps fit."""
    return max(8, min(256, 256 * 64**2 // recipe.size_px**2))


def training_facts(train: FaceTable) -> TrainingFacts:
    """What losses and networks are told about the training faces."""
    return TrainingFacts(train.labels, train.targets, np.stack([train.valence, train.arousal], axis=1))


def adjustment(share: float, facts: TrainingFacts) -> Tensor | None:
    """(C,) what losses add to the logits with a `logit_adjustment` of `share`; None for nothing."""
    return torch.tensor(share * np.log(facts.class_shares), dtype=torch.float32) if share else None


class WeightedLosses(nn.Module):
    """The recipe's losses by weight; none without `facts`.

    A loss names what it needs: the parameters of its call are parts of the network's answer (`logits`, `features`, or
    an output in `core.outputs`, raw) or of the truth: `target` (B, classes), the distribution to learn, `label` (B,),
    and the target of an output: `affect_target` (B, 2), `attribute_target` (B, A), `mask_target` (B, 1, H, W), -1 and
    NaN where unknown. The logits that losses see are adjusted by the recipe's share of the classes' log frequencies
    (`logit_adjustment`).
    """

    shift: Tensor

    def __init__(self, recipe: Recipe, facts: TrainingFacts | None) -> None:
        super().__init__()
        built = {
            name: catalog.build("losses", _loss_of(name), facts, options=recipe.loss_options.get(name, {}))
            for name in (recipe.losses if facts else ())
        }
        self.model = recipe.model
        self.weights = dict(recipe.losses)
        self.calls: dict[str, Callable[..., Tensor]] = built
        self.needs = {
            name: list(inspect.signature(loss.forward if isinstance(loss, nn.Module) else loss).parameters)
            for name, loss in built.items()
        }
        other = [name for name, needs in self.needs.items() if not {"logits", "target"}.issuperset(needs)]
        if other and (recipe.mixup or recipe.cutmix):
            raise BadSetting(f"mixup and cutmix are for losses on distributions, which '{other[0]}' is not")
        shift = adjustment(recipe.logit_adjustment, facts) if facts else None
        self.register_buffer("shift", torch.zeros(1) if shift is None else shift, persistent=False)
        self.modules_of = nn.ModuleDict({name: loss for name, loss in built.items() if isinstance(loss, nn.Module)})

    def forward(self, answer: Outputs, **truth: Tensor) -> Tensor:
        """() weighted sum.

        Raises:
            BadSetting: a loss needs what the network does not answer.
        """
        given = {name: value.float() for name, value in answer.others.items()}
        if answer.features is not None:
            given["features"] = answer.features.float()
        given["logits"] = answer.logits.float() + self.shift
        given |= truth
        total = []
        for name, loss in self.calls.items():
            if missing := [need for need in self.needs[name] if need not in given]:
                raise BadSetting(
                    f"the loss '{name}' needs {missing[0]}, which '{self.model}' with these options has not"
                )
            total.append(self.weights[name] * loss(*(given[need] for need in self.needs[name])))
        return torch.stack(total).sum()


def _loss_of(name: str) -> str:
    """The loss of this name, or the usual one of the output of this name."""
    return OUTPUTS[name].loss if name in OUTPUTS else name


class ExpressionModule(L.LightningModule):
    """Trains the recipe's network; validates on the faces with a majority label.

    Without `facts` of a training set it has no losses: for evaluation.
    """

    def __init__(
        self, recipe: Recipe, classes: int, facts: TrainingFacts | None = None, teachers: tuple[Teacher, ...] = ()
    ) -> None:
        super().__init__()
        self.recipe = recipe
        self.train_faces = len(facts.targets) if facts else 0
        in_channels = 1 if recipe.channels == "gray" else 3
        network = catalog.build("models", recipe.model, classes, in_channels, options=_model_options(recipe))
        self.network: nn.Module = network.to(memory_format=torch.channels_last)
        self.losses = WeightedLosses(
            recipe, replace(facts, features=getattr(network, "features", 0)) if facts else None
        )
        self._uniform = torch.empty(0)
        self._first_pass = True
        self._teachers = teachers  # a tuple, so that they are no part of this module's state
        self._valid: list[tuple[Outputs, Batch]] = []

    def forward(self, images: Tensor) -> Outputs:
        """(B, C, H, W) -> answers."""
        return as_outputs(self.network(images))

    def on_fit_start(self) -> None:
        for teacher in self._teachers:
            teacher.network.to(self.device)

    def on_train_epoch_start(self) -> None:
        if self.recipe.freeze_norms:
            for module in self.network.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        self._uniform = draws(self.train_faces, self.recipe.seed, self.current_epoch)

    def training_step(self, batch: Batch) -> Tensor | None:
        if not len(batch["image"]):
            if self.trainer.world_size == 1:
                return None  # Lightning goes on with the next batch
            return torch.stack([weight.sum() for weight in self.parameters()]).sum() * 0  # the others have gradients
        # dropout, the same after a resumption, another in each process
        torch.manual_seed(self.recipe.seed * 1_000_003 + self.global_step + 500_000_003 * self.global_rank)
        rows = rows_of_draws(batch["index"].cpu(), batch["copy"].cpu(), self.train_faces)
        uniform = self._uniform[rows].to(batch["image"].device)
        with torch.autocast(self.device.type, enabled=False):  # it moves pixels by less than half precision resolves
            images = augment(batch["image"], uniform, self.recipe)
        target, labels = targets(batch, uniform, self.recipe.target), batch["target"]
        if self.recipe.mixup or self.recipe.cutmix:
            images, target = mix(images, target, uniform, self.recipe)
            labels = torch.where(labels >= 0, target.argmax(dim=1), labels)  # of a mixed face that of its larger part
        if self._teachers:
            taught = teach(self._teachers, images, batch.get("light"), self.recipe)
            target = torch.lerp(target, taught, self.recipe.teacher_weight)
        with torch.autocast(self.device.type, enabled=False):
            images = spoil(images, uniform, self.recipe)
        truth = {one.target: batch[one.target] for one in OUTPUTS.values() if one.target in batch}
        truth |= {"target": target, "label": batch["target"]}
        if masks.TARGET in batch:
            truth[masks.TARGET] = move(batch[masks.TARGET], uniform, self.recipe)
        answer = self(images)
        loss: Tensor = self.losses(answer, **truth)
        if self._first_pass:
            self._log_mean("train_loss", loss, len(images))
            right = answer.logits.argmax(dim=1) == labels
            if labelled := int((labels >= 0).sum()):
                self._log_mean("train_accuracy", right.float().sum() / labelled, labelled)
        return loss

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
        self._valid.append((averaged(self, batch["image"], self.recipe.views), batch))

    def on_validation_epoch_end(self) -> None:
        logits = torch.cat([answer.logits.float().cpu() for answer, _ in self._valid]).numpy()
        target = torch.cat([batch["target"].cpu() for _, batch in self._valid]).numpy()
        figures = {f"valid_{compared.output.figure}": compared.value for compared in self._compared()}
        self._valid.clear()
        logits, target = logits[target >= 0], target[target >= 0]
        predicted = logits.argmax(axis=1)
        figures |= {
            "valid_accuracy": metrics.accuracy(predicted, target),
            "valid_macro_recall": metrics.macro_recall(predicted, target, logits.shape[1]),
            "valid_nll": metrics.negative_log_likelihood(logits + self.losses.shift.cpu().numpy(), target),
        }
        self.log_dict(figures, sync_dist=True)  # they are the same in every process

    def _compared(self) -> list[Compared]:
        """What the network says of the validation faces in each output that has a metric, beside what is known."""
        found = []
        for output in (OUTPUTS[name] for name in self._valid[0][0].others if OUTPUTS[name].metric):
            raw = torch.cat([answer.others[output.name].float().cpu() for answer, _ in self._valid]).numpy()
            truth = torch.cat([batch[output.target].cpu() for _, batch in self._valid]).numpy()
            found.append(Compared(output, output.said(raw), truth))
        return found

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
        recipe = self.recipe
        optimiser = optimisers(nn.ModuleList([self.network, self.losses]), recipe)
        if recipe.schedule == "constant":
            return optimiser
        schedule: Any
        if recipe.schedule == "plateau":
            name, mode = monitor(recipe)
            schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
                optimiser, mode, recipe.schedule_factor, recipe.schedule_patience
            )
            return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "monitor": name}}
        if recipe.schedule in ("exponential", "steps"):
            every = recipe.schedule_patience if recipe.schedule == "steps" else 1
            schedule = torch.optim.lr_scheduler.StepLR(optimiser, every, recipe.schedule_factor)
            return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "epoch"}}
        steps = int(self.trainer.estimated_stepping_batches)
        warmup = min(max(recipe.warmup, 2 / steps), 0.9)  # torch divides by 0 where the rise takes a single step
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, recipe.learning_rate, total_steps=steps, pct_start=warmup, cycle_momentum=False
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Callable[[], Any] | None = None
    ) -> None:
        """One step; with `sam_radius` its gradient is the one at the worst point nearby."""
        if self.recipe.sam_radius and optimizer_closure is not None:
            passes = (optimizer_closure, partial(self._again, optimizer_closure))
            optimizer_closure = partial(sam.two_passes, self.network, self.recipe.sam_radius, *passes)
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)


def _model_options(recipe: Recipe) -> dict[str, Any]:
    """The recipe's, with size and normalisation of the faces where the model asks for them."""
    asked = inspect.signature(catalog.load("models", recipe.model).build).parameters
    known = {"image_px": recipe.size_px, "mean": recipe.mean, "std": recipe.std}
    return {key: value for key, value in known.items() if key in asked} | dict(recipe.model_options)


def optimisers(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser over all weights; norms and biases are not decayed unless the recipe says so."""
    decayed = [p for p in network.parameters() if p.requires_grad and (p.ndim > 1 or recipe.decay_all)]
    spared = [p for p in network.parameters() if p.requires_grad and not (p.ndim > 1 or recipe.decay_all)]
    groups = [
        {"params": group, "weight_decay": decay}
        for group, decay in ((decayed, recipe.weight_decay), (spared, 0.0))
        if group
    ]
    fused = not recipe.gradient_clip  # Lightning clips no gradients of fused optimisers
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(
            groups, recipe.learning_rate, momentum=recipe.momentum, nesterov=recipe.nesterov, fused=fused
        )
    family = torch.optim.Adam if recipe.optimiser == "adam" else torch.optim.AdamW
    return family(groups, recipe.learning_rate, fused=fused)


def targets(batch: Batch, uniform: Tensor, kind: str) -> Tensor:
    """(B, classes) distributions that the losses see: the votes, their one label, or one label drawn from them."""
    votes = batch["votes"]
    if kind == "votes":
        return votes
    if kind == "label":
        label = torch.where(batch["target"] >= 0, batch["target"], votes.argmax(dim=1))
    else:
        label = (votes.cumsum(dim=1) <= uniform[:, 15:16] * votes.sum(dim=1, keepdim=True)).sum(dim=1)
        label = label.clamp_max(votes.shape[1] - 1)
    return one_hot(label, votes.shape[1]).to(votes.dtype)


def answers_of(module: ExpressionModule, crops: list[NDArray[np.uint8]]) -> Answers:
    """What the network says of N crops, each (H, W) gray or (H, W, 3) RGB uint8, as its exported file would; in
    evaluation mode and float32.
    """
    module.eval()
    with torch.inference_mode():
        faces = torch.from_numpy(to_input(crops, module.recipe.input_spec()))
        answer = averaged(module, faces, module.recipe.views)
    return Answers(
        answer.logits.numpy(), {name: OUTPUTS[name].said(raw.numpy()) for name, raw in answer.others.items()}
    )


def predict(module: ExpressionModule, table: FaceTable) -> tuple[Answers, NDArray[np.int64]]:
    """Answers in evaluation mode and float32, and the (N,) rows of `table` whose images can be decoded.

    Raises:
        BadData: none can.
    """
    return answers_for(table, partial(answers_of, module), faces_at_once(module.recipe))


def answers_for(
    table: FaceTable, answers_of: Callable[[list[NDArray[np.uint8]]], Answers], at_once: int
) -> tuple[Answers, NDArray[np.int64]]:
    """What `answers_of` says of the images of `table`, `at_once` at a time, and the (N,) rows that can be decoded.

    Raises:
        BadData: none can.
    """
    answers, rows = [], []
    for images, places in in_chunks(table.images, at_once):
        if images:
            answers.append(answers_of(images))
            rows.append(places)
    if not rows:
        raise BadData(f"none of {len(table)} images can be decoded")
    return Answers.joined(answers), np.concatenate(rows)
