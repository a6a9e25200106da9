"""Learns what `TableSpec` and `Features` apply: the kinds of the columns, their categories, centres and scales."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import polars as pl
from numpy.typing import NDArray

from limbeck.errors import InputError
from limbeck.network import Features
from limbeck.table_spec import Column, TableSpec, as_text

__all__ = ["centre_and_scale", "learn_features", "learn_spec"]

DATE = re.compile(
    r"\s*(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/]\d{1,2}[-/]\d{2,4}|\d{1,2}\.\d{1,2}\.\d{4}|\d{1,2}:\d{2}(:\d{2})?)"
    r"([T ]\d{1,2}:\d{2}.*)?\s*"
)
PLAIN = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*")
NUMBER = re.compile(  # as people write them
    r"\s*[-+<>~≤≥]*\s*(\d+|\d{1,3}([,.' ]\d{3})+)([.,]\d+)?([eE][-+]?\d+)?\s*[%€$£]?\s*"
)
UNIQUE = 30  # rows from which a text column without any repetition is an identifier
IDENTIFIER = 1000, 0.2  # a text column with more categories than both this many and this share of its rows


def learn_spec(
    frame: pl.DataFrame,
    *,
    named: bool = True,
    label: str | None = None,
    normal: str | None = None,
    id: str | None = None,
    max_categories: int = 100,
    every: bool = False,
) -> tuple[TableSpec, list[str]]:
    """Decide what a model will expect of a row.

    Parameters
    ----------
    frame : polars.DataFrame
        The training rows; the label and id columns are passed over.
    named : bool
        Whether the column names are the source's own.
    label, normal, id : str, optional
        The label column, the value in it that means normal, and the id column.
    max_categories : int
        Most frequent categories kept of a column.
    every : bool
        Whether columns without two different values are kept too, for a teacher that wants them.

    Returns
    -------
    spec : TableSpec
        Columns with their kinds and categories.
    notes : list of str
        What was left out or pooled, in words for the user.

    Raises
    ------
    InputError
        If a column holds dates or identifiers, or no column is left.
    """
    columns: list[Column] = []
    notes: list[str] = []
    for series in frame.iter_columns():
        if series.name in (label, id):
            continue
        if series.dtype == pl.Object or not named:
            _refuse_unlearnable(series)
        if not named:  # rows come by position: every place counts
            columns.append(Column(series.name, "boolean" if series.dtype == pl.Boolean else "numeric"))
        elif every and (series.dtype.is_numeric() or series.dtype in (pl.Boolean, pl.Null)):
            columns.append(Column(series.name, "boolean" if series.dtype == pl.Boolean else "numeric"))
        elif series.null_count() == series.len() or (series.dtype.is_float() and series.is_nan().all()):
            notes.append(f"column {series.name!r} has no value at all and was left out")
        elif series.n_unique() == 1:
            notes.append(f"column {series.name!r} has one value only and was left out")
        else:
            _refuse_unlearnable(series)
            column, note = _learn_column(series, max_categories)
            columns.append(column)
            notes += [note] if note else []
    if not columns:
        raise InputError(
            "no column is left to learn from",
            expected="at least one column that varies",
            got="; ".join(notes) or "no columns besides label and id",
        )
    return TableSpec(tuple(columns), named, label, normal, id), notes


def _refuse_unlearnable(series: pl.Series) -> None:
    name, dtype = series.name, series.dtype
    if dtype.is_temporal():
        raise _date(name, str(dtype))
    texts = dtype in (pl.String, pl.Categorical) or isinstance(dtype, pl.Enum)
    if not (texts or dtype.is_numeric() or dtype in (pl.Boolean, pl.Null)):
        raise InputError(
            f"column {name!r} is of a kind that cannot be learned from",
            got=str(dtype),
            expected="numbers, booleans or texts",
            fix=f"leave it out: --ignore {name}",
        )


def _learn_column(series: pl.Series, max_categories: int) -> tuple[Column, str | None]:
    name, dtype = series.name, series.dtype
    if dtype == pl.Boolean:
        return Column(name, "boolean"), None
    if dtype.is_numeric():
        return Column(name, "numeric"), None
    counts: Counter[str] = Counter()
    for value, count in series.cast(pl.String).drop_nulls().value_counts().rows():
        text = as_text(value)
        if text is not None:
            counts[text] += count
    rows = counts.total()
    if sum(count for text, count in counts.items() if DATE.fullmatch(text)) > 0.9 * rows:
        raise _date(name, repr(next(iter(counts))))
    _refuse_numbers(name, counts, max_categories)
    most = max(IDENTIFIER[0], int(IDENTIFIER[1] * rows))
    if len(counts) > most or (len(counts) == rows >= UNIQUE):
        raise InputError(
            f"column {name!r} looks like an identifier or free text",
            expected=f"texts that repeat, at most {most} different ones",
            got=f"{len(counts)} in {rows} rows",
            fix=f"leave it out (--ignore {name}), name it as the id (--id {name}), or group its values",
        )
    ranked = sorted(counts.items(), key=lambda c: (-c[1], c[0]))  # ties by name: the same on every run
    note = None
    if len(counts) > max_categories:
        note = (
            f"column {name!r} has {len(counts)} categories: the {max_categories} most frequent are kept, "
            "the rest count as unseen"
        )
    return Column(name, "categorical", tuple(sorted(text for text, _ in ranked[:max_categories]))), note


def _refuse_numbers(name: str, counts: Counter[str], max_categories: int) -> None:
    """Refuse a text column that is a number column with something else in it, before every number is a category."""
    others = {t: c for t, c in counts.items() if not PLAIN.fullmatch(t)}
    odd = [t for t in others if NUMBER.fullmatch(t)]  # 3.2 %, 1,234.5
    numbers = counts.total() - sum(others.values()) + sum(others[t] for t in odd)
    codes = not others and len(counts) <= max_categories  # 1, 2, 3 written as text on purpose
    if numbers <= counts.total() / 2 or codes:
        return
    words = sorted((t for t in others if t not in odd), key=lambda t: -others[t])
    shown = ", ".join(f"{t!r} ({others[t]} times)" for t in (words or odd)[:5])
    raise InputError(
        f"column {name!r} holds numbers written as text" + (f", and {shown}" if shown else ""),
        expected="plain numbers such as 1234.5, empty where missing",
        got=f"{numbers} of {counts.total()} values are numbers",
        fix=f"clean the column, or leave it out: --ignore {name}",
    )


def _date(name: str, got: str) -> InputError:
    return InputError(
        f"column {name!r} holds dates or times",
        expected="numbers, booleans or categories",
        got=got,
        fix="a date identifies rows and does not carry over to new ones: turn it into numbers that do "
        f"(hour of day, weekday, seconds since the last event), or leave it out: --ignore {name}",
    )


def learn_features(x: NDArray[np.float64], categorical: tuple[int, ...] = ()) -> Features:
    """Learn centres, scales, missing-value indicators and one-hot places from raw rows.

    The centre is the median and the scale that of a normal distribution with the same quartiles (wider quantiles, then
    the standard deviation, where they coincide), so that a few extreme values do not squeeze all others together.

    Parameters
    ----------
    x : ndarray of float64, shape (n, d)
        Training rows; missing = NaN.
    categorical : tuple of int
        Places of the columns that hold codes.

    Returns
    -------
    Features
        Columns without two different values are left out.
    """
    number, centre, scale, indicator = [], [], [], []
    onehot: list[tuple[int, int]] = []
    for j in range(x.shape[1]):
        seen = x[:, j][~np.isnan(x[:, j])]
        if seen.size < len(x) and seen.size:
            indicator.append(j)
        if seen.size == 0 or seen.min() == seen.max():
            continue
        if j in categorical:
            onehot += [(j, int(code)) for code in np.unique(seen)]
            continue
        number.append(j)
        middle, spread = centre_and_scale(seen)
        centre.append(middle)
        scale.append(spread)
    places = np.array(onehot, dtype=np.int64).reshape(-1, 2)
    return Features(
        np.array(number, np.int64),
        np.array(centre, np.float64),
        np.array(scale, np.float64),
        np.array(indicator, np.int64),
        places[:, 0].copy(),
        places[:, 1].copy(),
    )


def centre_and_scale(seen: NDArray[np.float64]) -> tuple[float, float]:
    """Return centre and scale of a column's values (n,), n at least 1, none of them missing; see `learn_features`."""
    if np.isin(seen, (0.0, 1.0)).all():
        return 0.5, 0.5
    middle = 2.0 * float(np.median(seen / 2.0))  # halves, so that no sum overflows
    return middle, _spread(seen)


def _spread(seen: NDArray[np.float64]) -> float:
    """Return a robust standard deviation that is finite and never zero."""
    half = seen / 2.0  # so that no difference overflows
    for low, high, width in ((25, 75, 1.349), (5, 95, 3.290), (1, 99, 4.653)):
        a, b = np.percentile(half, (low, high))
        if b > a:
            return min(2.0 * float((b - a) / width), 1e308) or 5e-324
    with np.errstate(over="ignore"):
        deviation = 2.0 * float(half.std())
    return deviation if 0 < deviation < np.inf else float(half.max() - half.min()) or 1.0
