import numpy as np
import pytest
import torch

from affectlens.core.preprocessing import to_input
from affectlens.training import landscape
from affectlens.training.module import ExpressionModule


def test_the_landscape_has_the_loss_in_its_middle_and_leaves_the_weights_as_they_were(recipe, data):
    torch.manual_seed(0)
    module = ExpressionModule(recipe, 8).eval()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    surface = landscape.landscape(module, data.valid, points=3, reach=0.5)
    labelled = data.valid.keep(data.valid.labelled)
    faces = torch.from_numpy(to_input(list(labelled.images), recipe.input_spec()))
    with torch.inference_mode():
        loss = torch.nn.functional.cross_entropy(module(faces).logits, torch.from_numpy(labelled.targets))
    assert surface[1, 1] == pytest.approx(float(loss), rel=1e-4)
    assert len(np.unique(surface)) == 9
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    again = landscape.landscape(module, data.valid, points=3, reach=0.5)
    np.testing.assert_array_equal(surface, again)


def test_a_direction_is_as_long_as_the_weights_filter_by_filter():
    weight = torch.arange(24, dtype=torch.float32).reshape(3, 2, 2, 2)
    drawn = landscape._direction(weight, torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn.flatten(1).norm(dim=1), weight.flatten(1).norm(dim=1))
    assert not torch.equal(drawn, weight)
