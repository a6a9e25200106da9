"""The door for teachers that are there already: any detector, or its stored scores, into one small student."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from limbeck.contracts import Distiller, OnStep, Step, ignore
from limbeck.data.columns import TableItems, ids_of, rows_of
from limbeck.data.tables import open_table
from limbeck.detector import Detector
from limbeck.errors import InputError, require_training
from limbeck.fidelity import spearman
from limbeck.fitting.configuring import configure
from limbeck.fitting.finish import check_arguments, finish
from limbeck.fitting.pictures import are_pictures
from limbeck.fitting.prepared import Prepared
from limbeck.fitting.tables import looks_labelled, set_aside, split_off
from limbeck.methods import METHODS
from limbeck.spec import for_tables
from limbeck.table_spec import TableSpec
from limbeck.tabular.comparison import pickled_bytes
from limbeck.tabular.encode import learn_spec
from limbeck.tabular.teacher_of import Teacher, checked, teacher_of

__all__ = ["distil"]

METHOD = "distilled"
ALIKE = 0.8  # rank correlation with a detector's scores from which its `decision_scores_` are taken to be of these rows
Floats = NDArray[np.float64]


def distil(
    teacher: Any,
    source: Any,
    *,
    config: Any = None,
    alpha: float = 0.01,
    seed: int = 0,
    turned: bool = False,
    id: str | None = None,
    ignore_columns: Sequence[str] = (),
    workdir: str | Path | None = None,
    on_step: OnStep = ignore,
) -> Detector:
    """Distil any detector, or the scores that it left behind, into one small student that ranks rows as it does.

    Fails where the teacher cannot score the rows, says something else than numbers, says the same of all of them, or
    ranks backwards; and, from a thousand rows on, where no student follows it.

    Parameters
    ----------
    teacher : object, str or array, shape (n,)
        A fitted detector or classifier (scikit-learn, PyOD, or of Limbeck), a function of rows, float64 (n, d); or
        stored scores: the name of their column, or an array. Higher scores mean more anomalous; scikit-learn's outlier
        detectors are turned round.
    source : path, frame, mapping or array
        A table, as for `limbeck.fit`. A live detector gets all its columns but the id and the ignored ones, in their
        order, as numbers; stored scores may stand beside columns of any kind.
    config : mapping or FollowerConfig, optional
        Fields of the student; `limbeck methods distilled` lists them.
    alpha : float, in (0, 1)
        False-alarm rate to promise of rows like those.
    seed : int
        Same seed, same machine, same result.
    turned : bool
        Whether low scores mean anomalous.
    id : str, optional
        A column that names the rows.
    ignore_columns : sequence of str
        Columns to leave out: labels, first of all.
    workdir : path, optional
        An existing folder for unfinished work.
    on_step : callable
        Called with a `Step` as the work goes on.

    Returns
    -------
    Detector
        Ready to judge and to save; its scores are the teacher's ranks as those of a standard normal.

    Raises
    ------
    InputError
        If the data or the teacher cannot be used, or the student does not follow.
    ConfigError
        If a field does not exist, or a value is out of its range.

    Examples
    --------
    >>> import limbeck, numpy as np
    >>> from sklearn.ensemble import IsolationForest
    >>> X = np.random.default_rng(0).normal(size=(500, 3))
    >>> forest = IsolationForest(random_state=0).fit(X)
    >>> detector = limbeck.distil(forest, X, config={"steps": 300, "fewest": 500, "fidelity": 0.5}, alpha=0.05)
    >>> detector.detect(np.full(3, 6.0)).is_anomaly
    array([ True])

    References
    ----------
    Zhao et al., "SUOD: accelerating large-scale unsupervised heterogeneous outlier detection", MLSys 2021.
    """
    check_arguments(alpha, seed, id, workdir)
    require_training()
    chosen = configure(METHOD, config)
    if are_pictures(source):
        raise InputError(
            "distil takes tables",
            expected="a table and a teacher of rows",
            got="pictures",
            fix="limbeck.fit distils pictures from a frozen backbone",
        )
    on_step(Step("reading", 0, 1))
    stored = isinstance(teacher, (str, list, tuple)) or (hasattr(teacher, "__array__") and not callable(teacher))
    table = open_table(source, text=(id,))
    ignored = [ignore_columns] if isinstance(ignore_columns, str) else list(ignore_columns)
    frame, column = split_off(table, teacher if stored else None, id, ignored)
    spec, notes = _spec_of(teacher, stored, frame, table.named, id, chosen.max_categories)
    x = rows_of(frame, spec, named=table.named)
    on_step(Step("reading", 1, 1))
    who = "the stored scores" if stored else f"the teacher ({type(teacher).__name__})"
    live = None if stored else teacher_of(teacher, spec.names)
    said = checked(_numbers(column), len(x), who) if live is None else _own(teacher, live(x))
    if turned:
        said, live = -said, live and _turned(live)
    items = TableItems(spec, x, np.full(len(x), -1, np.int8), said, ids_of(frame, id))
    aside = set_aside(np.zeros(len(x), np.int8), seed)
    learn, calibration = (items.subset(np.flatnonzero(rows)) for rows in (~aside, aside))
    prepared = Prepared(learn, calibration, False, table.name, len(x), 0, notes)
    module, name = METHODS[METHOD].distiller.split(":")
    size = None if stored else pickled_bytes(teacher)
    distiller: Distiller = getattr(importlib.import_module(module), name)(chosen, live, who, size)
    return finish(prepared, distiller, chosen, method=METHOD, alpha=alpha, seed=seed, workdir=workdir, on_step=on_step)


def _spec_of(
    teacher: Any, stored: bool, frame: pl.DataFrame, named: bool, id: str | None, max_categories: int
) -> tuple[TableSpec, list[str]]:
    """Return what the student will expect of a row: what its teacher does, where that is live."""
    if isinstance(teacher, Detector):
        return replace(for_tables(teacher.spec), id=id), []
    spec, notes = learn_spec(frame, named=named, id=id, max_categories=max_categories, every=not stored)
    texts = [spec.names[place] for place in spec.categorical]
    if texts and not stored:
        raise InputError(
            "a live teacher gets numbers alone",
            expected="numbers and booleans",
            got=", ".join(f"texts in {name!r}" for name in texts[:5]),
            fix="turn them into the numbers that it was fitted on; or store its scores, and name their column",
        )
    return spec, looks_labelled(frame) + notes


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
