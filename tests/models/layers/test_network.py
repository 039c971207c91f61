import copy

import pytest
import torch
from torch import nn

from affectlens.core.errors import BadSetting
from affectlens.models.layers.network import Network, as_network


def test_any_module_is_a_network_that_has_logits_and_nothing_else():
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    faces = torch.randn(2, 3, 2, 2)
    expected, weights = module(faces), list(module.state_dict())
    network = as_network(module)
    torch.testing.assert_close(network(faces), expected)
    assert list(network.state_dict()) == weights
    assert (network.feature_width, network.needs, network.explains) == (0, (), False)
    assert network.settle(pretrained=False) == ""
    assert network.head_vectors() is None
    assert network.graph() is None
    assert as_network(network) is network
    assert copy.deepcopy(network)(faces).equal(expected)


def test_what_a_module_defines_itself_counts():
    class Small(nn.Module):
        feature_width = 7

        def __init__(self):
            super().__init__()
            self.classifier = nn.Linear(7, 3)

    module = Small()
    network = as_network(module)
    assert network.feature_width == 7
    torch.testing.assert_close(network.head_vectors(), module.classifier.weight)


def test_a_network_without_published_weights_says_so():
    with pytest.raises(BadSetting, match="no published weights; set pretrained=false"):
        Network().load_pretrained()


def test_a_linear_classifier_gives_the_vectors_of_the_classes():
    network = Network()
    network.classifier = nn.Linear(7, 3)
    torch.testing.assert_close(network.head_vectors(), network.classifier.weight)
