from dataclasses import replace

import numpy as np
import pytest
import torch

from affectlens.core.errors import AffectLensError, BadModelFile, BadSetting
from affectlens.core.expressions import FERPLUS
from affectlens.core.session import ModelSpec, model_file, open_session, read_spec
from affectlens.training import export
from affectlens.training.module import ExpressionModule
from affectlens.training.recipe import find
from affectlens.training.run import best_checkpoint, open_run
from affectlens.training.start import begin, load_pretrained, start_from

EIGHT_BITS = 0.3
"""What the rounding of activations, which training does not do, may change in a logit of the bundled file."""


@pytest.fixture(scope="module")
def bundled():
    """The logits of the bundled file and a recipe that starts from it."""
    session = open_session(model_file("bundled"))
    return lambda batch: session.run(None, {"face": batch.numpy()})[0], find("finetune")


def network_of(recipe, labels=FERPLUS, seed=1):
    """A fresh network, whose weights are those of `seed`."""
    torch.manual_seed(seed)
    return ExpressionModule(recipe, len(labels)).network


def started(recipe, labels=FERPLUS, seed=1):
    network = network_of(recipe, labels, seed)
    start_from(network, recipe, labels)
    return network


def exercised(recipe, labels=FERPLUS):
    """A network in evaluation mode whose norms have statistics and weights of their own."""
    network = network_of(recipe, labels, seed=0)
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(layer.weight, 0.5, 1.5)
            torch.nn.init.uniform_(layer.bias, -0.5, 0.5)
    network.train()(faces(8))
    return network.eval()


def exported(network, recipe, file, labels=FERPLUS):
    spec = ModelSpec(
        name="mine",
        labels=labels,
        input=recipe.input_spec(),
        temperature=1.0,
        uncertain_below=0.0,
        recipe=recipe.name,
        provenance={},
        licence="none",
    )
    export.write(network, spec, file)
    return file


@pytest.mark.slow
def test_a_network_for_attributes_goes_on_with_all_of_its_outputs(recipe, tmp_path):
    settings = {"model": "attributes", "model_options": {"backbone": "small"}, "size_px": 28, "channels": "rgb"}
    celeba = replace(recipe, **settings, mean=(0.5,) * 3, std=(0.5,) * 3)
    labels = ("not_smiling", "smiling")
    network = network_of(celeba, labels, seed=0)
    open_run(celeba, labels, {}, tmp_path / "run", resume=False)
    best_checkpoint(tmp_path / "run").parent.mkdir()
    state = {f"network.{key}": value for key, value in network.state_dict().items()}
    torch.save({"state_dict": state}, best_checkpoint(tmp_path / "run"))
    found = started(replace(celeba, start_from=str(tmp_path / "run")), labels)
    torch.testing.assert_close(found.head.weight, network.head.weight)
    options = {"backbone": "small", "landmarks": "none"}
    next_stage = replace(
        celeba, model="two_stream", model_options=options, pretrained=True, pretrained_file=str(tmp_path / "run")
    )
    stream = network_of(next_stage, seed=5)
    assert begin(stream, next_stage, FERPLUS, fresh=True) == ""
    torch.testing.assert_close(stream.backbone.state_dict(), network.backbone.state_dict())


def faces(count=12):
    """Random normalised faces."""
    return torch.randn(count, 1, 48, 48, generator=torch.Generator().manual_seed(0))


def logits(network, batch):
    with torch.inference_mode():
        return network.eval()(batch).numpy()


def test_the_bundled_weights_compute_what_the_bundled_file_does(bundled):
    answer, recipe = bundled
    batch = faces(32)
    assert np.abs(answer(batch)).max() > 1
    assert np.abs(logits(network_of(recipe), batch) - answer(batch)).max() > 0.5
    assert np.abs(logits(started(recipe), batch) - answer(batch)).max() < EIGHT_BITS


def test_labels_in_another_order_take_their_rows_with_them(bundled):
    answer, recipe = bundled
    batch = faces()
    got = logits(started(recipe, FERPLUS[::-1]), batch)
    assert np.abs(got - answer(batch)[:, ::-1]).max() < EIGHT_BITS


def test_new_labels_keep_their_fresh_rows_and_known_ones_are_taken_over(bundled):
    answer, recipe = bundled
    labels = ("bored", "happiness", "keen", "anger")
    network, fresh, batch = started(recipe, labels), network_of(recipe, labels), faces()
    head, new = network.state_dict()["head.weight"], fresh.state_dict()["head.weight"]
    torch.testing.assert_close(head[[0, 2]], new[[0, 2]], rtol=0, atol=0)
    known = [FERPLUS.index(label) for label in ("happiness", "anger")]
    assert np.abs(logits(network, batch)[:, [1, 3]] - answer(batch)[:, known]).max() < EIGHT_BITS


def test_the_mode_of_the_network_stays_as_it_was(bundled):
    _, recipe = bundled
    network = network_of(recipe).train()
    start_from(network, recipe, FERPLUS)
    assert network.training
    assert all(module.training for module in network.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_training_may_go_on_from_there(bundled):
    _, recipe = bundled
    network = started(recipe).train()
    network(faces(4)).sum().backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in network.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("model", ["compact_resnet", "deep_emotion"])
def test_an_exported_file_gives_its_network_back(recipe, tmp_path, model):
    recipe = recipe if model == recipe.model else replace(recipe, model=model, model_options={})
    network = exercised(recipe)
    file = exported(network, recipe, tmp_path / "mine.onnx")
    again = started(replace(recipe, start_from=str(file)))
    assert np.abs(logits(again, faces()) - logits(network, faces())).max() < 0.01


@pytest.mark.slow
def test_an_exported_file_that_hides_its_weights_is_refused_rather_than_read_wrongly(recipe, tmp_path):
    recipe = replace(recipe, model="deep_emotion", model_options={"stn": True})
    network = exercised(recipe)
    file = exported(network, recipe, tmp_path / "mine.onnx")
    with pytest.raises(BadModelFile, match=r"mine\.onnx' has no folded bias for 'conv4'"):
        started(replace(recipe, start_from=str(file)))


def run_of(network, recipe, folder, labels=FERPLUS):
    """A run folder whose best weights are those of `network`."""
    open_run(recipe, labels, {}, folder, resume=False)
    best_checkpoint(folder).parent.mkdir()
    module = ExpressionModule(recipe, len(labels))
    module.network.load_state_dict(network.state_dict())
    torch.save({"state_dict": module.state_dict()}, best_checkpoint(folder))
    return folder


@pytest.fixture
def run(recipe, tmp_path):
    """A run folder and its network."""
    network = exercised(recipe)
    return run_of(network, recipe, tmp_path / "run"), network


def test_a_run_folder_gives_its_weights(recipe, run):
    folder, network = run
    again = started(replace(recipe, start_from=str(folder)))
    torch.testing.assert_close(again.state_dict(), network.state_dict(), rtol=0, atol=0)
    fewer = started(replace(recipe, start_from=str(folder)), ("sadness", "bored"))
    torch.testing.assert_close(fewer.state_dict()["head.weight"][0], network.state_dict()["head.weight"][3])


def test_a_run_folder_gives_its_backbone_to_a_network_with_other_outputs(tmp_path):
    first = replace(find("antoniadis/t6.1-single"), model_options={"backbone": "breg_next"}, pretrained=False)
    trained = network_of(first, ("happy", "sad"), seed=0)
    folder = run_of(trained, first, tmp_path / "run", ("happy", "sad"))
    options = {"backbone": "breg_next", "affect": "regression"}
    recipe = replace(first, model_options=options, pretrained=True, pretrained_file=str(folder))
    network = network_of(recipe)
    load_pretrained(network, recipe)
    torch.testing.assert_close(network.backbone.state_dict(), trained.backbone.state_dict(), rtol=0, atol=0)
    assert network.classifier.weight.shape[0] == len(FERPLUS)
    gray = replace(recipe, channels="gray", mean=(0.5,), std=(0.5,))
    with pytest.raises(BadModelFile, match="do not fit: size mismatch for"):
        load_pretrained(network_of(gray), gray)


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("multi_task", {"affect": "regression"}),
        ("multi_task", {"affect": "twelve", "fusion": "concatenate"}),
        ("emotion_gcn", {}),
    ],
)
def test_networks_of_several_tasks_go_on_whole(model, options, tmp_path):
    settings = {"model": model, "model_options": {"backbone": "breg_next", **options}, "pretrained": False}
    recipe = replace(find("antoniadis/t6.1-single"), **settings)
    trained = network_of(recipe, seed=0)
    folder = run_of(trained, recipe, tmp_path / "run")
    again = started(replace(recipe, start_from=str(folder)))
    torch.testing.assert_close(again.state_dict(), trained.state_dict(), rtol=0, atol=0)
    backwards = FERPLUS[::-1]
    if model == "emotion_gcn":
        with pytest.raises(BadSetting, match="the labels must be neutral"):
            started(replace(recipe, start_from=str(folder)), backwards)
        return
    turned = started(replace(recipe, start_from=str(folder)), backwards)
    expected = {**trained.state_dict()}
    expected |= {key: value.flip(0) for key, value in expected.items() if key.startswith("classifier.")}
    torch.testing.assert_close(turned.state_dict(), expected, rtol=0, atol=0)


def test_a_network_without_a_backbone_gives_none(recipe, run, tmp_path):
    folder, trained = run
    plain = replace(recipe, model="deep_emotion", model_options={})
    wanting = replace(plain, pretrained=True, pretrained_file=str(folder))
    with pytest.raises(BadSetting, match="the model 'deep_emotion' has no separate backbone"):
        load_pretrained(network_of(wanting), wanting)
    open_run(plain, FERPLUS, {}, tmp_path / "plain", resume=False)
    best_checkpoint(tmp_path / "plain").parent.mkdir()
    state = {f"network.{key}": value for key, value in network_of(plain).state_dict().items()}
    torch.save({"state_dict": state}, best_checkpoint(tmp_path / "plain"))
    other = replace(recipe, pretrained=True, pretrained_file=str(tmp_path / "plain"))
    with pytest.raises(BadSetting, match=r"the network in '.*plain' has no separate backbone"):
        load_pretrained(network_of(other), other)
    whole = replace(recipe, pretrained=True, pretrained_file=str(folder))
    load_pretrained(network := network_of(whole), whole)
    torch.testing.assert_close(network.backbone.state_dict(), trained.backbone.state_dict())


def test_a_tilde_stands_for_the_home_folder(recipe, run, monkeypatch):
    folder, network = run
    monkeypatch.setenv("HOME", str(folder.parent))
    again = started(replace(recipe, start_from="~/run"))
    torch.testing.assert_close(again.state_dict(), network.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "deep_emotion", "model_options": {}},
        {"model_options": {"widths": (8, 16, 16, 32), "depths": (1, 1, 1, 1)}},
        {"model_options": {"widths": (8, 16, 16, 16), "depths": (1, 1, 1, 2)}},
        {"channels": "rgb", "mean": (0.5,) * 3, "std": (0.25,) * 3},
    ],
    ids=["model", "widths", "depths", "channels"],
)
@pytest.mark.parametrize("start", ["bundled", "run"])
def test_weights_of_another_architecture_are_refused(recipe, run, start, changes):
    start = "bundled" if start == "bundled" else str(run[0])
    other = replace(recipe, **changes, start_from=start)
    network = network_of(other)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises((BadSetting, BadModelFile)) as error:
        start_from(network, other, FERPLUS)
    message = str(error.value)
    assert "does not match" in message or "export it again" in message
    assert len(message.splitlines()) == 1
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere", "does not exist"),
        ("nowhere.onnx", "does not exist"),
        ("empty", "is not a run folder"),
        ("junk.onnx", "is not an ONNX model, or it is damaged"),
        ("best.ckpt", "is not an ONNX model, or it is damaged"),
    ],
)
def test_what_is_no_start_is_one_line(recipe, tmp_path, name, said):
    (tmp_path / "empty").mkdir()
    for junk in ("junk.onnx", "best.ckpt"):
        (tmp_path / junk).write_text("junk")
    with pytest.raises(BadModelFile, match=said) as error:
        started(replace(recipe, start_from=str(tmp_path / name)))
    assert name in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_a_model_that_affectlens_did_not_export_is_one_line(recipe, tmp_path, write_model):
    file = write_model(tmp_path / "tiny.onnx")
    assert read_spec(open_session(file), "tiny").labels == ("calm", "excited")
    with pytest.raises(AffectLensError, match=r"tiny\.onnx") as error:
        started(replace(recipe, start_from=str(file)))
    assert len(str(error.value).splitlines()) == 1
