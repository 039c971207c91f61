import inspect
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from affectlens.core import catalog
from affectlens.core.errors import BadModelFile
from affectlens.core.measures import View
from affectlens.core.outputs import OUTPUTS, sectors
from affectlens.core.session import open_session, outputs_of, read_spec, run_model
from affectlens.data.table import FaceTable
from affectlens.evaluation import metrics
from affectlens.losses.va_divisions import sector

NAMES = ("Bald", "5_o_Clock_Shadow", "Smiling")


def table(**known):
    labels = ("happiness", "sadness")
    faces = (("a", "b"), np.zeros((2, 8, 8), np.uint8), np.zeros((2, 2), np.float32), np.full(2, -1))
    return FaceTable(*faces, labels, **{name: np.array(value, np.float32) for name, value in known.items()})


def seen(name, *numbers):
    """A face of which an output says these numbers."""
    nothing = np.full((5, 2), np.nan, dtype=np.float32)
    outputs = {name: np.array(numbers, dtype=np.float32)}
    return View(np.zeros((8, 8), np.uint8), np.zeros(4, np.float32), nothing, (8, 8), None, outputs)


@pytest.mark.parametrize("name", OUTPUTS)
def test_what_an_entry_names_is_there(name):
    output = OUTPUTS[name]
    assert output.name == name
    assert output.loss in catalog.available("losses")
    source = inspect.getsource(catalog.load("losses", output.loss))
    assert f"{name}: Tensor, {output.target}: Tensor" in source  # the loss takes the answer and the truth
    assert set(output.fields) < {part.name for part in fields(FaceTable)}
    assert bool(output.metric) == bool(output.metric_name)
    assert not output.metric or callable(getattr(metrics, output.metric))


def test_figures_have_names_of_their_own():
    figures = [output.metric_name for output in OUTPUTS.values() if output.metric_name]
    assert figures == ["ccc", "attribute_accuracy", "division_accuracy"]


def test_what_is_said_is_held_to_its_range():
    raw = np.array([[-300, 0.5], [0, 300]], dtype=np.float32)
    np.testing.assert_array_equal(OUTPUTS["affect"].decode(raw), [[-1, 0.5], [0, 1]])
    for name in ("attributes", "divisions", "mask"):
        said = OUTPUTS[name].decode(raw)
        assert said.dtype == np.float32
        np.testing.assert_allclose(said, [[0, 1 / (1 + np.exp(-0.5))], [0.5, 1]], atol=1e-6)
    np.testing.assert_allclose(OUTPUTS["divisions"].decode(np.zeros((1, 8), np.float32)), [[1 / 8] * 8])


def test_truth_is_side_by_side_and_in_the_order_that_is_asked_for():
    faces = table(valence=[0.5, np.nan], arousal=[-0.5, 0.25], attributes=[[1, 0, np.nan], [0, 1, 1]])
    np.testing.assert_array_equal(OUTPUTS["affect"].truth(faces), np.array([[0.5, -0.5], [np.nan, 0.25]], np.float32))
    named = replace(faces, attribute_names=NAMES)
    for given, names, expected in (
        (faces, NAMES, [[1, 0, np.nan], [0, 1, 1]]),
        (named, (), [[1, 0, np.nan], [0, 1, 1]]),
        (named, ("Smiling", "Young", "Bald"), [[np.nan, np.nan, 1], [1, np.nan, 0]]),
    ):
        np.testing.assert_array_equal(OUTPUTS["attributes"].truth(given, names), expected)


def test_a_face_is_known_by_all_of_valence_and_arousal_or_by_any_attribute():
    truth = np.array([[1, np.nan], [0, 0], [np.nan, np.nan]])
    assert OUTPUTS["affect"].known(truth).tolist() == [False, True, False]
    assert OUTPUTS["attributes"].known(truth).tolist() == [True, True, False]
    for output in OUTPUTS.values():
        assert output.known(truth[:, :0]).tolist() == [False] * 3


def test_an_attribute_is_a_column():
    measure = OUTPUTS["attributes"].measure(NAMES)
    header = ["attribute_bald", "attribute_5_o_clock_shadow", "attribute_smiling"]
    assert [column.name for column in measure.columns] == header
    assert measure.columns[2].path == ("face", "measures", "attributes", "attribute_smiling")
    assert measure.columns[2].meaning == "probability of the attribute `Smiling`"
    assert measure.measure(seen("attributes", 0.25, 0.5, 0.75)) == dict(zip(header, (0.25, 0.5, 0.75), strict=True))
    assert OUTPUTS["affect"].measure(("valence", "arousal")) is None


def test_columns_are_known_again_by_their_header():
    header = ["source", "attribute_smiling", "va_sector", "attribute_0", "smiling"]
    found = [column.name for output in OUTPUTS.values() for column in output.columns_in(header)]
    assert found == ["attribute_smiling", "attribute_0", "va_sector"]


@pytest.mark.parametrize("number", [4, 8, 12])
def test_sectors_are_those_that_the_loss_learns(number):
    affect = np.random.default_rng(number).uniform(-1, 1, (200, 2)).astype(np.float32)
    np.testing.assert_array_equal(sectors(affect, number), sector(torch.from_numpy(affect), number))
    grid = np.stack(np.meshgrid(*[np.arange(-100, 101) / 100] * 2), axis=-1).reshape(-1, 2).astype(np.float32)
    np.testing.assert_array_equal(sectors(grid, number), sector(torch.from_numpy(grid), number))


def test_a_face_on_the_border_of_two_sectors_is_in_the_second():
    axes = np.array([(0.3, 0), (0, 0.3), (-0.3, 0), (0, -0.3)], dtype=np.float32)
    diagonals = np.array([(0.3, 0.3), (-0.3, 0.3), (-0.3, -0.3), (0.3, -0.3)], dtype=np.float32)
    assert sectors(axes, 4).tolist() == [0, 1, 2, 3]
    assert sectors(axes, 12).tolist() == [0, 3, 6, 9]
    assert sectors(np.stack([axes, diagonals], axis=1).reshape(-1, 2), 8).tolist() == list(range(8))


@pytest.mark.parametrize(
    ("numbers", "place"),
    [((0.1, 0.2, 0.6, 0.1), 2), ((0.9, 0.6), 0), ((0.4, 0.6), 1), ((0.4, 0.1), 2), ((0.9, 0.1), 3)],
)
def test_the_likeliest_sector_or_the_quarter_of_two_signs(numbers, place):
    measure = OUTPUTS["divisions"].measure(("0", "1"))
    assert measure.measure(seen("divisions", *numbers)) == {"va_sector": place}


def test_a_file_without_names_counts_them(write_model, tmp_path):
    given = {"attributes": [0, 2.0, -2.0], "affect": [0.5, -2.0], "strange": [1.0]}
    for names in ({}, {"attributes": NAMES}):
        session = open_session(write_model(tmp_path / "tiny.onnx", metadata={"output_names": names}, outputs=given))
        found = outputs_of(session, read_spec(session, "tiny.onnx"))
        assert found == {"attributes": names.get("attributes", ("0", "1", "2")), "affect": ("valence", "arousal")}
    answers = run_model(session, np.zeros((2, 1, 8, 8), np.float32))
    np.testing.assert_array_equal(answers.affect, [[0.5, -1]] * 2)
    np.testing.assert_allclose(answers.others["attributes"], [[0.5, 0.8808, 0.1192]] * 2, atol=1e-4)
    assert run_model(session, np.zeros((1, 1, 8, 8), np.float32), leave_out={"attributes"}).others.keys() == {"affect"}


@pytest.mark.parametrize(
    ("outputs", "names", "message"),
    [
        ({"affect": [0.0]}, {}, "'affect' .*, expected valence and arousal"),
        ({"attributes": [0.0]}, {"attributes": NAMES}, "'attributes' .*, expected the 3 values named in its metadata"),
    ],
)
def test_a_file_with_another_number_than_it_names_is_refused(write_model, tmp_path, outputs, names, message):
    file = write_model(tmp_path / "tiny.onnx", metadata={"output_names": names}, outputs=outputs)
    with pytest.raises(BadModelFile, match=message):
        read_spec(open_session(file), "tiny.onnx")
