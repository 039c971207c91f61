"""A head over the frames of videos on top of a trained run, next to what the run itself answers."""

import csv
import io
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affectlens.core.errors import BadData, BadSetting
from affectlens.core.files import atomic_write, sha256_of
from affectlens.core.progress import SILENT, Progress
from affectlens.data.crops import cut
from affectlens.data.source import DataSource, load_if_usable
from affectlens.evaluation import videos
from affectlens.workflows.data import source_of
from affectlens.workflows.extras import require_training

if TYPE_CHECKING:
    from affectlens.training.module import ExpressionModule
    from affectlens.training.temporal import FrameFeatures, TemporalSettings

RUN, ALONE = "run", "frame"
"""Names in the metrics of the run itself and of a head that sees one frame."""


@dataclass(frozen=True, eq=False)
class TemporalRun:
    """A finished head.

    Attributes:
        folder: holds metrics.json, curves.csv and head.pt.
        metrics: as in metrics.json: for "valid" and, if the data have one, "test", the metrics
            (`evaluation.videos.frame_metrics`) of the "run" itself, of a "frame" head and of the head, all on the same
            frames, and how much the head gains on each of the other two (`gain`).
    """

    folder: Path
    metrics: dict[str, Any]


def train_temporal(
    run: str | Path,
    data: str | Path | DataSource,
    out: str | Path | None = None,
    *,
    head: str = "gru",
    window: int = 64,
    epochs: int = 20,
    seed: int = 0,
    progress: Progress = SILENT,
) -> TemporalRun:
    """Train a causal head on the features that a trained run gives for consecutive frames (extra `train`).

    The same head without any memory is trained beside it, so that what time adds can be told from what further
    training adds.

    Args:
        run: a run folder with its checkpoints.
        data: "NAME:FOLDER[?key=value&...]", data of videos; the options that the run was trained with apply unless they
            are set here. Where the reader offers `frames`, all frames are taken, those without a label too.
        out: folder to write; by default "temporal-HEAD" in the run folder.
        head: "gru" or "tcn".
        window: consecutive frames that are trained on at a time.
        epochs: passes over the training frames.
        seed: of the head.
        progress: receives a description of the data, progress updates and the results.

    Raises:
        BadSetting: there is no such head, a number is too small, `out` contains a head, or no loss of the run can train
            one. BadData: the data are not of videos, have other classes than the run, or lack training or validation
            frames. BadModelFile: there is no run. MissingExtra: the extra `train` is not installed.
    """
    require_training("training a head over frames")
    from affectlens.training import run as runs
    from affectlens.training.temporal import TemporalSettings, features_of

    folder = Path(run).expanduser()
    if head not in ("gru", "tcn"):
        raise BadSetting(f"head must be gru or tcn, got '{head}'")
    settings = TemporalSettings(head, window, epochs=epochs, seed=seed)
    place = folder / f"temporal-{head}" if out is None else Path(out).expanduser()
    if (place / "metrics.json").exists():
        raise BadSetting(f"'{place}' already contains a head; choose another folder")
    module, labels = runs.load_run(folder), runs.load_labels(folder)
    source = _source(folder, source_of(data))
    if source.labels() != labels:
        raise BadData(
            f"the data must have the run's classes in its order: {', '.join(labels)}; they have "
            f"{', '.join(source.labels())}"
        )
    frames = {}
    for split in ("train", "valid", "test"):
        table = load_if_usable(source, split)
        if table is None and split != "test":
            raise BadData(f"a head over frames needs frames of the split '{split}', but there are none")
        if table is not None:
            table = cut(table, module.recipe.input_spec(), module.recipe.find_faces, progress)
            frames[split] = features_of(module, table, progress)
            labelled = int((frames[split].targets >= 0).sum())
            count = len(frames[split].starts) - 1
            progress.message(f"{split}: {len(frames[split])} frames of {count} videos, {labelled} with an expression")
    facts = {
        "run": module.recipe.name,
        "run_sha256": sha256_of(runs.final_checkpoint(folder)),
        "data": source.name,
        "settings": asdict(settings),
        "versions": runs.versions(),
    }
    return _trained(module, labels, frames, settings, place, facts, progress)


def _source(folder: Path, source: DataSource) -> DataSource:
    """`source` with the run's options and all frames, except `max`, which would leave gaps."""
    from affectlens.training import run as runs

    source = runs.with_data_options(runs.load_recipe(folder), source)
    reader, options = runs.load_data(folder)
    for key, value in options.items():
        source = source if key == "max" else source.with_default(reader, key, value)
    for part in source.parts:
        if "frames" in part.module.OPTIONS:
            source = source.with_default(part.reader, "frames", "all")
    return source


def _trained(
    module: "ExpressionModule",
    labels: tuple[str, ...],
    frames: "dict[str, FrameFeatures]",
    settings: "TemporalSettings",
    place: Path,
    facts: dict[str, Any],
    progress: Progress,
) -> TemporalRun:
    """Train both heads, score them and the run on the same frames, and write all of it."""
    import torch

    from affectlens.training import temporal

    said = {split: {RUN: own.answers} for split, own in frames.items()}
    lines: list[dict[str, Any]] = []
    for name in (ALONE, settings.head):
        chosen = replace(settings, head=name)
        trained, objective, curves = temporal.train_head(
            module.recipe, labels, frames["train"], frames["valid"], chosen, progress
        )
        lines += [{"head": name, **line} for line in curves]
        for split in said:
            said[split][name] = temporal.answers_of(trained, frames[split])
    metrics = facts | {"losses": list(objective.trained), "losses_left_out": list(objective.left_out)}
    for split in ("valid", "test"):
        if split in frames:
            answers = {name: frames[split].said(own, objective.expressions) for name, own in said[split].items()}
            metrics[split] = _compared(answers, settings.head)
    place.mkdir(parents=True, exist_ok=True)
    atomic_write(place / "curves.csv", _csv(lines))
    stream = io.BytesIO()
    torch.save({"options": trained.options, "weights": trained.cpu().state_dict()}, stream)
    atomic_write(place / "head.pt", stream.getvalue())
    atomic_write(place / "metrics.json", json.dumps(metrics, indent=2, allow_nan=False) + "\n")
    return TemporalRun(place, metrics)


def _compared(answers: dict[str, videos.FrameAnswers], head: str) -> dict[str, Any]:
    """The metrics of each model, and what the head gains on the others."""
    found: dict[str, Any] = {name: videos.frame_metrics(own) for name, own in answers.items()}
    if answers[head].logits is not None:
        found["gain"] = {name: videos.difference(answers[name], answers[head]) for name in (RUN, ALONE)}
    return found


def _csv(lines: list[dict[str, Any]]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return stream.getvalue()
