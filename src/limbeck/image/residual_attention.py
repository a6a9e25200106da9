"""Pyramid matching with residual attention: a student looks at the picture as its teacher does, and gates what it sees.

Student and teacher go the same way through a picture. Learned on good pictures alone, the student's features are the
teacher's where the picture is normal. A gate on each tap strengthens what its mask points at, ``(1 + M(S)) * S``,
before it is matched and before the next stage. Without gates this is student-teacher feature pyramid matching.

"Industrial anomaly detection via teacher student network", 2023, of which the abstract alone could be had: every
detail is a reconstruction, and a field of `ResidualAttentionConfig`. Wang et al., "Student-teacher feature pyramid
matching for anomaly detection", BMVC 2021; Salehi et al., "Multiresolution knowledge distillation for anomaly
detection", CVPR 2021 (the narrow student); Wang et al., "Residual attention network for image classification", CVPR
2017 (the gate).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limbeck.contracts import Artefact, Distiller, Items, OnStep, ignore
from limbeck.image.backbones import ARCHITECTURES, Architecture, Backbone, Steps, Tap, build, find_architecture
from limbeck.image.blocks import stage, start
from limbeck.image.config import ResidualAttentionConfig
from limbeck.image.losses import feature_loss
from limbeck.image.matching import FeatureMatching, distil
from limbeck.image.teacher import Teacher

__all__ = ["Gate", "GatedStudent", "ResidualAttention", "ResidualAttentionModel", "build_model", "narrow_backbone"]

METHOD = "residual-attention"
NARROW = 16  # channels between the taps of the narrow student
STRIDES = (4, 8, 16)  # of the taps, where none are named: those of STPM, for small targets and students that learn fast
CONVOLUTIONS = (2, 2, 3, 3, 3)  # of its stages, at strides 1, 2, 4, 8, 16: VGG-16's


class Gate(nn.Module):
    """Residual attention: ``(1 + M(x)) * x``, with a mask M in (0, 1) from a way down and up again.

    Parameters
    ----------
    channels : int
        A multiple of 4.
    levels : int
        How often the way down halves height and width.
    unit : str
        Its residual units: "bottleneck", with a quarter of the channels inside, or "basic", with all of them.
    zero : bool
        Whether the last convolution begins at zero: every gain is then 1.5.
    """

    def __init__(self, channels: int, levels: int, unit: str = "bottleneck", *, zero: bool = True) -> None:
        super().__init__()
        self.units = nn.ModuleList(stage(unit, channels, channels, 1, ()) for _ in range(levels))
        self.head = nn.Sequential(
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 1),
        )
        start(self)
        if zero:
            last = cast(nn.Conv2d, self.head[-1])
            nn.init.zeros_(last.weight)
            assert last.bias is not None
            nn.init.zeros_(last.bias)

    def mask(self, x: Tensor) -> Tensor:
        """Return how much each feature is strengthened, in (0, 1), (n, c, h, w)."""
        ways = [x]
        for unit in self.units:
            ways.append(unit(F.max_pool2d(ways[-1], 3, 2, 1)))
        y = ways.pop()
        while ways:
            wider = ways.pop()
            y = F.interpolate(y, wider.shape[2:], mode="bilinear", align_corners=False)
            y = y + wider if ways else y  # the gate's own input is not added
        return torch.sigmoid(self.head(y))

    def forward(self, x: Tensor) -> Tensor:
        """Return the features, strengthened."""
        return x * (1 + self.mask(x))


class GatedStudent(nn.Module):
    """A backbone whose taps are gated.

    Parameters
    ----------
    backbone : Backbone
        What learns.
    attention : str
        "residual": the next stage goes on from the gated features; "after": from those before the gate; "none".
    unit : str
        See `Gate`.
    zero : bool
        See `Gate`.
    """

    def __init__(
        self, backbone: Backbone, attention: str = "residual", unit: str = "bottleneck", *, zero: bool = True
    ) -> None:
        super().__init__()
        self.backbone, self.attention = backbone, attention
        start(backbone)
        deepest = len(backbone.taps) - 1
        gated = [] if attention == "none" else backbone.taps
        self.gates = nn.ModuleList(
            Gate(tap.channels, 1 if k == deepest else 2, unit, zero=zero) for k, tap in enumerate(gated)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the features of each tap of normalised pictures (n, 3, h, w)."""
        places = {tap.name: k for k, tap in enumerate(self.backbone.taps)}
        features = []
        for path in self.backbone.paths:
            x = self.backbone.get_submodule(path)(x)
            if path in places:
                seen = self.gates[places[path]](x) if self.attention != "none" else x
                features.append(seen)
                x = seen if self.attention == "residual" else x
        return features


class ResidualAttentionModel(FeatureMatching):
    """A student that looks at the pictures.

    Parameters
    ----------
    teacher : Teacher
        Frozen; the student sees pictures normalised as it does.
    student : GatedStudent
        Gives features of the teacher's shapes.
    config : ResidualAttentionConfig
        Every knob.
    """

    looks = True

    def __init__(self, teacher: Teacher, student: GatedStudent, config: ResidualAttentionConfig) -> None:
        super().__init__(teacher, student, config)
        self.squares = config.squares

    def outputs(self, images: Tensor | None, targets: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return the student's features of pictures."""
        assert images is not None
        return cast(Sequence[Tensor], self.student(self.teacher.normalise(images)))

    def loss(self, images: Tensor | None, targets: list[Tensor]) -> Tensor:
        """Return the loss of a batch."""
        outputs = self.outputs(images, targets)
        loss = feature_loss(targets, outputs, self.config.loss)
        if self.squares:
            loss = (
                loss
                + self.squares
                * torch.stack(
                    [F.mse_loss(output, target) for target, output in zip(targets, outputs, strict=True)]
                ).sum()
            )
        return loss


def narrow_backbone(taps: Sequence[Tap], *, signed: bool = False) -> Backbone:
    """Return a chain of 3 × 3 convolutions with 16 channels, but those of the taps where it is matched.

    Salehi et al., 2021: every convolution but the last of a stage is normalised, none has a bias.

    Parameters
    ----------
    taps : sequence of Tap
        Of the teacher, shallow to deep, at different strides.
    signed : bool
        Whether features may be negative: they are then taken before the ReLU.

    Returns
    -------
    Backbone
        Its taps have the channels and strides of those given.
    """
    stages = {_stage(tap): tap for tap in taps}
    own = []
    for k, tap in sorted(stages.items()):
        leaf = "pool" if tap.pooled else "last" if signed else "relu"
        own.append(Tap(f"stage{k}.{leaf}", tap.channels, tap.stride, tap.pooled))
    return Backbone(_narrow_steps({k: tap.channels for k, tap in stages.items()}), tuple(own))


def _stage(tap: Tap) -> int:
    """Return how often the size is halved before the convolutions that a tap ends."""
    return tap.stride.bit_length() - 1 - tap.pooled


def _narrow_steps(channels: dict[int, int]) -> Steps:
    inputs = 3
    for k in range(max(channels) + 1):
        for i in range(CONVOLUTIONS[min(k, len(CONVOLUTIONS) - 1)] - 1):
            conv = nn.Conv2d(inputs, NARROW, 3, padding=1, bias=False)
            yield f"stage{k}.conv{i}", nn.Sequential(conv, nn.BatchNorm2d(NARROW), nn.ReLU(inplace=True))
            inputs = NARROW
        outputs = channels.get(k, NARROW)
        yield f"stage{k}.last", nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        yield f"stage{k}.relu", nn.ReLU()
        yield f"stage{k}.pool", nn.MaxPool2d(2)
        inputs = outputs


def build_model(config: ResidualAttentionConfig, *, seed: int) -> ResidualAttentionModel:
    """Build teacher and student.

    Parameters
    ----------
    config : ResidualAttentionConfig
        Every knob.
    seed : int
        Of the student's first weights.

    Returns
    -------
    ResidualAttentionModel
        The student's weights are drawn, the teacher's are loaded.

    Raises
    ------
    ConfigError
        If there is no such backbone or tap.
    InputError
        If the weights cannot be had, or belong to another network.
    """
    architecture = find_architecture(config.backbone)
    taps = config.taps or [t.name for t in architecture.taps if t.stride in STRIDES and not t.pooled]
    teacher = Teacher.load(config.backbone, taps, config.weights)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if config.student == "narrow":
            backbone = narrow_backbone(teacher.taps, signed=architecture.signed)
        else:
            backbone = _twin(architecture, teacher.taps)
        student = GatedStudent(backbone, config.attention, config.mask_unit, zero=config.mask_start == "zero")
    return ResidualAttentionModel(teacher, student.to(memory_format=torch.channels_last), config)  # type: ignore[call-overload]


def _twin(architecture: Architecture, taps: Sequence[Tap]) -> Backbone:
    """Return an untrained backbone of the same topology; that of a VGG without normalisations has them."""
    twin = ARCHITECTURES.get(f"{architecture.name}_bn", architecture)
    same = dict(zip((tap.name for tap in architecture.taps), (tap.name for tap in twin.taps), strict=True))
    return build(twin.name, [same[tap.name] for tap in taps])


@final
class ResidualAttention(Distiller):
    """`residual-attention`: good pictures in, an artefact out.

    Parameters
    ----------
    config : ResidualAttentionConfig
        Every knob.
    """

    def __init__(self, config: ResidualAttentionConfig) -> None:
        self.config = config

    def fit(self, items: Items, *, seed: int, workdir: Path, on_step: OnStep = ignore) -> Artefact:
        """Learn from good pictures; see `Distiller.fit`."""
        model = build_model(self.config, seed=seed)
        return distil(model, items, method=METHOD, seed=seed, workdir=workdir, on_step=on_step)
