"""The committee's student as an estimator, with PyOD's names and PyOD's sense: higher = more anomalous, 1 = anomaly.

The threshold is not part of what is learned: it is set, and set again, from p-values, from a share of the rows or from
what errors cost. A student can go on learning from newer rows.

Zhao et al., "PyOD: a Python toolbox for scalable outlier detection", JMLR 2019 (the names); Robins, "Catastrophic
forgetting, rehearsal and pseudorehearsal", Connection Science 1995 (old rows beside the new ones).
"""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from limbeck.calibrate import Calibrator, fit_affine, set_aside
from limbeck.contracts import ignore
from limbeck.errors import ConfigError, InputError, LimbeckWarning
from limbeck.tabular.committee import distil_committee
from limbeck.tabular.config import REFRESHED, CommitteeConfig
from limbeck.tabular.follow import NormalScores, follow, hold_out, remember
from limbeck.tabular.teacher_of import checked, refuse_constant

__all__ = ["CommitteeDetector"]

Floats = NDArray[np.float64]
FEWEST = 5  # rows to learn from: scikit-learn's conventions want next to none, and the warnings say what they are worth
FEWEST_LABELS = 3  # rows of each label, to make probabilities of
SPREAD = 5.0  # of slope and intercept around "no change": keeps a handful of labels from saying 0 or 1
Rule = tuple[str, Any]  # what a threshold comes from, and its value


@final
class CommitteeDetector(BaseEstimator):  # type: ignore[misc]
    """Distils a committee of five outlier detectors into one small student; PyOD's interface, calibrated.

    Fails on fewer than six rows, where no column varies, and, from a thousand rows to learn from on, where no student
    follows the committee. Text columns belong to `limbeck.fit`, which encodes them; here a category is its code.

    Parameters
    ----------
    config : CommitteeConfig, optional
        Every knob; None = the defaults.
    contamination : float, in (0, 0.5], optional
        Share of the rows above the threshold, as in PyOD; None = the threshold comes from `alpha`.
    alpha : float, in (0, 1)
        False-alarm rate to promise of rows like those; raised, with a warning, to what the calibration rows can
        promise.
    categorical_features : tuple of int
        Places of the columns that hold category codes (0, 1, 2, ...; missing = NaN).
    random_state : int
        Seed of everything random.

    Attributes
    ----------
    network_ : Network
        The student, in numpy.
    committee_ : Committee
        Its teachers, alive.
    fidelity_ : dict
        How closely it follows them on rows that neither has seen: ``n``, ``spearman``, ``top_overlap``.
    calibrator_ : Calibrator
        Of the fifth of the rows that was set aside.
    decision_scores_ : ndarray of float64, shape (n,)
        The student's scores of the rows that it was last given to learn from, those set aside among them.
    labels_ : ndarray of int64, shape (n,)
        The verdicts on them, 0 | 1.
    threshold_ : float
        Score above which a row is called anomalous.
    rule_ : tuple
        What it comes from: "alpha", "contamination" or "cost", and its value.
    remembered_ : tuple of ndarray, shape (m, d) and (m,)
        At most 2,000 of the rows learned from with what they were said to be, for `refresh`.
    n_features_in_ : int
        Number of columns (d).

    References
    ----------
    Zhao et al., "PyOD: a Python toolbox for scalable outlier detection", JMLR 2019.

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(500, 3))
    >>> config = CommitteeConfig(teachers=("tails", "nearest"), steps=300, fewest=500, fidelity=0.5)
    >>> model = CommitteeDetector(config, alpha=0.05).fit(X)
    >>> model.predict([[0.0, 0.0, 0.0], [6.0, 6.0, 6.0]]).tolist()
    [0, 1]
    >>> bool((model.set_threshold(contamination=0.1).labels_.mean() == 0.1))
    True
    """

    calibrator_: Calibrator

    def __init__(
        self,
        config: CommitteeConfig | None = None,
        *,
        contamination: float | None = None,
        alpha: float = 0.01,
        categorical_features: tuple[int, ...] = (),
        random_state: int = 0,
    ) -> None:
        self.config = config
        self.contamination = contamination
        self.alpha = alpha
        self.categorical_features = categorical_features
        self.random_state = random_state

    def __sklearn_tags__(self) -> Tags:
        """Say what scikit-learn's checks may ask: missing values are allowed."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def fit(self, X: ArrayLike, y: Any = None) -> CommitteeDetector:
        """Learn from rows.

        Parameters
        ----------
        X : array-like, shape (n, d)
            Numbers; missing = NaN; some rows may be anomalous.
        y : object
            Ignored, as in PyOD.

        Returns
        -------
        CommitteeDetector
            Itself.

        Raises
        ------
        ValueError
            If shapes or values do not fit (`InputError` where the data are too few, or no student follows;
            `ConfigError` where a parameter is out of its range).
        """
        _check_rates(self.alpha, self.contamination)
        x = validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan", ensure_min_samples=2)
        aside = set_aside(np.zeros(len(x), np.int8), self.random_state)
        distilled = distil_committee(
            x[~aside],
            self.config or CommitteeConfig(),
            seed=self.random_state,
            categorical=tuple(self.categorical_features),
            fewest=FEWEST,
        )
        self.committee_ = distilled.committee
        self.network_, self.fidelity_ = distilled.follower.network, distilled.follower.fidelity
        self.remembered_ = self._some(x[~aside], distilled.said)
        self._settle(x, aside, self._rule)
        return self

    def decision_function(self, X: ArrayLike) -> Floats:
        """Return scores, shape (n,), higher = more anomalous, of rows, shape (n, d)."""
        check_is_fitted(self)
        x = validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan", reset=False)
        return self.network_(x).astype(np.float64)

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:
        """Return verdicts, shape (n,), 1 = anomaly and 0 = not, on rows, shape (n, d)."""
        return self._verdicts(self.decision_function(X))

    def predict_pvalue(self, X: ArrayLike) -> Floats:
        """Return conformal p-values, shape (n,), in (0, 1], of rows, shape (n, d).

        Of rows like those set aside, anomalies included, at most a share ``a`` has a p-value of at most ``a``.
        """
        return self.calibrator_.p_value(self.decision_function(X))

    def predict_proba(self, X: ArrayLike) -> Floats:
        """Return the probabilities of normal and anomalous, shape (n, 2), of rows, shape (n, d).

        Once `calibrate` has seen labels, those of an anomaly. Before, the second column is one minus the p-value: a
        rank among the rows set aside, uniform on rows like them, and **not** the chance of an anomaly.
        """
        score = self.decision_function(X)
        anomalous = self.calibrator_.probability(score)
        if anomalous is None:
            anomalous = 1 - self.calibrator_.p_value(score)
        return np.column_stack([1 - anomalous, anomalous])

    def calibrate(self, X: ArrayLike, y: ArrayLike) -> CommitteeDetector:
        """Turn scores into probabilities of an anomaly, from a few rows with labels; nothing else changes.

        Parameters
        ----------
        X : array-like, shape (n, d)
            A random sample of the rows that will come: the share of anomalies in it is taken for theirs.
        y : array-like, shape (n,)
            0 | 1, at least three of each.

        Returns
        -------
        CommitteeDetector
            Itself.

        Raises
        ------
        InputError
            If labels are of another kind or too few, or say that higher scores are more normal.
        """
        score, label = self.decision_function(X), column_or_1d(y)
        if label.shape != score.shape or not np.isin(label, (0, 1)).all():
            raise InputError(
                "labels and rows do not match",
                expected=f"{len(score)} labels, 0 | 1",
                got=f"{len(label)}: " + ", ".join(map(str, np.unique(label)[:8].tolist())),
            )
        anomalous = int((label == 1).sum())
        if min(anomalous, len(label) - anomalous) < FEWEST_LABELS:
            raise InputError(
                "too few labelled rows to make probabilities of",
                expected=f"at least {FEWEST_LABELS} of each label",
                got=f"{len(label) - anomalous} normal and {anomalous} anomalous rows",
                fix="label more rows, drawn at random",
            )
        line = fit_affine(score, label, spread=SPREAD)
        if line.slope <= 0:
            raise InputError(
                "the labels say that higher scores are more normal",
                expected="anomalies that score higher than other rows",
                got=f"a slope of {line.slope:.3g}",
                fix="check the labels; if they are right, this detector does not find what they mean",
            )
        self.calibrator_ = replace(self.calibrator_, affine=line)
        return self

    def set_threshold(
        self,
        *,
        alpha: float | None = None,
        contamination: float | None = None,
        cost: tuple[float, float] | None = None,
    ) -> CommitteeDetector:
        """Move the threshold; nothing is learned again.

        Parameters
        ----------
        alpha : float, in [1 / (m + 1), 1)
            A false-alarm rate, of m calibration rows.
        contamination : float, in (0, 0.5]
            Share of `decision_scores_` above the threshold.
        cost : tuple of two floats, > 0
            Of a false alarm, and of a miss: a row is called anomalous where that is expected to cost less. Needs
            `calibrate`.

        Returns
        -------
        CommitteeDetector
            Itself.

        Raises
        ------
        InputError
            If so few calibration rows cannot promise the rate, or there are no probabilities to weigh costs by.
        ConfigError
            If not exactly one of the three is given, or it is out of its range.
        """
        check_is_fitted(self)
        rules: list[Rule] = [("alpha", alpha), ("contamination", contamination), ("cost", cost)]
        given = [rule for rule in rules if rule[1] is not None]
        if len(given) != 1:
            raise ConfigError(
                "a threshold comes from one thing",
                expected="one of alpha, contamination and cost",
                got=", ".join(name for name, _ in given) or "none of them",
            )
        self._set(given[0])
        return self

    def refresh(self, X: ArrayLike, scores: ArrayLike | None = None, *, steps: int | None = None) -> CommitteeDetector:
        """Let the student go on learning, from newer rows and a share of the old ones; then calibrate it on the newer.

        It begins with the weights that it has. The columns' centres and scales, and its size, stay as they are, and so
        does the committee; probabilities are those of the student before, and are lost. Fails, and changes nothing,
        where the student does not follow.

        Parameters
        ----------
        X : array-like, shape (n, d)
            Newer rows; a fifth is set aside for calibration, another is held out to tell how closely it follows.
        scores : array-like, shape (n,), optional
            Any teacher's scores of them, higher = more anomalous, of which the ranks count. Default: the committee's.
        steps : int, optional
            Most optimiser steps; default: a quarter of the configuration's.

        Returns
        -------
        CommitteeDetector
            Itself.

        Raises
        ------
        ValueError
            If shapes or values do not fit (`InputError` where there are too few rows, scores are not finite or not one
            a row, or the student does not follow).
        """
        check_is_fitted(self)
        config = self.config or CommitteeConfig()
        config = replace(config, steps=steps or max(1, config.steps // REFRESHED))
        x = validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan", ensure_min_samples=2, reset=False)
        aside = set_aside(np.zeros(len(x), np.int8), self.random_state)
        new = x[~aside]
        held = hold_out(len(new), config, self.random_state, FEWEST)
        if scores is None:
            teacher, name, said = self.committee_, "the committee", self.committee_(new)
        else:
            teacher, name = None, "the given scores"
            given = checked(scores, len(x), name)[~aside]
            refuse_constant(given, name)
            said = NormalScores.learn(given[~held])(given)
        old, remembered = self.remembered_
        follower = follow(
            np.concatenate([new, old]),
            np.concatenate([said, remembered]),
            np.concatenate([held, np.zeros(len(old), bool)]),
            teacher,
            self.network_.features,
            config,
            seed=self.random_state,
            name=name,
            on_step=ignore,
            start=self.network_,
        )
        self.network_, self.fidelity_ = follower.network, follower.fidelity
        self.remembered_ = self._some(np.concatenate([new[~held], old]), np.concatenate([said[~held], remembered]))
        if self.calibrator_.affine is not None:
            warnings.warn(
                "the probabilities were those of the student before: calibrate it again", LimbeckWarning, stacklevel=2
            )
        self._settle(x, aside, self._rule if self.rule_[0] == "cost" else self.rule_)
        return self

    @property
    def _rule(self) -> Rule:
        """Return what the threshold comes from where nobody has set another."""
        return ("alpha", self.alpha) if self.contamination is None else ("contamination", self.contamination)

    def _settle(self, x: Floats, aside: NDArray[np.bool_], rule: Rule) -> None:
        """Calibrate a student on what was set aside, and judge the rows that it was given."""
        self.decision_scores_ = self.network_(x).astype(np.float64)
        score = self.decision_scores_[aside]
        self.calibrator_ = Calibrator.fit(score, np.zeros(len(score), np.int8))
        name, value = rule
        self._set((name, self.calibrator_.promise(value, "rows")[0]) if name == "alpha" else rule)
        self.rule_ = rule  # as it was asked for: more rows may promise it

    def _set(self, rule: Rule) -> None:
        """Set the threshold, and judge the rows learned from again."""
        name, value = rule
        if name == "cost":
            self.threshold_ = self._cheapest(value)
        elif name == "contamination":
            _check_contamination(value)
            self.threshold_ = float(np.quantile(self.decision_scores_, 1 - value))
        else:
            self.threshold_ = self.calibrator_.threshold(value)
        self.rule_, self.labels_ = rule, self._verdicts(self.decision_scores_)

    def _cheapest(self, cost: Any) -> float:
        """Return the score above which an alarm is expected to cost less than silence."""
        line = self.calibrator_.affine
        if line is None:
            raise InputError(
                "costs are weighed by probabilities",
                expected="labels, by which scores become probabilities",
                got="a detector without them",
                fix="calibrate(X, y) with a few labelled rows",
            )
        if np.shape(cost) != (2,) or not all(0 < c < math.inf for c in cost):
            raise ConfigError("costs are out of range", expected="two numbers above 0", got=repr(cost))
        false_alarm, miss = cost
        return float((math.log(false_alarm / miss) - line.intercept) / line.slope)

    def _verdicts(self, score: Floats) -> NDArray[np.int64]:
        return (score > self.threshold_).astype(np.int64)

    def _some(self, x: Floats, said: Floats) -> tuple[Floats, Floats]:
        """Choose the rows that are remembered."""
        kept = remember(len(x), self.random_state)
        return x[kept], said[kept]


def _check_rates(alpha: Any, contamination: Any) -> None:
    """Refuse parameters that are out of their range."""
    if not (isinstance(alpha, (int, float)) and 0 < alpha < 1):
        raise ConfigError("alpha is a false-alarm rate", expected="a number between 0 and 1", got=repr(alpha))
    if contamination is not None:
        _check_contamination(contamination)


def _check_contamination(value: Any) -> None:
    if not (isinstance(value, (int, float)) and 0 < value <= 0.5):
        raise ConfigError("contamination is a share of the rows", expected="above 0, at most 0.5", got=repr(value))
