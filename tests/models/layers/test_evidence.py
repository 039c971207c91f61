"""Evidence over all places is the logit, whatever the pooling and the layers behind it."""

import pytest
import torch
from torch import nn

from affectlens.models import compact_resnet
from affectlens.models.layers.backbones import BACKBONES
from affectlens.models.layers.evidence import of_max, of_mean, through_relus


def test_of_a_mean_it_adds_up_to_the_logit():
    torch.manual_seed(0)
    space, head = torch.randn(3, 5, 2, 4), nn.Linear(5, 4)
    found = of_mean(space, head.weight)
    assert found.shape == (3, 4, 2, 4)
    torch.testing.assert_close(found.sum(dim=(2, 3)) + head.bias, head(space.mean(dim=(2, 3))))
    torch.testing.assert_close(found[1, 2, 0, 3], space[1, :, 0, 3] @ head.weight[2] / 8)


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.parametrize(
    ("trunk", "first_place", "stride", "side"),
    [
        (lambda: nn.Sequential((network := compact_resnet.build(8, 3)).stem, network.blocks), 0.5 / 16, 16, 192),
        (lambda: BACKBONES["densenet121"].build(3, True), BACKBONES["densenet121"].first_place, 32, 512),
        (lambda: BACKBONES["resnet50"].build(3, True), BACKBONES["resnet50"].first_place, 32, 512),
        (lambda: BACKBONES["breg_next"].build(3, True), BACKBONES["breg_next"].first_place, 4, 128),
    ],
)
def test_the_first_place_is_where_gradients_come_from(trunk, first_place, stride, side):
    torch.manual_seed(0)
    network, found = trunk().eval(), []
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
    place = side // stride // 2  # far from the edges
    for _ in range(3):
        face = torch.rand(2, 3, side, side, requires_grad=True)
        (gradient,) = torch.autograd.grad(network(face)[:, :, place, place].square().sum(), face)
        weight = gradient.square().sum(dim=(0, 1, 2))
        middle = (weight * (torch.arange(side) + 0.5)).sum() / weight.sum()
        found.append(float(middle) / stride - place)
    assert abs(sum(found) / 3 - first_place) < max(0.1, 1 / stride)  # a pixel


def test_of_a_maximum_it_stands_where_the_maximum_is():
    space = torch.zeros(1, 2, 2, 2)
    space[0, 0, 0, 1], space[0, 1, 1, 0] = 3.0, 5.0
    found = of_max(space, torch.tensor([[2.0, -1.0]]))
    torch.testing.assert_close(found[0, 0], torch.tensor([[0.0, 6.0], [-5.0, 0.0]]))
    shared = of_max(torch.ones(1, 1, 2, 2), torch.tensor([[4.0]]))
    torch.testing.assert_close(shared, torch.ones(1, 1, 2, 2))


def test_behind_hidden_layers_it_adds_up_too():
    torch.manual_seed(0)
    first, second, last = nn.Linear(6, 7), nn.Linear(7, 8), nn.Linear(8, 3)
    space = torch.randn(4, 6, 3, 3)
    pooled = space.mean(dim=(2, 3))
    one = first(pooled).relu()
    two = second(one).relu()
    found = of_mean(space, through_relus([(first.weight, one), (second.weight, two)], last.weight))
    # what the biases add is the same wherever the evidence is
    nothing = last(second(first(pooled * 0) * (one > 0)) * (two > 0))
    torch.testing.assert_close(found.sum(dim=(2, 3)) + nothing, last(two), atol=1e-5, rtol=1e-5)
