import cv2
import numpy as np
import pytest

from affectlens import BadData, plot
from affectlens.core.probabilities import softmax
from affectlens.data.table import FaceTable
from affectlens.evaluation.evaluation import Scores
from affectlens.evaluation.plots import COLOURS
from affectlens.workflows.face_figures import contrasting
from affectlens.workflows.scoring import Scored

CALM, EXCITED = "calm", "excited"


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """Eight faces whose expression is their brightness, and four of which the opposite is true."""
    folder = tmp_path_factory.mktemp("faces")
    lines = ["path,expression,split,valence,arousal"]
    for number in range(12):
        bright = number % 2 == 0
        cv2.imwrite(str(folder / f"{number}.png"), np.full((48, 48), 200 + number if bright else 40 + number, np.uint8))
        lines.append(f"{number}.png,{EXCITED if bright == (number < 8) else CALM},test,0.5,-0.25")
    (folder / "faces.csv").write_text("\n".join(lines))
    return f"table:{folder / 'faces.csv'}"


@pytest.fixture(scope="module")
def models(write_model, tmp_path_factory):
    """One that takes bright faces for excited ones, and one that takes them for calm ones."""
    folder = tmp_path_factory.mktemp("models")
    affect = {"outputs": {"affect": [0.1, 0.2]}}
    first = write_model(folder / "first.onnx", bias=(2, -2), metadata={"name": "first"}, **affect)
    second = write_model(folder / "second.onnx", bias=(-2, 2), slope=(4, -4), metadata={"name": "second"}, **affect)
    return [first, second]


def test_two_models_stand_beside_the_truth_of_faces_that_one_of_them_recognises(faces, models):
    figure = plot("samples", faces, models, faces=6)
    assert [axes.get_title() for axes in figure.axes[:4]] == ["", "ground truth", "first", "second"]
    rows = [figure.axes[start : start + 4] for start in range(0, 24, 4)]
    assert len(figure.axes) == 24
    for place, (picture, truth, *answers) in enumerate(rows):
        brightness = int(picture.images[0].get_array().mean())
        number = brightness - (200 if brightness > 100 else 40)
        assert (number >= 8) == (place < 4)  # first what the second model alone recognises
        label = truth.texts[0].get_text().splitlines()[0]
        assert truth.texts[0].get_text().splitlines()[1] == "VA +0.50 -0.25"
        for axes, is_right in zip(answers, (place >= 4, place < 4), strict=True):
            said = axes.texts[0].get_text().splitlines()
            assert said[0].startswith(label) == is_right
            assert said[1] == "VA +0.10 +0.20"
            assert axes.texts[0].get_color() == COLOURS[0 if is_right else 1]


def test_models_that_recognise_the_same_faces_are_not_contrasted(faces, models, write_model, tmp_path):
    same = write_model(tmp_path / "same.onnx", bias=(2, -2), metadata={"name": "same"})
    with pytest.raises(BadData, match="both models recognise the same faces of the split 'test'"):
        plot("samples", faces, [models[0], same])


def scored(right, valence=None):
    """Six faces of class 0, of which the model recognises those in `right`."""
    probabilities = np.array([[0.9, 0.1] if face in right else [0.2, 0.8] for face in range(6)])
    targets = np.zeros(6, dtype=np.int64)
    affect = {}
    if valence is not None:
        affect = {f"{name}_predicted": np.array(valence) for name in ("valence", "arousal")}
        affect |= {"valence_true": np.zeros(6), "arousal_true": np.zeros(6), "va_source": "regressed"}
    images, votes = np.zeros((6, 4, 4), dtype=np.uint8), np.eye(2, dtype=np.float32)[targets]
    table = FaceTable(tuple("abcdef"), images, votes, targets, (CALM, EXCITED))
    return Scored("m", table, Scores((CALM, EXCITED), probabilities, targets, **affect))


def test_faces_with_the_most_similar_valence_and_arousal_come_first():
    first = scored({0, 1, 2}, [0.5, 0.3, 0.1, 0.1, 0.2, 0.3])
    second = scored({3, 4, 5}, [0.0] * 6)
    assert contrasting(first, second, 3).tolist() == [3, 4, 2]
    assert contrasting(first, second, 6).tolist() == [3, 4, 5, 2, 1, 0]
    assert contrasting(scored({0, 1, 2}), second, 3).tolist() == [3, 4, 0]


@pytest.mark.parametrize(("right", "expected"), [(set(), [3, 4, 5]), ({0, 1, 2, 3, 4, 5}, [0, 1, 2])])
def test_where_one_model_is_never_right_alone_the_other_has_all_places(right, expected):
    assert contrasting(scored(right), scored({3, 4, 5}), 3).tolist() == expected


def test_the_scores_of_the_emotion_space_are_those_of_the_probabilities(faces, models):
    below, *pictures = plot("emotion-space", faces, models[:1], faces=3).axes
    assert len(below.lines) == len(pictures) == 3
    for line, picture in zip(below.lines, pictures, strict=True):
        scores = np.array(line.get_ydata())
        assert scores.sum() == pytest.approx(0, abs=1e-6)
        expression, p = picture.get_xlabel().split(" %")[0].rsplit(" ", 1)
        assert expression == [CALM, EXCITED][scores.argmax()]
        assert int(p) == int(100 * softmax(scores[None]).max())
