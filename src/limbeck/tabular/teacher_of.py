"""Anything that scores rows as a teacher: told apart by what it can do, never by where it comes from."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limbeck.errors import InputError
from limbeck.metrics import auroc

__all__ = ["BACKWARDS", "PROBES", "Teacher", "check_sense", "checked", "refuse_constant", "sense_of", "teacher_of"]

Floats = NDArray[np.float64]
Teacher = Callable[[Floats], Floats]
SUREST = 1e-6  # a classifier's probabilities are kept this far from 0 and 1
BACKWARDS = 0.25  # AUROC of rows far out against real ones, below which a teacher is taken to rank backwards
PROBES = 1000  # rows far out that tell the sense of a teacher's scores


def teacher_of(detector: Any, names: Sequence[str]) -> Teacher:
    """Return what says scores, higher = more anomalous, of rows, float64 (n, d).

    Parameters
    ----------
    detector : object
        What has, in this order: `scorer` (a detector of Limbeck); `predict_proba` and two `classes_`, the second the
        anomaly (a classifier: its log-odds); `score_samples`, higher = more normal, with `fit_predict` or `offset_`
        (a scikit-learn outlier detector: turned round); `decision_function`, higher = more anomalous (PyOD); or what
        can be called.
    names : sequence of str
        The columns of the rows: a detector that was fitted on named columns gets them in its order.

    Returns
    -------
    callable
        From rows to scores; raises InputError where the detector fails, or says something else than n finite numbers.

    Raises
    ------
    InputError
        If it can do none of this, or wants columns that are not there.
    """
    kind, say = _say_of(detector)
    wanted = [str(name) for name in getattr(detector, "feature_names_in_", ())]
    missing = [name for name in wanted if name not in names]
    if missing:
        raise InputError(
            f"the teacher ({kind}) was fitted on columns that are not there",
            expected=", ".join(wanted[:20]),
            got=", ".join(list(names)[:20]),
            fix="give the table that it was fitted on",
        )
    places = [list(names).index(name) for name in wanted]

    def score(x: Floats) -> Floats:
        rows = x[:, places] if places else x
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "X does not have valid feature names", UserWarning)
            try:
                said = say(rows)
            except (ValueError, TypeError, RuntimeError, ArithmeticError, LookupError) as error:
                raise InputError(
                    f"the teacher ({kind}) cannot score rows", expected="scores of rows, float64 (n, d)",
                    got=f"{type(error).__name__}: {error}",
                    fix="fit it first, on the same columns; or store its scores and name their column",
                ) from error  # fmt: skip
        return checked(said, len(x), f"the teacher ({kind})")

    return score


def _say_of(detector: Any) -> tuple[str, Callable[[Floats], Any]]:
    """Return the name of what a detector is taken for, and its scores, higher = more anomalous."""
    kind = type(detector).__name__
    if isinstance(detector, type):
        raise InputError(
            f"{detector.__name__} is nothing that scores rows", expected="a fitted detector", got="its class",
            fix="make one, and fit it",
        )  # fmt: skip
    if hasattr(detector, "scorer") and hasattr(detector, "judge"):
        return kind, lambda x: detector.scorer(x).score
    if hasattr(detector, "predict_proba") and len(getattr(detector, "classes_", ())) == 2:
        return kind, lambda x: _log_odds(detector.predict_proba(x))
    if hasattr(detector, "score_samples") and (hasattr(detector, "fit_predict") or hasattr(detector, "offset_")):
        return kind, lambda x: -np.asarray(detector.score_samples(x), dtype=np.float64)
    if hasattr(detector, "decision_function"):
        return kind, detector.decision_function
    if callable(detector):
        return getattr(detector, "__name__", kind), detector
    raise InputError(
        f"{kind} is nothing that scores rows",
        expected="a fitted detector or classifier (scorer, predict_proba, score_samples or decision_function), a "
        "function of rows, or stored scores",
        got=repr(detector)[:100],
        fix="LocalOutlierFactor needs novelty=True" if kind == "LocalOutlierFactor" else "",
    )


def _log_odds(probability: Any) -> Floats:
    p = np.clip(np.asarray(probability, dtype=np.float64)[:, 1], SUREST, 1 - SUREST)
    return np.asarray(np.log(p) - np.log1p(-p))


def checked(said: Any, n: int, who: str) -> Floats:
    """Return scores as float64 (n,), or say what is wrong with them."""
    try:
        score = np.asarray(said, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError) as error:  # the last is torch's, of what still has gradients
        raise InputError(f"{who} says no numbers", expected=f"{n:,} numbers", got=str(error)) from error
    if score.shape == (n, 1):
        score = score[:, 0]
    if score.shape != (n,):
        raise InputError(f"{who} says no score for each row", expected=f"shape ({n},)", got=f"shape {score.shape}")
    if not np.isfinite(score).all():
        raise InputError(
            f"{who} says something else than numbers",
            expected="finite scores",
            got=f"{(~np.isfinite(score)).sum():,} of {n:,} are not",
            fix="leave out, or fill, the rows or values that it cannot score",
        )
    return score


def sense_of(real: Floats, far: Floats) -> float:
    """Return in which share of pairs a row far out scores higher than a real one, in [0, 1]; equal ones count half.

    Parameters
    ----------
    real, far : ndarray of float64, shape (n,) and (m,)
        Finite scores of both.

    Examples
    --------
    >>> sense_of(np.array([1.0, 2.0]), np.array([9.0, 1.5]))
    0.75
    """
    return auroc(np.repeat([0, 1], [len(real), len(far)]), np.concatenate([real, far]))


def refuse_constant(said: Floats, who: str) -> None:
    """Refuse scores (n,) that are all the same: there is no rank to learn."""
    if said.min() == said.max():
        raise InputError(
            f"{who} says the same of every row", expected="different scores", got=f"{said[0]:g} for all of them"
        )


def check_sense(real: Floats, far: Floats, who: str) -> None:
    """Refuse a teacher that holds rows far out for more normal than real ones: it probably ranks backwards."""
    value = sense_of(real, far)
    if value < BACKWARDS:
        raise InputError(
            f"{who} holds rows far out for more normal than real ones",
            expected="higher scores where rows are stranger",
            got=f"rows far out score higher than real ones in {value:.0%} of pairs",
            fix="turn its scores round (turned=True); if it is meant to, do without rows far out (far=0)",
        )
