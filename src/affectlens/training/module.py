"""The Lightning module and the data loaders that every recipe trains with."""

from collections.abc import Iterator
from typing import Any

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from affectlens.core import catalog
from affectlens.core.preprocessing import InputSpec, to_input
from affectlens.data.samplers import EpochShuffle, InOrder
from affectlens.data.table import FaceTable
from affectlens.evaluation import metrics
from affectlens.training.augment import augment, draws
from affectlens.training.recipe import Recipe

Batch = dict[str, Tensor]


def inputs(table: FaceTable, rows: NDArray[np.int64], spec: InputSpec) -> NDArray[np.float32]:
    """The chosen rows of `table` as network input, (B, C, size_px, size_px) float32."""
    return to_input(list(table.images[rows]), spec)


class FaceBatches(Dataset[Batch]):
    """Batches by index: images (B, C, H, W) float32 normalised, votes (B, classes), target (B,), index (B,)."""

    def __init__(self, table: FaceTable, spec: InputSpec) -> None:
        self.table = table
        self.spec = spec

    def __getitem__(self, index: NDArray[np.int64]) -> Batch:
        return {
            "image": torch.from_numpy(inputs(self.table, index, self.spec)),
            "votes": torch.from_numpy(self.table.votes[index]),
            "target": torch.from_numpy(self.table.targets[index]),
            "index": torch.from_numpy(index),
        }


def loaders(
    train: FaceTable, valid: FaceTable, recipe: Recipe, spec: InputSpec
) -> tuple[DataLoader[Batch], DataLoader[Batch]]:
    """Training batches in an order drawn from (seed, epoch), validation batches in table order."""
    shuffle = EpochShuffle(len(train), recipe.batch_size, recipe.seed)
    in_order = InOrder(len(valid), 256)
    return (
        DataLoader(FaceBatches(train, spec), batch_size=None, sampler=shuffle),
        DataLoader(FaceBatches(valid, spec), batch_size=None, sampler=in_order),
    )


class ExpressionModule(L.LightningModule):
    """Trains the recipe's network on vote distributions; validates on the faces with a majority label."""

    def __init__(self, recipe: Recipe, classes: int, train_faces: int, teacher: nn.Module | None = None) -> None:
        super().__init__()
        self.recipe = recipe
        self.train_faces = train_faces
        in_channels = 1 if recipe.channels == "gray" else 3
        network = catalog.load("models", recipe.model).build(classes, in_channels=in_channels, **recipe.model_options)
        self.network: nn.Module = network.to(memory_format=torch.channels_last)
        self.loss = catalog.load("losses", recipe.loss).build(**recipe.loss_options)
        self._uniform = torch.empty(0)
        self._teacher = (teacher,)  # in a tuple, so that it is no part of this module's state
        self._valid: list[tuple[Tensor, Tensor]] = []

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, classes) logits."""
        logits: Tensor = self.network(images)
        return logits

    def on_fit_start(self) -> None:
        for teacher in self._teacher:
            if teacher is not None:
                teacher.to(self.device)

    def on_train_epoch_start(self) -> None:
        self._uniform = draws(self.train_faces, self.recipe.seed, self.current_epoch)

    def training_step(self, batch: Batch) -> Tensor:
        torch.manual_seed(self.recipe.seed * 1_000_003 + self.global_step)  # dropout, the same after a resumption
        uniform = self._uniform[batch["index"].cpu()].to(batch["image"].device)
        images = augment(batch["image"], uniform, self.recipe)
        target = batch["votes"]
        (teacher,) = self._teacher
        if teacher is not None:
            target = torch.lerp(target, teach(teacher, images), self.recipe.teacher_weight)
        loss: Tensor = self.loss(self(images).float(), target)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(images))
        return loss

    def validation_step(self, batch: Batch) -> None:
        self._valid.append((self(batch["image"]).float().cpu(), batch["target"].cpu()))

    def on_validation_epoch_end(self) -> None:
        logits = torch.cat([pair[0] for pair in self._valid]).numpy()
        target = torch.cat([pair[1] for pair in self._valid]).numpy()
        self._valid.clear()
        logits, target = logits[target >= 0], target[target >= 0]
        predicted = logits.argmax(axis=1)
        self.log("valid_accuracy", metrics.accuracy(predicted, target), prog_bar=True)
        self.log("valid_macro_recall", metrics.macro_recall(predicted, target, logits.shape[1]), prog_bar=True)
        self.log("valid_nll", metrics.negative_log_likelihood(logits, target))

    def configure_optimizers(self) -> Any:
        recipe = self.recipe
        weights = [p for p in self.network.parameters() if p.ndim > 1]
        rest = [p for p in self.network.parameters() if p.ndim <= 1]
        optimiser = torch.optim.SGD(
            [{"params": weights, "weight_decay": recipe.weight_decay}, {"params": rest, "weight_decay": 0.0}],
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
        )
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, recipe.learning_rate, total_steps=steps, pct_start=recipe.warmup, cycle_momentum=False
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


@torch.no_grad()
def teach(teacher: nn.Module, images: Tensor) -> Tensor:
    """(B, classes) distributions of `teacher` on (B, C, H, W) images, logits averaged with the mirror images'."""
    logits: Tensor = teacher(images) + teacher(images.flip(3))
    return (logits.float() / 2).softmax(dim=1)


def predict(module: ExpressionModule, table: FaceTable, spec: InputSpec) -> Iterator[NDArray[np.float32]]:
    """(256, classes) logits per chunk of `table`, in evaluation mode and float32."""
    module.eval()
    with torch.inference_mode():
        for index in InOrder(len(table), 256):
            yield module(torch.from_numpy(inputs(table, index, spec))).numpy()
