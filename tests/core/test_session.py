import json

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from affectlens.core import session as sessions
from affectlens.core.checksums import with_checksum
from affectlens.core.errors import BadAnswer, BadModelFile, BadSetting, UnreadableMedia
from affectlens.core.messages import reason_of
from affectlens.core.outputs import AFFECT
from affectlens.core.reasons import Reason
from affectlens.core.session import EXPLANATION, METADATA_KEY, ModelSpec, open_session, read_spec, run_model
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


def test_a_flipped_byte_of_an_exported_model_is_noticed(tmp_path):
    file = tmp_path / "model.onnx"
    file.write_bytes(with_checksum(tiny_model(json.dumps(SPEC)).SerializeToString()))
    assert read_spec(open_session(file), "tiny.onnx").temperature == 1.5
    content = file.read_bytes().replace(b'"temperature": 1.5', b'"temperature": 1.7')
    file.write_bytes(content)
    assert refusal(lambda: open_session(file)).startswith(f"'{file}' is damaged, or was changed after its export: ")


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
        ({"temperature": 1e-308}, "temperature"),
        ({"temperature": float("inf")}, "temperature"),
        ({"labels": ["happiness"]}, "labels"),
        ({"labels": ["", "sadness"]}, "labels"),
        ({"labels": [" ", "sadness"]}, "labels"),
        ({"labels": ["sadness", "Sadness"]}, "labels"),
        ({"labels": ["x" * 1_000_000, "sadness"]}, "labels"),
        ({"labels": ["\x1b[31mred\r\n", "sadness"]}, "labels"),
        ({"labels": [f"label {i}" for i in range(100_000)]}, "labels"),
        ({"output_names": {"attributes": ["smiling", "smiling"]}}, "output_names.attributes"),
        ({"name": ""}, "name"),
        ({"name": "\x1b]0;title\x07"}, "name"),
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
    assert message.isprintable()
    assert len(message) < 500


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


# What models answer

ONE, TWO = np.zeros((1, 2), dtype=np.float32), np.ones((2, 2), dtype=np.float32)
FLOAT, INT, BOOL, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL, TensorProto.STRING


@pytest.fixture
def network(tmp_path):
    """Opens a network of these nodes with an input "face" (N, 2) and an output "logits"."""

    def build(*nodes, inputs=(("face", FLOAT, ["n", 2]),), outputs=(("logits", FLOAT, ["rows", 2]),), **numbers):
        described = [[helper.make_tensor_value_info(*one) for one in ends] for ends in (inputs, outputs)]
        stored = [numpy_helper.from_array(np.array(value), name) for name, value in numbers.items()]
        model = helper.make_model(
            helper.make_graph(nodes, "network", *described, stored),
            ir_version=9,
            opset_imports=[helper.make_opsetid("", 17)],
        )
        helper.set_model_props(model, {METADATA_KEY: json.dumps(SPEC)})
        onnx.save(model, tmp_path / "network.onnx")
        return open_session(tmp_path / "network.onnx")

    return build


def node(kind, sources, targets, **attributes):
    return helper.make_node(kind, sources.split(), targets.split(), **attributes)


def failure(act):
    """What `act` raises makes of a row; it concerns this row only."""
    with pytest.raises(BadAnswer) as error:
        act()
    reason, detail = reason_of(error.value)
    assert reason == Reason.FAILED
    return detail


def test_answers_that_are_not_finite_are_none(network):
    session = network(node("Div", "face face", "logits"))
    np.testing.assert_array_equal(run_model(session, TWO).logits, TWO)
    said = failure(lambda: run_model(session, ONE))
    assert said == "the model answered 1 face with numbers that are not finite in its output 'logits'"


@pytest.mark.parametrize("name", [AFFECT, EXPLANATION])
def test_further_answers_that_are_not_finite_are_none_either(network, name):
    shape = ["n", 2] if name == AFFECT else ["n", 1, 1, 2]
    session = network(
        node("Identity", "face", "logits"),
        node("Unsqueeze", "face axes", "map") if name == EXPLANATION else node("Identity", "face", "map"),
        node("Reciprocal", "map", name),
        outputs=(("logits", FLOAT, ["n", 2]), (name, FLOAT, shape)),
        axes=[1, 2],
    )
    run_model(session, TWO, explain=True)
    said = failure(lambda: run_model(session, ONE, explain=True))
    assert said == f"the model answered 1 face with numbers that are not finite in its output '{name}'"


@pytest.mark.parametrize(
    ("kind", "sources", "said"),
    [
        ("Slice", "face zero zero zero", "0 rows for 2 faces"),
        ("Slice", "face zero one zero", "1 row for 2 faces"),
        ("Concat", "face face", "4 rows for 2 faces"),
    ],
)
def test_a_model_answers_one_row_for_each_face(network, kind, sources, said):
    attributes = {"axis": 0} if kind == "Concat" else {}
    session = network(node(kind, sources, "logits", **attributes), zero=[0], one=[1])
    assert failure(lambda: run_model(session, TWO)) == f"the model answered {said} in its output 'logits'"


def test_a_row_is_as_long_as_the_file_says(network):
    places = node("NonZero", "face", "places")  # (2, 4) of two faces without a zero
    session = network(places, node("Cast", "places", "logits", to=FLOAT))
    said = failure(lambda: run_model(session, TWO))
    assert said == "the model answered the shape (2, 4) in its output 'logits', expected (2, 2)"


@pytest.mark.parametrize("kind", [INT, BOOL, STRING])
def test_logits_are_floating_point(network, kind):
    session = network(node("Cast", "face", "logits", to=kind), outputs=(("logits", kind, ["n", 2]),))
    assert "the output 'logits' of 'a.onnx' must be floating point" in refusal(lambda: read_spec(session, "a.onnx"))


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ((("face", FLOAT, ["n", 2]), ("more", FLOAT, ["n", 2])), "one input of type tensor(float), got 'face'"),
        ((("face", TensorProto.DOUBLE, ["n", 2]),), "one input of type tensor(float), got 'face': tensor(double)"),
        ((("face", FLOAT, [1, 2]),), "any number of faces; its input has the shape [1, 2]"),
    ],
)
def test_a_model_takes_faces_and_any_number_of_them(network, inputs, said):
    nodes = [node("Cast", "face", "cast", to=FLOAT), node("Add", f"cast {inputs[-1][0]}", "logits")]
    if inputs[0][1] != FLOAT:
        nodes[1] = node("Identity", "cast", "logits")
    session = network(*nodes, inputs=inputs)
    assert said in refusal(lambda: read_spec(session, "a.onnx"))


def test_an_endless_model_is_ended(network, monkeypatch, capfd):
    monkeypatch.setattr(sessions, "MAX_CALL_S", 0.5)
    ends = [[("i", INT, []), ("go", BOOL, []), ("old", FLOAT, ["n", 2])], [("on", BOOL, []), ("new", FLOAT, ["n", 2])]]
    steps = [node("Identity", "go", "on"), node("Add", "old old", "new")]
    body = helper.make_graph(steps, "body", *([helper.make_tensor_value_info(*one) for one in end] for end in ends))
    session = network(helper.make_node("Loop", ["", "true", "face"], ["logits"], body=body), true=True)
    with pytest.raises(UnreadableMedia, match=r"too_slow: the model did not answer within 0\.5 s") as error:
        run_model(session, ONE)
    assert reason_of(error.value)[0] == Reason.TOO_SLOW
    assert capfd.readouterr().err == ""
    with pytest.raises(UnreadableMedia, match=r"within 1 s"):
        run_model(session, np.zeros((9, 2), dtype=np.float32))
    answer = run_model(network(node("Identity", "face", "logits")), TWO)  # others are not ended
    np.testing.assert_array_equal(answer.logits, TWO)
