"""A committee of detectors for tables without labels, distilled into one small student that ranks the same way.

Each detector has its own view of what is strange; their scores are put on one footing by rank, and averaged. The
student learns that average on the rows, on rows made by swapping values, and on rows far out, all scored by the live
detectors. It is compared with them on rows that neither has seen, and grows where it does not follow.

Zhao et al., "SUOD", MLSys 2021 (a regressor in the place of a slow detector); Pol et al., arXiv 2310.06047 (a small
network that says an autoencoder's score); the rest is put together here.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from limbeck.contracts import Artefact, Distiller, Items, OnStep, Step, ignore
from limbeck.errors import InputError, LimbeckWarning
from limbeck.fidelity import ranks, spearman, top_overlap
from limbeck.network import Features, Network, float32_tolerance
from limbeck.spec import for_tables
from limbeck.tabular.augment import far_rows, swap_rows
from limbeck.tabular.config import STUDENTS, CommitteeConfig
from limbeck.tabular.encode import learn_features
from limbeck.tabular.outliers import Outliers, learn_outliers
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

__all__ = ["Committee", "DistilledCommittee", "Member", "NormalScores", "OutlierCommittee", "distil_committee"]

METHOD = "committee"
FEWEST_ROWS = 20  # to learn from: below this there are no neighbours to speak of
ENOUGH_ROWS = 1000  # from here on a student that does not follow is refused; below it is a matter of chance
TOP = 0.99  # quantile that says how wide the upper tail of a score is
Floats = NDArray[np.float64]


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


@final
@dataclass(frozen=True)
class Member:
    """A detector of the committee."""

    name: str
    detector: Outliers
    footing: NormalScores
    weight: float  # those of all members sum to 1; 0 = not heard
    agreement: float  # rank correlation with the mean of the others, on the rows learned from


@final
@dataclass(frozen=True)
class Committee:
    """Detectors that have learned, and what they are heard with."""

    features: Features
    members: tuple[Member, ...]

    def __call__(self, x: Floats) -> Floats:
        """Return scores (n,), in standard deviations of a normal distribution, of raw rows, float64 (n, d)."""
        z = self.features(x).astype(np.float64)
        heard = [m for m in self.members if m.weight]
        return np.asarray(sum(m.weight * m.footing(m.detector(z)) for m in heard))


def learn_committee(
    x: Floats, config: CommitteeConfig, *, seed: int, categorical: tuple[int, ...] = (), on_step: OnStep = ignore
) -> tuple[Committee, Floats]:
    """Teach the committee.

    Parameters
    ----------
    x : ndarray of float64, shape (n, d)
        Raw rows (missing = NaN).
    config : CommitteeConfig
        Every knob.
    seed : int
        Of everything random.
    categorical : tuple of int
        Places of the columns that hold codes.
    on_step : callable
        Called after each detector.

    Returns
    -------
    committee : Committee
        For any rows.
    own : ndarray of float64, shape (n,)
        Its scores of the rows that it learned from, none of which speaks for itself.

    Raises
    ------
    InputError
        If no column varies.
    """
    features = learn_features(x, categorical)
    if features.width == 0:
        raise InputError("no column varies", expected="a column with two different values", got="0 features")
    z = features(x).astype(np.float64)
    learned, said = [], []
    for i, kind in enumerate(config.teachers):
        detector, own = learn_outliers(kind, z, config, seed=seed)
        footing = NormalScores.learn(own)
        learned.append((kind, detector, footing))
        said.append(footing(own))
        on_step(Step("teachers", i + 1, len(config.teachers)))
    scores = np.stack(said)
    weights, agreement = _weights(scores, config.weights)
    members = tuple(Member(*parts, float(w), float(a)) for parts, w, a in zip(learned, weights, agreement, strict=True))
    return Committee(features, members), weights @ scores


def _weights(scores: Floats, how: str) -> tuple[Floats, Floats]:
    """Return the weight of each detector, and its rank correlation with the mean of the others that are heard.

    The one that ranks most against the others is taken out first, then all are asked again.
    """
    heard = np.ones(len(scores), bool)
    while True:
        agreement = np.array([_agreement(scores, heard, k) for k in range(len(scores))])
        worst = int(np.argmin(np.where(heard, agreement, np.inf)))
        if agreement[worst] >= 0 or heard.sum() <= 2:  # of two that contradict each other nobody knows which errs
            break
        heard[worst] = False
    weight = heard * (np.maximum(agreement, 1e-3) if how == "agreement" else 1.0)
    return weight / weight.sum(), agreement


def _agreement(scores: Floats, heard: NDArray[np.bool_], k: int) -> float:
    others = heard.copy()
    others[k] = False
    return spearman(scores[k], scores[others].mean(0)) if others.any() else 1.0


@dataclass(frozen=True)
class DistilledCommittee:
    """What `distil_committee` leaves behind."""

    network: Network
    committee: Committee
    size: str  # of the student: a name of `STUDENTS`
    fidelity: dict[str, Any]  # on rows held out: n, spearman, top_overlap
    curves: dict[str, list[float]]  # loss, by size
    notes: list[str]


def distil_committee(
    x: Floats,
    config: CommitteeConfig,
    *,
    seed: int,
    categorical: tuple[int, ...] = (),
    on_step: OnStep = ignore,
) -> DistilledCommittee:
    """Teach a committee, and a student of it.

    Parameters
    ----------
    x : ndarray of float64, shape (n, d)
        Raw rows (missing = NaN); some may be anomalous.
    config : CommitteeConfig
        Every knob.
    seed : int
        Of everything random.
    categorical : tuple of int
        Places of the columns that hold codes.
    on_step : callable
        Called with a `Step` as the work goes on.

    Returns
    -------
    DistilledCommittee
        The student, and how closely it follows.

    Raises
    ------
    InputError
        If there are fewer than 20 rows, no column varies, or no student follows the committee.
    """
    if len(x) < FEWEST_ROWS:
        raise InputError(
            "too few rows to learn from", expected=f"at least {FEWEST_ROWS}", got=str(len(x)), fix="give more rows"
        )
    order = np.random.default_rng((seed, 17)).permutation(len(x))
    held = np.sort(order[: max(2, round(config.validation * len(x)))])
    real = np.delete(x, held, axis=0)
    committee, own = learn_committee(real, config, seed=seed, categorical=categorical, on_step=on_step)
    lessons = _lessons(real, committee, own, config, seed)
    teacher, names = committee(x[held]), list(STUDENTS)
    sizes = names[names.index(config.student) :]
    curves: dict[str, list[float]] = {}
    tried: list[tuple[float, str, Network]] = []
    for size in sizes:
        network, curves[size] = _taught(lessons, committee.features, STUDENTS[size], config, seed)
        on_step(Step("students", len(curves), len(sizes)))
        tried.append((spearman(teacher, network(x[held])), size, network))
        if tried[-1][0] >= config.fidelity:
            break
    following, size, network = max(tried, key=lambda t: t[0])
    _require_following(following, config.fidelity, len(held), len(x))
    overlap = top_overlap(teacher, network(x[held]))
    notes = [
        f"the detector {m.name!r} ranks against the others ({m.agreement:.2f}) and is not heard"
        for m in committee.members
        if not m.weight
    ]
    notes.append(
        f"on {len(held):,} rows held out the student ranks as the committee does: rank correlation {following:.3f}, "
        f"{overlap:.0%} of the strangest rows the same"
    )
    fidelity = {"n": len(held), "spearman": following, "top_overlap": overlap}
    return DistilledCommittee(network, committee, size, fidelity, curves, notes)


def _lessons(real: Floats, committee: Committee, own: Floats, config: CommitteeConfig, seed: int) -> Lessons:
    """Return what the student is told: real rows, swapped ones and far ones, each with the committee's score."""
    n, features = len(real), committee.features
    swapped, far = (
        0 if not share else int(min(max(share * n, config.fewest), config.most)) for share in (config.swap, config.far)
    )
    made, _ = swap_rows(real, np.zeros(n, np.int8), swapped, share=config.swap_share, anomalous=0.0, seed=seed)
    beyond = far_rows(real, features.number, features.scale, far if features.number.size else 0, seed=seed)
    rows = np.concatenate([made, beyond])
    soft = np.concatenate([own, committee(rows) if len(rows) else np.empty(0)]).astype(np.float32)
    inputs = np.concatenate([features(real), features(rows)])
    critical = np.argsort(-own, kind="stable")[: round(config.critical * n)]
    every = np.ones(len(soft), np.float32)
    return Lessons(inputs, soft, np.zeros_like(soft), every, critical)


def _taught(
    lessons: Lessons, features: Features, hidden: tuple[int, ...], config: CommitteeConfig, seed: int
) -> tuple[Network, list[float]]:
    """Teach a student of one size."""
    rows = len(lessons.x)
    batch = config.batch or (LARGE_BATCH if rows > MANY_LESSONS else SMALL_BATCH)
    weights, biases, curve = train_student(
        lessons,
        hidden,
        steps=min(config.steps, max(FEWEST_STEPS, math.ceil(PASSES * rows / batch))),
        batch=batch,
        rate=config.student_rate,
        temperature=1.0,
        soft_loss="huber",
        attention=config.attention,
        seed=seed,
    )
    return Network(features, weights, biases), curve


def _require_following(following: float, wanted: float, held: int, rows: int) -> None:
    """Refuse a student that does not rank as its committee does, where there are rows enough to know."""
    if following >= wanted:
        return
    message = "the student does not rank rows as the committee does"
    if rows >= ENOUGH_ROWS:
        raise InputError(
            message,
            expected=f"a rank correlation of at least {wanted:g} on {held:,} rows held out",
            got=f"{following:.3f}",
            fix="more steps (steps), fewer detectors (teachers), more rows; or take it as it is (fidelity=-1)",
        )
    warnings.warn(f"{message}: {following:.2f} on {held} rows held out", LimbeckWarning, stacklevel=4)


@final
class OutlierCommittee(Distiller):
    """`committee`: rows without labels in, an artefact out.

    Parameters
    ----------
    config : CommitteeConfig
        Every knob.
    """

    def __init__(self, config: CommitteeConfig) -> None:
        self.config = config

    def fit(self, items: Items, *, seed: int, workdir: Path, on_step: OnStep = ignore) -> Artefact:
        """Learn from rows; see `Distiller.fit`."""
        x = np.concatenate([b.x for b in items.batches(1 << 16)])
        categorical = for_tables(items.spec).categorical
        distilled = distil_committee(x, self.config, seed=seed, categorical=categorical, on_step=on_step)
        on_step(Step("exporting", 0, 1))
        graph, difference = export(distilled.network, x, METHOD)
        on_step(Step("exporting", 1, 1))
        training = {
            "chosen": distilled.size,
            "curves": distilled.curves,
            "fidelity": distilled.fidelity,
            "members": [
                {"name": m.name, "weight": m.weight, "agreement": m.agreement} for m in distilled.committee.members
            ],
            "notes": distilled.notes,
            "parity": {"largest": difference, "tolerance": float32_tolerance(distilled.network.features.width)},
        }
        return Artefact(dict(distilled.network.tensors()), graph, items.spec, METHOD, asdict(self.config), training)
