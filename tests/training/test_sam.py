import copy
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from affectlens.training import sam
from affectlens.training.loaders import train_loader, valid_loader
from affectlens.training.module import ExpressionModule
from affectlens.training.objective import dataset_statistics


class Point(nn.Module):
    """Two weights in two tensors, and one that nothing uses."""

    def __init__(self):
        super().__init__()
        self.x = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
        self.y = nn.Parameter(torch.tensor(0.5, dtype=torch.float64))
        self.unused = nn.Parameter(torch.tensor(3.0, dtype=torch.float64))


CURVATURE = torch.tensor([[4.0, 1.0, 0.5], [1.0, 2.0, 0.0], [0.5, 0.0, 3.0]], dtype=torch.float64)


def passes(network, loss, radius, norms="first"):
    """Runs both passes; returns the loss that came out and the losses seen."""
    seen = []

    def closure():
        network.zero_grad()
        value = loss()
        value.backward()
        seen.append(value.item())
        return value.detach()

    return sam.two_passes(network, radius, closure, closure, norms).item(), seen


@pytest.mark.parametrize("radius", [0.05, 1.0])
def test_on_a_quadratic_the_gradient_is_that_uphill(radius):
    network = Point()

    def loss():
        w = torch.cat([network.x, network.y.view(1)])
        return w @ CURVATURE @ w / 2

    w = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    gradient = CURVATURE @ w
    uphill = w + radius * gradient / gradient.norm()
    at_w, seen = passes(network, loss, radius)
    got = torch.cat([network.x.grad, network.y.grad.view(1)])
    torch.testing.assert_close(got, CURVATURE @ uphill)
    torch.testing.assert_close(torch.cat([network.x, network.y.view(1)]).detach(), w, rtol=0, atol=0)
    assert seen == [at_w, pytest.approx((uphill @ CURVATURE @ uphill / 2).item())]
    assert at_w == pytest.approx((w @ CURVATURE @ w / 2).item())
    assert network.unused.grad is None
    assert network.unused.item() == 3.0


def test_on_logistic_regression_it_is_the_hand_computation():
    random = torch.Generator().manual_seed(0)
    x, y = torch.randn((20, 3), generator=random), torch.randint(2, (20,), generator=random).float()
    network = nn.Linear(3, 1)

    def loss(model=network):
        return binary_cross_entropy_with_logits(model(x).squeeze(1), y)

    plain = torch.autograd.grad(loss(), list(network.parameters()))
    norm = sum(gradient.square().sum() for gradient in plain).sqrt()
    moved = copy.deepcopy(network)
    with torch.no_grad():
        for weight, gradient in zip(moved.parameters(), plain, strict=True):
            weight += 0.3 * gradient / norm
    before = copy.deepcopy(network.state_dict())
    passes(network, loss, 0.3)
    for weight, expected in zip(
        network.parameters(), torch.autograd.grad(loss(moved), list(moved.parameters())), strict=True
    ):
        torch.testing.assert_close(weight.grad, expected)
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)


def test_where_the_gradient_is_zero_nothing_moves():
    network = nn.Linear(2, 1)
    before = copy.deepcopy(network.state_dict())
    passes(network, lambda: network(torch.zeros(1, 2)).sum() * 0, 0.05)
    assert not network.weight.grad.any()
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)


def test_an_empty_batch_has_one_pass_and_moves_nothing():
    network, calls = nn.Linear(2, 1), []
    before = copy.deepcopy(network.state_dict())
    loss = sam.two_passes(network, 0.05, lambda: calls.append("first") or 0.25, lambda: calls.append("second"))
    assert (loss, calls) == (0.25, ["first"])
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)


@pytest.mark.parametrize("norms", ["first", "both"])
def test_batch_norms_learn_from_the_first_pass_alone_or_from_both(norms):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 2))
    by_hand, uphill = copy.deepcopy(network), []
    images = torch.randn(8, 1, 8, 8) + 2

    def loss():
        uphill.append(copy.deepcopy(network[0]))
        return network(images).square().mean()

    passes(network, loss, 0.5, norms)
    for convolution in uphill if norms == "both" else uphill[:1]:
        by_hand[1](convolution(images))
    torch.testing.assert_close(network[1].running_mean, by_hand[1].running_mean, rtol=0, atol=0)
    torch.testing.assert_close(network[1].running_var, by_hand[1].running_var, rtol=0, atol=0)
    assert network[1].momentum == 0.1
    assert network[1].training


def test_batch_norms_get_their_momentum_back_after_a_failure():
    network, calls = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), []

    def closure():
        calls.append(network[1].momentum)
        if len(calls) == 2:
            raise RuntimeError("out of memory")
        network(torch.randn(4, 2)).square().sum().backward()

    with pytest.raises(RuntimeError, match="out of memory"):
        sam.two_passes(network, 0.05, closure, closure)
    assert calls == [0.1, 0.0]
    assert network[1].momentum == 0.1


SHORT = {"ema": 0.0, "epochs": 1, "batch_size": 16, "schedule": "constant", "learning_rate": 0.1, "weight_decay": 1e-3}


def trained(recipe, data, make_trainer, seen=None, **changes):
    """The module after one epoch; `seen` collects inputs and dropped-out features of each pass of the network."""
    recipe = replace(recipe, **SHORT | changes)
    torch.manual_seed(0)
    module = ExpressionModule(recipe, 8, dataset_statistics(data.train))
    if seen is not None:
        module.network.dropout.register_forward_hook(
            lambda layer, _, output: seen.append(output.detach() == 0) if layer.training else None
        )
    trainer = make_trainer(max_epochs=1, gradient_clip_val=recipe.gradient_clip or None)
    trainer.fit(module, train_loader(data.train, recipe), valid_loader(data.valid, recipe))
    return module, trainer


@pytest.mark.parametrize(
    ("optimiser", "clip", "norms"),
    [("sgd", 0.0, "first"), ("sgd", 0.5, "both"), ("adam", 0.0, "both"), ("adam", 0.5, "first")],
)
def test_through_lightning_each_step_is_what_it_is_by_hand(
    recipe, data, make_trainer, monkeypatch, optimiser, clip, norms
):
    rate = {"sgd": 0.1, "adam": 1e-3}[optimiser]
    changes = {"optimiser": optimiser, "learning_rate": rate, "gradient_clip": clip, "sam_radius": 0.5}
    changes["sam_norms"] = norms
    got, trainer = trained(recipe, data, make_trainer, **changes)
    assert trainer.global_step == 4
    changed = replace(recipe, **SHORT | changes)
    torch.manual_seed(0)
    module = ExpressionModule(changed, 8, dataset_statistics(data.train))
    weights = list(module.network.parameters())
    groups = [
        {"params": [w for w in weights if w.ndim > 1], "weight_decay": 1e-3},
        {"params": [w for w in weights if w.ndim == 1], "weight_decay": 0.0},
    ]
    steps = torch.optim.SGD(groups, rate, momentum=0.9, nesterov=True)
    if optimiser == "adam":
        steps = torch.optim.Adam(groups, rate)
    monkeypatch.setattr(ExpressionModule, "log", lambda *_, **__: None)
    monkeypatch.setattr(ExpressionModule, "current_epoch", 0)
    module.train().on_train_epoch_start()
    for number, batch in enumerate(train_loader(data.train, changed)):
        monkeypatch.setattr(ExpressionModule, "global_step", number)
        before = copy.deepcopy(module.network.state_dict())
        first = torch.autograd.grad(module.training_step(batch), weights)
        statistics = {k: v.clone() for k, v in module.network.state_dict().items() if "running" in k}
        norm = sum(gradient.square().sum() for gradient in first).sqrt()
        with torch.no_grad():
            for weight, gradient in zip(weights, first, strict=True):
                weight += 0.5 * gradient / norm
        uphill = torch.autograd.grad(module.training_step(batch), weights)
        if norms == "both":
            statistics = {k: v.clone() for k, v in module.network.state_dict().items() if "running" in k}
        module.network.load_state_dict(before | statistics)
        for weight, gradient in zip(weights, uphill, strict=True):
            weight.grad = gradient
        if clip:
            assert nn.utils.clip_grad_norm_(weights, clip) > clip
        steps.step()
    for name, value in module.network.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(got.network.state_dict()[name], value, atol=1e-4, rtol=1e-3)


def test_the_radius_matters(recipe, data, make_trainer):
    without, near, far = (
        trained(recipe, data, make_trainer, sam_radius=radius)[0].network.head.weight for radius in (0.0, 0.05, 0.5)
    )
    assert not torch.equal(without, near)
    assert (without - near).norm() < (without - far).norm()


def test_both_passes_of_a_step_drop_the_same_features(recipe, data, make_trainer):
    seen = []
    options = {**recipe.model_options, "dropout": 0.5}
    trained(recipe, data, make_trainer, seen, sam_radius=1e-9, model_options=options)
    assert len(seen) == 8
    for first, second, next_step in zip(seen[::2], seen[1::2], [*seen[2::2], seen[0]], strict=True):
        assert torch.equal(first, second)
        assert 0.3 < first.float().mean() < 0.95
        assert not torch.equal(first, next_step)


def test_the_logged_loss_is_that_at_the_weights(recipe, data, make_trainer):
    one_step = {"batch_size": 64, "sam_radius": 0.5}
    _, plain = trained(recipe, data, make_trainer, **one_step | {"sam_radius": 0.0})
    _, sharp = trained(recipe, data, make_trainer, **one_step)
    assert sharp.callback_metrics["train_loss"] == plain.callback_metrics["train_loss"]
