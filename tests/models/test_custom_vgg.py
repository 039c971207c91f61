import math

import pytest
import torch

from affectlens.core.errors import BadSetting
from affectlens.models.custom_vgg import build


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({}, 40_376_519),
        ({"stn": True}, 49_757_965),
        ({"stn": True, "msa": True}, 49_876_829),
        ({"stn": True, "msa": True, "msa_form": "joint"}, 50_163_542),
        ({"msa": True}, 40_376_519 + 118_864),
    ],
)
def test_every_variant_has_the_published_number_of_parameters(options, parameters):
    with torch.device("meta"):
        network = build(7, **options)
    assert sum(weight.numel() for weight in network.parameters()) == parameters


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"msa": True, "msa_form": "both"}, "must be 'separate' or 'joint', got 'both'"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"dropout": -0.1}, r"dropout must be in \[0, 1\), got -0.1"),
        ({"dropout": math.nan}, r"dropout must be in \[0, 1\), got nan"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with torch.device("meta"), pytest.raises(BadSetting, match=message):
        build(7, **options)


def test_transformer_and_attention_start_by_passing_the_maps_on():
    torch.manual_seed(0)
    network = build(7, stn=True, msa=True).eval()
    faces = torch.rand(2, 1, 48, 48)
    with torch.inference_mode():
        maps = network.block1(faces)
        torch.testing.assert_close(network.attention(network.stn(maps)), maps, atol=1e-5, rtol=0)


def test_dropout_is_on_in_training_alone():
    network = build(7, dropout=0.9)
    network.requires_grad_(False)
    face = torch.rand(2, 1, 48, 48)
    for module in (network.block1, network.block2, network.block3, network.block4):
        module.eval()
    assert not torch.equal(network(face), network(face))
    network.eval()
    torch.testing.assert_close(network(face), network(face), rtol=0, atol=0)
