import json

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from affectlens.core.errors import BadModelFile, BadSetting
from affectlens.core.session import METADATA_KEY, ModelSpec, open_session, read_spec
from affectlens.core.session import model_file as file_of

SPEC = {
    "name": "tiny",
    "labels": ["happiness", "sadness"],
    "input": {
        "size_px": 16,
        "channels": "gray",
        "mean": [0.5],
        "std": [0.25],
        "rotate": False,
        "margin": 1.0,
        "shift_y": 0.0,
    },
    "temperature": 1.5,
    "uncertain_below": 0.4,
    "recipe": "default/tiny",
    "provenance": {"seed": 0},
    "licence": "Apache-2.0",
}


def tiny_model(metadata=None):
    """A model that doubles its (N, 2) input."""
    rows = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2]) for name in ("face", "logits")]
    graph = helper.make_graph([helper.make_node("Add", ["face", "face"], ["logits"])], "tiny", rows[:1], rows[1:])
    model = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17)])
    if metadata is not None:
        helper.set_model_props(model, {METADATA_KEY: metadata})
    return model


@pytest.fixture
def model_file(tmp_path):
    def write(metadata=None):
        file = tmp_path / "tiny.onnx"
        onnx.save(tiny_model(metadata), file)
        return file

    return write


def refusal(act):
    """The message of the BadModelFile that `act` raises; it must be one line."""
    with pytest.raises(BadModelFile) as error:
        act()
    message = str(error.value)
    assert "\n" not in message
    return message


def test_a_model_file_opens_and_runs_for_any_batch(model_file):
    session = open_session(model_file(), threads=1)
    for rows in (1, 3):
        face = np.arange(2 * rows, dtype=np.float32).reshape(rows, 2)
        np.testing.assert_array_equal(session.run(None, {"face": face})[0], face * 2)


def test_the_number_of_threads_is_kept(model_file):
    assert open_session(model_file(), threads=1).get_session_options().intra_op_num_threads == 1


def test_a_negative_number_of_threads_is_refused(model_file):
    with pytest.raises(BadSetting, match=r"threads must be >= 0 .*, got -1"):
        open_session(model_file(), threads=-1)


def test_a_missing_file_is_named(tmp_path):
    file = tmp_path / "none.onnx"
    assert refusal(lambda: open_session(file)) == (
        f"the model file '{file}' does not exist; 'bundled' is the model in the package"
    )


def test_a_run_that_is_not_finished_is_no_missing_file(tmp_path):
    (tmp_path / "recipe.json").touch()
    said = refusal(lambda: open_session(tmp_path / "model.onnx"))
    assert said == f"the run in '{tmp_path}' is not finished: it has no model.onnx; resume the run"
    said = refusal(lambda: open_session(tmp_path / "modell.onnx"))
    assert said.startswith(f"the model file '{tmp_path / 'modell.onnx'}' does not exist")


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x07" + bytes(range(256))])
def test_a_file_that_is_no_model_is_named(tmp_path, content):
    file = tmp_path / "picture.onnx"
    file.write_bytes(content)
    assert str(file) in refusal(lambda: open_session(file))


def test_metadata_reads_back(model_file):
    spec = read_spec(open_session(model_file(json.dumps(SPEC))), "tiny.onnx")
    assert spec == ModelSpec.model_validate(SPEC)
    assert spec.labels == ("happiness", "sadness")


def test_a_model_without_metadata_is_refused(model_file):
    file = model_file()
    message = refusal(lambda: read_spec(open_session(file), str(file)))
    assert message == f"'{file}' has no 'affectlens' metadata; export it with affectlens"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"temperature": 0}, "temperature"),
        ({"labels": ["happiness"]}, "labels"),
        ({"uncertain_below": 1.5}, "uncertain_below"),
        ({"licence": None}, "licence"),
        ({"colour": "blue"}, "colour"),
        ({"input": SPEC["input"] | {"channels": "cmyk"}}, "input.channels"),
        ({"input": {}}, "input.size_px"),
    ],
)
def test_bad_metadata_names_the_file_and_the_field(model_file, changes, field):
    file = model_file(json.dumps(SPEC | changes))
    message = refusal(lambda: read_spec(open_session(file), str(file)))
    assert message.startswith(f"metadata of '{file}': {field}: ")


@pytest.mark.parametrize("text", ["", "{", "null", "[]"])
def test_metadata_that_is_no_object_is_refused_in_one_line(model_file, text):
    file = model_file(text)
    message = refusal(lambda: read_spec(open_session(file), str(file)))
    assert str(file) in message
    assert ": :" not in message


def test_metadata_that_are_not_text_are_refused_in_one_line(model_file):
    file = model_file(json.dumps(SPEC))
    file.write_bytes(file.read_bytes().replace(b"default/tiny", b"default\xff\xfeiny"))
    assert "the metadata of 'x' are damaged: they are not encoded in UTF-8" in refusal(
        lambda: read_spec(open_session(file), "x")
    )


def test_the_model_file_lies_in_the_package():
    assert file_of("bundled").parent.name == "weights"
    assert file_of("bundled").suffix == ".onnx"


def test_a_folder_stands_for_the_model_in_it(tmp_path):
    assert file_of(tmp_path) == tmp_path / "model.onnx"
    with pytest.raises(BadModelFile, match=r"model.onnx' does not exist"):
        open_session(file_of(tmp_path))


def test_a_device_that_onnxruntime_does_not_know_is_refused():
    with pytest.raises(BadSetting, match="device must be cpu or cuda, got 'tpu'"):
        open_session(file_of("bundled"), device="tpu")
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        with pytest.raises(BadSetting, match="does not support the device 'cuda'; install onnxruntime-gpu instead"):
            open_session(file_of("bundled"), device="cuda")
