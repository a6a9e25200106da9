"""Tables from anywhere, as polars frames: whole for fitting, in batches for scoring.

CSV and TSV, Parquet, Arrow/Feather, ``.npy`` and ``.npz``, a folder of Parquet or CSV parts, polars and pandas
frames, and arrays.
"""

from __future__ import annotations

import csv
import itertools
import re
import warnings
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import polars as pl
from numpy.typing import NDArray

from limbeck.data.columns import as_series
from limbeck.errors import InputError
from limbeck.table_spec import MISSING, TableSpec

__all__ = ["TABLE_SUFFIXES", "TableSource", "open_table", "require_there"]

PARQUET, ARROW, CSV, NUMPY = {".parquet", ".pq"}, {".feather", ".arrow", ".ipc"}, {".csv", ".tsv"}, {".npy", ".npz"}
TABLE_SUFFIXES = PARQUET | ARROW | CSV | NUMPY
COMMA, POINT = re.compile(r"\s*-?\d+,\d+\s*"), re.compile(r"\s*-?\d+\.\d+\s*")
UNREADABLE = (pl.exceptions.PolarsError, OSError, ValueError, EOFError, BadZipFile, zlib.error)


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

    def batches(self, size: int, spec: TableSpec | None = None, *more: str | None) -> Iterator[pl.DataFrame]:
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


def require_there(source: Any) -> None:
    """Refuse a path at which there is nothing; what is no path is not looked at.

    Parameters
    ----------
    source : path, or anything else
        A table or pictures.

    Raises
    ------
    InputError
        If there is no such file or folder.
    """
    if isinstance(source, (str, Path)) and not Path(source).exists():
        raise InputError(
            f"there is no file or folder {str(source)!r}",
            expected="a table or pictures",
            got="nothing",
            fix="check the path",
        )


def open_table(source: Any, spec: TableSpec | None = None, text: tuple[str | None, ...] = ()) -> TableSource:
    """Open a table without reading it.

    Parameters
    ----------
    source : path, frame, mapping or array
        A file, a folder of Parquet or CSV parts, a polars or pandas frame, a mapping of columns, or an array (n, d).
    spec : TableSpec, optional
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
    require_there(source)
    suffix, files = _files_of(path)
    try:
        if suffix in NUMPY:
            frame, named = _read_numpy(path)
            return TableSource(path.name, frame.lazy(), dict(frame.schema), named)
        rows = _scan(files, suffix, spec, text)
        schema = dict(rows.collect_schema())
    except InputError:
        raise
    except UNREADABLE as error:
        raise _unreadable(path.name, error) from error
    if not schema:
        raise InputError(f"{path.name} has no columns", expected="a header line and rows", got="an empty file")
    return TableSource(path.name, rows, schema)


def _files_of(path: Path) -> tuple[str, list[Path]]:
    """Return the suffix that says how to read it, and the files to read."""
    if not path.is_dir():
        if path.suffix.lower() not in TABLE_SUFFIXES:
            raise InputError(
                f"{path.name} is not a kind of table that is known",
                expected=", ".join(sorted(TABLE_SUFFIXES)),
                got=path.suffix or "no suffix",
                fix="convert it, or rename it if its suffix is wrong",
            )
        return path.suffix.lower(), [path]
    parts = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
    parts = [p for p in parts if p.suffix.lower() in PARQUET | CSV]
    suffixes = sorted({p.suffix.lower() for p in parts})
    if not parts or not (set(suffixes) <= PARQUET or len(suffixes) == 1):
        raise InputError(
            f"the folder {path.name} is not a table",
            expected="parts of one kind: Parquet or CSV",
            got=", ".join(suffixes) or "none",
            fix="give a file, or a folder that holds the parts alone",
        )
    return suffixes[0], parts


def _scan(files: list[Path], suffix: str, spec: TableSpec | None, text: tuple[str | None, ...]) -> pl.LazyFrame:
    if suffix in PARQUET:
        return pl.scan_parquet(files, glob=False, cache=False)
    if suffix in ARROW:
        return pl.scan_ipc(files, glob=False)
    separator, header, comma = _look_at(files[0], suffix)
    kinds: dict[str, Any] = {name: pl.String for name in text if name}
    if spec is not None:  # booleans as text: a column may start with any number of gaps
        kinds |= {c.name: pl.Float64 if c.kind == "numeric" else pl.String for c in spec.columns}
    return pl.scan_csv(
        files,
        glob=False,
        separator=separator,
        decimal_comma=comma,
        null_values=sorted(MISSING),
        schema_overrides={k: v for k, v in kinds.items() if k in header},
        infer_schema_length=None if spec is None else 10_000,
    )


def _look_at(file: Path, suffix: str) -> tuple[str, list[str], bool]:
    """Return the separator that splits the header line best, the names, and whether numbers have decimal commas."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as handle:
            line, *more = list(itertools.islice(handle, 200)) or [""]
    except UnicodeDecodeError as error:
        raise _not_utf8(file.name, str(error)) from error
    if not line.strip():
        raise InputError(f"{file.name} is empty", expected="a header line and rows", got="no header line")
    choices = "\t" if suffix == ".tsv" else ",;"
    split = {c: next(csv.reader([line], delimiter=c), []) for c in choices}
    separator = max(choices, key=lambda c: len(split[c]))
    _refuse_repeated(split[separator], file.name)
    cells = [cell for row in csv.reader(more, delimiter=separator) for cell in row] if separator != "," else []
    commas, points = (sum(bool(pattern.fullmatch(c)) for c in cells) for pattern in (COMMA, POINT))
    names = pl.read_csv(file, separator=separator, n_rows=0, infer_schema=False).columns  # as polars spells them
    return separator, names, commas > points


def _refuse_repeated(names: list[str], where: str) -> None:
    repeated = sorted({n for n in names if names.count(n) > 1}) if len(set(names)) < len(names) else []
    if repeated:
        raise InputError(
            f"{where} has several columns of one name",
            expected="different names",
            got=", ".join(map(repr, repeated[:5])),
        )


def _read_numpy(path: Path) -> tuple[pl.DataFrame, bool]:
    """Read ``.npy`` (n, d), or ``.npz`` with X (n, d) and further arrays (n,), such as y; names under `columns`."""
    if path.suffix.lower() == ".npy":
        return _from_array(np.load(path, allow_pickle=False, mmap_mode="r")), False
    with path.open("rb") as handle, np.load(handle, allow_pickle=False) as loaded:
        if isinstance(loaded, np.ndarray):
            return _from_array(loaded), False
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
    columns = {k: a.reshape(-1) for k, a in arrays.items() if a.shape in ((frame.height,), (frame.height, 1))}
    _refuse_repeated([*frame.columns, *columns], path.name)
    return frame.with_columns(**{k: as_series(k, a) for k, a in columns.items()}), names is not None


def _from_array(x: NDArray[Any], names: list[str] | None = None) -> pl.DataFrame:
    if x.ndim != 2:
        raise InputError("an array is not a table", expected="shape (n, d)", got=f"shape {x.shape}")
    names = names or [f"x{i}" for i in range(x.shape[1])]
    if len(set(names)) != x.shape[1]:
        raise InputError(
            "names and columns do not match", expected=f"{x.shape[1]} different names", got=f"{len(set(names))}"
        )
    return pl.DataFrame({n: as_series(n, np.ascontiguousarray(x[:, i])) for i, n in enumerate(names)})


def _open_object(source: Any) -> TableSource:
    if isinstance(source, pl.LazyFrame):
        return TableSource("frame", source, dict(source.collect_schema()))
    if isinstance(source, np.ndarray):
        frame, named = _from_array(source), False
    elif isinstance(source, pl.DataFrame):
        frame, named = source, True
    elif isinstance(source, Mapping) or hasattr(source, "columns"):
        names = list(source) if isinstance(source, Mapping) else list(source.columns)
        _refuse_repeated([str(n) for n in names], "the frame")
        columns = {str(n): as_series(str(n), source[n]) for n in names}
        if len({c.len() for c in columns.values()}) > 1:
            raise InputError(
                "the columns have different lengths",
                expected="one length",
                got=", ".join(f"{n}: {c.len()}" for n, c in list(columns.items())[:8]),
            )
        frame, named = pl.DataFrame(columns), True
    else:
        raise InputError(
            "this is not a table",
            got=type(source).__name__,
            expected="a path, a polars or pandas frame, a mapping of columns or an array (n, d)",
        )
    return TableSource("frame" if named else "array", frame.lazy(), dict(frame.schema), named)


def _not_utf8(name: str, got: str) -> InputError:
    return InputError(
        f"{name} is not written in UTF-8", expected="UTF-8", got=got, fix="save it as UTF-8 (Excel: CSV UTF-8)"
    )


def _unreadable(name: str, error: Exception) -> InputError:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    if "utf-8" in lines[0].lower():
        return _not_utf8(name, lines[0])
    return InputError(
        f"cannot read {name}",
        expected="a complete, well-formed file",
        got=lines[0],
        fix="if the file is truncated or still being written, copy it again; "
        "if a column holds text where numbers were learned, clean it; parts need the same columns in the same order",
    )
