"""A student that ranks rows as its teacher does: what it is told, how large it gets, and when it is refused.

Whatever the teacher is, its score is a number of unknown scale. Here it is a normal score already (`NormalScores`); the
student learns it on real rows, on rows with swapped values and on rows far out, and is held to it on rows that neither
has seen.

Zhao et al., "SUOD", MLSys 2021 (a regressor in the place of a slow detector); Pol et al., arXiv 2310.06047 (a small
network that says an autoencoder's score); Vincent et al., ICML 2008 (rows with some values swapped).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from limbeck.contracts import Artefact, OnStep, Step
from limbeck.errors import InputError, LimbeckWarning
from limbeck.fidelity import ranks, spearman, top_overlap
from limbeck.network import Features, Network, float32_tolerance
from limbeck.spec import InputSpec
from limbeck.tabular.augment import far_rows, swap_rows
from limbeck.tabular.config import STUDENTS, FollowerConfig
from limbeck.tabular.student import (
    FEWEST_STEPS,
    LARGE_BATCH,
    MANY_LESSONS,
    PASSES,
    SMALL_BATCH,
    Lessons,
    export,
    train_student,
)
from limbeck.tabular.teacher_of import Teacher

__all__ = ["FEWEST_ROWS", "Follower", "NormalScores", "artefact_of", "follow", "hold_out", "remember"]

Floats = NDArray[np.float64]
Retell = Callable[[NDArray[np.float32]], NDArray[np.float32]]
FEWEST_ROWS = 20  # to learn from: below this there are no neighbours to speak of
ENOUGH_ROWS = 1000  # from here on a student that does not follow is refused; below it is a matter of chance
REMEMBERED = 2000  # most rows of before that are learned beside newer ones
TOP = 0.99  # quantile that says how wide the upper tail of a score is


@final
@dataclass(frozen=True)
class NormalScores:
    """Puts a score on one footing with others: the rank among what was learned from, as that of a standard normal.

    Attributes
    ----------
    value : ndarray of float64, shape (u,)
        The different scores, ascending.
    normal : ndarray of float64, shape (u,)
        What each becomes.
    width : float
        Distance from the highest score after which one unit is added, then ever less: by its logarithm.
    """

    value: Floats
    normal: Floats
    width: float

    @classmethod
    def learn(cls, score: Floats) -> NormalScores:
        """Learn from scores, shape (n,)."""
        value, first = np.unique(score, return_index=True)
        share = (ranks(score)[first] - 0.5) / len(score)
        normal = np.array([NormalDist().inv_cdf(u) for u in share.tolist()])
        width = float(np.quantile(score, TOP) - np.median(score)) or float(value[-1] - value[0]) or 1.0
        return cls(value, normal, width)

    def __call__(self, score: Floats) -> Floats:
        """Return normal scores, shape (n,); they go on growing above the highest score that was learned from."""
        beyond = np.maximum(score - self.value[-1], 0.0) / self.width
        return np.asarray(np.interp(score, self.value, self.normal) + np.log1p(beyond) / math.log(2.0))


@dataclass(frozen=True)
class Follower:
    """A student, and how closely it follows.

    Attributes
    ----------
    network : Network
        The student.
    size : str
        A name of `STUDENTS`.
    fidelity : dict
        On the rows held out: ``n``, ``spearman``, ``top_overlap``.
    curves : dict
        Loss, by size, and by how many times the steps it was taught for where it was taught again.
    chosen : str
        Which of the curves is its own.
    note : str
        The same in words.
    """

    network: Network
    size: str
    fidelity: dict[str, Any]
    curves: dict[str, list[float]]
    chosen: str
    note: str


def hold_out(n: int, config: FollowerConfig, seed: int, fewest: int = FEWEST_ROWS) -> NDArray[np.bool_]:
    """Choose the rows on which student and teacher are compared, (n,); refuses too few rows."""
    if n < fewest:
        raise InputError("too few rows to learn from", expected=f"at least {fewest}", got=str(n), fix="give more rows")
    held = np.zeros(n, bool)
    held[np.random.default_rng((seed, 17)).permutation(n)[: max(2, round(config.validation * n))]] = True
    return held


def remember(n: int, seed: int) -> NDArray[np.int64]:
    """Choose the rows of before, of n, that a student learns again beside newer ones."""
    return np.random.default_rng((seed, 23)).permutation(n)[:REMEMBERED]


def follow(
    x: Floats,
    said: Floats,
    held: NDArray[np.bool_],
    teacher: Teacher | None,
    features: Features,
    config: FollowerConfig,
    *,
    seed: int,
    name: str,
    on_step: OnStep,
    start: Network | None = None,
    retell: Retell | None = None,
) -> Follower:
    """Teach a student; where it does not follow, for longer, then larger ones.

    Parameters
    ----------
    x : ndarray of float64, shape (n, d)
        Raw rows.
    said : ndarray of float64, shape (n,)
        The teacher's normal score of each; a teacher that changes its mind is asked again about those held out.
    held : ndarray of bool, shape (n,)
        Rows that are not learned from.
    teacher : callable, or None
        Normal scores of any rows; None where it can no longer be asked: there are no swapped rows then, and a row far
        out is as strange as the strangest, and stranger the farther it is.
    features : Features
        Of the student.
    config : FollowerConfig
        Every knob.
    seed : int
        Of everything random.
    name : str
        What the teacher is called in messages.
    on_step : callable
        Called after each student.
    start : Network, optional
        A student that goes on learning, with these features; nothing else is tried.
    retell : callable, optional
        Of a teacher that changes its mind as the student learns: what it says of all lessons (m,), real rows first,
        then those that it was asked about, once it knows what the student says of them (m,).

    Returns
    -------
    Follower
        The first that follows, or the one that follows best.

    Raises
    ------
    InputError
        If none follows and there are a thousand rows to know it by.
    """
    lessons = _lessons(x[~held], said[~held], teacher, features, config, seed)
    attempts = _attempts(config) if start is None else [(_size_of(start), 1.0)]
    curves: dict[str, list[float]] = {}
    tried: list[tuple[float, float, str, str, Network]] = []
    if retell and config.target == "tempered":
        retell = _in_odds(retell, int((~held).sum()), config)
    for size, length in attempts:
        network, curve = _taught(lessons, features, STUDENTS[size], config, seed, length, start, retell)
        lesson = size if length == 1 else f"{size}, {length:g} times"
        curves[lesson] = curve
        on_step(Step("students", len(curves), len(attempts)))
        student = network(x[held])
        if retell and teacher:
            said[held] = teacher(x[held])
        tried.append((spearman(said[held], student), top_overlap(said[held], student), size, lesson, network))
        if tried[-1][0] >= config.fidelity and tried[-1][1] >= config.same_top:
            break
    following, overlap, size, chosen, network = max(tried, key=lambda t: t[:2])
    rows = round(held.sum() / config.validation)  # those that it was held to beside, without what is only remembered
    _require_following(following, config.fidelity, int(held.sum()), rows, name)
    note = (
        f"on {held.sum():,} rows held out the student agrees with {name}: rank correlation {following:.3f}, "
        f"{overlap:.0%} of the strangest rows the same"
    )
    fidelity = {"n": int(held.sum()), "spearman": following, "top_overlap": overlap}
    return Follower(network, size, fidelity, curves, chosen, note)


def _attempts(config: FollowerConfig) -> list[tuple[str, float]]:
    """Return what is tried, in turn: sizes, and how many times the steps each learns for."""
    sizes = list(STUDENTS)
    first, *larger = sizes[sizes.index(config.student) :]
    lengths = [1.0]
    while lengths[-1] < config.longer:
        lengths.append(min(2 * lengths[-1], config.longer))
    return [*((first, length) for length in lengths), *((size, config.longer) for size in larger)]


def _lessons(
    real: Floats, said: Floats, teacher: Teacher | None, features: Features, config: FollowerConfig, seed: int
) -> Lessons:
    """Return what the student is told: real rows, swapped ones and far ones, each with the teacher's score."""
    n = len(real)
    swapped = int(min(max(config.swap * n, config.fewest), config.most)) if config.swap and teacher else 0
    far = round(config.far * max(n + swapped, config.fewest)) if features.number.size else 0
    made = np.empty((0, real.shape[1]))
    if swapped:
        made, _ = swap_rows(real, np.zeros(n, np.int8), swapped, share=config.swap_share, anomalous=0.0, seed=seed)
    beyond, distance = far_rows(real, features.number, features.scale, far, seed=seed)
    made = np.concatenate([made, beyond])
    if teacher is None:
        heard = said.max() + np.log1p(distance) / math.log(2.0) - 2.0  # a row 3 spreads out is as strange as any
    else:
        heard = teacher(made) if len(made) else np.empty(0)
    soft = np.concatenate([said, heard]).astype(np.float32)
    inputs = np.concatenate([features(real), features(made)])
    critical = np.argsort(-said, kind="stable")[: round(config.critical * n)]
    if config.target == "ranks":
        return Lessons(inputs, soft, np.zeros_like(soft), np.ones_like(soft), critical)
    odds = _odds(soft, n, config)
    return Lessons(inputs, odds, (odds > 0).astype(np.float32), np.full_like(odds, config.soft), critical)


def _odds(said: NDArray[np.float32], real: int, config: FollowerConfig) -> NDArray[np.float32]:
    """Return log-odds of normal scores, even where the share of the real rows, the first, that is anomalous begins."""
    return said - np.float32(np.quantile(said[:real], 1 - config.anomalous))


def _in_odds(retell: Retell, real: int, config: FollowerConfig) -> Retell:
    """Return what says log-odds where another says normal scores."""
    return lambda student: _odds(retell(student), real, config)


def _size_of(network: Network) -> str:
    """Return the name of a student's size."""
    hidden = tuple(w.shape[1] for w in network.weights[:-1])
    return next(size for size, widths in STUDENTS.items() if widths == hidden)


def _taught(
    lessons: Lessons,
    features: Features,
    hidden: tuple[int, ...],
    config: FollowerConfig,
    seed: int,
    length: float,
    start: Network | None = None,
    retell: Retell | None = None,
) -> tuple[Network, list[float]]:
    """Teach a student of one size, for `length` times the steps."""
    rows = len(lessons.x)
    batch = config.batch or (LARGE_BATCH if rows > MANY_LESSONS else SMALL_BATCH)
    weights, biases, curve = train_student(
        lessons,
        hidden,
        steps=round(length * min(config.steps, max(FEWEST_STEPS, math.ceil(PASSES * rows / batch)))),
        batch=batch,
        rate=config.student_rate,
        temperature=config.temperature,
        soft_loss="huber" if config.target == "ranks" else "tempered",
        attention=config.attention,
        seed=seed,
        start=start,
        retell=retell,
    )
    return Network(features, weights, biases), curve


def _require_following(following: float, wanted: float, held: int, rows: int, teacher: str) -> None:
    """Refuse a student that does not rank as its teacher does, where there are rows enough to know."""
    if following >= wanted:
        return
    message = f"the student does not follow {teacher}"
    if rows >= ENOUGH_ROWS:
        raise InputError(
            message,
            expected=f"a rank correlation of at least {wanted:g} on {held:,} rows held out",
            got=f"{following:.3f}",
            fix="more steps (steps), more rows, another teacher; or take it as it is (fidelity=-1)",
        )
    warnings.warn(f"{message}: {following:.2f} on {held} rows held out", LimbeckWarning, stacklevel=5)


def artefact_of(
    follower: Follower,
    x: Floats,
    spec: InputSpec,
    method: str,
    config: dict[str, Any],
    training: dict[str, Any],
    on_step: OnStep,
) -> Artefact:
    """Return what a student leaves behind, its graph checked on rows, float64 (n, d)."""
    on_step(Step("exporting", 0, 1))
    graph, difference = export(follower.network, x, method)
    on_step(Step("exporting", 1, 1))
    tolerance = float32_tolerance(follower.network.features.width)
    facts = {
        "chosen": follower.chosen,
        "curves": follower.curves,
        "fidelity": follower.fidelity,
        "parity": {"largest": difference, "tolerance": tolerance},
    }
    return Artefact(dict(follower.network.tensors()), graph, spec, method, config, facts | training)
