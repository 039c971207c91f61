"""Creation of onnxruntime sessions (only here), and the metadata of exported models."""

import math
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from affectlens.core.checksums import check_model
from affectlens.core.errors import BadAnswer, BadModelFile, BadSetting, UnreadableMedia
from affectlens.core.expressions import MAX_LABELS, label_fault, name_fault
from affectlens.core.model_outputs import ModelOutputs
from affectlens.core.outputs import OUTPUTS
from affectlens.core.preprocessing import InputSpec
from affectlens.core.reasons import Reason

METADATA_KEY = "affectlens"
EXPLANATION = "explanation"
"""Name of the output that says where the model looked (`core.model_outputs.ModelOutputs`), of models that say it."""

MAX_CALL_S, FACES_PER_CALL = 60.0, 8
"""How long a model may take for so many faces, or for fewer."""

Session: TypeAlias = ort.InferenceSession


def _named(name: str) -> str:
    if fault := name_fault(name):
        raise ValueError(fault)
    return name


def _labelled(labels: tuple[str, ...]) -> tuple[str, ...]:
    if fault := label_fault(labels):
        raise ValueError(fault)
    return labels


Name: TypeAlias = Annotated[str, AfterValidator(_named)]
Labels: TypeAlias = Annotated[tuple[str, ...], AfterValidator(_labelled)]


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

    name: Name
    labels: Labels = Field(min_length=2)
    input: InputSpec
    temperature: float = Field(ge=1e-3, le=1e3)
    uncertain_below: float = Field(ge=0, le=1)
    class_prior: tuple[Annotated[float, Field(gt=0, le=1)], ...] | None = None
    recipe: str
    provenance: dict[str, Any]
    licence: str
    first_place: float = Field(default=0.5, ge=0, le=1)
    output_names: dict[str, Labels] = Field(default_factory=dict)

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
        BadModelFile: the file is missing, damaged or not an ONNX model. BadSetting: `threads` is negative, or this
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
    check_model(model)
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
        raise BadModelFile(f"metadata of '{where}': {field}: {first['msg'].removeprefix('Value error, ')}") from error
    _check_input(session.get_inputs(), where)
    for output in session.get_outputs():
        if output.type not in ("tensor(float)", "tensor(float16)"):
            raise BadModelFile(f"the output '{output.name}' of '{where}' must be floating point, got {output.type}")
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


def _check_input(inputs: Sequence[Any], where: str) -> None:
    """Raises BadModelFile where a model takes something else than faces, any number of them."""
    if len(inputs) != 1 or inputs[0].type != "tensor(float)":
        got = " and ".join(f"'{one.name}': {one.type}" for one in inputs) or "none"
        raise BadModelFile(f"'{where}' must have one input of type tensor(float), got {got}")
    if not inputs[0].shape or isinstance(inputs[0].shape[0], int):
        raise BadModelFile(f"'{where}' must take any number of faces; its input has the shape {inputs[0].shape}")


def _check_output(output: Any, spec: ModelSpec, where: str) -> None:
    """Raises BadModelFile where a known output has not as many numbers as it has names."""
    known = OUTPUTS[output.name]
    if len(output.shape) != 2 or not isinstance(output.shape[1], int) or output.shape[1] > MAX_LABELS:
        raise BadModelFile(
            f"the output '{output.name}' of '{where}' has the shape {output.shape}, expected a fixed number of "
            f"values per face, at most {MAX_LABELS}"
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

    Raises:
        BadAnswer: an output is not finite, or of another shape than the file says. UnreadableMedia: TOO_SLOW, it took
            longer than `MAX_CALL_S` for each `FACES_PER_CALL` faces. Exception: what onnxruntime raises.
    """
    outputs = {output.name: output for output in session.get_outputs()}
    logits, *others = outputs
    further = [name for name in others if name in OUTPUTS and name not in leave_out]
    wanted = [logits, *further, *([EXPLANATION] if explain and EXPLANATION in outputs else [])]
    options = ort.RunOptions()
    options.only_execute_path_to_fetches = True
    options.log_severity_level = 4  # errors are raised; nothing is printed
    with _DEADLINES.limit(options, MAX_CALL_S * math.ceil(len(faces) / FACES_PER_CALL)):
        answers = session.run(wanted, {session.get_inputs()[0].name: faces}, options)
    found = dict(zip(wanted, answers, strict=True))
    for name, answer in found.items():
        _check_answer(name, answer, (len(faces), *outputs[name].shape[1:]))
    said = {name: OUTPUTS[name].decode(found[name]) for name in further}
    return ModelOutputs(found[logits], said, found.get(EXPLANATION))


def _check_answer(name: str, answer: NDArray[np.floating], shape: tuple[int | str, ...]) -> None:
    """Raises BadAnswer where an output is not finite, or not of this shape; names in it stand for any number."""
    faces = f"{shape[0]} face{'' if shape[0] == 1 else 's'}"
    if len(answer) != shape[0]:
        rows = f"{len(answer)} row{'' if len(answer) == 1 else 's'}"
        raise BadAnswer(f"the model answered {rows} for {faces} in its output '{name}'")
    if len(answer.shape) != len(shape) or any(
        isinstance(wanted, int) and got != wanted for got, wanted in zip(answer.shape, shape, strict=True)
    ):
        raise BadAnswer(f"the model answered the shape {answer.shape} in its output '{name}', expected {shape}")
    if not np.isfinite(answer).all():
        raise BadAnswer(f"the model answered {faces} with numbers that are not finite in its output '{name}'")


class _Deadlines:
    """Ends calls of models that take too long, from one thread for all of them."""

    def __init__(self) -> None:
        self._ends: dict[ort.RunOptions, float] = {}
        self._watch = threading.Thread()

    @contextmanager
    def limit(self, call: ort.RunOptions, seconds: float) -> Iterator[None]:
        """Ends a call in the block after so many seconds.  Raises UnreadableMedia: then."""
        if not self._watch.is_alive():  # the first call of this process
            self._watch = threading.Thread(target=self._end_late_calls, name="affectlens deadlines", daemon=True)
            self._watch.start()
        self._ends[call] = time.monotonic() + seconds
        try:
            yield
        except Exception as error:
            if call.terminate:
                raise UnreadableMedia(Reason.TOO_SLOW, f"the model did not answer within {seconds:g} s") from error
            raise
        finally:
            del self._ends[call]

    def _end_late_calls(self) -> None:
        while True:
            time.sleep(_WATCH_EVERY_S)
            now = time.monotonic()
            for call, end in list(self._ends.items()):
                if now > end:
                    call.terminate = True


_WATCH_EVERY_S = 1.0
_DEADLINES = _Deadlines()


def model_file(model: str | Path) -> Path:
    """The file behind "bundled" (the model that ships in the package), a run folder (its model.onnx) or a path.

    `~` is the home folder.
    """
    if model == "bundled":
        return Path(__file__).parent.parent / "weights" / "default.onnx"
    path = Path(os.path.expanduser(model))
    return path / "model.onnx" if path.is_dir() else path
