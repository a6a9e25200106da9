"""Noise added on purpose to what is learned from: wrong labels, shaky sensors, gaps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from limbeck.network import Features

__all__ = ["blur", "drop", "flip_labels"]

Floats = NDArray[np.float64]


def flip_labels(y: NDArray[np.int8], share: float, seed: int) -> NDArray[np.int8]:
    """Turn labels in both classes, as many in each as a share of the number of anomalies.

    A share of all rows would drown a class of two in a thousand.

    Parameters
    ----------
    y : ndarray, shape (n,)
        0 | 1 labels.
    share : float, in [0, 1]
        Of the number of anomalies: so many anomalies become normal, and so many normal rows anomalous.
    seed : int
        Of the choice.

    Returns
    -------
    ndarray of int8, shape (n,)
        A copy. At least two rows of each label stay as they are.

    Examples
    --------
    >>> y = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 1], np.int8)
    >>> int((flip_labels(y, 0.25, seed=0) != y).sum())
    2
    """
    rng = np.random.default_rng(seed)
    count = round(share * int((y == 1).sum()))
    turned = y.copy()
    for value in (0, 1):
        rows = np.flatnonzero(y == value)
        turned[rng.choice(rows, max(0, min(count, len(rows) - 2)), replace=False)] = 1 - value
    return turned


def blur(x: Floats, features: Features, spread: float, seed: int) -> Floats:
    """Add Gaussian noise to rows, float64 (n, d), in units of each column's scale.

    Categories, gaps, and columns of nothing but 0 and 1 stay as they are.
    """
    noisy = x.copy()
    rng = np.random.default_rng(seed)
    for j, scale in zip(features.number, features.scale, strict=True):
        if not (np.isnan(x[:, j]) | np.isin(x[:, j], (0.0, 1.0))).all():
            noisy[:, j] += rng.normal(0.0, spread * scale, len(x))
    return noisy


def drop(x: Floats, share: float, seed: int) -> Floats:
    """Take away a share of the values of rows, float64 (n, d), at random: they become NaN."""
    return np.where(np.random.default_rng(seed).random(x.shape) < share, np.nan, x)
