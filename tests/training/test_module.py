import lightning as L
import numpy as np
import pytest
import torch

from affectlens.core.preprocessing import InputSpec
from affectlens.evaluation import metrics
from affectlens.training.module import ExpressionModule, FaceBatches, inputs, loaders, predict


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
    return ExpressionModule(recipe, len(data.train.labels), len(data.train))


def test_input_spec_takes_its_values_from_the_recipe(recipe):
    spec = recipe.input_spec()
    assert isinstance(spec, InputSpec)
    assert all(getattr(spec, name) == getattr(recipe, name) for name in InputSpec.model_fields)


def test_inputs_are_normalised_faces(recipe, data):
    batch = inputs(data.train, np.array([3, 5]), recipe.input_spec())
    expected = (data.train.images[[3, 5], None] / 255 - recipe.mean[0]) / recipe.std[0]
    np.testing.assert_allclose(batch, expected, atol=1e-5)


def test_a_batch_holds_the_rows_that_were_asked_for(recipe, data):
    batch = FaceBatches(data.train, recipe.input_spec())[np.array([9, 2])]
    assert batch["image"].shape == (2, 1, 48, 48)
    assert batch["index"].tolist() == [9, 2]
    assert batch["target"].tolist() == [-1, 2]
    np.testing.assert_array_equal(batch["votes"], data.train.votes[[9, 2]])


def test_training_shows_every_face_once_an_epoch_in_a_new_order(recipe, data, module, make_trainer):
    diary = Diary()
    trainer = make_trainer(max_epochs=2, callbacks=[diary])
    trainer.fit(module, *loaders(data.train, data.valid, recipe, recipe.input_spec()))
    assert sorted(diary.rows[0]) == sorted(diary.rows[1]) == list(range(64))
    assert diary.rows[0] != diary.rows[1]


def test_the_learning_rate_rises_to_its_peak_and_falls_to_almost_nothing(recipe, data, module, make_trainer):
    diary = Diary()
    trainer = make_trainer(max_epochs=2, callbacks=[diary])
    trainer.fit(module, *loaders(data.train, data.valid, recipe, recipe.input_spec()))
    assert len(diary.rates) == 8
    assert diary.rates[0] < recipe.learning_rate / 10
    assert 0.9 * recipe.learning_rate < max(diary.rates) <= recipe.learning_rate
    assert diary.rates[-1] < recipe.learning_rate / 1000


def test_norms_and_biases_do_not_decay(recipe, data, module, make_trainer):
    trainer = make_trainer(max_epochs=1)
    trainer.fit(module, *loaders(data.train, data.valid, recipe, recipe.input_spec()))
    decayed, free = trainer.optimizers[0].param_groups
    assert decayed["weight_decay"] == recipe.weight_decay
    assert {weight.ndim for weight in decayed["params"]} == {2, 4}
    assert free["weight_decay"] == 0
    assert {weight.ndim for weight in free["params"]} == {1}


def test_validation_scores_the_faces_with_a_majority_only(recipe, data, module, make_trainer):
    _, batches = loaders(data.train, data.valid, recipe, recipe.input_spec())
    (figures,) = make_trainer().validate(module, batches, verbose=False)
    logits = np.concatenate(list(predict(module, data.valid, recipe.input_spec())))
    scored = data.valid.targets >= 0
    logits, target = logits[scored], data.valid.targets[scored]
    assert figures["valid_accuracy"] == pytest.approx(metrics.accuracy(logits.argmax(axis=1), target))
    assert figures["valid_macro_recall"] == pytest.approx(metrics.macro_recall(logits.argmax(axis=1), target, 8))
    assert figures["valid_nll"] == pytest.approx(metrics.negative_log_likelihood(logits, target), rel=1e-4)


def test_predictions_cover_the_table_in_its_order(recipe, faces, module):
    table = faces(300, seed=5)
    chunks = list(predict(module, table, recipe.input_spec()))
    assert [len(chunk) for chunk in chunks] == [256, 44]
    (last,) = predict(module, table.keep(np.arange(300) == 299), recipe.input_spec())
    np.testing.assert_allclose(chunks[1][-1:], last, atol=1e-4)
