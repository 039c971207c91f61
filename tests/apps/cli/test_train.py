import json
import sys

import pytest

from affectlens import Analyzer


@pytest.mark.parametrize("missing", ["lightning", "torch"])
def test_without_its_extra_training_is_one_line_that_names_it(cli, monkeypatch, tmp_path, missing):
    monkeypatch.setitem(sys.modules, "lightning", sys)
    monkeypatch.setitem(sys.modules, missing, None)
    result = cli("train", "default", "--data", f"ferplus:{tmp_path}")
    assert (result.code, result.out) == (1, "")
    assert len(result.errors) == 1
    assert "pip install 'affectlens[train]'" in result.err


SHORT = [f"--set={setting}" for setting in ("epochs=1", "batch_size=2", "precision=32-true")]


@pytest.fixture
def ferplus(make_ferplus, tmp_path):
    return f"ferplus:{make_ferplus(tmp_path / 'ferplus')}"


def test_a_run_leaves_a_folder_with_a_model_that_analyzes(cli, ferplus, tmp_path, portrait):
    result = cli("train", "default", "--data", ferplus, "--out", tmp_path / "run", *SHORT)
    assert (result.code, result.err) == (0, "")
    assert {"recipe.json", "versions.json", "curves.csv", "checkpoints", "metrics.json", "model.onnx"} == {
        file.name for file in (tmp_path / "run").iterdir()
    }
    assert json.loads((tmp_path / "run" / "recipe.json").read_text())["epochs"] == 1
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert f"temperature {metrics['temperature']}" in result.out
    analyzer = Analyzer(tmp_path / "run" / "model.onnx")
    assert analyzer.spec.recipe == "default/ferplus"
    assert analyzer.spec.temperature == metrics["temperature"]
    assert len(analyzer.analyze(portrait).faces) == 1


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("epoch=3", "did you mean 'epochs'?"),
        ("work=mine", "cannot be set"),
        ("learning_rate=nan", "finite"),
        ("momentum=2", "momentum"),
        ("size_px=5000", "size_px"),
        ("mean=0.4,0.5,0.6", "one per channel"),
        ("model=compact_resnt", "did you mean 'compact_resnet'?"),
        ("data=affectnet", "is for 'affectnet', got 'ferplus'"),
    ],
)
def test_a_recipe_that_cannot_be_trained_is_one_line_and_leaves_no_folder(cli, ferplus, tmp_path, setting, named):
    result = cli("train", "default", "--data", ferplus, "--out", tmp_path / "run", "--set", setting)
    assert result.code == 1
    assert len(result.errors) == 1
    assert result.err.startswith("error: ")
    assert named in result.err
    assert not (tmp_path / "run").exists()
