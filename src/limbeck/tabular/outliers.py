"""Detectors that need no label: six of different views, each of which learns rows and then scores any row.

They see network inputs (n, p): numbers on one footing, far ones by their logarithm, gaps at the centre, one-hot places.
A score never depends on the rows beside it, is higher where a row is stranger, and goes on growing outside of what was
learned, as far as the view allows. Training rows are scored as if they had not been learned from.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, final

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from torch import nn

from limbeck.tabular.config import CommitteeConfig
from limbeck.tabular.gan import learn_gan
from limbeck.tabular.student import one_thread

__all__ = ["Outliers", "learn_outliers"]

Floats = NDArray[np.float64]
HIDDEN, CODE, CODE_MOST = 64, 3, 8  # of the autoencoder: width, columns for each place of the code, most places
BATCH, RATE = 256, 2e-3  # of the autoencoder
ROWS = 4096  # rows at a time


class Outliers(Protocol):
    """A detector that has learned."""

    def __call__(self, z: Floats) -> Floats:
        """Return scores (n,), higher = stranger, of network inputs, float64 (n, p)."""
        ...


def learn_outliers(kind: str, z: Floats, config: CommitteeConfig, *, seed: int) -> tuple[Outliers, Floats]:
    """Teach one detector.

    Parameters
    ----------
    kind : str
        One of `limbeck.tabular.config.OUTLIER_KINDS`.
    z : ndarray of float64, shape (n, p)
        Network inputs; n at least 3.
    config : CommitteeConfig
        Every knob.
    seed : int
        Of everything random.

    Returns
    -------
    detector : Outliers
        For any rows.
    own : ndarray of float64, shape (n,)
        Scores of the rows learned from, none of which speaks for itself: neighbours leave it out, networks of other
        folds score it. A forest's are taken as they are: no tree holds more than 256 rows.

    References
    ----------
    Liu et al., "Isolation forest", ICDM 2008; Li et al., "ECOD", TKDE 2022; Ramaswamy et al., "Efficient algorithms
    for mining outliers", SIGMOD 2000; Breunig et al., "LOF", SIGMOD 2000; Hawkins et al., "Outlier detection using
    replicator neural networks", DaWaK 2002; the GAN's are in `limbeck.tabular.gan`.
    """
    learn: dict[str, Callable[..., tuple[Outliers, Floats]]] = {
        "isolation-forest": _learn_forest,
        "tails": _learn_tails,
        "nearest": _learn_nearest,
        "lof": _learn_lof,
        "autoencoder": _learn_autoencoder,
        "gan": _learn_gan,
    }
    return learn[kind](z, config, seed)


def _remembered(n: int, config: CommitteeConfig, seed: int) -> NDArray[np.int64]:
    """Choose the rows that a detector keeps."""
    if n <= config.remembered:
        return np.arange(n)
    return np.sort(np.random.default_rng((seed, 3)).permutation(n)[: config.remembered])


# Isolation forest: a strange row is soon alone where random cuts divide the rows.


@final
@dataclass(frozen=True)
class Forest:
    """An isolation forest."""

    forest: IsolationForest

    def __call__(self, z: Floats) -> Floats:
        """Return scores (n,), in (0, 1), of network inputs (n, p)."""
        return -np.asarray(self.forest.score_samples(z), dtype=np.float64)


def _learn_forest(z: Floats, config: CommitteeConfig, seed: int) -> tuple[Outliers, Floats]:
    detector = Forest(IsolationForest(n_estimators=config.trees, random_state=seed).fit(z))
    return detector, detector(z)


# Tails: how rare a value as low, or as high, is in its column.


@final
@dataclass(frozen=True)
class Tails:
    """The negative logarithm of the smaller tail probability of each value in its column, summed.

    Attributes
    ----------
    columns : ndarray of float64, shape (p, m)
        The values of each column, ascending.
    """

    columns: Floats

    def __call__(self, z: Floats) -> Floats:
        """Return scores (n,) of network inputs (n, p)."""
        return self.scores(z, 1)

    def scores(self, z: Floats, more: int) -> Floats:
        """Return scores where a row counts `more` times beside those that are kept: 0 if it is one of them."""
        m, score = self.columns.shape[1], np.zeros(len(z))
        for column, value in zip(self.columns, z.T, strict=True):
            below, above = column.searchsorted(value, "right"), m - column.searchsorted(value, "left")
            score += np.log(m + more) - np.log(np.minimum(below, above) + more)
            score += np.log1p(np.maximum(np.maximum(column[0] - value, value - column[-1]), 0.0))  # beyond all of them
        return score


def _learn_tails(z: Floats, config: CommitteeConfig, seed: int) -> tuple[Outliers, Floats]:
    kept = _remembered(len(z), config, seed)
    detector = Tails(np.sort(z[kept], axis=0).T.copy())
    own = detector(z)
    own[kept] = detector.scores(z[kept], 0)
    return detector, own


# Nearest: the mean distance to the nearest rows.


@final
@dataclass(frozen=True)
class Nearest:
    """The mean distance to the k nearest rows."""

    index: NearestNeighbors
    k: int

    def __call__(self, z: Floats) -> Floats:
        """Return scores (n,) of network inputs (n, p)."""
        far, _ = self.index.kneighbors(z, self.k)
        return np.asarray(far.mean(1), dtype=np.float64)


def _learn_nearest(z: Floats, config: CommitteeConfig, seed: int) -> tuple[Outliers, Floats]:
    kept = _remembered(len(z), config, seed)
    k = min(config.neighbours, len(kept) - 1)
    detector = Nearest(NearestNeighbors().fit(z[kept]), k)
    far, who = detector.index.kneighbors(z, k + 1)
    itself = kept[who] == np.arange(len(z))[:, None]
    itself[~itself.any(1), -1] = True  # not kept, or one of many that are alike
    return detector, far[~itself].reshape(len(z), k).mean(1)


# Local outlier factor: how much sparser a row's neighbourhood is than those of its neighbours.


@final
@dataclass(frozen=True)
class Lof:
    """The local outlier factor."""

    lof: LocalOutlierFactor

    def __call__(self, z: Floats) -> Floats:
        """Return scores (n,), around 1 for usual rows, of network inputs (n, p)."""
        return -np.asarray(self.lof.score_samples(z), dtype=np.float64)


def _learn_lof(z: Floats, config: CommitteeConfig, seed: int) -> tuple[Outliers, Floats]:
    kept = _remembered(len(z), config, seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Duplicate values", UserWarning)  # the ranks of their scores are sound
        lof = LocalOutlierFactor(n_neighbors=min(config.lof_neighbours, len(kept) - 1), novelty=True).fit(z[kept])
    detector = Lof(lof)
    own = np.empty(len(z))
    own[kept] = -lof.negative_outlier_factor_
    others = np.setdiff1d(np.arange(len(z)), kept, assume_unique=True)
    if others.size:
        own[others] = detector(z[others])
    return detector, own


# Autoencoder: what a narrow code cannot re-create is strange.


@final
@dataclass(frozen=True)
class AutoEncoder:
    """The mean squared difference between a row and its re-creation."""

    net: nn.Module

    def __call__(self, z: Floats) -> Floats:
        """Return scores (n,) of network inputs (n, p)."""
        parts = []
        with torch.inference_mode():
            for start in range(0, len(z), ROWS):
                rows = torch.from_numpy(z[start : start + ROWS])
                parts.append((self.net(rows) - rows).square().mean(1).numpy())
        return np.concatenate(parts)


def _learn_autoencoder(z: Floats, config: CommitteeConfig, seed: int) -> tuple[Outliers, Floats]:
    n, own = len(z), np.empty(len(z))
    fold = np.random.default_rng((seed, 5)).permutation(n) % min(config.folds, n)
    for k in range(min(config.folds, n)):
        own[fold == k] = _taught_autoencoder(z[fold != k], config.autoencoder_steps, seed)(z[fold == k])
    return _taught_autoencoder(z, config.autoencoder_steps, seed), own


@one_thread()
def _taught_autoencoder(z: Floats, steps: int, seed: int) -> AutoEncoder:
    """Teach an autoencoder; far rows are told apart by their logarithm already, so that none commands the loss."""
    p, generator = z.shape[1], torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        code = max(1, min(CODE_MOST, p // CODE))
        net = nn.Sequential(
            nn.Linear(p, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, code), nn.Linear(code, HIDDEN), nn.ReLU(),
            nn.Linear(HIDDEN, p),
        )  # fmt: skip
    rows = torch.from_numpy(z.astype(np.float32))
    optimiser = torch.optim.Adam(net.parameters(), RATE, fused=True)
    for _ in range(steps):
        batch = rows[torch.randint(len(rows), (BATCH,), generator=generator)]
        loss = (net(batch) - batch).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return AutoEncoder(net.double().eval())


# GAN: what a generator that deceives its critic cannot make again is strange; see `limbeck.tabular.gan`.


def _learn_gan(z: Floats, config: CommitteeConfig, seed: int) -> tuple[Outliers, Floats]:
    return learn_gan(z, steps=config.gan_steps, folds=config.folds, rounds=config.gan_rounds, seed=seed)
