import numpy as np
import pytest

from affectlens import Analyzer
from affectlens.core.model_outputs import ModelOutputs
from affectlens.runtime.draw import draw_explanations
from affectlens.runtime.explain import explanations

CROP = np.full((40, 32, 3), 90, dtype=np.uint8)


def refuse(crops):
    raise AssertionError("the model was asked again")


def test_evidence_is_that_of_the_top_label_and_only_what_speaks_for_it():
    maps = np.zeros((1, 3, 2, 2), dtype=np.float32)
    maps[0, 1] = [[4, 0], [0, -4]]
    (found,) = explanations([CROP], ModelOutputs(np.array([[0, 2, 1]], dtype=np.float32), explanation=maps), refuse)
    assert (found.method, found.heat.shape) == ("evidence", (40, 32))
    assert found.heat.max() == 1
    assert found.heat[10, 8] > 0.98
    assert found.heat[30, 24] < 0.05
    assert found.crop is CROP


@pytest.mark.parametrize(("start", "row", "column"), [(0.5, 10, 8), (0.0, 0, 0)])
def test_places_lie_where_the_model_says_and_spread_around_it(start, row, column):
    maps = np.zeros((1, 3, 2, 2), dtype=np.float32)
    maps[0, 0, 0, 0] = 2
    answers = ModelOutputs(np.array([[2, 0, 0]], dtype=np.float32), explanation=maps)
    (found,) = explanations([CROP], answers, refuse, start)
    at = np.unravel_index(found.heat.argmax(), found.heat.shape)
    assert abs(at[0] - row) <= 1
    assert abs(at[1] - column) <= 1
    assert found.heat[row + 10, column] == pytest.approx(np.exp(-0.5), abs=0.06)  # half a place is one deviation


def test_attention_begins_at_its_lowest():
    maps = np.array([[[[0.2, 0.2], [0.2, 0.4]]]], dtype=np.float32)
    (found,) = explanations([CROP], ModelOutputs(np.zeros((1, 3), dtype=np.float32), explanation=maps), refuse)
    assert found.method == "attention"
    assert found.heat[10, 8] < 0.05
    assert found.heat[30, 24] > 0.98


def test_without_a_map_places_are_covered_one_by_one():
    """A model whose answer is the brightness of the lower right quarter."""
    bright = CROP.copy()
    bright[20:, 16:] = 250

    def ask(crops):
        light = np.array([crop[20:, 16:].mean() for crop in crops], dtype=np.float32)
        return ModelOutputs(np.stack([light, light * 0], axis=1))

    (found,) = explanations([bright], ask([bright]), ask)
    assert found.method == "occlusion"
    assert found.heat[25:35, 20:28].min() > 0.5
    assert found.heat[:16, :12].max() < 0.05


def test_a_model_that_sees_nothing_gives_no_heat():
    answers = ModelOutputs(np.zeros((1, 2), dtype=np.float32), explanation=np.zeros((1, 2, 3, 3), dtype=np.float32))
    (found,) = explanations([CROP], answers, refuse)
    assert not found.heat.any()


def test_an_analyzer_explains_every_face_if_it_is_asked_to(portrait):
    plain, explaining = Analyzer().analyze(portrait), Analyzer(explain=True).analyze(portrait)
    assert [face.explanation for face in plain.faces] == [None]
    (face,) = explaining.faces
    assert face.explanation.method == "evidence"
    assert face.probabilities == plain.faces[0].probabilities
    heat = face.explanation.heat
    assert heat[len(heat) // 2 :].mean() > 1.5 * heat[: len(heat) // 2].mean()  # a smile is in the lower half


def test_other_models_are_explained_too(write_model, tmp_path, portrait):
    (face,) = Analyzer(write_model(tmp_path / "tiny.onnx"), explain=True).analyze(portrait).faces
    assert face.explanation.method == "occlusion"
    assert 0 <= face.explanation.heat.min() <= face.explanation.heat.max() <= 1


def test_evidence_of_the_bundled_model_adds_up_to_its_logits(analyzer, portrait):
    from affectlens.core.session import model_file, open_session, run_model

    faces = np.random.default_rng(0).normal(size=(3, 1, 48, 48)).astype(np.float32)
    found = run_model(open_session(model_file("bundled")), faces, explain=True)
    rest = found.logits - found.explanation.sum(axis=(2, 3))
    np.testing.assert_allclose(rest, np.broadcast_to(rest[0], rest.shape), atol=1e-4)  # the biases of the last layer


@pytest.mark.parametrize("faces", [1, 3])
def test_the_picture_has_a_row_for_each_face(make_face, faces):
    (seen,) = explanations(
        [CROP], ModelOutputs(np.eye(2, dtype=np.float32)[:1], explanation=np.ones((1, 2, 2, 2))), refuse
    )
    picture = draw_explanations([make_face(explanation=seen)] * faces + [make_face()])
    assert picture.shape == (faces * 240 + (faces - 1) * 8, 240 + 8 + 240 + 260, 3)
    assert picture.dtype == np.uint8
