"""Features and predictions of a trained network for every frame of videos, computed once and stored for later heads.

A file of features is an .npz with the fields of `FrameFeatures` and the fingerprint of all that they depend on.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from affectlens.core.files import atomic_write, open_regular, real_path
from affectlens.core.outputs import AFFECT, OUTPUTS
from affectlens.core.progress import SILENT, Progress
from affectlens.data.crops import cut
from affectlens.data.sequences import sequences
from affectlens.data.source import DataSource
from affectlens.data.table import FaceTable
from affectlens.evaluation.videos import FramePredictions
from affectlens.training.loaders import network_inputs
from affectlens.training.module import ExpressionModule
from affectlens.training.precision import on_device


@dataclass(frozen=True, eq=False)
class FrameFeatures:
    """N frames of one split, video after video, in the order in which they were filmed.

    Attributes:
        features: (N, D) float32 of the run's network. predictions: (N, K) float32, its logits and, if it regresses
            them, valence and arousal, as the network gives them (not bounded).
        votes: (N, C) float32 distributions to learn, all 0 where unknown. targets: (N,) int64, -1 where unknown.
        affect: (N, 2) float32 valence and arousal, NaN where unknown.
        starts: (V + 1,) int64 the first frame of each video, and N.
    """

    features: NDArray[np.float32]
    predictions: NDArray[np.float32]
    votes: NDArray[np.float32]
    targets: NDArray[np.int64]
    affect: NDArray[np.float32]
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.targets)

    def with_predictions(self, predictions: NDArray[np.float32], expressions: bool = True) -> FramePredictions:
        """(N, K) predictions for these frames beside the truth; without `expressions` only valence and arousal."""
        classes = self.votes.shape[1]
        affect = OUTPUTS[AFFECT].decode(predictions[:, classes:]) if predictions.shape[1] > classes else None
        videos = np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))
        logits = predictions[:, :classes] if expressions else None
        return FramePredictions(logits, affect, self.targets, self.affect, videos)


def features_of(module: ExpressionModule, table: FaceTable, progress: Progress = SILENT) -> FrameFeatures:
    """What the network gives for every frame as it is, without test-time augmentation; features are the logits where
    it gives none.

    Raises:
        BadData: a frame belongs to no video, or none can be decoded.
    """
    order = sequences(table)
    features, predictions, seen = _outputs(module, table, progress)
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
        predictions[place[rows]],
        votes[rows].astype(np.float32),
        table.targets[rows],
        np.stack([table.valence, table.arousal], axis=1)[rows],
        np.cumsum([0, *map(len, readable)]),
    )


def _outputs(
    module: ExpressionModule, table: FaceTable, progress: Progress
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """(M, D) features and (M, K) predictions for the (M,) rows of `table` that can be decoded.  Raises BadData."""
    features, predictions, rows = [], [], []
    with on_device(module) as where, torch.inference_mode():
        for faces, places in network_inputs(table.images, module.recipe, progress, "features of the frames"):
            outputs = module(faces.to(where))
            parts = [outputs.logits, *([outputs.others[AFFECT]] if AFFECT in outputs.others else [])]
            predictions.append(torch.cat(parts, dim=1).float().cpu().numpy())
            own = outputs.logits if outputs.features is None else outputs.features
            features.append(own.float().cpu().numpy())
            rows.append(places)
    return np.concatenate(features), np.concatenate(predictions), np.concatenate(rows)


def stored_features(
    file: Path,
    module: ExpressionModule,
    weights_sha256: str,
    source: DataSource,
    table: FaceTable,
    progress: Progress = SILENT,
) -> FrameFeatures:
    """`features_of` the faces of `table`, which is a split of `source`: read from `file` where an earlier call stored
    them for the same weights, recipe, data and version of affectlens; computed and stored there otherwise.

    Of the data, the reader, its options and folders, and the ids, videos and labels of all frames are compared, and
    the pictures are not. `weights_sha256` is the digest of the file that `module` was loaded from.

    Raises:
        As `features_of`. OSError: the file cannot be written.
    """
    fingerprint = _fingerprint(module, weights_sha256, source, table)
    if (found := _read(file, fingerprint)) is not None:
        progress.message(f"features read from '{file}'")
        return found
    faces = cut(table, module.recipe.input_spec(), module.recipe.find_faces, progress)
    found = features_of(module, faces, progress)
    stream = io.BytesIO()
    columns: dict[str, Any] = {field.name: getattr(found, field.name) for field in fields(found)}
    np.savez(stream, fingerprint=np.array(fingerprint), **columns)
    atomic_write(file, stream.getbuffer())
    return found


def _read(file: Path, fingerprint: str) -> FrameFeatures | None:
    """The features in `file`; None where there are none with this fingerprint."""
    try:
        with open_regular(file) as stream, np.load(stream) as held:
            if str(held["fingerprint"]) != fingerprint:
                return None
            return FrameFeatures(**{field.name: held[field.name] for field in fields(FrameFeatures)})
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):  # no such file, or a damaged one
        return None


def _fingerprint(module: ExpressionModule, weights_sha256: str, source: DataSource, table: FaceTable) -> str:
    """A digest of what features, labels and the order of frames depend on."""
    digest = hashlib.sha256()
    for part in _parts(module, weights_sha256, source, table):
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


def _parts(module: ExpressionModule, weights_sha256: str, source: DataSource, table: FaceTable) -> Iterator[bytes]:
    recipe = json.dumps(module.recipe.as_dict(), sort_keys=True)
    folders = [str(real_path(part.directory)) for part in source.parts]
    groups = sorted(table.groups.items())
    yield json.dumps([version("affectlens"), weights_sha256, recipe, source.name, folders]).encode()
    yield json.dumps(table.ids).encode()
    yield json.dumps([[name, column.tolist()] for name, column in groups]).encode()
    for column in (table.votes, table.targets, table.valence, table.arousal):
        yield column.tobytes()
