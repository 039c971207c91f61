"""Run a recipe: data in, a run folder out (recipe, versions, curves, checkpoints)."""

import contextlib
import ctypes
import hashlib
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError

import lightning as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, WeightAveraging
from torch.optim.swa_utils import get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from affectlens.core.catalog import unknown
from affectlens.core.errors import BadData, BadModelFile, BadSetting
from affectlens.core.outputs import OUTPUTS
from affectlens.data.samplers import balanced, stratified
from affectlens.data.source import DataSource, load_if_usable, name_of
from affectlens.data.table import FaceTable
from affectlens.data.twins import has_twin
from affectlens.models.emotion_gcn import EmotionGCN
from affectlens.models.layers.outputs import Outputs
from affectlens.training import masks, svm
from affectlens.training.callbacks import Curves, Log, Patience, Progress, WholeCheckpoints
from affectlens.training.crops import check_landmarks, cut
from affectlens.training.graph import connect
from affectlens.training.module import (
    Batch,
    ExpressionModule,
    monitor,
    train_loader,
    training_facts,
    truth_of,
    valid_loader,
)
from affectlens.training.recipe import Recipe
from affectlens.training.run import best_checkpoint, last_checkpoint, open_run, with_data_options
from affectlens.training.start import begin, open_teacher


@dataclass(frozen=True)
class TrainingData:
    """What training sees: two splits, how many faces were left out as twins of held-out ones, and where all is from."""

    train: FaceTable
    valid: FaceTable
    twins_left_out: int
    licence: str
    reader: str = "made up"
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def facts(self) -> dict[str, str]:
        """What versions.json says about the data."""
        return {
            "data": name_of(self.reader, self.options),
            "faces": self._fingerprint(),
            "train_faces": str(len(self.train)),
            "train_faces_left_out_as_twins": str(self.twins_left_out),
            "valid_faces": str(len(self.valid)),
            "valid_faces_with_majority": str(int(self.valid.labelled.sum())),
        }

    def _fingerprint(self) -> str:
        """Sixteen hexadecimal digits of the names, labels, ages and groups of all faces."""
        digest = hashlib.sha256()
        for table in (self.train, self.valid):
            digest.update("\n".join(table.ids).encode())
            for column in (table.votes, table.targets, table.valence, table.arousal, table.age_years):
                digest.update(column.tobytes())
            for name, values in sorted(table.groups.items()):
                digest.update("\n".join([name, *values]).encode())
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Machines:
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

    def __init__(self, data: TrainingData, recipe: Recipe) -> None:
        super().__init__()
        self.data = data
        self.recipe = recipe

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches of this process."""
        assert self.trainer is not None
        return train_loader(self.data.train, self.recipe, self.trainer.global_rank, self.trainer.world_size)

    def val_dataloader(self) -> DataLoader[Batch]:
        """All validation faces."""
        return valid_loader(self.data.valid, self.recipe)


def load_data(recipe: Recipe, source: DataSource, progress: bool = False) -> TrainingData:
    """Training and validation faces; without the twins of validation and test faces if the recipe says so.

    Raises:
        BadSetting: the data have no such option. BadData: nothing is left to train on or to select on, or the recipe
            needs landmarks that the faces lack.
    """
    source = with_data_options(recipe, source)
    train = source.load("train")
    check_landmarks(train, recipe)
    train = cut(train, recipe.input_spec(), recipe.find_faces, progress)
    try:
        valid = cut(source.load("valid"), recipe.input_spec(), recipe.find_faces, progress)
    except BadData as error:
        raise BadData(f"there are no validation faces, which say which epoch is best: {error}") from error
    if recipe.balanced:
        valid = valid.keep(balanced(valid, recipe.seed), "more than its class may have")
    train = train.keep(train.votes.sum(axis=1) > 0, "no expression")
    if len(train) and recipe.train_share < 1:
        train = train.keep(stratified(train, recipe.train_share, recipe.seed), "not in the share for training")
    if not len(train):
        raise BadData(f"nothing to train on; left out of the training split: {train.dropped}")
    if not valid.labelled.any():
        raise BadData("no validation face has a majority label, so there is nothing to select on")
    if not recipe.without_twins:
        return TrainingData(train, valid, 0, source.licence, source.reader, source.options)
    held_out = [valid.images]
    if (test := load_if_usable(source.without_meta(), "test")) is not None:
        held_out.append(cut(test, recipe.input_spec(), recipe.find_faces, progress).images)
    twins = has_twin(train.images, *held_out)
    if twins.all():
        raise BadData("every training face has a twin in validation or test; see the recipe key 'without_twins'")
    kept = train.keep(~twins)
    return TrainingData(kept, valid, int(twins.sum()), source.licence, source.reader, source.options)


def fit(
    recipe: Recipe, data: TrainingData, out: Path, resume: bool, progress: bool, machines: Machines | None = None
) -> Path | None:
    """Train; returns the checkpoint of the epoch that the recipe's `select` finds best on validation.

    Where several processes train together, all but the first get None.

    `out` receives recipe.json, versions.json, curves.csv, log.txt, checkpoints/best.ckpt and last.ckpt (written every
    epoch). With `resume` it goes on after the last complete epoch, if there is one; a folder that was moved in between
    goes on too, but counts its best epoch anew.

    Raises:
        BadSetting: `out` holds a run and `resume` is off, the run there has another recipe, or Lightning cannot train
            on `machines`. BadModelFile: the last checkpoint is damaged. BadData: there is but one class, the sampler
            needs what the faces do not have, or images of a batch cannot be decoded.
    """
    last = last_checkpoint(out)
    torch.manual_seed(recipe.seed)
    labels = data.train.labels
    facts = training_facts(data.train)
    teachers = tuple(open_teacher(where, recipe, facts) for where in recipe.teachers)
    module = ExpressionModule(recipe, len(labels), facts, teachers)
    remark = begin(module.network, recipe, labels, fresh=not (resume and last.is_file()))
    if isinstance(module.network, EmotionGCN):
        connect(module.network, facts, data.train.votes, str(recipe.model_options.get("words", "")))
    machines = machines or Machines()
    if recipe.sam_radius and machines.strategy.partition("_")[0] not in ("auto", "ddp"):
        raise BadSetting(f"sam_radius needs all weights in each process: strategy ddp, got '{machines.strategy}'")
    if len(labels) < 2:
        raise BadData(f"training needs at least two classes, got {', '.join(labels)}")
    if recipe.classifier == "svm":
        svm.check(module, data.train)
    # a sampler that lacks what it needs, or a network that does not take this input, says so before anything is written
    train_loader(data.train, recipe, ranks=machines.devices * machines.nodes)
    _try(module, recipe, data)
    trainer = _trainer(recipe, out, progress, machines)
    if rank_zero_only.rank == 0:
        open_run(recipe, labels, data.facts | ({"remark": remark} if remark else {}), out, resume)
    checkpoint = str(last) if resume and last.is_file() else None
    if checkpoint and not zipfile.is_zipfile(checkpoint):
        raise BadModelFile(f"'{last}' is damaged; delete it to begin the run anew")
    keep_freed_memory()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\.pytorch\.utilities\._pytree")
        warnings.filterwarnings("ignore", message="Found .* in eval mode at the start of training")  # frozen parts
        warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")  # so it is meant
        try:
            trainer.fit(module, datamodule=FaceData(data, recipe), ckpt_path=checkpoint, weights_only=True)
        except UnpicklingError as error:
            raise BadModelFile(f"'{last}' is damaged or holds more than weights; delete it to begin anew") from error
    return best_checkpoint(out) if trainer.is_global_zero else None


def _try(module: ExpressionModule, recipe: Recipe, data: TrainingData) -> None:
    """One face through network and losses.  Raises BadSetting where they do not take the recipe's input."""
    spec = recipe.input_spec()
    zeros = torch.zeros(1, spec.channel_count, spec.size_px, spec.size_px)
    classes = len(data.train.labels)
    try:
        module.eval()
        with torch.inference_mode():
            nothing = {name: torch.full_like(truth[:1], torch.nan) for name, truth in truth_of(data.train).items()}
            nothing |= {
                "target": torch.full((1, classes), 1 / classes),
                "label": torch.tensor([-1]),
                masks.TARGET: torch.full((1, 1, spec.size_px, spec.size_px), torch.nan),
            }
            answer = module(zeros)
            module.losses(answer, **nothing)
    except RuntimeError as error:
        size = f"{spec.size_px}x{spec.size_px} {spec.channels}"
        raise BadSetting(f"'{recipe.model}' does not take faces of {size}: {str(error).splitlines()[0]}") from error
    _check_outputs(answer, recipe, data.valid)
    module.train()


def _check_outputs(answer: Outputs, recipe: Recipe, valid: FaceTable) -> None:
    """Raises BadSetting where the network lacks the output that the recipe selects by, or gives one that nobody knows,
    and BadData where no validation face has its truth.
    """
    if strange := [name for name in answer.others if name not in OUTPUTS]:
        raise BadSetting(unknown("output of the network", strange[0], list(OUTPUTS)))
    for output in OUTPUTS.values():
        if output.figure and output.figure == recipe.select:
            if output.name not in answer.others:
                given = f"which '{recipe.model}' with these options does not give"
                raise BadSetting(f"select={recipe.select} needs {output.meaning}, {given}")
            if not output.known(output.truth(valid)).any():
                raise BadData(f"select={recipe.select} needs validation faces with {output.meaning}; there are none")


def _trainer(recipe: Recipe, out: Path, progress: bool, machines: Machines) -> L.Trainer:
    """Lightning's trainer, made before anything is written.  Raises BadSetting where it cannot run on `machines`."""
    try:
        return L.Trainer(
            max_epochs=recipe.epochs,
            accelerator="cuda" if torch.cuda.is_available() else "cpu",
            devices=machines.devices,
            num_nodes=machines.nodes,
            strategy=machines.strategy,
            use_distributed_sampler=False,
            plugins=[WholeCheckpoints()],
            precision=recipe.precision,
            callbacks=_callbacks(recipe, out, progress),
            logger=False,
            enable_progress_bar=False,  # `callbacks.Progress` is ours
            enable_model_summary=False,
            num_sanity_val_steps=0,
            gradient_clip_val=recipe.gradient_clip or None,
            log_every_n_steps=1,
        )
    except (ValueError, MisconfigurationException) as error:
        raise BadSetting(f"no training on {machines}: {str(error).partition('. ')[0]}") from error


def _callbacks(recipe: Recipe, out: Path, progress: bool) -> list[Callback]:
    """Averaging, curves, checkpoints of the best and the last epoch, early stopping, progress."""
    figure, mode = monitor(recipe)
    every = {"save_on_train_epoch_end": True, "enable_version_counter": False}
    callbacks: list[Callback] = []
    if recipe.ema:  # all weights at once take a third of the time of EMAWeightAveraging, which goes one by one
        callbacks.append(WeightAveraging(multi_avg_fn=get_ema_multi_avg_fn(recipe.ema)))
    callbacks += [
        Curves(out / "curves.csv"),
        Log(out),
        ModelCheckpoint(out / "checkpoints", "best", monitor=figure, mode=mode, **every),
        ModelCheckpoint(out / "checkpoints", "last", **every),
    ]
    if recipe.early_stop:
        patience = {"patience": recipe.early_stop, "check_on_train_epoch_end": True, "verbose": False}
        callbacks.append(Patience(figure, mode=mode, **patience))
    return [*callbacks, Progress()] if progress else callbacks


def keep_freed_memory() -> None:
    """Let glibc reuse the memory of freed tensors instead of returning it to the system and fetching it again.

    Networks with large maps train up to a third faster on the CPU (benchmarks/training.py); without glibc nothing
    happens.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        trim_threshold, mmap_max = -1, -4
        mallopt(mmap_max, 0)
        mallopt(trim_threshold, 2**31 - 1)
