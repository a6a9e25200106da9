"""The one door to learning: source → split → distil → calibrate → detector."""

from __future__ import annotations

import dataclasses
import datetime
import difflib
import importlib
import importlib.metadata
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

import limbeck
from limbeck import config as configuration
from limbeck.calibrate import Calibrator
from limbeck.contracts import Artefact, Card, Distiller, OnStep, Step, ignore
from limbeck.data.columns import TableItems, as_label_array, labels_of, rows_of
from limbeck.data.tables import TableSource, open_table
from limbeck.detector import Detector
from limbeck.errors import ConfigError, InputError, LimbeckWarning, require_training
from limbeck.methods import METHODS
from limbeck.runtime import scorer_for
from limbeck.tabular.encode import learn_spec

__all__ = [
    "CALIBRATION_MOST",
    "CALIBRATION_SHARE",
    "FEWEST_ANOMALIES",
    "FEW_ANOMALIES",
    "configure",
    "fit",
    "set_aside",
]

CALIBRATION_SHARE, CALIBRATION_MOST = 0.2, 10_000
FEWEST_ANOMALIES = 5  # below this nothing can be both learned and checked
LARGEST_SEED = 2_000_000_000  # what the libraries below take, with room for the seeds derived from it
FEW_ANOMALIES = 50  # below this the user is told how little the figures say


def configure(method: str, values: Any = None) -> Any:
    """Return a method's configuration: the defaults, a mapping of fields, or a configuration as it is."""
    if method not in METHODS:
        raise ConfigError(
            f"there is no method {method!r}", expected="one of " + ", ".join(METHODS), got=method, fix="limbeck methods"
        )
    wanted = configuration.config_class(METHODS[method].config)
    if isinstance(values, wanted):
        return configuration.replace(values, dataclasses.asdict(values))
    if values is not None and not isinstance(values, Mapping):
        raise ConfigError(
            "this is not a configuration", expected=f"a mapping of fields, or {wanted.__name__}", got=repr(values)
        )
    return configuration.replace(wanted(), values or {})


def fit(
    source: Any,
    *,
    label: Any = None,
    method: str | None = None,
    config: Any = None,
    alpha: float = 0.01,
    seed: int = 0,
    normal: str | None = None,
    id: str | None = None,
    ignore_columns: Sequence[str] = (),
    workdir: str | Path | None = None,
    on_step: OnStep = ignore,
) -> Detector:
    """Learn a detector from a table with labels.

    Fails on fewer than five anomalies, on columns of dates or identifiers, and on infinite values: each with one error
    that says what to do.

    Parameters
    ----------
    source : path, frame, mapping or array
        A CSV, Parquet, Arrow, ``.npy`` or ``.npz`` file, a folder of parts, a polars or pandas frame, a mapping of
        columns, or an array (n, d).
    label : str or array, shape (n,)
        The label column, or the labels: 0 | 1, booleans, or texts of which some mean normal. Rows without a label are
        left out.
    method : str, optional
        "multi-teacher", the default for a table with labels.
    config : mapping or MultiTeacherConfig, optional
        Fields of the method's configuration.
    alpha : float, in (0, 1)
        False-alarm rate to promise; raised, with a warning, to what the calibration rows can promise.
    seed : int
        Same seed, same machine, same result.
    normal : str, optional
        The label that means normal; every other one is then an anomaly.
    id : str, optional
        A column that names the rows: not learned from, and written beside the scores.
    ignore_columns : sequence of str
        Columns to leave out.
    workdir : path, optional
        An existing folder for finished teachers; a later call with the same data, fields and seed resumes from it.
    on_step : callable
        Called with a `Step` as the work goes on.

    Returns
    -------
    Detector
        Ready to judge and to save.

    Raises
    ------
    InputError
        If the data cannot be used.
    ConfigError
        If a field or the method does not exist, or a value is out of its range.

    Examples
    --------
    >>> import limbeck
    >>> from limbeck.data.transactions import transactions
    >>> quick = {"resamplers": ["none"], "folds": 2, "trees": 30, "steps": 300, "refit_below": 0, "measurements": 1}
    >>> detector = limbeck.fit(transactions(3000, seed=0), label="fraud", config=quick, alpha=0.05)
    >>> detector.detect(transactions(1000, seed=1)).is_anomaly.shape
    (1000,)

    References
    ----------
    Vovk et al., "Algorithmic Learning in a Random World", 2005 (the promise of the false-alarm rate).
    """
    _check_arguments(alpha, seed, id, workdir)
    require_training()
    ignored = [ignore_columns] if isinstance(ignore_columns, str) else list(ignore_columns)
    method = method or "multi-teacher"
    chosen = configure(method, config)
    table = open_table(source, text=(id,))
    frame, column = _split_off_label(table, label, id, ignored)
    on_step(Step("reading", 0, 1))
    y = labels_of(column, normal)
    frame, y, notes = _labelled(frame, y)
    calibration = set_aside(y, seed)
    spec, more = learn_spec(
        frame.filter(pl.Series(~calibration)),
        named=table.named,
        label=label if isinstance(label, str) else None,
        normal=None if normal is None else str(normal),
        id=id,
        max_categories=chosen.max_categories,
    )
    x = rows_of(frame, spec, named=table.named)
    on_step(Step("reading", 1, 1))
    items = TableItems(spec, x[~calibration], y[~calibration])
    module, name = METHODS[method].distiller.split(":")
    distiller: Distiller = getattr(importlib.import_module(module), name)(chosen)
    if workdir is None:
        with tempfile.TemporaryDirectory(prefix="limbeck-") as folder:
            artefact = distiller.fit(items, seed=seed, workdir=Path(folder), on_step=on_step)
    else:
        artefact = distiller.fit(items, seed=seed, workdir=Path(workdir), on_step=on_step)
    scorer = scorer_for(artefact)
    calibrator = Calibrator.fit(scorer(x[calibration]).score, y[calibration], probabilities=True)
    promised, raised = _promise(alpha, calibrator)
    notes += more + raised + list(artefact.training["notes"])
    card = _card(table.name, artefact, seed, y, calibrator, promised, notes)
    return Detector(artefact, scorer, calibrator, promised, card)


def _check_arguments(alpha: Any, seed: Any, id: Any, workdir: Any) -> None:
    """Refuse what has the wrong type or lies out of its range, before anything is read."""
    if not isinstance(alpha, (int, float)) or not 0 < alpha < 1:
        raise ConfigError("alpha is a false-alarm rate", expected="a number between 0 and 1", got=repr(alpha))
    if not isinstance(seed, (int, np.integer)) or not 0 <= seed <= LARGEST_SEED:
        raise ConfigError("the seed is out of range", expected=f"an integer from 0 to {LARGEST_SEED:,}", got=repr(seed))
    if id is not None and not isinstance(id, str):
        raise ConfigError("the id is the name of a column", expected="a text", got=repr(id))
    if workdir is not None and not (isinstance(workdir, (str, Path)) and Path(workdir).is_dir()):
        raise ConfigError("the work folder does not exist", expected="an existing folder", got=repr(workdir))


def _card(
    name: str,
    artefact: Artefact,
    seed: int,
    y: NDArray[np.int8],
    calibrator: Calibrator,
    alpha: float,
    notes: list[str],
) -> Card:
    """Write down where a detector comes from and how good it is."""
    candidates = artefact.training["candidates"]
    return Card(
        name=name,
        method=artefact.method,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        seed=seed,
        source=name,
        n_items=len(y),
        n_anomalous=int(y.sum()),
        n_calibration_normal=int(calibrator.normals.size),
        alpha=alpha,
        threshold=calibrator.threshold(alpha),
        metrics={c["name"]: {k: v for k, v in c.items() if k not in ("name", "role", "shipped")} for c in candidates},
        notes=tuple(notes),
        versions=_versions(),
    )


def _split_off_label(
    table: TableSource, label: Any, id: str | None, ignored: Sequence[str]
) -> tuple[pl.DataFrame, pl.Series]:
    """Return the rows without label and ignored columns, and the label column."""
    if label is None:
        raise InputError(
            "a table needs labels for the method 'multi-teacher'",
            expected="the name of the label column",
            got="none",
            fix="name it: --label COLUMN (label=COLUMN in Python)",
        )
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
    column = frame[label] if isinstance(label, str) else as_label_array(label, frame.height)
    gone = [*ignored, *([label] if isinstance(label, str) else [])]
    return frame.drop(gone), column


def _labelled(frame: pl.DataFrame, y: NDArray[np.int8]) -> tuple[pl.DataFrame, NDArray[np.int8], list[str]]:
    """Leave out rows of unknown label, and refuse too few of a class."""
    notes = []
    known = y >= 0
    if not known.all():
        notes.append(f"{int((~known).sum())} rows without a label were left out")
        frame, y = frame.filter(pl.Series(known)), y[known]
    anomalous, normal = int((y == 1).sum()), int((y == 0).sum())
    if not anomalous or not normal:
        raise InputError(
            "only one class is present in the labels",
            expected="normal and anomalous rows",
            got=f"{normal} normal and {anomalous} anomalous rows",
            fix="check the label column, or name the normal value: --normal VALUE",
        )
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


def set_aside(y: NDArray[np.int8], seed: int) -> NDArray[np.bool_]:
    """Choose the calibration rows: 20 %, at most 10,000, the same share of each class, at least one."""
    share = min(CALIBRATION_SHARE, CALIBRATION_MOST / len(y))
    rng = np.random.default_rng(seed + 1)
    aside = np.zeros(len(y), dtype=bool)
    for value in (0, 1):
        rows = np.flatnonzero(y == value)
        aside[rng.choice(rows, max(1, int(share * len(rows))), replace=False)] = True
    return aside


def _promise(alpha: float, calibrator: Calibrator) -> tuple[float, list[str]]:
    """Return the false-alarm rate that can be promised, and say so where it is another one than was asked for."""
    if alpha >= calibrator.smallest_rate:
        return alpha, []
    note = (
        f"{calibrator.normals.size} calibration normals cannot promise a false-alarm rate of {alpha:g}: "
        f"it is raised to {calibrator.smallest_rate:.3g}"
    )
    warnings.warn(note, LimbeckWarning, stacklevel=3)
    return calibrator.smallest_rate, [note]


def _versions() -> dict[str, str]:
    names = ("numpy", "torch", "lightgbm", "scikit-learn", "imbalanced-learn", "onnx")
    return {"limbeck": limbeck.__version__} | {n: importlib.metadata.version(n) for n in names}
