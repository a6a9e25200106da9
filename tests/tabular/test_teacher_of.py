"""Detectors of any origin as teachers: which sense their scores have, and what is said where they fail."""

import numpy as np
import pandas as pd
import pytest
import torch
from pyod.models.iforest import IForest
from pyod.models.knn import KNN
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.neighbors import LocalOutlierFactor
from sklearn.svm import OneClassSVM

from limbeck.errors import InputError
from limbeck.tabular.teacher_of import check_sense, checked, teacher_of

NAMES = ["a", "b", "c"]


def rows(n=200, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 3))


def classifier():
    x = np.concatenate([rows(), rows(40, 1) + 4])
    return RandomForestClassifier(20, random_state=0).fit(x, np.repeat(["fine", "odd"], [200, 40]))


@pytest.mark.parametrize(
    "detector",
    [
        IsolationForest(random_state=0).fit(rows()),
        OneClassSVM().fit(rows()),
        LocalOutlierFactor(novelty=True).fit(rows()),
        KNN().fit(rows()),
        IForest(random_state=0).fit(rows()),
        classifier(),
        lambda x: np.abs(x).sum(1),
        lambda x: np.abs(x).sum(1, keepdims=True).tolist(),
    ],
    ids=["forest", "svm", "lof", "pyod-knn", "pyod-forest", "classifier", "function", "list"],
)
def test_higher_means_more_anomalous(detector):
    teacher = teacher_of(detector, NAMES)
    usual, odd = teacher(rows(50, 2)), teacher(rows(20, 3) + 4)
    assert usual.shape == (50,) and usual.dtype == np.float64
    assert odd.min() > np.median(usual)
    check_sense(usual, odd, "the teacher")


def test_a_classifiers_score_is_its_log_odds():
    detector, x = classifier(), rows(50, 2)
    p = np.clip(detector.predict_proba(x)[:, 1], 1e-6, 1 - 1e-6)
    np.testing.assert_allclose(teacher_of(detector, NAMES)(x), np.log(p / (1 - p)))


def test_a_detector_of_named_columns_gets_them_in_its_order():
    frame = pd.DataFrame(rows(), columns=NAMES)
    detector = IsolationForest(random_state=0).fit(frame[["c", "a"]])
    said = teacher_of(detector, NAMES)(rows(30, 1))
    expected = -detector.score_samples(pd.DataFrame(rows(30, 1), columns=NAMES)[["c", "a"]])
    np.testing.assert_array_equal(said, expected)
    with pytest.raises(InputError, match="columns that are not there"):
        teacher_of(detector, ["a", "b"])


@pytest.mark.parametrize(
    ("detector", "words"),
    [
        (LocalOutlierFactor().fit(rows()), "novelty=True"),
        (object(), "nothing that scores rows"),
        (KNN, "nothing that scores rows"),
        (RandomForestClassifier(5).fit(rows(), np.arange(200) % 3), "nothing that scores rows"),
    ],
)
def test_what_cannot_score_rows(detector, words):
    with pytest.raises(InputError, match=words):
        teacher_of(detector, NAMES)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: np.full(len(x), np.nan), "10 of 10 are not"),
        (lambda x: np.where(x[:, 0] > 0, np.inf, 0.0), "finite scores"),
        (lambda x: x[1:, 0], r"expected: shape \(10,\)"),
        (lambda x: x, r"got: shape \(10, 3\)"),
        (lambda x: ["high"] * len(x), "no numbers"),
        (lambda x: 1 // 0, "cannot score rows"),
        (lambda x: torch.from_numpy(x[:, 0]).requires_grad_(), "no numbers"),
        (IsolationForest(), "IsolationForest instance is not fitted"),
        (IsolationForest().fit(np.zeros((9, 2))), "expecting 2 features"),
    ],
)
def test_a_teacher_that_fails(function, words):
    with pytest.raises(InputError, match=words):
        teacher_of(function, NAMES)(rows(10))


def test_a_teacher_that_ranks_backwards():
    x, far = rows(), rows(100, 1) * 50
    with pytest.raises(InputError, match="for more normal than real ones") as caught:
        check_sense(-np.abs(x).sum(1), -np.abs(far).sum(1), "the teacher (mine)")
    assert "turned=True" in str(caught.value) and "in 0% of pairs" in str(caught.value)


def test_stored_scores_are_checked_too():
    np.testing.assert_array_equal(checked([1, 2, 3], 3, "x"), [1.0, 2.0, 3.0])
    with pytest.raises(InputError, match="x says no score for each row"):
        checked([1, 2], 3, "x")
