"""Heads over the frames of videos on top of a trained run, compared with the run itself."""

import csv
import io
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affectlens.core.errors import BadData, BadSetting
from affectlens.core.files import atomic_write, sha256_of
from affectlens.core.progress import SILENT, Progress
from affectlens.data.sequences import videos_of
from affectlens.data.source import SPLITS, DataSource, has_faces
from affectlens.data.table import FaceTable
from affectlens.evaluation import videos
from affectlens.workflows.data import source_of
from affectlens.workflows.extras import require_training

if TYPE_CHECKING:
    from torch import nn

    from affectlens.training.frame_features import FrameFeatures
    from affectlens.training.module import ExpressionModule
    from affectlens.training.temporal import TemporalSettings

RUN, ALONE = "run", "frame"
"""Names in the metrics of the run itself and of a head that sees one frame."""


@dataclass(frozen=True, eq=False)
class TemporalRun:
    """A finished head.

    Attributes:
        folder: contains metrics.json, curves.csv and head.pt.
        metrics: as in metrics.json: for "valid" and, if the data have one, "test", the metrics of the "run" itself, of
            a head without memory ("frame") and of the head ("gru" or "tcn"), all on the same frames, and by how much
            the head exceeds each of the other two ("gain").
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
    """Train a causal head on a trained run's features of consecutive frames (extra `train`).

    A head without memory is trained in the same way on the same frames: what the head gains on it is due to the
    context of earlier frames, and not to the additional training.

    Args:
        run: a run folder with its checkpoints.
        data: "NAME:FOLDER[?key=value&...]", data of videos; the options that the run was trained with apply, except
            `max`, unless they are set here. Where the reader offers `frames`, frames without a label are included.
        out: folder for the features of all frames (features-SPLIT.npz) and a folder for each head, named by its
            settings; by default "temporal" in the run folder. Another head of the same run, data and `out` reuses the
            features.
        head: "gru" or "tcn".
        window: number of consecutive frames in a training sample.
        epochs: passes over the training frames.
        seed: of the head.
        progress: receives a description of the data and progress updates.

    Raises:
        BadSetting: there is no such head, a number is too small, `out` is a file or the folder of a run or contains
            this head, or no loss of the run can train a head. BadData: the data are not of videos, have other classes
            than the run, lack training or validation frames, or no validation frame has a label. BadModelFile: there
            is no run. MissingExtra: the extra `train` is not installed.
    """
    require_training("training a head over frames")
    from affectlens.training import run as runs
    from affectlens.training.temporal import TemporalSettings, check_trainable

    folder = Path(run).expanduser()
    if head not in ("gru", "tcn"):
        raise BadSetting(f"head must be gru or tcn, got '{head}'")
    settings = TemporalSettings(head, window, epochs=epochs, seed=seed)
    place = _free(folder / "temporal" if out is None else Path(out).expanduser(), settings.folder_name)
    module, labels = runs.load_run(folder), runs.load_labels(folder)
    source = _source(folder, source_of(data))
    tables = _tables(source, labels)
    check_trainable(module, tables["train"], tables["valid"], settings)
    weights_sha256 = sha256_of(runs.final_checkpoint(folder))
    facts = {
        "run": module.recipe.name,
        "run_sha256": weights_sha256,
        "data": source.name,
        "settings": asdict(settings),
        "versions": runs.versions(),
    }
    with runs.locked(place):  # where this fails, nothing has been computed in vain
        _free(place.parent, place.name)  # still
        frames = _features(module, weights_sha256, source, tables, place.parent, progress)
        return _trained(module, labels, frames, settings, place, facts, progress)


def load_temporal_head(folder: str | Path) -> "nn.Module":
    """Load a head that `train_temporal` has trained (extra `train`).

    Args:
        folder: `TemporalRun.folder`, or any other folder with a head.pt.

    Returns:
        The head on the CPU, in evaluation mode. It is called with (B, T, D) float32 features of T consecutive frames
        of B videos and the run's (B, T, K) float32 predictions for them: the C logits and, if the run regresses them,
        valence and arousal, not bounded. It returns its own (B, T, K) float32 predictions, of the same meaning, and
        the (B, T, width) float32 features that they are computed from. Each video must begin with its first frame;
        features-SPLIT.npz has `features`, `predictions`, and in `starts` the first frame of each video.

    Raises:
        BadModelFile: the folder has no head.pt, or it is damaged. MissingExtra: the extra `train` is not installed.
    """
    require_training("loading a head over frames")
    from affectlens.training.temporal import load_head

    return load_head(Path(folder).expanduser() / "head.pt")


def _free(out: Path, name: str) -> Path:
    """The folder of the head in `out`.  Raises BadSetting where `out` is unsuitable or has the head already."""
    if out.exists() and not out.is_dir():
        raise BadSetting(f"'{out}' is a file, expected a folder for heads")
    if (out / "recipe.json").is_file():
        raise BadSetting(f"'{out}' contains a run, expected a folder for heads; choose another folder")
    if (out / name / "metrics.json").exists():
        raise BadSetting(f"'{out / name}' already contains a head; choose another folder")
    return out / name


def _source(folder: Path, source: DataSource) -> DataSource:
    """`source` with the run's options and all frames, except `max`, which would leave gaps."""
    from affectlens.training import run as runs

    recipe = runs.load_recipe(folder)
    for reader, options in ((recipe.data, recipe.data_options), runs.load_data(folder)):
        for key, value in options.items():
            source = source if key == "max" else source.with_default(reader, key, value)
    for part in source.parts:
        if "frames" in part.module.OPTIONS:
            source = source.with_default(part.reader, "frames", "all")
    return source


def _tables(source: DataSource, labels: tuple[str, ...]) -> dict[str, FaceTable]:
    """The splits that the data have, images undecoded.  Raises BadData where no head can be trained on them."""
    if source.labels() != labels:
        raise BadData(
            f"the data must have the run's classes in its order: {', '.join(labels)}; they have "
            f"{', '.join(source.labels())}"
        )
    tables = {}
    for split in SPLITS:
        if has_faces(source, split):
            tables[split] = source.load(split, decode=False)
            videos_of(tables[split])
        elif split != "test":
            raise BadData(f"a head over frames needs frames of the split '{split}', but there are none")
    return tables


def _features(
    module: "ExpressionModule",
    weights_sha256: str,
    source: DataSource,
    tables: dict[str, FaceTable],
    folder: Path,
    progress: Progress,
) -> "dict[str, FrameFeatures]":
    """Features of each split, stored in `folder`."""
    from affectlens.training.frame_features import stored_features

    frames = {}
    for split, table in tables.items():
        file = folder / f"features-{split}.npz"
        frames[split] = own = stored_features(file, module, weights_sha256, source, table, progress)
        labelled, count = int((own.targets >= 0).sum()), len(own.starts) - 1
        progress.message(f"{split}: {len(own)} frames of {count} videos, {labelled} with an expression")
    return frames


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
    from affectlens.training import temporal

    predictions = {split: {RUN: own.predictions} for split, own in frames.items() if split != "train"}
    lines: list[dict[str, Any]] = []
    for name in (ALONE, settings.head):
        chosen = replace(settings, head=name)
        trained, objective, curves = temporal.train_head(
            module.recipe, labels, frames["train"], frames["valid"], chosen, progress
        )
        lines += [{"head": name, **line} for line in curves]
        for split, found in predictions.items():
            found[name] = temporal.predictions_of(trained, frames[split])
    metrics = facts | {"losses": list(objective.trained), "losses_left_out": list(objective.left_out)}
    for split, found in predictions.items():
        scored = {name: frames[split].with_predictions(own, objective.expressions) for name, own in found.items()}
        metrics[split] = _compared(scored, settings.head)
    atomic_write(place / "curves.csv", _csv(lines))
    temporal.save_head(trained, place / "head.pt")
    atomic_write(place / "metrics.json", json.dumps(metrics, indent=2, allow_nan=False) + "\n")
    return TemporalRun(place, metrics)


def _compared(models: dict[str, videos.FramePredictions], head: str) -> dict[str, Any]:
    """The metrics of each model, and by how much the head exceeds the others."""
    found: dict[str, Any] = {name: videos.frame_metrics(own) for name, own in models.items()}
    if models[head].logits is not None:
        found["gain"] = {name: videos.difference(models[name], models[head]) for name in (RUN, ALONE)}
    return found


def _csv(lines: list[dict[str, Any]]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return stream.getvalue()
