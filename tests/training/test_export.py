import json

import numpy as np
import pytest
import torch

from affectlens.core.errors import BadModelFile
from affectlens.core.probabilities import softmax
from affectlens.core.session import open_session, read_spec
from affectlens.evaluation import metrics
from affectlens.training import export
from affectlens.training.module import ExpressionModule, predict


class Unexportable(torch.nn.Module):
    def forward(self, x):
        raise RuntimeError("no graph")


def fresh_module(recipe, seed=0):
    torch.manual_seed(seed)
    module = ExpressionModule(recipe, 8, 0)
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(layer.weight, 0.5, 1.5)
    module.network(torch.randn(16, 1, 48, 48))
    return module.eval()


@pytest.fixture(scope="module")
def exported(recipe, data, tmp_path_factory):
    """A module, the spec that export returned, and the file."""
    module = fresh_module(recipe)
    out = tmp_path_factory.mktemp("export")
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


def test_provenance_says_where_the_weights_come_from(exported, recipe):
    provenance = exported[1].provenance
    assert provenance["data"] == "ferplus"
    assert provenance["train_faces"] == 64
    assert provenance["train_faces_left_out_as_twins"] == 3
    assert provenance["settings"]["learning_rate"] == recipe.learning_rate
    assert provenance["validation"]["faces"] == 36
    assert {"torch", "commit"} <= set(provenance["versions"])


def test_calibration_is_that_of_validation(exported, recipe, data):
    module, spec, _ = exported
    scored = data.valid.keep(data.valid.targets >= 0)
    (logits,) = predict(module, scored, recipe.input_spec())
    assert spec.temperature > 0
    assert spec.temperature == pytest.approx(metrics.fit_temperature(logits, scored.targets), abs=1e-4)
    assert 0 <= spec.uncertain_below <= 1
    figures = metrics.summary(softmax(logits, spec.temperature), scored.targets, scored.labels, spec.uncertain_below)
    assert spec.provenance["validation"]["accuracy"] == pytest.approx(figures["accuracy"])


def test_calibration_lies_beside_the_model(exported):
    _, spec, file = exported
    metrics = json.loads((file.parent / "metrics.json").read_text())
    assert (metrics["temperature"], metrics["uncertain_below"]) == (spec.temperature, spec.uncertain_below)
    assert metrics["figures"] == spec.provenance["validation"]


def test_the_file_gives_the_logits_of_torch(exported, data):
    module, _, file = exported
    assert export.check_parity(module, file, data.valid) <= export.TOLERANCE


def test_another_network_fails_the_parity_check(exported, recipe, data):
    with pytest.raises(BadModelFile, match="differs from torch"):
        export.check_parity(fresh_module(recipe, seed=1), exported[2], data.valid)


@pytest.mark.parametrize("batch", [1, 3])
def test_the_batch_is_free(exported, batch):
    face = np.zeros((batch, 1, 48, 48), dtype=np.float32)
    (logits,) = open_session(exported[2]).run(["logits"], {"face": face})
    assert logits.shape == (batch, 8)


def test_the_file_stands_alone_and_stores_its_weights_in_half(exported):
    module, _, file = exported
    assert sorted(path.name for path in file.parent.iterdir()) == ["metrics.json", "model.onnx"]
    parameters = sum(weight.numel() for weight in module.parameters())
    overhead = len(exported[1].model_dump_json()) + 20_000
    assert file.stat().st_size < 2.2 * parameters + overhead


def test_an_export_that_is_not_what_torch_computes_leaves_the_file_that_was_there(recipe, data, tmp_path, monkeypatch):
    (tmp_path / "model.onnx").write_bytes(b"the model before")
    other = fresh_module(recipe, seed=1).network
    write = export.write
    monkeypatch.setattr(export, "write", lambda network, spec, file: write(other, spec, file))
    with pytest.raises(BadModelFile, match="differs from torch"):
        export.export(fresh_module(recipe), data, tmp_path)
    assert (tmp_path / "model.onnx").read_bytes() == b"the model before"
    assert not (tmp_path / "model.partial").exists()
