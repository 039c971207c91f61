"""A head over the frames of videos on top of a trained run, whose network stays as it is.

Antoniadis names videos as future work (section 7.2); what is here is ours. The run's network processes every frame once
(`training.frame_features`), and only the head (`models.layers.temporal`) is trained, on windows of consecutive frames,
with those of the run's losses that need nothing but what the head gives. Frames without a label are part of the
sequence but contribute to no loss. Windows are shifted at random in every epoch, and each begins with an empty memory;
evaluation goes through each video as a whole. The epoch is selected by the challenge's metrics on validation.
"""

import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from affectlens.core.checksums import check_archive
from affectlens.core.errors import BadData, BadModelFile, BadSetting
from affectlens.core.files import atomic_write
from affectlens.core.outputs import AFFECT, OUTPUTS
from affectlens.core.progress import SILENT, Progress, track
from affectlens.core.statistics import DatasetStatistics
from affectlens.data.table import FaceTable
from affectlens.evaluation.videos import frame_metrics, selection
from affectlens.models.layers.outputs import Outputs
from affectlens.models.layers.temporal import TemporalHead
from affectlens.training.frame_features import FrameFeatures
from affectlens.training.module import ExpressionModule
from affectlens.training.objective import WeightedLosses, dataset_statistics
from affectlens.training.precision import device
from affectlens.training.recipe import Recipe
from affectlens.training.run import cause_of

_MOST_FOR_SCALE = 100_000
_CLIP = 1.0
_KNOWN = {"logits", "features", "target", "label", AFFECT, OUTPUTS[AFFECT].target}
"""What losses may ask for here."""
_UNLABELLED = "no validation frame has a label to select the best epoch by"


@dataclass(frozen=True)
class TemporalSettings:
    """How a head is trained: AdamW at a constant rate.

    Attributes:
        head: one of `models.layers.temporal.HEADS`.
        window: consecutive frames in a training sample.
        width: of the head's layers.
        epochs, batch_size (windows), learning_rate, seed: of training.

    Raises:
        BadSetting: a number is too small.
    """

    head: str = "gru"
    window: int = 64
    width: int = 128
    epochs: int = 20
    batch_size: int = 16
    learning_rate: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("window", "width", "epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise BadSetting(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.learning_rate > 0:
            raise BadSetting(f"learning_rate must be > 0, got {self.learning_rate}")

    @property
    def folder_name(self) -> str:
        """The head and what `workflows.temporal` lets people choose of its training."""
        return f"{self.head}-window{self.window}-epochs{self.epochs}-seed{self.seed}"


class Objective(nn.Module):
    """Those of a run's losses that need only what a head gives: losses of expressions on the frames that have one, of
    valence and arousal on the frames that have both.

    Attributes:
        trained, left_out: names of these losses and of the run's others.
        expressions: a loss is about expressions, so that the head classifies them.

    Raises:
        BadSetting: none of its losses is of this kind.
    """

    def __init__(self, recipe: Recipe, statistics: DatasetStatistics, affect: bool) -> None:
        super().__init__()
        plain = replace(recipe, mixup=0.0, cutmix=0.0)
        needs = {name: set(some) for name, some in WeightedLosses(plain, statistics).needs.items()}
        known = _KNOWN if affect else _KNOWN - {AFFECT}
        usable = [name for name, some in needs.items() if some <= known]
        self.trained = tuple(usable)
        self.left_out = tuple(name for name in needs if name not in usable)
        if not usable:
            raise BadSetting(
                f"no loss of '{recipe.name}' can train a head over frames, which predicts expressions, valence and "
                f"arousal; its losses are {', '.join(needs)}"
            )
        described = [name for name in usable if OUTPUTS[AFFECT].target in needs[name]]
        labelled = [name for name in usable if name not in described]
        self.expressions = any("logits" in needs[name] for name in usable)
        self.labelled, self.described = (
            WeightedLosses(_with_losses(plain, names), statistics) if names else None for names in (labelled, described)
        )

    def forward(
        self, predictions: Tensor, features: Tensor, votes: Tensor, targets: Tensor, affect: Tensor
    ) -> Tensor | None:
        """(M, K) predictions and (M, width) features of frames and their truth as in `FrameFeatures` -> (), or None
        where no frame has a truth to learn from.
        """
        parts: list[Tensor] = []
        classes = votes.shape[1]
        for losses, known in (
            (self.labelled, votes.sum(dim=1) > 0),
            (self.described, affect.isfinite().all(dim=1)),
        ):
            if losses is not None and known.any():
                others = {AFFECT: predictions[known, classes:]} if predictions.shape[1] > classes else {}
                outputs = Outputs(predictions[known, :classes], features[known], others)
                truth = {"target": votes[known], "label": targets[known], OUTPUTS[AFFECT].target: affect[known]}
                parts += losses(outputs, **truth).values()
        return torch.stack(parts).sum() if parts else None


def _with_losses(recipe: Recipe, names: Sequence[str]) -> Recipe:
    options = {name: some for name, some in recipe.loss_options.items() if name in names}
    return replace(recipe, losses={name: recipe.losses[name] for name in names}, loss_options=options)


def check_trainable(module: ExpressionModule, train: FaceTable, valid: FaceTable, settings: TemporalSettings) -> None:
    """Refuse what `train_head` would refuse, from the labels alone: before features of all frames are computed.

    Raises:
        BadSetting: the run has no loss that can train a head on these frames. BadData: validation has no frame to
            select an epoch by.
    """
    spec = module.recipe.input_spec()
    module.eval().cpu()
    with torch.inference_mode():
        outputs = module(torch.zeros(1, spec.channel_count, spec.size_px, spec.size_px))
    affect = AFFECT in outputs.others
    statistics = replace(dataset_statistics(train), feature_width=settings.width)
    objective = Objective(module.recipe, statistics, affect)
    described = np.isfinite(valid.valence) & np.isfinite(valid.arousal)
    if not (objective.expressions and valid.labelled.any()) and not (affect and described.any()):
        raise BadData(_UNLABELLED)


def train_head(
    recipe: Recipe,
    labels: tuple[str, ...],
    train: FrameFeatures,
    valid: FrameFeatures,
    settings: TemporalSettings,
    progress: Progress = SILENT,
) -> tuple[TemporalHead, Objective, list[dict[str, Any]]]:
    """A head with the weights of its best epoch, what it was trained with, and the metrics of each epoch; epoch 0 is
    before training, when it predicts what the run does.

    Raises:
        BadSetting: there is no such head, or no loss to train it with. BadData: validation has no frame to select by.
    """
    torch.manual_seed(settings.seed)
    classes = len(labels)
    statistics = DatasetStatistics(labels, train.targets, train.affect, settings.width, train.votes)
    objective = Objective(recipe, statistics, affect=train.predictions.shape[1] > classes).to(device())
    head = TemporalHead(settings.head, train.features.shape[1], train.predictions.shape[1], settings.width)
    some = train.features[:: max(1, len(train) // _MOST_FOR_SCALE)]
    head.mean.copy_(torch.from_numpy(some.mean(axis=0)))
    head.scale.copy_(torch.from_numpy(np.maximum(some.std(axis=0), 1e-6)))
    head.to(device())
    weights = nn.ModuleList([head, objective])
    optimiser = torch.optim.AdamW(weights.parameters(), lr=settings.learning_rate)
    curves: list[dict[str, Any]] = []
    best, best_state = -math.inf, {}
    for epoch in track(
        range(settings.epochs + 1), progress, f"training the head '{settings.head}'", settings.epochs + 1
    ):
        loss = _epoch(head, objective, optimiser, train, settings, epoch) if epoch else math.nan
        found = frame_metrics(valid.with_predictions(predictions_of(head, valid), objective.expressions))
        value = selection(found)
        if not math.isfinite(value):
            raise BadData(_UNLABELLED)
        curves.append(
            {"epoch": epoch, "train_loss": loss if math.isfinite(loss) else None, "selection": value, **found}
        )
        if value > best:
            best, best_state = value, {name: weight.detach().clone() for name, weight in head.state_dict().items()}
    head.load_state_dict(best_state)
    return head.eval(), objective, curves


def _epoch(
    head: TemporalHead,
    objective: Objective,
    optimiser: torch.optim.Optimizer,
    train: FrameFeatures,
    settings: TemporalSettings,
    epoch: int,
) -> float:
    """Train on every frame once; returns the mean loss of the batches with a truth."""
    weights = [weight for group in optimiser.param_groups for weight in group["params"]]
    head.train()
    objective.train()
    found = []
    for frames, real in _windows(train.starts, settings, epoch):
        part = [
            torch.from_numpy(column[frames]).to(device())
            for column in (train.features, train.predictions, train.votes, train.targets, train.affect)
        ]
        predictions, seen = head(part[0], part[1])
        kept = torch.from_numpy(real).to(device())
        loss = objective(predictions[kept], seen[kept], *(column[kept] for column in part[2:]))
        if loss is None:
            continue
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, _CLIP)
        optimiser.step()
        found.append(loss.item())
    return float(np.mean(found)) if found else math.nan


def _windows(
    starts: NDArray[np.int64], settings: TemporalSettings, epoch: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
    """Batches of windows: (B, T) frames, and which of them are real; the others fill up a window at its end."""
    rng = np.random.default_rng((settings.seed, epoch))
    windows = []
    for start, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        cuts = range(start - int(rng.integers(settings.window)), end, settings.window)
        windows += [(max(cut, start), min(cut + settings.window, end)) for cut in cuts]
    order = rng.permutation([window for window in windows if window[1] > window[0]])
    for batch in np.array_split(order, math.ceil(len(order) / settings.batch_size)):
        frames = batch[:, :1] + np.arange((batch[:, 1] - batch[:, 0]).max())
        yield np.minimum(frames, batch[:, 1:] - 1), frames < batch[:, 1:]


def predictions_of(head: TemporalHead, frames: FrameFeatures) -> NDArray[np.float32]:
    """(N, K) predictions of the head, for each video as a whole from its first frame."""
    head.eval().to(device())
    found = []
    with torch.inference_mode():
        for start, end in zip(frames.starts[:-1], frames.starts[1:], strict=True):
            own = (
                torch.from_numpy(part[None, start:end]).to(device()) for part in (frames.features, frames.predictions)
            )
            found.append(head(*own)[0][0].cpu().numpy())
    return np.concatenate(found)


def save_head(head: TemporalHead, file: Path) -> None:
    """Write `options`, the arguments of `TemporalHead`, and `weights`, its state on the CPU."""
    stream = io.BytesIO()
    torch.save({"options": head.options, "weights": head.cpu().state_dict()}, stream)
    atomic_write(file, stream.getvalue())


def load_head(file: Path) -> TemporalHead:
    """The head that `save_head` wrote, on the CPU and in evaluation mode.

    Raises:
        BadModelFile: the file is missing or damaged, or holds no head.
    """
    if not file.is_file():
        raise BadModelFile(f"no trained head: '{file}' does not exist")
    check_archive(file)
    try:
        stored = torch.load(file, map_location="cpu", weights_only=True)
        with torch.device("meta"):  # allocates nothing, whatever the options say
            expected = TemporalHead(**stored["options"]).state_dict()
        shapes = {name: weight.shape for name, weight in stored["weights"].items()}
        if shapes != {name: weight.shape for name, weight in expected.items()}:
            raise ValueError("its weights have other shapes than its options say")
        head = TemporalHead(**stored["options"])
        head.load_state_dict(stored["weights"])
    except Exception as error:  # torch raises many types for a file that is not its own
        raise BadModelFile(f"'{file}' is not a head over frames: {cause_of(error)}") from error
    return head.eval()
