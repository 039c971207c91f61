import math
import threading
import time
from dataclasses import replace

import lightning as L
import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from affectlens.core.errors import BadData, BadSetting
from affectlens.core.preprocessing import InputSpec, to_input
from affectlens.data.images import Images, Stored
from affectlens.evaluation import metrics
from affectlens.models.layers.outputs import Outputs, as_outputs
from affectlens.training.augment import augment, draws, rows_of_draws
from affectlens.training.fit import FaceData
from affectlens.training.loaders import Ahead, FaceBatches, train_loader, valid_loader, with_images
from affectlens.training.module import ExpressionModule
from affectlens.training.objective import adjustment, dataset_statistics, targets
from affectlens.training.optimisers import optimisers
from affectlens.training.prediction import predict
from affectlens.training.tta import averaged

ALL = np.stack([np.arange(40), np.zeros(40, dtype=np.int64)], axis=1)
"""Picks of every validation face."""


class Diary(L.Callback):
    """Keeps the rows of every training step by epoch, and its learning rate."""

    def __init__(self):
        self.rows = {}
        self.rates = []

    def on_train_batch_start(self, trainer, module, batch, batch_index):
        self.rows.setdefault(trainer.current_epoch, []).extend(batch["index"].tolist())
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])


@pytest.fixture
def module(recipe, data):
    torch.manual_seed(0)
    return ExpressionModule(recipe, len(data.train.labels), dataset_statistics(data.train))


def test_input_spec_takes_its_values_from_the_recipe(recipe):
    spec = recipe.input_spec()
    assert isinstance(spec, InputSpec)
    assert all(getattr(spec, name) == getattr(recipe, name) for name in InputSpec.model_fields)


def test_the_images_of_a_batch_are_normalised_faces(recipe, data):
    batch = with_images(FaceBatches(data.train, recipe)[np.array([[3, 0], [5, 0]])], recipe.input_spec())
    expected = (data.train.images[[3, 5], None] / 255 - recipe.mean[0]) / recipe.std[0]
    np.testing.assert_allclose(batch["image"], expected, atol=1e-5)


@pytest.mark.parametrize("relight", [False, True])
@pytest.mark.parametrize("channels", ["gray", "rgb"])
def test_pixels_are_normalised_on_the_device_to_the_digit_as_everywhere(recipe, data, relight, channels):
    numbers = (0.48, 0.45, 0.4)[: 1 if channels == "gray" else 3]
    changed = replace(recipe, relight=relight, channels=channels, mean=numbers, std=numbers[::-1])
    batch = FaceBatches(data.train, changed)[ALL]
    assert batch["pixels"].dtype == torch.uint8
    expected = to_input(list(data.train.images[: len(ALL)]), changed.input_spec())
    np.testing.assert_array_equal(with_images(batch, changed.input_spec())["image"], expected)


def test_the_next_batches_are_made_while_one_is_used(recipe, data):
    loader, made = train_loader(data.train, recipe), []
    original = loader.dataset.__class__.__getitem__
    loader.dataset.__class__ = type("Watched", (FaceBatches,), {
        "__getitem__": lambda faces, picks: (made.append(len(picks)), original(faces, picks))[1],
    })  # fmt: skip
    batches = iter(loader)
    next(batches)
    deadline = time.monotonic() + 20
    while len(made) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(made) == 4  # one used, three ahead
    batches.close()


def test_an_error_in_a_batch_made_ahead_is_raised_as_it_is(recipe, data, tmp_path):
    entries = [Stored(tmp_path / f"{row}.png") for row in range(64)]
    broken = replace(data.train, images=Images(entries))
    with pytest.raises(BadData, match="cannot decode any of the 16 images of a batch"):
        list(train_loader(broken, recipe))


def test_a_batch_holds_the_rows_and_copies_that_were_asked_for(recipe, data):
    batch = FaceBatches(data.train, recipe)[np.array([[9, 0], [2, 4]])]
    assert batch["pixels"].shape == (2, 48, 48, 1)
    assert batch["index"].tolist() == [9, 2]
    assert batch["copy"].tolist() == [0, 4]
    assert batch["target"].tolist() == [-1, 2]
    np.testing.assert_array_equal(batch["votes"], data.train.votes[[9, 2]])


def test_training_shows_every_face_once_an_epoch_in_a_new_order(recipe, data, module, make_trainer):
    diary = Diary()
    trainer = make_trainer(max_epochs=2, callbacks=[diary])
    trainer.fit(module, train_loader(data.train, recipe), valid_loader(data.valid, recipe))
    assert sorted(diary.rows[0]) == sorted(diary.rows[1]) == list(range(64))
    assert diary.rows[0] != diary.rows[1]


def test_the_learning_rate_rises_to_its_peak_and_falls_to_almost_nothing(recipe, data, module, make_trainer):
    diary = Diary()
    trainer = make_trainer(max_epochs=2, callbacks=[diary])
    trainer.fit(module, train_loader(data.train, recipe), valid_loader(data.valid, recipe))
    assert len(diary.rates) == 8
    assert diary.rates[0] < recipe.learning_rate / 10
    assert 0.9 * recipe.learning_rate < max(diary.rates) <= recipe.learning_rate
    assert diary.rates[-1] < recipe.learning_rate / 1000


def test_norms_and_biases_do_not_decay(recipe, data, module, make_trainer):
    trainer = make_trainer(max_epochs=1)
    trainer.fit(module, train_loader(data.train, recipe), valid_loader(data.valid, recipe))
    decayed, free = trainer.optimizers[0].param_groups
    assert decayed["weight_decay"] == recipe.weight_decay
    assert {weight.ndim for weight in decayed["params"]} == {2, 4}
    assert free["weight_decay"] == 0
    assert {weight.ndim for weight in free["params"]} == {1}


def test_validation_scores_the_faces_with_a_majority_only(recipe, data, module, make_trainer):
    (figures,) = make_trainer().validate(module, valid_loader(data.valid, recipe), verbose=False)
    answers, _ = predict(module, data.valid)
    scored = data.valid.targets >= 0
    logits, target = answers.logits[scored], data.valid.targets[scored]
    assert figures["valid_accuracy"] == pytest.approx(metrics.accuracy(logits.argmax(axis=1), target))
    assert figures["valid_macro_recall"] == pytest.approx(metrics.macro_recall(logits.argmax(axis=1), target, 8))
    assert figures["valid_nll"] == pytest.approx(metrics.negative_log_likelihood(logits, target), rel=1e-4)


def test_the_likelihood_that_selects_has_the_class_frequencies_put_back(recipe, data, module, make_trainer):
    facts = dataset_statistics(data.train)
    adjusted = ExpressionModule(replace(recipe, logit_adjustment=0.5), 8, facts)
    adjusted.network.load_state_dict(module.network.state_dict())
    (figures,) = make_trainer().validate(adjusted, valid_loader(data.valid, recipe), verbose=False)
    answers, _ = predict(adjusted, data.valid)
    scored = data.valid.targets >= 0
    logits, target = answers.logits[scored] + adjustment(0.5, facts).numpy(), data.valid.targets[scored]
    assert figures["valid_nll"] == pytest.approx(metrics.negative_log_likelihood(logits, target), rel=1e-4)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_the_network_sees_what_augmentation_makes_in_full_precision(recipe, data, make_trainer, precision):
    module = ExpressionModule(replace(recipe, precision=precision), 8, dataset_statistics(data.train))
    spec = recipe.input_spec()
    seen, batches = [], [with_images(batch, spec) for batch in train_loader(data.train, recipe)]
    module.network.register_forward_pre_hook(lambda _, images: seen.append(images[0]) if module.training else None)
    trainer = make_trainer(max_epochs=1, precision=precision)
    trainer.fit(module, train_loader(data.train, recipe), valid_loader(data.valid, recipe))
    uniform = draws(len(data.train), recipe.seed, epoch=0)
    for images, batch in zip(seen, batches, strict=True):
        torch.testing.assert_close(images, augment(batch["image"], uniform[batch["index"]], recipe), atol=1e-5, rtol=0)


def test_copies_of_a_face_look_different(recipe, data, make_trainer):
    few = data.train.keep(np.isin(np.arange(64), [0, 1, 8, 16, 24, 32]))  # class 1 once, class 0 five times
    balanced = replace(recipe, sampler="augment", batch_size=10)
    module = ExpressionModule(balanced, 8, dataset_statistics(few))
    seen = []
    module.network.register_forward_pre_hook(lambda _, images: seen.append(images[0]) if module.training else None)
    loader = train_loader(few, balanced)
    (batch,) = list(loader)
    make_trainer(max_epochs=1).fit(module, loader, valid_loader(data.valid, recipe))
    copies = seen[0][batch["index"] == 1].flatten(1)
    assert len(copies) == 5
    assert torch.cdist(copies, copies)[~torch.eye(5, dtype=torch.bool)].min() > 1.0


def votes_batch(votes, target):
    return {"votes": torch.tensor(votes), "target": torch.tensor(target)}


def test_the_target_is_the_votes_or_their_one_label():
    batch = votes_batch([[0.2, 0.5, 0.3], [0.6, 0.4, 0.0], [0.1, 0.3, 0.6]], [1, 1, -1])
    uniform = torch.rand(3, 18)
    assert torch.equal(targets(batch, uniform, "votes"), batch["votes"])
    assert targets(batch, uniform, "label").tolist() == [[0, 1, 0], [0, 1, 0], [0, 0, 1]]
    assert targets(batch, uniform, "label").dtype == batch["votes"].dtype


def test_a_drawn_label_comes_as_often_as_it_has_votes():
    shares = torch.tensor([0.0, 0.5, 0.0, 0.3, 0.2, 0.0])
    count = 20_000
    batch = {"votes": shares.expand(count, -1), "target": torch.full((count,), -1)}
    drawn = targets(batch, draws(count, seed=0, epoch=0), "drawn")
    assert (drawn.sum(dim=1) == 1).all()
    assert ((drawn == 0) | (drawn == 1)).all()
    torch.testing.assert_close(drawn.mean(dim=0), shares, atol=0.015, rtol=0)
    assert not drawn[:, shares == 0].any()


def test_a_drawn_label_is_a_function_of_the_draws_and_changes_with_the_epoch():
    batch = votes_batch([[0.25] * 4] * 200, [-1] * 200)
    first = targets(batch, draws(200, 0, epoch=0), "drawn")
    assert torch.equal(targets(batch, draws(200, 0, epoch=0), "drawn"), first)
    assert 0.5 < (targets(batch, draws(200, 0, epoch=1), "drawn") != first).any(dim=1).float().mean() < 0.95


@pytest.mark.parametrize("extreme", [0.0, 1 - 2**-24])
def test_the_ends_of_the_draws_give_labels_with_votes(extreme):
    uniform = torch.full((2, 18), extreme)
    drawn = targets(votes_batch([[0.0, 0.3, 0.7, 0.0], [0.1] * 3 + [0.7]], [-1, -1]), uniform, "drawn")
    assert drawn.argmax(dim=1).tolist() == ([1, 0] if extreme == 0 else [2, 3])


def test_several_losses_are_added_by_their_weights(recipe, data, monkeypatch):
    (batch,) = list(train_loader(data.train, replace(recipe, batch_size=64)))
    batch = with_images(batch, recipe.input_spec())
    logged = []
    monkeypatch.setattr(ExpressionModule, "log", lambda *_, **__: None)
    monkeypatch.setattr(ExpressionModule, "global_step", 0)
    monkeypatch.setattr(ExpressionModule, "current_epoch", 0)
    for losses in (
        {"soft_cross_entropy": 1.0},
        {"multi_target": 1.0},
        {"soft_cross_entropy": 0.25, "multi_target": 2.0},
        {"soft_cross_entropy": 0.0, "multi_target": 1.0},
    ):
        torch.manual_seed(0)
        module = ExpressionModule(replace(recipe, losses=losses), 8, dataset_statistics(data.train))
        module.on_train_epoch_start()
        logged.append(module.training_step(batch).item())
    assert logged[0] != logged[1]
    assert logged[2] == pytest.approx(0.25 * logged[0] + 2 * logged[1])
    assert logged[3] == pytest.approx(logged[1])


def test_options_of_a_loss_reach_it(recipe, data):
    changed = replace(recipe, loss_options={"soft_cross_entropy": {"temperature": 4.0}})
    losses = ExpressionModule(changed, 8, dataset_statistics(data.train)).losses
    logits, votes = torch.tensor([[4.0, 0.0]]), torch.tensor([[1.0, 0.0]])
    assert losses(Outputs(logits), target=votes)["soft_cross_entropy"].item() == pytest.approx(
        math.log(1 + math.exp(-1))
    )


def test_a_loss_that_needs_more_than_the_network_gives_is_one_line(recipe, data):
    known = replace(data.train, valence=np.zeros(64, np.float32), arousal=np.zeros(64, np.float32))
    losses = ExpressionModule(replace(recipe, losses={"va_mse": 1.0}), 8, dataset_statistics(known)).losses
    with pytest.raises(BadSetting, match="the loss 'va_mse' needs 'affect', which 'compact_resnet' does not provide"):
        losses(Outputs(torch.zeros(1, 8)), target=torch.zeros(1, 8), affect_target=torch.zeros(1, 2))


@pytest.mark.parametrize(
    ("optimiser", "kind"), [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)]
)
def test_the_optimiser_is_the_named_one(recipe, module, optimiser, kind):
    made = optimisers(module.network, replace(recipe, optimiser=optimiser, momentum=0.8, nesterov=False))
    assert type(made) is kind
    assert made.defaults["lr"] == recipe.learning_rate
    if optimiser == "sgd":
        assert (made.defaults["momentum"], made.defaults["nesterov"]) == (0.8, False)


def test_all_weights_decay_if_the_recipe_says_so(recipe, module):
    (group,) = optimisers(module.network, replace(recipe, decay_all=True)).param_groups
    assert group["weight_decay"] == recipe.weight_decay
    assert len(group["params"]) == len(list(module.network.parameters()))


def test_frozen_norms_keep_their_statistics_in_training(recipe, data, make_trainer):
    def statistics(frozen):
        torch.manual_seed(0)
        module = ExpressionModule(replace(recipe, freeze_norms=frozen), 8, dataset_statistics(data.train))
        loaders = train_loader(data.train, recipe), valid_loader(data.valid, recipe)
        make_trainer(max_epochs=2).fit(module, *loaders)
        return module.state_dict()

    frozen, free = statistics(True), statistics(False)
    means = [name for name in frozen if name.endswith("running_mean")]
    assert means
    assert all(not frozen[name].any() for name in means)
    assert all(free[name].any() for name in means)


@pytest.mark.parametrize("views", ["flip", "ten-crop"])
def test_validation_and_prediction_average_the_views_of_the_recipe(recipe, data, module, make_trainer, views):
    several = ExpressionModule(replace(recipe, tta=views), 8, dataset_statistics(data.train))
    several.load_state_dict(module.state_dict())
    one, more = (predict(m, data.valid)[0].logits for m in (module, several))
    assert np.abs(one - more).max() > 1e-3
    images = with_images(FaceBatches(data.valid, recipe)[ALL], recipe.input_spec())["image"]
    with torch.inference_mode():
        np.testing.assert_allclose(more, averaged(module.eval(), images, views).logits, atol=1e-5)
    (figures,) = make_trainer().validate(several, valid_loader(data.valid, recipe), verbose=False)
    scored = data.valid.targets >= 0
    expected = metrics.negative_log_likelihood(more[scored], data.valid.targets[scored])
    assert figures["valid_nll"] == pytest.approx(expected, rel=1e-4)


def test_an_image_that_cannot_be_decoded_is_left_out_of_its_batch_and_named_once(recipe, data, tmp_path, caplog):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    entries = [data.train.images[0], Stored(tmp_path / "bad.png"), data.train.images[2]]
    table = replace(data.train.keep(np.arange(64) < 3), images=Images(entries))
    faces = FaceBatches(table, recipe)
    picks = np.array([[0, 0], [1, 0], [2, 1]])
    for _ in range(2):
        batch = faces[picks]
        assert (batch["index"].tolist(), batch["copy"].tolist()) == ([0, 2], [0, 1])
        assert len(batch["pixels"]) == len(batch["votes"]) == len(batch["target"]) == 2
    assert len([record for record in caplog.records if "bad.png" in record.getMessage()]) == 1
    assert faces[picks[1:2]]["pixels"].shape == (0, 48, 48, 1)
    with pytest.raises(BadData, match="cannot decode any of the 2 images of a batch; the first is '1/1'"):
        faces[picks[[1, 1]]]


def test_embedded_faces_are_readable_unless_all_of_their_features_are_nan(recipe, data):
    embedded = torch.randn(len(data.train), 3)
    embedded[1:3] = torch.nan
    embedded[4, 0], embedded[5, 0] = torch.inf, torch.nan
    faces = FaceBatches(data.train, recipe, embedded=embedded)
    picks = np.stack([np.arange(6), np.zeros(6, dtype=np.int64)], axis=1)
    batch = faces[picks]
    assert batch["index"].tolist() == [0, 3, 4, 5]
    assert torch.equal(batch["embedded"].nan_to_num(), embedded[[0, 3, 4, 5]].nan_to_num())
    assert faces[picks[1:2]]["embedded"].shape == (0, 3)
    with pytest.raises(BadData, match="cannot decode any of the 2 images of a batch; the first is '1/1'"):
        faces[picks[1:3]]


def test_what_a_step_needs_on_the_host_stays_there(recipe, data):
    batch = next(iter(train_loader(data.train, recipe)))
    moved = FaceData(data, recipe, (), None).transfer_batch_to_device(batch, torch.device("meta"), 0)
    on_host = {name for name, value in moved.items() if value.device.type == "cpu"}
    assert (on_host, set(moved)) == ({"index", "copy", "labelled"}, set(batch))
    assert batch["labelled"] == (batch["target"] >= 0).sum() < len(batch["target"])


def test_loading_that_is_broken_off_does_not_make_the_batches_that_wait(data):
    class Slow(Dataset):
        def __getitem__(self, row):
            time.sleep(0.2)
            made.append(row)
            return {"row": torch.tensor(row)}

    made = []
    batches = iter(Ahead(Slow(), batch_size=None, sampler=range(20)))
    assert next(batches)["row"] == 0
    batches.close()
    assert len(made) < 4


def test_batches_are_pinned_for_the_gpu_of_the_process(data, recipe, monkeypatch):
    chosen = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    monkeypatch.setattr(
        torch.cuda, "set_device", lambda device: chosen.append((device, threading.current_thread().name))
    )
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self)
    assert len(list(train_loader(data.train, recipe))) == 4
    assert chosen == [(3, "affectlens-loader_0")]


def test_a_last_validation_batch_of_one_damaged_image_costs_nothing_but_that_image(recipe, data, tmp_path):
    entries = [*(data.valid.images[row % len(data.valid)] for row in range(256)), Stored(tmp_path / "gone.png")]
    rows = np.arange(257) % len(data.valid)
    valid = replace(
        data.valid,
        ids=tuple(map(str, range(257))),
        images=Images(entries),
        **{name: getattr(data.valid, name)[rows] for name in ("votes", "targets", "valence", "arousal", "age_years")},
        landmarks_xy=data.valid.landmarks_xy[rows],
        attributes=data.valid.attributes[rows],
        find_face=data.valid.find_face[rows],
    )
    batches = [with_images(batch, recipe.input_spec()) for batch in valid_loader(valid, recipe)]
    assert [len(batch["image"]) for batch in batches] == [256, 0]
    module = ExpressionModule(recipe, len(valid.labels)).eval()
    with torch.inference_mode():
        for batch in batches:
            module.validation_step(batch)
    assert sum(len(part["logits"]) for part in module._valid) == 256


def test_predictions_cover_the_table_in_its_order(recipe, faces, module):
    table = faces(300, seed=5)
    answers, rows = predict(module, table)
    assert rows.tolist() == list(range(300))
    assert answers.affect is None
    last, _ = predict(module, table.keep(np.arange(300) == 299))
    np.testing.assert_allclose(answers.logits[-1:], last.logits, atol=1e-4)


@pytest.mark.parametrize("setting", ["mixup", "cutmix"])
def test_faces_are_mixed_before_the_network_sees_them(recipe, data, setting, monkeypatch):
    mixed = replace(recipe, **{setting: 1.0})
    module = ExpressionModule(mixed, 8, dataset_statistics(data.train))
    batch = with_images(next(iter(train_loader(data.train, recipe))), recipe.input_spec())
    seen, pictures, logged = [], [], {}
    module.losses.forward = lambda answer, target, **_: seen.append(target) or {"sum": answer.logits.sum()}
    module.network.forward = lambda images: torch.eye(8)[3].expand(len(images), 8)
    module.network.register_forward_pre_hook(lambda _, images: pictures.append(images[0]))
    monkeypatch.setattr(ExpressionModule, "log", lambda _, name, value, **__: logged.update({name: value}))
    monkeypatch.setattr(ExpressionModule, "global_step", 0)
    monkeypatch.setattr(ExpressionModule, "current_epoch", 0)
    module.on_train_epoch_start()
    rows = rows_of_draws(batch["index"], batch["copy"], len(data.train))
    plain = augment(batch["image"], module._uniform[rows], recipe)
    module.training_step(batch)
    assert (pictures[0] - plain).abs().mean() > 0.1
    labelled = batch["target"] >= 0
    assert logged["train_accuracy"] == (seen[0].argmax(dim=1) == 3)[labelled].float().mean()
    assert 0 < labelled.sum() < len(labelled)
    torch.testing.assert_close(seen[0].sum(dim=1), batch["votes"].sum(dim=1))
    assert not torch.allclose(seen[0], batch["votes"])
    pair = torch.maximum(batch["votes"], batch["votes"].roll(1, dims=0))
    assert (seen[0] <= pair + 1e-6).all()


def test_faces_are_not_mixed_for_losses_on_labels(recipe, data):
    labelled = replace(recipe, mixup=0.5, losses={"soft_cross_entropy": 1.0, "multi_target": 1.0, "contrastive": 0.1})
    with pytest.raises(BadSetting, match="losses of logits and target only; 'contrastive' needs more"):
        ExpressionModule(labelled, 8, dataset_statistics(data.train))


def test_losses_see_logits_with_a_share_of_the_classes_log_frequencies(recipe, data):
    targets = np.where(np.arange(len(data.train)) < 15, 0, 1)
    few = replace(data.train, targets=np.where(np.arange(len(data.train)) < 20, targets, -1))
    losses = ExpressionModule(replace(recipe, logit_adjustment=0.5), 8, dataset_statistics(few)).losses
    plain = ExpressionModule(recipe, 8, dataset_statistics(few)).losses
    logits, target = torch.randn(6, 8), torch.softmax(torch.randn(6, 8), dim=1)
    shares = torch.tensor([16, 6, 1, 1, 1, 1, 1, 1]) / 28  # one face more for each class
    (got,) = losses(as_outputs(logits), target=target).values()
    (shifted,) = plain(as_outputs(logits + 0.5 * shares.log()), target=target).values()
    torch.testing.assert_close(got, shifted)
    assert (got - next(iter(plain(as_outputs(logits), target=target).values()))).abs() > 0.01
    assert losses.state_dict().keys() == plain.state_dict().keys()
