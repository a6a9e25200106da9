"""The table of candidates: every student and teacher, measured on rows that none of them saw, calibrated alike."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from limbeck import metrics
from limbeck.calibrate import fit_affine, sigmoid
from limbeck.network import Network
from limbeck.tabular.teachers import Committee

__all__ = ["ROLES", "measure", "verdict"]

Floats = NDArray[np.float64]
Labels = NDArray[np.int8]
ROLES = ("distilled", "control", "labels")  # the students: shipped, without a teacher, without synthetic rows


def measure(students: dict[str, Network], committee: Committee, x: Floats, y: Labels) -> list[dict[str, Any]]:
    """Measure every model on rows that none saw; each gets the same kind of calibration, itself cross-fitted."""
    scores: list[tuple[str, str, Floats, int]] = [
        (role, role, network(x).astype(np.float64), network.size) for role, network in students.items()
    ]
    scores.append(("committee", f"committee of {len(committee.members)}", committee.log_odds(x), 0))
    scores += [("teacher", f"teacher {m.resampler}", m.log_odds(x), 0) for m in committee.members]
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


def verdict(candidates: list[dict[str, Any]]) -> list[str]:
    """Say plainly where distillation did not pay."""
    ap = {c["role"]: c["average_precision"] for c in candidates if c["role"] in ROLES}
    words = {"control": "the control (same rows, no teacher)", "labels": "the plain student of the labels"}
    return [
        f"the distilled student's average precision ({ap['distilled']:.3f}) is not above that of {words[other]} "
        f"({ap[other]:.3f}) on the validation rows"
        for other in words
        if ap["distilled"] <= ap[other]
    ]
