from __future__ import annotations

import numpy as np
import pytest

from limbeck.tabular.encode import learn_features
from limbeck.tabular.noise import blur, drop, flip_labels

nan = float("nan")


def labels(normal, anomalous, seed=0):
    y = np.r_[np.zeros(normal), np.ones(anomalous)].astype(np.int8)
    return np.random.default_rng(seed).permutation(y)


@pytest.mark.parametrize(
    ("normal", "anomalous", "share", "to_normal", "to_anomalous"),
    [
        (1000, 50, 0.2, 10, 10),  # a share of the anomalies, in both classes
        (1000, 50, 0.0, 0, 0),
        (1000, 50, 0.03, 2, 2),
        (1000, 50, 1.0, 48, 50),  # two anomalies stay
        (1000, 3, 1.0, 1, 3),
        (1000, 2, 1.0, 0, 2),
        (1000, 1, 1.0, 0, 1),
        (5, 20, 0.5, 10, 3),  # two normal rows stay
        (1, 20, 0.5, 10, 0),
        (1000, 0, 1.0, 0, 0),
        (0, 20, 0.5, 10, 0),
    ],
)
def test_so_many_labels_are_turned(normal, anomalous, share, to_normal, to_anomalous):
    y = labels(normal, anomalous)
    turned = flip_labels(y, share, seed=1)
    assert ((y == 1) & (turned == 0)).sum() == to_normal
    assert ((y == 0) & (turned == 1)).sum() == to_anomalous
    assert turned.dtype == np.int8 and set(turned) <= {0, 1}


def test_turning_labels_leaves_the_given_ones_untouched():
    y = labels(100, 20)
    before = y.copy()
    flip_labels(y, 0.5, seed=0)
    assert not np.shares_memory(flip_labels(y, 0.0, seed=0), y)
    np.testing.assert_array_equal(y, before)


def test_the_seed_chooses_which_labels_are_turned():
    y = labels(200, 40)
    np.testing.assert_array_equal(flip_labels(y, 0.5, seed=3), flip_labels(y, 0.5, seed=3))
    assert not np.array_equal(flip_labels(y, 0.5, seed=3), flip_labels(y, 0.5, seed=4))
    often = np.mean([flip_labels(y, 0.5, seed=s) != y for s in range(400)], axis=0)
    assert abs(often[y == 1] - 0.5).max() < 0.15 and abs(often[y == 0] - 0.1).max() < 0.1  # any row may be one


def table(n=20_000):
    """A wide and a narrow column, one of 0 and 1, one of codes, one that does not vary, one with gaps."""
    rng = np.random.default_rng(0)
    x = np.column_stack([
        rng.normal(5, 1e4, n), rng.normal(0, 1e-3, n), rng.integers(0, 2, n), rng.integers(0, 4, n), np.full(n, 7.0),
        rng.normal(0, 1, n),
    ])  # fmt: skip
    x[rng.random(n) < 0.2, 5] = nan
    x[rng.random(n) < 0.1, 2] = nan
    return x


def test_blur_spreads_numbers_in_units_of_their_scale():
    x = table()
    features = learn_features(x, (3,))
    moved = blur(x, features, 0.3, seed=1) - x
    spread = np.nanstd(moved, axis=0)
    assert spread[[0, 1, 5]] == pytest.approx([0.3e4, 0.3e-3, 0.3], rel=0.05)
    assert np.nanmean(moved[:, 0]) == pytest.approx(0, abs=4 * 0.3e4 / np.sqrt(len(x)))
    assert abs(np.corrcoef(moved[:, 0], moved[:, 1])[0, 1]) < 0.03
    assert (np.abs(moved[:, 0]) > 2 * 0.3e4).mean() == pytest.approx(0.0455, abs=0.01)  # a normal distribution's


def test_blur_leaves_gaps_and_words_and_answers():
    x = table(500)
    before = x.copy()
    noisy = blur(x, learn_features(x, (3,)), 0.3, seed=1)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(np.isnan(noisy), np.isnan(x))
    np.testing.assert_array_equal(noisy[:, [2, 3, 4]], x[:, [2, 3, 4]])
    assert (noisy[:, [0, 1]] != x[:, [0, 1]]).all()


def test_blur_takes_the_scale_from_the_features():
    x = table(5000)
    noisy = blur(x[:1000], learn_features(x * 10, (3,)), 0.1, seed=0)
    assert np.std(noisy[:, 0] - x[:1000, 0]) == pytest.approx(1e4, rel=0.1)


def test_no_blur_changes_nothing():
    x = table(300)
    np.testing.assert_array_equal(blur(x, learn_features(x, (3,)), 0.0, seed=0), x)


def test_the_seed_chooses_the_noise():
    x = table(300)
    f = learn_features(x, (3,))
    np.testing.assert_array_equal(blur(x, f, 0.1, seed=1), blur(x, f, 0.1, seed=1))
    np.testing.assert_array_equal(drop(x, 0.1, seed=1), drop(x, 0.1, seed=1))
    assert not np.array_equal(blur(x, f, 0.1, seed=1), blur(x, f, 0.1, seed=2), equal_nan=True)
    assert not np.array_equal(drop(x, 0.1, seed=1), drop(x, 0.1, seed=2), equal_nan=True)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.95])
def test_drop_takes_a_share_of_the_values_of_each_column(share):
    x = table()
    before = x.copy()
    left = drop(x, share, seed=2)
    np.testing.assert_array_equal(x, before)
    gone = np.isnan(left) & ~np.isnan(x)
    np.testing.assert_array_equal(left[~gone], x[~gone])  # nothing else changes, and no gap is filled
    known = (~np.isnan(x)).sum(axis=0)
    assert gone.sum(axis=0) / known == pytest.approx([share] * 6, abs=4 * 0.5 / np.sqrt(known.min()))
    if 0 < share:
        both = (gone[:, 0] & gone[:, 1]).mean()
        assert both == pytest.approx(share**2, abs=0.02)  # each value on its own, not whole rows
