"""The door for students that move to another domain: no teacher, few labels or none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limbeck.calibrate import set_aside
from limbeck.contracts import OnStep, Step, ignore
from limbeck.data.columns import TableItems, ids_of, labels_of, rows_of
from limbeck.data.tables import open_table
from limbeck.detector import Detector
from limbeck.errors import InputError, require_training
from limbeck.fitting.finish import check_arguments, finish
from limbeck.fitting.pictures import are_pictures
from limbeck.fitting.prepared import Prepared
from limbeck.fitting.tables import FEW_ANOMALIES, require_both_classes, split_off
from limbeck.table_spec import TableSpec

__all__ = ["adapt"]


def adapt(
    detector: Detector,
    source: Any,
    *,
    columns: Mapping[str, str] | None = None,
    label: Any = None,
    normal: str | None = None,
    alpha: float | None = None,
    seed: int = 0,
    id: str | None = None,
    workdir: str | Path | None = None,
    on_step: OnStep = ignore,
) -> Detector:
    """Align a student of rows with another domain, and calibrate it there; no teacher is asked.

    The weights stay as they are; centres and scales of the numbers are learned anew, so that another unit or another
    middle no longer counts as strange. Categories that were never learned stay unknown. Fails where the detector
    judges pictures, the columns do not fit, and on fewer than twenty rows beside those set aside.

    Parameters
    ----------
    detector : Detector
        The student, of any method of rows; it is left as it is.
    source : path, frame, mapping or array
        Rows of the new domain, with the columns that the student takes.
    columns : mapping of str to str, optional
        What the source's columns are to the student: new name to old, ``{"room": "fridge_temperature"}``. The result
        takes the new names.
    label : str or array, shape (n,), optional
        The label column, or the labels; rows without one are welcome. Where no more rows are labelled than not, the
        labelled ones calibrate, all of them, and the others say where the columns lie; else a fifth of the labelled
        is set aside. So fifty labels beside many rows do: their m normals promise no rate below 1 / (m + 1), to which
        `alpha` is raised, and probabilities stay near what the student says of itself. Without labels a fifth of the
        rows is set aside, the rate is that of rows like those, anomalies included, and there are no probabilities.
    normal : str, optional
        The label that means normal; every other one is then anomalous.
    alpha : float, in (0, 1), optional
        False-alarm rate to promise in the new domain; default: the detector's.
    seed : int
        Same seed, same machine, same result.
    id : str, optional
        A column that names the rows; default: the detector's, where the source has it.
    workdir : path, optional
        An existing folder for unfinished work.
    on_step : callable
        Called with a `Step` as the work goes on.

    Returns
    -------
    Detector
        A new one, of the same method; the card says from what and to what it was adapted.

    Raises
    ------
    InputError
        If data, columns or detector cannot be used, one class only is labelled, or the labels say that higher scores
        are more normal.

    Examples
    --------
    >>> import limbeck, numpy as np
    >>> celsius = {"indoors": np.random.default_rng(0).normal(20.0, 2.0, 600)}
    >>> quick = {"steps": 300, "fewest": 500, "fidelity": 0.5}
    >>> detector = limbeck.distil(lambda x: np.abs(x[:, 0] - 20.0), celsius, config=quick, alpha=0.05)
    >>> fahrenheit = {"room": np.random.default_rng(1).normal(68.0, 3.6, 600)}
    >>> moved = limbeck.adapt(detector, fahrenheit, columns={"room": "indoors"})
    >>> detector.detect([68.0]).is_anomaly, moved.detect([68.0]).is_anomaly, moved.detect([88.0]).is_anomaly
    (array([ True]), array([False]), array([ True]))

    References
    ----------
    Li et al., "Revisiting batch normalization for practical domain adaptation", arXiv 1603.04779.
    """
    alpha = detector.alpha if alpha is None else alpha
    check_arguments(alpha, seed, id, workdir)
    require_training()
    from limbeck.tabular.aligned import Aligned  # needs torch

    spec = _renamed(_of_rows(detector, source), columns or {})
    on_step(Step("reading", 0, 1))
    prepared = _prepared(detector, source, spec, bool(columns), label, normal, id, seed)
    on_step(Step("reading", 1, 1))
    adapted = finish(
        prepared,
        Aligned(detector.artefact),
        None,
        method=detector.card.method,
        alpha=alpha,
        seed=seed,
        workdir=workdir,
        on_step=on_step,
    )
    line = adapted.calibrator.affine
    if line is not None and line.slope <= 0:
        raise InputError(
            "the labels say that higher scores are more normal",
            expected="anomalies that score higher than other rows",
            got=f"a slope of {line.slope:.3g} on {len(prepared.calibration)} rows",
            fix="check the labels; if they are right, learn from them: limbeck.fit",
        )
    return adapted


def _of_rows(detector: Detector, source: Any) -> TableSpec:
    """Return what a student takes; refuse pictures on either side."""
    if not isinstance(detector.spec, TableSpec) or are_pictures(source):
        raise InputError(
            "adapt takes detectors of rows, and tables",
            expected="a detector that was fitted on a table, and a table",
            got="pictures",
            fix="limbeck.fit learns pictures anew",
        )
    return detector.spec


def _renamed(spec: TableSpec, columns: Mapping[str, str]) -> TableSpec:
    """Return what a student takes under the names of the new domain."""
    wrong = [old for old in columns.values() if old not in spec.names]
    new = {old: name for name, old in columns.items()}
    if wrong or len(new) < len(columns):
        raise InputError(
            "the columns do not fit the student's",
            expected="each new name for one of " + ", ".join(spec.names[:20]),
            got=f"no column {wrong[0]!r}" if wrong else "two new names for one column",
            fix="name them as new=old",
        )
    renamed = tuple(replace(column, name=new.get(column.name, column.name)) for column in spec.columns)
    names = [column.name for column in renamed]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(
            "two columns of the student would have one name",
            expected="different names",
            got=repr(twice[0]),
            fix="name the other one too",
        )
    return replace(spec, columns=renamed)


def _prepared(
    detector: Detector,
    source: Any,
    spec: TableSpec,
    by_name: bool,
    label: Any,
    normal: str | None,
    id: str | None,
    seed: int,
) -> Prepared:
    """Read the new domain's rows, and set some of them aside for calibration."""
    table = open_table(source, spec, text=(id or spec.id,))
    if by_name and not table.named:
        raise InputError(
            "columns are renamed by their names",
            expected="a source with named columns",
            got="rows by position",
            fix="leave the names out, and give the columns in the student's order",
        )
    id = id or (spec.id if spec.id in table.schema else None)
    frame, column = split_off(table, label, id, ())
    x = rows_of(frame, spec, named=True) if table.named else spec.validate(frame.to_numpy())
    notes = [
        f"adapted to {table.name} from a student made on {detector.card.created[:10]} of {detector.card.source}: the "
        "weights are that one's, centres and scales of its numbers and the threshold are the new rows'"
    ]
    if column is None:
        y, n, anomalous = np.full(len(x), -1, np.int8), len(x), 0
        aside = set_aside(np.zeros(n, np.int8), seed)
    else:
        y = labels_of(column, normal)
        n, anomalous = sum(classes := require_both_classes(y)), classes[1]
        aside = _labelled_aside(y, seed)
        spec = replace(spec, label=label if isinstance(label, str) else None, normal=normal)
        if n < len(y):
            notes.append(f"{len(y) - n:,} more rows have no label: they say where the columns lie, and no more")
        if anomalous < FEW_ANOMALIES:
            notes.append(f"only {anomalous} anomalies: probabilities are uncertain")
    items = TableItems(replace(spec, id=id), x, y, id=ids_of(frame, id))
    learn, calibration = (items.subset(np.flatnonzero(rows)) for rows in (~aside, aside))
    return Prepared(learn, calibration, column is not None, table.name, n, anomalous, notes)


def _labelled_aside(y: NDArray[np.int8], seed: int) -> NDArray[np.bool_]:
    """Choose the calibration rows, (n,): labelled ones, all of them where they are few beside the others."""
    known = y >= 0
    return known if known.sum() <= (~known).sum() else set_aside(y, seed)
