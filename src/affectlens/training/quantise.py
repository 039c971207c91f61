"""8-bit integer quantisation of the convolutions in an exported file: smaller, and kept only if measurably faster."""

import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from affectlens.core import files
from affectlens.core.errors import BadData, BadModelFile, BadSetting
from affectlens.core.files import real_path
from affectlens.core.model_outputs import ModelOutputs
from affectlens.core.preprocessing import InputSpec, to_input
from affectlens.core.session import EXPLANATION, Session, open_session, read_spec, run_model
from affectlens.data.images import in_chunks
from affectlens.data.table import FaceTable
from affectlens.models.layers.published import quiet
from affectlens.training.data import TrainingData
from affectlens.training.export import calibrate
from affectlens.training.prediction import outputs_for
from affectlens.training.storage import describe, save, with_whole_weights

MAX_ACCURACY_LOSS = 0.003
"""Validation accuracy that eight bits may cost."""

_LAYERS = ("Conv", "Add", "Relu")  # what is left in between would only be converted there and back
_CALIBRATION_FACES = 512
_MAX_BATCH = 64
_TIMED_CALLS = 200


@dataclass(frozen=True)
class QuantisationEffect:
    """What eight bits changed: accuracy on validation and milliseconds a face (batch 1, one thread), before and after;
    both were timed in turns.
    """

    accuracy: tuple[float, float]
    ms_per_face: tuple[float, float]

    def check(self) -> None:
        """Raise BadModelFile if eight bits gain no time or cost too much accuracy."""
        if self.accuracy[1] < self.accuracy[0] - MAX_ACCURACY_LOSS:
            raise BadModelFile(f"8-bit quantisation costs too much validation accuracy: {_arrow(self.accuracy)}")
        if self.ms_per_face[1] >= self.ms_per_face[0]:
            raise BadModelFile(
                f"8-bit quantisation is not faster on this machine: {_arrow(self.ms_per_face)} ms per face"
            )


class _Faces(CalibrationDataReader):
    """The inputs whose activations give the ranges."""

    def __init__(self, name: str, faces: NDArray[np.float32]) -> None:
        parts = range(0, len(faces), _MAX_BATCH)
        self._feeds = iter([{name: faces[start : start + _MAX_BATCH]} for start in parts])

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        return next(self._feeds, None)


def quantise(file: Path, data: TrainingData, out: Path) -> QuantisationEffect:
    """Write `file` to `out` with weights and activations of its convolutions in eight bits, calibrated anew.

    Weights are signed, one scale for each channel, and take seven of the eight bits, so that processors without VNNI
    cannot overflow; activations are unsigned, with the range that they have on 512 training faces (Jacob et al. 2018,
    arXiv:1712.05877). Temperature, threshold and prior are fitted on the validation faces.

    Raises:
        BadModelFile: `file` is none of affectlens's, or has eight bits already; or eight bits cost more than
            `MAX_ACCURACY_LOSS`, or gain no time on this machine: then nothing is written. BadSetting: `out` is `file`.
            BadData: the labels of the data are others than the model's, or no image can be decoded.
    """
    if real_path(out) == real_path(file):
        raise BadSetting(f"'{out}' is the model itself; choose another file to write")
    before = open_session(file)
    spec = read_spec(before, str(file))
    if "quantised" in spec.provenance:
        raise BadModelFile(f"'{file}' is already quantised to eight bits")
    if data.valid.labels != spec.labels:
        raise BadData(
            f"the labels of {spec.name} are {', '.join(spec.labels)}, but those of the data are "
            f"{', '.join(data.valid.labels)}"
        )
    faces = _faces_for_ranges(data.train, spec.input)
    out.parent.mkdir(parents=True, exist_ok=True)
    with files.partial(out) as unfinished:
        _to_eight_bits(with_whole_weights(onnx.load(file)), before.get_inputs()[0].name, faces, unfinished)
        after = open_session(unfinished)
        whole, calibration = (
            calibrate(spec.name, *outputs_for(data.valid, partial(_read, session, spec.input), _MAX_BATCH), data.valid)
            for session in (before, after)
        )
        gain = QuantisationEffect((whole.accuracy, calibration.accuracy), _in_turns((before, after), faces[:1]))
        gain.check()
        provenance = spec.provenance | {
            "validation": calibration.metrics,
            "quantised": {"faces": len(faces), "validation_before": whole.metrics},
        }
        changed = calibration.of_spec() | {"provenance": provenance}
        quantised = onnx.load(unfinished)
        describe(quantised, spec.model_copy(update=changed))
        save(quantised, unfinished)
    return gain


def _faces_for_ranges(train: FaceTable, spec: InputSpec) -> NDArray[np.float32]:
    """(N, C, H, W) inputs of 512 training faces, or of as many as there are."""
    chosen = np.random.default_rng(0).permutation(len(train)) < _CALIBRATION_FACES
    pictures, _ = next(in_chunks(train.keep(chosen).images, _CALIBRATION_FACES))
    if not pictures:
        raise BadData(f"cannot decode any of {chosen.sum()} training images")
    return to_input(pictures, spec)


def _to_eight_bits(model: onnx.ModelProto, name: str, faces: NDArray[np.float32], out: Path) -> None:
    spared = _for_explanations(model.graph)
    del model.metadata_props[:]  # the checksum is that of the model before
    with quiet(""), tempfile.TemporaryDirectory() as folder:
        whole = Path(folder, "whole.onnx")
        onnx.save(model, whole)
        quantize_static(
            whole,
            out,
            _Faces(name, faces),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(_LAYERS),
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            nodes_to_exclude=spared,
        )


def _for_explanations(graph: onnx.GraphProto) -> list[str]:
    """Names of the nodes that no answer needs; they stay exact, so that evidence adds up to the logits."""
    needed = {output.name for output in graph.output} - {EXPLANATION}
    names = []
    for place, node in reversed(list(enumerate(graph.node))):
        node.name = node.name or f"node_{place}"
        if needed.intersection(node.output):
            needed.update(node.input)
        else:
            names.append(node.name)
    return names


def _read(session: Session, spec: InputSpec, pictures: list[NDArray[np.uint8]]) -> ModelOutputs:
    return run_model(session, to_input(pictures, spec))


def _in_turns(sessions: tuple[Session, Session], face: NDArray[np.float32]) -> tuple[float, float]:
    """Median milliseconds of a call of each, one after the other, so that a busy moment meets both."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(_TIMED_CALLS):
        for session, taken in zip(sessions, times, strict=True):
            start = time.perf_counter()
            run_model(session, face)
            taken.append(time.perf_counter() - start)
    before, after = (1000 * float(np.median(taken)) for taken in times)
    return before, after


def _arrow(values: tuple[float, float]) -> str:
    return f"{values[0]:.4f} -> {values[1]:.4f}"
