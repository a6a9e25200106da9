"""Two rankings of the same rows, against scipy and a count by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata, spearmanr

from limbeck.errors import InputError
from limbeck.fidelity import ranks, spearman, top_overlap

SCORES = st.lists(st.integers(-5, 5), min_size=2, max_size=40)


@given(SCORES)
def test_ranks_are_scipys(values):
    np.testing.assert_array_equal(ranks(values), rankdata(values))


@given(st.integers(0, 1000), st.integers(2, 60), st.integers(1, 20))
def test_rank_correlation_is_scipys(seed, n, kinds):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, kinds + 1, n), rng.normal(size=n)
    if len(set(a)) > 1:
        assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic, abs=1e-12)


def test_a_constant_says_nothing():
    assert spearman([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) == 0.0


def test_a_score_and_its_opposite():
    a = np.random.default_rng(0).normal(size=500)
    assert spearman(a, np.exp(a)) == 1.0 and spearman(a, -a) == -1.0
    assert top_overlap(a, np.exp(a)) == 1.0 and top_overlap(a, -a) == 0.0


@given(st.integers(0, 1000), st.integers(2, 300))
def test_overlap_is_a_count(seed, n):
    a, b = np.random.default_rng(seed).normal(size=(2, n))
    count = min(n, max(10, round(0.01 * n)))
    both = set(np.argsort(a)[n - count :]) & set(np.argsort(b)[n - count :])
    assert top_overlap(a, b) == len(both) / count


@pytest.mark.parametrize("function", [spearman, top_overlap])
@pytest.mark.parametrize("other", [[1.0], [1.0, 2.0, 3.0], [[1.0, 2.0]]])
def test_scores_of_other_rows_are_refused(function, other):
    with pytest.raises(InputError, match="two scores of the same rows"):
        function([1.0, 2.0], other)
