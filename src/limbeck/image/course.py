"""How the students of the domains and the global one learn, turn about; who is suspected, and what is usual."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limbeck.calibrate import outlier_cut
from limbeck.contracts import OnStep, Step
from limbeck.fidelity import spearman
from limbeck.image.config import CrossDomainConfig
from limbeck.image.domains import batches_of_domain, divide, groups, outside
from limbeck.image.features import Features
from limbeck.image.foreseen import channel_errors, channel_weights
from limbeck.image.maps import TOP
from limbeck.image.matching import FeatureMatching, find_footing, maps_of
from limbeck.image.memory import distances_to_others, memory_scores, rarity, strangest_places
from limbeck.image.pseudo_normal import pseudo_normal
from limbeck.image.reverse_distillation import ReverseDistillationModel
from limbeck.image.train import Learning, batches, batches_in_an_epoch, write_checkpoint

__all__ = ["REDIVIDED", "Course"]

AT_ONCE = 32  # pictures
FEWEST_TYPICAL = 16  # pictures, whose mean features say what is usual
FEWEST_RANKED = 50  # pictures, below which a rank correlation says little
REDIVIDED = ("share", "trim")  # policies whose domains depend on who is suspected
OWN = 7919  # between the seeds of the students, so that they drop and mix otherwise
Places = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Course:
    """How the students of the domains and the global one learn, turn about.

    Parameters
    ----------
    domains : sequence of ReverseDistillationModel
        One a domain.
    config : CrossDomainConfig
        Every knob.
    narrow : ReverseDistillationModel, optional
        What the global student is instead, where pictures rank alike whether or not their judges saw them.

    Attributes
    ----------
    agreement : float or None
        The rank correlation of a picture's scores by students that saw it and by those that never did; None where
        nothing is to be chosen.
    learned : ndarray of int, shape (n,)
        The pictures that are learned from.
    members : ndarray of bool, shape (domains, n)
        Which pictures each domain's student learns from now.
    score : ndarray of float64, shape (n,)
        How anomalous each of them is held to be, higher = more; without any until it was judged.
    steps : int
        Steps that the domains' students are to take.
    suspected : ndarray of bool, shape (n,)
        The suspects.
    taught : int
        Steps that the domains' students have taken.
    history : list of dict
        Of each division: after how many of them, the number of suspects, the size of each domain.
    """

    def __init__(
        self,
        domains: Sequence[ReverseDistillationModel],
        config: CrossDomainConfig,
        narrow: ReverseDistillationModel | None = None,
    ) -> None:
        self.domains, self.config, self.narrow = list(domains), config, narrow
        self.steps = min(config.domain_steps, config.steps) if config.order == "first" else config.steps
        self.agreement: float | None = None
        self.members: Bools = np.empty((config.domains, 0), bool)
        self.suspected: Bools = np.empty(0, bool)
        self.learned: Places = np.empty(0, np.int64)
        self.score: NDArray[np.float64] = np.empty(0)
        self.taught = 0
        self.history: list[dict[str, Any]] = []

    @property
    def heeded(self) -> bool:
        """Whether suspects are told anything.

        Not, where students that never saw a picture rank pictures otherwise: what they make of one is then what they do
        not know of it, rather than what is normal in it.
        """
        return self.agreement is None or self.agreement >= self.config.alike

    def run(
        self,
        model: ReverseDistillationModel,
        features: Features,
        chosen: Places,
        config: CrossDomainConfig,
        *,
        seed: int,
        workdir: Path,
        on_step: OnStep,
        held: Places,
    ) -> tuple[ReverseDistillationModel, list[float]]:
        """Teach all students; the global one is the result, `model` or the narrow one. The arguments: see `train`."""
        others = [Learning(m.student, replace(config, steps=self.steps)) for m in self.domains]
        n, first, self.learned = len(chosen), config.order == "first", chosen
        group = groups(n, config.domains, seed)
        self.members, self.suspected = divide(config.policy, group, config.domains, None, None)
        checkpoint = workdir / "checkpoint.pt"
        kept = torch.load(checkpoint, weights_only=True) if checkpoint.exists() else {}
        if kept:
            self._take_up(kept, others)
        turns = self._turns(batches_in_an_epoch(n, config.batch))
        saved = time.monotonic()

        def divide_anew(step: int) -> None:
            self.score, cut = self._judge(model, features, chosen, held, seed)
            share = _suspects(config, step / self.steps)
            self.members, self.suspected = divide(config.policy, group, config.domains, self.score, share, cut)
            counts = {"suspects": int(self.suspected.sum()), "pictures": self.members.sum(1).tolist()}
            self.history.append({"step": step, **counts})

        def save(done: bool, final: Learning | None = None) -> None:
            nonlocal saved
            if done or time.monotonic() - saved >= config.checkpoint:
                write_checkpoint(checkpoint, self._state(final, others))
                saved = time.monotonic()

        for step in range(self.taught, self.steps if first else 0):
            if step in turns and config.policy in REDIVIDED:
                divide_anew(step)
            self._teach_domains(others, features, chosen, step, seed)
            on_step(Step("domains", step + 1, self.steps))
            save(step + 1 == self.steps)
        if self.narrow is not None and n >= FEWEST_RANKED:
            self.agreement = self._agree(features, chosen, held)
            model = self.narrow if self.heeded else model
            if config.channels and not self.heeded:
                self._weigh_channels(model, features, chosen)
        final = Learning(model.student, config)
        if kept.get("losses"):
            final.load_state_dict(kept)
        for step, places in batches(n, config.batch, config.steps, seed, len(final.losses)):
            if step == 0 if first else step in turns:
                divide_anew(self.taught if first else step)
            if not first:
                self._teach_domains(others, features, chosen, step, seed)
            targets = features[chosen[places]]
            wanted = self._wanted(targets, places, step)
            loss = final.step(partial(model.loss_towards, wanted, targets), seed)
            on_step(Step("learning", step + 1, config.steps, {"loss": loss}))
            save(step + 1 == config.steps, final)
        return model, final.finish()

    def foot(self, model: FeatureMatching, features: Features, held: Places) -> None:
        """Put the map on its footing; what is usual in it is what the most typical pictures have.

        The others include what hides, and unusual good ones, from which the mean is to be apart: what is far from usual
        may be re-created worse before it counts.
        """
        typical = None
        if self.config.typical and len(self.score):
            count = max(FEWEST_TYPICAL, round(self.config.typical * len(self.score)))
            typical = np.sort(self.learned[np.argsort(self.score, kind="stable")[:count]])
        find_footing(model, features, held, typical)

    def _state(self, final: Learning | None, others: Sequence[Learning]) -> dict[str, Any]:
        """Return all that a stopped run needs to go on."""
        return (final.state_dict() if final else {"losses": []}) | {
            "domains": [o.state_dict() for o in others],
            "taught": self.taught,
            "history": self.history,
            "members": torch.from_numpy(self.members),
            "suspected": torch.from_numpy(self.suspected),
            "score": torch.from_numpy(self.score),
        }

    def _take_up(self, state: dict[str, Any], others: Sequence[Learning]) -> None:
        """Go on from where a run stopped."""
        for learning, kept in zip(others, state["domains"], strict=True):
            learning.load_state_dict(kept)
        self.members, self.suspected = state["members"].numpy(), state["suspected"].numpy()
        self.score, self.taught, self.history = state["score"].numpy(), state["taught"], state["history"]

    def _teach_domains(
        self, others: Sequence[Learning], features: Features, chosen: Places, step: int, seed: int
    ) -> None:
        """Take the steps of the domains' students that fall to a step over all pictures."""
        for k, learning in enumerate(others):
            members = np.flatnonzero(self.members[k])
            for part in batches_of_domain(members, len(chosen), self.config.batch, step, (seed, k)):
                targets = features[chosen[part]]
                loss_of = partial(self.domains[k].loss_towards, targets, targets)
                learning.step(loss_of, seed + OWN * (k + 1), at=step)
        self.taught = step + 1

    def _turns(self, epoch: int) -> set[int]:
        """Return the steps before which the pictures are divided anew: whole epochs, evenly from the warm-up's end."""
        first = self.config.warm_up * self.steps
        places = first + np.arange(self.config.divisions) * (self.steps - first) / self.config.divisions
        return {max(1, round(place / epoch)) * epoch for place in places}

    def _wanted(self, targets: list[Tensor], places: Places, step: int) -> list[Tensor]:
        """Return what the global student is to re-create: a picture's own features, or its pseudo-normal ones."""
        if self.config.order == "turns" and step < self.config.warm_up * self.config.steps:
            return targets
        own = np.where(self.suspected[places] & self.heeded, 0.0, _own(self.config, step))
        told = np.flatnonzero(own < 1.0)
        if not told.size:
            return targets
        rows, share = torch.from_numpy(told), torch.from_numpy(own[told]).float().view(-1, 1, 1, 1)
        pseudo = self._pseudo([t[rows] for t in targets], places[told])
        wanted = [t / t.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1) for t in targets]
        for scale, p in zip(wanted, pseudo, strict=True):
            scale[rows] = share * scale[rows] + (1 - share) * p
        return wanted

    def _pseudo(self, targets: list[Tensor], places: Places, *, seen: bool = False) -> list[Tensor]:
        """Return the pseudo-normal features of pictures, of which their places among those learned from are known.

        With `seen`, what those students make of them that did see them.
        """
        outputs: list[list[Tensor]] = []
        for m in self.domains:
            m.student.eval()
            with torch.no_grad():
                made = list(m.outputs(None, targets))
            m.student.train()
            outputs += [made[i : i + len(targets)] for i in range(0, len(made), len(targets))]
        times = len(outputs) // len(self.domains)
        members = self.members[:, places]
        heard = torch.from_numpy(np.repeat(members if seen else outside(members), times, 0))
        return pseudo_normal(outputs, heard, self.config.aggregate)

    def _maps(
        self, features: Features, chosen: Places, held: Places, *, seen: bool = False
    ) -> Iterator[tuple[Places, Tensor]]:
        """Yield places and maps of pictures, judged by the students that never saw them, or by those that did."""
        judge = self.domains[0]

        def make(targets: list[Tensor], places: Places) -> Sequence[Tensor]:
            return judge.wanted(self._pseudo(targets, places, seen=seen))

        return maps_of(judge, make, features, chosen, held)

    def _agree(self, features: Features, chosen: Places, held: Places) -> float:
        """Return how alike pictures rank by students that saw them and by students that never did.

        Where they do, students have learned nothing of single pictures by heart, and a narrow code holds all they know.
        """
        scores = np.empty((2, len(chosen)))
        for seen, score in zip((False, True), scores, strict=True):
            for places, maps in self._maps(features, chosen, held, seen=seen):
                score[places] = maps.flatten(1).amax(1).numpy()
        return spearman(*scores)

    def _weigh_channels(self, model: ReverseDistillationModel, features: Features, chosen: Places) -> None:
        """Let a channel count the less in a model's map, the worse it is foreseen in pictures never seen."""
        each = []
        for start in range(0, len(chosen), AT_ONCE):
            places = np.arange(start, min(start + AT_ONCE, len(chosen)))
            targets = features[chosen[places]]
            each.append(channel_errors(targets, self._pseudo(targets, places)))
        weights = [channel_weights(torch.cat(errors)) for errors in zip(*each, strict=True)]
        for k, weight in enumerate(model.wanted(weights)):
            model.map.set_weight(k, weight)

    def _judge(
        self,
        model: ReverseDistillationModel,
        features: Features,
        chosen: Places,
        held: Places,
        seed: int,
    ) -> tuple[NDArray[np.float64], float]:
        """Return how anomalous each picture is held to be, and above which score it stands out."""
        config = self.config
        if config.judge == "memory":
            score = memory_scores(features, chosen, seed=seed)
            return score, outlier_cut(score, config.deviations)
        if config.judge == "global":
            found = maps_of(model, lambda targets, _: model.outputs(None, targets), features, chosen, held)
        else:
            found = self._maps(features, chosen, held)
        each = (maps for _, maps in found)
        if config.judge == "rare":
            strange = torch.cat([strangest_places(maps, model.shapes) for maps in each])
            far, others = distances_to_others(features, chosen, strange, seed=seed)
            return rarity(far, others, repeated=config.repeated, deviations=config.deviations)
        top = max(1, round(TOP * config.size**2))
        score = torch.cat([maps.flatten(1).topk(top).values.mean(1) for maps in each]).double().numpy()
        return score, outlier_cut(score, config.deviations)


def _suspects(config: CrossDomainConfig, progress: float) -> float | None:
    """Return the share of suspects: it shrinks to its last value by the middle of the steps, as trust grows."""
    if config.suspects == 0:
        return None
    return config.suspects_first + (config.suspects - config.suspects_first) * min(1.0, 2 * progress)


def _own(config: CrossDomainConfig, step: int) -> float:
    """Return the share of its own features in what is wanted of a picture that is no suspect."""
    return {"pseudo": 0.0, "teacher": 1.0, "fading": 1 - step / config.steps}[config.confident]
