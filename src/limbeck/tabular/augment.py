"""Synthetic rows: more places at which the committee can say what it knows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["far_rows", "swap_rows"]


def swap_rows(
    x: NDArray[np.float64], y: NDArray[np.int8], count: int, *, share: float, anomalous: float, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
    """Make rows by swap noise: each value is taken from another row with some chance.

    Every value stays one that its column really has, so numbers, categories and gaps need no special case.

    Parameters
    ----------
    x, y : ndarray, shape (n, d) and (n,)
        Raw rows and their 0 | 1 labels.
    count : int
        How many rows to make.
    share : float, in [0, 1]
        Chance of each value to come from another row.
    anomalous : float, in [0, 1]
        Share of the made rows that start from an anomaly.
    seed : int
        Of every random choice.

    Returns
    -------
    rows : ndarray of float64, shape (count, d)
        The made rows.
    base : ndarray of int8, shape (count,)
        Label of the row that each one started from: what a control without a teacher is told.

    References
    ----------
    Vincent et al., "Extracting and composing robust features with denoising autoencoders", ICML 2008; as swap noise
    in M. Jahrer's Porto Seguro solution, 2017.

    Examples
    --------
    >>> rows, base = swap_rows(np.eye(3), np.array([0, 0, 1], np.int8), 6, share=0.5, anomalous=0.5, seed=0)
    >>> rows.shape, base.tolist()
    ((6, 3), [1, 1, 1, 1, 0, 0])
    """
    rng = np.random.default_rng(seed)
    positives = np.flatnonzero(y == 1)
    from_anomalies = int(round(count * anomalous)) if positives.size else 0
    start = np.concatenate(
        [
            rng.choice(positives, from_anomalies) if from_anomalies else np.empty(0, np.intp),
            rng.integers(0, len(x), count - from_anomalies),
        ]
    ).astype(np.intp)
    rows = x[start]
    for j in range(x.shape[1]):  # column by column: no (count, d) array of random numbers
        swapped = np.flatnonzero(rng.random(count) < share)
        rows[swapped, j] = x[rng.integers(0, len(x), swapped.size), j]
    return rows, y[start]


def far_rows(
    x: NDArray[np.float64], number: NDArray[np.int64], scale: NDArray[np.float64], count: int, *, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Make rows far out: real ones, some of whose numbers are moved away by 3 to 3,000 times their column's spread.

    Parameters
    ----------
    x : ndarray of float64, shape (n, d)
        Raw rows.
    number : ndarray of int64, shape (a,)
        Places of the numeric columns.
    scale : ndarray of float64, shape (a,)
        Spread of each of them.
    count : int
        How many rows to make.
    seed : int
        Of every random choice.

    Returns
    -------
    rows : ndarray of float64, shape (count, d)
        The made rows: of each between one and all numbers are moved, each its own way.
    distance : ndarray of float64, shape (count,)
        How many spreads the number that was moved farthest was moved.

    Examples
    --------
    >>> rows, distance = far_rows(np.zeros((2, 2)), np.array([0, 1]), np.array([1.0, 100.0]), 3, seed=0)
    >>> rows.shape, distance.shape
    ((3, 2), (3,))
    """
    rng = np.random.default_rng((seed, 13))
    rows = x[rng.integers(0, len(x), count)]
    distance = 3.0 * 1000.0 ** rng.random(count)
    share = rng.random((count, number.size)) * (rng.random((count, number.size)) < rng.random((count, 1)))
    share[np.arange(count), rng.integers(0, max(1, number.size), count)] = 1.0
    rows[:, number] += rng.choice([-1.0, 1.0], share.shape) * share * distance[:, None] * scale
    return rows, distance
