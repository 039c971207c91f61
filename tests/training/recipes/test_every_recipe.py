"""What every row of every file in training/recipes must do."""

import re
from dataclasses import replace

import pytest
import torch

from affectlens.core import catalog
from affectlens.training.module import ExpressionModule, loaders
from affectlens.training.recipe import find

ROWS = [
    pytest.param(work, row, recipe, id=f"{work}/{row}")
    for work in catalog.available("training.recipes")
    for row, recipe in catalog.load("training.recipes", work).ROWS.items()
]
RECIPES = pytest.mark.parametrize(("work", "row", "recipe"), ROWS)


@RECIPES
def test_its_name_is_its_file_and_row(work, row, recipe):
    assert recipe.name == f"{work}/{row}"
    assert re.fullmatch(r"[a-z0-9_-]+/[a-z0-9_-]+", recipe.name)
    assert find(recipe.name) is recipe


@RECIPES
def test_what_it_names_is_in_the_catalogue(work, row, recipe):
    assert recipe.model in catalog.available("models")
    assert recipe.loss in catalog.available("losses")
    assert recipe.data in catalog.available("data.readers")


@RECIPES
def test_its_input_fits_the_runtime(work, row, recipe):
    spec = recipe.input_spec()
    assert len(spec.mean) == len(spec.std) == spec.channel_count


@RECIPES
def test_it_takes_a_training_step(work, row, recipe, faces, make_trainer):
    short = replace(recipe, epochs=1, batch_size=8)
    table = faces(16, seed=0)
    module = ExpressionModule(short, len(table.labels), len(table))
    before = {name: weight.detach().clone() for name, weight in module.named_parameters()}
    trainer = make_trainer(max_epochs=1, precision=short.precision)
    trainer.fit(module, *loaders(table, table, short, short.input_spec()))
    assert trainer.global_step == 2
    assert trainer.callback_metrics["train_loss"].isfinite()
    assert all(weight.isfinite().all() for weight in module.parameters())
    assert any(not torch.equal(weight, before[name]) for name, weight in module.named_parameters())
