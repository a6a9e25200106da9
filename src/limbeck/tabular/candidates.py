"""The table of candidates: every student and teacher, measured on rows that none of them saw, calibrated alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limbeck import metrics
from limbeck.calibrate import fit_affine, sigmoid
from limbeck.network import Network
from limbeck.tabular.config import ROLES
from limbeck.tabular.teachers import Committee

__all__ = ["choose", "measure", "together", "verdict"]

Scores = NDArray[np.floating[Any]]
Floats = NDArray[np.float64]
Labels = NDArray[np.int8]
RESAMPLES = 200  # of the bootstrap


def measure(students: dict[str, Network], committee: Committee, x: Floats, y: Labels) -> list[dict[str, Any]]:
    """Measure every model on rows that none saw; each gets the same kind of calibration, itself cross-fitted."""
    scores: list[tuple[str, str, Floats, int]] = [
        (role, role, network(x).astype(np.float64), network.size) for role, network in students.items()
    ]
    scores.append(("committee", f"committee of {len(committee.speakers)}", committee.log_odds(x), 0))
    scores += [("teacher", f"teacher {m.name}", m.log_odds(x), 0) for m in committee.members]
    rows = []
    for role, name, score, size in scores:
        calibrated = _cross_fitted(score, y)
        probability = sigmoid(calibrated)
        rows.append({
            "role": role, "name": name, "weights": size,
            "average_precision": metrics.average_precision(y, score), "auroc": metrics.auroc(y, score),
            "recall_at_1pct_fpr": metrics.recall_at_fpr(y, score, 0.01), "f1_max": metrics.f1_max(y, score),
            "log_loss": metrics.log_loss(y, calibrated), "brier": metrics.brier(y, probability),
            "ece": metrics.ece(y, probability), "ece_floor": metrics.ece_floor(probability),
            "n": len(y), "n_anomalous": int(y.sum()),
        })  # fmt: skip
    return rows


def _cross_fitted(score: Floats, y: Labels) -> Floats:
    """Calibrate each half of the rows by the line of the other half."""
    half = np.zeros(len(y), dtype=bool)
    for value in (0, 1):
        half[np.flatnonzero(y == value)[::2]] = True
    calibrated = np.empty(len(y))
    for part in (half, ~half):
        if part.any():
            calibrated[part] = fit_affine(score[~part], y[~part], spread=3.0)(score[part])
    return calibrated


def together(tables: Sequence[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Average the figures of several measurements, for the models that all of them know; rows are counted together."""
    merged = []
    for row in tables[0]:
        found = [r for table in tables for r in table if _who(r) == _who(row)]
        if len(found) == len(tables):
            merged.append({key: _merge(key, [r[key] for r in found]) for key in row})
    return merged


def _who(row: dict[str, Any]) -> str:
    """Return what a model goes by in every measurement; the committee's name counts its members, which may differ."""
    name: str = row["name"] if row["role"] == "teacher" else row["role"]
    return name


def _merge(key: str, values: list[Any]) -> Any:
    if key in ("role", "name", "weights"):
        return values[0]
    return sum(values) if key in ("n", "n_anomalous") else float(np.mean(values))


def choose(measured: Sequence[tuple[Mapping[str, Scores], Labels]], *, seed: int) -> tuple[str, str]:
    """Choose the simplest student whose average precision is within one standard error of the best one's.

    The error is that of the difference between the two, by a bootstrap of the rows inside each class and measurement:
    both are measured on the same rows, so that most of the error of each is common to both.

    Parameters
    ----------
    measured : sequence of (scores, y)
        One or more measurements: what each student says of the validation rows, by role, shape (n,) each; and their
        0 | 1 labels, shape (n,), both present.
    seed : int
        Of the bootstrap.

    Returns
    -------
    role : str
        The chosen student.
    reason : str
        Why, in words.

    References
    ----------
    Breiman et al., "Classification and Regression Trees", 1984, section 3.4.3 (the one-standard-error rule); Efron and
    Tibshirani, "An Introduction to the Bootstrap", 1993.

    Examples
    --------
    >>> y = np.arange(200) % 10 == 0
    >>> scores = {"labels": y + 0.0, "control": y + 0.0, "multi-teacher": 1.0 - y}
    >>> choose([(scores, y.astype(np.int8))], seed=0)[0]
    'labels'
    """
    roles = [role for role in ROLES if role in measured[0][0]]
    ap = _mean_ap(measured, roles, [np.arange(len(y)) for _, y in measured])
    best = max(ap, key=lambda role: ap[role])
    rng = np.random.default_rng(seed)
    lead: dict[str, list[float]] = {role: [] for role in roles}
    for _ in range(RESAMPLES):
        drawn = _mean_ap(measured, roles, [_redrawn(y, rng) for _, y in measured])
        for role in roles:
            lead[role].append(drawn[best] - drawn[role])
    error = {role: float(np.std(lead[role], ddof=1)) for role in roles}
    chosen = next(role for role in roles if ap[best] - ap[role] <= error[role])
    if chosen == best:
        return chosen, f"{chosen!r} is shipped: the highest average precision on the validation rows ({ap[best]:.3f})"
    return chosen, (
        f"{chosen!r} is shipped: its average precision on the validation rows ({ap[chosen]:.3f}) is within one "
        f"standard error ({error[chosen]:.3f}) of that of the best, {best!r} ({ap[best]:.3f}), and it is simpler"
    )


def _mean_ap(
    measured: Sequence[tuple[Mapping[str, Scores], Labels]], roles: list[str], rows: list[NDArray[np.intp]]
) -> dict[str, float]:
    """Return each role's average precision on some rows of each measurement, averaged over the measurements."""
    return {
        role: float(
            np.mean(
                [
                    metrics.average_precision(y[r], scores[role][r])
                    for (scores, y), r in zip(measured, rows, strict=True)
                ]
            )
        )
        for role in roles
    }


def _redrawn(y: Labels, rng: np.random.Generator) -> NDArray[np.intp]:
    """Draw rows with replacement, inside each class."""
    return np.concatenate([rng.choice(rows, rows.size) for rows in (np.flatnonzero(y == 0), np.flatnonzero(y == 1))])


def verdict(candidates: list[dict[str, Any]], chosen: str) -> list[str]:
    """Say plainly where distillation did not pay."""
    ap = {c["role"]: c["average_precision"] for c in candidates if c["role"] in ROLES}
    distilled = {role: value for role, value in ap.items() if role not in ("labels", "control")}
    best = max(distilled, key=lambda role: distilled[role])
    words = {"control": "the control (same rows, no teacher)", "labels": "the plain student of the labels"}
    said = [
        f"no distilled student is above {words[other]} on the validation rows: average precision "
        f"{ap[best]:.3f} ({best}) against {ap[other]:.3f}"
        for other in words
        if other in ap and ap[best] <= ap[other]
    ]
    if chosen in words:
        said.append(f"the shipped student learned without a teacher: it is {words[chosen]}")
    return said
