"""Reverse distillation: a frozen encoder, a one-class code, and a decoder that re-creates the encoder's features.

Learned on good pictures alone. Where a picture is anomalous the encoder's features change and their re-creation stays
near normal: how far both are apart is the anomaly map.

Deng and Li, "Anomaly detection via reverse distillation from one-class embedding", CVPR 2022, arXiv 2201.10703.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from limbeck.contracts import Artefact, Distiller, Items, OnStep, ignore
from limbeck.data.defects import damage
from limbeck.data.images import evenly
from limbeck.errors import ConfigError
from limbeck.image.backbones import find_architecture
from limbeck.image.config import ReverseDistillationConfig
from limbeck.image.losses import Mining, feature_loss
from limbeck.image.maps import LOCAL
from limbeck.image.matching import FeatureMatching, distil
from limbeck.image.mixing import mix
from limbeck.image.pruning import count_macs, prune
from limbeck.image.student import Student, Students, depths_of
from limbeck.image.teacher import Teacher

__all__ = ["ReverseDistillation", "ReverseDistillationModel", "build_model", "teacher_within"]

METHOD = "reverse-distillation"
MACS = 1e9  # in a unit of a budget
NANO = 0.3  # G multiply-adds for a picture
FINEST = {"full": 1.0, "light": 2.0, "nano": 1.0}  # weight of the map's finest scale, by preset
LOCALS = {"full": LOCAL, "light": LOCAL, "nano": 0.25}  # share of a place itself in what is usual there, by preset
CODES = {"yes": (True,), "no": (False,), "both": (False, True)}  # of `halved`: a student each


class ReverseDistillationModel(FeatureMatching):
    """Students that know nothing but their teacher's features.

    Parameters
    ----------
    teacher : Teacher
        Frozen.
    students : Students
        Re-create its features.
    config : ReverseDistillationConfig
        Every knob.
    """

    def __init__(self, teacher: Teacher, students: Students, config: ReverseDistillationConfig) -> None:
        local = config.local or LOCALS[config.preset]
        super().__init__(teacher, students, config, times=len(students), local=local)
        self.config: ReverseDistillationConfig = config
        self.share = config.mix
        self.mining = (
            None if config.mining == "none" else Mining(config.mining, config.mining_level, config.mining_factor)
        )

    def shares(self) -> list[float]:
        """Return how much each scale of the map counts: the finest one, the first, may count more."""
        finest = self.config.finest or FINEST[self.config.preset]
        each = np.array([finest, *[1.0] * (len(self.shapes) - 1)])
        shares: list[float] = np.tile(each / each.mean(), self.times).tolist()
        return shares

    def loss(self, images: Tensor | None, targets: list[Tensor]) -> Tensor:
        """Return the loss of a batch; pictures are not needed."""
        return self.loss_towards(targets, targets)

    def loss_towards(self, wanted: Sequence[Tensor], features: Sequence[Tensor]) -> Tensor:
        """Return the loss of a batch whose features are to be re-created as others, scale by scale."""
        seen = mix(features, self.share) if self.student.training else features
        outputs = self.outputs(None, seen)
        return feature_loss(self.wanted(wanted), outputs, self.config.loss, self.mining) / self.times


def build_model(
    config: ReverseDistillationConfig, *, seed: int, teacher: Teacher | None = None
) -> ReverseDistillationModel:
    """Build teacher and student.

    Parameters
    ----------
    config : ReverseDistillationConfig
        Every knob.
    seed : int
        Of the student's first weights.
    teacher : Teacher, optional
        One that is there already, of the same configuration.

    Returns
    -------
    ReverseDistillationModel
        The student's weights are drawn, the teacher's are loaded.

    Raises
    ------
    ConfigError
        If there is no such backbone or tap, or the numbers of blocks do not fit.
    InputError
        If the weights cannot be had, or belong to another network.
    """
    architecture = find_architecture(config.backbone)
    teacher = teacher or Teacher.load(config.backbone, config.taps, config.weights)
    taps = teacher.backbone.taps
    thrifty = config.fusion == "thrifty" or (config.fusion == "auto" and config.preset != "full")
    codes = CODES[
        config.halved if config.halved != "auto" else architecture.halved if config.preset == "full" else "yes"
    ]
    deepest = taps[-1].stride * (1 + max(codes))
    if config.size % deepest:
        raise ConfigError(
            "the field 'size' cannot have this value",
            expected=f"a multiple of {deepest}, the stride of the code",
            got=str(config.size),
            fix=f"--set size={max(deepest, round(config.size / deepest) * deepest)}",
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        students = Students(
            Student(
                taps,
                architecture.block,
                architecture.inner,
                _depths(config, architecture, len(taps)),
                code=config.code or architecture.code,
                halved=halved,
                signed=architecture.signed,
                squeeze=config.squeeze,
                dropout=config.dropout,
                thrifty=thrifty,
            )
            for halved in codes
        )
    return ReverseDistillationModel(teacher, students, config)


def teacher_within(config: ReverseDistillationConfig, items: Items, *, seed: int, on_step: OnStep = ignore) -> Teacher:
    """Load a teacher; where there is a budget, make it narrower on the pictures until all fits.

    Parameters
    ----------
    config : ReverseDistillationConfig
        Every knob.
    items : Items
        Good pictures.
    seed : int
        Of the defects drawn on some of them.
    on_step : callable
        Called as it becomes narrower.

    Returns
    -------
    Teacher
        Frozen.

    Raises
    ------
    ConfigError
        If the backbone cannot become that small.
    """
    teacher = Teacher.load(config.backbone, config.taps, config.weights)
    budget = config.budget or (NANO if config.preset == "nano" else 0.0)
    if not budget:
        return teacher
    model = build_model(config, seed=seed, teacher=teacher).eval()
    rest = count_macs(model, config.size) - count_macs(teacher, config.size)  # student and map
    good = evenly(items, config.narrowed_on)
    return prune(teacher, np.concatenate([good, damage(good, seed)[0]]), budget * MACS - rest, on_step=on_step)


def _depths(config: ReverseDistillationConfig, architecture: Any, taps: int) -> tuple[int, ...]:
    if not config.blocks:
        return depths_of(architecture, taps)
    if len(config.blocks) != taps + 1 or not all(b.isdigit() and int(b) > 0 for b in config.blocks):
        raise ConfigError(
            "the field 'blocks' cannot have this value",
            expected=f"{taps + 1} whole numbers: of the embedding and of {taps} decoder stages",
            got=",".join(config.blocks),
        )
    return tuple(map(int, config.blocks))


@final
class ReverseDistillation(Distiller):
    """`reverse-distillation`: good pictures in, an artefact out.

    Parameters
    ----------
    config : ReverseDistillationConfig
        Every knob.
    """

    def __init__(self, config: ReverseDistillationConfig) -> None:
        self.config = config

    def fit(self, items: Items, *, seed: int, workdir: Path, on_step: OnStep = ignore) -> Artefact:
        """Learn from good pictures; see `Distiller.fit`."""
        teacher = teacher_within(self.config, items, seed=seed, on_step=on_step)
        model = build_model(self.config, seed=seed, teacher=teacher)
        return distil(model, items, method=METHOD, seed=seed, workdir=workdir, on_step=on_step)
