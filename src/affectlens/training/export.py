"""From a checkpoint to one ONNX file that carries its own input spec, labels, calibration, provenance and licence."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from affectlens.core.errors import BadData, BadModelFile
from affectlens.core.files import atomic_write, partial, read_json, sha256_of
from affectlens.core.model_outputs import ModelOutputs
from affectlens.core.outputs import OUTPUTS
from affectlens.core.preprocessing import to_input
from affectlens.core.probabilities import softmax
from affectlens.core.session import ModelSpec, model_file, open_session, read_spec, run_model
from affectlens.data.table import FaceTable
from affectlens.evaluation import metrics, plots
from affectlens.evaluation.outputs import Compared
from affectlens.models.layers.network import Network
from affectlens.training.data import TrainingData
from affectlens.training.module import ExpressionModule
from affectlens.training.prediction import predict
from affectlens.training.recipe import Recipe
from affectlens.training.run import final_checkpoint, read_curves, versions
from affectlens.training.storage import describe, save, store_in_half
from affectlens.training.tta import Averaged

MIN_VALID_FACES, SMALL_SET_TEMPERATURES = 100, (0.5, 2.0)
"""Validation faces that a calibration needs, and the temperatures that fewer may give."""
TARGET_ACCURACY = 0.9
"""`uncertain_below` is the lowest threshold that keeps this accuracy on the validation faces that are answered."""

TOLERANCE = 0.01
"""Largest difference of a logit between torch and the file that passes as parity; most of it is the rounding of the
weights to half precision, in which they are stored."""


@dataclass(frozen=True)
class Calibration:
    """What validation says about a trained network: as in `core.session.ModelSpec`, and its metrics with these."""

    temperature: float
    uncertain_below: float
    class_prior: tuple[float, ...]
    accuracy: float
    metrics: dict[str, float | int | dict[str, float] | None]

    def of_spec(self) -> dict[str, Any]:
        """The fields of `ModelSpec`."""
        return {
            "temperature": self.temperature,
            "uncertain_below": self.uncertain_below,
            "class_prior": self.class_prior,
        }


def calibrate(name: str, outputs: ModelOutputs, rows: NDArray[np.int64], valid: FaceTable) -> Calibration:
    """Fit temperature and threshold on the validation faces that have a majority label.

    With fewer than `MIN_VALID_FACES` faces the temperature is held within `SMALL_SET_TEMPERATURES`: where all of them
    are right, the likelihood grows without end. Where so many are right that none need be uncertain, faces are
    uncertain below a top probability of one half.

    The metrics of further outputs (`core.outputs`) are those of all faces of which their truth is known. `outputs` are
    what the model `name` says of the `rows` of `valid`.

    Raises:
        BadData: none of these has a label. BadModelFile: the outputs are not finite.
    """
    if not outputs.are_finite:
        raise BadModelFile(f"the outputs of {name} are not finite; try a lower learning_rate")
    labelled = valid.labelled[rows]
    if not labelled.any():
        raise BadData("no validation face with a majority label can be decoded")
    logits, targets = outputs.logits[labelled], valid.targets[rows][labelled]
    temperature = metrics.fit_temperature(logits, targets)
    temperature = round(
        temperature if len(targets) >= MIN_VALID_FACES else float(np.clip(temperature, *SMALL_SET_TEMPERATURES)), 4
    )
    probabilities = softmax(logits, temperature)
    threshold = metrics.threshold_for_accuracy(probabilities, targets, TARGET_ACCURACY)
    if (probabilities.argmax(axis=1) == targets).mean() >= TARGET_ACCURACY:
        threshold = min(threshold, 0.5)
    found = metrics.summary(probabilities, targets, valid.labels, threshold)
    for output, said in ((OUTPUTS[name], said) for name, said in outputs.others.items() if OUTPUTS[name].metric):
        compared = Compared(output, said, output.truth(valid)[rows], output.names)
        if compared.faces:
            found |= {output.metric_name: compared.value}
            found |= {f"{name}_{output.metric_name}": value for name, value in compared.each.items()}
    prior = softmax(outputs.logits, temperature).mean(axis=0)
    shares = tuple(max(round(float(share), 6), 1e-6) for share in prior)
    accuracy = metrics.accuracy(probabilities.argmax(axis=1), targets)
    return Calibration(temperature, threshold, shares, accuracy, found)


def export(module: ExpressionModule, data: TrainingData, out: Path) -> ModelSpec:
    """Write curves.png, metrics.json, model.onnx into a run folder; the model appears only when it agrees with torch.

    Raises:
        BadModelFile: onnxruntime's logits differ from torch's by more than `TOLERANCE`, or as `calibrate`.
    """
    recipe = module.recipe
    curves = read_curves(out / "curves.csv")
    outputs, rows = predict(module, data.valid)
    calibration = calibrate(recipe.name, outputs, rows, data.valid)
    spec = ModelSpec(
        name=f"{recipe.work}-{recipe.row}",
        labels=data.valid.labels,
        input=recipe.input_spec(),
        **calibration.of_spec(),
        recipe=recipe.name,
        provenance=_provenance(recipe, data, calibration),
        licence=data.licence,
        first_place=module.network.first_place,
        output_names=_names(outputs, data.valid),
    )
    plots.save(plots.curves(curves), out / "curves.png")
    atomic_write(out / "metrics.json", json.dumps(asdict(calibration), indent=2) + "\n")
    network = Averaged(module.network, recipe.tta)
    with partial(out / "model.onnx") as unfinished:
        write(network, spec, unfinished)
        try:
            check_parity(module, unfinished, data.valid)
        except BadModelFile:  # a network that moves its input by what it computes can need the full precision
            write(network, spec, unfinished, half=False)
            check_parity(module, unfinished, data.valid)
    return spec


def _names(outputs: ModelOutputs, valid: FaceTable) -> dict[str, tuple[str, ...]]:
    """What the data call the numbers of outputs whose names depend on them."""
    named = {name: OUTPUTS[name].names_in(valid) for name in outputs.others if OUTPUTS[name].names_field}
    return {name: names for name, names in named.items() if len(names) == outputs.others[name].shape[1]}


def write(network: Network | Averaged, spec: ModelSpec, file: Path, half: bool = True) -> None:
    """Export `network` with a dynamic batch and `spec` in its metadata, weights stored in half or full precision.

    Networks that can say where they look do so in the file.
    """
    example = torch.zeros(2, spec.input.channel_count, spec.input.size_px, spec.input.size_px)
    averaged = network if isinstance(network, Averaged) else Averaged(network, "one")
    averaged.eval().to(memory_format=torch.contiguous_format)
    with _explaining(averaged.network), torch.inference_mode():
        outputs = list(averaged.named_outputs(example))
    with _explaining(averaged.network):
        _to_onnx(averaged, example, outputs, file)
    model = onnx.load(file)
    describe(model, spec)
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    if half:
        store_in_half(model.graph)
    onnx.checker.check_model(model)
    save(model, file)


@contextmanager
def _explaining(network: Network) -> Iterator[None]:
    """`network` says where it looks, if it can."""
    network.explaining = network.explains
    try:
        yield
    finally:
        network.explaining = False


def _to_onnx(network: Averaged, example: torch.Tensor, outputs: list[str], file: Path) -> None:
    torch.onnx.export(
        network,
        (example,),
        file,
        input_names=["face"],
        output_names=outputs,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        external_data=False,
        verbose=False,
        dynamo=True,
    )


def check_parity(module: ExpressionModule, file: Path, table: FaceTable, faces: int = 64) -> float:
    """Largest difference between the outputs of torch and of the file on the first faces of `table`.

    Raises:
        BadModelFile: it exceeds `TOLERANCE`.
    """
    some = table.keep(np.arange(len(table)) < faces)
    spec = module.recipe.input_spec()
    session = open_session(file)
    read_spec(session, str(file))
    expected, rows = predict(module, some)
    got = run_model(session, to_input(list(some.images[rows]), spec))
    difference = float(np.abs(expected.logits - got.logits).max())
    if other := sorted(expected.others.keys() ^ got.others.keys()):
        raise BadModelFile(f"only one of '{file}' and the torch model outputs {OUTPUTS[other[0]].meaning}")
    for name, said in expected.others.items():
        difference = float(np.maximum(difference, np.abs(said - got.others[name]).max()))  # NaN if either is
    if not difference <= TOLERANCE:  # NaN is neither
        raise BadModelFile(
            f"an output of '{file}' differs from the torch model by {difference:.2e}; at most {TOLERANCE:.0e} is "
            "allowed"
        )
    return difference


def _provenance(recipe: Recipe, data: TrainingData, calibration: Calibration) -> dict[str, object]:
    """Where the weights come from, and what validation says about them."""
    facts: dict[str, object] = {
        "data": data.reader,
        "data_options": dict(data.options),
        "train_faces": len(data.train),
        "train_faces_left_out_as_near_duplicates": data.near_duplicates_left_out,
        "seed": recipe.seed,
        "settings": recipe.as_dict(),
        "versions": versions(),
        "validation": calibration.metrics,
    }
    if recipe.teachers:
        facts["teachers"] = [_origin(teacher) for teacher in recipe.teachers]
    return facts


def _origin(name: str) -> dict[str, object]:
    """The settings behind "bundled", an exported file or a run folder, and the hash of its weights."""
    where = Path(name).expanduser()
    if name != "bundled" and where.is_dir():
        weights, settings = final_checkpoint(where), read_json(where / "recipe.json", dict)
    else:
        weights = model_file(name)
        settings = read_spec(open_session(weights), name).settings
    return {"settings": settings, "sha256": sha256_of(weights)}
