"""A table as a source of learning: its label column split off, its rows encoded, some of them set aside."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from limbeck.calibrate import set_aside
from limbeck.data.columns import TableItems, as_label_array, ids_of, labels_of, rows_of
from limbeck.data.tables import TableSource, open_table
from limbeck.errors import InputError
from limbeck.fitting.prepared import Prepared
from limbeck.tabular.encode import learn_spec

__all__ = [
    "FEWEST_ANOMALIES",
    "FEW_ANOMALIES",
    "looks_labelled",
    "prepare_table",
    "require_both_classes",
    "split_off",
]

FEWEST_ANOMALIES = 5  # below this nothing can be both learned and checked
LABEL_NAMES = {  # as they are usually called
    "anomaly", "attack", "class", "fraud", "is_anomaly", "is_fraud", "is_outlier", "label", "outlier", "target", "y",
}  # fmt: skip
FEW_VALUES = 50  # a label has
FEW_ANOMALIES = 50  # below this the user is told how little the figures say


def prepare_table(
    source: Any,
    *,
    label: Any,
    normal: str | None,
    id: str | None,
    ignored: Sequence[str],
    max_categories: int,
    seed: int,
) -> Prepared:
    """Read a table, with labels or without, and set rows aside for calibration."""
    table = open_table(source, text=(id,))
    frame, column = split_off(table, label, id, ignored)
    called = ids_of(frame, id)
    if column is None:
        y, notes = np.full(frame.height, -1, np.int8), looks_labelled(frame)
    else:
        y = labels_of(column, normal)
        called = called[y >= 0]
        frame, y, notes = _labelled(frame, y)
    calibration = set_aside(np.maximum(y, 0), seed)
    spec, more = learn_spec(
        frame.filter(pl.Series(~calibration)),
        named=table.named,
        label=label if isinstance(label, str) else None,
        normal=None if normal is None else str(normal),
        id=id,
        max_categories=max_categories,
    )
    items = TableItems(spec, rows_of(frame, spec, named=table.named), y, id=called)
    learn, aside = (items.subset(np.flatnonzero(rows)) for rows in (~calibration, calibration))
    return Prepared(learn, aside, column is not None, table.name, len(y), int((y == 1).sum()), notes + more)


def split_off(
    table: TableSource, label: Any, id: str | None, ignored: Sequence[str]
) -> tuple[pl.DataFrame, pl.Series | None]:
    """Return the rows without label (or score) and ignored columns, and that column; None where there is none."""
    for name in ([label] if isinstance(label, str) else []) + ([id] if id else []) + list(ignored):
        if name not in table.schema:
            lower = {c.lower(): c for c in table.schema}  # upper and lower case are the commonest slip
            near = [lower[n] for n in difflib.get_close_matches(name.lower(), lower, 1)]
            raise InputError(
                f"{table.name} has no column {name!r}",
                expected="one of " + ", ".join(list(table.schema)[:20]) + (", ..." if len(table.schema) > 20 else ""),
                got=name,
                fix=f"did you mean {near[0]!r}?" if near else "check the header",
            )
    frame = table.frame()
    if label is None:
        return frame.drop(ignored), None
    if isinstance(label, str):
        return frame.drop([*ignored, label]), frame[label]
    return frame.drop(ignored), as_label_array(label, frame.height)


def looks_labelled(frame: pl.DataFrame) -> list[str]:
    """Say which columns look like labels, where none was named: learned from, they would give the answer away."""
    named = [c for c in frame.columns if c.strip().lower() in LABEL_NAMES and frame[c].n_unique() <= FEW_VALUES]
    return [
        f"column {name!r} looks like a label and is learned from as any other: leave it out (--ignore {name}), or "
        f"learn from it (limbeck fit --label {name})"
        for name in named
    ]


def _labelled(frame: pl.DataFrame, y: NDArray[np.int8]) -> tuple[pl.DataFrame, NDArray[np.int8], list[str]]:
    """Leave out rows of unknown label, and refuse too few of a class."""
    notes = []
    known = y >= 0
    if not known.all():
        notes.append(f"{int((~known).sum())} rows without a label were left out")
        frame, y = frame.filter(pl.Series(known)), y[known]
    normal, anomalous = require_both_classes(y)
    if min(anomalous, normal) < FEWEST_ANOMALIES:
        raise InputError(
            f"too few {'anomalous' if anomalous < normal else 'normal'} rows to learn from and to check with",
            expected=f"at least {FEWEST_ANOMALIES} of each class",
            got=f"{normal} normal and {anomalous} anomalous rows",
            fix="label more rows",
        )
    if anomalous < FEW_ANOMALIES:
        notes.append(f"only {anomalous} anomalies: every figure here is uncertain by several points")
    return frame, y, notes


def require_both_classes(y: NDArray[np.int8]) -> tuple[int, int]:
    """Return how many rows are normal and how many anomalous, or refuse labels of one class."""
    normal, anomalous = int((y == 0).sum()), int((y == 1).sum())
    if not anomalous or not normal:
        raise InputError(
            "only one class is present in the labels",
            expected="normal and anomalous rows",
            got=f"{normal} normal and {anomalous} anomalous rows",
            fix="check the label column, or name the normal value: --normal VALUE",
        )
    return normal, anomalous
