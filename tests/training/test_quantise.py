import time
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from affectlens.core.errors import BadData, BadModelFile, BadSetting
from affectlens.core.preprocessing import to_input
from affectlens.core.session import open_session, read_spec, run_model
from affectlens.evaluation import metrics
from affectlens.training import export, quantise
from affectlens.training.module import ExpressionModule
from affectlens.training.start import start_from

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def whole(recipe, data, tmp_path_factory):
    """An exported file of a fresh network."""
    torch.manual_seed(3)
    module = ExpressionModule(recipe, 8)
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(layer.weight, 0.5, 1.5)
    module.network(torch.from_numpy(to_input(list(data.train.images), recipe.input_spec())))
    out = tmp_path_factory.mktemp("whole")
    (out / "curves.csv").write_text("epoch,valid_nll,valid_accuracy,train_loss\n0,2.0,0.5,2.1\n")
    export.export(module.eval(), data, out)
    return out / "model.onnx"


@pytest.fixture
def faster(monkeypatch):
    """Eight bits are found to be three times as fast."""
    monkeypatch.setattr(quantise, "_in_turns", lambda *_: (0.9, 0.3))
    monkeypatch.setattr(quantise, "MAX_ACCURACY_LOSS", 1.0)


@pytest.fixture
def eight(whole, data, tmp_path, faster):
    """The file in eight bits, and the gain."""
    return tmp_path / "eight.onnx", quantise.quantise(whole, data, tmp_path / "eight.onnx")


def answers(file, data):
    session = open_session(file)
    faces = to_input(list(data.valid.images), read_spec(session, "it").input)
    return run_model(session, faces, explain=True)


def test_it_answers_nearly_as_before(whole, eight, data):
    before, after = answers(whole, data), answers(eight[0], data)
    spread = before.logits.std()
    assert 0 < np.abs(after.logits - before.logits).max() < 0.35 * spread
    assert np.corrcoef(after.logits.ravel(), before.logits.ravel())[0, 1] > 0.99
    assert after.explanation.shape == before.explanation.shape
    assert np.corrcoef(after.explanation.ravel(), before.explanation.ravel())[0, 1] > 0.95
    rest = after.logits - after.explanation.sum(axis=(2, 3))  # the biases of the last layer
    np.testing.assert_allclose(rest, np.broadcast_to(rest[0], rest.shape), atol=1e-4)


def test_convolutions_are_stored_in_seven_bits_with_a_sign(whole, eight):
    stored = {weight.name: weight for weight in onnx.load(eight[0]).graph.initializer}
    weights = [value for name, value in stored.items() if name.endswith(".weight_quantized")]
    assert len(weights) == sum(len(w.dims) == 4 for w in onnx.load(whole).graph.initializer)
    for weight in weights:
        assert weight.data_type == onnx.TensorProto.INT8
        values = onnx.numpy_helper.to_array(weight)
        assert 32 < np.abs(values.astype(int)).max() <= 64
    scales = [value for name, value in stored.items() if name.endswith("conv1.weight_scale")]
    assert len(scales) == 4
    assert all(scale.dims[0] > 1 for scale in scales)


def test_it_is_calibrated_anew_and_says_what_it_is(whole, eight, data):
    file, gain = eight
    before, after = (read_spec(open_session(one), str(one)) for one in (whole, file))
    assert (after.name, after.labels, after.input, after.licence) == (
        before.name,
        before.labels,
        before.input,
        before.licence,
    )
    figures = after.provenance["validation"]
    assert after.provenance["quantised"]["faces"] == 64
    said, measured = after.provenance["quantised"]["validation_before"], before.provenance["validation"]
    assert said["expected_calibration_error"] == pytest.approx(measured["expected_calibration_error"], abs=1e-3)
    assert gain.accuracy == (before.provenance["validation"]["accuracy"], figures["accuracy"])
    logits = answers(file, data).logits[data.valid.labelled]
    assert figures["accuracy"] == np.mean(logits.argmax(axis=1) == data.valid.targets[data.valid.labelled])
    assert after.class_prior != before.class_prior
    found = metrics.fit_temperature(logits, data.valid.targets[data.valid.labelled])
    assert after.temperature == pytest.approx(np.clip(found, 0.5, 2), abs=1e-3)  # of so few faces


def test_training_goes_on_from_it(eight, whole, recipe, data):
    states = []
    for file in (whole, eight[0]):
        network = ExpressionModule(recipe, 8).network
        start_from(network, type(recipe)(**{**recipe.as_dict(), "start_from": str(file)}), data.valid.labels)
        states.append(network.state_dict())
    for name, value in states[0].items():
        error = (states[1][name] - value).abs().max()
        assert error <= value.abs().max() / 60, name


def test_what_is_no_faster_is_not_written(whole, data, tmp_path, monkeypatch):
    monkeypatch.setattr(quantise, "MAX_ACCURACY_LOSS", 1.0)
    monkeypatch.setattr(quantise, "_in_turns", lambda *_: (0.9, 1.1))
    with pytest.raises(BadModelFile, match=r"not faster on this machine: 0\.9000 -> 1\.1000 ms per face"):
        quantise.quantise(whole, data, tmp_path / "eight.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("after", "written"), [(0.8671, True), (0.8669, False)])
def test_three_tenths_of_a_point_may_be_lost(whole, data, tmp_path, monkeypatch, after, written):
    monkeypatch.setattr(quantise, "_in_turns", lambda *_: (0.9, 0.3))
    found = iter((0.87, after))

    def calibrated(*arguments):
        return replace(export.calibrate(*arguments), accuracy=next(found))

    monkeypatch.setattr(quantise, "calibrate", calibrated)
    if written:
        assert quantise.quantise(whole, data, tmp_path / "eight.onnx").accuracy == (0.87, after)
        return
    with pytest.raises(
        BadModelFile, match=r"8-bit quantisation costs too much validation accuracy: 0\.8700 -> 0\.8669"
    ):
        quantise.quantise(whole, data, tmp_path / "eight.onnx")
    assert not list(tmp_path.iterdir())


def test_a_model_is_not_overwritten_by_itself(whole, data):
    before = whole.read_bytes()
    with pytest.raises(BadSetting, match="is the model itself"):
        quantise.quantise(whole, data, whole.parent / "." / whole.name)
    assert whole.read_bytes() == before


def test_data_with_other_labels_are_refused(whole, data, tmp_path):
    other = replace(data, valid=replace(data.valid, labels=data.valid.labels[::-1]))
    with pytest.raises(
        BadData, match=r"the labels of tiny-faces are neutral, .*, but those of the data are contempt, "
    ):
        quantise.quantise(whole, other, tmp_path / "eight.onnx")


def test_twice_is_once_too_often(eight, data, tmp_path):
    with pytest.raises(BadModelFile, match="is already quantised to eight bits"):
        quantise.quantise(eight[0], data, tmp_path / "four.onnx")


def test_both_are_timed_in_milliseconds_and_in_turns(monkeypatch):
    order = []

    def takes(seconds, face):
        order.append(seconds)
        time.sleep(seconds)

    monkeypatch.setattr(quantise, "run_model", takes)
    monkeypatch.setattr(quantise, "_TIMED_CALLS", 5)
    before, after = quantise._in_turns((0.02, 0.004), None)
    assert before >= 20
    assert 4 <= after < before
    assert order == [0.02, 0.004] * 5
