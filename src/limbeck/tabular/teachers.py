"""The committee: one teacher for each kind and resampler, heard out of fold, calibrated to the true prior, averaged."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from limbeck import metrics
from limbeck.calibrate import Affine, fit_affine, sigmoid
from limbeck.errors import LimbeckWarning, require
from limbeck.outputs import new_file
from limbeck.tabular.config import OWN_KINDS, MultiTeacherConfig, parse_kind
from limbeck.tabular.encode import learn_features
from limbeck.tabular.kinds import EXTREME, Model, learn, restore
from limbeck.tabular.resample import resample, thin
from limbeck.tabular.workers import beside_each_other

__all__ = ["Committee", "Member", "Pair", "fit_committee", "folds_for", "pairs_of"]

Floats = NDArray[np.float64]
Labels = NDArray[np.int8]
Pair = tuple[str, str]  # kind, resampler
SHARPEST, FLATTEST = 2.0, 0.1  # bounds on a teacher's slope: its temperature stays within [0.5, 10]


@dataclass(frozen=True)
class Member:
    """One teacher: a kind, a resampler, the model taught on all rows with them, and the line that calibrates it."""

    kind: str
    resampler: str  # as asked for
    note: str  # what ran instead, and why
    model: Model
    affine: Affine
    heard: Floats  # (n,) calibrated log-odds of each training row, from models that did not see it
    weight: float = 1.0  # of its word; 0 = not heard, since other kinds are better

    @property
    def name(self) -> str:
        """What the tables call it."""
        return f"{_short(self.kind)} {self.resampler}"

    def log_odds(self, x: Floats) -> Floats:
        """Return calibrated log-odds (n,) of new rows, float64 (n, d)."""
        return np.clip(self.affine(self.model(x)), -EXTREME, EXTREME)


@dataclass(frozen=True)
class Committee:
    """The teachers, and the line that calibrates their weighted mean."""

    members: tuple[Member, ...]
    affine: Affine
    dropped: tuple[str, ...]  # names of those that ranked backwards; not members, unless all did
    heard: Floats  # (n,) calibrated mean log-odds of the training rows, out of fold: the student's target

    @property
    def speakers(self) -> tuple[Member, ...]:
        """The members that are heard."""
        return tuple(m for m in self.members if m.weight > 0)

    def best(self, y: Labels) -> Member:
        """Return the speaker with the highest out-of-fold average precision, given the training rows' labels (n,)."""
        return max(self.speakers, key=lambda m: metrics.average_precision(y, m.heard))

    def log_odds(self, x: Floats) -> Floats:
        """Return calibrated mean log-odds (n,) of new rows, float64 (n, d)."""
        speakers = self.speakers
        with ThreadPoolExecutor(os.cpu_count()) as workers:
            said = list(workers.map(lambda member: member.log_odds(x), speakers))
        return self.affine(np.average(said, axis=0, weights=[m.weight for m in speakers]))

    @property
    def bytes(self) -> int:
        """Size of the speakers as files."""
        return sum(m.model.bytes for m in self.speakers)


def pairs_of(config: MultiTeacherConfig) -> tuple[Pair, ...]:
    """Return every kind with every resampler, in the configuration's order."""
    return tuple((kind, resampler) for kind in config.teachers for resampler in config.resamplers)


def folds_for(asked: int, y: Labels) -> int:
    """Return the number of folds: as asked, or ten below 200 anomalies and five above; never more than anomalies."""
    rarer = int(min((y == 1).sum(), (y == 0).sum()))
    return max(2, min(asked or (10 if (y == 1).sum() < 200 else 5), rarer))


def fit_committee(
    x: Floats,
    y: Labels,
    config: MultiTeacherConfig,
    *,
    seed: int,
    categorical: tuple[int, ...] = (),
    pairs: Sequence[Pair] = (),
    store: Path | None = None,
    on_teacher: Callable[[str, int], None] = lambda name, done: None,
) -> Committee:
    """Teach one model for each pair, inside each fold only, and calibrate what they say of rows they never saw.

    Parameters
    ----------
    x, y : ndarray, shape (n, d) and (n,)
        Raw rows (missing = NaN) and their 0 | 1 labels; at least two of each label.
    config : MultiTeacherConfig
        Kinds, resamplers, folds, trees, weights.
    seed : int
        Of folds, resamplers and models.
    categorical : tuple of int
        Places of the columns that hold codes.
    pairs : sequence of (kind, resampler)
        Which of the configuration's pairs to teach; none = all.
    store : Path, optional
        A folder for finished teachers; those found there are not taught again. Classes of other packages are not
        stored: they have no form that could be read without running code.
    on_teacher : callable
        Called with a teacher's name and how many are done.

    Returns
    -------
    Committee
        At least one speaker; its targets keep the true prior.

    Warns
    -----
    LimbeckWarning
        If a teacher ranks backwards; it is then not heard, unless all do.

    References
    ----------
    Dao et al., "Knowledge distillation as semiparametric inference", ICLR 2021 (cross-fitting); Dal Pozzolo et al.,
    "Calibrating probability with undersampling", SSCI 2015 (the prior shift, which the learned line contains);
    Zhang et al., "Confidence-aware multi-teacher knowledge distillation", ICASSP 2022 (weights for each sample).
    """
    members: list[Member] = []
    backwards: list[Member] = []
    taught = _teach(x, y, tuple(pairs) or pairs_of(config), config, seed, categorical, store, on_teacher)
    for (kind, resampler), model, note, heard in taught:
        line = fit_affine(heard, y)
        slope = float(np.clip(line.slope, FLATTEST, SHARPEST))
        fair = line if slope == line.slope else Affine(slope, _intercept(slope, heard, y))
        member = Member(kind, resampler, note, model, fair, np.clip(fair(heard), -EXTREME, EXTREME))
        (members if line.slope > 0 else backwards).append(member)
    names = tuple(m.name for m in backwards)
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
    weighed = _weigh(members, y, config)
    if config.kinds == "best":
        weighed = _best_kinds(weighed, y)
    mean = _mean(weighed)
    line = fit_affine(mean, y)
    if line.slope <= 0:
        line = Affine()
    target = line(_sample_mean(weighed, y) if config.weights == "sample" else mean)
    return Committee(tuple(weighed), line, names, target)


def _weigh(members: list[Member], y: Labels, config: MultiTeacherConfig) -> list[Member]:
    """Give each member the weight of its reliability: exp(-(L - min L) / tau), L in units of the prior's log loss."""
    if config.weights == "mean":
        return members
    rate = np.clip(y.mean(), 1e-12, 1 - 1e-12)
    prior = float(-(rate * np.log(rate) + (1 - rate) * np.log1p(-rate)))
    loss = np.array([metrics.log_loss(y, m.heard) for m in members]) / prior
    weights = np.exp(-(loss - loss.min()) / config.reliability)
    return [replace(m, weight=float(max(w, 1e-9))) for m, w in zip(members, weights, strict=True)]


def _best_kinds(members: list[Member], y: Labels) -> list[Member]:
    """Silence the kinds without which the committee is better, by out-of-fold average precision."""
    kinds = list(dict.fromkeys(m.kind for m in members))
    if len(kinds) == 1:
        return members
    choices = [{kind} for kind in kinds] + [set(kinds)]
    ap = [metrics.average_precision(y, _mean([m for m in members if m.kind in chosen])) for chosen in choices]
    chosen = choices[int(np.argmax(ap))]
    return [m if m.kind in chosen else replace(m, weight=0.0) for m in members]


def _mean(members: list[Member]) -> Floats:
    """Return the weighted mean (n,) of what is heard."""
    speakers = [m for m in members if m.weight > 0]
    return np.average([m.heard for m in speakers], axis=0, weights=[m.weight for m in speakers])


def _sample_mean(members: list[Member], y: Labels) -> Floats:
    """Return the mean (n,) of what is heard, each row's weights from how well each member knows its label."""
    heard = np.array([m.heard for m in members if m.weight > 0])  # (members, n)
    weights = sigmoid(np.where(y == 1, heard, -heard))  # exp(-cross-entropy)
    return np.asarray((weights * heard).sum(axis=0) / weights.sum(axis=0))


def _intercept(slope: float, heard: Floats, y: Labels) -> float:
    """Return the intercept that keeps the mean probability at the true prior, for a slope that was bounded."""
    low, high = -200.0, 200.0
    for _ in range(60):
        middle = (low + high) / 2
        mean = float(np.mean(0.5 * (1 + np.tanh(0.5 * (slope * heard + middle)))))
        low, high = (middle, high) if mean < y.mean() else (low, middle)
    return (low + high) / 2


Taught = tuple[Pair, Model, str, Floats]  # the model taught on all rows, a note, the out-of-fold log-odds (n,)


def _teach(
    x: Floats,
    y: Labels,
    pairs: tuple[Pair, ...],
    config: MultiTeacherConfig,
    seed: int,
    categorical: tuple[int, ...],
    store: Path | None,
    on_teacher: Callable[[str, int], None],
) -> list[Taught]:
    """Teach every pair on all rows and on all but each fold; the parts of all teachers are taught beside each other."""
    found = {pair: _read(store, pair) for pair in pairs}
    splitter = require("sklearn.model_selection", "train").StratifiedKFold(
        folds_for(config.folds, y), shuffle=True, random_state=seed
    )
    parts = [(np.arange(len(y)), np.arange(0)), *splitter.split(np.zeros(len(y)), y)]  # all rows first: the longest
    places = {pair: k for k, pair in enumerate(pairs_of(config))}
    tasks = [(pair, k) for pair in pairs if found[pair] is None for k in range(len(parts))]
    done = len(pairs) - len({pair for pair, _ in tasks})
    open_parts = {pair: len(parts) for pair, _ in tasks}
    heard = {pair: np.empty(len(y)) for pair in open_parts}
    whole: dict[Pair, tuple[Model, str]] = {}
    calls = [
        (key, x, y, *parts[key[1]], config, seed + 1000 * places.get(key[0], 0) + key[1], categorical) for key in tasks
    ]
    on_teacher("", done)
    for (pair, k), model, note, said in beside_each_other(_teach_part, calls, rows=len(y), jobs=config.jobs):
        if model is not None:
            whole[pair] = model, note
        heard[pair][parts[k][1]] = said
        open_parts[pair] -= 1
        if open_parts[pair] == 0:
            taught = pair, *whole[pair], heard[pair]
            _write(store, taught)
            found[pair] = taught
            done += 1
            on_teacher(f"{_short(pair[0])} {pair[1]}", done)
    return [taught for taught in found.values() if taught is not None]


Key = tuple[Pair, int]  # a teacher and its part: 0 = all rows, k = all but the k-th fold
Answer = tuple[Key, Model | None, str, Floats]  # the model of part 0 and its notes; else what is said of the fold


def _teach_part(
    key: Key,
    x: Floats,
    y: Labels,
    inside: NDArray[np.intp],
    outside: NDArray[np.intp],
    config: MultiTeacherConfig,
    seed: int,
    categorical: tuple[int, ...],
) -> Answer:
    """Resample the rows inside, teach one model on them, and hear what it says of those outside."""
    kind, resampler = key[0]
    inside = inside[thin(y[inside], config.normals, seed)]
    rows, labels = x[inside], y[inside]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        features = learn_features(rows, categorical)
        fold = resample(resampler, rows, labels, features, ratio=config.ratio, seed=seed, categorical=categorical)
        model = learn(kind, fold.x, fold.y, config, seed=seed, categorical=categorical)
    if outside.size:
        return key, None, "", model(x[outside])
    notes = [f"{fold.used} instead: {fold.reason}"] if fold.reason else []
    notes += dict.fromkeys(str(w.message).split("\n")[0] for w in said)
    return key, model, "; ".join(notes), x[:0, 0]


def _short(kind: str) -> str:
    """Return a kind's name without package and settings."""
    return parse_kind(kind)[0].rpartition(".")[2]


def _place(store: Path, pair: Pair) -> Path:
    """Return the file of a teacher."""
    kind, resampler = pair
    return store / f"{kind}-{resampler}.npz"


def _write(store: Path | None, taught: Taught) -> None:
    """Keep a finished teacher, whole or not at all."""
    pair, model, note, heard = taught
    saved = model.to_bytes() if store is not None else None
    if store is None or saved is None:
        return
    with new_file(_place(store, pair), overwrite=True) as partial, partial.open("wb") as handle:
        np.savez(handle, model=np.frombuffer(saved, dtype=np.uint8), heard=heard, note=note)


def _read(store: Path | None, pair: Pair) -> Taught | None:
    """Return a teacher that an earlier run finished."""
    if store is None or pair[0] not in OWN_KINDS or not _place(store, pair).exists():
        return None
    with np.load(_place(store, pair), allow_pickle=False) as saved:
        return pair, restore(pair[0], saved["model"].tobytes()), str(saved["note"]), saved["heard"]
