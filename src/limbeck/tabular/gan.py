"""A GAN-based detector of rows without labels: what its generator cannot make again is strange.

An encoder gives each row a code, a generator makes a row of each normally distributed code, and a critic is to tell a
row with its code from a made row with the code that it was made of. As the two learn to deceive it, they come to undo
each other on usual rows, without having seen a single row beside its re-creation: nothing is learned by heart.

Each net leaves a fold of the rows out, and all nets are taught at the same time: a layer has one matrix for each.

Zenati et al., "Efficient GAN-based anomaly detection", arXiv 1802.06222, after Donahue et al., "Adversarial feature
learning", ICLR 2017. ALAD (Zenati et al., ICDM 2018) and GANomaly (Akcay et al., ACCV 2018) were tried in its place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from limbeck.tabular.student import one_thread

__all__ = ["Gan", "learn_gan"]

Floats = NDArray[np.float64]
HIDDEN, CODE, CODE_MOST = 64, 3, 8  # width, columns for each place of the code, most places
BATCH, RATE, BETAS = 128, 1e-3, (0.5, 0.9)
SLOPE = 0.2  # of the critic's ReLU below 0
FEATURES = 0.1  # share of the critic's features in a score, the rest is the row's
ROWS = 1024  # rows at a time


@final
class Layer(nn.Module):
    """A linear layer of m nets: (m, n, inputs) to (m, n, outputs).

    Parameters
    ----------
    nets, inputs, outputs : int
        How many of each.
    generator : torch.Generator
        Draws the weights, the same for all nets.
    """

    def __init__(self, nets: int, inputs: int, outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        weight = torch.empty(1, inputs, outputs).uniform_(-bound, bound, generator=generator)
        self.weight = nn.Parameter(weight.repeat(nets, 1, 1))
        self.bias = nn.Parameter(torch.zeros(nets, 1, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Return what the layer makes of x."""
        return torch.baddbmm(self.bias, x, self.weight)


@final
class Nets(nn.Module):
    """Encoders, generators and critics, m of each, of rows with p places."""

    def __init__(self, nets: int, p: int, generator: torch.Generator) -> None:
        super().__init__()
        self.places = max(1, min(CODE_MOST, p // CODE))
        self.encode = nn.Sequential(
            Layer(nets, p, HIDDEN, generator), nn.ReLU(), Layer(nets, HIDDEN, self.places, generator)
        )
        self.generate = nn.Sequential(
            Layer(nets, self.places, HIDDEN, generator), nn.ReLU(), Layer(nets, HIDDEN, p, generator)
        )
        self.look = nn.Sequential(Layer(nets, p + self.places, HIDDEN, generator), nn.LeakyReLU(SLOPE))
        self.judge = Layer(nets, HIDDEN, 1, generator)

    def told_apart(self, real: Tensor, made: Tensor) -> tuple[Tensor, Tensor]:
        """Return the critics' log-odds, (m, n, 1) each, that real and made pairs (m, n, p + places) are real."""
        said: Tensor = self.judge(self.look(torch.cat([real, made], 1)))
        return said[:, : real.shape[1]], said[:, real.shape[1] :]

    def forward(self, x: Tensor) -> Tensor:
        """Return scores (m, n) of rows (m, n, p): how far a row, and what the critic sees in it, is from its like."""
        code = self.encode(x)
        again: Tensor = self.generate(code)
        seen: Tensor = self.look(torch.cat([x, code], 2)) - self.look(torch.cat([again, code], 2))
        return (1 - FEATURES) * (x - again).abs().mean(2) + FEATURES * seen.abs().mean(2)


@final
@dataclass(frozen=True)
class Gan:
    """The mean score of nets that have learned."""

    nets: Nets

    def __call__(self, z: Floats) -> Floats:
        """Return scores (n,) of network inputs (n, p)."""
        return np.asarray(self.each(z).mean(0))

    def each(self, z: Floats) -> Floats:
        """Return the score (m, n) of each net."""
        count = self.nets.judge.weight.shape[0]
        with torch.inference_mode():
            parts = [self.nets(torch.from_numpy(z[i : i + ROWS]).expand(count, -1, -1)) for i in range(0, len(z), ROWS)]
        return np.asarray(torch.cat(parts, 1).numpy())


def learn_gan(z: Floats, *, steps: int, folds: int, rounds: int, seed: int) -> tuple[Gan, Floats]:
    """Teach the detector.

    Parameters
    ----------
    z : ndarray of float64, shape (n, p)
        Network inputs; n at least 3.
    steps : int
        Optimiser steps, of encoder and generator and of the critic in turn.
    folds : int
        Each net leaves one of so many folds out.
    rounds : int
        How many times the rows are divided anew: there are rounds times folds nets.
    seed : int
        Of everything random.

    Returns
    -------
    detector : Gan
        For any rows: the mean of all nets. Not finite where learning diverged.
    own : ndarray of float64, shape (n,)
        Of the rows learned from: the mean of the nets that did not see the row.

    Examples
    --------
    >>> z = np.random.default_rng(0).normal(size=(200, 4))
    >>> detector, own = learn_gan(z, steps=20, folds=3, rounds=1, seed=0)
    >>> own.shape, bool(detector(z + 50).min() > detector(z).max())
    ((200,), True)
    """
    rng, folds = np.random.default_rng((seed, 7)), min(folds, len(z))
    fold = np.stack([rng.permutation(len(z)) % folds for _ in range(rounds)])  # (rounds, n)
    unseen = np.concatenate([fold == k for k in range(folds)])  # (m, n)
    detector = Gan(_taught(z, unseen, steps, seed))
    return detector, (detector.each(z) * unseen).sum(0) / rounds


@one_thread()
def _taught(z: Floats, unseen: NDArray[np.bool_], steps: int, seed: int) -> Nets:
    """Teach all nets; encoder and generator take their step against the critic as it has just become."""
    generator = torch.Generator().manual_seed(seed)
    nets = Nets(len(unseen), z.shape[1], generator)
    rows = torch.from_numpy(z.astype(np.float32))
    seen = [torch.from_numpy(np.flatnonzero(~left_out)) for left_out in unseen]
    pair = torch.optim.Adam([*nets.encode.parameters(), *nets.generate.parameters()], RATE, BETAS, fused=True)
    critic = torch.optim.Adam([*nets.look.parameters(), *nets.judge.parameters()], RATE, BETAS, fused=True)
    for _ in range(steps):
        places = torch.stack([k[torch.randint(len(k), (BATCH,), generator=generator)] for k in seen])
        batch = rows[places]  # (m, BATCH, p)
        code = torch.randn(len(seen), BATCH, nets.places, generator=generator)
        real = torch.cat([batch, nets.encode(batch)], 2)
        made = torch.cat([nets.generate(code), code], 2)
        as_real, as_made = nets.told_apart(real.detach(), made.detach())
        _step(critic, _surprise(-as_real) + _surprise(as_made))
        as_real, as_made = nets.told_apart(real, made)
        _step(pair, _surprise(as_real) + _surprise(-as_made))
    return nets.double().eval()


def _surprise(said: Tensor) -> Tensor:
    """Return the cross-entropy of log-odds that should be low, the mean of a net, summed over nets."""
    return functional.softplus(said).mean(1).sum()


def _step(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
