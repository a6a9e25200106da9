"""Tables from anywhere, as polars frames: whole for fitting, in batches for scoring.

CSV and TSV, Parquet, Arrow/Feather, ``.npy`` and ``.npz``, a folder of Parquet or CSV parts, polars and pandas
frames, and arrays.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from limbeck.contracts import Batch
from limbeck.errors import InputError
from limbeck.spec import InputSpec, as_text

__all__ = ["TABLE_SUFFIXES", "TableItems", "TableSource", "as_columns", "as_label_array", "labels_of", "open_table"]

PARQUET, ARROW, CSV, NUMPY = {".parquet", ".pq"}, {".feather", ".arrow", ".ipc"}, {".csv", ".tsv"}, {".npy", ".npz"}
TABLE_SUFFIXES = PARQUET | ARROW | CSV | NUMPY
MISSING = ["", "NA", "N/A", "NULL", "null", "?"]  # texts that mean "no value" in a CSV file
NORMAL_WORDS = {"0", "normal", "good", "benign", "ok", "false", "no", "negative"}
UNREADABLE = (pl.exceptions.PolarsError, OSError, ValueError, EOFError, BadZipFile)


@dataclass(frozen=True)
class TableSource:
    """A table that has not been read yet.

    Attributes
    ----------
    name : str
        The file's name, never its path.
    rows : polars.LazyFrame
        What would be read.
    schema : dict of str to polars data type
        Its columns.
    named : bool
        Whether the names are its own; if not, they are x0, x1, ...
    """

    name: str
    rows: pl.LazyFrame
    schema: dict[str, Any]
    named: bool = True

    def frame(self) -> pl.DataFrame:
        """Read everything."""
        try:
            frame = self.rows.collect()
        except UNREADABLE as error:
            raise _unreadable(self.name, error) from error
        if frame.is_empty():
            raise InputError(f"{self.name} has no rows", expected="at least one row", got="0")
        return frame

    def batches(self, size: int, spec: InputSpec | None = None, *more: str | None) -> Iterator[pl.DataFrame]:
        """Yield the rows in their order, at most `size` at a time; only what a spec needs, and some more columns."""
        rows = self.rows
        if spec is not None and (self.named or not spec.named):
            spec.require_columns(list(self.schema))
            rows = rows.select(list(dict.fromkeys([*spec.names, *(m for m in more if m)])))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", pl.exceptions.UnstableWarning)
                for frame in rows.collect_batches(chunk_size=size, maintain_order=True):
                    for piece in frame.iter_slices(size):
                        if piece.height:
                            yield piece
        except UNREADABLE as error:
            raise _unreadable(self.name, error) from error


def open_table(source: Any, spec: InputSpec | None = None, text: tuple[str | None, ...] = ()) -> TableSource:
    """Open a table without reading it.

    Parameters
    ----------
    source : path, frame, mapping or array
        A file, a folder of Parquet or CSV parts, a polars or pandas frame, a mapping of columns, or an array (n, d).
    spec : InputSpec, optional
        What a model expects: CSV columns are then read as those kinds, never guessed.
    text : tuple of str or None
        Further CSV columns to read as text, such as an id.

    Returns
    -------
    TableSource
        Its columns are known, its rows not yet read.

    Raises
    ------
    InputError
        If there is no such file, or it is not a readable table.

    Examples
    --------
    >>> open_table({"amount": [1.5, 2.0], "country": ["at", None]}).schema
    {'amount': Float64, 'country': String}
    """
    if not isinstance(source, (str, Path)):
        return _open_object(source)
    path = Path(source)
    if not path.exists():
        raise InputError(
            f"there is no file or folder {str(source)!r}", expected="a table", got="nothing", fix="check the path"
        )
    suffix, target = _kind_of(path)
    try:
        if suffix in NUMPY:
            frame, named = _read_numpy(path)
            return TableSource(path.name, frame.lazy(), dict(frame.schema), named)
        rows = _scan(path, target, suffix, spec, text)
        schema = dict(rows.collect_schema())
    except InputError:
        raise
    except UNREADABLE as error:
        raise _unreadable(path.name, error) from error
    if not schema:
        raise InputError(f"{path.name} has no columns", expected="a header line and rows", got="an empty file")
    return TableSource(path.name, rows, schema)


def _kind_of(path: Path) -> tuple[str, str]:
    """Return the suffix that says how to read it, and the path or pattern to read."""
    if not path.is_dir():
        if path.suffix.lower() not in TABLE_SUFFIXES:
            raise InputError(
                f"{path.name} is not a kind of table that is known",
                expected=", ".join(sorted(TABLE_SUFFIXES)),
                got=path.suffix or "no suffix",
                fix="convert it, or rename it if its suffix is wrong",
            )
        return path.suffix.lower(), str(path)
    parts = sorted({p.suffix.lower() for p in path.iterdir() if not p.name.startswith(".")} & (PARQUET | CSV))
    if len(parts) != 1:
        raise InputError(
            f"the folder {path.name} is not a table",
            expected="parts of one kind: Parquet or CSV",
            got=", ".join(parts) or "none",
            fix="give a file, or a folder that holds the parts alone",
        )
    return parts[0], str(path / f"*{parts[0]}")


def _scan(path: Path, target: str, suffix: str, spec: InputSpec | None, text: tuple[str | None, ...]) -> pl.LazyFrame:
    if suffix in PARQUET:
        return pl.scan_parquet(target, glob=path.is_dir(), cache=False)
    if suffix in ARROW:
        return pl.scan_ipc(target, glob=path.is_dir())
    first = min(path.glob("*" + suffix)) if path.is_dir() else path
    with first.open(encoding="utf-8", errors="replace") as file:
        header = file.readline()
    separator = "\t" if suffix == ".tsv" else ";" if ";" in header and "," not in header else ","
    kinds: dict[str, Any] = {name: pl.String for name in text if name}
    if spec is not None:
        kinds |= {
            c.name: pl.String if c.kind == "categorical" else pl.Float64 for c in spec.columns if c.kind != "boolean"
        }
    present = {name.strip().strip('"') for name in header.split(separator)}
    return pl.scan_csv(
        target,
        glob=path.is_dir(),
        separator=separator,
        null_values=MISSING,
        schema_overrides={k: v for k, v in kinds.items() if k in present},
        infer_schema_length=None if spec is None else 10_000,
    )


def _read_numpy(path: Path) -> tuple[pl.DataFrame, bool]:
    """Read ``.npy`` (n, d), or ``.npz`` with X (n, d) and further arrays (n,), such as y; names under `columns`."""
    loaded = np.load(path, allow_pickle=False, mmap_mode="r" if path.suffix == ".npy" else None)
    if isinstance(loaded, np.ndarray):
        return _from_array(loaded), False
    with loaded:
        arrays = {key: loaded[key] for key in loaded.files}
    x = next((arrays.pop(key) for key in ("X", "x") if key in arrays), None)
    if x is None:
        raise InputError(
            f"{path.name} holds no array X",
            expected="X of shape (n, d), and y of shape (n,)",
            got=", ".join(arrays) or "nothing",
        )
    names = next((arrays.pop(k) for k in ("columns", "feature_names") if k in arrays), None)
    frame = _from_array(x, None if names is None else [str(n) for n in names])
    extra = {k: a for k, a in arrays.items() if a.ndim == 1 and len(a) == frame.height}
    return frame.with_columns(**{k: pl.Series(k, a) for k, a in extra.items()}), names is not None


def _from_array(x: NDArray[Any], names: list[str] | None = None) -> pl.DataFrame:
    if x.ndim != 2:
        raise InputError("an array is not a table", expected="shape (n, d)", got=f"shape {x.shape}")
    names = names or [f"x{i}" for i in range(x.shape[1])]
    if len(names) != x.shape[1]:
        raise InputError("names and columns do not match", expected=f"{x.shape[1]} names", got=str(len(names)))
    return pl.DataFrame({n: pl.Series(n, np.ascontiguousarray(x[:, i])) for i, n in enumerate(names)})


def _open_object(source: Any) -> TableSource:
    if isinstance(source, pl.LazyFrame):
        return TableSource("frame", source, dict(source.collect_schema()))
    if isinstance(source, np.ndarray):
        frame, named = _from_array(source), False
    elif isinstance(source, pl.DataFrame):
        frame, named = source, True
    elif isinstance(source, Mapping) or hasattr(source, "columns"):
        frame, named = pl.DataFrame({str(n): _series(str(n), source[n]) for n in _names(source)}), True
    else:
        raise InputError(
            "this is not a table",
            got=type(source).__name__,
            expected="a path, a polars or pandas frame, a mapping of columns or an array (n, d)",
        )
    return TableSource("frame" if named else "array", frame.lazy(), dict(frame.schema), named)


def _names(source: Any) -> list[Any]:
    return list(source) if isinstance(source, Mapping) else list(source.columns)


def _series(name: str, values: Any) -> pl.Series:
    """Take a column of a pandas frame or a mapping; mixed and missing objects become text and null."""
    array = values.to_numpy() if hasattr(values, "to_numpy") else np.asarray(values)
    if array.dtype.kind != "O":
        return pl.Series(name, np.atleast_1d(array))
    items = [None if as_text(v) is None else v for v in array.tolist()]
    kinds = {type(v) for v in items if v is not None}
    if kinds <= {bool} or kinds <= {int, float}:
        return pl.Series(name, items, strict=False)
    if any(hasattr(v, "year") or hasattr(v, "hour") for v in items[:1000]):
        return pl.Series(name, items, dtype=pl.Datetime, strict=False)
    return pl.Series(name, [as_text(v) for v in items], dtype=pl.String)


def _unreadable(name: str, error: Exception) -> InputError:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return InputError(
        f"cannot read {name}",
        expected="a complete, well-formed file",
        got=lines[0],
        fix="if the file is truncated or still being written, copy it again; "
        "if a column holds text where numbers were learned, clean it",
    )


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


def rows_of(frame: pl.DataFrame, spec: InputSpec, *, named: bool, first_row: int = 0) -> NDArray[np.float64]:
    """Return a frame's rows as a model takes them.

    Parameters
    ----------
    frame : polars.DataFrame
        Its columns may stand in any order, and others may stand among them.
    spec : InputSpec
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


def labels_of(column: pl.Series, normal: str | None = None) -> NDArray[np.int8]:
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
    texts = {v: None if as_text(v) is None else str(as_text(v)).strip().rstrip(".").lower() for v in values}
    if normal is not None:
        calm = {normal.strip().rstrip(".").lower()}
        readable = any(t in calm for t in texts.values())
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
            expected="0 and 1, booleans, or a text such as 'normal'" if normal is None else repr(normal),
            got=", ".join(sorted({repr(v) for v in values})[:8]),
            fix="name the normal value: --normal VALUE (normal=VALUE in Python)",
        )
    codes = {v: -1 if t is None else int(t not in calm) for v, t in texts.items()}
    return np.array([codes[v] if v == v else -1 for v in column.to_list()], dtype=np.int8)


@dataclass(frozen=True)
class TableItems:
    """Rows in memory: the `Items` that a tabular method learns from."""

    spec: InputSpec
    x: NDArray[np.float64]  # (n, d)
    label: NDArray[np.int8]  # (n,)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.x)

    def batches(self, size: int) -> Iterator[Batch]:
        """Yield the rows in their order, at most `size` at a time."""
        for i in range(0, len(self.x), size):
            stop = min(i + size, len(self.x))
            yield Batch(self.x[i:stop], self.label[i:stop], None, range(i, stop))


def as_label_array(label: ArrayLike, n: int) -> pl.Series:
    """Take labels that were given beside an array."""
    values = np.asarray(label)
    if values.shape != (n,):
        raise InputError("labels and rows do not match", expected=f"shape ({n},)", got=f"shape {values.shape}")
    return pl.Series("label", values)
