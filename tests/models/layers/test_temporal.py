import pytest
import torch

from affectlens.core.errors import BadSetting
from affectlens.models.layers.temporal import HEADS, TCN_FRAMES, TemporalHead

KINDS = pytest.mark.parametrize("kind", HEADS)


def made(kind):
    torch.manual_seed(0)
    return TemporalHead(kind, features=6, predictions=3, width=32).eval()


@KINDS
def test_before_training_the_predictions_are_those_of_the_single_frames(kind):
    predictions = torch.randn(2, 9, 3)
    found, seen = made(kind)(torch.randn(2, 9, 6), predictions)
    assert torch.equal(found, predictions)
    assert seen.shape == (2, 9, 32)


@KINDS
def test_a_frame_depends_on_no_later_one(kind):
    head = made(kind)
    torch.nn.init.normal_(head.last.weight)
    features = torch.randn(1, 80, 6, requires_grad=True)
    found, _ = head(features, torch.zeros(1, 80, 3))
    (gradient,) = torch.autograd.grad(found[0, 60].sum(), features)
    reached = gradient[0].abs().sum(dim=1).nonzero().flatten().tolist()
    first = {"gru": 0, "tcn": 60 - TCN_FRAMES + 1, "frame": 60}[kind]
    assert reached[-1] == 60
    assert reached[0] >= first
    if kind != "gru":
        assert reached[0] == first


def test_features_are_standardised():
    head = made("frame")
    torch.nn.init.normal_(head.last.weight)
    features, predictions = torch.randn(1, 4, 6), torch.zeros(1, 4, 3)
    before, _ = head(features, predictions)
    head.mean.fill_(2.0)
    head.scale.fill_(3.0)
    torch.testing.assert_close(head(2 + 3 * features, predictions)[0], before)


def test_options_make_the_same_head():
    head = made("tcn")
    other = TemporalHead(**head.options)
    other.load_state_dict(head.state_dict())


@pytest.mark.parametrize(
    ("kind", "width", "message"), [("gur", 4, "did you mean 'gru'"), ("gru", 0, "width must be at least 1, got 0")]
)
def test_what_there_is_not_is_refused(kind, width, message):
    with pytest.raises(BadSetting, match=message):
        TemporalHead(kind, 6, 3, width)
