from __future__ import annotations

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.tabular.augment import swap_rows

nan = float("nan")


def rows_that_know_their_origin(n=400, d=60, anomalous=40):
    """Every value is the number of its row."""
    y = np.zeros(n, np.int8)
    y[:anomalous] = 1
    return np.repeat(np.arange(n, dtype=float)[:, None], d, axis=1), y


def origin(rows):
    """The row number that most values of a made row carry."""
    return np.array([np.bincount(row.astype(int)).argmax() for row in rows])


@settings(deadline=None, max_examples=50)
@given(
    x=hnp.arrays(
        np.float64, st.tuples(st.integers(1, 12), st.integers(1, 4)), elements=st.sampled_from([nan, 0, 1, -7.5, 1e300])
    ),
    count=st.integers(0, 40),
    share=st.floats(0, 1),
    anomalous=st.floats(0, 1),
    seed=st.integers(0, 1000),
)
def test_every_value_comes_from_its_own_column(x, count, share, anomalous, seed):
    y = (np.arange(len(x)) % 3 == 0).astype(np.int8)
    before = x.copy()
    rows, base = swap_rows(x, y, count, share=share, anomalous=anomalous, seed=seed)
    assert rows.shape == (count, x.shape[1]) and rows.dtype == np.float64
    assert base.shape == (count,) and base.dtype == np.int8
    for j in range(x.shape[1]):
        have = {v for v in x[:, j].tolist() if v == v}
        assert {v for v in rows[:, j].tolist() if v == v} <= have
        assert np.isnan(x[:, j]).any() or not np.isnan(rows[:, j]).any()
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("share", [0.05, 0.2, 0.4])
def test_the_share_is_right_in_expectation(share):
    x, y = rows_that_know_their_origin()
    rows, _ = swap_rows(x, y, 2000, share=share, anomalous=0.25, seed=0)
    swapped = rows != origin(rows)[:, None]
    expected = share * (1 - 1 / len(x))  # a value may be taken from the row itself
    error = np.sqrt(share * (1 - share) / swapped.size)
    assert abs(swapped.mean() - expected) < 4 * error
    assert np.abs(swapped.mean(axis=0) - expected).max() < 4 * np.sqrt(share * (1 - share) / 2000)


def test_swapped_values_come_from_all_rows_alike():
    x, y = rows_that_know_their_origin(n=50, d=8, anomalous=5)
    rows, _ = swap_rows(x, y, 20_000, share=1.0, anomalous=1.0, seed=1)
    counts = np.bincount(rows.astype(int).ravel(), minlength=50)
    assert np.abs(counts / counts.sum() - 1 / 50).max() < 4 * np.sqrt(1 / 50 / counts.sum())


def test_values_of_a_row_are_swapped_independently():
    x, y = rows_that_know_their_origin(d=40)
    rows, _ = swap_rows(x, y, 4000, share=0.3, anomalous=0.25, seed=2)
    swapped = (rows != origin(rows)[:, None]).sum(axis=1)
    assert swapped.var() == pytest.approx(40 * 0.3 * 0.7, rel=0.15)


def test_nothing_is_swapped_at_zero():
    x, y = rows_that_know_their_origin()
    rows, base = swap_rows(x, y, 500, share=0.0, anomalous=0.5, seed=3)
    assert (rows == rows[:, :1]).all()
    np.testing.assert_array_equal(base, y[rows[:, 0].astype(int)])


def test_base_is_the_label_of_the_row_that_a_made_row_started_from():
    x, y = rows_that_know_their_origin()
    rows, base = swap_rows(x, y, 1000, share=0.3, anomalous=0.4, seed=4)
    np.testing.assert_array_equal(base, y[origin(rows)])


@pytest.mark.parametrize("anomalous", [0.0, 0.1, 0.25, 1.0])
def test_the_share_that_starts_from_an_anomaly(anomalous):
    x, y = rows_that_know_their_origin(n=1000, d=2, anomalous=50)
    _, base = swap_rows(x, y, 4000, share=0.3, anomalous=anomalous, seed=5)
    expected = anomalous + (1 - anomalous) * 0.05  # the rest start from any row
    assert base.mean() == pytest.approx(expected, abs=4 * np.sqrt(0.05 / 4000) * (1 - anomalous) + 1e-9)
    assert (base[: int(4000 * anomalous)] == 1).all()


def test_every_row_may_be_a_start():
    x, y = rows_that_know_their_origin(n=60, d=1, anomalous=6)
    rows, _ = swap_rows(x, y, 3000, share=0.0, anomalous=0.5, seed=6)
    assert np.unique(rows).size == 60
    assert np.bincount(rows[:1500, 0].astype(int)).size == 6


def test_without_anomalies_all_rows_start_from_normal_ones():
    x, y = rows_that_know_their_origin(anomalous=0)
    rows, base = swap_rows(x, y, 100, share=0.3, anomalous=0.9, seed=7)
    assert rows.shape == (100, 60) and not base.any()


def test_the_same_seed_gives_the_same_rows():
    x, y = rows_that_know_their_origin()
    first, again, other = (swap_rows(x, y, 50, share=0.3, anomalous=0.5, seed=s) for s in (8, 8, 9))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])
