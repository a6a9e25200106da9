"""Oracles: scikit-learn's logistic regression, scipy, counting, and the exact law of conformal false alarms."""

from __future__ import annotations

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from limbeck.calibrate import Affine, Calibrator, fit_affine, sigmoid
from limbeck.errors import InputError
from limbeck.metrics import auroc


def test_sigmoid_is_scipy_s_and_never_overflows():
    z = np.concatenate([np.linspace(-40, 40, 401), [-1e308, -1e4, 0.0, 1e4, 1e308]])
    np.testing.assert_allclose(sigmoid(z), scipy.special.expit(z), atol=1e-15)
    assert sigmoid(0.0) == 0.5


def noisy_scores(seed, n=400, slope=1.5, intercept=-1.0):
    rng = np.random.default_rng(seed)
    score = rng.normal(0, 2, n)
    return score, (rng.random(n) < scipy.special.expit(slope * score + intercept)).astype(int)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (0.2, 3.0), (5.0, -8.0)])
def test_fit_affine_is_logistic_regression(seed, scale, offset):
    score, label = noisy_scores(seed)
    score = score * scale + offset
    line = fit_affine(score, label)
    reference = LogisticRegression(C=1e8, solver="newton-cholesky", tol=1e-10, max_iter=1000)
    reference.fit(score[:, None], label)
    assert line.slope == pytest.approx(reference.coef_[0, 0], rel=2e-3)
    np.testing.assert_allclose(line(score), reference.decision_function(score[:, None]), atol=0.02)


@pytest.mark.parametrize("spread", [0.05, 0.5, 3.0])
def test_the_prior_is_normal_around_no_change(spread):
    score, label = noisy_scores(1, n=60)

    def loss(w):
        z = w[0] * score + w[1]
        return np.logaddexp(0, np.where(label == 1, -z, z)).sum() + ((w - [1, 0]) ** 2).sum() / (2 * spread**2)

    best = scipy.optimize.minimize(loss, [1.0, 0.0], method="BFGS", options={"gtol": 1e-8}).x
    line = fit_affine(score, label, spread=spread)
    np.testing.assert_allclose([line.slope, line.intercept], best, atol=1e-5)


def test_mean_probability_is_the_share_of_anomalies():
    score, label = noisy_scores(2, n=2000, slope=0.3, intercept=-3.0)
    assert sigmoid(fit_affine(score + 2, label)(score + 2)).mean() == pytest.approx(label.mean(), rel=1e-3)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6, 1e30])
@pytest.mark.parametrize("label", [[0, 0, 1, 1], [0, 0, 0, 0], [1, 1, 1, 1]])
def test_separable_or_one_sided_data_stays_finite(scale, label):
    line = fit_affine(np.array([-2.0, -1.0, 1.0, 2.0]) * scale, label)
    assert np.isfinite([line.slope, line.intercept]).all()


def test_separable_data_has_a_rising_line_and_ends():
    line = fit_affine([-2.0, -1.0, 1.0, 2.0], [0, 0, 1, 1])
    assert 1 < line.slope < 100
    assert sigmoid(line([-1.0, 1.0])) - [0, 1] == pytest.approx([0, 0], abs=1e-3)


def test_backwards_ranking_has_a_falling_line():
    score, label = noisy_scores(3)
    assert auroc(label, -score) < 0.5
    assert fit_affine(-score, label).slope < 0 < fit_affine(score, label).slope


def test_mirrored_scores_give_the_mirrored_line():
    score, label = noisy_scores(4, n=3000)
    there, back = fit_affine(score, label), fit_affine(-score, label)
    assert back.slope == pytest.approx(-there.slope, rel=1e-3)
    assert back.intercept == pytest.approx(there.intercept, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_fit_affine_refuses_what_is_not_finite(bad):
    with pytest.raises(InputError, match="not finite"):
        fit_affine([0.0, bad], [0, 1])


def test_affine_is_a_line():
    assert Affine(2.0, -1.0)([0.0, 1.0, 3.0]).tolist() == [-1.0, 1.0, 5.0]
    assert Affine()([0.5]).tolist() == [0.5]


def few_values(n):
    return hnp.arrays(np.float32, n, elements=st.sampled_from(np.arange(-5, 6).astype(np.float32) / 2))


@settings(deadline=None, max_examples=80)
@given(st.integers(1, 60).flatmap(few_values), st.integers(1, 20).flatmap(few_values))
def test_p_value_is_a_count_with_ties(normals, score):
    calibrator = Calibrator.fit(normals, np.zeros(len(normals)))
    count = [(1 + sum(bool(z >= s) for z in normals)) / (len(normals) + 1) for s in score]
    assert calibrator.p_value(score).tolist() == count


def test_only_normal_rows_make_p_values():
    score, label = np.array([5.0, 1.0, 9.0, 2.0, 3.0]), np.array([1, 0, 1, 0, 0])
    calibrator = Calibrator.fit(score, label)
    assert calibrator.normals.tolist() == [1.0, 2.0, 3.0]
    assert calibrator.normals.dtype == np.float32
    assert calibrator.p_value([10.0, 3.0, 0.0]).tolist() == [0.25, 0.5, 1.0]


@settings(deadline=None, max_examples=150)
@given(data=st.data(), m=st.integers(1, 700), tied=st.booleans(), seed=st.integers(0, 2**32 - 1))
def test_above_the_threshold_is_exactly_a_small_p_value(data, m, tied, seed):
    rate = st.one_of(
        st.integers(1, m).map(lambda k: k / (m + 1)),
        st.integers(1, 9999).map(lambda k: k / 10_000),
        st.integers(1, 99).map(lambda k: k * 0.01),
    )
    alpha = data.draw(rate, label="alpha")
    assume(1 <= alpha * (m + 1) * (1 + 1e-12) and alpha < 1 and alpha * (m + 1) < m + 1)
    rng = np.random.default_rng(seed)
    normals = rng.normal(size=m).astype(np.float32)
    normals = np.round(normals, 1) if tied else normals
    calibrator = Calibrator.fit(normals, np.zeros(m))
    at = calibrator.threshold(alpha)
    near = np.array([np.nextafter(np.float32(at), np.float32(d)) for d in (-np.inf, np.inf)], np.float32)
    score = np.concatenate([normals, near, rng.normal(size=50).astype(np.float32) * 2])
    assert np.array_equal(score > at, calibrator.p_value(score) <= alpha)


@pytest.mark.parametrize("m", [1, 9, 99, 100, 364, 999, 10_000])
def test_the_smallest_rate_can_be_promised_and_nothing_below(m):
    calibrator = Calibrator.fit(np.arange(m), np.zeros(m))
    assert calibrator.smallest_rate == 1 / (m + 1)
    assert calibrator.threshold(calibrator.smallest_rate) == m - 1
    with pytest.raises(InputError, match="cannot be promised") as refused:
        calibrator.threshold(calibrator.smallest_rate * 0.999)
    assert f"{m} calibration normals" in str(refused.value)


@pytest.mark.parametrize("alpha", [0.0, -0.1, 1.0, 1.5])
def test_a_rate_outside_its_range_is_refused(alpha):
    with pytest.raises(InputError, match="cannot be promised"):
        Calibrator.fit(np.arange(50), np.zeros(50)).threshold(alpha)


def false_alarms(alpha, m, n, repeats, decimals=None):
    rng = np.random.default_rng(20)
    alarms = []
    for _ in range(repeats):
        score = rng.gumbel(size=m + n)
        score = score if decimals is None else np.round(score, decimals)
        calibrator = Calibrator.fit(score[:m], np.zeros(m))
        alarms.append(int((score[m:].astype(np.float32) > calibrator.threshold(alpha)).sum()))
    return np.array(alarms)


@pytest.mark.parametrize(("alpha", "m"), [(0.01, 99), (0.01, 1000), (0.05, 219), (0.1, 500), (0.003, 400)])
def test_false_alarms_follow_the_beta_binomial_law(alpha, m):
    n, repeats = 1000, 100
    k = int(np.floor(alpha * (m + 1)))
    law = scipy.stats.betabinom(n, k, m + 1 - k)
    alarms = false_alarms(alpha, m, n, repeats)
    assert abs(alarms.mean() - law.mean()) < 3 * law.std() / np.sqrt(repeats)
    assert law.mean() <= n * alpha + 1e-9
    inside = ((law.ppf(0.05) <= alarms) & (alarms <= law.ppf(0.95))).sum()
    assert inside >= 82  # at least 90 are expected
    below = (alarms < law.median()).sum() + 0.5 * (alarms == law.median()).sum()
    assert 35 <= below <= 65


def test_ties_never_break_the_promise():
    alpha, m, n, repeats = 0.05, 199, 1000, 100
    law = scipy.stats.betabinom(n, 10, m + 1 - 10)
    assert false_alarms(alpha, m, n, repeats, decimals=0).mean() <= law.mean() + 3 * law.std() / np.sqrt(repeats)


def test_probability_is_there_with_labels_only():
    score, label = noisy_scores(8)
    assert Calibrator.fit(score, label).probability(score) is None
    calibrator = Calibrator.fit(score, label, probabilities=True)
    line = fit_affine(score.astype(np.float32), label, spread=0.5)
    np.testing.assert_array_equal(calibrator.probability(score), sigmoid(line(score)))


def test_a_handful_of_anomalies_does_not_bend_the_line():
    score = np.array([-3.0, -2.5, -2.0, -3.5, 1.0])
    line = Calibrator.fit(score, [0, 0, 0, 0, 1], probabilities=True).affine
    free = fit_affine(score, [0, 0, 0, 0, 1])
    assert abs(line.slope - 1) < 0.5 < abs(free.slope - 1)


def test_fit_refuses_what_it_cannot_use():
    with pytest.raises(InputError, match="no normal row"):
        Calibrator.fit([1.0, 2.0], [1, 1])
    for bad in (np.nan, np.inf):
        with pytest.raises(InputError, match="not finite"):
            Calibrator.fit([1.0, bad], [0, 1])


def test_the_threshold_is_exact_just_below_a_step():
    calibrator = Calibrator.fit(np.arange(9.0), np.zeros(9))
    alpha = 1 - 0.9  # 0.09999999999999998: nine normals promise 0.1, not this
    try:
        at = calibrator.threshold(alpha)
    except InputError:
        return
    assert np.array_equal(np.array([8.5]) > at, calibrator.p_value([8.5]) <= alpha)


@pytest.mark.parametrize(("scale", "offset"), [(1e6, 0), (1e9, 0), (1, 1e3), (1, 1e5)])
def test_fit_affine_at_any_scale(scale, offset):
    rng = np.random.default_rng(0)
    s = rng.normal(size=2000)
    y = (rng.random(2000) < sigmoid(1.5 * s - 1)).astype(int)
    line = fit_affine(s * scale + offset, y)
    assert line.slope * scale == pytest.approx(1.5, rel=0.2)
    assert sigmoid(line(s * scale + offset)).mean() == pytest.approx(y.mean(), rel=0.01)


def test_auroc_of_the_largest_scores():
    assert auroc([0, 1], [-1.7e308, 1.7e308]) == 1.0


def test_calibration_scores_beyond_float32():
    with pytest.raises(InputError, match="not finite"):
        Calibrator.fit([1e300, 0.0], [0, 0])


def test_no_rows_change_nothing():
    assert fit_affine([], []) == Affine()
