"""What the methods for pictures share: a student that matches its teacher's features, and the map of where it fails to.

A method says how its student comes to its features (`FeatureMatching.outputs`); the way from good pictures to an
artefact is `distil`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from limbeck.contracts import Artefact, Items, OnStep, Step
from limbeck.graph import check_parity, run_onnx, to_onnx
from limbeck.image.config import PictureConfig
from limbeck.image.features import Features
from limbeck.image.footing import by_means, by_quantiles, scale_maps
from limbeck.image.losses import feature_loss
from limbeck.image.maps import LOCAL, AnomalyMap
from limbeck.image.teacher import Teacher
from limbeck.image.train import train

__all__ = ["FeatureMatching", "distil", "export", "find_footing", "maps_of", "tolerance_of"]

PARITY = 1e-4  # of the ONNX graph's maps before a footing multiplies them; relative above 1
FEWEST_HELD_OUT, MOST_HELD_OUT = 4, 64  # pictures for the footing; where fewer can be spared, those that were learned
AT_ONCE = 16  # pictures


class FeatureMatching(nn.Module):
    """Teacher, student and map in one: what is trained and exported.

    Parameters
    ----------
    teacher : Teacher
        Frozen.
    student : Module
        Gives features of the teacher's shapes.
    config : PictureConfig
        Every knob.
    times : int
        How often the student gives the features: all scales, then all scales again.
    local : float
        Of the map's relative distance: share of a place itself in what is usual there.
    """

    looks = False  # whether the student looks at the pictures themselves, not only at the teacher's features

    def __init__(
        self, teacher: Teacher, student: nn.Module, config: PictureConfig, times: int = 1, local: float = LOCAL
    ) -> None:
        super().__init__()
        self.teacher, self.student, self.config, self.times = teacher, student, config, times
        self.shapes = _shapes(teacher, config.size)
        sizes = [(h, w) for _, h, w in self.shapes] * times
        self.map = AnomalyMap(
            sizes,
            config.size,
            config.size,
            sigma=config.sigma,
            score=config.score,
            combine=config.combine,
            measure=config.measure,
            local=local,
        )

    def targets(self, images: Tensor) -> Sequence[Tensor]:
        """Return the teacher's features of uint8 pictures (n, h, w, 3); they never change, so they may be kept."""
        with torch.no_grad():
            features: Sequence[Tensor] = self.teacher(images)
        return features

    def outputs(self, images: Tensor | None, targets: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return the student's features of pictures; those are given where it looks at them."""
        features: Sequence[Tensor] = self.student(targets)
        return features

    def wanted(self, targets: Sequence[Tensor]) -> list[Tensor]:
        """Return the teacher's features as often as the student gives them."""
        return list(targets) * self.times

    def shares(self) -> list[float]:
        """Return how much each scale of the map counts once all are on one footing, 1 on the average."""
        return [1.0] * (len(self.shapes) * self.times)

    def loss(self, images: Tensor | None, targets: list[Tensor]) -> Tensor:
        """Return the loss of a batch."""
        return feature_loss(targets, self.outputs(images, targets), self.config.loss)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores (n,) and maps (n, h, w) of uint8 pictures (n, h, w, 3)."""
        features = self.teacher(images)
        score, whole = self.map(self.wanted(features), self.outputs(images, features))
        return score, whole


def _alone(model: FeatureMatching, *given: Any, **named: Any) -> tuple[FeatureMatching, list[float]]:
    """Teach the one student that there is; the arguments are those of `train`."""
    return model, train(model, *given, **named)


def distil(
    model: FeatureMatching,
    items: Items,
    *,
    method: str,
    seed: int,
    workdir: Path,
    on_step: OnStep,
    learn: Callable[..., tuple[FeatureMatching, list[float]]] = _alone,
    foot: Callable[[FeatureMatching, Features, NDArray[np.int64]], None] | None = None,
) -> Artefact:
    """Bring a model from good pictures to an artefact: teach, learn, find the footing, export.

    Parameters
    ----------
    model : FeatureMatching
        With its teacher's weights, and its student's first ones.
    items : Items
        Good pictures.
    method : str
        Its name.
    seed : int
        Of the order of the pictures, and of which are held out.
    workdir : Path
        Of unfinished work: features, checkpoint.
    on_step : callable
        Called as the work goes on.
    learn : callable
        How the student learns: takes what `train` does, and returns the model that is kept and what `train` returns.
    foot : callable, optional
        How the scales of the map come together, as `find_footing` does by default.

    Returns
    -------
    Artefact
        All weights are in the graph.
    """
    config = model.config
    key = _key(items, model.teacher, config, seed)
    store = workdir / key[:16]
    store.mkdir(exist_ok=True)
    most = int(config.cache_gb * 1e9)
    features = Features(items, model.targets, model.shapes, folder=store, most_bytes=most, key=key)
    on_step(Step("teaching", 0, features.kept))
    for done in features.fill():
        on_step(Step("teaching", done, features.kept))
    learned, held = _split(len(features), config.held_out, seed)
    model, curve = learn(model, features, learned, config, seed=seed, workdir=store, on_step=on_step, held=held)
    (foot or find_footing)(model, features, held)
    on_step(Step("exporting", 0, 1))
    graph, difference = export(model, next(iter(items.batches(4))).x, method)
    on_step(Step("exporting", 1, 1))
    training = {
        "curves": {"loss": curve},
        "notes": _notes(model.teacher),
        "teacher": model.teacher.describe(),
        "footing": {"slope": model.map.slope.tolist(), "shift": model.map.shift.tolist()},
        "parity": {"largest": difference, "tolerance": tolerance_of(model)},
        "pictures": {"learned": len(learned), "held_out": len(held)},
    }
    return Artefact({}, graph, items.spec, method, asdict(config), training)


def _notes(teacher: Teacher) -> list[str]:
    """Return what the card says of a teacher that is not as it was published."""
    if "narrowed" not in teacher.facts:
        return []
    before, after = (macs / 1e6 for macs in teacher.facts["narrowed"]["macs"])
    return [f"the encoder was made narrower: {before:.3g} to {after:.3g} million multiply-adds for a picture"]


def find_footing(
    model: FeatureMatching,
    features: Features,
    chosen: NDArray[np.int64],
    typical: NDArray[np.int64] | None = None,
) -> None:
    """Say what is usual, and put the scales of a trained model on one footing.

    Parameters
    ----------
    model : FeatureMatching
        Its map is put on the footing.
    features : Features
        Of all pictures.
    chosen : ndarray of int
        Those for the footing, which it did not learn from; the first 64 are asked.
    typical : ndarray of int, optional
        Those whose mean features are usual, by default the same.
    """
    chosen = chosen[:MOST_HELD_OUT]
    parts = _parts(chosen)
    means = [[f.mean((2, 3)) for f in features[part]] for part in (parts if typical is None else _parts(typical))]
    for k, scale in enumerate(model.wanted([torch.cat(scale).mean(0) for scale in zip(*means, strict=True)])):
        model.map.set_middle(k, scale)
    if model.config.footing == "none":
        return
    maps = []
    with torch.inference_mode():
        for part in parts:
            targets = features[part]
            outputs = model.outputs(features.pictures(part) if model.looks else None, targets)
            maps.append(scale_maps(model.map, model.wanted(targets), outputs))
    by = by_means if model.config.footing == "mean" else by_quantiles
    slope, shift = (np.multiply(model.shares(), values) for values in by(np.concatenate(maps, 1)))
    model.map.set_footing(slope.tolist(), (shift if model.config.combine == "sum" else 0 * shift).tolist())


def _parts(chosen: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return np.array_split(chosen, math.ceil(len(chosen) / AT_ONCE))


def maps_of(
    model: FeatureMatching,
    make: Callable[[list[Tensor], NDArray[np.int64]], Sequence[Tensor]],
    features: Features,
    chosen: NDArray[np.int64],
    held: NDArray[np.int64],
) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
    """Judge pictures by what is made of their features, while a student is still to learn.

    Parameters
    ----------
    model : FeatureMatching
        Its map is put on a footing and asked; its student is left as it learns.
    make : callable
        The features of some pictures, and their places among the chosen ones, to what is made of them.
    features : Features
        Of all pictures.
    chosen : ndarray of int, shape (n,)
        Those that are judged.
    held : ndarray of int
        Those for the footing.

    Yields
    ------
    tuple of ndarray of int and Tensor
        Places among the chosen pictures, in their order, and their maps, (m, height, width).
    """
    model.student.eval()
    find_footing(model, features, held)
    for start in range(0, len(chosen), AT_ONCE):
        places = np.arange(start, min(start + AT_ONCE, len(chosen)))
        targets = features[chosen[places]]
        with torch.no_grad():
            maps = model.map(model.wanted(targets), make(targets, places))[1]
        yield places, maps
    model.student.train()


def tolerance_of(model: FeatureMatching) -> float:
    """Return how far an exported graph's maps may be from the model's."""
    return PARITY * max(1.0, float(model.map.slope.sum()))


def export(model: FeatureMatching, pictures: NDArray[np.uint8], method: str) -> tuple[bytes, float]:
    """Export a model to ONNX and compare both on real pictures and on noise."""
    noise = np.random.default_rng(0).integers(0, 256, (2, *pictures.shape[1:]), np.uint8)
    pictures = np.concatenate([pictures, noise])
    graph = to_onnx(
        model,
        pictures[:2],
        input_name="pictures",
        output_names=["score", "map"],
        properties={"limbeck.method": method, "limbeck.size": str(model.config.size)},
    )
    with torch.inference_mode():
        wanted = model(torch.from_numpy(pictures))
    got = run_onnx(graph, pictures)
    words = ("the ONNX graph's scores", "the ONNX graph's maps")
    return graph, max(
        check_parity(w.numpy(), g, tolerance=tolerance_of(model), what=word)
        for w, g, word in zip(wanted, got, words, strict=True)
    )


def _shapes(teacher: Teacher, size: int) -> list[tuple[int, int, int]]:
    """Return the shapes (c, h, w) of a teacher's features for square pictures."""
    with torch.inference_mode():
        features = teacher(torch.zeros(1, size, size, 3, dtype=torch.uint8))
    return [tuple(f.shape[1:]) for f in features]


def _split(n: int, share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pictures to learn from and those held out: the same ones where so few can be spared."""
    order = np.random.default_rng(seed + 2).permutation(n)
    count = round(share * n)
    if count < FEWEST_HELD_OUT:
        return np.sort(order), np.sort(order)
    return np.sort(order[count:]), np.sort(order[:count])


def _key(items: Items, teacher: Teacher, config: PictureConfig, seed: int) -> str:
    """Name a run by everything that decides its result."""
    facts = json.dumps(
        [type(config).__name__, asdict(config), seed, teacher.fingerprint, items.fingerprint()], sort_keys=True
    )
    return hashlib.sha256(facts.encode()).hexdigest()
