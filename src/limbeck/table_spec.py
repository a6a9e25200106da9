"""What a model expects of one item, and how to make it so: numpy only.

A table's spec names its columns and their kinds and turns values into numbers: float64 (n, d), missing = NaN,
a category = its code. Everything after that (centring, scaling, one-hot) is part of the model.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from limbeck.errors import InputError

__all__ = ["Column", "TableSpec", "as_array", "as_text", "MISSING"]

MISSING = {"", "NA", "N/A", "n/a", "N.A.", "NULL", "null", "NaN", "nan", "None", "#N/A", "<NA>", "NaT", "?", "-"}
WHOLE = re.compile(r"-?\d+\.0+")  # a code that passed through a column of floats
BOOLEAN_WORDS = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0}
KINDS = ("numeric", "boolean", "categorical")


@dataclass(frozen=True)
class Column:
    """One column: its name, kind and, if categorical, the categories that were seen (their place is their code)."""

    name: str
    kind: str  # "numeric" | "boolean" | "categorical"
    categories: tuple[str, ...] = ()


def as_text(value: Any) -> str | None:
    """Write a category's value as text, the same from every kind of file; None where it is missing."""
    if value is None:
        return None
    if isinstance(value, str):
        if value.strip() in MISSING:
            return None
        return value[: value.index(".")] if WHOLE.fullmatch(value) else value
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (float, np.floating)):
        if np.isnan(value):
            return None
        return str(int(value)) if float(value).is_integer() else repr(float(value))
    return as_text(str(value))


def as_array(values: Any) -> NDArray[Any]:
    """Return values as an array; a list's items stay what they are, since numpy would turn mixed ones into text."""
    if not isinstance(values, (list, tuple)):
        return np.atleast_1d(np.asarray(values))
    if any(isinstance(v, (list, tuple, np.ndarray)) for v in values):
        return np.empty((len(values), 0))  # not a column, and refused as such
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


@dataclass(frozen=True)
class TableSpec:
    """What a model expects of a row.

    Attributes
    ----------
    columns : tuple of Column
        In the model's order.
    named : bool
        Whether the names are the source's own; if not, they are x0, x1, ... and rows come by position.
    label, normal, id : str or None
        The source's label column, the value in it that means normal, and its id column, if named at fit.
    """

    columns: tuple[Column, ...]
    named: bool = True
    label: str | None = None
    normal: str | None = None
    id: str | None = None
    kind: str = "table"

    @property
    def names(self) -> list[str]:
        """Names of the columns, in the model's order."""
        return [c.name for c in self.columns]

    @property
    def categorical(self) -> tuple[int, ...]:
        """Places of the categorical columns."""
        return tuple(i for i, c in enumerate(self.columns) if c.kind == "categorical")

    def encode(self, columns: Mapping[str, ArrayLike], *, first_row: int = 0) -> NDArray[np.float64]:
        """Turn named columns into numbers, whatever their order; other columns are left alone.

        Parameters
        ----------
        columns : mapping of str to array-like, shape (n,)
            Values by column name.
        first_row : int
            Number of the first row, for messages.

        Returns
        -------
        ndarray of float64, shape (n, d)
            Missing = NaN; a category's code; an unseen category = the number of seen ones.

        Raises
        ------
        InputError
            If a column is missing or holds values of another kind, or a value is infinite.
        """
        self.require_columns(list(columns))
        if not self.columns:
            return np.empty((0, 0))
        encoded = [self._encode(c, as_array(columns[c.name]), first_row) for c in self.columns]
        if len({a.size for a in encoded}) > 1:
            raise InputError(
                "the columns have different lengths",
                expected="one length",
                got=", ".join(f"{c.name}: {a.size}" for c, a in zip(self.columns, encoded, strict=True)),
            )
        return self._refuse_infinite(np.column_stack(encoded), first_row)

    def validate(self, x: ArrayLike, *, first_row: int = 0) -> NDArray[np.float64]:
        """Check numbers that are already in the model's order.

        Parameters
        ----------
        x : array-like, shape (n, d) or (d,)
            Numbers; categories as codes, missing = NaN.
        first_row : int
            Number of the first row, for messages.

        Returns
        -------
        ndarray of float64, shape (n, d)
            One row gives n = 1.

        Raises
        ------
        InputError
            If the shape or type is wrong, or a value is infinite.
        """
        try:
            rows = np.asarray(x, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise InputError(
                "the rows are not numbers",
                expected=f"numbers, shape (n, {len(self.columns)})",
                got=str(error),
                fix="pass a frame or a mapping with named columns",
            ) from error
        if rows.ndim == 1:
            rows = rows[None, :]
        if rows.ndim != 2 or rows.shape[1] != len(self.columns):
            raise InputError(
                "the rows have the wrong shape",
                expected=f"(n, {len(self.columns)})",
                got=str(np.shape(x)),
                fix="columns in the model's order: " + _short(self.names),
            )
        return self._refuse_infinite(rows, first_row)

    def require_columns(self, present: list[str]) -> None:
        """Raise one error that lists every column that is missing."""
        missing = [n for n in self.names if n not in set(present)]
        if missing:
            near = {m: difflib.get_close_matches(m, present, 1) for m in missing[:5]}
            hints = [f"{m} (did you mean {n[0]}?)" if n else m for m, n in near.items()]
            raise InputError(
                f"{len(missing)} of the model's {len(self.columns)} columns are missing: "
                + ", ".join(hints)
                + (", ..." if len(missing) > 5 else ""),
                expected=_short(self.names),
                got=_short(present),
                fix="rename the columns to the names used at fit; their order does not matter",
            )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TableSpec:
        """Read what `to_json` wrote."""
        columns = tuple(Column(c["name"], c["kind"], tuple(c["categories"])) for c in values["columns"])
        if any(c.kind not in KINDS for c in columns):
            raise InputError(
                "a column's kind is unknown", expected=", ".join(KINDS), got=_short(sorted({c.kind for c in columns}))
            )
        return cls(columns, values["named"], values["label"], values["normal"], values["id"], values["kind"])

    def _encode(self, column: Column, values: NDArray[Any], first_row: int) -> NDArray[np.float64]:
        if values.ndim != 1:
            raise InputError(f"column {column.name!r} has the wrong shape", expected="(n,)", got=str(values.shape))
        if column.kind == "categorical":
            codes = {c: float(i) for i, c in enumerate(column.categories)}
            codes[None] = np.nan  # type: ignore[index]  # missing
            unseen = float(len(column.categories))
            return np.fromiter(
                (codes.get(as_text(v), unseen) for v in values.tolist()),  # type: ignore[arg-type]
                dtype=np.float64,
                count=values.size,
            )
        if values.dtype.kind in "bif":
            return values.astype(np.float64)
        items = values.tolist()
        if column.kind == "boolean":
            items = [BOOLEAN_WORDS.get(v.strip().lower(), v) if isinstance(v, str) else v for v in items]
        if values.dtype.kind not in "mM" and all(map(_is_number, items)):
            return np.array([np.nan if as_text(v) is None else float(v) for v in items], dtype=np.float64)
        row, bad = next(((i, v) for i, v in enumerate(items) if not _is_number(v)), (0, values.dtype))
        raise InputError(
            f"column {column.name!r} holds something that is not a number",
            expected=column.kind,
            got=f"{bad!r} in row {first_row + row}",
            fix="give numbers as at fit, and leave missing values empty",
        )

    def _refuse_infinite(self, x: NDArray[np.float64], first_row: int) -> NDArray[np.float64]:
        bad = np.isinf(x)
        if bad.any():
            row, place = (int(i[0]) for i in np.nonzero(bad))
            raise InputError(
                f"column {self.columns[place].name!r} holds an infinite value",
                expected="finite numbers, or empty where missing",
                got=f"{x[row, place]} in row {first_row + row}; {int(bad.sum())} in all",
                fix="leave the value empty, or replace it by a large number that means something",
            )
        return x


def _is_number(value: Any) -> bool:
    if as_text(value) is None:
        return True
    try:
        float(value)
    except (OverflowError, TypeError, ValueError):
        return False
    return not isinstance(value, str)


def _short(names: list[str], most: int = 12) -> str:
    return ", ".join(map(str, names[:most])) + (f", ... ({len(names)} in all)" if len(names) > most else "")
