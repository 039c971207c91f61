"""What every model in the catalogue must do; a new model adds its parameter count here."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from affectlens.core import catalog
from affectlens.core.expressions import FERPLUS
from affectlens.core.session import ModelSpec, open_session
from affectlens.data.table import FaceTable
from affectlens.training import export
from affectlens.training.module import ExpressionModule
from affectlens.training.recipe import find

PARAMETERS = {"compact_resnet": 3_165_928}
"""With default options, 8 classes and one channel."""

MODELS = pytest.mark.parametrize("name", catalog.available("models"))


def stirred(network):
    """`network` with weights of its norms and statistics as after training, so that no block is silent."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
    network(torch.randn(8, 1, 48, 48))
    return network


@MODELS
def test_faces_become_one_row_of_logits_each(name):
    network = catalog.load("models", name).build(8).eval()
    with torch.inference_mode():
        logits = network(torch.randn(3, 1, 48, 48))
    assert logits.shape == (3, 8)
    assert logits.isfinite().all()


@MODELS
def test_classes_and_channels_are_free(name):
    network = catalog.load("models", name).build(5, in_channels=3).eval()
    assert network(torch.randn(2, 3, 48, 48)).shape == (2, 5)


@MODELS
def test_every_parameter_gets_a_gradient(name):
    network = stirred(catalog.load("models", name).build(8))
    network(torch.randn(4, 1, 48, 48)).square().sum().backward()
    silent = [key for key, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert silent == []


@MODELS
def test_number_of_parameters_is_the_published_one(name):
    network = catalog.load("models", name).build(8)
    assert sum(weight.numel() for weight in network.parameters()) == PARAMETERS[name]


def multiply_adds(network, image):
    """Of all convolutions and linear layers of one forward pass."""
    total = 0

    def count(module, _, output):
        nonlocal total
        total += module.weight[0].numel() * output[0].numel()

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    with torch.inference_mode():
        network(image)
    return total


def test_the_bundled_architecture_needs_at_most_120_million_multiply_adds():
    network = catalog.load("models", "compact_resnet").build(8).eval()
    assert 95e6 < multiply_adds(network, torch.zeros(1, 1, 48, 48)) < 120e6


@pytest.fixture(scope="module")
def faces():
    rng = np.random.default_rng(0)
    return FaceTable(
        tuple(str(i) for i in range(10)),
        rng.integers(0, 256, (10, 48, 48), dtype=np.uint8),
        rng.dirichlet(np.ones(8), 10).astype(np.float32),
        rng.integers(0, 8, 10),
        FERPLUS,
    )


@MODELS
def test_the_exported_file_gives_the_logits_of_torch(name, faces, tmp_path):
    recipe = replace(find("default"), model=name, model_options={})
    module = ExpressionModule(recipe, 8, train_faces=0)
    stirred(module.network)
    spec = ModelSpec(
        name=name,
        labels=FERPLUS,
        input=recipe.input_spec(),
        temperature=1,
        uncertain_below=0.5,
        recipe=recipe.name,
        provenance={},
        licence="none",
    )
    file = tmp_path / "model.onnx"
    export.write(module.network, spec, file)
    assert export.check_parity(module, file, faces) <= export.TOLERANCE
    for batch in (1, 5):
        (logits,) = open_session(file).run(None, {"face": np.zeros((batch, 1, 48, 48), dtype=np.float32)})
        assert logits.shape == (batch, 8)
