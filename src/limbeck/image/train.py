"""The training loop of the methods that learn from a teacher's features: plain, in the order things happen."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from limbeck.contracts import OnStep, Step
from limbeck.image.config import ReverseDistillationConfig
from limbeck.image.features import Features
from limbeck.outputs import new_file

__all__ = ["Learner", "batches", "train"]


class Learner(Protocol):
    """What is trained: a student, and the loss of a batch of its teacher's features."""

    @property
    def student(self) -> nn.Module:
        """What learns."""

    def loss(self, images: Tensor | None, targets: list[Tensor]) -> Tensor:
        """Return the loss of a batch, shape ()."""


def train(
    learner: Learner,
    features: Features,
    chosen: NDArray[np.int64],
    config: ReverseDistillationConfig,
    *,
    seed: int,
    workdir: Path,
    on_step: OnStep,
) -> list[float]:
    """Teach a student; the last weights are the result.

    Parameters
    ----------
    learner : Learner
        Its student is changed in place.
    features : Features
        Of all pictures, filled.
    chosen : ndarray of int, shape (n,)
        The pictures to learn from.
    config : ReverseDistillationConfig
        Steps, batch, rate, decay, schedule, checkpoint.
    seed : int
        Of the order of the pictures and of dropout.
    workdir : Path
        Where the checkpoint goes, and is taken up from.
    on_step : callable
        Called after each step, with the loss.

    Returns
    -------
    list of float
        Mean loss of each hundredth of the steps.
    """
    student = learner.student
    optimiser = torch.optim.AdamW(
        student.parameters(), config.rate, (0.5, 0.999), weight_decay=config.decay, fused=True
    )
    checkpoint = workdir / "checkpoint.pt"
    first, losses = _resume(checkpoint, student, optimiser)
    student.train()
    saved = time.monotonic()
    for step, places in batches(len(chosen), config.batch, config.steps, seed, first):
        if config.schedule == "cosine":
            for group in optimiser.param_groups:
                group["lr"] = config.rate * 0.5 * (1 + math.cos(math.pi * step / config.steps))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed * 1_000_003 + step)  # of dropout: what a resumed run draws too
            loss = learner.loss(None, features[chosen[places]])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(loss.detach()))
        on_step(Step("learning", step + 1, config.steps, {"loss": losses[-1]}))
        if time.monotonic() - saved >= config.checkpoint and step + 1 < config.steps:
            _save(checkpoint, student, optimiser, losses)
            saved = time.monotonic()
    _save(checkpoint, student, optimiser, losses)
    student.eval()
    parts = np.array_split(np.array(losses), min(100, len(losses)))
    return [float(part.mean()) for part in parts]


def batches(n: int, size: int, steps: int, seed: int, first: int = 0) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield the number of each step from `first` on, and the pictures of its batch.

    Each epoch is a new order of all pictures. A last batch of one picture, on which batch normalisation fails where the
    code has one pixel, joins the batch before it; a picture that is alone comes twice.
    """
    each = max(1, n // size + (n % size > 1))  # batches in an epoch
    order, epoch = np.empty(0, np.int64), -1
    for step in range(first, steps):
        if step // each != epoch:
            epoch = step // each
            order = np.random.default_rng((seed, epoch)).permutation(n) if n > 1 else np.zeros(2, np.int64)
        place = step % each
        stop = len(order) if place == each - 1 else (place + 1) * size
        yield step, order[place * size : stop]


def _resume(checkpoint: Path, student: nn.Module, optimiser: torch.optim.Optimizer) -> tuple[int, list[float]]:
    """Take up a checkpoint, if there is one; return the step to go on with and the losses so far."""
    if not checkpoint.exists():
        return 0, []
    state = torch.load(checkpoint, weights_only=True)
    student.load_state_dict(state["student"])
    optimiser.load_state_dict(state["optimiser"])
    losses: list[float] = state["losses"]
    return len(losses), losses


def _save(checkpoint: Path, student: nn.Module, optimiser: torch.optim.Optimizer, losses: list[float]) -> None:
    """Write a checkpoint, whole or not at all."""
    state: dict[str, Any] = {"student": student.state_dict(), "optimiser": optimiser.state_dict(), "losses": losses}
    with new_file(checkpoint, overwrite=True) as partial:
        torch.save(state, partial)
