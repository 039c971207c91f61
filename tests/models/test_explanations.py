"""Where each network says it looked: the numbers behind its heat map."""

import numpy as np
import pytest
import torch

from affectlens.core import catalog
from affectlens.models.layers.pyramid_fusion import resampled

LINEAR = {
    "swin": ("swin", {}, 64),
    "swin_se-none": ("swin_se", {"se": "none", "image_px": 64}, 64),
    "swin_se-pooled": ("swin_se", {"se": "pooled", "image_px": 64}, 64),
    "swin_se-patches": ("swin_se", {"se": "patches", "image_px": 64}, 64),
}
LOOKING = {
    "vit": ("vit", {"size": "tiny", "image_px": 48}, 48, 3),
    "poster": ("poster", {"side_px": 64, "units": (1, 1, 1)}, 64, 16),
    "two_stream": ("two_stream", {"backbone": "small", "image_px": 56}, 56, 28),
    "two_stream-alone": ("two_stream", {"backbone": "small", "image_px": 56, "landmarks": "none"}, 56, 28),
}


def built(model, options):
    torch.manual_seed(0)
    return catalog.build("models", model, 8, options=options).eval()


def asked(network, faces):
    """The answer, and the same from a network that explains."""
    with torch.inference_mode():
        plain = network(faces)
        network.explaining = True
        try:
            return plain, network(faces)
        finally:
            network.explaining = False


@pytest.mark.parametrize("name", LINEAR)
def test_evidence_and_bias_are_the_logit(name):
    model, options, side = LINEAR[name]
    network = built(model, options)
    plain, explained = asked(network, torch.randn(2, 3, side, side))
    torch.testing.assert_close(explained.logits, plain.logits)
    assert explained.explanation.shape == (2, 8, 2, 2)
    found = explained.explanation.sum(dim=(2, 3)) + network.head.bias
    torch.testing.assert_close(found, plain.logits, atol=1e-5, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", LOOKING)
def test_attention_is_shared_among_the_places_of_each_face(name):
    model, options, side, places = LOOKING[name]
    network = built(model, options)
    assert network.explains
    plain, explained = asked(network, torch.randn(2, 3, side, side))
    assert plain.explanation is None
    torch.testing.assert_close(explained.logits, plain.logits, atol=1e-4, rtol=1e-3)
    assert explained.explanation.shape == (2, 1, places, places)
    assert (explained.explanation >= 0).all()
    if model != "vit":  # whose class token keeps a share
        torch.testing.assert_close(explained.explanation.sum(dim=(1, 2, 3)), torch.ones(2))


def test_rollout_is_the_product_of_the_layers_from_the_last_to_the_first():
    """Against NumPy, with the attention of each layer recorded on its way."""
    network = built("vit", {"size": "tiny", "image_px": 48})
    recorded = []
    for block in network.backbone.encoder.layers:
        block.self_attention.register_forward_hook(lambda _, __, output: recorded.append(output[1]))
    _, explained = asked(network, torch.randn(1, 3, 48, 48))
    product = np.eye(10)
    for attention in [one for one in recorded if one is not None]:
        product = (0.5 * attention[0].double().numpy() + 0.5 * np.eye(10)) @ product
    np.testing.assert_allclose(explained.explanation[0, 0].ravel(), product[0, 1:], rtol=1e-4)
    assert len([one for one in recorded if one is not None]) == 12


@pytest.mark.slow
def test_maps_of_channels_say_nothing_of_places():
    network = built("two_stream", {"mode": "literal", "image_px": 28})
    _, explained = asked(network, torch.randn(1, 3, 28, 28))
    assert explained.explanation is None
    assert not isinstance(network.transformer.gate, catalog.load("models.layers", "squeeze_excitation").Excitation)


def test_levels_are_laid_upon_each_other_where_their_places_are():
    """POSTER++'s coarse place j lies at the fine place 2 j, Two-Stream's in the middle of 2 j and 2 j + 1."""
    coarse = torch.zeros(1, 1, 4, 4)
    coarse[0, 0, 1, 2] = 1
    at_pixels = resampled(coarse, 0.5 / 8, 8, 0.5 / 4)[0, 0]
    assert at_pixels.argmax() == 2 * 8 + 4
    torch.testing.assert_close(at_pixels[2, 4], torch.tensor(1.0))
    torch.testing.assert_close(at_pixels[3, 4], torch.tensor(0.5))
    divided = resampled(coarse, 0.5, 8, 0.5)
    expected = torch.nn.functional.interpolate(coarse, size=(8, 8), mode="bilinear", align_corners=False)
    torch.testing.assert_close(divided, expected)


@pytest.mark.parametrize(
    "options", [{"affect": "eight", "fusion": "separate"}, {"affect": "regression", "fusion": "concatenate"}]
)
def test_weights_on_the_pooled_map_are_the_slopes_of_the_logits(options, small_networks):
    network = built("multi_task", {"backbone": "breg_next", **options})
    faces = torch.randn(2, 3, 64, 64)
    plain, explained = asked(network, faces)
    torch.testing.assert_close(explained.logits, plain.logits)

    def logits(pooled):
        shown = network.hidden[0](pooled)
        if network.fusion == "concatenate":
            shown = torch.cat([shown, network.regressor(network.hidden[1](pooled))], dim=1)
        return network.classifier(shown)

    for face, pooled in enumerate(plain.features.clone()):
        slopes = torch.autograd.functional.jacobian(logits, pooled[None])[0, :, 0]
        found = network._weights(plain.features.clone()).detach()
        torch.testing.assert_close(found if found.ndim == 2 else found[face], slopes, atol=1e-5, rtol=1e-4)
