"""Columns as a model wants them: series from anything, numbers from series, labels from columns."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from limbeck.contracts import Batch
from limbeck.errors import InputError
from limbeck.table_spec import TableSpec, as_array, as_text

__all__ = ["TableItems", "as_columns", "as_label_array", "as_series", "ids_of", "labels_of", "rows_of"]

NORMAL_WORDS = {"0", "normal", "good", "benign", "ok", "false", "no", "negative"}


def as_series(name: str, values: Any) -> pl.Series:
    """Take a column of a pandas frame, a mapping or an array; mixed objects become text, missing ones null."""
    if isinstance(values, pl.Series):
        return values.alias(name)
    if str(getattr(values, "dtype", "")) == "category":  # pandas: whatever the categories are, they are no numbers
        return pl.Series(name, [as_text(v) for v in values.tolist()], dtype=pl.String)
    array = np.atleast_1d(values.to_numpy()) if hasattr(values, "to_numpy") else as_array(values)
    if array.ndim != 1:
        raise InputError(f"column {name!r} has the wrong shape", expected="(n,)", got=str(array.shape))
    if array.dtype.kind in "mM":
        return pl.Series(name, array.astype(f"{array.dtype.kind}8[us]"))
    if array.dtype.kind == "f" and array.dtype.itemsize not in (4, 8):
        array = array.astype(np.float64)
    if array.dtype.kind != "O":
        return pl.Series(name, array)
    items = [_plain(v) for v in array.tolist()]
    kinds = {type(v) for v in items if v is not None}
    if kinds <= {bool}:
        return pl.Series(name, items, dtype=pl.Boolean)
    if kinds == {int} and all(v is None or -(2**63) <= v < 2**63 for v in items):
        return pl.Series(name, items, dtype=pl.Int64)
    if kinds <= {int, float}:
        return pl.Series(name, [None if v is None else float(v) for v in items], dtype=pl.Float64)
    if any(hasattr(v, "year") or hasattr(v, "hour") for v in items[:1000]):
        return pl.Series(name, items, dtype=pl.Datetime, strict=False)
    return pl.Series(name, [as_text(v) for v in items], dtype=pl.String)


def _plain(value: Any) -> Any:
    """Return numpy's and decimal's numbers as Python's, and every way to say "missing" as None."""
    if as_text(value) is None:
        return None
    if isinstance(value, np.generic):
        return value.item()
    return float(value) if isinstance(value, Decimal) else value


def as_label_array(label: Any, n: int) -> pl.Series:
    """Take labels that were given beside rows."""
    if np.shape(label) != (n,):
        raise InputError("labels and rows do not match", expected=f"shape ({n},)", got=f"shape {np.shape(label)}")
    return as_series("label", label)


def as_columns(frame: pl.DataFrame, names: list[str]) -> dict[str, NDArray[Any]]:
    """Return columns as numpy arrays: numbers as they are (null = NaN), everything else as objects."""
    columns: dict[str, NDArray[Any]] = {}
    for name in names:
        series = frame[name]
        if series.dtype == pl.Boolean:
            series = series.cast(pl.Float64)
        elif series.dtype.is_decimal():
            series = series.cast(pl.Float64)
        if series.dtype.is_numeric():
            columns[name] = series.to_numpy()
        else:
            columns[name] = np.array(series.to_list(), dtype=object)
    return columns


def rows_of(frame: pl.DataFrame, spec: TableSpec, *, named: bool, first_row: int = 0) -> NDArray[np.float64]:
    """Return a frame's rows as a model takes them.

    Parameters
    ----------
    frame : polars.DataFrame
        Its columns may stand in any order, and others may stand among them.
    spec : TableSpec
        What the model expects.
    named : bool
        Whether the frame's names are its own; if not, its columns x0, x1, ... are taken by position.
    first_row : int
        Number of the first row, for messages.

    Returns
    -------
    ndarray of float64, shape (n, d)
        Missing = NaN; categories as codes.

    Raises
    ------
    InputError
        If a column is missing, or a value is of the wrong kind or infinite.
    """
    if named or not spec.named:
        spec.require_columns(frame.columns)
        return spec.encode(as_columns(frame, spec.names), first_row=first_row)
    places = [name for name in frame.columns if re.fullmatch(r"x\d+", name)]
    return spec.validate(frame.select(places).to_numpy(), first_row=first_row)


def ids_of(frame: pl.DataFrame, id: str | None) -> NDArray[Any]:
    """Return what the rows of a source are called, (n,): by a column, or else by their number."""
    return np.arange(frame.height) if id is None else frame[id].to_numpy()


def labels_of(column: pl.Series, normal: Any = None) -> NDArray[np.int8]:
    """Read a label column as 0 = normal, 1 = anomalous, -1 = unknown.

    Parameters
    ----------
    column : polars.Series
        Numbers 0 | 1, booleans, or texts of which some mean normal ("normal", "good", "benign", "ok", "no", "false").
    normal : str, optional
        The one value that means normal; every other value is then an anomaly.

    Returns
    -------
    ndarray of int8, shape (n,)
        Null = -1.

    Raises
    ------
    InputError
        If it cannot be told which values are normal.

    Examples
    --------
    >>> labels_of(pl.Series("label", ["normal", "neptune", None])).tolist()
    [0, 1, -1]
    """
    values = column.unique().to_list()
    texts = {v: str(as_text(v) or "").strip().rstrip(".").lower() or None for v in values}
    if normal is not None:
        calm = {str(as_text(normal) or "").strip().rstrip(".").lower()}
        if not calm & set(texts.values()):
            raise InputError(
                f"no row of the label column {column.name!r} is {normal!r}",
                expected="the value that normal rows have",
                got=", ".join(sorted({repr(v) for v in values})[:8]),
                fix="name one of these: --normal VALUE (normal=VALUE in Python)",
            )
        readable = True
    else:
        calm = NORMAL_WORDS
        known = {t for t in texts.values() if t is not None}
        numbers = column.dtype.is_numeric() or column.dtype == pl.Boolean
        readable = (
            bool(known & calm) and (not numbers or known <= {"0", "1", "true", "false"}) or known in ({"1"}, {"true"})
        )
    if not readable:
        raise InputError(
            f"which values of the label column {column.name!r} mean normal?",
            expected="0 and 1, booleans, or a text such as 'normal'",
            got=", ".join(sorted({repr(v) for v in values})[:8]),
            fix="name the normal value: --normal VALUE (normal=VALUE in Python)",
        )
    codes = {v: -1 if t is None else int(t not in calm) for v, t in texts.items()}
    return np.array([codes[v] if v == v else -1 for v in column.to_list()], dtype=np.int8)


@dataclass(frozen=True)
class TableItems:
    """Rows in memory: the `Items` that a tabular method learns from."""

    spec: TableSpec
    x: NDArray[np.float64]  # (n, d)
    label: NDArray[np.int8]  # (n,)
    score: NDArray[np.float64] | None = None  # (n,) what a teacher said of each row, where it was stored
    id: NDArray[Any] | None = None  # (n,) what each is called in its source; None = by its number here

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.x)

    def batches(self, size: int) -> Iterator[Batch]:
        """Yield the rows in their order, at most `size` at a time."""
        for i in range(0, len(self.x), size):
            stop = min(i + size, len(self.x))
            id = range(i, stop) if self.id is None else self.id[i:stop].tolist()
            yield Batch(self.x[i:stop], self.label[i:stop], None, id)

    def subset(self, indices: Sequence[int] | NDArray[np.integer[Any]]) -> TableItems:
        """Return some of the rows, in the order asked for."""
        score, id = (None if part is None else part[indices] for part in (self.score, self.id))
        return TableItems(self.spec, self.x[indices], self.label[indices], score, id)

    def fingerprint(self) -> str:
        """Name the rows by their values."""
        digest = hashlib.sha256(np.ascontiguousarray(self.x).tobytes())
        digest.update(self.label.tobytes())
        if self.score is not None:
            digest.update(np.ascontiguousarray(self.score).tobytes())
        return digest.hexdigest()
