"""From raw scores to promises: p-values, a threshold at a chosen false-alarm rate, probabilities."""

from __future__ import annotations

import bisect
import math
import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from limbeck.errors import InputError, LimbeckWarning

__all__ = [
    "CALIBRATION_MOST",
    "CALIBRATION_SHARE",
    "Affine",
    "Calibrator",
    "fit_affine",
    "outlier_cut",
    "set_aside",
    "sigmoid",
]

Floats = NDArray[np.float64]
CALIBRATION_SHARE, CALIBRATION_MOST = 0.2, 10_000
NORMAL_MAD = 1.4826  # standard deviation of a normal distribution, relative to its median absolute deviation


def sigmoid(log_odds: ArrayLike) -> Floats:
    """Return the probability of log-odds, without overflow."""
    half = np.tanh(np.asarray(log_odds, dtype=np.float64) * 0.5)
    return np.asarray(half * 0.5 + 0.5)


def set_aside(y: NDArray[np.int8], seed: int) -> NDArray[np.bool_]:
    """Choose the calibration rows: 20 %, at most 10,000, the same share of each class, at least one of it."""
    share = min(CALIBRATION_SHARE, CALIBRATION_MOST / len(y))
    rng = np.random.default_rng(seed + 1)
    aside = np.zeros(len(y), dtype=bool)
    for value in (0, 1):
        rows = np.flatnonzero(y == value)
        if rows.size:
            aside[rng.choice(rows, max(1, int(share * len(rows))), replace=False)] = True
    return aside


@dataclass(frozen=True)
class Affine:
    """A straight line on log-odds: ``slope * score + intercept``."""

    slope: float = 1.0
    intercept: float = 0.0

    def __call__(self, score: ArrayLike) -> Floats:
        """Return calibrated log-odds, shape (n,)."""
        return np.asarray(score, dtype=np.float64) * self.slope + self.intercept


def fit_affine(score: ArrayLike, label: ArrayLike, *, spread: float = np.inf, steps: int = 100) -> Affine:
    """Fit ``sigmoid(slope * score + intercept)`` to labels by maximum likelihood (Platt scaling).

    Parameters
    ----------
    score : array-like, shape (n,)
        Raw scores, best log-odds.
    label : array-like, shape (n,)
        0 | 1.
    spread : float, > 0
        Standard deviation of a normal prior on slope and intercept around (1, 0): with few anomalies the line stays
        near "no change". Infinite = no such prior, only one that keeps separable data from running away, whatever
        the unit of the scores.
    steps : int
        Most Newton steps.

    Returns
    -------
    Affine
        A slope of zero or below says that the score ranks backwards; no rows give "no change".

    Raises
    ------
    InputError
        If a score is not finite.

    References
    ----------
    Platt, "Probabilistic outputs for support vector machines", 1999.

    Examples
    --------
    >>> line = fit_affine([-2.0, -1.0, 1.0, 2.0, -1.0, 1.0], [0, 0, 1, 1, 1, 0])
    >>> round(line.slope, 2), round(abs(line.intercept), 2)
    (0.76, 0.0)
    """
    s, y = np.asarray(score, dtype=np.float64), np.asarray(label, dtype=np.float64)
    if not np.isfinite(s).all():
        raise InputError(
            "a score to calibrate is not finite", expected="finite numbers", got=f"{(~np.isfinite(s)).sum()} others"
        )
    if s.size == 0:
        return Affine()
    precision = 1.0 / min(spread, 100.0) ** 2
    middle, scale = float(s.mean()), float(s.std()) or 1.0
    design = np.column_stack([(s - middle) / scale, np.ones_like(s)])  # scores on one footing, whatever their unit
    back = np.array([[1.0 / scale, 0.0], [-middle / scale, 1.0]])  # from those coefficients to slope and intercept
    held = back if np.isfinite(spread) else np.eye(2)  # what the prior speaks of
    prior = np.array([1.0, 0.0]) if np.isfinite(spread) else np.zeros(2)

    def loss(w: Floats) -> float:
        z = design @ w
        fit = np.logaddexp(0.0, np.where(y > 0, -z, z)).sum()
        return float(fit + 0.5 * precision * ((held @ w - prior) ** 2).sum())

    w = np.array([0.0, 0.0])
    value = loss(w)
    for _ in range(steps):
        p = sigmoid(design @ w)
        gradient = design.T @ (p - y) + precision * held.T @ (held @ w - prior)
        curvature = (design * (p * (1 - p))[:, None]).T @ design + precision * held.T @ held
        step = np.linalg.solve(curvature + 1e-12 * np.eye(2), gradient)
        length = 1.0
        while length > 1e-10 and loss(w - length * step) > value:
            length /= 2
        if length <= 1e-10:
            break
        w = w - length * step
        previous, value = value, loss(w)
        if previous - value <= 1e-12 * max(1.0, abs(value)):
            break
    slope, intercept = back @ w
    return Affine(float(slope), float(intercept))


def outlier_cut(score: ArrayLike, deviations: float = 3.0) -> float:
    """Return the score above which items of a mostly normal set are taken for anomalies.

    The median, plus so many robust standard deviations of the scores above it: those below say nothing of a tail to the
    right. Anomalies, however far away, hardly move it as long as they are well below a quarter of the set.

    Parameters
    ----------
    score : array-like, shape (n,)
        Raw scores; n at least 1.
    deviations : float
        In standard deviations of a normal distribution; of one, 3 takes 1 normal item in 740.

    Returns
    -------
    float
        At least the median.

    Examples
    --------
    >>> round(outlier_cut([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 90.0]), 1)
    16.6

    References
    ----------
    Leys et al., "Detecting outliers: do not use standard deviation around the mean, use absolute deviation around the
    median", Journal of Experimental Social Psychology, 2013.
    """
    s = np.asarray(score, dtype=np.float64)
    middle = float(np.median(s))
    above = s[s > middle] - middle
    return middle + deviations * NORMAL_MAD * float(np.median(above)) if above.size else middle


@dataclass(frozen=True)
class Calibrator:
    """Turns raw scores into p-values, a threshold and, where there were labels, probabilities.

    The p-values are split-conformal: for a normal row that is exchangeable with the calibration normals,
    ``P(p_value <= a) <= a`` for every a, whatever the model. The promise ends where the data drifts.

    Attributes
    ----------
    normals : ndarray of float32, shape (m,)
        Scores of the calibration normals, ascending.
    affine : Affine or None
        From score to log-odds; None where there were no labels.

    References
    ----------
    Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World", 2005; Laxhammar and Falkman, 2011.

    Examples
    --------
    >>> calibrator = Calibrator.fit(np.arange(99.0), np.zeros(99))
    >>> calibrator.p_value([97.0, 98.5]).tolist()
    [0.03, 0.01]
    >>> calibrator.threshold(0.01)
    98.0
    """

    normals: NDArray[np.float32]
    affine: Affine | None = None

    @classmethod
    def fit(cls, score: ArrayLike, label: ArrayLike, *, probabilities: bool = False, spread: float = 0.5) -> Calibrator:
        """Learn from rows that no part of the model has seen.

        Parameters
        ----------
        score : array-like, shape (n,)
            Raw scores.
        label : array-like, shape (n,)
            0 | 1; only normal rows make p-values.
        probabilities : bool
            Whether to fit the line to log-odds too.
        spread : float
            Of that line's prior around "no change"; 0.5 keeps a handful of anomalies from bending a student whose
            scores are log-odds already.

        Returns
        -------
        Calibrator
            The fitted one.

        Raises
        ------
        InputError
            If there is no normal row, or a score is not finite.
        """
        with np.errstate(over="ignore"):
            s, y = np.asarray(score, dtype=np.float64).astype(np.float32), np.asarray(label)
        normals = np.sort(s[y == 0])
        if normals.size == 0:
            raise InputError(
                "there is no normal row to calibrate on",
                expected="at least one row of label 0",
                got="0",
                fix="give more normal rows",
            )
        if not np.isfinite(s).all():
            raise InputError(
                "a calibration score is not finite", expected="finite numbers", got=f"{(~np.isfinite(s)).sum()} others"
            )
        return cls(normals, fit_affine(s, y, spread=spread) if probabilities else None)

    @property
    def smallest_rate(self) -> float:
        """Smallest false-alarm rate that this many calibration normals can promise: 1 / (m + 1)."""
        return 1.0 / (self.normals.size + 1)

    def p_value(self, score: ArrayLike) -> Floats:
        """Return ``(1 + normals scoring at least this high) / (m + 1)``, shape (n,), in (0, 1]."""
        m = self.normals.size
        below = self.normals.searchsorted(np.asarray(score, dtype=np.float32), side="left")
        return np.asarray((m + 1 - below) / (m + 1))

    def one(self, score: float) -> tuple[float, float | None]:
        """Return p-value and probability of one score, itself a float32's value; as `p_value` and `probability`."""
        m = self.normals.size
        p_value = (m + 1 - bisect.bisect_left(self._ladder, score)) / (m + 1)
        if self.affine is None:
            return p_value, None
        return p_value, math.tanh((score * self.affine.slope + self.affine.intercept) * 0.5) * 0.5 + 0.5

    @cached_property
    def _ladder(self) -> list[float]:
        return [float(v) for v in self.normals]

    def threshold(self, alpha: float) -> float:
        """Return the score above which ``p_value <= alpha``.

        Parameters
        ----------
        alpha : float
            False-alarm rate, in [1 / (m + 1), 1).

        Returns
        -------
        float
            In the unit of the scores.

        Raises
        ------
        InputError
            If so few normals cannot promise this rate.
        """
        m = self.normals.size
        allowed = int(np.floor(alpha * (m + 1) + 1e-9))  # how many of m + 1 exchangeable rows may be alarmed
        allowed -= allowed / (m + 1) > alpha  # exactly where p_value <= alpha
        if not 1 <= allowed <= m:
            raise InputError(
                f"a false-alarm rate of {alpha:g} cannot be promised",
                got=f"{m} calibration normals",
                expected=f"from {self.smallest_rate:.3g} to below 1",
                fix="ask for a rate in that range",
            )
        return float(self.normals[m - allowed])

    def promise(self, alpha: float, kept: str = "normals") -> tuple[float, list[str]]:
        """Return the false-alarm rate that can be promised, and say so where it is another one than was asked for."""
        if alpha >= self.smallest_rate:
            return alpha, []
        note = (
            f"{self.normals.size} calibration {kept} cannot promise a false-alarm rate of {alpha:g}: "
            f"it is raised to {self.smallest_rate:.3g}"
        )
        warnings.warn(note, LimbeckWarning, stacklevel=4)
        return self.smallest_rate, [note]

    def probability(self, score: ArrayLike) -> Floats | None:
        """Return the calibrated probability of an anomaly, shape (n,), or None without labels at fit."""
        return None if self.affine is None else sigmoid(self.affine(score))
