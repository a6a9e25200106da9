"""The one door to learning: source → split → distil → calibrate → detector."""

from __future__ import annotations

import dataclasses
import datetime
import importlib
import importlib.metadata
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import limbeck
from limbeck import config as configuration
from limbeck.calibrate import Calibrator, outlier_cut
from limbeck.contracts import Artefact, Card, Distiller, Items, OnStep, Step, ignore
from limbeck.detector import Detector
from limbeck.errors import ConfigError, InputError, LimbeckWarning, require_training
from limbeck.fitting.pictures import are_pictures, prepare_pictures
from limbeck.fitting.prepared import CALIBRATION_MOST, CALIBRATION_SHARE, Prepared
from limbeck.fitting.suspects import said_of, suspects_of
from limbeck.fitting.tables import FEW_ANOMALIES, FEWEST_ANOMALIES, prepare_table, set_aside
from limbeck.methods import METHODS
from limbeck.runtime import scorer_for

__all__ = [
    "CALIBRATION_MOST",
    "CALIBRATION_SHARE",
    "FEWEST_ANOMALIES",
    "FEW_ANOMALIES",
    "configure",
    "fit",
    "set_aside",
]

LARGEST_SEED = 2_000_000_000  # what the libraries below take, with room for the seeds derived from it
DEFAULTS = {  # by kind of source, and whether there are labels
    ("table", True): "multi-teacher",
    ("table", False): "committee",
    ("pictures", False): "reverse-distillation",
}
BATCH = 1 << 16  # calibration rows judged at once
PICTURES = 32  # and pictures


def configure(method: str, values: Any = None) -> Any:
    """Return a method's configuration: the defaults, a mapping of fields, or a configuration as it is."""
    if method not in METHODS:
        raise ConfigError(
            f"there is no method {method!r}", expected="one of " + ", ".join(METHODS), got=method, fix="limbeck methods"
        )
    wanted = configuration.config_class(METHODS[method].config)
    if type(values) is wanted:
        return configuration.replace(values, dataclasses.asdict(values))
    if values is not None and not isinstance(values, Mapping):
        raise ConfigError(
            "this is not a configuration", expected=f"a mapping of fields, or {wanted.__name__}", got=repr(values)
        )
    return configuration.replace(wanted(), values or {})


def _method_of(config: Any) -> str | None:
    """Return the method that a configuration is of; None of a mapping, which does not say."""
    if not dataclasses.is_dataclass(config):
        return None
    return next((n for n, m in METHODS.items() if type(config) is configuration.config_class(m.config)), None)


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
    _check_arguments(alpha, seed, id, workdir)
    require_training()
    kind = "pictures" if are_pictures(source) else "table"
    if kind == "pictures":
        _refuse_columns(label, id, ignore_columns)
    method = method or _method_of(config) or DEFAULTS[kind, label is not None]
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
    if workdir is None:
        with tempfile.TemporaryDirectory(prefix="limbeck-") as folder:
            artefact = distiller.fit(prepared.learn, seed=seed, workdir=Path(folder), on_step=on_step)
    else:
        artefact = distiller.fit(prepared.learn, seed=seed, workdir=Path(workdir), on_step=on_step)
    scorer = scorer_for(artefact)
    score, y = _scored(scorer, prepared.calibration, PICTURES if kind == "pictures" else BATCH)
    if METHODS[method].dirty:
        cut = outlier_cut(score)
        suspects = suspects_of(scorer, prepared, cut=cut, shown=chosen.shown, on_step=on_step)
        artefact = dataclasses.replace(artefact, training=artefact.training | {"suspects": suspects})
        prepared.notes.append(said_of(suspects))
        score, y = _usual(score, y, cut, prepared.notes)
    calibrator = Calibrator.fit(score, y, probabilities=prepared.labelled)
    promised, raised = _promise(alpha, calibrator)
    card = _card(prepared, artefact, seed, calibrator, promised, raised)
    return Detector(artefact, scorer, calibrator, promised, card)


def _check_method(method: str, kind: str, label: Any) -> None:
    """Refuse a method for another kind of source, or for another use of labels, before anything is read."""
    wanted, labelled = METHODS[method], label is not None
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


def _scored(scorer: Any, items: Items, size: int) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Return scores and labels of items."""
    scores, labels = [], []
    for batch in items.batches(size):
        scores.append(scorer(batch.x).score)
        labels.append(np.maximum(batch.label, 0))  # pictures without a label were given as good ones
    return np.concatenate(scores), np.concatenate(labels)


def _usual(
    score: NDArray[np.float32], y: NDArray[np.int8], cut: float, notes: list[str]
) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Leave out of calibration what scores like an anomaly: a dirty set's would raise the threshold."""
    usual = score <= cut
    if not usual.all():
        notes.append(
            f"{(~usual).sum():,} of {usual.size:,} calibration pictures score like anomalies and do not count: the "
            "false-alarm rate is promised as far as the others are normal"
        )
    return score[usual], y[usual]


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
    prepared: Prepared, artefact: Artefact, seed: int, calibrator: Calibrator, alpha: float, raised: list[str]
) -> Card:
    """Write down where a detector comes from and how good it is."""
    training = artefact.training
    candidates = training.get("candidates", [])
    card = Card(
        name=prepared.name,
        method=artefact.method,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        seed=seed,
        source=prepared.name,
        n_items=prepared.n_items,
        n_anomalous=prepared.n_anomalous,
        n_calibration_normal=int(calibrator.normals.size),
        alpha=alpha,
        threshold=calibrator.threshold(alpha),
        metrics={c["name"]: {k: v for k, v in c.items() if k not in ("name", "role", "shipped")} for c in candidates},
        notes=(*prepared.notes, *raised, *training["notes"]),
        versions=_versions(METHODS[artefact.method].source),
    )
    if "teacher" in training:
        facts = training["teacher"]
        origin = f"{facts['name']}; {facts['origin']}"
        licence = f"Of the teacher's weights ({origin}): {facts['licence']}. Of the pictures: their own."
        return dataclasses.replace(card, licence=licence)
    return card


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


def _versions(kind: str) -> dict[str, str]:
    names = {
        "table": ("numpy", "torch", "lightgbm", "scikit-learn", "imbalanced-learn", "onnx"),
        "pictures": ("numpy", "torch", "pillow", "onnx", "onnxruntime"),
    }
    return {"limbeck": limbeck.__version__} | {n: importlib.metadata.version(n) for n in names[kind]}
