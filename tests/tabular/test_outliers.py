"""Detectors that need no label: what each says, by hand or by another library, and what all of them owe."""

import numpy as np
import pytest
from pyod.models.ecod import ECOD
from pyod.models.knn import KNN
from sklearn.neighbors import LocalOutlierFactor

from limbeck.tabular.config import OUTLIER_KINDS, CommitteeConfig
from limbeck.tabular.outliers import learn_outliers

QUICK = {"trees": 30, "autoencoder_steps": 300, "gan_steps": 150, "gan_rounds": 1}


def rows(n=300, p=4, seed=0):
    return np.random.default_rng(seed).normal(size=(n, p)) @ np.diag(np.arange(1, p + 1) / p)


@pytest.fixture(scope="module", params=OUTLIER_KINDS)
def learned(request):
    z = rows()
    return (request.param, z, *learn_outliers(request.param, z, CommitteeConfig(**QUICK), seed=0))


def test_a_score_for_each_row_higher_where_it_is_stranger(learned):
    _, z, detector, own = learned
    assert own.shape == (300,) and np.isfinite(own).all()
    assert detector(z[:7]).shape == (7,)
    assert detector(rows(20) + 6).min() > np.quantile(detector(rows(300, seed=1)), 0.95)


def test_a_score_does_not_depend_on_the_rows_beside_it(learned):
    _, _, detector, _ = learned
    z = rows(40, seed=2)
    alone = np.concatenate([detector(z[i : i + 1]) for i in range(40)])
    np.testing.assert_allclose(alone, detector(z), rtol=1e-9)


def test_the_same_seed_the_same_scores(learned):
    kind, z, detector, own = learned
    again, own_again = learn_outliers(kind, z, CommitteeConfig(**QUICK), seed=0)
    np.testing.assert_array_equal(own, own_again)
    np.testing.assert_array_equal(detector(z), again(z))


@pytest.mark.parametrize("kind", ["tails", "nearest", "autoencoder"])
def test_scores_grow_along_rays_that_leave_the_rows(kind):
    detector, _ = learn_outliers(kind, rows(), CommitteeConfig(**QUICK), seed=0)
    ways = rows(50, seed=3)
    ways /= np.abs(ways).max(1, keepdims=True)
    along = np.stack([detector(ways * distance) for distance in (5, 8, 13, 21, 34)])
    assert (np.diff(along, axis=0) > 0).mean() > 0.97


@pytest.mark.parametrize("kind", ["tails", "nearest", "lof", "autoencoder"])
def test_no_row_speaks_for_itself(kind):
    """A lonely row that was learned from scores as it would have, had it been left out."""
    config = CommitteeConfig(**QUICK, neighbours=3, lof_neighbours=3)
    z = np.concatenate([rows(200), [[9.0, -9.0, 9.0, -9.0]]])
    _, own = learn_outliers(kind, z, config, seed=0)
    without, _ = learn_outliers(kind, z[:-1], config, seed=0)
    assert own[-1] > 0.5 * without(z[-1:])[0]
    assert own[-1] > own[:-1].max()


def test_nearest_is_pyods():
    z = rows()
    detector, own = learn_outliers("nearest", z, CommitteeConfig(neighbours=5), seed=0)
    theirs = KNN(n_neighbors=5, method="mean").fit(z)
    np.testing.assert_allclose(own, theirs.decision_scores_, rtol=1e-9)
    np.testing.assert_allclose(detector(rows(50, seed=1)), theirs.decision_function(rows(50, seed=1)), rtol=1e-9)


def test_the_local_outlier_factor_is_sklearns():
    z = rows()
    _, own = learn_outliers("lof", z, CommitteeConfig(lof_neighbours=10), seed=0)
    np.testing.assert_array_equal(own, -LocalOutlierFactor(10).fit(z).negative_outlier_factor_)


def test_tails_are_ecods_as_long_as_a_row_counts_itself():
    z = rows()
    detector, _ = learn_outliers("tails", z, CommitteeConfig(), seed=0)
    np.testing.assert_allclose(detector.scores(z, 0), ECOD().fit(z).decision_scores_, rtol=1e-9)


def test_many_equal_rows_and_a_constant_column():
    z = np.concatenate([np.zeros((150, 2)), np.ones((150, 2))])
    z[0] = 7.0
    for kind in OUTLIER_KINDS:
        detector, own = learn_outliers(kind, z, CommitteeConfig(**QUICK), seed=0)
        assert np.isfinite(own).all() and np.isfinite(detector(z)).all(), kind
        assert own[0] == own.max(), kind


@pytest.mark.parametrize("kind", ["tails", "nearest", "lof"])
def test_a_large_table_is_remembered_in_part(kind):
    config = CommitteeConfig(remembered=100)
    z = rows(400)
    detector, own = learn_outliers(kind, z, config, seed=0)
    whole, _ = learn_outliers(kind, z, CommitteeConfig(), seed=0)
    assert own.shape == (400,) and np.isfinite(own).all()
    assert np.corrcoef(detector(z), whole(z))[0, 1] > 0.7
