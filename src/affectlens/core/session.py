"""Creation of onnxruntime sessions (only here), and the metadata of exported models."""

import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from affectlens.core.errors import BadModelFile, BadSetting
from affectlens.core.model_outputs import ModelOutputs
from affectlens.core.outputs import OUTPUTS
from affectlens.core.preprocessing import InputSpec

METADATA_KEY = "affectlens"
EXPLANATION = "explanation"
"""Name of the output that says where the model looked (`core.model_outputs.ModelOutputs`), of models that say it."""

Session: TypeAlias = ort.InferenceSession


class ModelSpec(BaseModel):
    """What a model file says about itself; written by `training.export`, read here and nowhere else.

    Attributes:
        name: short name of the model, shown in the `model` column.
        labels: expression names in the order of the logits.
        input: how a face becomes the input tensor.
        temperature: divides the logits before softmax (calibration, fitted on validation).
        uncertain_below: the top probability under which the answer is `uncertain`.
        class_prior: mean calibrated probability of each label over the validation faces: how frequent the model takes
            it to be. None in files that do not say it.
        recipe: name of the training recipe.
        provenance: data, protocol, commit, seed, versions, validation metrics.
        licence: terms of the weights and of the data behind them.
        first_place: where the middle of the first place of an explanation's map lies, in places from the left and the
            top edge of the face: 0.5 where the map divides the face evenly, less where each halving is a convolution
            around every second pixel.
        output_names: what the numbers of an output are called, by the output's name in `core.outputs`, where its data
            say it: the attributes of CelebA, for instance.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    labels: tuple[str, ...] = Field(min_length=2)
    input: InputSpec
    temperature: float = Field(gt=0)
    uncertain_below: float = Field(ge=0, le=1)
    class_prior: tuple[Annotated[float, Field(gt=0, le=1)], ...] | None = None
    recipe: str
    provenance: dict[str, Any]
    licence: str
    first_place: float = Field(default=0.5, ge=0, le=1)
    output_names: dict[str, tuple[str, ...]] = Field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        """Those of the training recipe; none where the file does not say them."""
        return dict(self.provenance.get("settings", {}))


PROVIDERS = {"cpu": ["CPUExecutionProvider"], "cuda": ["CUDAExecutionProvider", "CPUExecutionProvider"]}
"""Devices that a session runs on."""


def open_session(
    model: Path,
    threads: int = 1,
    device: str = "cpu",
    in_training: bool = False,
    keeps_memory: bool = False,
    rewrite: Callable[[Path], bytes] | None = None,
) -> Session:
    """An onnxruntime session on a device.

    `threads` is the number of intra-operator threads; 0 lets onnxruntime take one per core. With `keeps_memory` what a
    call works with is kept for the next, which is as large; with `in_training` too, and threads that wait leave the
    cores to torch. `rewrite` makes the model that runs of the one in the file.

    Raises:
        BadModelFile: the file is missing or is not an ONNX model. BadSetting: `threads` is negative, or this
            onnxruntime does not know the device.
    """
    if device not in PROVIDERS:
        raise BadSetting(f"device must be {' or '.join(PROVIDERS)}, got '{device}'")
    if PROVIDERS[device][0] not in ort.get_available_providers():
        raise BadSetting(
            f"the installed onnxruntime does not support the device '{device}'; install onnxruntime-gpu instead"
        )
    if threads < 0:
        raise BadSetting(f"threads must be >= 0 (0: one per core), got {threads}")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = in_training or keeps_memory  # or a large batch would leave its arena behind
    options.add_session_config_entry("session.intra_op.allow_spinning", "0" if in_training else "1")
    options.log_severity_level = 3
    if not model.is_file():
        if model.name == "model.onnx" and (model.parent / "recipe.json").is_file():
            raise BadModelFile(f"the run in '{model.parent}' is not finished: it has no {model.name}; resume the run")
        raise BadModelFile(f"the model file '{model}' does not exist; 'bundled' is the model in the package")
    try:
        session = Session(rewrite(model) if rewrite else str(model), options, providers=PROVIDERS[device])
    except Exception as error:  # onnxruntime raises many private types
        said = str(error).partition("\n")[0]
        if "INVALID_PROTOBUF" in said:
            raise BadModelFile(f"'{model}' is not an ONNX model, or it is damaged") from error
        raise BadModelFile(f"onnxruntime cannot open '{model}' as a model: {said}") from error
    if PROVIDERS[device][0] not in session.get_providers():
        raise BadSetting(f"onnxruntime supports the device '{device}' but cannot use it; its libraries may be missing")
    return session


def read_spec(session: Session, where: str) -> ModelSpec:
    """The metadata of an expression model.

    Raises:
        BadModelFile: the metadata is missing, or does not fit `ModelSpec` or the outputs; the message names `where`.
    """
    try:
        text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    except UnicodeDecodeError as error:
        raise BadModelFile(f"the metadata of '{where}' are damaged: they are not encoded in UTF-8") from error
    if text is None:
        raise BadModelFile(f"'{where}' has no '{METADATA_KEY}' metadata; export it with affectlens")
    try:
        spec = ModelSpec.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or METADATA_KEY
        raise BadModelFile(f"metadata of '{where}': {field}: {first['msg']}") from error
    shape = session.get_outputs()[0].shape
    if len(shape) != 2 or shape[1] != len(spec.labels):
        raise BadModelFile(
            f"the output of '{where}' has the shape {shape}, but its metadata has {len(spec.labels)} labels"
        )
    if spec.class_prior is not None and len(spec.class_prior) != len(spec.labels):
        raise BadModelFile(f"metadata of '{where}' has {len(spec.class_prior)} priors for {len(spec.labels)} labels")
    for output in session.get_outputs()[1:]:
        if output.name in OUTPUTS:
            _check_output(output, spec, where)
        if output.name == EXPLANATION and (len(output.shape) != 4 or output.shape[1] not in (1, len(spec.labels))):
            raise BadModelFile(
                f"the output '{EXPLANATION}' of '{where}' has the shape {output.shape}, expected one map, or one "
                "per label"
            )
    return spec


def _check_output(output: Any, spec: ModelSpec, where: str) -> None:
    """Raises BadModelFile where a known output has not as many numbers as it has names."""
    known = OUTPUTS[output.name]
    if len(output.shape) != 2 or not isinstance(output.shape[1], int):
        raise BadModelFile(
            f"the output '{output.name}' of '{where}' has the shape {output.shape}, expected a fixed number of "
            "values per face"
        )
    names = known.names or spec.output_names.get(output.name)
    if names and len(names) != output.shape[1]:
        expected = known.meaning if known.names else f"the {len(names)} values named in its metadata"
        raise BadModelFile(f"the output '{output.name}' of '{where}' has the shape {output.shape}, expected {expected}")


def outputs_of(session: Session, spec: ModelSpec) -> dict[str, tuple[str, ...]]:
    """The outputs of a model file beside the logits that `core.outputs` knows -> what their numbers are called; these
    are counted from 0 where nobody says it.
    """
    found = {output.name: output.shape[1] for output in session.get_outputs()[1:] if output.name in OUTPUTS}
    return {
        name: OUTPUTS[name].names or spec.output_names.get(name) or tuple(map(str, range(width)))
        for name, width in found.items()
    }


def run_model(
    session: Session, faces: NDArray[np.float32], explain: bool = False, leave_out: Collection[str] = ()
) -> ModelOutputs:
    """What a model says about (N, C, H, W) float32 normalised faces, without the outputs to `leave_out`.

    With `explain` also where it looked, if the file says so. What is not asked for is not computed.
    """
    names = [output.name for output in session.get_outputs()]
    further = [name for name in names[1:] if name in OUTPUTS and name not in leave_out]
    wanted = [names[0], *further, *([EXPLANATION] if explain and EXPLANATION in names else [])]
    options = ort.RunOptions()
    options.only_execute_path_to_fetches = True
    found = dict(zip(wanted, session.run(wanted, {session.get_inputs()[0].name: faces}, options), strict=True))
    said = {name: OUTPUTS[name].decode(found[name]) for name in further}
    return ModelOutputs(found[names[0]], said, found.get(EXPLANATION))


def model_file(model: str | Path) -> Path:
    """The file behind "bundled" (the model that ships in the package), a run folder (its model.onnx) or a path.

    `~` is the home folder.
    """
    if model == "bundled":
        return Path(__file__).parent.parent / "weights" / "default.onnx"
    path = Path(os.path.expanduser(model))
    return path / "model.onnx" if path.is_dir() else path
