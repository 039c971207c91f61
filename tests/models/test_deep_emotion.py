import math

import pytest
import torch

from affectlens.core.errors import BadSetting
from affectlens.models.deep_emotion import build


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({}, 43_737),
        ({"stn": True}, 66_877),
        ({"stn": True, "msa": True}, 95_829),
        ({"stn": True, "msa": True, "msa_form": "joint"}, 100_302),
    ],
)
def test_every_variant_has_the_published_number_of_parameters(options, parameters):
    assert sum(weight.numel() for weight in build(7, **options).parameters()) == parameters


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"msa": True}, "msa needs stn=True, because it is part of the spatial transformer's localisation network"),
        ({"stn": True, "msa": True, "msa_form": "both"}, "must be 'separate' or 'joint', got 'both'"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"dropout": -0.1}, r"dropout must be in \[0, 1\), got -0.1"),
        ({"dropout": math.nan}, r"dropout must be in \[0, 1\), got nan"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(BadSetting, match=message):
        build(7, **options)


def test_the_transformer_starts_by_passing_the_face_on():
    network = build(7, stn=True, msa=True).eval()
    face = torch.rand(2, 1, 48, 48)
    torch.testing.assert_close(network.stn(face), face, atol=1e-5, rtol=0)


def test_dropout_is_on_in_training_alone():
    network = build(7, dropout=0.9)
    face = torch.rand(2, 1, 48, 48)
    assert not torch.equal(network.train()(face), network(face))
    torch.testing.assert_close(network.eval()(face), network(face), rtol=0, atol=0)


def test_without_dropout_training_is_as_evaluation():
    network = build(7, dropout=0.0)
    face = torch.rand(2, 1, 48, 48)
    torch.testing.assert_close(network.train()(face), network.eval()(face))
