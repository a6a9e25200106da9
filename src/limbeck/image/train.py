"""The training loop of the methods that learn from a teacher's features: plain, in the order things happen."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from limbeck.contracts import OnStep, Step
from limbeck.image.config import PictureConfig
from limbeck.image.features import Features
from limbeck.outputs import new_file

__all__ = ["Learner", "Learning", "batches", "batches_in_an_epoch", "train", "write_checkpoint"]


class Learner(Protocol):
    """What is trained: a student, and the loss of a batch of its teacher's features."""

    looks: bool  # whether the student looks at the pictures themselves, not only at the features

    @property
    def student(self) -> nn.Module:
        """What learns."""

    def loss(self, images: Tensor | None, targets: list[Tensor]) -> Tensor:
        """Return the loss of a batch, shape (), of uint8 pictures (n, h, w, 3) where it looks, and features."""


def train(
    learner: Learner,
    features: Features,
    chosen: NDArray[np.int64],
    config: PictureConfig,
    *,
    seed: int,
    workdir: Path,
    on_step: OnStep,
    held: NDArray[np.int64] | None = None,
) -> list[float]:
    """Teach a student; the last weights are the result, or the best ones.

    Parameters
    ----------
    learner : Learner
        Its student is changed in place.
    features : Features
        Of all pictures, filled.
    chosen : ndarray of int, shape (n,)
        The pictures to learn from.
    config : PictureConfig
        Steps, batch, optimiser, rate, decay, schedule, which weights are kept, checkpoint.
    seed : int
        Of the order of the pictures and of dropout.
    workdir : Path
        Where the checkpoint goes, and is taken up from.
    on_step : callable
        Called after each step, with the loss.
    held : ndarray of int, shape (m,), optional
        The pictures that say which weights are the best, after each epoch; needed for ``keep="best"``.

    Returns
    -------
    list of float
        Mean loss of each hundredth of the steps.
    """
    learning = Learning(learner.student, config)
    checkpoint = workdir / "checkpoint.pt"
    if checkpoint.exists():
        learning.load_state_dict(torch.load(checkpoint, weights_only=True))
    best = held is not None and config.keep == "best"
    saved = time.monotonic()
    each = batches_in_an_epoch(len(chosen), config.batch)
    for step, places in batches(len(chosen), config.batch, config.steps, seed, len(learning.losses)):
        loss = learning.step(partial(_loss, learner, features, chosen[places]), seed)
        on_step(Step("learning", step + 1, config.steps, {"loss": loss}))
        if best and held is not None and ((step + 1) % each == 0 or step + 1 == config.steps):
            learning.judge(_mean_loss(learner, features, held, config.batch))
        if time.monotonic() - saved >= config.checkpoint and step + 1 < config.steps:
            write_checkpoint(checkpoint, learning.state_dict())
            saved = time.monotonic()
    write_checkpoint(checkpoint, learning.state_dict())
    return learning.finish()


class Learning:
    """A student on its way: all that a stopped run needs to go on.

    Parameters
    ----------
    student : Module
        Changed in place.
    config : PictureConfig
        Optimiser, rate, decay, schedule, steps.
    """

    def __init__(self, student: nn.Module, config: PictureConfig) -> None:
        self.student, self.config = student.train(), config
        self.optimiser = _optimiser(student, config)
        self.losses: list[float] = []
        self.best: dict[str, Tensor] | None = None
        self.lowest = math.inf

    def step(self, loss: Callable[[], Tensor], seed: int, at: int | None = None) -> float:
        """Take a step down a loss, which is returned; dropout draws what it would in a run that was not stopped.

        `at` is the step at which the schedule stands, by default the number of steps taken so far.
        """
        done = len(self.losses)
        at = done if at is None else at
        if self.config.schedule == "cosine":
            for group in self.optimiser.param_groups:
                group["lr"] = self.config.rate * 0.5 * (1 + math.cos(math.pi * at / self.config.steps))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed * 1_000_003 + done)
            value = loss()
        self.optimiser.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.losses.append(float(value.detach()))
        return self.losses[-1]

    def judge(self, loss: float) -> None:
        """Keep the weights if they are the best so far."""
        if loss < self.lowest:
            self.lowest = loss
            self.best = {k: v.detach().clone() for k, v in self.student.state_dict().items()}

    def finish(self) -> list[float]:
        """Take the best weights, if any were kept, and return the mean loss of each hundredth of the steps."""
        if self.best is not None:
            self.student.load_state_dict(self.best)
        self.student.eval()
        parts = np.array_split(np.array(self.losses), min(100, len(self.losses)))
        return [float(part.mean()) for part in parts]

    def state_dict(self) -> dict[str, Any]:
        """Return weights, optimiser, losses, and the best weights so far."""
        return {
            "student": self.student.state_dict(), "optimiser": self.optimiser.state_dict(), "losses": self.losses,
            "best": self.best, "lowest": self.lowest,
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        self.student.load_state_dict(state["student"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.losses, self.best, self.lowest = state["losses"], state["best"], state["lowest"]


def write_checkpoint(file: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint, whole or not at all."""
    with new_file(file, overwrite=True) as partial_file:
        torch.save(state, partial_file)


def _optimiser(student: nn.Module, config: PictureConfig) -> torch.optim.Optimizer:
    if config.optimiser == "sgd":
        return torch.optim.SGD(student.parameters(), config.rate, 0.9, weight_decay=config.decay)
    return torch.optim.AdamW(student.parameters(), config.rate, (0.5, 0.999), weight_decay=config.decay, fused=True)


def _loss(learner: Learner, features: Features, places: NDArray[np.int64]) -> Tensor:
    return learner.loss(features.pictures(places) if learner.looks else None, features[places])


def _mean_loss(learner: Learner, features: Features, held: NDArray[np.int64], batch: int) -> float:
    """Return the loss of pictures that are not learned from, each weighing the same."""
    learner.student.eval()
    with torch.no_grad():
        parts = [held[i : i + batch] for i in range(0, len(held), batch)]
        total = sum(float(_loss(learner, features, part)) * len(part) for part in parts)
    learner.student.train()
    return total / len(held)


def batches_in_an_epoch(n: int, size: int) -> int:
    """Return the number of batches in an epoch."""
    return max(1, n // size + (n % size > 1))


def batches(n: int, size: int, steps: int, seed: int, first: int = 0) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield the number of each step from `first` on, and the pictures of its batch.

    Each epoch is a new order of all pictures. A last batch of one picture, on which batch normalisation fails where the
    code has one pixel, joins the batch before it; a picture that is alone comes twice.
    """
    each = batches_in_an_epoch(n, size)
    order, epoch = np.empty(0, np.int64), -1
    for step in range(first, steps):
        if step // each != epoch:
            epoch = step // each
            order = np.random.default_rng((seed, epoch)).permutation(n) if n > 1 else np.zeros(2, np.int64)
        place = step % each
        stop = len(order) if place == each - 1 else (place + 1) * size
        yield step, order[place * size : stop]
