"""What all learning ends in: distil, set the threshold on what was set aside, and write the card."""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import limbeck
from limbeck.calibrate import Calibrator, outlier_cut
from limbeck.contracts import Artefact, Card, Distiller, Items, OnStep
from limbeck.detector import Detector
from limbeck.errors import ConfigError
from limbeck.fitting.prepared import Prepared
from limbeck.fitting.suspects import said_of, suspects_of
from limbeck.methods import METHODS
from limbeck.runtime import scorer_for

__all__ = ["check_arguments", "finish"]

LARGEST_SEED = 2_000_000_000  # what the libraries below take, with room for the seeds derived from it
LOG_ODDS, RANKS = 0.5, 5.0  # how far the line to log-odds may be from "no change" where scores are those, or are not
BATCHES = {"table": 1 << 16, "pictures": 32}  # calibration items judged at once


def check_arguments(alpha: Any, seed: Any, id: Any, workdir: Any) -> None:
    """Refuse what has the wrong type or lies out of its range, before anything is read."""
    if not isinstance(alpha, (int, float)) or not 0 < alpha < 1:
        raise ConfigError("alpha is a false-alarm rate", expected="a number between 0 and 1", got=repr(alpha))
    if not isinstance(seed, (int, np.integer)) or not 0 <= seed <= LARGEST_SEED:
        raise ConfigError("the seed is out of range", expected=f"an integer from 0 to {LARGEST_SEED:,}", got=repr(seed))
    if id is not None and not isinstance(id, str):
        raise ConfigError("the id is the name of a column", expected="a text", got=repr(id))
    if workdir is not None and not (isinstance(workdir, (str, Path)) and Path(workdir).is_dir()):
        raise ConfigError("the work folder does not exist", expected="an existing folder", got=repr(workdir))


def finish(
    prepared: Prepared,
    distiller: Distiller,
    config: Any,
    *,
    method: str,
    alpha: float,
    seed: int,
    workdir: str | Path | None,
    on_step: OnStep,
) -> Detector:
    """Distil what was prepared, calibrate on what was set aside, and return the detector."""
    if workdir is None:
        with tempfile.TemporaryDirectory(prefix="limbeck-") as folder:
            artefact = distiller.fit(prepared.learn, seed=seed, workdir=Path(folder), on_step=on_step)
    else:
        artefact = distiller.fit(prepared.learn, seed=seed, workdir=Path(workdir), on_step=on_step)
    scorer = scorer_for(artefact)
    score, y = _scored(scorer, prepared.calibration, BATCHES[METHODS[method].source])
    if METHODS[method].dirty:
        cut = outlier_cut(score)
        rare = set(artefact.training.get("rare", ()))
        suspects = suspects_of(scorer, prepared, cut=cut, shown=config.shown, on_step=on_step, rare=rare)
        artefact = dataclasses.replace(artefact, training=artefact.training | {"suspects": suspects})
        prepared.notes.append(said_of(suspects))
        score, y = _usual(score, y, cut, prepared.notes)
    table = METHODS[method].source == "table"
    spread = LOG_ODDS if METHODS[method].labels else RANKS
    calibrator = Calibrator.fit(score, y, probabilities=prepared.labelled, spread=spread)
    promised, raised = calibrator.promise(alpha, "normals" if prepared.labelled or not table else "rows")
    card = _card(prepared, artefact, seed, calibrator, promised, raised)
    return Detector(artefact, scorer, calibrator, promised, card)


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


def _versions(kind: str) -> dict[str, str]:
    names = {
        "table": ("numpy", "torch", "lightgbm", "scikit-learn", "imbalanced-learn", "onnx"),
        "pictures": ("numpy", "torch", "pillow", "onnx", "onnxruntime"),
    }
    return {"limbeck": limbeck.__version__} | {n: importlib.metadata.version(n) for n in names[kind]}
