"""Run a recipe: data in, a run folder out (recipe, versions, curves, checkpoints)."""

import warnings
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import lightning as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, WeightAveraging
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from affectlens.core.catalog import unknown
from affectlens.core.errors import AffectLensError, BadData, BadModelFile, BadSetting
from affectlens.core.malloc import keep_freed_memory
from affectlens.core.messages import one_line
from affectlens.core.outputs import OUTPUTS
from affectlens.core.progress import SILENT, Progress
from affectlens.data.table import FaceTable
from affectlens.models.layers.outputs import Outputs
from affectlens.training import features, masks, svm
from affectlens.training.callbacks import (
    AtomicCheckpoints,
    Curves,
    Deadline,
    EpochProgress,
    Log,
    ResumableEarlyStopping,
)
from affectlens.training.data import TrainingData
from affectlens.training.loaders import Batch, train_loader, truth_of, valid_loader
from affectlens.training.module import ExpressionModule, monitor
from affectlens.training.objective import dataset_statistics
from affectlens.training.precision import resolved
from affectlens.training.recipe import Recipe
from affectlens.training.resumable import check_resumable, not_resumable
from affectlens.training.run import check_run, chosen_checkpoint, last_checkpoint, load_checkpoint, open_run
from affectlens.training.start import begin, open_teacher

_ON_HOST = ("index", "copy", "labelled")
"""What of a batch is not moved to the device."""


@dataclass(frozen=True)
class Devices:
    """Where Lightning trains: processes (or GPUs) per host, hosts, and the name of one of its strategies.

    With several, each takes its share of every batch, so that the gradient is that of the whole batch; batch norms see
    their own share. Validation runs in full on each.
    """

    devices: int = 1
    nodes: int = 1
    strategy: str = "auto"

    def __str__(self) -> str:
        return f"{self.devices} device(s) of {self.nodes} node(s) with strategy '{self.strategy}'"


class FaceData(L.LightningDataModule):
    """The loaders, made in each process when it knows its rank."""

    def __init__(
        self, data: TrainingData, recipe: Recipe, needs: Collection[str], embedded: features.Embedded | None
    ) -> None:
        super().__init__()
        self.data, self.recipe, self.needs = data, recipe, needs
        self.embedded = embedded

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """What a step needs on the host stays there, so that it does not wait for the device."""
        others = {name: value for name, value in batch.items() if name not in _ON_HOST}
        moved: Batch = super().transfer_batch_to_device(others, device, dataloader_idx)
        return moved | {name: batch[name] for name in _ON_HOST}

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches of this process."""
        assert self.trainer is not None
        rank, ranks = self.trainer.global_rank, self.trainer.world_size
        return train_loader(self.data.train, self.recipe, rank, ranks, self.needs, self.embedded and self.embedded[0])

    def val_dataloader(self) -> DataLoader[Batch]:
        """All validation faces."""
        return valid_loader(self.data.valid, self.recipe, self.embedded and self.embedded[1])


def fit(
    recipe: Recipe,
    data: TrainingData,
    out: Path,
    resume: bool = False,
    progress: Progress = SILENT,
    machines: Devices | None = None,
    deadline: float | None = None,
) -> Path | None:
    """Train; returns the checkpoint that the recipe keeps: of the epoch that `select` finds best on
    validation, or of the last (`weights`).

    Where several processes train together, all but the first get None.

    `out` receives recipe.json, versions.json, curves.csv, log.txt, checkpoints/best.ckpt and last.ckpt (written every
    epoch). The caller has locked it (`training.run.locked`). With `resume` it goes on after the last complete epoch, if
    there is one; a folder that was moved in between goes on too, but counts its best epoch anew. Nothing in `out`
    changes before training begins.

    Raises:
        BadSetting: `out` holds a run and `resume` is off, the run there has another recipe, or Lightning cannot train
            on `machines`. BadModelFile: the last checkpoint is damaged. BadData: there is but one class, the sampler
            needs what the faces do not have, or images of a batch cannot be decoded.
    """
    machines = machines or Devices()
    last, labels = last_checkpoint(out), data.train.labels
    if rank_zero_only.rank == 0:
        check_run(recipe, labels, data.facts, out, resume)
    resumed = resume and last.is_file()
    stopped = _stopped(recipe, len(labels), last) if resumed else None
    if resumed:
        check_resumable(last)
    module, remark = _begun(recipe, data, not resumed, progress)
    _check(module, recipe, data, machines)
    fixed = features.are_fixed(module)
    if recipe.compile and fixed:
        progress.message("note: compile has no effect on a head that is trained on features computed once")
    elif recipe.compile:
        _compile(module)
    trainer = _trainer(recipe, out, progress, machines, deadline)
    embedded = features.embedded(stopped or module, data, progress) if fixed else None
    del stopped  # its memory
    faces = FaceData(data, recipe, module.network.needs, embedded)
    keep_freed_memory()
    first = rank_zero_only.rank == 0  # the trainer may have made it known
    with warnings.catch_warnings():
        if first:
            open_run(recipe, labels, data.facts, out, resume, remark)
        warnings.filterwarnings("ignore", module=r"lightning\.pytorch\.utilities\._pytree")
        warnings.filterwarnings("ignore", message="Found .* in eval mode at the start of training")  # frozen parts
        warnings.filterwarnings("ignore", message="The dirpath has changed from")  # a run that was moved or adopted
        warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")  # so it is meant
        try:
            trainer.fit(module, datamodule=faces, ckpt_path=str(last) if resumed else None, weights_only=True)
        except Exception as error:
            begun = any(isinstance(one, Log) and one.began for one in trainer.callbacks)
            if resumed and not begun and not isinstance(error, AffectLensError | OSError):
                raise not_resumable(last, error) from error
            raise
    return chosen_checkpoint(recipe, out) if trainer.is_global_zero else None


def _begun(recipe: Recipe, data: TrainingData, fresh: bool, progress: Progress) -> tuple[ExpressionModule, str]:
    """The module with the weights that a `fresh` run begins with, prepared for the training set, and a remark."""
    torch.manual_seed(recipe.seed)
    statistics = dataset_statistics(data.train)
    teachers = tuple(open_teacher(where, recipe, statistics) for where in recipe.teachers)
    module = ExpressionModule(recipe, len(data.train.labels), statistics, teachers)
    remark = begin(module.network, recipe, data.train.labels, fresh)
    if remark:
        progress.message(f"note: {remark}")
    module.network.prepare(statistics)
    return module, remark


def _check(module: ExpressionModule, recipe: Recipe, data: TrainingData, machines: Devices) -> None:
    """Raises BadSetting or BadData where training would fail later: before anything is written."""
    labels = data.train.labels
    if masks.OUTPUT in module.network.needs:
        masks.check(data.train.landmarks_xy)
    if recipe.sam_radius and machines.strategy.partition("_")[0] not in ("auto", "ddp"):
        raise BadSetting(
            "sam_radius requires the strategy 'ddp', because every process needs all weights; got "
            f"'{machines.strategy}'"
        )
    if len(labels) < 2:
        raise BadData(f"training needs at least two classes, got {', '.join(labels)}")
    if recipe.classifier == "svm":
        svm.check(module, data.train)
    train_loader(data.train, recipe, ranks=machines.devices * machines.nodes)  # its sampler may need what faces lack
    _try(module, recipe, data)


def _stopped(recipe: Recipe, classes: int, last: Path) -> ExpressionModule:
    """The module as the run left it.  Raises BadModelFile if its last checkpoint is damaged or of another network."""
    try:
        return load_checkpoint(recipe, classes, last)
    except BadModelFile as error:
        raise BadModelFile(f"{error}; delete it to restart the run") from error


def _try(module: ExpressionModule, recipe: Recipe, data: TrainingData) -> None:
    """One face through network and losses.

    Raises:
        BadSetting: they do not take the recipe's input, or answer something else than they must.
    """
    spec = recipe.input_spec()
    classes = len(data.train.labels)
    module.eval()
    with torch.inference_mode():
        try:
            answer = module(torch.zeros(1, spec.channel_count, spec.size_px, spec.size_px))
        except AffectLensError:
            raise
        except Exception as error:  # whatever a network of others raises
            size = f"{spec.size_px}x{spec.size_px} {spec.channels}"
            raise BadSetting(f"'{recipe.model}' cannot process faces of {size}: {one_line(error)}") from error
        logits = answer.logits
        if not isinstance(logits, Tensor) or logits.shape != (1, classes):
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise BadSetting(
                f"'{recipe.model}' must answer one face and {classes} classes with logits of shape (1, {classes}), or "
                f"with Outputs that hold them; got {got}"
            )
        _check_outputs(answer, recipe, data.valid)
        nothing = {name: torch.full_like(truth[:1], torch.nan) for name, truth in truth_of(data.train).items()}
        nothing |= {
            "target": torch.full((1, classes), 1 / classes),
            "label": torch.tensor([-1]),
            masks.TARGET: torch.full((1, 1, spec.size_px, spec.size_px), torch.nan),
        }
        module.losses(answer, **nothing)
    module.train()


def _compile(module: ExpressionModule) -> None:
    """Compile the network at its first use.  Raises BadSetting where torch cannot compile here."""
    try:
        torch.compile(torch.nn.Linear(1, 1))(torch.zeros(1, 1))
    except Exception as error:  # of the compiler, or for lack of one
        raise BadSetting(f"compile=true does not work here: {one_line(error)}") from error
    module.network.compile()


def _check_outputs(answer: Outputs, recipe: Recipe, valid: FaceTable) -> None:
    """Raises BadSetting where the network lacks the output that the recipe selects by, or gives one that nobody knows,
    and BadData where no validation face has its truth.
    """
    if strange := [name for name in answer.others if name not in OUTPUTS]:
        raise BadSetting(unknown("output of the network", strange[0], list(OUTPUTS)))
    for output in OUTPUTS.values():
        if output.metric_name and output.metric_name == recipe.select:
            if output.name not in answer.others:
                given = f"which '{recipe.model}' does not provide with these options"
                raise BadSetting(f"select={recipe.select} needs {output.meaning}, {given}")
            if not output.known(output.truth(valid)).any():
                raise BadData(f"select={recipe.select} needs validation faces with {output.meaning}; there are none")


def _trainer(recipe: Recipe, out: Path, progress: Progress, machines: Devices, deadline: float | None) -> L.Trainer:
    """Lightning's trainer, made before anything is written.  Raises BadSetting where it cannot run on `machines`."""
    try:
        return L.Trainer(
            max_epochs=recipe.epochs,
            accelerator="cuda" if torch.cuda.is_available() else "cpu",
            devices=machines.devices,
            num_nodes=machines.nodes,
            strategy=machines.strategy,
            use_distributed_sampler=False,
            plugins=[AtomicCheckpoints()],
            precision=resolved(recipe.precision),
            callbacks=_callbacks(recipe, out, progress, deadline),
            logger=False,
            enable_progress_bar=False,  # `callbacks.EpochProgress` is ours
            enable_model_summary=False,
            num_sanity_val_steps=0,
            gradient_clip_val=recipe.gradient_clip or None,
            log_every_n_steps=1,
        )
    except (ValueError, MisconfigurationException) as error:
        raise BadSetting(f"cannot train on {machines}: {str(error).partition('. ')[0]}") from error


def _callbacks(recipe: Recipe, out: Path, progress: Progress, deadline: float | None) -> list[Callback]:
    """Averaging, curves, checkpoints of the best and the last epoch, early stopping, deadline, progress."""
    metric, mode = monitor(recipe)
    every = {"save_on_train_epoch_end": True, "enable_version_counter": False}
    callbacks: list[Callback] = []
    if recipe.ema:  # all weights at once take a third of the time of EMAWeightAveraging, which goes one by one
        callbacks.append(WeightAveraging(multi_avg_fn=get_ema_multi_avg_fn(recipe.ema)))
    callbacks += [
        Curves(out / "curves.csv"),
        Log(out),
        EpochProgress(progress),
        ModelCheckpoint(out / "checkpoints", "best", monitor=metric, mode=mode, **every),
        ModelCheckpoint(out / "checkpoints", "last", **every),
    ]
    if recipe.early_stop:
        patience = {"patience": recipe.early_stop, "check_on_train_epoch_end": True, "verbose": False}
        callbacks.append(ResumableEarlyStopping(metric, mode=mode, **patience))
    if deadline is not None:
        callbacks.append(Deadline(deadline))
    return callbacks
