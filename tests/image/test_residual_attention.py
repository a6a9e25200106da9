"""Pyramid matching with gates: what the gates are when they say nothing, and what the whole is without them."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

import limbeck
from limbeck.checks import check_detector
from limbeck.config import replace
from limbeck.image import residual_attention as module
from limbeck.image.backbones import ARCHITECTURES, Tap, build
from limbeck.image.config import ResidualAttentionConfig
from limbeck.image.losses import feature_loss
from limbeck.image.maps import distance
from limbeck.image.residual_attention import Gate, GatedStudent, build_model, narrow_backbone

QUICK = {
    "backbone": "resnet18", "weights": "random", "taps": "layer1,layer2", "size": 64, "steps": 3, "batch": 4,
    "rate": 0.1, "checkpoint": 1e6,
}  # fmt: skip


def settings(**values):
    return replace(ResidualAttentionConfig(), QUICK | values)


def pictures(n, size=64, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (n, size, size, 3), np.uint8))


def count(network):
    return sum(p.numel() for p in network.parameters())


# the gate


@pytest.mark.parametrize("levels", [1, 2])
@pytest.mark.parametrize("size", [16, 15, 2])
def test_a_fresh_gate_is_a_gain_of_one_and_a_half(levels, size):
    x = torch.randn(2, 8, size, size)
    torch.testing.assert_close(Gate(8, levels)(x), 1.5 * x)


def test_a_gate_strengthens_and_never_weakens():
    x = torch.rand(2, 8, 16, 16)
    gate = Gate(8, 2, zero=False)
    mask = gate.mask(x)
    assert mask.shape == x.shape and 0 < mask.min() < mask.max() < 1 and mask.std() > 1e-3
    torch.testing.assert_close(gate(x), x + mask * x)


def test_the_normalised_loss_absorbs_a_constant_gain():
    """With gates that begin at zero the first loss is that of plain matching."""
    x = pictures(3)
    plain, gated = (build_model(settings(attention=a), seed=0) for a in ("none", "after"))
    gated.student.backbone.load_state_dict(plain.student.backbone.state_dict())
    targets = list(plain.targets(x))
    assert gated.loss(x, targets).item() == pytest.approx(plain.loss(x, targets).item(), rel=1e-5)
    for a, b in zip(plain.outputs(x, targets), gated.outputs(x, targets), strict=True):
        torch.testing.assert_close(b, 1.5 * a)


@pytest.mark.parametrize(("channels", "millions"), [(256, 0.2), (512, 0.8)])
def test_a_gate_has_the_size_of_the_specification(channels, millions):
    assert count(Gate(channels, 1)) / 1e6 == pytest.approx(millions, abs=0.05)
    full = {256: 1.3, 512: 5.2}[channels]
    assert count(Gate(channels, 1, "basic")) / 1e6 == pytest.approx(full, abs=0.05)


# the student


def test_without_attention_it_is_plain_pyramid_matching():
    """The student is the backbone itself, and the loss the squared distance of unit vectors at each place."""
    model = build_model(settings(attention="none"), seed=0)
    assert not len(model.student.gates)
    assert count(model.student) == count(build("resnet18", ["layer1", "layer2"]))
    x = pictures(3)
    targets = list(model.targets(x))
    plain = model.student.backbone(model.teacher.normalise(x))
    wanted = 0.0
    for t, s in zip(targets, plain, strict=True):
        t, s = (f / f.norm(dim=1, keepdim=True) for f in (t, s))
        wanted += (t - s).square().sum(1).mean().item()
    assert model.loss(x, targets).item() == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("backbone", ["efficientnet-lite0", "resnet18", "vgg16_bn"])
def test_a_student_is_used_as_it_learned(backbone):
    """Running statistics are those of its weights within dozens of steps, for it learns for hundreds."""
    student = build_model(settings(backbone=backbone, taps="", size=32, attention="none"), seed=0).student.double()
    x = torch.randn(8, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        for _ in range(100):
            learning = student.train()(x)
        used = student.eval()(x)
    for a, b in zip(learning, used, strict=True):
        assert distance(a, b).mean() < 0.1


@pytest.mark.parametrize("attention", ["residual", "after"])
def test_what_the_next_stage_sees(attention):
    backbone = build("resnet18", ["layer1", "layer2"])
    student = GatedStudent(backbone, attention).eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        first, second = student(x)
        plain = backbone(x)
        torch.testing.assert_close(first, 1.5 * plain[0])
        before = first if attention == "residual" else plain[0]
        torch.testing.assert_close(second, 1.5 * backbone.get_submodule("layer2")(before))


@pytest.mark.parametrize("name", list(ARCHITECTURES))
@pytest.mark.parametrize("student", ["same", "narrow"])
def test_every_backbone_has_a_student(name, student):
    """Whatever taps a backbone has by default, the student has the same shapes."""
    architecture = ARCHITECTURES[name]
    with torch.device("meta"):
        teacher = build(name)
        twin = (
            narrow_backbone(teacher.taps, signed=architecture.signed)
            if student == "narrow"
            else module._twin(architecture, teacher.taps)
        )
        x = torch.zeros(2, 3, 64, 64)
        assert [f.shape for f in GatedStudent(twin)(x)] == [f.shape for f in teacher.eval()(x)]


def test_a_plain_vgg_has_a_normalised_student():
    taps = tuple(t for t in ARCHITECTURES["vgg16"].taps if t.name in ARCHITECTURES["vgg16"].default_taps)
    with torch.device("meta"):
        twin = module._twin(ARCHITECTURES["vgg16"], taps)
    assert [t.name for t in twin.taps] == list(ARCHITECTURES["vgg16_bn"].default_taps)
    assert any(isinstance(m, nn.BatchNorm2d) for m in twin.modules())


def test_the_narrow_student_is_the_papers():
    """Salehi et al.: 16,16 | 16,128 | 16,16,256 | 16,16,512 | 16,16,512 at the poolings 2 to 5: 0.35 million."""
    taps = [t for t in ARCHITECTURES["vgg16"].taps if t.pooled][1:]
    narrow = narrow_backbone(taps)
    convolutions = [m.out_channels for m in narrow.modules() if isinstance(m, nn.Conv2d)]
    assert convolutions == [16, 16, 16, 128, 16, 16, 256, 16, 16, 512, 16, 16, 512]
    assert round(count(narrow) / 1e6, 2) in (0.34, 0.35)
    assert all(m.bias is None for m in narrow.modules() if isinstance(m, nn.Conv2d))
    features = narrow(torch.zeros(1, 3, 64, 64))
    assert [tuple(f.shape[1:]) for f in features] == [(128, 16, 16), (256, 8, 8), (512, 4, 4), (512, 2, 2)]


@pytest.mark.parametrize("signed", [False, True])
def test_features_are_signed_where_the_teachers_are(signed):
    narrow = narrow_backbone([Tap("a", 24, 4), Tap("b", 40, 8)], signed=signed).eval()
    lowest = min(f.min().item() for f in narrow(torch.randn(1, 3, 64, 64)))
    assert (lowest < 0) == signed


# learning


def test_squares_add_the_difference_of_the_features():
    model = build_model(settings(squares=0.5), seed=0)
    x = pictures(2)
    targets = list(model.targets(x))
    outputs = model.outputs(x, targets)
    wanted = feature_loss(targets, outputs, "l2norm") + 0.5 * sum(
        (o - t).square().mean() for o, t in zip(outputs, targets, strict=True)
    )
    assert model.loss(x, targets).item() == pytest.approx(wanted.item(), rel=1e-4)


@pytest.fixture(scope="module")
def detector(parts):
    config = settings(steps=12, rate=0.05, batch=8, taps="layer1,layer2", student="narrow")
    with pytest.warns(limbeck.LimbeckWarning):
        return limbeck.fit(parts, method="residual-attention", config=config, seed=1)


def test_what_is_fitted_passes_the_battery(detector, parts):
    check_detector(detector, detector.pictures(parts / "test/good"))
    assert detector.card.method == "residual-attention"


def test_the_graph_holds_student_and_gates(detector):
    training = detector.artefact.training
    assert training["pictures"] == {"learned": 19, "held_out": 5}
    assert training["parity"]["largest"] < training["parity"]["tolerance"]


def test_combining_by_product(parts):
    x = pictures(2)
    model = build_model(settings(combine="product", footing="none"), seed=0).eval()
    plain = build_model(settings(combine="sum", footing="none"), seed=0).eval()
    with torch.inference_mode():
        features = model.teacher(x)
        outputs = model.outputs(x, features)
        _, product = model.map(features, outputs)
        parts = [plain.map.scale(distance(t, o), k) for k, (t, o) in enumerate(zip(features, outputs, strict=True))]
    torch.testing.assert_close(product, parts[0] * parts[1])


def test_knobs_are_those_of_its_class():
    names = {f.name for f in dataclasses.fields(ResidualAttentionConfig)}
    assert {"attention", "student", "mask_unit", "mask_start", "squares"} <= names and "code" not in names
