"""Resampling a training fold: never before a split, always towards the same share of anomalies.

The algorithms are imbalanced-learn's. Those that measure distances see numbers on one footing and without gaps;
the rows they keep go back as they were, and only the rows they invent are turned back into raw units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limbeck.errors import require
from limbeck.network import REACH, Features

__all__ = ["Resampled", "resample"]

NEIGHBOURS = 5
CLEANING_RATIO = 20  # Tomek links look at this many normal rows per anomaly at most: all of them take minutes


@dataclass(frozen=True)
class Resampled:
    """A training fold after resampling."""

    x: NDArray[np.float64]
    y: NDArray[np.int8]
    used: str  # the resampler that really ran
    reason: str = ""  # why it is another one than was asked for


def resample(
    name: str,
    x: NDArray[np.float64],
    y: NDArray[np.int8],
    features: Features,
    *,
    ratio: float,
    seed: int,
    categorical: tuple[int, ...] = (),
) -> Resampled:
    """Resample one training fold.

    Parameters
    ----------
    name : str
        One of `limbeck.tabular.config.RESAMPLERS`.
    x, y : ndarray, shape (n, d) and (n,)
        Raw rows (missing = NaN) and their 0 | 1 labels.
    features : Features
        Learned from rows of the training part; gives distances their units.
    ratio : float
        Anomalies per normal row to aim at; twice the natural rate where that is more.
    seed : int
        Of every random choice.
    categorical : tuple of int
        Places of the columns that hold codes.

    Returns
    -------
    Resampled
        The new rows, and what was done instead where the resampler cannot work.

    References
    ----------
    Chawla et al., "SMOTE", JAIR 16, 2002; Han et al., "Borderline-SMOTE", ICIC 2005; Tomek, "Two modifications of
    CNN", 1976; Lemaître et al., "Imbalanced-learn", JMLR 18, 2017.
    """
    positives = int((y == 1).sum())
    aim = min(1.0, max(ratio, 2.0 * positives / len(y)))
    used, reason = _possible(name, positives, len(y) - positives, aim, categorical)
    if used == "none":
        return Resampled(x, y, used, reason)
    over = require("imblearn.over_sampling", "train")
    under = require("imblearn.under_sampling", "train")
    if used in ("smote", "borderline"):
        invented = _invent(used, x, y, features, aim, seed, over, categorical)
        if len(invented.y) > len(y):
            return invented
        used, reason = "ros", "no anomaly lies near the border"
    if used == "tomek":
        rng = np.random.default_rng(seed)
        normal = np.flatnonzero(y == 0)
        normal = rng.choice(normal, min(normal.size, CLEANING_RATIO * positives), replace=False)
        rows = np.sort(np.concatenate([np.flatnonzero(y == 1), normal]))
        kept = rows[_picked(under.TomekLinks(), features(x[rows]), y[rows])]
    else:
        sampler = over.RandomOverSampler if used == "ros" else under.RandomUnderSampler
        places = np.arange(len(y)).reshape(-1, 1)  # only rows are picked: gaps and categories pass through
        kept = _picked(sampler(sampling_strategy=aim, random_state=seed), places, y)
    return Resampled(x[kept], y[kept], used, reason)


def _possible(name: str, positives: int, negatives: int, aim: float, categorical: tuple[int, ...]) -> tuple[str, str]:
    """Return the resampler that can run here, and the reason where it is another one."""
    if name in ("none", "tomek"):
        return name, ""
    missing = aim * negatives - positives  # how many anomalies an over-sampler would add
    if int(missing) < 1 if name != "rus" else positives >= aim * negatives * 0.99:
        return "none", "the classes are balanced already"
    if name in ("smote", "borderline") and positives <= NEIGHBOURS:
        return "ros", f"{positives} anomalies are too few for {NEIGHBOURS} neighbours"
    if name == "borderline" and categorical:
        return "ros", "Borderline-SMOTE cannot mix categories"
    return name, ""


def _picked(sampler: Any, x: NDArray[Any], y: NDArray[np.int8]) -> NDArray[np.intp]:
    """Return the rows that a resampler picks, repeats included."""
    sampler.fit_resample(x, y)
    return np.asarray(sampler.sample_indices_)


def _invent(
    used: str,
    x: NDArray[np.float64],
    y: NDArray[np.int8],
    features: Features,
    aim: float,
    seed: int,
    over: Any,
    categorical: tuple[int, ...],
) -> Resampled:
    """Add anomalies between known ones; the given rows stay as they are."""
    number = features.number
    with np.errstate(over="ignore"):
        z = (x[:, number] - features.centre) / features.scale
    z = np.clip(np.nan_to_num(z, nan=0.0), -REACH, REACH)  # (n, a)
    codes = np.nan_to_num(x[:, list(categorical)], nan=-1.0)  # (n, k); missing is a category of its own
    together = np.hstack([z, codes])
    options = {"sampling_strategy": aim, "random_state": seed, "k_neighbors": NEIGHBOURS}
    if categorical and number.size == 0:
        sampler = over.SMOTEN(**options)
    elif categorical:
        sampler = over.SMOTENC(categorical_features=list(range(number.size, together.shape[1])), **options)
    else:
        sampler = over.SMOTE(**options) if used == "smote" else over.BorderlineSMOTE(**options)
    made, label = sampler.fit_resample(together, y)
    made, label = made[len(x) :], label[len(x) :]
    rows = np.tile(x[0], (len(made), 1))  # columns that do not vary
    rows[:, number] = made[:, : number.size] * features.scale + features.centre
    rows[:, list(categorical)] = np.where(made[:, number.size :] < 0, np.nan, made[:, number.size :])
    return Resampled(np.vstack([x, rows]), np.concatenate([y, label]).astype(np.int8), used)
