"""Rows, and what their teacher says of them: read together, whoever the teacher is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from limbeck.data.columns import TableItems, ids_of, rows_of
from limbeck.data.tables import open_table
from limbeck.detector import Detector
from limbeck.errors import InputError
from limbeck.fidelity import spearman
from limbeck.fitting.tables import looks_labelled, split_off
from limbeck.spec import for_tables
from limbeck.table_spec import TableSpec
from limbeck.tabular.comparison import pickled_bytes
from limbeck.tabular.encode import learn_spec
from limbeck.tabular.teacher_of import Teacher, checked, teacher_of

__all__ = ["Told", "read_told"]

ALIKE = 0.8  # rank correlation with a detector's scores from which its `decision_scores_` are taken to be of these rows
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Told:
    """Rows with their teacher's scores, and the teacher where it can still be asked."""

    items: TableItems
    live: Teacher | None
    who: str
    size: int | None  # bytes of the teacher
    source: str
    notes: list[str]


def read_told(
    teacher: Any,
    source: Any,
    *,
    turned: bool,
    id: str | None,
    ignored: Sequence[str] = (),
    most: int = 0,
    spec: TableSpec | None = None,
) -> Told:
    """Read rows, and what their teacher says of them; a student that there is already knows what it takes (spec)."""
    stored = isinstance(teacher, (str, list, tuple)) or (hasattr(teacher, "__array__") and not callable(teacher))
    table = open_table(source, spec, text=(id,))
    frame, column = split_off(table, teacher if stored else None, id, ignored)
    if spec is None:
        spec, notes = _spec_of(teacher, stored, frame, table.named, id, most)
        x = rows_of(frame, spec, named=table.named)
    else:
        _require_columns_of(teacher, stored, spec)
        notes = []
        x = rows_of(frame, spec, named=True) if table.named else spec.validate(frame.to_numpy())
    who = "the stored scores" if stored else f"the teacher ({type(teacher).__name__})"
    live = None if stored else teacher_of(teacher, spec.names)
    said = checked(_numbers(column), len(x), who) if live is None else _own(teacher, live(x))
    if turned:
        said, live = -said, live and _turned(live)
    items = TableItems(spec, x, np.full(len(x), -1, np.int8), said, ids_of(frame, id))
    return Told(items, live, who, None if stored else pickled_bytes(teacher), table.name, notes)


def _spec_of(
    teacher: Any, stored: bool, frame: pl.DataFrame, named: bool, id: str | None, max_categories: int
) -> tuple[TableSpec, list[str]]:
    """Return what the student will expect of a row: what its teacher does, where that is live."""
    if isinstance(teacher, Detector):
        return replace(for_tables(teacher.spec), id=id), []
    spec, notes = learn_spec(frame, named=named, id=id, max_categories=max_categories, every=not stored)
    if not stored:
        _refuse_texts(spec)
    return spec, looks_labelled(frame) + notes


def _refuse_texts(spec: TableSpec) -> None:
    """Refuse texts before a live teacher, which would not know our codes."""
    texts = [spec.names[place] for place in spec.categorical]
    if texts:
        raise InputError(
            "a live teacher gets numbers alone",
            expected="numbers and booleans",
            got=", ".join(f"texts in {name!r}" for name in texts[:5]),
            fix="turn them into the numbers that it was fitted on; or store its scores, and name their column",
        )


def _require_columns_of(teacher: Any, stored: bool, spec: TableSpec) -> None:
    """Refuse a live teacher that does not take what the student takes."""
    if isinstance(teacher, Detector):
        theirs = for_tables(teacher.spec)
        if theirs.columns != spec.columns:
            raise InputError(
                "teacher and student do not take the same columns",
                expected=", ".join(spec.names[:20]),
                got=", ".join(theirs.names[:20]) + ("" if theirs.names != spec.names else ", of other kinds or texts"),
                fix="score the rows with it, and give the scores: limbeck score",
            )
    elif not stored:
        _refuse_texts(spec)


def _numbers(column: pl.Series | None) -> Floats:
    """Return stored scores as numbers; missing ones are not finite, and refused as such."""
    assert column is not None
    if not column.dtype.is_numeric():
        raise InputError(
            f"the scores in {column.name!r} are no numbers", expected="numbers", got=str(column.dtype),
            fix="name the column that holds the scores",
        )  # fmt: skip
    return column.cast(pl.Float64).fill_null(np.nan).to_numpy()


def _own(teacher: Any, said: Floats) -> Floats:
    """Return a teacher's scores of the rows; those that it keeps of them, if they are the ones it was fitted on.

    Of its own rows a detector of neighbours says too little, where each row is its own neighbour.
    """
    kept = np.asarray(getattr(teacher, "decision_scores_", ()), dtype=np.float64)
    if kept.shape == said.shape and np.isfinite(kept).all() and spearman(kept, said) > ALIKE:
        return kept
    return said


def _turned(live: Teacher) -> Teacher:
    return lambda rows: -live(rows)
