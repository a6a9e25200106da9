"""How alike two rankings of the same rows are: pure numpy. What a student keeps of its teacher, without any label."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from limbeck.errors import InputError

__all__ = ["ranks", "spearman", "top_overlap"]

Floats = NDArray[np.float64]


def ranks(score: ArrayLike) -> Floats:
    """Return the ranks of scores, from 1; equal ones share the mean of theirs.

    Parameters
    ----------
    score : array-like, shape (n,)
        Any finite numbers.

    Returns
    -------
    ndarray of float64, shape (n,)
        In [1, n].

    Examples
    --------
    >>> ranks([10.0, 30.0, 20.0, 30.0]).tolist()
    [1.0, 3.5, 2.0, 3.5]
    """
    _, place, count = np.unique(np.asarray(score), return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return np.asarray((last - (count - 1) / 2)[place])


def spearman(a: ArrayLike, b: ArrayLike) -> float:
    """Return the rank correlation of two scores of the same rows.

    Parameters
    ----------
    a, b : array-like, shape (n,)
        Scores, n at least 2.

    Returns
    -------
    float
        In [-1, 1]; 0 where one of them is constant.

    Raises
    ------
    InputError
        If the lengths differ.

    References
    ----------
    Spearman, "The proof and measurement of association between two things", 1904.

    Examples
    --------
    >>> spearman([1.0, 2.0, 3.0, 4.0], [10.0, 20.0, 40.0, 30.0])
    0.8
    """
    first, second = _paired(a, b)
    first, second = ranks(first) - (len(first) + 1) / 2, ranks(second) - (len(second) + 1) / 2
    norm = float(np.sqrt((first @ first) * (second @ second)))
    return float(np.clip(first @ second / norm, -1.0, 1.0)) if norm else 0.0


def top_overlap(a: ArrayLike, b: ArrayLike, share: float = 0.01, fewest: int = 10) -> float:
    """Return which share of the rows that one score holds strangest the other holds strangest too.

    Parameters
    ----------
    a, b : array-like, shape (n,)
        Scores, higher = stranger.
    share : float, in (0, 1]
        Of the rows that counts as strangest.
    fewest : int
        As many rows at least, or all.

    Returns
    -------
    float
        In [0, 1]; of equal scores the first rows count.

    Raises
    ------
    InputError
        If the lengths differ.

    Examples
    --------
    >>> top_overlap([5.0, 4.0, 3.0, 2.0], [4.0, 1.0, 5.0, 2.0], share=0.5, fewest=1)
    0.5
    """
    first, second = _paired(a, b)
    count = min(len(first), max(fewest, round(share * len(first))))
    top = [set(np.argsort(-s, kind="stable")[:count].tolist()) for s in (first, second)]
    return len(top[0] & top[1]) / count


def _paired(a: ArrayLike, b: ArrayLike) -> tuple[Floats, Floats]:
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1 or len(first) < 2:
        raise InputError(
            "two scores of the same rows are needed",
            expected="one shape (n,), n at least 2",
            got=f"{first.shape} and {second.shape}",
        )
    return first, second
