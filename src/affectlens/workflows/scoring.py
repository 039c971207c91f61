"""Scoring of a model (an exported file or a training run) on a table of labelled faces."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from affectlens.core.errors import BadData, BadModelFile
from affectlens.core.expressions import projected_affect
from affectlens.core.files import sha256_of
from affectlens.core.model_outputs import ModelOutputs
from affectlens.core.outputs import OUTPUTS
from affectlens.core.preprocessing import InputSpec
from affectlens.core.probabilities import softmax
from affectlens.core.progress import SILENT, Progress, track
from affectlens.core.session import model_file
from affectlens.data import crops
from affectlens.data.images import Pixels, in_chunks
from affectlens.data.samplers import age_group, age_group_name
from affectlens.data.source import DataSource
from affectlens.data.table import FaceTable
from affectlens.evaluation.evaluation import Scores
from affectlens.evaluation.outputs import Compared
from affectlens.runtime.recognizer import Prior, Recognizer, prior_of
from affectlens.workflows.extras import require_training

_MAX_BATCH = 256


@dataclass(frozen=True)
class Predictor:
    """A model ready to score: what it says about itself and its training data, the digest of its file, crops ->
    outputs, and what the numbers of its outputs are called, where it says that.
    """

    name: str
    sha256: str
    labels: tuple[str, ...]
    input: InputSpec
    temperature: float
    uncertain_below: float
    class_prior: tuple[float, ...] | None
    find_faces: bool
    reader: str
    data_options: Mapping[str, str]
    run: Callable[[list[NDArray[np.uint8]]], ModelOutputs]
    output_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def check(self, labels: tuple[str, ...]) -> None:
        """Raises BadData where the data's `labels` are not all among the model's."""
        if foreign := [label for label in labels if label not in self.labels]:
            options = "&".join(f"{key}={value}" for key, value in self.data_options.items())
            hint = f"; it was trained with {self.reader}:...?{options}" if options else ""
            raise BadData(
                f"the labels of {self.name} are {', '.join(self.labels)}, but the data also have "
                f"{', '.join(foreign)}{hint}"
            )


@dataclass(frozen=True)
class Scored:
    """A model's outputs: its name, the faces that could be read, and the scores on them."""

    name: str
    table: FaceTable
    scores: Scores

    def keep(self, mask: NDArray[np.bool_]) -> "Scored":
        """The outputs where the (N,) `mask` is true."""
        return Scored(self.name, self.table.keep(mask, "not scored by another model"), self.scores.keep(mask))

    def with_groups(self, groups: Mapping[str, NDArray[np.str_]]) -> "Scored":
        """The outputs with these group columns."""
        return replace(self, scores=replace(self.scores, groups=groups))


def open_model(model: str | Path) -> Predictor:
    """The model `model`: "bundled", an ONNX file, a checkpoint, or a run folder: its model.onnx, or its best checkpoint
    while there is none.

    Raises:
        BadModelFile: there is none. MissingExtra: a checkpoint, and training is not installed.
    """
    model, path = str(model), Path(model).expanduser()
    unfinished = path.is_dir() and not (path / "model.onnx").is_file()
    if model == "bundled" or not (unfinished or path.suffix == ".ckpt"):
        recognizer = Recognizer(model, threads=0)  # faces come by the hundred
        spec = recognizer.spec
        settings = spec.provenance.get("settings", {})
        trained_on = (spec.provenance.get("data", ""), spec.provenance.get("data_options", {}))
        calibration = (spec.temperature, spec.uncertain_below, spec.class_prior)
        asked = (*calibration, bool(settings.get("find_faces")), *trained_on)
        outputs = (recognizer.outputs, spec.output_names)
        return Predictor(spec.name, sha256_of(model_file(model)), spec.labels, spec.input, *asked, *outputs)
    require_training("scoring a checkpoint")
    from affectlens.training import run
    from affectlens.training.prediction import run_network

    folder = path if path.is_dir() else path.parent.parent
    checkpoint = run.final_checkpoint(folder) if path.is_dir() else path
    recipe, labels = run.load_recipe(folder), run.load_labels(folder)
    module = run.load_checkpoint(recipe, len(labels), checkpoint)
    asked = (*run.load_calibration(folder), recipe.find_faces, *run.load_data(folder))
    return Predictor(
        recipe.name, sha256_of(checkpoint), labels, recipe.input_spec(), *asked, partial(run_network, module)
    )


def with_options_of(models: Sequence[Predictor], source: DataSource) -> DataSource:
    """`source` with the options that all `models` of its reader were trained with, where it does not set them."""
    trained = [set(model.data_options.items()) for model in models if model.reader == source.reader]
    for key, value in sorted(set.intersection(*trained)) if trained else ():
        source = source.with_default(source.reader, key, value)
    return source


def score(
    model: Predictor,
    table: FaceTable,
    find_faces: bool = False,
    prior: str = Prior.NATURAL,
    progress: Progress = SILENT,
) -> Scored:
    """Scores of `model` on the faces of `table`, as `score_changed` gives them for the pictures as they are."""
    (scored,) = score_changed(model, table, [lambda face, _: face], find_faces, prior, progress)
    return scored


def score_changed(
    model: Predictor,
    table: FaceTable,
    changes: Sequence[Callable[[Pixels, int], Pixels]],
    find_faces: bool = False,
    prior: str = Prior.NATURAL,
    progress: Progress = SILENT,
) -> list[Scored]:
    """Scores of `model` on the faces of `table` after each of `changes`, which take a face and its row.

    Larger pictures are searched for their faces if `find_faces`, the table or the model says so, before they are
    changed.

    Classes that only the model knows are left out and the rest is normalised again. Images that cannot be decoded are
    logged by name, left out and counted.

    Raises:
        BadData: the data have classes that the model does not know, or nothing is left. BadModelFile: an answer is not
            finite. BadSetting: the model does not say how frequent its classes are, and `prior` asks for it.
    """
    shares = prior_of(prior, model.class_prior, model.name)
    model.check(table.labels)
    search = model.find_faces or find_faces
    table = crops.cut(table, model.input, search, progress)
    if not len(table):
        raise BadData(f"no face was found in any picture; left out: {dict(table.dropped)}")
    outputs: list[list[ModelOutputs]] = [[] for _ in changes]
    readable = np.zeros(len(table), dtype=bool)
    chunks = in_chunks(table.images, _MAX_BATCH)
    for faces, rows in track(chunks, progress, f"scoring {model.name}", -(-len(table) // _MAX_BATCH)):
        readable[rows] = True
        for part, change in zip(outputs, changes, strict=True) if faces else ():
            part.append(model.run([change(face, row) for face, row in zip(faces, rows.tolist(), strict=True)]))
    if not any(outputs):
        raise BadData("none of the images can be decoded")
    kept = table.keep(readable, "image cannot be decoded")
    columns = [model.labels.index(label) for label in table.labels]
    shares = None if shares is None else shares[columns]
    scored = []
    for joined in map(ModelOutputs.joined, outputs):
        if not joined.are_finite:
            raise BadModelFile(f"the outputs of {model.name} are not finite")
        probabilities = softmax(joined.logits[:, columns], model.temperature, shares)
        scores = _scores(kept, probabilities, joined.affect, model.uncertain_below)
        scored.append(Scored(model.name, kept, replace(scores, outputs=compared(model, joined, kept))))
    return scored


def compared(model: Predictor, outputs: ModelOutputs, table: FaceTable) -> dict[str, Compared]:
    """Each further output of `model` that has a metric and for which the data have ground truth, paired with it."""
    found = {}
    for name, said in outputs.others.items():
        output, names = OUTPUTS[name], model.output_names.get(name, ())
        if output.metric:
            pair = Compared(output, said, output.truth(table, names), names or output.names_in(table))
            try:
                if len(pair.values):
                    found[name] = pair
            except BadData as error:  # data with other attributes; the expressions count all the same
                logging.getLogger("affectlens").warning("not measured: %s", error)
    return found


def _scores(
    table: FaceTable,
    probabilities: NDArray[np.floating],
    regressed: NDArray[np.float32] | None,
    uncertain_below: float,
) -> Scores:
    """Outputs beside the truth; valence and arousal are projected where the model does not regress them."""
    affect: dict[str, Any] = {}
    if np.isfinite(table.valence).any() and np.isfinite(table.arousal).any():
        predicted = projected_affect(probabilities, table.labels) if regressed is None else tuple(regressed.T)
        if predicted is not None:
            affect = {"valence_predicted": predicted[0], "arousal_predicted": predicted[1]}
            affect |= {"valence_true": table.valence, "arousal_true": table.arousal}
            affect["va_source"] = "projected" if regressed is None else "regressed"
    groups = dict(table.groups)
    if np.isfinite(table.age_years).any():
        groups["age"] = np.array([age_group_name(int(group)) for group in age_group(table.age_years)])
    crowd = (table.votes > 0).sum(axis=1).max(initial=0) > 1
    votes = table.votes if crowd else None
    return Scores(
        table.labels, probabilities, table.targets, votes, groups=groups, uncertain_below=uncertain_below, **affect
    )
