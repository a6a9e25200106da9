"""The committee: one LightGBM for each resampler, heard out of fold, calibrated back to the true prior, averaged."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limbeck.calibrate import Affine, fit_affine
from limbeck.errors import LimbeckWarning, require
from limbeck.outputs import new_file
from limbeck.tabular.config import MultiTeacherConfig
from limbeck.tabular.encode import learn_features
from limbeck.tabular.resample import resample

__all__ = ["Committee", "Member", "fit_committee", "folds_for"]

Floats = NDArray[np.float64]
SHARPEST, FLATTEST = 2.0, 0.1  # bounds on a teacher's slope: its temperature stays within [0.5, 10]
EXTREME = 30.0  # log-odds beyond this carry no more information, only overflow


@dataclass(frozen=True)
class Member:
    """One teacher: a resampler, the model taught on all rows with it, and the line that calibrates it."""

    resampler: str  # as asked for
    note: str  # what ran instead, and why
    booster: Any
    affine: Affine
    heard: Floats  # (n,) calibrated log-odds of each training row, from models that did not see it

    def log_odds(self, x: Floats) -> Floats:
        """Return calibrated log-odds (n,) of new rows, float64 (n, d)."""
        return np.clip(self.affine(_raw(self.booster, x)), -EXTREME, EXTREME)


@dataclass(frozen=True)
class Committee:
    """The teachers that are heard, and the line that calibrates their mean."""

    members: tuple[Member, ...]
    affine: Affine
    dropped: tuple[str, ...]  # resamplers whose teacher ranked backwards; not heard, unless all did

    @property
    def heard(self) -> Floats:
        """Calibrated mean log-odds (n,) of the training rows, out of fold: the student's target."""
        return self.affine(np.mean([m.heard for m in self.members], axis=0))

    def log_odds(self, x: Floats) -> Floats:
        """Return calibrated mean log-odds (n,) of new rows, float64 (n, d)."""
        with ThreadPoolExecutor(os.cpu_count()) as workers:
            said = list(workers.map(lambda member: member.log_odds(x), self.members))
        return self.affine(np.mean(said, axis=0))

    @property
    def bytes(self) -> int:
        """Size of the teachers as text files."""
        return sum(len(m.booster.model_to_string().encode()) for m in self.members)


def folds_for(asked: int, y: NDArray[np.int8]) -> int:
    """Return the number of folds: as asked, or ten below 200 anomalies and five above; never more than anomalies."""
    rarer = int(min((y == 1).sum(), (y == 0).sum()))
    return max(2, min(asked or (10 if (y == 1).sum() < 200 else 5), rarer))


def fit_committee(
    x: Floats,
    y: NDArray[np.int8],
    config: MultiTeacherConfig,
    *,
    seed: int,
    categorical: tuple[int, ...] = (),
    store: Path | None = None,
    on_teacher: Callable[[str, int], None] = lambda name, done: None,
) -> Committee:
    """Teach one model for each resampler, inside each fold only, and calibrate what they say of rows they never saw.

    Parameters
    ----------
    x, y : ndarray, shape (n, d) and (n,)
        Raw rows (missing = NaN) and their 0 | 1 labels; at least two of each label.
    config : MultiTeacherConfig
        Resamplers, folds, trees.
    seed : int
        Of folds, resamplers and trees.
    categorical : tuple of int
        Places of the columns that hold codes.
    store : Path, optional
        A folder for finished teachers; those found there are not taught again.
    on_teacher : callable
        Called with a resampler's name and how many teachers are done.

    Returns
    -------
    Committee
        At least one member; its targets keep the true prior.

    Warns
    -----
    LimbeckWarning
        If a teacher ranks backwards; it is then not heard, unless all do.

    References
    ----------
    Dao et al., "Knowledge distillation as semiparametric inference", ICLR 2021 (cross-fitting); Dal Pozzolo et al.,
    "Calibrating probability with undersampling", SSCI 2015 (the prior shift, which the learned line contains).
    """
    members: list[Member] = []
    backwards: list[Member] = []
    for k, name in enumerate(config.resamplers):
        on_teacher(name, k)
        booster, heard, note = _fit_teacher(x, y, name, config, seed + 1000 * k, seed, categorical, store)
        line = fit_affine(heard, y)
        slope = float(np.clip(line.slope, FLATTEST, SHARPEST))
        fair = line if slope == line.slope else Affine(slope, _intercept(slope, heard, y))
        member = Member(name, note, booster, fair, np.clip(fair(heard), -EXTREME, EXTREME))
        (members if line.slope > 0 else backwards).append(member)
    on_teacher("", len(config.resamplers))
    names = tuple(m.resampler for m in backwards)
    if not members:
        warnings.warn(
            "no teacher is better than chance: the columns seem to say nothing about the labels",
            LimbeckWarning,
            stacklevel=2,
        )
        members = backwards
    elif backwards:
        warnings.warn(
            f"these teachers rank backwards and are not heard: {', '.join(names)}", LimbeckWarning, stacklevel=2
        )
    mean = fit_affine(np.mean([m.heard for m in members], axis=0), y)
    if mean.slope <= 0:
        mean = Affine()
    return Committee(tuple(members), mean, names)


def _intercept(slope: float, heard: Floats, y: NDArray[np.int8]) -> float:
    """Return the intercept that keeps the mean probability at the true prior, for a slope that was bounded."""
    low, high = -200.0, 200.0
    for _ in range(60):
        middle = (low + high) / 2
        mean = float(np.mean(0.5 * (1 + np.tanh(0.5 * (slope * heard + middle)))))
        low, high = (middle, high) if mean < y.mean() else (low, middle)
    return (low + high) / 2


def _fit_teacher(
    x: Floats,
    y: NDArray[np.int8],
    name: str,
    config: MultiTeacherConfig,
    seed: int,
    fold_seed: int,
    categorical: tuple[int, ...],
    store: Path | None,
) -> tuple[Any, Floats, str]:
    """Return the model taught on all rows, the out-of-fold log-odds (n,) and a note."""
    lightgbm = require("lightgbm", "train")
    done = store / f"{name}.npz" if store else None
    if done is not None and done.exists():
        with np.load(done, allow_pickle=False) as saved:
            booster = lightgbm.Booster(model_str=saved["model"].tobytes().decode())
            return booster, saved["heard"], str(saved["note"])
    splitter = require("sklearn.model_selection", "train").StratifiedKFold(
        folds_for(config.folds, y), shuffle=True, random_state=fold_seed
    )
    heard = np.empty(len(y))
    stop = threading.Event()

    def hear(fold: tuple[NDArray[np.intp], NDArray[np.intp]]) -> None:
        inside, outside = fold
        booster, _ = _boost(x[inside], y[inside], name, config, seed, categorical, stop)
        heard[outside] = _raw(booster, x[outside])

    # One thread a model and one model a core: boosting with several threads spins, and costs ten times the
    # processor time where anything else runs beside it. The result is the same for any number of workers.
    # SMOTE's neighbours call BLAS from OpenMP; with workers beside each other BLAS must be held to one thread for all.
    limits = require("threadpoolctl", "train").threadpool_limits(1, user_api="blas")
    with limits, ThreadPoolExecutor(config.jobs or os.cpu_count() or 1) as workers:
        try:
            whole = workers.submit(_boost, x, y, name, config, seed, categorical, stop)
            list(workers.map(hear, splitter.split(np.zeros(len(y)), y)))
            booster, note = whole.result()
        except BaseException:  # an interrupt above all: it should not wait for thousands of trees
            stop.set()
            raise
    if done is not None:
        model = np.frombuffer(booster.model_to_string().encode(), dtype=np.uint8)
        with new_file(done, overwrite=True) as partial, partial.open("wb") as handle:
            np.savez(handle, model=model, heard=heard, note=note)
    return booster, heard, note


def _boost(
    x: Floats,
    y: NDArray[np.int8],
    name: str,
    config: MultiTeacherConfig,
    seed: int,
    categorical: tuple[int, ...],
    stop: threading.Event,
) -> tuple[Any, str]:
    """Resample these rows and teach one LightGBM on them."""
    lightgbm = require("lightgbm", "train")
    fold = resample(name, x, y, learn_features(x, categorical), ratio=config.ratio, seed=seed, categorical=categorical)
    settings = {
        "objective": "binary", "verbosity": -1, "seed": seed, "deterministic": True, "force_row_wise": True,
        "num_leaves": config.leaves, "learning_rate": config.learning_rate,
        "min_data_in_leaf": max(1, min(20, len(fold.y) // 50)),
        "lambda_l2": 1.0, "feature_fraction": 0.8, "bagging_fraction": 0.8, "bagging_freq": 1,
        "max_cat_to_onehot": 8,
    }  # fmt: skip
    rows = lightgbm.Dataset(fold.x, fold.y, categorical_feature=list(categorical), free_raw_data=True)

    def go_on(environment: Any) -> None:
        if stop.is_set():
            raise InterruptedError("the fit was interrupted")

    booster = lightgbm.train(settings, rows, num_boost_round=config.trees, callbacks=[go_on])
    return booster, f"{fold.used} instead: {fold.reason}" if fold.reason else ""


def _raw(booster: Any, x: Floats) -> Floats:
    return np.clip(np.asarray(booster.predict(x, raw_score=True, num_threads=1), dtype=np.float64), -EXTREME, EXTREME)
