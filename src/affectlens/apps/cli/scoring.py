"""What a model says about a table of labelled faces, whether it is a file for the runtime or a run of training."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from affectlens.apps.cli.console import err, track
from affectlens.core.errors import BadData
from affectlens.core.expressions import projected_affect
from affectlens.core.preprocessing import InputSpec
from affectlens.core.probabilities import softmax
from affectlens.data.images import decoded
from affectlens.data.samplers import InOrder, age_group, age_group_name
from affectlens.data.table import FaceTable
from affectlens.evaluation.evaluation import Scores
from affectlens.runtime.analyzer import Analyzer

_FACES_AT_ONCE = 256


@dataclass(frozen=True)
class Model:
    """A model ready to score: what it says about itself, and (N,) crops -> (N, classes) logits."""

    name: str
    labels: tuple[str, ...]
    input: InputSpec
    temperature: float
    uncertain_below: float
    find_faces: bool
    protocol: str
    logits_of: Callable[[list[NDArray[np.uint8]]], NDArray[np.float32]]

    @property
    def hint(self) -> str:
        """What to do about labels that do not fit."""
        return f"; it was trained with ?protocol={self.protocol}" if self.protocol else ""


@dataclass(frozen=True)
class Scored:
    """A model's answers: its name, the faces that could be read, and the scores on them."""

    name: str
    table: FaceTable
    scores: Scores


def open_model(model: str) -> Model:
    """The model `model`: "bundled", an ONNX file, a run folder or its checkpoint.

    Raises:
        BadModelFile: there is none. MissingExtra: a checkpoint, and training is not installed.
    """
    path = Path(model).expanduser()
    if model == "bundled" or not (path.is_dir() or path.suffix == ".ckpt"):
        analyzer = Analyzer(model, detector="whole")
        spec = analyzer.spec
        settings = spec.provenance.get("settings", {})
        find_faces, protocol = bool(settings.get("find_faces")), str(settings.get("protocol", ""))
        calibration = (spec.temperature, spec.uncertain_below)
        return Model(spec.name, spec.labels, spec.input, *calibration, find_faces, protocol, analyzer.logits)
    from affectlens.apps.cli.train import require_training

    require_training("scoring a checkpoint")
    from affectlens.training import run
    from affectlens.training.module import logits_of

    folder = path if path.is_dir() else path.parent.parent
    checkpoint = run.best_checkpoint(folder) if path.is_dir() else path
    recipe, labels = run.load_recipe(folder), run.load_labels(folder)
    module = run.load_checkpoint(recipe, len(labels), checkpoint)
    calibration = run.load_calibration(folder)
    asked = (recipe.find_faces, recipe.protocol)
    return Model(recipe.name, labels, recipe.input_spec(), *calibration, *asked, partial(logits_of, module))


def score(model: Model, table: FaceTable) -> Scored:
    """Answers of `model` for the faces of `table`.

    Classes that only the model knows are left out and the rest is normalised again. Images that cannot be decoded are
    named on standard error, left out and counted.

    Raises:
        BadData: the data have classes that the model does not know, or nothing is left.
    """
    labels = model.labels
    if foreign := [label for label in table.labels if label not in labels]:
        raise BadData(
            f"the model's labels are {', '.join(labels)}; the data also have {', '.join(foreign)}{model.hint}"
        )
    if model.find_faces:
        from affectlens.training.crops import find_faces

        table = find_faces(table, model.input, err.is_terminal)
    logits: list[NDArray[np.float32]] = []
    readable = np.zeros(len(table), dtype=bool)
    chunks = list(InOrder(len(table), _FACES_AT_ONCE))
    for picks in track(chunks, len(chunks), f"scoring {model.name}"):
        crops, places = decoded(table.images, picks[:, 0])
        readable[picks[places, 0]] = True
        if crops:
            logits.append(model.logits_of(crops))
    if not logits:
        raise BadData("no image of the data can be decoded")
    kept = table.keep(readable, "image cannot be decoded")
    columns = [labels.index(label) for label in table.labels]
    probabilities = softmax(np.concatenate(logits)[:, columns], model.temperature)
    return Scored(model.name, kept, _scores(kept, probabilities, model.uncertain_below))


def _scores(table: FaceTable, probabilities: NDArray[np.floating], uncertain_below: float) -> Scores:
    """Answers beside the truth."""
    affect: dict[str, Any] = {}
    if np.isfinite(table.valence).any() and np.isfinite(table.arousal).any():
        projected = projected_affect(probabilities, table.labels)
        if projected is not None:
            affect = {"valence_predicted": projected[0], "arousal_predicted": projected[1]}
            affect |= {"valence_true": table.valence, "arousal_true": table.arousal}
    groups = dict(table.groups)
    if np.isfinite(table.age_years).any():
        groups["age"] = np.array([age_group_name(int(group)) for group in age_group(table.age_years)])
    crowd = (table.votes > 0).sum(axis=1).max(initial=0) > 1
    votes = table.votes if crowd else None
    return Scores(
        table.labels, probabilities, table.targets, votes, groups=groups, uncertain_below=uncertain_below, **affect
    )
