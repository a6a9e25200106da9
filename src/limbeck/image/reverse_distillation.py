"""Reverse distillation: a frozen encoder, a one-class code, and a decoder that re-creates the encoder's features.

Learned on good pictures alone. Where a picture is anomalous the encoder's features change and their re-creation stays
near normal: the angle between both is the anomaly map.

Deng and Li, "Anomaly detection via reverse distillation from one-class embedding", CVPR 2022, arXiv 2201.10703.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from limbeck.contracts import Artefact, Distiller, Items, OnStep, Step, ignore
from limbeck.errors import ConfigError
from limbeck.graph import check_parity, run_onnx, to_onnx
from limbeck.image.backbones import find_architecture
from limbeck.image.config import ReverseDistillationConfig
from limbeck.image.features import Features
from limbeck.image.footing import by_means, by_quantiles, scale_maps
from limbeck.image.losses import Mining, feature_loss
from limbeck.image.maps import AnomalyMap
from limbeck.image.student import Student, depths_of
from limbeck.image.teacher import Teacher
from limbeck.image.train import train

__all__ = ["ReverseDistillation", "ReverseDistillationModel", "build_model"]

PARITY = 1e-4  # of the ONNX graph's maps in cosines, which a footing multiplies; relative above 1
FEWEST_HELD_OUT, MOST_HELD_OUT = 4, 64  # pictures for the footing; where fewer can be spared, those that were learned
AT_ONCE = 16  # pictures


class ReverseDistillationModel(nn.Module):
    """Teacher, student and map in one: what is trained and exported.

    Parameters
    ----------
    teacher : Teacher
        Frozen.
    student : Student
        Re-creates its features.
    config : ReverseDistillationConfig
        Every knob.
    """

    def __init__(self, teacher: Teacher, student: Student, config: ReverseDistillationConfig) -> None:
        super().__init__()
        self.teacher, self.student, self.config = teacher, student, config
        self.shapes = shapes_of(teacher, config.size)
        sizes = [(h, w) for _, h, w in self.shapes]
        self.map = AnomalyMap(sizes, config.size, config.size, sigma=config.sigma, score=config.score)
        self.mining = (
            None if config.mining == "none" else Mining(config.mining, config.mining_level, config.mining_factor)
        )

    def targets(self, images: Tensor) -> Sequence[Tensor]:
        """Return the teacher's features of uint8 pictures (n, h, w, 3); they never change, so they may be kept."""
        with torch.no_grad():
            features: Sequence[Tensor] = self.teacher(images)
        return features

    def loss(self, images: Tensor | None, targets: list[Tensor]) -> Tensor:
        """Return the loss of a batch; pictures are not needed."""
        return feature_loss(targets, self.student(targets), self.config.loss, self.mining)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores (n,) and maps (n, h, w) of uint8 pictures (n, h, w, 3)."""
        features = self.teacher(images)
        score, whole = self.map(features, self.student(features))
        return score, whole


def shapes_of(teacher: Teacher, size: int) -> list[tuple[int, int, int]]:
    """Return the shapes (c, h, w) of a teacher's features for square pictures."""
    with torch.inference_mode():
        features = teacher(torch.zeros(1, size, size, 3, dtype=torch.uint8))
    return [tuple(f.shape[1:]) for f in features]


def build_model(config: ReverseDistillationConfig, *, seed: int) -> ReverseDistillationModel:
    """Build teacher and student.

    Parameters
    ----------
    config : ReverseDistillationConfig
        Every knob.
    seed : int
        Of the student's first weights.

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
    teacher = Teacher.load(config.backbone, config.taps, config.weights)
    taps = teacher.backbone.taps
    halved = architecture.halved if config.halved == "auto" else config.halved == "yes"
    deepest = taps[-1].stride * (1 + halved)
    if config.size % deepest:
        raise ConfigError(
            "the field 'size' cannot have this value",
            expected=f"a multiple of {deepest}, the stride of the code",
            got=str(config.size),
            fix=f"--set size={max(deepest, round(config.size / deepest) * deepest)}",
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        student = Student(
            taps,
            architecture.block,
            architecture.inner,
            _depths(config, architecture, len(taps)),
            code=config.code or architecture.code,
            halved=halved,
            signed=architecture.signed,
            squeeze=config.squeeze,
            dropout=config.dropout,
        )
    return ReverseDistillationModel(teacher, student, config)


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
        model = build_model(self.config, seed=seed)
        key = _key(items, model.teacher, self.config, seed)
        store = workdir / key[:16]
        store.mkdir(exist_ok=True)
        features = Features(
            items,
            model.targets,
            model.shapes,
            folder=store,
            most_bytes=int(self.config.cache_gb * 1e9),
            key=key,
        )
        on_step(Step("teaching", 0, features.kept))
        for done in features.fill():
            on_step(Step("teaching", done, features.kept))
        learned, kept_out = _split(len(features), self.config.held_out, seed)
        curve = train(model, features, learned, self.config, seed=seed, workdir=store, on_step=on_step)
        find_footing(model, features, kept_out)
        on_step(Step("exporting", 0, 1))
        graph, difference = export(model, next(iter(items.batches(4))).x)
        on_step(Step("exporting", 1, 1))
        training = {
            "curves": {"loss": curve},
            "notes": [],
            "teacher": model.teacher.describe(),
            "footing": {"slope": model.map.slope.tolist(), "shift": model.map.shift.tolist()},
            "parity": {"largest": difference, "tolerance": tolerance_of(model)},
            "pictures": {"learned": len(learned), "held_out": len(kept_out)},
        }
        return Artefact({}, graph, items.spec, "reverse-distillation", asdict(self.config), training)


def _split(n: int, share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pictures to learn from and those for the footing: the same ones where so few can be spared."""
    order = np.random.default_rng(seed + 2).permutation(n)
    count = round(share * n)
    if count < FEWEST_HELD_OUT:
        return np.sort(order), np.sort(order)
    return np.sort(order[count:]), np.sort(order[:count])


def find_footing(model: ReverseDistillationModel, features: Features, chosen: NDArray[np.int64]) -> None:
    """Put the scales of a trained model on one footing, by pictures that it did not learn from."""
    if model.config.footing == "none":
        return
    chosen = chosen[:MOST_HELD_OUT]
    with torch.inference_mode():
        told = (features[part] for part in np.array_split(chosen, math.ceil(len(chosen) / AT_ONCE)))
        normal = np.concatenate([scale_maps(model.map, targets, model.student(targets)) for targets in told], 1)
    by = by_means if model.config.footing == "mean" else by_quantiles
    model.map.set_footing(*by(normal))


def tolerance_of(model: ReverseDistillationModel) -> float:
    """Return how far an exported graph's maps may be from the model's."""
    return PARITY * max(1.0, float(model.map.slope.sum()))


def export(model: ReverseDistillationModel, pictures: NDArray[np.uint8]) -> tuple[bytes, float]:
    """Export a model to ONNX and compare both on real pictures and on noise."""
    noise = np.random.default_rng(0).integers(0, 256, (2, *pictures.shape[1:]), np.uint8)
    pictures = np.concatenate([pictures, noise])
    graph = to_onnx(
        model,
        pictures[:2],
        input_name="pictures",
        output_names=["score", "map"],
        properties={"limbeck.method": "reverse-distillation", "limbeck.size": str(model.config.size)},
    )
    with torch.inference_mode():
        wanted = model(torch.from_numpy(pictures))
    got = run_onnx(graph, pictures)
    words = ("the ONNX graph's scores", "the ONNX graph's maps")
    return graph, max(
        check_parity(w.numpy(), g, tolerance=tolerance_of(model), what=word)
        for w, g, word in zip(wanted, got, words, strict=True)
    )


def _key(items: Items, teacher: Teacher, config: ReverseDistillationConfig, seed: int) -> str:
    """Name a run by everything that decides its result."""
    facts = json.dumps([asdict(config), seed, teacher.fingerprint, items.fingerprint()], sort_keys=True)
    return hashlib.sha256(facts.encode()).hexdigest()
