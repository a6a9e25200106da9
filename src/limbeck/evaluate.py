"""How good a detector is on labelled rows that it has not seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limbeck import metrics
from limbeck.contracts import OnStep, Step, ignore
from limbeck.data.columns import as_label_array, labels_of, rows_of
from limbeck.data.tables import open_table
from limbeck.detector import Detector
from limbeck.errors import InputError

__all__ = ["Evaluation", "evaluate"]

ROWS = 65_536


@dataclass(frozen=True)
class Evaluation:
    """A detector's word on labelled rows.

    Attributes
    ----------
    metrics : dict of str to float
        Flat; the keys are a promise that scripts rely on.
    label : ndarray of int8, shape (n,)
        0 | 1; rows of unknown label are left out.
    score : ndarray of float32, shape (n,)
        Raw scores.
    probability : ndarray of float64, shape (n,), or None
        Calibrated probabilities, with labels at fit.
    source : str
        The file's name.
    """

    metrics: dict[str, float]
    label: NDArray[np.int8]
    score: NDArray[np.float32]
    probability: NDArray[np.float64] | None
    source: str


def evaluate(
    detector: Detector, source: Any, *, label: Any = None, normal: str | None = None, on_step: OnStep = ignore
) -> Evaluation:
    """Score labelled rows and measure.

    Parameters
    ----------
    detector : Detector
        Fitted on other rows.
    source : path, frame, mapping or array
        What `limbeck.fit` takes.
    label : str or array, shape (n,), optional
        The label column or the labels; default: the column named at fit.
    normal : str, optional
        The label that means normal; default: the one named at fit.
    on_step : callable
        Called with a `Step` as the work goes on.

    Returns
    -------
    Evaluation
        Metrics, and what a report draws.

    Raises
    ------
    InputError
        If columns do not fit, or one class only is present.

    Examples
    --------
    >>> from limbeck.evaluate import evaluate
    >>> evaluate(detector, "test.parquet").metrics["auroc"]  # doctest: +SKIP
    0.98
    """
    spec = detector.spec
    label = spec.label if label is None else label
    normal = spec.normal if normal is None else normal
    if label is None:
        raise InputError("labels are needed to evaluate", expected="the label column", got="none", fix="--label COLUMN")
    text = (label,) if isinstance(label, str) else ()
    table = open_table(source, spec, text)
    if isinstance(label, str) and label not in table.schema:
        raise InputError(
            f"{table.name} has no label column {label!r}",
            expected="one of " + ", ".join(list(table.schema)[:20]),
            got=label,
            fix="name it: --label COLUMN",
        )
    scores, columns, done = [], [], 0
    for frame in table.batches(ROWS, spec, *text):
        rows = rows_of(frame, spec, named=table.named, first_row=done)
        scores.append(detector.scorer(rows).score)
        if isinstance(label, str):
            columns.append(frame[label])
        done += frame.height
        on_step(Step("scoring", done, 0))
    if not done:
        raise InputError(f"{table.name} has no rows", expected="at least one row", got="0")
    on_step(Step("scoring", done, done))
    score = np.concatenate(scores)
    column = as_label_array(label, done) if not columns else columns[0].extend(_joined(columns[1:], columns[0]))
    y = labels_of(column, normal)
    known = y >= 0
    if not known.any():
        raise InputError(
            "no row has a label", expected=f"0 | 1 in {label!r}", got=f"{done} rows without one", fix="--label COLUMN"
        )
    y, score = y[known], score[known]
    probability = detector.calibrator.probability(score)
    return Evaluation(_measure(detector, y, score, probability), y, score, probability, table.name)


def _joined(columns: list[Any], like: Any) -> Any:
    joined = like.clear()
    for column in columns:
        joined = joined.append(column)
    return joined


def _measure(
    detector: Detector, y: NDArray[np.int8], score: NDArray[np.float32], probability: NDArray[np.float64] | None
) -> dict[str, float]:
    alarms = score > np.float32(detector.threshold)
    values = {
        "n": len(y),
        "n_anomalous": int(y.sum()),
        "auroc": metrics.auroc(y, score),
        "average_precision": metrics.average_precision(y, score),
        "f1_max": metrics.f1_max(y, score),
        "f1_at_threshold": metrics.f1_at(y, score, detector.threshold),
        "recall_at_1pct_fpr": metrics.recall_at_fpr(y, score, 0.01),
        "threshold": detector.threshold,
        "alpha": detector.alpha,
        "false_alarm_rate": float(alarms[y == 0].mean()),
    }
    if probability is not None:
        values |= {"brier": metrics.brier(y, probability), "ece": metrics.ece(y, probability)}
    return values
