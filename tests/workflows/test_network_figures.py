import importlib.util

import cv2
import numpy as np
import pytest
import torch

from affectlens import BadData, BadSetting, MissingExtra, plot
from affectlens.evaluation.plots import COLOURS
from affectlens.models.emotion_gcn import weighted_edges
from affectlens.training import insights, run

LABELS = ("calm", "excited", "odd")
SMALL = {"size_px": 16, "eye_distance": 0.0, "pretrained": False}
REGRESSION = {"backbone": "breg_next", "affect": "regression", "fusion": "classic"}


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """Ten faces of each class but the second."""
    folder = tmp_path_factory.mktemp("faces")
    rng = np.random.default_rng(0)
    lines = ["path,expression,split", *(f"{i}.png,{LABELS[2 * (i % 2)]},test" for i in range(20))]
    for number in range(20):
        cv2.imwrite(str(folder / f"{number}.png"), rng.integers(0, 256, (16, 16), dtype=np.uint8))
    (folder / "faces.csv").write_text("\n".join(lines))
    return f"table:{folder / 'faces.csv'}"


@pytest.fixture(scope="module")
def single(untrained, tmp_path_factory):
    """A run that classifies."""
    options = {"model_options": {"backbone": "breg_next"}, **SMALL}
    return untrained(tmp_path_factory.mktemp("runs") / "single", LABELS, "antoniadis/t3.1-baseline", **options)


@pytest.fixture
def first_numbers(monkeypatch):
    """The first two features in the place of their UMAP."""
    monkeypatch.setattr("affectlens.workflows.network_figures._umap", lambda vectors, seed: vectors[:, :2])


def large_marks(axes):
    return [line for line in axes.lines if line.get_markeredgewidth() > 1 and len(line.get_xdata())]


def test_features_of_a_run_without_learned_centres_have_the_means_of_their_classes(
    faces, single, first_numbers, monkeypatch
):
    seen = []
    original = insights.features
    monkeypatch.setattr(insights, "features", lambda *given: seen.append(original(*given)) or seen[-1])
    figure = plot("features", faces, [single])
    ((vectors, _),) = seen
    marks = large_marks(figure.axes[0])
    for place, mark in enumerate(marks):
        np.testing.assert_allclose(mark.get_xydata()[0], vectors[place::2, :2].mean(axis=0), rtol=1e-5)
    assert len(marks) == 2


def test_features_have_the_sub_centres_that_the_run_has_learned_for_the_classes_of_the_data(
    faces, untrained, first_numbers, tmp_path
):
    """The run has other classes in another order, two sub-centres of each."""
    options = {"model_options": {"backbone": "breg_next"}, **SMALL}
    trained = untrained(tmp_path / "run", LABELS[::-1], "antoniadis/t4.1-subclass-margin-2", **options)
    module = run.load_run(trained)
    points = np.arange(6 * module.network.feature_width, dtype=np.float32).reshape(6, -1)
    np.savez(trained / "losses.npz", **{"local_subclass.centres.points": points, "focal.alpha": np.ones(3)})
    assert run.load_centres(trained, 3).shape == (3, 2, module.network.feature_width)
    figure = plot("features", faces, [trained])
    (texts,) = [[text.get_text() for text in legend.get_texts()] for legend in figure.legends]
    assert texts == ["calm", "odd", "learned centre"]
    calm, odd = large_marks(figure.axes[0])
    assert (calm.get_marker(), odd.get_marker()) == ("s", "s")
    assert (calm.get_color(), odd.get_color()) == COLOURS[:2]
    np.testing.assert_array_equal(calm.get_xydata(), points[4:, :2])
    np.testing.assert_array_equal(odd.get_xydata(), points[:2, :2])


def test_learned_centres_need_a_class_of_the_data(faces, untrained, first_numbers, tmp_path, monkeypatch):
    options = {"model_options": {"backbone": "breg_next"}, **SMALL}
    trained = untrained(tmp_path / "run", ("glad", "sad"), "antoniadis/t4.1-subclass-margin-2", **options)
    points = np.zeros((4, run.load_run(trained).network.feature_width), dtype=np.float32)
    np.savez(trained / "losses.npz", **{"local_subclass.centres.points": points})
    monkeypatch.setattr(insights, "features", lambda *_: pytest.fail("features were computed"))
    with pytest.raises(BadData, match="learned centres of glad, sad, but the data have faces of calm, odd"):
        plot("features", faces, [trained])


def test_the_map_of_features_names_its_extra_before_anything_is_read(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "umap" else found(name))
    with pytest.raises(MissingExtra, match=r"the map of features .*affectlens\[features\]"):
        plot("features", "ferplus:nowhere", ["nowhere"])


def test_landscapes_of_one_recipe_have_the_names_of_their_runs(faces, single, untrained, tmp_path, monkeypatch):
    surface = np.arange(1, 10, dtype=np.float32).reshape(3, 3)
    monkeypatch.setattr("affectlens.training.landscape.landscape", lambda *_: surface)
    options = {"model_options": {"backbone": "breg_next"}, **SMALL}
    other = untrained(tmp_path / "other", LABELS, "antoniadis/t3.1-baseline", **options)
    with pytest.raises(BadSetting, match="the same model is given twice"):
        plot("landscape", faces, [single, single, single], points=3)
    monkeypatch.chdir(tmp_path)
    figure = plot("landscape", faces, [single, "other"], points=3)
    assert "other (5.00 at +)" in [axes.get_title() for axes in figure.axes]
    assert other.is_dir()


def test_runs_whose_losses_learn_no_centres_have_none(tmp_path):
    assert run.load_centres(tmp_path, 3) is None
    np.savez(tmp_path / "losses.npz", **{"focal.alpha": np.ones(3)})
    assert run.load_centres(tmp_path, 3) is None


def test_single_task_networks_count_as_one_and_stand_beside_joint_ones(single, untrained, tmp_path):
    affect = {"model_options": REGRESSION | {"expressions": False}, **SMALL}
    regressor = untrained(tmp_path / "affect", LABELS, "antoniadis/t6.3-single", **affect)
    joint = untrained(tmp_path / "joint", LABELS, "antoniadis/t6.1-ccc", model_options=REGRESSION, **SMALL)
    figure = plot("similarity", models=[single, regressor, joint])
    assert [axes.get_title().splitlines()[:-1] for axes in figure.axes] == [
        ["t3.1-baseline", "+ t6.3-single"],
        ["t6.1-ccc"],
    ]
    classifiers, regressors = (insights.heads(run.load_run(one), LABELS).vectors for one in (single, regressor))
    expected = insights.cosine_similarity(np.concatenate([classifiers, regressors]))[:3, 3:]
    np.testing.assert_allclose(figure.axes[0].images[0].get_array(), expected, atol=1e-6)
    (axes,) = plot("similarity", models=[single, regressor]).axes
    assert axes.images[0].get_array().shape == (5, 5)
    with pytest.raises(BadSetting, match="the same model is given twice"):
        plot("similarity", models=[joint, joint])
    with pytest.raises(BadSetting, match=r"t3\.1-baseline has calm, excited, odd"):
        plot("similarity", models=[single, joint])


@pytest.mark.parametrize("transposed", [True, False])
def test_the_adjacency_is_drawn_as_the_network_multiplies_by_it(untrained, tmp_path, transposed):
    options = {"backbone": "breg_next", "layers": 1, "transposed": transposed}
    trained = untrained(tmp_path / "run", LABELS, "antoniadis/t6.5-breg-next-gcn", model_options=options, **SMALL)
    weights = weighted_edges(np.triu(np.ones((5, 5))) * (1 - np.eye(5)), 0.5, 0.7)  # not symmetric
    checkpoint = torch.load(run.best_checkpoint(trained), weights_only=True)
    checkpoint["state_dict"]["network.adjacency"] = torch.from_numpy(weights)
    torch.save(checkpoint, run.best_checkpoint(trained))
    (axes,) = plot("adjacency", models=[trained]).axes
    drawn = np.asarray(axes.images[0].get_array())
    np.testing.assert_array_equal(drawn, weights.T if transposed else weights)
    network = run.load_run(trained).network
    start = (network.words @ network.convolutions[0].weight).detach().numpy()
    np.testing.assert_allclose(drawn @ start, network.head_vectors().detach().numpy(), rtol=1e-5, atol=1e-6)
    assert [label.get_text() for label in axes.get_yticklabels()] == [*LABELS, "valence", "arousal"]
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("node", "takes from, with this weight")


def test_focal_losses_are_drawn_for_several_gamma():
    (axes,) = plot("focal-loss").axes
    middle = {round(float(np.interp(0.5, *line.get_data())) / np.log(2), 3) for line in axes.lines}
    assert middle == {1.0, 0.707, 0.5, 0.25, 0.031}
