"""The student: a small ReLU network on `Features`, in torch while it learns, in numpy afterwards."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from limbeck.graph import check_parity, run_onnx, to_onnx
from limbeck.network import LINEAR, REACH, Features, Network, float32_tolerance

__all__ = ["Lessons", "TorchNetwork", "export", "one_thread", "train_student"]

FARTHEST = 8.0  # log-odds that Huber's loss asks for at most
FOCUS = 2.0  # exponent of the focal loss
SMALL_BATCH, LARGE_BATCH, MANY_LESSONS = 512, 2048, 50_000  # rows in a step, and where the larger number begins
TURNS = 10  # parts of the steps, after each of which the soft words may change
PASSES, FEWEST_STEPS = 400, 500  # over the rows: a small table is learned by then, and a student needs some steps


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
    critical : ndarray of int64, shape (k,)
        Places of the rows on which the order at the top depends; k may be 0.
    """

    x: NDArray[np.float32]
    soft: NDArray[np.float32] | None
    hard: NDArray[np.float32]
    soft_share: NDArray[np.float32]
    critical: NDArray[np.int64] = field(default_factory=lambda: np.arange(0))


def mlp(inputs: int, hidden: tuple[int, ...]) -> nn.Sequential:
    """Build inputs → hidden → 1 with ReLU between."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(inputs, width), nn.ReLU()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, 1))


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep torch to one thread: layers this small only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@one_thread()
def train_student(
    lessons: Lessons,
    hidden: tuple[int, ...],
    *,
    steps: int,
    batch: int,
    rate: float,
    temperature: float,
    seed: int,
    soft_loss: str = "tempered",
    hard_loss: str = "plain",
    attention: float = 0.0,
    retell: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None,
    start: Network | None = None,
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
        Peak learning rate for steps of 512 rows; it grows with the root of the batch, rises over the first twentieth
        of the steps and falls as a cosine.
    temperature : float
        T of the tempered soft loss.
    seed : int
        Of the first weights and the order of the rows.
    soft_loss : str
        "tempered": ``T² · CE(sigmoid(z / T), sigmoid(s / T))``; "huber": Huber's loss between the log-odds s and z, z
        clipped to ±8.
    hard_loss : str
        "plain": ``CE(y, sigmoid(s))``; "weighted": the same, each class with half of the whole weight; "focal":
        ``(1 - p)² CE``, p the probability of the true label.
    attention : float, in [0, 1)
        Share of each step's rows that is drawn from the critical ones, where they are rarer than that.
    retell : callable, optional
        Asked ten times, evenly over the steps: what the student says of all rows by then, (n,), in; the soft words
        from then on, (n,), out.
    start : Network, optional
        Whose weights it begins with; it has these hidden layers.

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
    Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network", arXiv 1503.02531; Lin et al., "Focal loss
    for dense object detection", ICCV 2017; Huber, "Robust estimation of a location parameter", 1964; Krizhevsky, "One
    weird trick for parallelizing convolutional neural networks", arXiv 1404.5997 (rate and batch).
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = mlp(lessons.x.shape[1], hidden)
    linear = [m for m in net if isinstance(m, nn.Linear)]
    if start is not None:
        with torch.no_grad():
            for layer, w, b in zip(linear, start.weights, start.biases, strict=True):
                layer.weight.copy_(torch.from_numpy(w.T.copy()))
                layer.bias.copy_(torch.from_numpy(b.copy()))
    x, hard = torch.from_numpy(lessons.x), torch.from_numpy(lessons.hard)
    soft = None if lessons.soft is None else torch.from_numpy(lessons.soft)
    share = torch.from_numpy(lessons.soft_share)
    rarity = len(hard) / (2.0 * torch.bincount(hard.long(), minlength=2).clamp(min=1))  # (2,)
    class_weight = rarity if hard_loss == "weighted" else None
    optimiser = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=1e-4, fused=True)
    warm = max(1, steps // 20)
    curve: list[float] = []
    order = torch.empty(0, dtype=torch.long)
    total, count = 0.0, 0
    critical = torch.from_numpy(lessons.critical)
    extra = round(attention * batch) if 0 < len(critical) < attention * len(x) else 0
    plain = batch - extra
    rate *= math.sqrt(batch / 512)
    turns = {round(steps * k / TURNS) for k in range(1, TURNS)} if retell else set()
    for step in range(steps):
        if retell and step in turns:
            with torch.inference_mode():
                soft = torch.from_numpy(retell(net(x)[:, 0].numpy()))
        while len(order) < plain:  # each row once before any row twice
            order = torch.cat([order, torch.randperm(len(x), generator=generator)])
        rows, order = order[:plain], order[plain:]
        if extra:
            rows = torch.cat([rows, critical[torch.randint(len(critical), (extra,), generator=generator)]])
        for group in optimiser.param_groups:
            group["lr"] = rate * min((step + 1) / warm, 0.5 * (1 + math.cos(math.pi * step / steps)))
        s = net(x[rows])[:, 0]  # (batch,)
        loss = _hard(hard_loss, s, hard[rows], class_weight)
        if soft is not None:
            loss = share[rows] * _soft(soft_loss, s, soft[rows], temperature) + (1 - share[rows]) * loss
        mean = loss.mean()
        optimiser.zero_grad()
        mean.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        total, count = total + mean.item(), count + 1
        if (step + 1) % max(1, steps // 50) == 0 or step + 1 == steps:
            curve.append(total / count)
            total, count = 0.0, 0
    return (
        tuple(m.weight.detach().numpy().T.copy() for m in linear),
        tuple(m.bias.detach().numpy().copy() for m in linear),
        curve,
    )


def _soft(kind: str, s: Tensor, z: Tensor, temperature: float) -> Tensor:
    """Return the loss (batch,) of the student's log-odds s against the committee's, z."""
    if kind == "huber":
        return F.huber_loss(s, z.clamp(-FARTHEST, FARTHEST), reduction="none")
    target = torch.sigmoid(z / temperature)
    return F.binary_cross_entropy_with_logits(s / temperature, target, reduction="none") * temperature**2


def _hard(kind: str, s: Tensor, y: Tensor, class_weight: Tensor | None) -> Tensor:
    """Return the loss (batch,) of the student's log-odds s against labels 0 | 1, y."""
    loss = F.binary_cross_entropy_with_logits(s, y, reduction="none")
    if kind == "focal":
        return loss * torch.sigmoid(torch.where(y > 0.5, -s, s)) ** FOCUS
    return loss if class_weight is None else loss * class_weight[y.long()]


class TorchNetwork(nn.Module):
    """A `Network` as a torch module: what is exported to ONNX; takes raw rows, float64 (n, d), and sums in float64."""

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
            z = torch.clamp((raw - tensors.centre) / tensors.scale, -REACH, REACH)
            core = torch.clamp(z, -LINEAR, LINEAR)
            rest = z - core
            parts.append(core + torch.sign(rest) * torch.log1p(torch.abs(rest)))
        if tensors.indicator.numel():
            parts.append(torch.isnan(x[:, tensors.indicator]).to(x.dtype))
        if tensors.onehot_column.numel():
            parts.append((x[:, tensors.onehot_column] == tensors.onehot_code).to(x.dtype))
        h = torch.cat(parts, dim=1)  # (n, p)
        for k, layer in enumerate(self.layers):
            linear = cast(nn.Linear, layer)
            h = F.linear(torch.relu(h) if k else h, linear.weight.to(h.dtype), linear.bias.to(h.dtype))  # (n, width)
        return h[:, 0].to(torch.float32)  # (n,)


def export(network: Network, x: NDArray[np.float64], method: str) -> tuple[bytes, float]:
    """Export a student to ONNX and compare both on real rows, rows far away and rows of gaps."""
    real = x[:: max(1, len(x) // 512)]
    far = np.where(np.isnan(real), np.nan, real * 100.0 + 1e6)
    rows = np.concatenate([real, far, np.full((1, x.shape[1]), np.nan)])
    graph = to_onnx(
        TorchNetwork(network),
        rows[:2],
        input_name="x",
        output_names=["score"],
        properties={"limbeck.method": method, "limbeck.columns": str(x.shape[1])},
    )
    tolerance = float32_tolerance(network.features.width)
    return graph, check_parity(network(rows), run_onnx(graph, rows)[0], tolerance=tolerance)
