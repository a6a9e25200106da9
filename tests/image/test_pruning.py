"""A narrower encoder: what goes first, what is lost, what it costs, and what is refused."""

import copy

import numpy as np
import pytest
import torch

from limbeck.errors import ConfigError
from limbeck.graph import to_onnx
from limbeck.image import pruning as module
from limbeck.image.pruning import count_macs, prune
from limbeck.image.teacher import Teacher
from limbeck.operations import count_operations

SIZE = 64


@pytest.fixture(scope="module")
def teacher():
    return Teacher.load("efficientnet-lite0", ["_blocks.2", "_blocks.4"], weights="random")


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).integers(0, 256, (24, SIZE, SIZE, 3), np.uint8)


def features(teacher, pictures):
    with torch.inference_mode():
        return [f.numpy() for f in teacher(torch.from_numpy(pictures))]


def first_wide(teacher, pictures):
    """The first block that widens, and what reaches it."""
    return next((b, i) for p, b, i in module._walk(teacher, pictures) if p == "_blocks.1")


@torch.no_grad()
def test_each_loss_is_that_of_the_best_linear_map_of_what_is_left(teacher, pictures):
    block, inputs = first_wide(teacher, pictures)
    fade = module._fade(block, inputs)
    wide = torch.cat([module._wide(block, x) for x in inputs.own]).permute(0, 2, 3, 1).flatten(0, 2).double().numpy()
    wanted = torch.cat([block(x) for x in inputs.own]).permute(0, 2, 3, 1).flatten(0, 2).double().numpy()
    wide, wanted = wide - wide.mean(0), (wanted - wanted.mean(0)) / wanted.std(0, ddof=1)
    assert fade.lost[0] == 0 and sorted(fade.lost) == fade.lost and len(set(fade.order)) == 95
    for gone in (1, 30, 60, 90):
        left = np.setdiff1d(np.arange(96), fade.order[:gone])
        solved, *_ = np.linalg.lstsq(wide[:, left], wanted)
        lost = (wanted - wide[:, left] @ solved).var(0).mean()
        assert fade.lost[gone] == pytest.approx(lost, rel=0.05, abs=1e-3)  # the ridge is ours alone
    by_chance = np.linalg.lstsq(wide[:, :36], wanted)[0]
    assert fade.lost[60] < 0.8 * (wanted - wide[:, :36] @ by_chance).var(0).mean()


def test_what_says_the_same_goes_first_and_nothing_is_lost(teacher, pictures):
    """Channels that are there twice: the copies go, and the features stay."""
    double = Teacher(copy.deepcopy(teacher.backbone), teacher.facts, fold=False)
    for path in ("_blocks.1", "_blocks.2", "_blocks.3", "_blocks.4"):
        block = double.backbone.get_submodule(path)
        half = block._expand_conv.out_channels // 2 // 16 * 16
        for conv in (block._expand_conv, block._depthwise_conv):
            conv.weight[half : 2 * half], conv.bias[half : 2 * half] = conv.weight[:half], conv.bias[:half]
    full = count_macs(double, SIZE)
    less = prune(double, pictures, 0.62 * full)
    for a, b in zip(features(double, pictures), features(less, pictures), strict=True):
        assert np.square(a - b).mean() < 1e-4 * a.var()


def test_the_budget_holds_in_the_graph_too(teacher, pictures):
    full, steps = count_macs(teacher, SIZE), []
    before = features(teacher, pictures)
    less = prune(teacher, pictures, 0.6 * full, on_step=steps.append)
    assert 0.55 * full < count_macs(less, SIZE) <= 0.6 * full
    graph = to_onnx(less, pictures[:2], input_name="pictures", output_names=["a", "b"], properties={})
    assert count_operations(graph).total == count_macs(less, SIZE)
    assert [(s.stage, s.done, s.total) for s in steps] == [("narrowing", k, 8) for k in range(1, 9)]
    widths = less.facts["narrowed"]["channels"]
    assert set(widths) == {f"_blocks.{k}" for k in range(1, 5)}
    assert all(w % 16 == 0 or w in (96, 144, 240) for w in widths.values())
    assert less.facts["narrowed"]["macs"] == [full, count_macs(less, SIZE)]
    assert less.taps == teacher.taps and less.fingerprint != teacher.fingerprint
    assert not any(p.requires_grad for p in less.parameters())
    for a, b in zip(before, features(teacher, pictures), strict=True):
        np.testing.assert_array_equal(a, b)  # the original is left alone


def test_solving_anew_is_what_keeps_the_features(teacher, pictures):
    other = np.random.default_rng(1).integers(0, 256, pictures.shape, np.uint8)
    less = prune(teacher, pictures, 0.6 * count_macs(teacher, SIZE))
    wanted, got = features(teacher, other), features(less, other)
    lost = [np.square(a - b).mean() / a.var((0, 2, 3)).mean() for a, b in zip(wanted, got, strict=True)]
    assert max(lost) < 0.2
    again = prune(teacher, pictures, 0.6 * count_macs(teacher, SIZE))
    assert again.fingerprint == less.fingerprint, "nothing is drawn by chance"


def test_what_is_small_enough_stays_as_it_is(teacher, pictures):
    assert prune(teacher, pictures, count_macs(teacher, SIZE)) is teacher


def test_what_cannot_become_that_small(teacher, pictures):
    with pytest.raises(ConfigError, match="the budget is too small") as caught:
        prune(teacher, pictures, 1e6)
    assert "at least" in str(caught.value) and "a larger budget" in str(caught.value)
    resnet = Teacher.load("resnet18", ["layer1"], weights="random")
    with pytest.raises(ConfigError, match="this backbone cannot be made narrower") as caught:
        prune(resnet, pictures, 1e6)
    assert "resnet18" in str(caught.value) and "efficientnet-lite" in str(caught.value)
