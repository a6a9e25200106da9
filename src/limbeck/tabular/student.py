"""The student: a small ReLU network on `Features`, in torch while it learns, in numpy afterwards."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from limbeck.network import LINEAR, REACH, Features, Network

__all__ = ["Lessons", "TorchNetwork", "train_student"]


@dataclass(frozen=True)
class Lessons:
    """What a student is told: rows, and a soft or a hard word on each.

    Attributes
    ----------
    x : ndarray of float32, shape (n, p)
        Network inputs.
    soft : ndarray of float32, shape (n,), or None
        The committee's log-odds; None = labels only.
    hard : ndarray of float32, shape (n,)
        Labels, or on synthetic rows the label of the base row.
    soft_share : ndarray of float32, shape (n,)
        Weight of the soft word against the hard one: 1 where no label is known.
    """

    x: NDArray[np.float32]
    soft: NDArray[np.float32] | None
    hard: NDArray[np.float32]
    soft_share: NDArray[np.float32]


def mlp(inputs: int, hidden: tuple[int, ...]) -> nn.Sequential:
    """Build inputs → hidden → 1 with ReLU between."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(inputs, width), nn.ReLU()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, 1))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep torch to one thread: layers this small only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@_one_thread()
def train_student(
    lessons: Lessons,
    hidden: tuple[int, ...],
    *,
    steps: int,
    batch: int,
    rate: float,
    temperature: float,
    seed: int,
    on_step: Callable[[int, float], None] = lambda done, loss: None,
) -> tuple[tuple[NDArray[np.float32], ...], tuple[NDArray[np.float32], ...], list[float]]:
    """Teach one student; the loop is all there is.

    Parameters
    ----------
    lessons : Lessons
        Rows and words.
    hidden : tuple of int
        Widths of the hidden layers.
    steps, batch : int
        Optimiser steps, and rows in each.
    rate : float
        Peak learning rate; it rises over the first twentieth and falls as a cosine.
    temperature : float
        T of the soft loss ``T² · CE(sigmoid(z / T), sigmoid(s / T))``.
    seed : int
        Of the first weights and the order of the rows.
    on_step : callable
        Called now and then with the steps done and the loss.

    Returns
    -------
    weights : tuple of ndarray, each (inputs, outputs)
        Of each layer.
    biases : tuple of ndarray, each (outputs,)
        Of each layer.
    curve : list of float
        Mean loss of each fiftieth of the steps.

    References
    ----------
    Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network", arXiv 1503.02531.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = mlp(lessons.x.shape[1], hidden)
    x, hard = torch.from_numpy(lessons.x), torch.from_numpy(lessons.hard)
    soft = None if lessons.soft is None else torch.from_numpy(lessons.soft)
    share = torch.from_numpy(lessons.soft_share)
    optimiser = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=1e-4)
    warm = max(1, steps // 20)
    curve: list[float] = []
    order = torch.empty(0, dtype=torch.long)
    total, count = 0.0, 0
    for step in range(steps):
        while len(order) < batch:  # each row once before any row twice
            order = torch.cat([order, torch.randperm(len(x), generator=generator)])
        rows, order = order[:batch], order[batch:]
        for group in optimiser.param_groups:
            group["lr"] = rate * min((step + 1) / warm, 0.5 * (1 + math.cos(math.pi * step / steps)))
        s = net(x[rows])[:, 0]  # (batch,)
        loss = F.binary_cross_entropy_with_logits(s, hard[rows], reduction="none")
        if soft is not None:
            target = torch.sigmoid(soft[rows] / temperature)
            kd = F.binary_cross_entropy_with_logits(s / temperature, target, reduction="none") * temperature**2
            loss = share[rows] * kd + (1 - share[rows]) * loss
        mean = loss.mean()
        optimiser.zero_grad()
        mean.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        total, count = total + mean.item(), count + 1
        if (step + 1) % max(1, steps // 50) == 0 or step + 1 == steps:
            curve.append(total / count)
            on_step(step + 1, total / count)
            total, count = 0.0, 0
    linear = [m for m in net if isinstance(m, nn.Linear)]
    return (
        tuple(m.weight.detach().numpy().T.copy() for m in linear),
        tuple(m.bias.detach().numpy().copy() for m in linear),
        curve,
    )


class TorchNetwork(nn.Module):
    """A `Network` as a torch module: what is exported to ONNX; takes raw rows, float64 (n, d)."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        f: Features = network.features
        for name in ("number", "centre", "scale", "indicator", "onehot_column"):
            self.register_buffer(name, torch.from_numpy(getattr(f, name)))
        self.register_buffer("onehot_code", torch.from_numpy(f.onehot_code.astype(np.float64)))
        self.layers = nn.ModuleList()
        for w, b in zip(network.weights, network.biases, strict=True):
            layer = nn.Linear(*w.shape)
            layer.weight = nn.Parameter(torch.from_numpy(w.T.copy()), requires_grad=False)
            layer.bias = nn.Parameter(torch.from_numpy(b.copy()), requires_grad=False)
            self.layers.append(layer)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores, float32 (n,), of raw rows, float64 (n, d)."""
        tensors = cast(Any, self)
        parts = []
        if tensors.number.numel():
            raw = x[:, tensors.number]  # (n, a)
            raw = torch.where(torch.isnan(raw), tensors.centre, raw)
            z = torch.clamp((raw - tensors.centre) / tensors.scale, -REACH, REACH).to(torch.float32)
            core = torch.clamp(z, -LINEAR, LINEAR)
            rest = z - core
            parts.append(core + torch.sign(rest) * torch.log1p(torch.abs(rest)))
        if tensors.indicator.numel():
            parts.append(torch.isnan(x[:, tensors.indicator]).to(torch.float32))
        if tensors.onehot_column.numel():
            parts.append((x[:, tensors.onehot_column] == tensors.onehot_code).to(torch.float32))
        h = torch.cat(parts, dim=1)  # (n, p)
        for layer in self.layers[:-1]:
            h = torch.relu(layer(h))  # (n, width)
        return cast(Tensor, self.layers[-1](h))[:, 0]  # (n,)
