"""Small data and one detector that many tests share; nothing here is slow twice."""

import warnings

import numpy as np
import pytest

import limbeck
from limbeck.data.transactions import transactions
from limbeck.errors import LimbeckWarning

QUICK = {"resamplers": ["none", "rus"], "folds": 2, "trees": 30, "steps": 400, "refit_below": 0, "measurements": 1}


@pytest.fixture(scope="session")
def train():
    return transactions(4000, seed=0)


@pytest.fixture(scope="session")
def test_rows():
    return transactions(3000, seed=1)


@pytest.fixture(scope="session")
def detector(train):
    """A detector of every kind of column: numbers, booleans, categories, gaps."""
    return limbeck.fit(train, label="fraud", config=QUICK, alpha=0.05)


@pytest.fixture(scope="session")
def package(detector, tmp_path_factory):
    folder = tmp_path_factory.mktemp("package") / "tx.limbeck"
    detector.save(folder)
    return folder


@pytest.fixture(scope="session")
def offset_detector():
    """A detector of plain numbers, one of them 1e9 ± 10, and no names."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1500, 4)) * [1, 10, 1e-3, 1e6] + [0, 1e9, 0, -1e7]
    y = (rng.random(1500) < 0.05).astype(int)
    x[y == 1] += [2.5, 25, 0, 0]
    x[::17, 2] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LimbeckWarning)
        return limbeck.fit(x, label=y, config=QUICK, alpha=0.05)
