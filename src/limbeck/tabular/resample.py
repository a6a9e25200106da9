"""Resampling a training fold: never before a split, always towards the same share of anomalies.

The algorithms are imbalanced-learn's. Those that measure distances see numbers on one footing and without gaps;
the rows they keep go back as they were, and only the rows they invent are turned back into raw units. What they cost
is bounded: neighbours are sought among so many rows at most, drawn by the seed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limbeck.errors import require
from limbeck.network import REACH, Features

__all__ = ["Resampled", "resample", "thin"]

NEIGHBOURS = 5
CLEANING_RATIO = 20  # those that remove rows look at this many normal rows per anomaly: all of them take minutes
CLEANING_MOST = 20_000  # and at this many rows in all
INVENTING_MOST = {1: 5_000, 0: 100_000}  # rows of each label among which neighbours are sought

Floats = NDArray[np.float64]
Labels = NDArray[np.int8]
Places = NDArray[np.intp]


@dataclass(frozen=True)
class Resampled:
    """A training fold after resampling."""

    x: Floats
    y: Labels
    used: str  # the resampler that really ran
    reason: str = ""  # why it is another one than was asked for


def thin(y: Labels, ratio: int, seed: int) -> Places:
    """Return the places of every anomaly and of at most `ratio` normal rows per anomaly, in order; 0 = all rows."""
    normal, anomalous = np.flatnonzero(y == 0), np.flatnonzero(y == 1)
    most = ratio * anomalous.size
    if not ratio or normal.size <= most:
        return np.arange(len(y))
    return np.sort(np.concatenate([anomalous, np.random.default_rng(seed).choice(normal, most, replace=False)]))


def resample(
    name: str,
    x: Floats,
    y: Labels,
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
    Chawla et al., "SMOTE", JAIR 16, 2002; Han et al., "Borderline-SMOTE", ICIC 2005; He et al., "ADASYN", IJCNN 2008;
    Tomek, "Two modifications of CNN", 1976; Wilson, "Asymptotic properties of nearest neighbor rules using edited
    data", 1972 (ENN); Batista et al., "A study of the behavior of several methods for balancing", 2004 (SMOTE-ENN);
    Mani and Zhang, "kNN approach to unbalanced data distributions", 2003 (NearMiss); Lemaître et al.,
    "Imbalanced-learn", JMLR 18, 2017.
    """
    positives = int((y == 1).sum())
    aim = min(1.0, max(ratio, 2.0 * positives / len(y)))
    used, reason = _possible(name, positives, len(y) - positives, aim, categorical)
    if used == "none":
        return Resampled(x, y, used, reason)
    cleaned = max(CLEANING_RATIO, math.ceil(2 / aim))  # normal rows per anomaly: enough for the aim
    if used == "smoteenn":
        rows = thin(y, cleaned, seed)
        x, y = x[rows], y[rows]
    if used in ("smote", "borderline", "adasyn", "smoteenn"):
        made = _invent(used, x, y, features, aim, seed, categorical)
        if not len(made):
            used, reason = "ros", "there is nothing to invent between these rows"
        else:
            together = Resampled(np.vstack([x, made]), np.append(y, np.ones(len(made), np.int8)), used, reason)
            return _clean(used, together, features, seed) if used == "smoteenn" else together
    if used in ("tomek", "enn"):
        return _clean(used, Resampled(x, y, used, reason), features, seed)
    if used == "nearmiss":
        under = require("imblearn.under_sampling", "train")
        rows = thin(y, cleaned, seed)
        kept = rows[_picked(under.NearMiss(sampling_strategy=aim), features(x[rows]), y[rows])]
    else:
        kept = _repeat_or_drop(used, y, aim, seed)
    return Resampled(x[kept], y[kept], used, reason)


def _possible(name: str, positives: int, negatives: int, aim: float, categorical: tuple[int, ...]) -> tuple[str, str]:
    """Return the resampler that can run here, and the reason where it is another one."""
    if name == "none":
        return name, ""
    if name in ("tomek", "enn"):
        few = name == "enn" and (positives < 2 or positives + negatives < 4)
        return ("none", "there are too few rows for 3 neighbours") if few else (name, "")
    missing = aim * negatives - positives  # how many anomalies an over-sampler would add
    under = name in ("rus", "nearmiss")
    if positives >= aim * negatives * 0.99 if under else int(missing) < 1:
        return "none", "the classes are balanced already"
    if name == "nearmiss" and positives <= 3:
        return "rus", f"{positives} anomalies are too few for 3 neighbours"
    if not under and name != "ros" and positives <= NEIGHBOURS:
        return "ros", f"{positives} anomalies are too few for {NEIGHBOURS} neighbours"
    if name == "borderline" and categorical:
        return "ros", "Borderline-SMOTE cannot mix categories"
    if name == "adasyn" and categorical:
        return "ros", "ADASYN cannot mix categories"
    return name, ""


def _picked(sampler: Any, x: NDArray[Any], y: Labels) -> Places:
    """Return the rows that a resampler picks, repeats included."""
    sampler.fit_resample(x, y)
    return np.asarray(sampler.sample_indices_)


def _repeat_or_drop(used: str, y: Labels, aim: float, seed: int) -> Places:
    """Repeat anomalies or leave normal rows out, at random."""
    if used == "ros":
        sampler = require("imblearn.over_sampling", "train").RandomOverSampler
    else:
        sampler = require("imblearn.under_sampling", "train").RandomUnderSampler
    places = np.arange(len(y)).reshape(-1, 1)  # only rows are picked: gaps and categories pass through
    return _picked(sampler(sampling_strategy=aim, random_state=seed), places, y)


def _clean(used: str, fold: Resampled, features: Features, seed: int) -> Resampled:
    """Remove rows that their neighbours contradict: normal ones, by SMOTE-ENN of either label.

    Where more rows than can be looked at are left, the others stay as they are.
    """
    under = require("imblearn.under_sampling", "train")
    cleaner = {
        "tomek": lambda: under.TomekLinks(sampling_strategy=[0]),
        "enn": lambda: under.EditedNearestNeighbours(sampling_strategy=[0]),
        "smoteenn": lambda: under.EditedNearestNeighbours(sampling_strategy="all"),
    }[used]()
    rows = thin(fold.y, CLEANING_RATIO, seed)
    looked = np.zeros(rows.size, dtype=bool)
    looked[np.random.default_rng(seed).permutation(rows.size)[:CLEANING_MOST]] = True
    seen = rows[looked]
    if len(np.unique(fold.y[seen])) == 2:
        seen = seen[_picked(cleaner, features(fold.x[seen]), fold.y[seen])]
    kept = np.sort(np.concatenate([seen, rows[~looked]]))
    if len(np.unique(fold.y[kept])) < 2:
        return Resampled(fold.x, fold.y, "smote" if used == "smoteenn" else "none", "nothing would be left of a class")
    return Resampled(fold.x[kept], fold.y[kept], used, fold.reason)


def _invent(
    used: str,
    x: Floats,
    y: Labels,
    features: Features,
    aim: float,
    seed: int,
    categorical: tuple[int, ...],
) -> Floats:
    """Return new anomalies (m, d) between known ones; m = 0 where none of them lies near the border."""
    over = require("imblearn.over_sampling", "train")
    missing = int(aim * (y == 0).sum()) - int((y == 1).sum())
    rng = np.random.default_rng(seed)
    rows = np.concatenate([_at_most(np.flatnonzero(y == value), most, rng) for value, most in INVENTING_MOST.items()])
    rows.sort()
    x, y = x[rows], y[rows]
    missing = min(missing, int((y == 0).sum() - (y == 1).sum()))
    number = features.number
    with np.errstate(over="ignore"):
        z = (x[:, number] - features.centre) / features.scale
    z = np.clip(np.nan_to_num(z, nan=0.0), -REACH, REACH)  # (n, a)
    codes = np.nan_to_num(x[:, list(categorical)], nan=-1.0)  # (n, k); missing is a category of its own
    together = np.hstack([z, codes])
    options = {"sampling_strategy": {1: int((y == 1).sum()) + missing}, "random_state": seed}
    neighbours = {"n_neighbors" if used == "adasyn" else "k_neighbors": NEIGHBOURS}
    if categorical and number.size == 0:
        sampler = over.SMOTEN(**options, **neighbours)
    elif categorical:
        places = list(range(number.size, together.shape[1]))
        sampler = over.SMOTENC(categorical_features=places, **options, **neighbours)
    else:
        kinds = {"borderline": over.BorderlineSMOTE, "adasyn": over.ADASYN}
        sampler = kinds.get(used, over.SMOTE)(**options, **neighbours)
    try:
        made = sampler.fit_resample(together, y)[0][len(x) :]
    except (RuntimeError, ValueError) as error:  # ADASYN's words for: no normal row near any anomaly
        if used != "adasyn" or not ("neigbours" in str(error) or "No samples" in str(error)):
            raise
        made = together[:0]
    back = np.tile(x[0], (len(made), 1))  # columns that do not vary
    back[:, number] = made[:, : number.size] * features.scale + features.centre
    back[:, list(categorical)] = np.where(made[:, number.size :] < 0, np.nan, made[:, number.size :])
    return back


def _at_most(places: Places, most: int, rng: np.random.Generator) -> Places:
    return places if places.size <= most else rng.choice(places, most, replace=False)
