"""The one door to learning: source → split → distil → calibrate → detector."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from limbeck.calibrate import CALIBRATION_MOST, CALIBRATION_SHARE, set_aside
from limbeck.contracts import Distiller, OnStep, Step, ignore
from limbeck.data.tables import require_there
from limbeck.detector import Detector
from limbeck.errors import ConfigError, InputError, require_training
from limbeck.fitting.adapting import adapt
from limbeck.fitting.configuring import configure, method_of
from limbeck.fitting.distilling import distil, refresh
from limbeck.fitting.finish import check_arguments, finish
from limbeck.fitting.pictures import are_pictures, prepare_pictures
from limbeck.fitting.tables import FEW_ANOMALIES, FEWEST_ANOMALIES, prepare_table
from limbeck.methods import METHODS

__all__ = [
    "CALIBRATION_MOST",
    "CALIBRATION_SHARE",
    "FEWEST_ANOMALIES",
    "FEW_ANOMALIES",
    "adapt",
    "configure",
    "distil",
    "fit",
    "refresh",
    "set_aside",
]

DEFAULTS = {  # by kind of source, and whether there are labels
    ("table", True): "multi-teacher",
    ("table", False): "committee",
    ("pictures", False): "reverse-distillation",
}


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
    on_corrupt: str = "refuse",
    workdir: str | Path | None = None,
    on_step: OnStep = ignore,
) -> Detector:
    """Learn a detector: from a table, with labels or without, or from pictures of good parts.

    Fails on tables with fewer than five anomalies, on columns of dates or identifiers, on infinite values, and on
    fewer than two pictures: each with one error that says what to do.

    Parameters
    ----------
    source : path, frame, mapping, array or list of paths
        A table: a CSV, Parquet, Arrow, ``.npy`` or ``.npz`` file, a folder of parts, a polars or pandas frame, a
        mapping of columns, or an array (n, d). Or pictures: a folder (MVTec AD, VisA, ``good/`` beside others, or
        pictures alone), a ``.txt`` list, files, or an array of uint8 or uint16, (n, h, w) or (n, h, w, c).
    label : str or array, shape (n,)
        Of a table: the label column, or the labels: 0 | 1, booleans, or texts of which some mean normal. Rows without
        a label are left out.
    method : str, optional
        Default: "multi-teacher" for a table with labels, "committee" for one without, "reverse-distillation" for
        pictures.
    config : mapping or configuration, optional
        Fields of the method's configuration.
    alpha : float, in (0, 1)
        False-alarm rate to promise; raised, with a warning, to what the calibration normals can promise.
    seed : int
        Same seed, same machine, same result.
    normal : str, optional
        The label, or the folder of pictures, that means normal; every other one is then anomalous.
    id : str, optional
        A column that names the rows: not learned from, and written beside the scores.
    ignore_columns : sequence of str
        Columns to leave out.
    on_corrupt : str
        What to do with a picture that cannot be read: "refuse", or "skip" and note it.
    workdir : path, optional
        An existing folder for unfinished work; a later call with the same data, fields and seed resumes from it.
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
    >>> limbeck.fit("parts/").detect("new.png").is_anomaly  # doctest: +SKIP
    array([ True])

    References
    ----------
    Vovk et al., "Algorithmic Learning in a Random World", 2005 (the promise of the false-alarm rate).
    """
    check_arguments(alpha, seed, id, workdir)
    require_training()
    require_there(source)
    kind = "pictures" if are_pictures(source) else "table"
    if kind == "pictures":
        _refuse_columns(label, id, ignore_columns)
    method = method or method_of(config) or DEFAULTS[kind, label is not None]
    chosen = configure(method, config)
    _check_method(method, kind, label)
    on_step(Step("reading", 0, 1))
    if kind == "pictures":
        prepared = prepare_pictures(source, size=chosen.size, normal=normal, on_corrupt=on_corrupt, seed=seed)
    else:
        prepared = prepare_table(
            source,
            label=label,
            normal=normal,
            id=id,
            ignored=[ignore_columns] if isinstance(ignore_columns, str) else list(ignore_columns),
            max_categories=chosen.max_categories,
            seed=seed,
        )
    on_step(Step("reading", 1, 1))
    module, name = METHODS[method].distiller.split(":")
    distiller: Distiller = getattr(importlib.import_module(module), name)(chosen)
    return finish(prepared, distiller, chosen, method=method, alpha=alpha, seed=seed, workdir=workdir, on_step=on_step)


def _check_method(method: str, kind: str, label: Any) -> None:
    """Refuse a method for another kind of source, or for another use of labels, before anything is read."""
    wanted, labelled = METHODS[method], label is not None
    if wanted.teacher:
        raise ConfigError(
            f"the method {method!r} needs a teacher",
            expected="limbeck.distil(TEACHER, SOURCE), or limbeck distil on the command line",
            got="a source alone",
            fix="leave the method out, or name the teacher there",
        )
    if wanted.source != kind:
        raise ConfigError(
            f"the method {method!r} does not learn from this kind of source",
            expected="pictures: a folder of them, files or an array" if wanted.source == "pictures" else "a table",
            got="pictures" if kind == "pictures" else "a table",
            fix=f"leave the method out: {DEFAULTS[kind, labelled]!r} is taken",
        )
    if wanted.labels and not labelled:
        raise InputError(
            f"a table needs labels for the method {method!r}",
            expected="the name of the label column",
            got="none",
            fix="name it: --label COLUMN (label=COLUMN in Python); or leave the method out: 'committee' is taken",
        )
    if labelled and not wanted.labels:
        raise ConfigError(
            f"the method {method!r} learns without labels",
            expected="no label",
            got=label if isinstance(label, str) else "labels",
            fix="leave the column out instead: --ignore COLUMN (ignore_columns= in Python); evaluate takes it",
        )


def _refuse_columns(label: Any, id: Any, ignore_columns: Sequence[str]) -> None:
    """Refuse what names the columns of a table, where there are pictures."""
    if label is not None:
        raise ConfigError(
            "pictures have no label column",
            expected="labels from the folders' names",
            got=repr(label),
            fix="name the normal folder if it is not called good, normal or ok: --normal FOLDER (normal= in Python)",
        )
    if id is not None or len(ignore_columns):
        raise ConfigError(
            "pictures have no columns",
            expected="neither id nor ignore_columns",
            got=repr(ignore_columns if id is None else id),
            fix="leave it out: pictures are named by their paths",
        )
