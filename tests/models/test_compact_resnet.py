import math

import pytest
import torch

from affectlens.core.errors import BadSetting
from affectlens.models.compact_resnet import BasicBlock, build
from affectlens.models.layers.squeeze_excitation import Excitation


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"widths": (8, 16), "depths": (1, 1, 1)}, "widths and depths must have the same length, got 2 and 3"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"se": -1}, "se must be at least 0, got -1"),
        ({"dropout": -0.1}, r"dropout must be in \[0, 1\), got -0.1"),
        ({"dropout": math.nan}, r"dropout must be in \[0, 1\), got nan"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(BadSetting, match=message):
        build(8, **options)


@pytest.mark.parametrize("side", [16, 48, 64])
def test_any_side_from_16_pixels_is_accepted(side):
    network = build(8, widths=(8, 8, 8, 8), depths=(1, 1, 1, 1)).eval()
    assert network(torch.randn(1, 1, side, side)).shape == (1, 8)


def test_depths_are_the_numbers_of_blocks():
    assert len(build(8, widths=(8, 16, 16), depths=(1, 2, 3)).blocks) == 6


def test_a_fresh_block_passes_its_input_on():
    block = BasicBlock(4, 4, stride=1).eval()
    x = torch.rand(2, 4, 6, 6)
    torch.testing.assert_close(block(x), x)


def test_a_block_with_stride_halves_the_sides():
    assert BasicBlock(4, 8, stride=2)(torch.rand(2, 4, 6, 6)).shape == (2, 8, 3, 3)


def test_gates_weigh_the_channels_of_a_block_before_the_shortcut():
    block = BasicBlock(4, 4, stride=1, se=2).eval()
    torch.nn.init.ones_(block.norm2.weight)
    x = torch.rand(2, 4, 6, 6)
    residual = block.norm2(block.conv2(torch.relu(block.norm1(block.conv1(x)))))
    gate = block.gate.gate(residual.mean(dim=(2, 3)))
    assert gate.std() > 0
    torch.testing.assert_close(block(x), torch.relu(gate[:, :, None, None] * residual + x))
    assert sum(isinstance(m, Excitation) for m in build(8, depths=(1, 2, 3, 2), se=16).modules()) == 8
    assert not any(isinstance(m, Excitation) for m in build(8).modules())


def test_dropout_is_off_in_evaluation():
    network = build(8, widths=(8, 8), depths=(1, 1), dropout=0.9).eval()
    image = torch.randn(2, 1, 16, 16)
    torch.testing.assert_close(network(image), network(image))
