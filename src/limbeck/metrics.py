"""How good a ranking and its probabilities are: pure numpy, on raw scores, which are never rescaled.

Everywhere `label` is 0 (normal) or 1 (anomalous), shape (n,), and `score` is any finite number, higher = more
anomalous, shape (n,). Ties count as ties: no metric depends on the order of the rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from limbeck.errors import InputError

__all__ = [
    "auroc",
    "average_precision",
    "brier",
    "ece",
    "ece_floor",
    "f1_at",
    "f1_max",
    "log_loss",
    "precision_recall_curve",
    "recall_at_fpr",
    "reliability",
    "roc_curve",
]

Floats = NDArray[np.float64]


def _checked(label: ArrayLike, score: ArrayLike, *, both: bool = True) -> tuple[NDArray[np.bool_], Floats]:
    y, s = np.asarray(label), np.asarray(score, dtype=np.float64)
    if y.ndim != 1 or y.shape != s.shape or y.size == 0:
        raise InputError(
            "labels and scores do not match",
            expected="two arrays of one length (n,), n >= 1",
            got=f"shapes {y.shape} and {s.shape}",
        )
    if not np.isin(y, (0, 1)).all():
        raise InputError(
            "a label is neither 0 nor 1",
            expected="0 = normal, 1 = anomalous",
            got=f"{np.unique(y)[:5].tolist()}",
            fix="leave rows of unknown label out",
        )
    if not np.isfinite(s).all():
        raise InputError("a score is not finite", expected="finite numbers", got=f"{(~np.isfinite(s)).sum()} others")
    positive = y.astype(bool)
    if both and positive.all() | (~positive).all():
        raise InputError(
            "only one class is present",
            expected="normal and anomalous rows",
            got=f"{positive.sum()} anomalous of {positive.size}",
        )
    return positive, s


def _counts(positive: NDArray[np.bool_], score: Floats) -> tuple[Floats, Floats, Floats]:
    """Return distinct scores from the highest down, and the true and false alarms at or above each."""
    order = np.argsort(-score, kind="stable")
    s, hit = score[order], positive[order]
    last = np.flatnonzero(np.append(s[1:] != s[:-1], True))  # last row of each run of equal scores
    true = np.cumsum(hit)[last].astype(np.float64)
    return s[last], true, (last + 1) - true


def roc_curve(label: ArrayLike, score: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Return false-positive rate, true-positive rate and threshold, from (0, 0) to (1, 1).

    Parameters
    ----------
    label, score : array-like, shape (n,)
        0 | 1 labels and raw scores.

    Returns
    -------
    fpr, tpr, threshold : ndarray, shape (k + 1,)
        k is the number of distinct scores; the first threshold is infinite.

    Raises
    ------
    InputError
        If shapes or labels do not fit, or only one class is present.

    Examples
    --------
    >>> fpr, tpr, threshold = roc_curve([0, 1, 1], [0.1, 0.4, 0.2])
    >>> tpr.tolist()
    [0.0, 0.5, 1.0, 1.0]
    """
    positive, s = _checked(label, score)
    threshold, true, false = _counts(positive, s)
    return (
        np.r_[0.0, false / (~positive).sum()],
        np.r_[0.0, true / positive.sum()],
        np.r_[np.inf, threshold],
    )


def precision_recall_curve(label: ArrayLike, score: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Return precision, recall and threshold at each distinct score, from the highest down.

    Parameters
    ----------
    label, score : array-like, shape (n,)
        0 | 1 labels and raw scores.

    Returns
    -------
    precision, recall, threshold : ndarray, shape (k,)
        k is the number of distinct scores.

    Raises
    ------
    InputError
        If shapes or labels do not fit, or only one class is present.

    Examples
    --------
    >>> precision, recall, threshold = precision_recall_curve([0, 1, 1], [0.3, 0.4, 0.2])
    >>> recall.tolist()
    [0.5, 0.5, 1.0]
    """
    positive, s = _checked(label, score)
    threshold, true, false = _counts(positive, s)
    return true / (true + false), true / positive.sum(), threshold


def auroc(label: ArrayLike, score: ArrayLike) -> float:
    """Area under the ROC curve: the chance that an anomaly scores above a normal row, ties counting half.

    Parameters
    ----------
    label, score : array-like, shape (n,)
        0 | 1 labels and raw scores.

    Returns
    -------
    float
        In [0, 1]; 0.5 is chance.

    Raises
    ------
    InputError
        If shapes or labels do not fit, or only one class is present.

    References
    ----------
    Hanley and McNeil, "The meaning and use of the area under a ROC curve", Radiology 143, 1982.

    Examples
    --------
    >>> auroc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    fpr, tpr, _ = roc_curve(label, score)
    return float(np.trapezoid(tpr, fpr))


def average_precision(label: ArrayLike, score: ArrayLike) -> float:
    """Area under the precision-recall curve by steps, not by interpolation.

    Parameters
    ----------
    label, score : array-like, shape (n,)
        0 | 1 labels and raw scores.

    Returns
    -------
    float
        In [0, 1]; the share of anomalies is chance.

    Raises
    ------
    InputError
        If shapes or labels do not fit, or only one class is present.

    References
    ----------
    Davis and Goadrich, "The relationship between precision-recall and ROC curves", ICML 2006.

    Examples
    --------
    >>> round(average_precision([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]), 4)
    0.8333
    """
    precision, recall, _ = precision_recall_curve(label, score)
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def f1_max(label: ArrayLike, score: ArrayLike) -> float:
    """Largest F1 over all thresholds: what a perfect choice of threshold would reach.

    Parameters
    ----------
    label, score : array-like, shape (n,)
        0 | 1 labels and raw scores.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    InputError
        If shapes or labels do not fit, or only one class is present.

    Examples
    --------
    >>> f1_max([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.8
    """
    positive, s = _checked(label, score)
    _, true, false = _counts(positive, s)
    return float((2 * true / (true + false + positive.sum())).max())


def f1_at(label: ArrayLike, score: ArrayLike, threshold: float) -> float:
    """F1 of calling a row anomalous where its score is above the threshold.

    Parameters
    ----------
    label, score : array-like, shape (n,)
        0 | 1 labels and raw scores.
    threshold : float
        In the unit of the scores.

    Returns
    -------
    float
        In [0, 1]; 0 where nothing is found.

    Raises
    ------
    InputError
        If shapes or labels do not fit, or only one class is present.

    Examples
    --------
    >>> f1_at([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], 0.5)
    0.6666666666666666
    """
    positive, s = _checked(label, score)
    alarm = s > threshold
    return float(2 * (alarm & positive).sum() / (alarm.sum() + positive.sum()))


def recall_at_fpr(label: ArrayLike, score: ArrayLike, rate: float = 0.01) -> float:
    """Largest share of anomalies found with at most `rate` of the normal rows alarmed.

    Parameters
    ----------
    label, score : array-like, shape (n,)
        0 | 1 labels and raw scores.
    rate : float, in [0, 1]
        Allowed false-positive rate.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    InputError
        If shapes or labels do not fit, or only one class is present.

    Examples
    --------
    >>> recall_at_fpr([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], 0.01)
    0.5
    """
    fpr, tpr, _ = roc_curve(label, score)
    return float(tpr[fpr <= rate].max())


def _probabilities(label: ArrayLike, probability: ArrayLike) -> tuple[NDArray[np.bool_], Floats]:
    positive, p = _checked(label, probability, both=False)
    if p.min() < 0 or p.max() > 1:
        raise InputError(
            "a probability lies outside [0, 1]",
            expected="calibrated probabilities",
            got=f"from {p.min():g} to {p.max():g}",
            fix="pass probabilities, not raw scores",
        )
    return positive, p


def brier(label: ArrayLike, probability: ArrayLike) -> float:
    """Mean squared difference between probability and label.

    Parameters
    ----------
    label, probability : array-like, shape (n,)
        0 | 1 labels and probabilities in [0, 1].

    Returns
    -------
    float
        In [0, 1]; lower is better.

    Raises
    ------
    InputError
        If shapes or labels do not fit, or a probability lies outside [0, 1].

    References
    ----------
    Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather Review 78, 1950.

    Examples
    --------
    >>> brier([0, 1], [0.0, 0.5])
    0.125
    """
    positive, p = _probabilities(label, probability)
    return float(np.mean((p - positive) ** 2))


def log_loss(label: ArrayLike, log_odds: ArrayLike) -> float:
    """Mean negative log-likelihood of the labels, from log-odds, so that nothing is clipped.

    Parameters
    ----------
    label, log_odds : array-like, shape (n,)
        0 | 1 labels and log-odds of an anomaly.

    Returns
    -------
    float
        At least 0, in nats; lower is better.

    Raises
    ------
    InputError
        If shapes or labels do not fit.

    Examples
    --------
    >>> round(log_loss([0, 1], [0.0, 0.0]), 4)
    0.6931
    """
    positive, z = _checked(label, log_odds, both=False)
    return float(np.mean(np.logaddexp(0.0, np.where(positive, -z, z))))


def _bins(p: Floats, bins: int) -> NDArray[np.intp]:
    """Equal-mass bin of each row; equal probabilities share one bin, whatever the order of the rows."""
    edges = np.unique(np.quantile(p, np.arange(1, bins) / bins, method="inverted_cdf"))
    return np.searchsorted(edges, p, side="left")


def reliability(label: ArrayLike, probability: ArrayLike, bins: int = 15) -> tuple[Floats, Floats, Floats]:
    """Return mean probability, share of anomalies and number of rows of each equal-mass bin.

    Parameters
    ----------
    label, probability : array-like, shape (n,)
        0 | 1 labels and probabilities in [0, 1].
    bins : int
        Number of bins; fewer come back where probabilities are tied or rows are few.

    Returns
    -------
    predicted, observed, rows : ndarray, shape (k,), k <= bins
        From the lowest probability up.

    Raises
    ------
    InputError
        If shapes or labels do not fit, or a probability lies outside [0, 1].

    Examples
    --------
    >>> predicted, observed, rows = reliability([0, 0, 1, 1], [0.0, 0.2, 0.8, 1.0], bins=2)
    >>> observed.tolist(), rows.tolist()
    ([0.0, 1.0], [2.0, 2.0])
    """
    positive, p = _probabilities(label, probability)
    which = _bins(p, bins)
    rows = np.bincount(which).astype(np.float64)
    used = rows > 0
    predicted = np.bincount(which, p)[used] / rows[used]
    observed = np.bincount(which, positive)[used] / rows[used]
    return predicted, observed, rows[used]


def ece(label: ArrayLike, probability: ArrayLike, bins: int = 15) -> float:
    """Return the expected calibration error over equal-mass bins.

    Parameters
    ----------
    label, probability : array-like, shape (n,)
        0 | 1 labels and probabilities in [0, 1].
    bins : int
        Number of equal-mass bins.

    Returns
    -------
    float
        In [0, 1]; compare it with `ece_floor`, since even a perfect model does not reach 0.

    Raises
    ------
    InputError
        If shapes or labels do not fit, or a probability lies outside [0, 1].

    References
    ----------
    Nguyen and O'Connor, "Posterior calibration and exploratory analysis for NLP models", EMNLP 2015.

    Examples
    --------
    >>> round(ece([0, 0, 1, 1], [0.0, 0.2, 0.8, 1.0], bins=2), 3)
    0.1
    """
    predicted, observed, rows = reliability(label, probability, bins)
    return float((rows * np.abs(predicted - observed)).sum() / rows.sum())


def ece_floor(probability: ArrayLike, bins: int = 15, *, draws: int = 200, seed: int = 0) -> float:
    """Calibration error that a perfect model with these probabilities would show by chance.

    Parameters
    ----------
    probability : array-like, shape (n,)
        Probabilities in [0, 1].
    bins : int
        Number of equal-mass bins.
    draws : int
        How many label vectors are drawn from the probabilities.
    seed : int
        Of the draws.

    Returns
    -------
    float
        Mean of `ece` over the draws.

    Raises
    ------
    InputError
        If a probability lies outside [0, 1].

    Examples
    --------
    >>> ece_floor([0.0, 1.0, 1.0])
    0.0
    """
    p = np.asarray(probability, dtype=np.float64)
    _, p = _probabilities(np.zeros(p.shape, dtype=int), p)
    which = _bins(p, bins)
    order = np.argsort(which, kind="stable")
    starts = np.flatnonzero(np.diff(which[order], prepend=-1))
    p = p[order]
    expected = np.add.reduceat(p, starts)
    rng = np.random.default_rng(seed)
    gaps = [
        np.abs(np.add.reduceat(rng.random(p.size) < p, starts, dtype=np.float64) - expected).sum() for _ in range(draws)
    ]
    return float(np.mean(gaps) / p.size)
