import json

import pytest

pytest.importorskip("torch")


@pytest.fixture
def run(cli, make_ferplus, tmp_path):
    """A run folder of one epoch and its data."""
    data = f"ferplus:{make_ferplus(tmp_path / 'ferplus')}"
    small = ("--set", "epochs=1", "--set", "model_options.widths=32,32,32,32", "--set", "model_options.depths=1,1,1,1")
    assert cli("train", "default", "--data", data, "--out", tmp_path / "run", *small).code == 0
    return tmp_path / "run", data


@pytest.mark.slow
def test_a_run_in_eight_bits_analyzes(cli, run, tmp_path, monkeypatch):
    from affectlens.training import quantise

    monkeypatch.setattr(quantise, "_in_turns", lambda *_: (0.9, 0.3))
    monkeypatch.setattr(quantise, "MAX_ACCURACY_LOSS", 1.0)
    folder, data = run
    file = tmp_path / "made" / "eight.onnx"
    result = cli("quantise", folder, "--data", data, "--out", file)
    assert (result.code, result.err) == (0, "")
    assert "one face, one thread: 0.90 ms -> 0.30 ms" in result.out
    assert file.stat().st_size < 0.7 * (folder / "model.onnx").stat().st_size
    assert "quantised" in json.loads(cli("models", "show", file).out)["provenance"]
    portrait = cli("analyze", "--model", file, "--detector", "whole", tmp_path / "ferplus/FER2013Test/fer0.png")
    assert portrait.code == 0


@pytest.mark.parametrize(
    ("model", "name", "said"),
    [("nothing.onnx", "a.onnx", "does not exist"), ("bundled", "a.txt", "must end in .onnx")],
)
def test_mistakes_are_one_line(cli, make_ferplus, tmp_path, model, name, said):
    data = f"ferplus:{make_ferplus(tmp_path / 'ferplus')}"
    result = cli("quantise", model, "--data", data, "--out", tmp_path / name)
    assert result.code == 1
    assert len(result.errors) == 1
    assert said in result.err
