import pytest
import torch
from torch import nn
from torch.nn.functional import max_pool2d

from affectlens.core.errors import BadSetting
from affectlens.models.layers.multi_self_attention import MultiSelfAttention

FORMS = pytest.mark.parametrize("form", ["separate", "joint"])
MODES = pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])


def trained(channels, side, form, heads=8):
    """A layer with gammas away from 0."""
    torch.manual_seed(0)
    layer = MultiSelfAttention(channels, side, heads, form)
    nn.init.uniform_(layer.gamma, 0.5, 1.5)
    return layer


def image(channels, side, batch=2, seed=0):
    return torch.randn((batch, channels, side, side), generator=torch.Generator().manual_seed(seed))


def self_attention(x, query, key, value, output, gamma):
    """A SAGAN block with 1x1 kernels, position by position: the map of all pairs, then what it mixes."""
    batch, _, height, width = x.shape

    def project(kernel, maps):
        return maps if kernel is None else torch.einsum("oc,bcl->bol", kernel.flatten(1), maps)

    q, k, v = (project(kernel, x.flatten(2)) for kernel in (query, key, value))
    pairs = torch.softmax(torch.einsum("bcl,bcm->blm", q, k), dim=2)
    mixed = torch.einsum("blm,bcm->bcl", pairs, v)
    return x + gamma * project(output, mixed).view(batch, -1, height, width)


def normalised(conv):
    """The kernel of a convolution over the largest stretch of the power iteration that it stores."""
    power, kernel = conv.parametrizations.weight[0], conv.parametrizations.weight.original
    return kernel / (power._u @ kernel.flatten(1) @ power._v)


def naive(layer, x):
    """The report's layer (heads one after the other) and the public code's (one block on repeated channels)."""
    heads = layer.heads
    looked_at = layer.branch(x) if layer.form == "separate" else x
    weights = torch.sigmoid(layer.weights(max_pool2d(looked_at, 2).flatten(1)))
    weights = weights / weights.sum(dim=1, keepdim=True)
    if layer.form == "separate":
        kernels = (layer.query, layer.key, layer.value, layer.output)
        parts = [kernel.weight.chunk(heads) for kernel in kernels]
        views = [self_attention(x, *part, layer.gamma[h]) for h, part in enumerate(zip(*parts, strict=True))]
    else:
        repeated = x.repeat(1, heads, 1, 1)
        kernels = [normalised(conv) for conv in (layer.query, layer.key, layer.value)]
        views = self_attention(repeated, *kernels, None, layer.gamma).chunk(heads, dim=1)
    return sum(weights[:, h].view(-1, 1, 1, 1) * view for h, view in enumerate(views))


@FORMS
@MODES
@pytest.mark.parametrize(("channels", "side", "heads"), [(8, 10, 8), (8, 9, 3), (16, 7, 4), (64, 6, 8)])
def test_it_is_what_a_calculation_head_by_head_gives(form, training, channels, side, heads):
    layer = trained(channels, side, form, heads).train(training)
    x = image(channels, side)
    got, expected = layer(x), naive(layer, x)  # in this order: training takes a step of the power iteration
    assert (expected - x).abs().max() > 0.05
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)


@FORMS
@MODES
@pytest.mark.parametrize("channels", [8, 16])
def test_its_gradients_are_those_of_the_naive_calculation(form, training, channels):
    layer = trained(channels, 8, form).train(training)
    x = image(channels, 8).requires_grad_()
    names = [name for name, _ in layer.named_parameters() if form == "separate" or not name.startswith("branch")]
    towards = [x, *(layer.get_parameter(name) for name in names)]
    scale = image(channels, 8, seed=1)
    got = torch.autograd.grad((layer(x) * scale).sum(), towards)
    expected = torch.autograd.grad((naive(layer, x) * scale).sum(), towards)
    for name, mine, exact in zip(["x", *names], got, expected, strict=True):
        assert exact.any(), name
        assert (mine - exact).norm() <= 1e-3 * exact.norm() + 1e-4, name


@FORMS
@MODES
def test_it_starts_as_the_identity(form, training):
    x = image(8, 12)
    layer = MultiSelfAttention(8, 12, form=form).train(training)
    torch.testing.assert_close(layer(x), x, rtol=0, atol=0)


@FORMS
def test_the_weights_of_the_heads_sum_to_one_and_differ_by_image(form):
    weights = trained(8, 12, form).head_weights(image(8, 12, batch=5))
    assert weights.shape == (5, 8)
    assert (weights > 0).all()
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(5))
    assert (weights.std(dim=0) > 1e-3).all()


@pytest.mark.slow
@pytest.mark.no_cover
@FORMS
@MODES
@pytest.mark.parametrize(("channels", "side"), [(8, 42), (64, 24)])
def test_never_more_than_a_few_maps_are_built_at_once(form, training, channels, side, largest_tensor):
    layer, x = trained(channels, side, form).train(training), image(channels, side, batch=4)
    assert largest_tensor(lambda: layer(x).square().sum().backward()) <= max(1 << 20, side**4, 8 * x.numel())


def test_a_naive_calculation_does_build_it(largest_tensor):
    layer, x = trained(8, 20, "joint"), image(8, 20, batch=1)
    assert largest_tensor(lambda: naive(layer, x)) == 20**4


@pytest.mark.parametrize(("form", "parameters"), [("separate", 118_864), ("joint", 405_577)])
def test_its_size_on_64_channels_is_the_published_one(form, parameters):
    assert sum(weight.numel() for weight in MultiSelfAttention(64, 24, form=form).parameters()) == parameters


@FORMS
@pytest.mark.parametrize("channels", [8, 16])
def test_mixed_precision_stays_near_single(form, channels):
    layer, x = trained(channels, 10, form), image(channels, 10)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = layer(x)
    assert mixed.dtype == x.dtype
    assert (mixed - layer(x)).norm() < 0.03 * x.norm()


def test_the_memory_layout_of_the_maps_does_not_matter():
    layer, x = trained(16, 8, "separate"), image(16, 8)
    torch.testing.assert_close(layer(x.to(memory_format=torch.channels_last)), layer(x))


@pytest.mark.parametrize(
    ("channels", "form", "message"),
    [
        (12, "separate", "must be a multiple of 8 for multiple self-attention, got 12"),
        (8, "both", "must be 'separate' or 'joint', got 'both'"),
    ],
)
def test_a_layer_that_cannot_be_is_refused(channels, form, message):
    with pytest.raises(BadSetting, match=message):
        MultiSelfAttention(channels, 12, form=form)
