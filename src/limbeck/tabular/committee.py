"""A committee of detectors for tables without labels, distilled into one small student that ranks the same way.

Each detector has its own view of what is strange; their scores are put on one footing by rank, and those that find a
row strangest are averaged. The student learns that on the rows, on rows made by swapping values, and on rows far out,
all scored by the live detectors. It is compared with them on rows that neither has seen, and grows where it does not
follow.

Aggarwal and Sathe, "Theoretical foundations and algorithms for outlier ensembles", 2015 (averages of maxima); Zhao et
al., "SUOD", MLSys 2021 (a regressor in the place of a slow detector); Pol et al., arXiv 2310.06047 (a small
network that says an autoencoder's score); the rest is put together here.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from limbeck.contracts import Artefact, Distiller, Items, OnStep, Step, ignore
from limbeck.errors import InputError, LimbeckWarning
from limbeck.fidelity import spearman
from limbeck.network import Features
from limbeck.spec import for_tables
from limbeck.tabular.augment import far_rows
from limbeck.tabular.comparison import compare, costs, pickled_bytes
from limbeck.tabular.config import CommitteeConfig
from limbeck.tabular.encode import learn_features
from limbeck.tabular.follow import FEWEST_ROWS, Follower, NormalScores, artefact_of, follow, hold_out
from limbeck.tabular.outliers import Outliers, learn_outliers
from limbeck.tabular.teacher_of import BACKWARDS, PROBES, sense_of

__all__ = ["Committee", "DistilledCommittee", "Member", "OutlierCommittee", "distil_committee", "learn_committee"]

METHOD = "committee"
WHO = "the committee"
CLOSE = 0.1  # rank correlation with the student that costs a detector a factor e of its weight
HARDLY = 0.1  # mean rank correlation with the others below which a committee hardly agrees
Floats = NDArray[np.float64]


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
    silent: Mapping[str, str]  # detectors of no use, which are no members, and why
    how: str = "mean"  # what is made of their voices: the configuration's `weights`

    def __call__(self, x: Floats) -> Floats:
        """Return scores (n,), in standard deviations of a normal distribution, of raw rows, float64 (n, d)."""
        return self.combine(self.voices(x))

    def voices(self, x: Floats) -> Floats:
        """Return what each member that is heard says of raw rows, (k, n), before it is weighed."""
        z = self.features(x).astype(np.float64)
        return np.stack([m.footing(m.detector(z)) for m in self.members if m.weight])

    def combine(self, voices: Floats) -> Floats:
        """Return the weighted mean, (n,), of voices, (k, n), or of the higher half of each row's."""
        if self.how == "strangest":
            return np.asarray(np.sort(voices, axis=0)[-(len(voices) // 2 + 1) :].mean(0))
        weight = np.array([m.weight for m in self.members if m.weight])[:, None]
        if self.how == "rows":
            weight = weight * np.exp(-np.abs(voices - np.median(voices, axis=0)))
        return np.asarray((weight * voices).sum(0) / weight.sum(0))

    @property
    def agreement(self) -> float:
        """Mean rank correlation of each that is heard with the others; 1 where there is only one."""
        return float(np.mean([m.agreement for m in self.members if m.weight]))

    @property
    def notes(self) -> list[str]:
        """Who is not heard and why, and whether the others agree."""
        notes = [f"the detector {name!r} {why} and is not heard" for name, why in self.silent.items()]
        notes += [
            f"the detector {m.name!r} ranks against the others ({m.agreement:.2f}) and is not heard"
            for m in self.members
            if not m.weight
        ]
        return notes + ([_hardly(self.agreement)] if self.agreement < HARDLY else [])


def _hardly(agreement: float) -> str:
    return (
        f"the detectors hardly agree (mean rank correlation with the others {agreement:.2f}): what they say "
        "together is to be taken with care"
    )


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
    own : ndarray of float64, shape (k, n)
        What each member that is heard says of the rows that it learned from, none of which speaks for itself.

    Raises
    ------
    InputError
        If no column varies, or no detector can be heard.

    Warns
    -----
    LimbeckWarning
        If the detectors hardly agree.
    """
    features = learn_features(x, categorical)
    if features.width == 0:
        raise InputError("no column varies", expected="a column with two different values", got="0 features")
    z = features(x).astype(np.float64)
    probes, _ = far_rows(x, features.number, features.scale, PROBES if features.number.size else 0, seed=seed)
    far = features(probes).astype(np.float64)
    learned, said, silent = [], [], {}
    for i, kind in enumerate(config.teachers):
        detector, own = learn_outliers(kind, z, config, seed=seed)
        if why := _fault(detector, own, far):
            silent[kind] = why
        else:
            footing = NormalScores.learn(own)
            learned.append((kind, detector, footing))
            said.append(footing(own))
        on_step(Step("teachers", i + 1, len(config.teachers)))
    if not learned:
        raise InputError(
            "no detector of the committee can be heard",
            expected="finite scores that differ, higher where rows are stranger",
            got="; ".join(f"{name!r} {why}" for name, why in silent.items()),
            fix="other detectors (teachers)",
        )
    scores = np.stack(said)
    weights, agreement = _weights(scores, config.weights)
    members = tuple(Member(*parts, float(w), float(a)) for parts, w, a in zip(learned, weights, agreement, strict=True))
    committee = Committee(features, members, silent, config.weights)
    if committee.agreement < HARDLY:
        warnings.warn(_hardly(committee.agreement), LimbeckWarning, stacklevel=2)
    return committee, scores[weights > 0]


def _fault(detector: Outliers, own: Floats, far: Floats) -> str:
    """Return why a detector is of no use, if it is: from its scores of the rows, and of network inputs far out."""
    beyond = detector(far) if len(far) else np.empty(0)
    if not (np.isfinite(own).all() and np.isfinite(beyond).all()):
        return "says something else than numbers"
    if np.ptp(own) == 0:
        return "says the same of every row"
    if len(far) and (sense := sense_of(own, beyond)) < BACKWARDS:
        return f"holds rows far out for more normal than real ones (higher in {sense:.0%} of pairs)"
    return ""


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


@final
class Attentive:
    """A committee that hears most whom its student follows most closely.

    It is asked about the rows that are made for the student first, and remembers what each member says of them.

    Parameters
    ----------
    committee : Committee
        As it weighs before there is a student.
    own : ndarray of float64, shape (k, n)
        What each member that is heard says of the rows learned from.

    Attributes
    ----------
    committee : Committee
        As it weighs now.
    """

    def __init__(self, committee: Committee, own: Floats) -> None:
        self.committee, self.own = committee, own
        self.lessons: Floats | None = None

    def __call__(self, x: Floats) -> Floats:
        """Return scores (n,) of raw rows, float64 (n, d), as the committee weighs now."""
        voices = self.committee.voices(x)
        if self.lessons is None:
            self.lessons = np.concatenate([self.own, voices], axis=1)
        return self.committee.combine(voices)

    def retell(self, student: NDArray[np.float32]) -> NDArray[np.float32]:
        """Weigh anew by the student's scores of all lessons, (m,), and return the committee's, (m,)."""
        lessons = self.own if self.lessons is None else self.lessons
        n = self.own.shape[1]
        close = np.array([spearman(voice[:n], student[:n]) for voice in lessons])
        weight = np.exp((close - close.max()) / CLOSE)
        new = iter((weight / weight.sum()).tolist())
        members = tuple(replace(m, weight=next(new)) if m.weight else m for m in self.committee.members)
        self.committee = replace(self.committee, members=members)
        return self.committee.combine(lessons).astype(np.float32)


@dataclass(frozen=True)
class DistilledCommittee:
    """What `distil_committee` leaves behind."""

    committee: Committee
    follower: Follower
    held: NDArray[np.bool_]  # (n,) rows that neither has learned from
    said: Floats  # (n,) the committee's scores of the rows; of those that it learned from, none speaks for itself
    notes: list[str]


def distil_committee(
    x: Floats,
    config: CommitteeConfig,
    *,
    seed: int,
    categorical: tuple[int, ...] = (),
    fewest: int = FEWEST_ROWS,
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
    fewest : int
        Rows below which it is refused, at least 5.
    on_step : callable
        Called with a `Step` as the work goes on.

    Returns
    -------
    DistilledCommittee
        The student, and how closely it follows.

    Raises
    ------
    InputError
        If there are too few rows, no column varies, no detector can be heard, or no student follows the committee.
    """
    held = hold_out(len(x), config, seed, fewest)
    committee, own = learn_committee(x[~held], config, seed=seed, categorical=categorical, on_step=on_step)
    said = np.empty(len(x))
    said[~held], said[held] = committee.combine(own), committee(x[held])
    teacher = Attentive(committee, own)
    follower = follow(
        x, said, held, teacher, committee.features, config, seed=seed, name=WHO, on_step=on_step,
        retell=teacher.retell if config.weights == "student" else None,
    )  # fmt: skip
    committee = teacher.committee
    said[~held] = committee.combine(own)
    return DistilledCommittee(committee, follower, held, said, [*committee.notes, follower.note])


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
        batches, spec = list(items.batches(1 << 16)), for_tables(items.spec)
        x, id = np.concatenate([b.x for b in batches]), [i for b in batches for i in b.id]
        distilled = distil_committee(x, self.config, seed=seed, categorical=spec.categorical, on_step=on_step)
        committee, follower, places = distilled.committee, distilled.follower, np.flatnonzero(distilled.held)
        training = {
            "members": _said_of_members(committee, follower, x[places]),
            "comparison": compare(
                x[places], distilled.said[places], follower.network, name=WHO, spec=spec, id=[id[i] for i in places],
                shown=self.config.shown,
            ),
            "costs": costs(x[places], follower.network, committee, pickled_bytes(committee)),
            "notes": distilled.notes,
        }  # fmt: skip
        return artefact_of(follower, x, items.spec, METHOD, asdict(self.config), training, on_step)


def _said_of_members(committee: Committee, follower: Follower, x: Floats) -> list[dict[str, Any]]:
    """Return what each detector is heard with, and how the student ranks beside it on rows held out, (n, d)."""
    z, student = committee.features(x).astype(np.float64), follower.network(x)
    return [
        {"name": m.name, "weight": m.weight, "agreement": m.agreement, "student": spearman(m.detector(z), student)}
        for m in committee.members
    ]
