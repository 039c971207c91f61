"""Heads on frozen features: what a head learns on, and when."""

import contextlib
import gc
import shutil
import weakref
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from affectlens.core.errors import BadData, BadModelFile, BadSetting
from affectlens.core.preprocessing import to_input
from affectlens.core.progress import SILENT
from affectlens.core.session import model_file, open_session, read_spec, run_model
from affectlens.data.images import Images, Stored
from affectlens.models.layers.backbones import BACKBONES
from affectlens.training import features, fit, precision, storage
from affectlens.training.export import export
from affectlens.training.module import ExpressionModule
from affectlens.training.recipe import find
from affectlens.training.run import load_checkpoint
from affectlens.training.start import begin, load_pretrained


@pytest.fixture(scope="module")
def head():
    """A recipe of a head on the features of the bundled model."""
    recipe = find("frozen/t3.1-baseline")
    return replace(recipe, data_options={}, drop_near_duplicates=False, epochs=2, batch_size=16, precision="32-true")


def module_of(recipe, data):
    module = ExpressionModule(recipe, len(data.train.labels))
    begin(module.network, recipe, data.train.labels, fresh=True)
    return module


def test_the_bundled_backbone_has_the_features_of_the_bundled_model(head, data):
    module = module_of(head, data)
    session = open_session(model_file("bundled"))
    outer = ExpressionModule(replace(find("finetune"), start_from="bundled"), 8)
    begin(outer.network, outer.recipe, data.train.labels, fresh=True)
    faces = torch.randn(6, 1, 48, 48)
    with torch.inference_mode():
        embedded = module.network.embed(faces)
        ours = outer.network.head(embedded)
        theirs = torch.from_numpy(run_model(session, faces.numpy()).logits)
    assert embedded.shape == (6, BACKBONES["bundled"].width)
    torch.testing.assert_close(ours, outer.eval()(faces).logits)
    torch.testing.assert_close(ours, theirs, atol=0.3, rtol=0.05)  # the file computes in eight bits


def test_embedded_faces_are_what_the_head_sees_of_the_images(head, data):
    module = module_of(head, data)
    assert features.are_fixed(module)
    train, valid = features.embedded(module, data)
    assert (train.shape, valid.shape) == ((64, 384), (40, 384))
    faces = torch.from_numpy(to_input(list(data.valid.images[[3, 8]]), head.input_spec()))
    with torch.inference_mode():
        torch.testing.assert_close(module.eval().network.embed(faces), valid[[3, 8]], rtol=1e-4, atol=1e-5)
        logits = module.network.answers(valid[[3]]).logits
        torch.testing.assert_close(logits, module(faces[:1]).logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "changes",
    [{"flip": 0.5}, {"blur": 1.0}, {"mixup": 0.2}, {"tta": "flip"}, {"teacher": "bundled"}, {"pretrained": False}],
)
def test_features_are_not_fixed_where_training_changes_them(head, data, changes):
    if "pretrained" in changes:
        changes = {**changes, "pretrained_file": ""}
    assert not features.are_fixed(module_of(replace(head, **changes), data))


@pytest.mark.parametrize("train", ["head", "frozen"])
@pytest.mark.parametrize(("mask", "fixed"), [(False, True), (True, False)])
def test_features_of_a_frozen_backbone_are_fixed_unless_its_map_is_needed(head, data, train, mask, fixed):
    options = {**head.model_options, "train": train, "mask": mask}
    assert features.are_fixed(module_of(replace(head, model_options=options), data)) == fixed


def test_the_next_run_on_the_same_faces_embeds_nothing(head, data, monkeypatch):
    first = features.embedded(module_of(head, data), data)
    counted = []
    monkeypatch.setattr(features, "_of", lambda *arguments: counted.append(1) or torch.zeros(1, 1))
    again = features.embedded(module_of(replace(head, seed=5), data), data)
    assert again[0] is first[0]
    changed = module_of(head, data)
    with torch.no_grad():
        next(changed.network.backbone.parameters()).mul_(2)
    features.embedded(changed, data)
    assert len(counted) == 2
    features.embedded(module_of(head, data), replace(data, valid=data.train))
    assert len(counted) == 4


def test_a_face_that_cannot_be_decoded_is_left_out(head, data, tmp_path):
    entries = [*data.train.images[:63], Stored(tmp_path / "missing.png")]
    broken = replace(data, train=replace(data.train, images=Images(entries)))
    embedded, _ = features.embedded(module_of(head, broken), broken)
    assert torch.isnan(embedded[63]).all()
    assert torch.isfinite(embedded[:63]).all()
    batches = list(fit.train_loader(broken.train, head, embedded=embedded))
    assert sorted(int(row) for batch in batches for row in batch["index"]) == list(range(63))


def test_a_head_learns_and_the_backbone_stays(head, data, tmp_path):
    before = {name: value.clone() for name, value in module_of(head, data).network.backbone.state_dict().items()}
    recipe = replace(head, learning_rate=0.02, losses={"soft_cross_entropy": 1.0})
    checkpoint = fit.fit(recipe, data, tmp_path / "run")
    module = load_checkpoint(recipe, 8, checkpoint)
    assert all(torch.equal(value, before[name]) for name, value in module.network.backbone.state_dict().items())
    fresh = module_of(recipe, data).network.classifier.weight
    assert not torch.allclose(module.network.classifier.weight, fresh)
    spec = export(module, data, tmp_path / "run")
    assert read_spec(open_session(tmp_path / "run" / "model.onnx"), "model").labels == spec.labels


def test_a_run_with_a_frozen_backbone_goes_on_as_if_it_had_not_stopped(head, data, tmp_path):
    whole = fit.fit(replace(head, epochs=3), data, tmp_path / "whole")
    fit.fit(replace(head, epochs=1), data, tmp_path / "parts")
    parts = fit.fit(replace(head, epochs=3), data, tmp_path / "parts", resume=True)
    ours, theirs = (torch.load(file, weights_only=True)["state_dict"] for file in (whole, parts))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def few(data, faces):
    """The same with few faces, all with valence and arousal."""
    affect = np.linspace(-1, 1, 8, dtype=np.float32)
    train, valid = (replace(faces(8, seed=seed), valence=affect, arousal=affect[::-1].copy()) for seed in (1, 2))
    return replace(data, train=train, valid=valid)


def test_two_networks_with_the_same_weights_and_another_last_activation_have_features_of_their_own(head, data, faces):
    """Antoniadis's single network pools DenseNet's map after its last ReLU, Emotion-GCN before it."""
    data, found, weights = few(data, faces), {}, {}
    for model in ("multi_task", "emotion_gcn"):
        options = {"backbone": "densenet121", "train": "head"}
        module = ExpressionModule(replace(head, model=model, model_options=options), 8)
        weights = weights or module.network.backbone.state_dict()
        module.network.backbone.load_state_dict(weights)
        module.network.settle(pretrained=True)
        found[model], _ = features.embedded(module, data)
    assert (found["multi_task"] >= 0).all()
    assert (found["emotion_gcn"] < 0).any()


@pytest.mark.parametrize("model", ["multi_task", "emotion_gcn"])
def test_features_do_not_depend_on_the_options_that_are_said_to_come_after_them(head, model):
    changed = {
        **{"affect": "regression", "fusion": "concatenate", "mask": True, "expressions": False, "train": "full"},
        **{"layers": 3, "tau": 0.5, "share": 0.2, "category_edges": True, "affect_edge": True, "isolated": "rest"},
        **{"transposed": False, "graph": "affectnet", "words": "circumplex"},
    }
    images = torch.randn(2, 1, 48, 48)
    plain = ExpressionModule(replace(head, model=model, model_options={"backbone": "bundled"}), 7).eval().network
    options = {"backbone": "bundled", **{name: changed[name] for name in plain.outer_options}}
    other = ExpressionModule(replace(head, model=model, model_options=options), 7).eval().network
    other.backbone.load_state_dict(plain.backbone.state_dict())
    with torch.inference_mode():
        torch.testing.assert_close(other.embed(images), plain.embed(images), rtol=0, atol=0)


def test_the_faces_of_an_earlier_run_are_not_kept(head, data, faces):
    first, second = few(data, faces), few(data, faces)
    module = module_of(head, first)
    kept = [weakref.ref(table.images) for table in (first.train, first.valid)]
    features.embedded(module, first)
    del first
    features.embedded(module, second)
    gc.collect()
    assert [image() for image in kept] == [None, None]


@pytest.mark.parametrize("fails", [False, True])
def test_the_module_is_on_the_cpu_again_after_it_embedded_on_the_device(head, data, faces, monkeypatch, fails):
    module, moves = module_of(head, data), []
    images = few(data, faces).train.images
    expected = features._of(module, images, SILENT)

    def embed(faces):
        moves.append("embedded")
        if fails:
            raise RuntimeError("out of memory")
        return expected[: len(faces)]

    monkeypatch.setattr(module, "to", lambda device: moves.append(device) or module)
    monkeypatch.setattr(module, "cpu", lambda: moves.append("back") or module)
    monkeypatch.setattr(module.network, "embed", embed)
    with pytest.raises(RuntimeError, match="out of memory") if fails else contextlib.nullcontext():
        assert torch.equal(features._of(module, images, SILENT), expected)
    assert moves == [precision.device(), "embedded", "back"]
    assert module.training


def test_a_new_run_whose_images_cannot_be_decoded_leaves_nothing_behind(head, data, tmp_path):
    gone = Images([Stored(tmp_path / f"{row}.png") for row in range(64)])
    with pytest.raises(BadData, match="cannot decode any of 64 images"):
        fit.fit(head, replace(data, train=replace(data.train, images=gone)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_compile_does_nothing_for_embedded_faces_and_says_so(head, data, tmp_path, monkeypatch):
    class Told(type(SILENT)):
        def message(self, text):
            said.append(text)

    said = []
    monkeypatch.setattr(fit, "_compile", lambda module: pytest.fail("compiled"))
    fit.fit(replace(head, compile=True, epochs=1), data, tmp_path / "run", progress=Told())
    assert "note: compile has no effect on a head that is trained on features computed once" in said


def test_two_rows_of_a_graph_share_the_features(data):
    found = {}
    for row in ("t6.2-layers-1-tau-0", "t6.2-layers-2-tau-0.1"):
        affect = np.linspace(-1, 1, 64, dtype=np.float32)
        described = replace(data, train=replace(data.train, valence=affect, arousal=affect[::-1].copy()))
        recipe = replace(find(f"frozen/{row}"), precision="32-true", pretrained_file="bundled")
        found[row] = features.embedded(module_of(recipe, described), described)[0]
    assert found["t6.2-layers-1-tau-0"] is found["t6.2-layers-2-tau-0.1"]


@pytest.mark.parametrize(
    ("options", "file", "error", "message"),
    [
        ({"backbone": "breg_next"}, "bundled", BadModelFile, "bundled"),
        ({"backbone": "breg_next"}, "", BadSetting, "pretrained_file to a trained model that has this backbone"),
    ],
)
def test_weights_that_do_not_fit_are_refused(head, options, file, error, message):
    recipe = replace(head, model_options=options, pretrained_file=file)
    with pytest.raises(error, match=message):
        load_pretrained(ExpressionModule(recipe, 8).network, recipe)


def test_a_file_that_does_not_say_how_it_is_built_lends_no_backbone(head, tmp_path):
    file = tmp_path / "other.onnx"
    shutil.copy(model_file("bundled"), file)
    model = onnx.load(file)
    described = read_spec(open_session(file), "bundled")
    storage.describe(model, described.model_copy(update={"provenance": {}}))
    onnx.save(model, file)
    recipe = replace(head, pretrained_file=str(file))
    with pytest.raises(BadModelFile, match="does not say how its network is built"):
        load_pretrained(ExpressionModule(recipe, 8).network, recipe)
