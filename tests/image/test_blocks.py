"""Blocks have the shapes and the parts that checkpoints and students expect."""

import pytest
import torch
from torch import nn

from limbeck.image.blocks import Basic, Bottleneck, stage


@pytest.mark.parametrize(("kind", "block"), [("basic", Basic), ("bottleneck", Bottleneck)])
@pytest.mark.parametrize(("change", "size"), [("down", 8), ("same", 16), ("up", 32)])
def test_the_first_block_changes_size_and_channels(kind, block, change, size):
    made = stage(kind, 48, 128, 3, () if change == "same" else (change,), 2)
    assert len(made) == 3 and all(type(b) is block for b in made)
    assert made(torch.rand(2, 48, 16, 16)).shape == (2, 128, size, size)
    assert [isinstance(b.downsample, nn.Identity) for b in made] == [False, True, True]


def test_the_inner_width_of_a_bottleneck():
    assert stage("bottleneck", 48, 128, 1, ("down",), 2)[0].conv2.weight.shape == (64, 64, 3, 3)
    assert stage("bottleneck", 48, 128, 1, ("up",), 1)[0].conv2.weight.shape == (32, 32, 2, 2)
