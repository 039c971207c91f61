"""A head over the frames of videos on top of a trained run, whose network stays as it is.

Antoniadis names videos as future work (section 7.2); what is here is ours. The run's network answers every frame once;
features and answers are kept in memory, and only the head (`models.layers.temporal`) is trained, on windows of
consecutive frames, with those of the run's losses that need nothing but what the head answers. Frames without a label
are part of the sequence and of no loss. Windows begin at another place in every epoch, with nothing remembered;
evaluation goes through each video as a whole. The epoch is selected by the challenge's metrics on validation.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from affectlens.core.errors import BadData, BadSetting
from affectlens.core.outputs import AFFECT, OUTPUTS
from affectlens.core.progress import SILENT, Progress, track
from affectlens.core.statistics import DatasetStatistics
from affectlens.data.sequences import sequences
from affectlens.data.table import FaceTable
from affectlens.evaluation.videos import FrameAnswers, frame_metrics, selection
from affectlens.models.layers.outputs import Outputs
from affectlens.models.layers.temporal import TemporalHead
from affectlens.training.loaders import network_inputs
from affectlens.training.module import ExpressionModule
from affectlens.training.objective import WeightedLosses
from affectlens.training.recipe import Recipe

_MOST_FOR_SCALE = 100_000
_CLIP = 1.0
_KNOWN = {"logits", "features", "target", "label", AFFECT, OUTPUTS[AFFECT].target}
"""What losses may ask for here."""


@dataclass(frozen=True)
class TemporalSettings:
    """How a head is trained: AdamW at a constant rate.

    Attributes:
        head: one of `models.layers.temporal.HEADS`.
        window: frames in a row that are trained on.
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


@dataclass(frozen=True, eq=False)
class FrameFeatures:
    """N frames of one split, video after video, in the order in which they were filmed.

    Attributes:
        features: (N, D) float32 of the run's network. answers: (N, K) float32, its logits and, if it regresses them,
            valence and arousal.
        votes: (N, C) float32 distributions to learn, all 0 where unknown. targets: (N,) int64, -1 where unknown.
        affect: (N, 2) float32 valence and arousal, NaN where unknown.
        starts: (V + 1,) the first frame of each video, and N.
    """

    features: NDArray[np.float32]
    answers: NDArray[np.float32]
    votes: NDArray[np.float32]
    targets: NDArray[np.int64]
    affect: NDArray[np.float32]
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.targets)

    def said(self, answers: NDArray[np.float32], expressions: bool = True) -> FrameAnswers:
        """(N, K) answers for these frames beside the truth; without `expressions` only valence and arousal."""
        classes = self.votes.shape[1]
        affect = OUTPUTS[AFFECT].decode(answers[:, classes:]) if answers.shape[1] > classes else None
        videos = np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))
        return FrameAnswers(answers[:, :classes] if expressions else None, affect, self.targets, self.affect, videos)


def features_of(module: ExpressionModule, table: FaceTable, progress: Progress = SILENT) -> FrameFeatures:
    """What the network says of every frame as it is, without test-time augmentation; features are the logits where it
    gives none.

    Raises:
        BadData: a frame belongs to no video, or none can be decoded.
    """
    order = sequences(table)
    features, answers, seen = _outputs(module, table, progress)
    place = np.full(len(table), -1)
    place[seen] = np.arange(len(seen))
    readable = [rows[place[rows] >= 0] for rows in order.values()]
    readable = [rows for rows in readable if len(rows)]
    rows = np.concatenate(readable)
    votes = table.votes
    if module.recipe.target == "label":
        votes = np.where(table.labelled[:, None], np.eye(len(table.labels), dtype=np.float32)[table.targets], 0)
    return FrameFeatures(
        features[place[rows]],
        answers[place[rows]],
        votes[rows].astype(np.float32),
        table.targets[rows],
        np.stack([table.valence, table.arousal], axis=1)[rows],
        np.cumsum([0, *map(len, readable)]),
    )


def _outputs(
    module: ExpressionModule, table: FaceTable, progress: Progress
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """(M, D) features and (M, K) answers for the (M,) rows of `table` that can be decoded.  Raises BadData."""
    device = _device()
    module.eval().to(device)
    features, answers, rows = [], [], []
    with torch.inference_mode():
        for faces, places in network_inputs(table.images, module.recipe, progress, "features of the frames"):
            outputs = module(faces.to(device))
            parts = [outputs.logits, *([outputs.others[AFFECT]] if AFFECT in outputs.others else [])]
            answers.append(torch.cat(parts, dim=1).float().cpu().numpy())
            own = outputs.logits if outputs.features is None else outputs.features
            features.append(own.float().cpu().numpy())
            rows.append(places)
    return np.concatenate(features), np.concatenate(answers), np.concatenate(rows)


class Objective(nn.Module):
    """Those of a run's losses that need only what a head answers: of expressions on the frames that have one, of
    valence and arousal on those that have both.

    Attributes:
        trained, left_out: names of these losses and of the run's others.
        expressions: a loss is about expressions, so that the head tells them.

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
                f"no loss of '{recipe.name}' can train a head over frames, which answers expressions, valence and "
                f"arousal; its losses are {', '.join(needs)}"
            )
        described = [name for name in usable if OUTPUTS[AFFECT].target in needs[name]]
        labelled = [name for name in usable if name not in described]
        self.expressions = any("logits" in needs[name] for name in usable)
        self.labelled, self.described = (
            WeightedLosses(_with_losses(plain, names), statistics) if names else None for names in (labelled, described)
        )

    def forward(self, answers: Tensor, features: Tensor, votes: Tensor, targets: Tensor, affect: Tensor) -> Tensor:
        """(M, K) answers and (M, width) features of frames and their truth as in `FrameFeatures` -> ()."""
        total = answers.sum() * 0
        classes = votes.shape[1]
        for losses, known in (
            (self.labelled, votes.sum(dim=1) > 0),
            (self.described, affect.isfinite().all(dim=1)),
        ):
            if losses is not None and known.any():
                others = {AFFECT: answers[known, classes:]} if answers.shape[1] > classes else {}
                outputs = Outputs(answers[known, :classes], features[known], others)
                truth = {"target": votes[known], "label": targets[known], OUTPUTS[AFFECT].target: affect[known]}
                total = total + torch.stack(list(losses(outputs, **truth).values())).sum()
        return total


def _with_losses(recipe: Recipe, names: Sequence[str]) -> Recipe:
    options = {name: some for name, some in recipe.loss_options.items() if name in names}
    return replace(recipe, losses={name: recipe.losses[name] for name in names}, loss_options=options)


def train_head(
    recipe: Recipe,
    labels: tuple[str, ...],
    train: FrameFeatures,
    valid: FrameFeatures,
    settings: TemporalSettings,
    progress: Progress = SILENT,
) -> tuple[TemporalHead, Objective, list[dict[str, Any]]]:
    """A head with the weights of its best epoch, what it was trained with, and the metrics of each epoch; epoch 0 is
    before training, when it answers as the run does.

    Raises:
        BadSetting: there is no such head, or no loss to train it with. BadData: validation has no frame to select by.
    """
    torch.manual_seed(settings.seed)
    device = _device()
    classes = len(labels)
    statistics = DatasetStatistics(labels, train.targets, train.affect, settings.width, train.votes)
    objective = Objective(recipe, statistics, affect=train.answers.shape[1] > classes).to(device)
    head = TemporalHead(settings.head, train.features.shape[1], train.answers.shape[1], settings.width)
    some = train.features[:: max(1, len(train) // _MOST_FOR_SCALE)]
    head.mean.copy_(torch.from_numpy(some.mean(axis=0)))
    head.scale.copy_(torch.from_numpy(np.maximum(some.std(axis=0), 1e-6)))
    head.to(device)
    weights = nn.ModuleList([head, objective])
    optimiser = torch.optim.AdamW(weights.parameters(), lr=settings.learning_rate)
    curves: list[dict[str, Any]] = []
    best, best_state = -math.inf, {}
    for epoch in track(
        range(settings.epochs + 1), progress, f"training the head '{settings.head}'", settings.epochs + 1
    ):
        loss = _epoch(head, objective, optimiser, train, settings, epoch) if epoch else math.nan
        found = frame_metrics(valid.said(answers_of(head, valid), objective.expressions))
        value = selection(found)
        if not math.isfinite(value):
            raise BadData("no validation frame has a label to select the best epoch by")
        curves.append({"epoch": epoch, "train_loss": loss if epoch else None, "selection": value, **found})
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
    """Train on every frame once; returns the mean loss of the batches."""
    weights = [weight for group in optimiser.param_groups for weight in group["params"]]
    head.train()
    objective.train()
    found = []
    for frames, real in _windows(train.starts, settings, epoch):
        part = [
            torch.from_numpy(column[frames]).to(_device())
            for column in (train.features, train.answers, train.votes, train.targets, train.affect)
        ]
        answers, seen = head(part[0], part[1])
        kept = torch.from_numpy(real).to(_device())
        loss = objective(answers[kept], seen[kept], *(column[kept] for column in part[2:]))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, _CLIP)
        optimiser.step()
        found.append(loss.item())
    return float(np.mean(found))


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


def answers_of(head: TemporalHead, frames: FrameFeatures) -> NDArray[np.float32]:
    """(N, K) answers of the head, each video as a whole from its first frame."""
    head.eval()
    found = []
    with torch.inference_mode():
        for start, end in zip(frames.starts[:-1], frames.starts[1:], strict=True):
            own = (torch.from_numpy(part[None, start:end]).to(_device()) for part in (frames.features, frames.answers))
            found.append(head(*own)[0][0].cpu().numpy())
    return np.concatenate(found)


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
