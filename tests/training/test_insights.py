from dataclasses import replace

import numpy as np
import pytest
import torch

from affectlens.core.errors import BadSetting
from affectlens.core.preprocessing import to_input
from affectlens.models.layers.mobile_facenet import MobileFaceNet
from affectlens.training import insights
from affectlens.training.module import ExpressionModule

LABELS = tuple("abcdefgh")


def module_of(recipe, model, **options):
    torch.manual_seed(0)
    changed = replace(recipe, model=model, model_options={"backbone": "breg_next", **options}, size_px=16)
    return ExpressionModule(changed, 8).eval()


def test_features_are_what_the_answers_are_read_from(recipe, data):
    module = module_of(recipe, "multi_task")
    vectors, rows = insights.features(module, data.valid)
    assert rows.tolist() == list(range(40))
    faces = torch.from_numpy(to_input(list(data.valid.images), module.recipe.input_spec()))
    with torch.inference_mode():
        logits = module.network.classifier(torch.from_numpy(vectors))
        torch.testing.assert_close(logits, module(faces).logits, atol=1e-4, rtol=1e-4)


def test_a_network_without_named_features_gives_what_its_last_layer_sees(recipe, data):
    torch.manual_seed(0)
    module = ExpressionModule(recipe, 8).eval()
    vectors, _ = insights.features(module, data.valid)
    faces = torch.from_numpy(to_input(list(data.valid.images), recipe.input_spec()))
    with torch.inference_mode():
        logits = module.network.head(torch.from_numpy(vectors))
        torch.testing.assert_close(logits, module(faces).logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("model", "options", "names"),
    [
        ("multi_task", {}, LABELS),
        ("multi_task", {"affect": "eight"}, LABELS),
        ("multi_task", {"affect": "regression", "fusion": "concatenate"}, (*LABELS, "valence", "arousal")),
        ("emotion_gcn", {}, (*LABELS, "valence", "arousal")),
    ],
)
def test_heads_are_the_vectors_that_features_are_multiplied_with(recipe, data, model, options, names):
    module = module_of(recipe, model, **options)
    heads = insights.heads(module, LABELS)
    vectors = heads.vectors
    assert heads.names == names
    seen, _ = insights.features(module, data.valid)
    faces = torch.from_numpy(to_input(list(data.valid.images), module.recipe.input_spec()))
    with torch.inference_mode():
        answer = module(faces)
    if model == "emotion_gcn":
        np.testing.assert_allclose(seen @ vectors[:8].T, answer.logits, atol=1e-3, rtol=1e-3)
        np.testing.assert_allclose(seen @ vectors[8:].T, answer.others["affect"], atol=1e-3, rtol=1e-3)
    elif "affect" not in answer.others:
        expected = seen @ vectors.T + module.network.classifier.bias.detach().numpy()
        np.testing.assert_allclose(expected, answer.logits, atol=1e-3, rtol=1e-3)
    else:
        expected = seen @ vectors[8:].T + module.network.regressor.bias.detach().numpy()
        np.testing.assert_allclose(expected, answer.others["affect"], atol=1e-3, rtol=1e-3)


def test_the_gate_stands_between_what_comes_before_and_after_it(recipe, data):
    torch.manual_seed(0)
    module = ExpressionModule(replace(recipe, model="swin_se", model_options={}, size_px=32), 8).eval()
    before, after, rows = insights.around_the_gate(module, data.valid)
    assert rows.tolist() == list(range(40))
    with torch.inference_mode():
        np.testing.assert_allclose(module.network.gate(torch.from_numpy(before)), after)
    np.testing.assert_allclose(insights.features(module, data.valid)[0], after, atol=1e-5)
    with pytest.raises(BadSetting, match="'compact_resnet' with these options has no squeeze-and-excitation gate"):
        insights.around_the_gate(ExpressionModule(recipe, 8), data.valid)


def test_landmarks_are_in_pixels_of_each_face(tmp_path):
    network = MobileFaceNet().eval()
    torch.nn.init.zeros_(network.output_layer.bn.weight)  # the same landmarks for every face
    torch.nn.init.constant_(network.output_layer.bn.bias, 0.25)
    torch.save({"state_dict": {f"module.{key}": value for key, value in network.state_dict().items()}}, tmp_path / "m")
    faces = [np.zeros((40, 80, 3), dtype=np.uint8), np.zeros((20, 20), dtype=np.uint8)]
    first, second = insights.landmarks(tmp_path / "m", faces)
    np.testing.assert_array_equal(first, np.tile([20, 10], (68, 1)))
    np.testing.assert_array_equal(second, np.full((68, 2), 5))


def test_the_graph_and_who_has_one(recipe):
    graph, names = insights.adjacency(module_of(recipe, "emotion_gcn"), LABELS)
    assert (graph.shape, names[-2:]) == ((10, 10), ("valence", "arousal"))
    with pytest.raises(BadSetting, match="'multi_task' has no graph"):
        insights.adjacency(module_of(recipe, "multi_task"), LABELS)
    with pytest.raises(BadSetting, match="the model 'compact_resnet' has no classifiers on a common feature vector"):
        insights.heads(ExpressionModule(recipe, 8), LABELS)


def test_cosines():
    vectors = np.array([[3, 0], [0, 2], [1, 1], [0, 0]], dtype=np.float32)
    half = np.sqrt(0.5)
    expected = [[1, 0, half, 0], [0, 1, half, 0], [half, half, 1, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(insights.cosine_similarity(vectors), expected, atol=1e-6)


def test_a_classifier_and_the_regressor_after_it_are_joined(recipe):
    alone = insights.heads(module_of(recipe, "multi_task"), LABELS)
    affect = insights.heads(module_of(recipe, "multi_task", affect="regression", expressions=False), LABELS)
    both = insights.heads(module_of(recipe, "multi_task", affect="regression"), LABELS)
    assert affect.names == ("valence", "arousal")
    assert [heads.runs for heads in insights.single_tasks_joined([alone, affect, both])] == [2, 1]
    joined, last = insights.single_tasks_joined([alone, affect, both])
    assert joined.names == last.names == (*LABELS, "valence", "arousal")
    np.testing.assert_array_equal(joined.vectors, np.concatenate([alone.vectors, affect.vectors]))
    assert len(insights.single_tasks_joined([affect, alone])) == len(insights.single_tasks_joined([both, affect])) == 2
    wide = replace(affect, vectors=np.ones((2, 5), dtype=np.float32))
    with pytest.raises(BadSetting, match="has 5; they cannot be compared"):
        insights.single_tasks_joined([alone, wide])


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_losses_are_those_of_the_probability_of_the_true_class(gamma):
    p = np.array([0.1, 0.5, 0.9])
    np.testing.assert_allclose(insights.focal_loss(p, gamma), -((1 - p) ** gamma) * np.log(p), rtol=1e-6)
