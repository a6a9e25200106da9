"""The door for teachers that are there already: any detector, or its stored scores, into one small student.

The student is a new one (`distil`), or one that goes on learning (`refresh`).
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.calibrate import set_aside
from limbeck.contracts import Distiller, OnStep, Step, ignore
from limbeck.data.columns import TableItems
from limbeck.detector import Detector
from limbeck.errors import ConfigError, InputError, require_training
from limbeck.fitting.compact import COMPACT, prepare_compact
from limbeck.fitting.configuring import configure
from limbeck.fitting.finish import check_arguments, finish
from limbeck.fitting.pictures import are_pictures
from limbeck.fitting.prepared import Prepared
from limbeck.fitting.told import Told, read_told
from limbeck.methods import METHODS
from limbeck.network import Network
from limbeck.table_spec import TableSpec
from limbeck.tabular.config import REFRESHED, FollowerConfig

__all__ = ["distil", "refresh"]

METHOD = "distilled"


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
    normal: str | None = None,
    on_corrupt: str = "refuse",
    workdir: str | Path | None = None,
    on_step: OnStep = ignore,
) -> Detector:
    """Distil any detector, or the scores that it left behind, into one small student that ranks as it does.

    Of pictures the teacher is a detector of Limbeck, or several of them; the student takes 0.3 G multiply-adds for a
    picture, or what `config` says.

    Fails where the teacher cannot score the rows, says something else than numbers, says the same of all of them, or
    ranks backwards; and, from a thousand rows on, where no student follows it. Of pictures, where the budget is too
    small, or no defect can be drawn on them.

    Parameters
    ----------
    teacher : object, str or array, shape (n,)
        A fitted detector or classifier (scikit-learn, PyOD, or of Limbeck), a function of rows, float64 (n, d); or
        stored scores: the name of their column, or an array. Higher scores mean more anomalous; scikit-learn's outlier
        detectors are turned round. Of pictures: a `Detector`, or a list of them that take the same size.
    source : path, frame, mapping or array
        A table, as for `limbeck.fit`. A live detector gets all its columns but the id and the ignored ones, in their
        order, as numbers; stored scores may stand beside columns of any kind. Or pictures of good parts.
    config : mapping or FollowerConfig or CompactConfig, optional
        Fields of the student; `limbeck methods distilled` lists them, of pictures `limbeck methods compact`.
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
    normal : str, optional
        The folder of pictures that means normal.
    on_corrupt : str
        What to do with a picture that cannot be read: "refuse", or "skip" and note it.
    workdir : path, optional
        An existing folder for unfinished work.
    on_step : callable
        Called with a `Step` as the work goes on.

    Returns
    -------
    Detector
        Ready to judge and to save; its scores are the teacher's ranks as those of a standard normal. Of pictures: its
        map is what it makes of the teacher's, 0 at the 0.9 quantile of normal places and 1 at the 0.995 quantile.

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
    >>> limbeck.distil(limbeck.load("parts.limbeck"), "parts/", config={"budget": 0.2})  # doctest: +SKIP

    References
    ----------
    Zhao et al., "SUOD: accelerating large-scale unsupervised heterogeneous outlier detection", MLSys 2021.
    """
    check_arguments(alpha, seed, id, workdir)
    require_training()
    if are_pictures(source):
        _refuse_of_tables(turned, id, ignore_columns)
        prepared, distiller, chosen = prepare_compact(
            teacher, source, config, normal=normal, on_corrupt=on_corrupt, seed=seed, on_step=on_step
        )
        return finish(
            prepared, distiller, chosen, method=COMPACT, alpha=alpha, seed=seed, workdir=workdir, on_step=on_step
        )
    _refuse_of_pictures(teacher, normal)
    chosen = configure(METHOD, config)
    on_step(Step("reading", 0, 1))
    ignored = [ignore_columns] if isinstance(ignore_columns, str) else list(ignore_columns)
    told = read_told(teacher, source, turned=turned, id=id, ignored=ignored, most=chosen.max_categories)
    on_step(Step("reading", 1, 1))
    return _taught(told, chosen, alpha=alpha, seed=seed, workdir=workdir, on_step=on_step)


def refresh(
    detector: Detector,
    source: Any,
    teacher: Any,
    *,
    remembered: Any = None,
    config: Any = None,
    alpha: float | None = None,
    seed: int = 0,
    turned: bool = False,
    id: str | None = None,
    workdir: str | Path | None = None,
    on_step: OnStep = ignore,
) -> Detector:
    """Let a student of rows go on learning from newer ones, and calibrate it on them.

    It begins with the weights that it has; its columns, with their centres, scales and categories, and its size stay
    as they are. Fails as `distil` does, and where the detector judges pictures or learned from labels.

    Parameters
    ----------
    detector : Detector
        The student; it is left as it is.
    source : path, frame, mapping or array
        The newer rows, with the columns that the student takes; a fifth is set aside for calibration, another held
        out to tell how closely it follows.
    teacher : object, str or array, shape (n,)
        As for `limbeck.distil`; a live one gets the student's columns in their order.
    remembered : path, frame, mapping or array, optional
        Rows of before, of which at most 2,000 are learned beside the newer ones, so that their ranking is not
        forgotten: a package holds no rows. Stored scores are then the name of a column that both tables have.
    config : mapping or FollowerConfig, optional
        Fields of the student. Default: those that it was taught with, and a quarter of the usual steps.
    alpha : float, in (0, 1), optional
        False-alarm rate to promise of rows like the newer ones; default: the detector's.
    seed : int
        Same seed, same machine, same result.
    turned : bool
        Whether low scores mean anomalous.
    id : str, optional
        A column that names the rows; default: the detector's.
    workdir : path, optional
        An existing folder for unfinished work.
    on_step : callable
        Called with a `Step` as the work goes on.

    Returns
    -------
    Detector
        A new one, of the method `distilled`.

    Raises
    ------
    InputError
        If the data, the teacher or the detector cannot be used, or the student does not follow.
    ConfigError
        If a field does not exist, or a value is out of its range.

    Examples
    --------
    >>> import limbeck, numpy as np
    >>> X, quick = np.random.default_rng(0).normal(size=(500, 3)), {"steps": 300, "fewest": 500, "fidelity": 0.5}
    >>> strange = lambda rows: np.abs(rows).sum(1)
    >>> detector = limbeck.distil(strange, X, config=quick, alpha=0.05)
    >>> newer = limbeck.refresh(detector, X + 1.0, strange, remembered=X, config={"steps": 100})
    >>> newer.artefact.training["fidelity"]["spearman"] > 0.9
    True

    References
    ----------
    Robins, "Catastrophic forgetting, rehearsal and pseudorehearsal", Connection Science 1995 (old rows beside new).
    """
    check_arguments(detector.alpha if alpha is None else alpha, seed, id, workdir)
    require_training()
    spec = _refreshable(detector)
    chosen = configure(METHOD, config if is_dataclass(config) else _kept(detector) | dict(config or {}))
    _refuse_pictures(source, "refresh")
    on_step(Step("reading", 0, 1))
    spec = replace(spec, id=id or spec.id)
    told = read_told(teacher, source, turned=turned, id=id, spec=spec)
    old = None if remembered is None else read_told(teacher, remembered, turned=turned, id=id, spec=spec).items
    on_step(Step("reading", 1, 1))
    card = detector.card
    told.notes.append(
        f"refreshed: it went on learning from a student made on {card.created[:10]} of {card.source}, "
        + ("without rows of before: what it knew of them may fade" if old is None else "beside rows of before")
    )
    return _taught(
        told,
        chosen,
        alpha=detector.alpha if alpha is None else alpha,
        seed=seed,
        workdir=workdir,
        on_step=on_step,
        start=Network.from_tensors(detector.artefact.weights),
        remembered=old,
    )


def _refreshable(detector: Detector) -> TableSpec:
    """Return what a student takes; refuse one that cannot go on learning from scores."""
    if not isinstance(detector.spec, TableSpec):
        raise InputError(
            "refresh takes detectors of rows", expected="a detector that was fitted on a table",
            got="one that judges pictures", fix="limbeck.fit learns pictures anew",
        )  # fmt: skip
    if METHODS[detector.card.method].labels:
        raise InputError(
            "refresh takes detectors that learned from scores", expected="the method committee or distilled",
            got=f"{detector.card.method}, whose score is a log-odds learned from labels",
            fix="limbeck.fit on the newer rows with their labels; or limbeck.distil",
        )  # fmt: skip
    return detector.spec


def _kept(detector: Detector) -> dict[str, Any]:
    """Return the fields that a student goes on learning with."""
    taught = detector.artefact.config
    own = {f.name: taught[f.name] for f in fields(FollowerConfig) if f.name in taught}
    return own | {"steps": FollowerConfig().steps // REFRESHED}


def _refuse_of_tables(turned: bool, id: str | None, ignore_columns: Sequence[str]) -> None:
    """Refuse what is said of a table, where there are pictures."""
    given = {"turned": turned, "id": id is not None, "ignore_columns": len(ignore_columns) > 0}
    if any(given.values()):
        raise ConfigError(
            "pictures have no columns, and their detectors' scores are never turned",
            expected="neither turned, id nor ignore_columns",
            got=", ".join(name for name, is_given in given.items() if is_given),
            fix="leave it out",
        )


def _refuse_of_pictures(teacher: Any, normal: str | None) -> None:
    """Refuse what is said of pictures, where there are rows."""
    several = isinstance(teacher, (list, tuple)) and any(isinstance(one, Detector) for one in teacher)
    if several or normal is not None:
        raise ConfigError(
            "rows have one teacher, and no folder that means normal",
            expected="one detector, or its stored scores",
            got=f"{len(teacher)} detectors" if several else f"normal={normal!r}",
            fix="put the scores of several together, and give those (limbeck score)" if several else "leave it out",
        )


def _refuse_pictures(source: Any, command: str) -> None:
    if are_pictures(source):
        raise InputError(
            f"{command} takes tables",
            expected="a table and a teacher of rows",
            got="pictures",
            fix="limbeck.fit or limbeck.distil learns pictures anew",
        )


def _taught(
    told: Told,
    chosen: Any,
    *,
    alpha: float,
    seed: int,
    workdir: str | Path | None,
    on_step: OnStep,
    start: Network | None = None,
    remembered: TableItems | None = None,
) -> Detector:
    """Teach a student, a new one or one that goes on learning, and calibrate it on what is set aside."""
    items = told.items
    aside = set_aside(np.zeros(len(items), np.int8), seed)
    learn, calibration = (items.subset(np.flatnonzero(rows)) for rows in (~aside, aside))
    prepared = Prepared(learn, calibration, False, told.source, len(items), 0, told.notes)
    module, name = METHODS[METHOD].distiller.split(":")
    distiller: Distiller = getattr(importlib.import_module(module), name)(
        chosen, told.live, told.who, told.size, start=start, remembered=remembered
    )
    return finish(prepared, distiller, chosen, method=METHOD, alpha=alpha, seed=seed, workdir=workdir, on_step=on_step)
