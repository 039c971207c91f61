from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from affectlens.core.errors import BadData, BadSetting
from affectlens.core.preprocessing import to_input
from affectlens.core.session import open_session, run_model
from affectlens.training import export, run, svm
from affectlens.training.fit import fit
from affectlens.training.insights import features
from affectlens.training.module import ExpressionModule
from affectlens.training.prediction import predict


@pytest.fixture
def module(recipe):
    torch.manual_seed(0)
    options = {"backbone": "breg_next"}
    made = ExpressionModule(replace(recipe, model="multi_task", model_options=options, size_px=16), 8).eval()
    for weights in made.network.parameters():  # or fresh features differ by parts of a millionth
        torch.nn.init.normal_(weights, std=0.3)
    return made


def test_the_network_answers_what_the_machine_decides(module, data):
    vectors, rows = features(module, data.train)
    labelled = data.train.targets[rows] >= 0
    scaler = StandardScaler().fit(vectors[labelled])
    cost = svm.refit(module, data.train, data.valid)
    machine = LinearSVC(C=cost, class_weight="balanced", dual=False, random_state=0, max_iter=2000)
    machine.fit(scaler.transform(vectors[labelled]), data.train.targets[labelled])
    answers, _ = predict(module, data.valid)
    expected = machine.decision_function(scaler.transform(features(module, data.valid)[0]))
    np.testing.assert_allclose(answers.logits, expected, atol=1e-4)
    assert np.ptp(expected) > 0.5


def test_c_is_the_one_with_the_best_mean_class_accuracy_on_validation(module, data, monkeypatch):
    recalls = iter([0.3, 0.5, 0.5, 0.4])
    monkeypatch.setattr(svm, "macro_recall", lambda *_: next(recalls))
    assert svm.refit(module, data.train, data.valid) == svm.COSTS[1]


def test_of_two_tasks_only_the_features_are_used(recipe, data):
    torch.manual_seed(0)
    options = {"backbone": "breg_next", "affect": "regression", "fusion": "concatenate"}
    module = ExpressionModule(replace(recipe, model="multi_task", model_options=options, size_px=16), 8)
    svm.refit(module, data.train, data.valid)
    weight = module.network.classifier.weight
    assert weight.shape == (8, 128 + 2)
    assert weight[:, :128].abs().sum() > 0
    assert not weight[:, 128:].any()


def test_two_classes_get_two_answers(recipe, data):
    pair = data.train.keep(np.isin(data.train.targets, [0, 1]))
    pair = replace(pair, labels=pair.labels[:2], votes=pair.votes[:, :2])
    torch.manual_seed(0)
    options = {"backbone": "breg_next"}
    module = ExpressionModule(replace(recipe, model="multi_task", model_options=options, size_px=16), 2)
    svm.refit(module, pair, pair)
    answers, rows = predict(module, pair)
    np.testing.assert_allclose(answers.logits[:, 0], -answers.logits[:, 1], atol=1e-4)
    assert (answers.logits.argmax(axis=1) == pair.targets[rows]).mean() > 0.9


@pytest.mark.slow
def test_the_exported_file_answers_what_the_machine_decides(recipe, data, tmp_path, small_networks):
    settings = {"model": "multi_task", "model_options": {"backbone": "breg_next"}, "classifier": "svm", "epochs": 1}
    recipe = replace(recipe, **settings, size_px=16)
    out = tmp_path / "run"
    best = fit(recipe, data, out, resume=False)
    module = run.load_checkpoint(recipe, 8, best)
    before = module.network.classifier.weight.detach().clone()
    svm.refit(module, data.train, data.valid)
    run.save_refitted(module, out)
    export.export(module, data, out)
    machine, _ = predict(run.load_run(out), data.valid)
    assert (run.load_run(out).network.classifier.weight - before).abs().max() > 1e-3
    images = [data.valid.images[row] for row in range(len(data.valid))]
    found = run_model(open_session(out / "model.onnx"), to_input(images, recipe.input_spec()))
    np.testing.assert_allclose(found.logits, machine.logits, atol=0.01)
    assert not [file for file in out.rglob("*") if file.suffix in (".pkl", ".pickle", ".joblib")]


def test_what_it_cannot_do_is_said_before_training(recipe, data, tmp_path):
    with pytest.raises(BadSetting, match="'compact_resnet' has no linear classifier"):
        fit(replace(recipe, classifier="svm"), data, tmp_path / "run", resume=False)
    network = {"model": "multi_task", "model_options": {"backbone": "breg_next"}, "size_px": 16}
    with pytest.raises(BadSetting, match="classifier=svm needs tta=one"):
        fit(replace(recipe, **network, classifier="svm", tta="flip"), data, tmp_path / "run")
    lacking = replace(data, train=data.train.keep(data.train.targets != 0))
    with pytest.raises(BadData, match="needs training faces of every class, but there are none of 'neutral'"):
        fit(replace(recipe, **network, classifier="svm"), lacking, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_it_cannot_do_is_one_line(module, recipe, data):
    with pytest.raises(BadData, match="needs training faces of every class, but there are none of 'neutral'"):
        svm.refit(module, data.train.keep(data.train.targets != 0), data.valid)
    with pytest.raises(BadSetting, match="'compact_resnet' has no linear classifier"):
        svm.refit(ExpressionModule(recipe, 8), data.train, data.valid)
