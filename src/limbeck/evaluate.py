"""How good a detector is on labelled rows or pictures that it has not seen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limbeck import metrics
from limbeck.contracts import OnStep, Step, ignore
from limbeck.data.columns import as_label_array, labels_of, rows_of
from limbeck.data.images import PictureItems, decode_mask
from limbeck.data.layouts import find_pictures, is_picture_source
from limbeck.data.picture_files import Picture
from limbeck.data.tables import open_table
from limbeck.detector import Detector
from limbeck.errors import InputError
from limbeck.picture_spec import PictureSpec
from limbeck.pixel_metrics import pixel_metrics
from limbeck.spec import for_pictures, for_tables

__all__ = ["Evaluation", "Pictures", "evaluate"]

ROWS, BATCH = 65_536, 32  # rows and pictures at once


@dataclass(frozen=True)
class Pictures:
    """What a report shows of pictures.

    Attributes
    ----------
    pictures : tuple of n Picture
        Files, labels, defects, masks.
    maps : ndarray of float32, shape (n, h, w)
        Score of each pixel, at the model's size.
    masks : ndarray of bool, shape (n, h, w), or None
        Truth of each pixel at the model's size, by nearest neighbour; None where there are no masks.
    """

    pictures: tuple[Picture, ...]
    maps: NDArray[np.float32]
    masks: NDArray[np.bool_] | None


@dataclass(frozen=True)
class Evaluation:
    """A detector's word on labelled rows or pictures.

    Attributes
    ----------
    metrics : dict of str to float
        Flat; the keys are a promise that scripts rely on.
    label : ndarray of int8, shape (n,)
        0 | 1; items of unknown label are left out.
    score : ndarray of float32, shape (n,)
        Raw scores.
    probability : ndarray of float64, shape (n,), or None
        Calibrated probabilities, with labels at fit.
    source : str
        The file's name.
    pictures : Pictures or None
        For pictures.
    notes : tuple of str
        What was left out.
    """

    metrics: dict[str, float]
    label: NDArray[np.int8]
    score: NDArray[np.float32]
    probability: NDArray[np.float64] | None
    source: str
    pictures: Pictures | None = None
    notes: tuple[str, ...] = ()


def evaluate(
    detector: Detector,
    source: Any,
    *,
    label: Any = None,
    normal: str | None = None,
    masks: bool = True,
    on_corrupt: str = "refuse",
    on_step: OnStep = ignore,
) -> Evaluation:
    """Score labelled rows or pictures and measure.

    Parameters
    ----------
    detector : Detector
        Fitted on others.
    source : path, frame, mapping, array or list of paths
        What `limbeck.fit` takes. Of pictures, the test split where there is one, else all that have a label.
    label : str or array, shape (n,), optional
        Of a table: the label column or the labels; default: the column named at fit. Of an array of pictures: the
        labels, 0 | 1.
    normal : str, optional
        The label, or the folder of pictures, that means normal; default: the label named at fit.
    masks : bool
        Whether to pair pictures with masks and measure pixels too, where there are masks.
    on_corrupt : str
        What to do with a picture that cannot be read: "refuse", or "skip" and note it.
    on_step : callable
        Called with a `Step` as the work goes on.

    Returns
    -------
    Evaluation
        Metrics, and what a report draws.

    Raises
    ------
    InputError
        If columns do not fit, masks and pictures do not pair, or one class only is present.

    Examples
    --------
    >>> from limbeck.evaluate import evaluate
    >>> evaluate(detector, "test.parquet").metrics["auroc"]  # doctest: +SKIP
    0.98
    >>> evaluate(detector, "screw/").metrics["aupro_30"]  # doctest: +SKIP
    0.93
    """
    if isinstance(detector.spec, PictureSpec):
        return _pictures(detector, source, label, normal, masks, on_corrupt, on_step)
    return _rows(detector, source, label, normal, on_step)


def _rows(detector: Detector, source: Any, label: Any, normal: str | None, on_step: OnStep) -> Evaluation:
    """Measure on rows."""
    spec = for_tables(detector.spec)
    if is_picture_source(source):
        for_pictures(spec)  # says what this model judges
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


def _pictures(
    detector: Detector, source: Any, label: Any, normal: str | None, masks: bool, on_corrupt: str, on_step: OnStep
) -> Evaluation:
    """Measure on pictures, and on their pixels where there are masks."""
    spec = for_pictures(detector.spec)
    if isinstance(source, np.ndarray):
        return _array(detector, source, label)
    if not isinstance(source, (str, Path, list, tuple)):
        for_tables(spec)  # says what this model judges
    if label is not None:
        raise InputError(
            "pictures in files have no label column",
            expected="labels from the folders' names, or from a .txt list",
            got=repr(label),
            fix="name the normal folder if it is not called good, normal or ok: --normal FOLDER (normal= in Python)",
        )
    found = find_pictures(source, masks=masks, normal=normal)
    chosen = found.testing()
    if not chosen:
        raise InputError(
            f"no picture of {found.name} has a label",
            expected="test/good and test/DEFECT, or a folder called good, normal or ok beside others",
            got=f"{len(found.pictures)} pictures",
            fix="sort them into folders, or name the normal one: --normal FOLDER",
        )
    items = PictureItems(spec, chosen, on_corrupt)
    scores: list[NDArray[np.float32]] = []
    maps: list[NDArray[Any]] = []
    y: list[NDArray[np.int8]] = []
    for batch in items.batches(BATCH):
        said = detector.scorer(batch.x)
        scores.append(said.score)
        maps.append(np.asarray(said.map))
        y.append(batch.label)
        on_step(Step("scoring", sum(map(len, y)), len(chosen)))
    kept = tuple(p for p in chosen if p.id not in items.skipped)
    notes: tuple[str, ...] = ()
    if items.skipped:
        notes = (f"{len(items.skipped)} pictures could not be read: {', '.join(items.skipped)}",)
    if not kept:
        raise InputError(f"no picture of {found.name} can be read", expected="at least one", got=notes[0])
    label, score, drawn = np.concatenate(y), np.concatenate(scores), np.concatenate(maps)
    values = _measure(detector, label, score, None)
    truth = None
    if any(p.mask for p in kept):
        truth = np.stack([_mask(p, (spec.height, spec.width)) for p in kept])
        measured = np.array([p.mask is not None or p.label == 0 for p in kept])
        if not measured.all():
            notes += (f"{int((~measured).sum())} anomalous pictures have no mask: pixels are measured without them",)
        gone = [p.id for p, mask in zip(kept, truth, strict=True) if p.mask is not None and not mask.any()]
        if gone:
            notes += (f"{len(gone)} masks vanish at {spec.height} × {spec.width} pixels: {', '.join(gone[:5])}",)
        if truth[measured].any():
            values |= pixel_metrics(truth[measured], drawn[measured])
    return Evaluation(values, label, score, None, found.name, Pictures(kept, drawn, truth), notes)


def _array(detector: Detector, source: NDArray[Any], label: Any) -> Evaluation:
    """Measure on pictures in memory."""
    if label is None:
        raise InputError("labels are needed to evaluate", expected="label=, 0 | 1 for each picture", got="none")
    x = for_pictures(detector.spec).validate(source)
    y = labels_of(as_label_array(label, len(x)))
    y, x = y[y >= 0], x[y >= 0]
    score = detector.scorer(x).score
    return Evaluation(_measure(detector, y, score, None), y, score, None, "array")


def _mask(picture: Picture, size: tuple[int, int]) -> NDArray[np.bool_]:
    return np.zeros(size, bool) if picture.mask is None else decode_mask(picture.mask, size)


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
