import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from affectlens.core.errors import BadModelFile
from affectlens.core.model_outputs import ModelOutputs
from affectlens.core.probabilities import softmax
from affectlens.core.session import open_session, read_spec
from affectlens.evaluation import metrics
from affectlens.training import export
from affectlens.training.module import ExpressionModule
from affectlens.training.prediction import predict
from affectlens.training.tta import averaged

pytestmark = pytest.mark.slow


def fresh_module(recipe, seed=0):
    torch.manual_seed(seed)
    module = ExpressionModule(recipe, 8)
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(layer.weight, 0.5, 1.5)
    module.network(torch.randn(16, 1, 48, 48))
    return module.eval()


def calibrate(module, valid):
    return export.calibrate(module.recipe.name, *predict(module, valid), valid)


CURVES = "epoch,valid_nll,valid_accuracy,train_loss\n0,2.0,0.5,2.1\n1,1.5,0.6,1.7\n"


@pytest.fixture(scope="module")
def exported(recipe, data, tmp_path_factory):
    """A module, the spec that export returned, and the file."""
    module = fresh_module(recipe)
    out = tmp_path_factory.mktemp("export")
    (out / "curves.csv").write_text(CURVES)
    return module, export.export(module, data, out), out / "model.onnx"


def test_metadata_reads_back_as_it_was_written(exported, recipe, data):
    _, spec, file = exported
    read = read_spec(open_session(file), str(file))
    assert read.model_dump_json() == spec.model_dump_json()
    assert read.name == "tiny-faces"
    assert read.recipe == "tiny/faces"
    assert read.labels == data.valid.labels
    assert read.input == recipe.input_spec()
    assert read.licence == data.licence


def test_a_flipped_byte_of_the_file_is_noticed(exported, tmp_path):
    content = bytearray(exported[2].read_bytes())
    for place in np.linspace(0, len(content) - 200, 20).astype(int):
        (tmp_path / "model.onnx").write_bytes(content[:place] + bytes([content[place] ^ 64]) + content[place + 1 :])
        with pytest.raises(BadModelFile, match=r"model\.onnx' is damaged, or was changed after its export"):
            open_session(tmp_path / "model.onnx")


def test_provenance_says_where_the_weights_come_from(exported, recipe):
    provenance = exported[1].provenance
    assert (provenance["data"], provenance["data_options"]) == ("ferplus", {"protocol": "standard"})
    assert provenance["train_faces"] == 64
    assert provenance["train_faces_left_out_as_near_duplicates"] == 3
    assert provenance["settings"]["learning_rate"] == recipe.learning_rate
    assert provenance["validation"]["faces"] == 36
    assert {"torch", "commit"} <= set(provenance["versions"])


def test_calibration_is_that_of_validation(exported, recipe, data):
    module, spec, _ = exported
    scored = data.valid.keep(data.valid.targets >= 0)
    logits = predict(module, scored)[0].logits
    assert spec.temperature > 0
    fitted = np.clip(metrics.fit_temperature(logits, scored.targets), 0.5, 2)  # of so few faces
    assert spec.temperature == pytest.approx(fitted, abs=1e-4)
    assert 0 <= spec.uncertain_below <= 1
    figures = metrics.summary(softmax(logits, spec.temperature), scored.targets, scored.labels, spec.uncertain_below)
    assert spec.provenance["validation"]["accuracy"] == pytest.approx(figures["accuracy"])


def test_few_faces_that_are_all_right_do_not_make_a_model_that_is_sure_of_everything(data):
    logits = 10 * np.eye(8, dtype=np.float32)[data.valid.targets]
    right = data.valid.labelled
    assert metrics.fit_temperature(logits[right], data.valid.targets[right]) < 0.5
    found = export.calibrate("sure", ModelOutputs(logits), np.arange(len(data.valid)), data.valid)
    assert found.accuracy == 1
    assert (found.temperature, found.uncertain_below) == (0.5, 0.5)


def test_concordance_is_that_of_the_faces_that_have_both(recipe, data):
    options = {"backbone": "breg_next", "affect": "regression"}
    module = ExpressionModule(replace(recipe, model="multi_task", model_options=options), 8)
    valence = np.linspace(-1, 1, len(data.valid), dtype=np.float32)
    valid = replace(data.valid, valence=valence, arousal=np.where(valence > 0, valence, np.nan).astype(np.float32))
    guess = predict(module, valid)[0].affect[valence > 0]
    figures = calibrate(module, valid).metrics
    assert figures["valence_ccc"] == pytest.approx(metrics.ccc(guess[:, 0], valence[valence > 0]))
    assert figures["arousal_ccc"] == pytest.approx(metrics.ccc(guess[:, 1], valence[valence > 0]))
    assert "valence_ccc" not in calibrate(module, data.valid).metrics


def test_the_class_prior_is_the_mean_answer_on_validation(exported, recipe, data):
    module, spec, _ = exported
    answers, _ = predict(module, data.valid)
    expected = softmax(answers.logits, spec.temperature).mean(axis=0)
    np.testing.assert_allclose(spec.class_prior, expected, atol=1e-6)


def test_calibration_lies_beside_the_model(exported):
    _, spec, file = exported
    metrics = json.loads((file.parent / "metrics.json").read_text())
    assert (metrics["temperature"], metrics["uncertain_below"]) == (spec.temperature, spec.uncertain_below)
    assert metrics["metrics"] == spec.provenance["validation"]


def test_the_file_gives_the_logits_of_torch(exported, data):
    module, _, file = exported
    assert export.check_parity(module, file, data.valid) <= export.TOLERANCE


def test_a_network_that_diverged_is_not_exported(recipe, data):
    module = fresh_module(recipe, seed=1)
    with torch.no_grad():
        next(module.parameters()).fill_(float("nan"))
    with pytest.raises(BadModelFile, match="are not finite; try a lower learning_rate"):
        calibrate(module, data.valid)


def test_valence_that_is_not_finite_is_not_exported(recipe, data):
    answers, rows = predict(fresh_module(recipe, seed=1), data.valid)
    affect = np.full((len(rows), 2), np.nan, dtype=np.float32)
    with pytest.raises(BadModelFile, match="are not finite"):
        export.calibrate("tiny", replace(answers, others={"affect": affect}), rows, data.valid)


def test_what_is_not_a_number_is_no_parity(exported, data, monkeypatch):
    module, _, file = exported
    nothing = np.full((len(data.valid), len(data.valid.labels)), np.nan, dtype=np.float32)
    monkeypatch.setattr(export, "predict", lambda *_: (ModelOutputs(nothing), np.arange(len(data.valid))))
    with pytest.raises(BadModelFile, match="differs from the torch model"):
        export.check_parity(module, file, data.valid)


def test_another_network_fails_the_parity_check(exported, recipe, data):
    with pytest.raises(BadModelFile, match="differs from the torch model"):
        export.check_parity(fresh_module(recipe, seed=1), exported[2], data.valid)


@pytest.mark.parametrize("batch", [1, 3])
def test_the_batch_is_free(exported, batch):
    face = np.zeros((batch, 1, 48, 48), dtype=np.float32)
    (logits,) = open_session(exported[2]).run(["logits"], {"face": face})
    assert logits.shape == (batch, 8)


def test_the_file_stands_alone_and_stores_its_weights_in_half(exported):
    module, _, file = exported
    assert {path.name for path in file.parent.iterdir()} == {"curves.csv", "curves.png", "metrics.json", "model.onnx"}
    parameters = sum(weight.numel() for weight in module.parameters())
    overhead = len(exported[1].model_dump_json()) + 20_000
    assert file.stat().st_size < 2.2 * parameters + overhead


def test_an_export_that_is_not_what_torch_computes_leaves_the_file_that_was_there(recipe, data, tmp_path, monkeypatch):
    (tmp_path / "curves.csv").write_text(CURVES)
    (tmp_path / "model.onnx").write_bytes(b"the model before")
    other = fresh_module(recipe, seed=1).network
    write = export.write
    monkeypatch.setattr(export, "write", lambda network, *arguments, **options: write(other, *arguments, **options))
    with pytest.raises(BadModelFile, match="differs from the torch model"):
        export.export(fresh_module(recipe), data, tmp_path)
    assert (tmp_path / "model.onnx").read_bytes() == b"the model before"
    assert not list(tmp_path.glob("*.partial"))


def test_an_export_follows_no_link(recipe, data, tmp_path):
    (tmp_path / "curves.csv").write_text(CURVES)
    (tmp_path / "victim").write_text("mine")
    for name in ("model.partial", "model.onnx"):
        (tmp_path / name).symlink_to(tmp_path / "victim")
    export.export(fresh_module(recipe), data, tmp_path)
    assert (tmp_path / "victim").read_text() == "mine"
    assert not (tmp_path / "model.onnx").is_symlink()


def test_where_half_precision_is_too_coarse_the_weights_stay_whole(recipe, data, tmp_path, monkeypatch):
    (tmp_path / "curves.csv").write_text(CURVES)
    module = fresh_module(recipe)
    monkeypatch.setattr(export, "TOLERANCE", 1e-4)
    export.export(module, data, tmp_path)
    assert export.check_parity(module, tmp_path / "model.onnx", data.valid) < 1e-4
    stored = [weight.data_type for weight in onnx.load(tmp_path / "model.onnx").graph.initializer]
    assert onnx.TensorProto.FLOAT16 not in stored
    assert onnx.TensorProto.FLOAT in stored


@pytest.mark.no_cover
@pytest.mark.parametrize("views", ["flip", pytest.param("ten-crop", marks=pytest.mark.slow)])
def test_the_file_averages_the_views_of_the_recipe(recipe, data, tmp_path, views):
    (tmp_path / "curves.csv").write_text(CURVES)
    module = fresh_module(replace(recipe, tta=views))
    export.export(module, data, tmp_path)
    session = open_session(tmp_path / "model.onnx")
    faces = np.random.default_rng(0).normal(size=(3, 1, 48, 48)).astype(np.float32)
    (logits,) = session.run(["logits"], {"face": faces})
    (mirrored,) = session.run(["logits"], {"face": faces[..., ::-1].copy()})
    np.testing.assert_allclose(mirrored, logits, atol=1e-4)
    with torch.inference_mode():
        one = module.network(torch.from_numpy(faces)).numpy()
        several = averaged(module.network, torch.from_numpy(faces), views).logits.numpy()
    np.testing.assert_allclose(logits, several, atol=export.TOLERANCE)
    assert np.abs(logits - one).max() > 3 * export.TOLERANCE
