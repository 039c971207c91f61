import math

import torch

from affectlens.models.layers.squeeze_excitation import Excitation


def by_hand(vector, gate):
    """Gate times vector, a number at a time."""
    first, _, second, _ = gate
    hidden = [
        max(0.0, sum(w * x for w, x in zip(row, vector, strict=True)) + b)
        for row, b in zip(first.weight.tolist(), first.bias.tolist(), strict=True)
    ]
    return [
        1 / (1 + math.exp(-sum(w * h for w, h in zip(row, hidden, strict=True)) - b))
        for row, b in zip(second.weight.tolist(), second.bias.tolist(), strict=True)
    ]


def test_a_vector_is_weighed_by_its_gate():
    torch.manual_seed(0)
    layer = Excitation(6, reduction=2)
    x = torch.randn(3, 6)
    expected = [[a * b for a, b in zip(row, by_hand(row, layer.gate), strict=True)] for row in x.tolist()]
    torch.testing.assert_close(layer(x), torch.tensor(expected))
    assert layer.gate[0].out_features == 3


def test_a_map_is_weighed_by_the_gate_of_its_mean():
    torch.manual_seed(0)
    layer = Excitation(4, reduction=16, squeeze=True)
    x = torch.randn(2, 3, 5, 4)
    gates = torch.tensor([by_hand(one.mean(dim=(0, 1)).tolist(), layer.gate) for one in x])
    torch.testing.assert_close(layer(x), x * gates[:, None, None])
    assert layer.gate[0].out_features == 1
