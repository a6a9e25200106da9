"""A compact student of fitted detectors of pictures: what they find, for a fraction of their work.

It is a reverse distillation of its own, with a narrow encoder and a thrifty decoder, so that it knows by itself what is
not normal, drawn or not. From the detectors it hears what counts: on good pictures, and on the same with drawn defects,
strong and faint, it learns to weigh the channels of its features so that its map becomes theirs; the map's scales keep
their shares. A network that learned the map from the picture outright would know the drawn defects and little else.

Several detectors are put on one footing by the quantiles of their maps of good pictures, and averaged.

Batzner, Heckler and König, "EfficientAD", WACV 2024 (the footing; channels and places that count); Hinton, Vinyals and
Dean, "Distilling the knowledge in a neural network", arXiv 1503.02531.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from limbeck.contracts import Artefact, Distiller, Items, OnStep, Scorer, Step, ignore
from limbeck.data.defects import damage
from limbeck.data.images import evenly
from limbeck.errors import InputError
from limbeck.fidelity import spearman, top_overlap
from limbeck.image.config import CompactConfig
from limbeck.image.features import Features
from limbeck.image.footing import by_quantiles
from limbeck.image.maps import enlarge, parts_of_relative
from limbeck.image.matching import FeatureMatching, distil, find_footing
from limbeck.image.reverse_distillation import ReverseDistillationModel, build_model, teacher_within

__all__ = ["Compact"]

METHOD = "compact"
GRID = 8  # pixels of the picture for a place of the maps that are compared
BEND = 0.2  # error of a map's place from which it counts as it is, and no longer by its square
HARD = 0.02  # share of a map's places that are the hardest
AT_ONCE = 16  # pictures
HELD_OUT = 0.2  # share of the pictures on which student and detectors are compared


@final
class Compact(Distiller):
    """`compact`: good pictures and fitted detectors in, an artefact out.

    Parameters
    ----------
    config : CompactConfig
        Every knob.
    teachers : sequence of Scorer
        The detectors; each takes pictures of the size that is learned from, and gives maps.
    """

    def __init__(self, config: CompactConfig, teachers: Sequence[Scorer]) -> None:
        self.config, self.teachers = config, tuple(teachers)

    def fit(self, items: Items, *, seed: int, workdir: Path, on_step: OnStep = ignore) -> Artefact:
        """Learn from good pictures; see `Distiller.fit`."""
        teacher = teacher_within(self.config, items, seed=seed, on_step=on_step)
        model = build_model(self.config, seed=seed, teacher=teacher)
        told: dict[str, Any] = {}

        def foot(model: FeatureMatching, features: Features, held: NDArray[np.int64]) -> None:
            assert isinstance(model, ReverseDistillationModel)
            find_footing(model, features, held)
            lessons = _lessons(model, self.teachers, items, self.config, seed, on_step)
            told.update(_listen(model, lessons, self.config, seed, on_step))

        artefact = distil(model, items, method=METHOD, seed=seed, workdir=workdir, on_step=on_step, foot=foot)
        follows = told["follows"]
        note = (
            f"on {follows['n']} pictures that it did not hear of, {follows['damaged']} with a drawn defect, the "
            f"student agrees with its teacher: rank correlation of their scores {follows['spearman']:.3f} "
            f"({follows['before']:.3f} before it was told what counts)"
        )
        notes = [*artefact.training["notes"], note]
        training = artefact.training | told | {"teachers": len(self.teachers), "notes": notes}
        return replace(artefact, training=training)


@dataclass(frozen=True)
class _Lessons:
    """Good and damaged pictures, what the student makes of them, and what the detectors say."""

    parts: list[Tensor]  # float16 (n, c, h, w) of each scale: squared differences, relative to what is usual
    maps: Tensor  # (n, g, g)
    picture: NDArray[np.int64]  # (n,) which good one each is, or was made of
    damaged: NDArray[np.bool_]  # (n,)


def _listen(
    model: ReverseDistillationModel, lessons: _Lessons, config: CompactConfig, seed: int, on_step: OnStep
) -> dict[str, Any]:
    """Weigh the channels of a trained model so that its map becomes the detectors', and say how close it is."""
    rng = np.random.default_rng((seed, 5))
    pictures = int(lessons.picture.max()) + 1
    apart = rng.permutation(pictures)[: max(1, round(HELD_OUT * pictures))]
    is_held = np.isin(lessons.picture, apart)  # with all that was made of it
    held, learned = np.flatnonzero(is_held), np.flatnonzero(~is_held)
    said = lessons.maps[held].flatten(1).amax(1).numpy()
    weighing = _Weighing(model, config)
    with torch.no_grad():
        weighing.fit_line(lessons.parts, lessons.maps, learned)
        before = spearman(said, weighing(lessons.parts, held).flatten(1).amax(1).numpy())
    optimiser = torch.optim.Adam(weighing.parameters(), config.weigh_rate)
    losses = []
    for step in range(config.weigh_steps):
        some = rng.choice(learned, min(AT_ONCE, len(learned)), replace=False)
        own, wanted = weighing(lessons.parts, some), lessons.maps[some]
        error = F.smooth_l1_loss(own, wanted, beta=BEND, reduction="none").flatten(1)
        loss = error.mean() + config.even * weighing.uneven()
        if config.hard:
            loss = loss + config.hard * error.topk(max(1, round(HARD * error.shape[1])), 1).values.mean()
        for group in optimiser.param_groups:
            group["lr"] = config.weigh_rate * 0.5 * (1 + math.cos(math.pi * step / config.weigh_steps))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(loss.detach()))
        on_step(Step("listening", step + 1, config.weigh_steps, {"loss": losses[-1]}))
    with torch.no_grad():
        student = weighing(lessons.parts, held).flatten(1).amax(1).numpy()
        weighing.settle(model)
    follows = {
        "n": len(held), "damaged": int(lessons.damaged[held].sum()), "spearman": spearman(said, student),
        "before": before, "top_overlap": top_overlap(said, student),
    }  # fmt: skip
    parts = np.array_split(np.array(losses), min(100, len(losses)))
    return {"follows": follows, "listening": [float(part.mean()) for part in parts]}


def _lessons(
    model: ReverseDistillationModel,
    teachers: Sequence[Scorer],
    items: Items,
    config: CompactConfig,
    seed: int,
    on_step: OnStep,
) -> _Lessons:
    """Show good pictures, damaged ones and faintly damaged ones to the student and to the detectors."""
    good = evenly(items, config.heard)
    damaged, place = damage(good, seed + 1)
    if not len(damaged):
        raise InputError(
            "no defect can be drawn on these pictures",
            expected="pictures of some texture, at least 32 pixels high and wide",
            fix="give the pictures that the detector was fitted on",
        )
    strength = np.random.default_rng((seed, 6)).uniform(config.faintest, 1, (len(damaged), 1, 1, 1))
    faint = np.rint(good[place] * (1 - strength) + damaged * strength).astype(np.uint8)
    shown = np.concatenate([good, damaged, faint])
    parts: list[list[Tensor]] = [[] for _ in range(len(model.shapes) * model.times)]
    maps: list[list[Tensor]] = [[] for _ in teachers]
    for i in range(0, len(shown), AT_ONCE):
        pictures = shown[i : i + AT_ONCE]
        for said, teacher in zip(maps, teachers, strict=True):
            said.append(_shrunk(teacher(pictures).map, config.size))
        for kept, part in zip(parts, _parts(model, pictures), strict=True):
            kept.append(part)
        on_step(Step("asking", min(i + AT_ONCE, len(shown)), len(shown)))
    return _Lessons(
        [torch.cat(part) for part in parts],
        _together([torch.cat(said) for said in maps], len(good)),
        np.concatenate([np.arange(len(good)), place, place]),
        np.arange(len(shown)) >= len(good),
    )


def _shrunk(maps: NDArray[np.float32] | None, size: int) -> Tensor:
    """Return maps, (n, h, w), as means of squares of 8 pixels."""
    assert maps is not None
    grid = max(1, size // GRID)
    return F.adaptive_avg_pool2d(torch.from_numpy(maps)[:, None], (grid, grid))[:, 0]


def _together(maps: Sequence[Tensor], good: int) -> Tensor:
    """Put the maps of all detectors, (n, g, g) each, on one footing by those of good pictures, the first; average."""
    slope, shift = by_quantiles(np.stack([said[:good].numpy() for said in maps]))
    scale = 10.0  # so that the 0.995 quantile of a lone detector's normal places is 1: what the loss takes for large
    together = [scale * (s * said + b) for said, s, b in zip(maps, slope, shift, strict=True)]
    return torch.stack(together).sum(0)


@torch.inference_mode()
def _parts(model: ReverseDistillationModel, pictures: NDArray[np.uint8]) -> list[Tensor]:
    """Return the squared differences of each channel, relative to what is usual, float16 (n, c, h, w), by scale."""
    features = model.teacher(torch.from_numpy(pictures))
    outputs = model.outputs(None, features)
    parts = []
    for k, (target, output) in enumerate(zip(model.wanted(features), outputs, strict=True)):
        middle = model.map.get_buffer(f"middle{k}")
        off, usual = parts_of_relative(target, output, middle, model.map.local)
        parts.append((off / usual.unsqueeze(1)).clamp(max=65504).half())
    return parts


class _Weighing(torch.nn.Module):
    """The map as a function of the weights of channels, each kept as its logarithm, and of its mean.

    Parameters
    ----------
    model : ReverseDistillationModel
        Whose map has a footing: where it begins.
    config : CompactConfig
        Size, and whether channels are weighed.
    """

    def __init__(self, model: ReverseDistillationModel, config: CompactConfig) -> None:
        super().__init__()
        shapes = model.wanted([torch.empty(shape) for shape in model.shapes])
        self.channel = torch.nn.ParameterList(torch.zeros(shape.shape[0]) for shape in shapes)
        self.channel.requires_grad_(config.channels)
        self.slope = model.map.slope.clone()
        self.shift = torch.nn.Parameter(model.map.shift.sum())
        grid = max(1, config.size // GRID)
        self.larger = [
            tuple(torch.from_numpy(enlarge(side, grid)).float() for side in shape.shape[1:]) for shape in shapes
        ]

    def forward(self, parts: Sequence[Tensor], chosen: NDArray[np.int64]) -> Tensor:
        """Return the maps of some lessons, (n, g, g)."""
        maps = []
        for k, (part, (rows, columns)) in enumerate(zip(parts, self.larger, strict=True)):
            weight = self.channel[k].exp()
            far = torch.einsum("nchw,c->nhw", part[chosen].float(), weight).clamp_min(1e-12).sqrt()
            maps.append(self.slope[k] * (rows @ far @ columns.T))
        return self.shift + torch.stack(maps).sum(0)

    def uneven(self) -> Tensor:
        """Return how far the channels' weights are from 1, as the mean square of their logarithms, scale by scale."""
        return torch.stack([channel.square().mean() for channel in self.channel]).sum()

    def fit_line(self, parts: Sequence[Tensor], maps: Tensor, chosen: NDArray[np.int64]) -> None:
        """Begin where a line brings the map that there is nearest to what is wanted."""
        own, wanted = self(parts, chosen).flatten().double(), maps[chosen].flatten().double()
        rest = own - own.mean()
        gain = float((rest * (wanted - wanted.mean())).sum() / rest.square().sum().clamp_min(1e-12))
        gain = max(gain, 1e-3)  # a map that points the other way is no place to begin
        self.slope *= gain
        self.shift.copy_(gain * (self.shift - own.mean()) + wanted.mean())

    def settle(self, model: ReverseDistillationModel) -> None:
        """Give the weights to the model's map."""
        for k, channel in enumerate(self.channel):
            model.map.set_weight(k, channel.detach().exp())
        slope = self.slope.tolist()
        model.map.set_footing(slope, [float(self.shift) / len(slope)] * len(slope))
