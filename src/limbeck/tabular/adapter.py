"""Detectors in PyOD's sense, spoken in scikit-learn's: there high means normal, and an outlier is -1."""

from __future__ import annotations

from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OutlierMixin, clone
from sklearn.utils import Tags, get_tags
from sklearn.utils.validation import check_is_fitted, validate_data

from limbeck.errors import ConfigError, InputError
from limbeck.spec import for_tables

__all__ = ["SklearnOutlier", "as_sklearn"]

Floats = NDArray[np.float64]


def as_sklearn(detector: Any, *, contamination: Any = "auto") -> SklearnOutlier:
    """Turn a detector into one in scikit-learn's sense.

    Parameters
    ----------
    detector : object
        An estimator in PyOD's sense (`CommitteeDetector`, or PyOD's own), or a `Detector` of rows. One that is fitted
        is taken as it is, and can judge at once.
    contamination : "auto" or float, in (0, 0.5]
        Share of the rows given to `fit` that are outliers; "auto" = the detector's own threshold.

    Returns
    -------
    SklearnOutlier
        Fitted if the detector is and keeps its own threshold.

    Raises
    ------
    InputError
        If it is no such detector, or judges pictures.

    Examples
    --------
    >>> from pyod.models.ecod import ECOD
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> as_sklearn(ECOD().fit(X)).predict([[0.0, 0.0], [9.0, 9.0]]).tolist()
    [1, -1]
    """
    if hasattr(detector, "scorer") and hasattr(detector, "judge"):
        detector = _Packaged(detector)
    elif not (hasattr(detector, "fit") and hasattr(detector, "decision_function")) or hasattr(
        detector, "score_samples"
    ):
        raise InputError(
            "this is no detector in PyOD's sense",
            expected="fit and decision_function, higher = more anomalous; or a detector of Limbeck",
            got=repr(detector)[:100],
            fix="scikit-learn's own need no adapter",
        )
    made = SklearnOutlier(detector, contamination=contamination)
    return made._take(detector) if contamination == "auto" and hasattr(detector, "threshold_") else made


@final
class SklearnOutlier(OutlierMixin, BaseEstimator):  # type: ignore[misc]
    """A detector in PyOD's sense, as scikit-learn's outlier detectors are; made by `as_sklearn`.

    Fails where its detector does.

    Parameters
    ----------
    detector : object
        What is fitted, as a copy: `fit`, `decision_function` (higher = more anomalous) and, once it is fitted,
        `threshold_`.
    contamination : "auto" or float, in (0, 0.5]
        Share of the rows learned from that are outliers; "auto" = the detector's own threshold.

    Attributes
    ----------
    detector_ : object
        The fitted one.
    offset_ : float
        The value of `score_samples` below which a row is an outlier.
    n_features_in_ : int
        Number of columns (d).

    Examples
    --------
    >>> from pyod.models.ecod import ECOD
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> int((SklearnOutlier(ECOD(), contamination=0.05).fit_predict(X) == -1).sum())
    10
    """

    def __init__(self, detector: Any, *, contamination: Any = "auto") -> None:
        self.detector = detector
        self.contamination = contamination

    def __sklearn_tags__(self) -> Tags:
        """Say what scikit-learn's checks may ask: missing values are allowed where the detector allows them."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = get_tags(self.detector).input_tags.allow_nan
        return tags

    def fit(self, X: ArrayLike, y: Any = None) -> SklearnOutlier:
        """Fit a copy of the detector on rows, shape (n, d); y is ignored. A packaged one learns nothing."""
        share = self.contamination
        if share != "auto" and not (isinstance(share, (int, float)) and 0 < share <= 0.5):
            raise ConfigError(
                "contamination is a share of the rows", expected='"auto", or above 0, at most 0.5', got=repr(share)
            )
        x = self._rows(X, reset=True)
        self._take(clone(self.detector).fit(x))
        if share != "auto":
            self.offset_ = float(np.quantile(self.score_samples(X), share))
        return self

    def score_samples(self, X: ArrayLike) -> Floats:
        """Return scores, shape (n,), higher = more normal, of rows, shape (n, d)."""
        check_is_fitted(self)
        return -np.asarray(self.detector_.decision_function(self._rows(X)), dtype=np.float64)

    def decision_function(self, X: ArrayLike) -> Floats:
        """Return `score_samples` less the offset, shape (n,): negative for outliers."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:
        """Return verdicts, shape (n,), -1 = outlier and 1 = not, on rows, shape (n, d)."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def _rows(self, X: ArrayLike, reset: bool = False) -> Floats:
        finite = "allow-nan" if get_tags(self.detector).input_tags.allow_nan else True
        rows: Floats = validate_data(
            self, X, dtype=np.float64, ensure_all_finite=finite, ensure_min_samples=2 if reset else 1, reset=reset
        )
        return rows

    def _take(self, fitted: Any) -> SklearnOutlier:
        """Judge by a fitted detector, and by its threshold."""
        self.detector_, self.offset_ = fitted, -float(fitted.threshold_)
        if hasattr(fitted, "n_features_in_"):
            self.n_features_in_ = fitted.n_features_in_
        return self


@final
class _Packaged(BaseEstimator):  # type: ignore[misc]
    """A `Detector` with PyOD's names: it has learned already."""

    def __init__(self, detector: Any) -> None:
        self.detector = detector
        self.n_features_in_ = len(for_tables(detector.spec).columns)
        self.threshold_ = detector.threshold

    def __sklearn_clone__(self) -> _Packaged:
        return self

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def fit(self, x: Floats) -> _Packaged:
        """Refuse rows of another width."""
        for_tables(self.detector.spec).validate(x)
        return self

    def decision_function(self, x: Floats) -> NDArray[np.float32]:
        """Return scores (n,), higher = more anomalous, of rows, float64 (n, d)."""
        score: NDArray[np.float32] = self.detector.scorer(x).score
        return score
