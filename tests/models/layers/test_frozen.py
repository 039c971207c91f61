import torch
from torch import nn

from affectlens.models.layers.frozen import PartlyFrozen


class Network(PartlyFrozen):
    """A body with statistics, and a head."""

    def __init__(self, train="full"):
        super().__init__(train)
        self.backbone = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.backbone(x))


def trained(network, steps=3):
    optimiser = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], 0.1)
    for _ in range(steps):
        optimiser.zero_grad()
        network.train()(torch.randn(8, 3)).square().sum().backward()
        optimiser.step()


def test_frozen_parts_keep_weights_and_statistics_and_the_others_do_not():
    torch.manual_seed(0)
    network = Network()
    network.freeze(network.backbone)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    trained(network)
    moved = {key for key, value in network.state_dict().items() if not torch.equal(value, before[key])}
    assert moved == {"head.weight", "head.bias"}
    assert network.training
    assert not any(module.training for module in network.backbone.modules())


def test_what_is_not_frozen_learns():
    torch.manual_seed(0)
    network = Network()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    trained(network)
    assert all(not torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_a_body_is_frozen_only_if_it_is_trained():
    with_weights, without = Network("head"), Network("head")
    assert with_weights.settle(pretrained=True) == ""
    assert {key for key, p in with_weights.named_parameters() if p.requires_grad} == {"head.weight", "head.bias"}
    assert "the whole network is trained, because there are no pretrained weights" in without.settle(pretrained=False)
    assert all(p.requires_grad for p in without.parameters())
    assert Network().settle(pretrained=True) == ""
