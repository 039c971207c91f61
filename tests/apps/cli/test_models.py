import hashlib
import json

import pytest

from affectlens.core.expressions import FERPLUS
from affectlens.core.session import model_file
from affectlens.runtime.media import PORTRAIT


def test_the_model_file_shows_what_it_is_as_json(cli):
    result = cli("models", "show", "bundled")
    facts = json.loads(result.out)
    file = model_file("bundled")
    assert (result.code, result.err) == (0, "")
    assert facts["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert facts["bytes"] == file.stat().st_size
    assert facts["labels"] == list(FERPLUS)
    assert {"file", "name", "input", "temperature", "uncertain_below", "recipe", "provenance", "licence"} <= set(facts)
    lines = result.out.splitlines()
    assert len(lines) < 60
    assert lines[5] == f'  "labels": {json.dumps(facts["labels"])},'
    assert f'    "seed": {facts["provenance"]["seed"]},' in lines


def test_the_model_file_keeps_within_its_size():
    assert model_file("bundled").stat().st_size <= 12 * 2**20


def test_a_model_of_ones_own_is_shown_by_its_file(cli, write_model, tmp_path):
    facts = json.loads(cli("models", "show", write_model(tmp_path / "tiny.onnx")).out)
    assert (facts["file"], facts["name"], facts["labels"]) == ("tiny.onnx", "tiny", ["calm", "excited"])


def test_labels_of_others_control_no_terminal(cli, write_model, tmp_path):
    labels = ["\x1b]0;pwn\x07", "\x9b2J", "\u202egpj été"]
    made = write_model(tmp_path / "tiny.onnx", labels, bias=(0.0,) * 3, slope=(1.0,) * 3)
    result = cli("models", "show", made)
    assert (result.code, len(result.errors)) == (1, 1)
    assert r"a name must not contain control characters, got '\x1b]0;pwn\x07'" in result.err


def test_texts_of_others_control_no_terminal(cli, write_model, tmp_path):
    licence = "\x1b]0;pwn\x07 \x9b2J \u202egpj été"
    result = cli("models", "show", write_model(tmp_path / "tiny.onnx", metadata={"licence": licence}))
    assert json.loads(result.out)["licence"] == licence
    assert not any(one in result.out for one in "\x1b\x07\x9b\u202e")
    assert "été" in result.out


@pytest.mark.parametrize("file", ["nowhere.onnx", str(PORTRAIT)])
def test_what_is_no_model_is_one_line(cli, file):
    result = cli("models", "show", file)
    assert (result.code, result.out) == (1, "")
    assert len(result.errors) == 1
    assert file in result.err


def test_metadata_that_does_not_hold_is_one_line_that_names_the_field(cli, write_model, tmp_path):
    result = cli("models", "show", write_model(tmp_path / "tiny.onnx", metadata={"temperature": -1}))
    assert result.code == 1
    assert len(result.errors) == 1
    assert "temperature" in result.err
