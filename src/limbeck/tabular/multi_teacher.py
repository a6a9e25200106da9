"""Multi-teacher distillation for tables with labels.

Many teachers, each taught on differently resampled data, say what they think of rows that they never saw; their
calibrated mean and the labels teach one small student. Four others are always taught beside it on the same footing: by
one teacher with and without synthetic rows, by nobody (the control: same student, same rows, no teacher), and by the
labels alone. What a distilled one gains over the last two is distillation's, and nothing else is. The simplest that is
as good as the best is shipped.

A reconstruction inspired by MTKD (Neural Networks, October 2025), of which only the abstract is public; the parts are
those of its published relatives, cited where they stand.
"""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from limbeck.calibrate import Affine, fit_affine, sigmoid
from limbeck.contracts import Artefact, Distiller, Items, OnStep, Step, ignore
from limbeck.errors import InputError, LimbeckWarning
from limbeck.network import Network, float32_tolerance
from limbeck.spec import for_tables
from limbeck.tabular.candidates import choose, measure, together, verdict
from limbeck.tabular.config import ROLES, MultiTeacherConfig
from limbeck.tabular.kinds import check_kind
from limbeck.tabular.rounds import Progress, Round
from limbeck.tabular.student import export
from limbeck.tabular.teachers import Committee, pairs_of

__all__ = ["Distilled", "MultiTeacher", "MultiTeacherClassifier", "distil"]

Floats = NDArray[np.float64]
Labels = NDArray[np.int8]
ENOUGH_ANOMALIES, MOST_MEASUREMENTS = 40, 4  # seen in validation, and how often rows are held out to that end
FEWEST = 3  # rows of each label: one to validate on, two to be taught in turn


@dataclass(frozen=True)
class Distilled:
    """What `distil` leaves behind."""

    network: Network
    chosen: str  # its role
    candidates: list[dict[str, Any]]  # one row a model: role, name, metrics on rows that none of them saw
    curves: dict[str, list[float]]  # loss of each student
    notes: list[str]  # what was done otherwise than asked, and what the table says
    students: dict[str, Network]  # by role, as measured: before calibration, and before the shipped one is taught again
    committee: Committee  # as measured
    taught_again: bool  # the shipped one, on the validation rows too
    teachers: Committee | None  # its teachers then, on all rows; None where it had none or was not taught again


def distil(
    x: Floats,
    y: Labels,
    config: MultiTeacherConfig,
    *,
    seed: int,
    categorical: tuple[int, ...] = (),
    store: Path | None = None,
    on_step: OnStep = ignore,
) -> Distilled:
    """Teach the committee and its students, measure them on rows kept apart, and return the one that is shipped.

    Parameters
    ----------
    x, y : ndarray, shape (n, d) and (n,)
        Raw rows (missing = NaN) and their 0 | 1 labels.
    config : MultiTeacherConfig
        Every knob.
    seed : int
        Of everything random.
    categorical : tuple of int
        Places of the columns that hold codes.
    store : Path, optional
        A folder for finished teachers, from which a later run resumes.
    on_step : callable
        Called with a `Step` as the work goes on.

    Returns
    -------
    Distilled
        The student, and the table of everything that it was measured against.

    Raises
    ------
    InputError
        If there are fewer than 3 rows of a label, or no column varies.
    ConfigError
        If a kind of teacher cannot be made.
    """
    for value, word in ((1, "anomalous"), (0, "normal")):
        if (y == value).sum() < FEWEST:
            raise InputError(
                f"too few {word} rows",
                expected=f"at least {FEWEST} of each class",
                got=f"{(y == value).sum()} of {len(y)}",
                fix="give more labelled rows",
            )
    for kind in config.teachers:
        check_kind(kind)
    turns = _measurements(y, config)
    again = int(y.sum()) < config.refit_below
    progress = Progress(on_step, config, turns, again)
    measured = [_measured(x, y, config, seed, turn, categorical, store, progress) for turn in range(turns)]
    first = measured[0]
    candidates = together([m.candidates for m in measured])
    chosen, reason = config.choice, ""
    if chosen == "auto":
        chosen, reason = choose([(m.scores, m.label) for m in measured], seed=seed)
    for row in candidates:
        row["shipped"] = row["role"] == chosen
    notes = first.round.notes + verdict(candidates, chosen) + ([reason] if reason else [])
    network, teachers = first.students[chosen], None
    if again:
        last = Round(x, y, config, seed, categorical, progress)
        wanted = first.round.heard_by(chosen)
        progress.last_round(len(wanted))
        if wanted:
            teachers = last.teach(wanted, _folder(store, "final"))
        network = last.students([chosen])[chosen]
    return Distilled(
        _fold_in(network, first.scores[chosen], first.label),
        chosen,
        candidates,
        first.round.curves,
        notes,
        first.students,
        first.committee,
        again,
        teachers,
    )


def _measurements(y: Labels, config: MultiTeacherConfig) -> int:
    """Return how often to measure the candidates: one measurement on a handful of anomalies tells nothing."""
    possible = int(1 / config.validation + 1e-9)
    if config.measurements:
        return min(config.measurements, possible)
    anomalies = max(1, round(config.validation * int((y == 1).sum())))
    return min(math.ceil(ENOUGH_ANOMALIES / anomalies), MOST_MEASUREMENTS, possible)


@dataclass(frozen=True)
class _Measured:
    """One measurement: a round of teaching, and what its students are worth on the rows that it did not see."""

    round: Round
    committee: Committee
    students: dict[str, Network]
    candidates: list[dict[str, Any]]
    scores: dict[str, Floats]  # of the validation rows, by role
    label: Labels


def _measured(
    x: Floats,
    y: Labels,
    config: MultiTeacherConfig,
    seed: int,
    turn: int,
    categorical: tuple[int, ...],
    store: Path | None,
    progress: Progress,
) -> _Measured:
    """Teach on all rows but some, and measure on those."""
    outside = _held_out(y, config.validation, seed, turn)
    taught = Round(x[~outside], y[~outside], config, seed, categorical, progress)
    committee = taught.teach(pairs_of(config), _folder(store, f"measured-{turn}"))
    students = taught.students(ROLES)
    scores = {role: network(x[outside]).astype(np.float64) for role, network in students.items()}
    candidates = measure(students, committee, x[outside], y[outside])
    return _Measured(taught, committee, students, candidates, scores, y[outside])


def _folder(store: Path | None, name: str) -> Path | None:
    if store is None:
        return None
    (store / name).mkdir(parents=True, exist_ok=True)
    return store / name


def _held_out(y: Labels, part: float, seed: int, turn: int = 0) -> NDArray[np.bool_]:
    """Choose validation rows: the same share of each class, at least one, leaving at least two; others each turn."""
    rng = np.random.default_rng(seed)
    outside = np.zeros(len(y), dtype=bool)
    for value in (0, 1):
        rows = np.flatnonzero(y == value)
        count = min(len(rows) - 2, max(1, round(part * len(rows))))
        outside[np.roll(rng.permutation(rows), -turn * count)[:count]] = True
    return outside


def _fold_in(network: Network, score: Floats, y: Labels) -> Network:
    """Put the calibration into the last layer, so that the raw score is a log-odds.

    The student was taught calibrated log-odds, so the line's prior is "no change".
    """
    line = fit_affine(score, y, spread=1.0)
    if line.slope <= 0:
        warnings.warn(
            "the student is no better than chance on the validation rows: check the labels, the columns may say "
            "nothing about them",
            LimbeckWarning,
            stacklevel=3,
        )
        line = Affine()
    w, b = network.weights[-1] * np.float32(line.slope), network.biases[-1] * np.float32(line.slope)
    return Network(network.features, (*network.weights[:-1], w), (*network.biases[:-1], b + np.float32(line.intercept)))


@final
class MultiTeacherClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Distils a committee of resampled teachers into one small calibrated student.

    Fails where there are fewer than three rows of a class, or where the columns say nothing about the labels. Text
    columns belong to `limbeck.fit`, which encodes them; here a category is its code.

    Parameters
    ----------
    config : MultiTeacherConfig, optional
        Every knob; None = the defaults.
    categorical_features : tuple of int
        Places of the columns that hold category codes (0, 1, 2, ...; missing = NaN).
    random_state : int
        Seed of everything random.

    Attributes
    ----------
    classes_ : ndarray, shape (2,)
        The labels, sorted; the second is the anomaly.
    network_ : Network
        The student, in numpy.
    candidates_ : list of dict
        The student beside the control, the plain student, the committee and each teacher.
    n_features_in_ : int
        Number of columns (d).

    References
    ----------
    Dao et al., "Knowledge distillation as semiparametric inference", ICLR 2021. Hinton et al., arXiv 1503.02531.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> X, y = make_classification(600, 5, weights=[0.9], random_state=0)
    >>> config = MultiTeacherConfig(resamplers=("none",), folds=2, trees=20, steps=200, refit_below=0, measurements=1)
    >>> model = MultiTeacherClassifier(config).fit(X, y)
    >>> model.predict_proba(X).shape
    (600, 2)
    """

    def __init__(
        self,
        config: MultiTeacherConfig | None = None,
        *,
        categorical_features: tuple[int, ...] = (),
        random_state: int = 0,
    ) -> None:
        self.config = config
        self.categorical_features = categorical_features
        self.random_state = random_state

    def __sklearn_tags__(self) -> Tags:
        """Say what scikit-learn's checks may ask: two classes, missing values allowed."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.input_tags.allow_nan = True
        return tags

    def fit(self, X: ArrayLike, y: ArrayLike) -> MultiTeacherClassifier:
        """Learn from rows and labels.

        Parameters
        ----------
        X : array-like, shape (n, d)
            Numbers; missing = NaN.
        y : array-like, shape (n,)
            Two classes; the second in sorted order is the anomaly.

        Returns
        -------
        MultiTeacherClassifier
            Itself.

        Raises
        ------
        ValueError
            If shapes, values or classes do not fit (`InputError` where the data are too few).
        """
        x, y = validate_data(self, X, y, dtype=np.float64, ensure_all_finite="allow-nan")
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) != 2:
            raise ValueError(
                "Only binary classification is supported. The target has "
                f"{len(self.classes_)} {'class' if len(self.classes_) == 1 else 'classes'}."
            )
        distilled = distil(
            x,
            codes.astype(np.int8),
            self.config or MultiTeacherConfig(),
            seed=self.random_state,
            categorical=tuple(self.categorical_features),
        )
        self.network_ = distilled.network
        self.candidates_ = distilled.candidates
        return self

    def decision_function(self, X: ArrayLike) -> Floats:
        """Return the log-odds of an anomaly, shape (n,), of rows, shape (n, d)."""
        check_is_fitted(self)
        x = validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan", reset=False)
        return self.network_(x).astype(np.float64)

    def predict_proba(self, X: ArrayLike) -> Floats:
        """Return the probability of each class, shape (n, 2), of rows, shape (n, d)."""
        anomalous = sigmoid(self.decision_function(X))
        return np.column_stack([1 - anomalous, anomalous])

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the more probable class, shape (n,), of rows, shape (n, d)."""
        decision = self.decision_function(X)
        return np.asarray(self.classes_[(decision > 0).astype(int)])


@final
class MultiTeacher(Distiller):
    """`multi-teacher`: labelled rows in, an artefact out.

    Parameters
    ----------
    config : MultiTeacherConfig
        Every knob.
    """

    def __init__(self, config: MultiTeacherConfig) -> None:
        self.config = config

    def fit(self, items: Items, *, seed: int, workdir: Path, on_step: OnStep = ignore) -> Artefact:
        """Learn from labelled rows; see `Distiller.fit`."""
        batches = list(items.batches(1 << 16))
        x = np.concatenate([b.x for b in batches])
        y = np.concatenate([b.label for b in batches])
        store = workdir / _key(items, self.config, seed)
        store.mkdir(exist_ok=True)
        distilled = distil(
            x, y, self.config, seed=seed, categorical=for_tables(items.spec).categorical, store=store, on_step=on_step
        )
        on_step(Step("exporting", 0, 1))
        graph, difference = export(distilled.network, x, "multi-teacher")
        on_step(Step("exporting", 1, 1))
        training = {
            "candidates": distilled.candidates,
            "chosen": distilled.chosen,
            "taught_again": distilled.taught_again,
            "curves": distilled.curves,
            "notes": distilled.notes,
            "parity": {"largest": difference, "tolerance": float32_tolerance(distilled.network.features.width)},
        }
        return Artefact(
            dict(distilled.network.tensors()), graph, items.spec, "multi-teacher", asdict(self.config), training
        )


def _key(items: Items, config: MultiTeacherConfig, seed: int) -> str:
    """Name a run by everything that decides its teachers."""
    facts = json.dumps([asdict(config), seed, items.fingerprint()], sort_keys=True)
    return hashlib.sha256(facts.encode()).hexdigest()[:16]
