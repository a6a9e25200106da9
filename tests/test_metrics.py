"""Oracles: scikit-learn, and loops that follow the definitions word for word."""

from __future__ import annotations

import math
from fractions import Fraction

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import sklearn.calibration
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck import metrics
from limbeck.errors import InputError

RANKING = (metrics.auroc, metrics.average_precision, metrics.f1_max, metrics.recall_at_fpr)


@st.composite
def labelled_scores(draw):
    """Both classes, 2 to 60 rows, few distinct scores: mostly ties."""
    n = draw(st.integers(2, 60))
    label = draw(hnp.arrays(np.int8, n, elements=st.integers(0, 1)))
    label[0], label[-1] = 0, 1
    score = draw(hnp.arrays(np.int64, n, elements=st.integers(-6, 6))).astype(np.float64)
    return label, score


def random_case(seed, kind):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(20, 400))
    label = (rng.random(n) < rng.uniform(0.05, 0.6)).astype(np.int64)
    label[:2] = 0, 1
    score = rng.normal(size=n) + label
    return label, {
        "continuous": score,
        "ties": np.round(score),
        "one value": np.zeros(n),
        "negative": -100 + np.round(score, 1),
        "offset": 1e9 + np.round(score * 4),
        "tiny": score * 1e-300,
        "huge": score * 1e300,
        "float32": score.astype(np.float32),
    }[kind]


KINDS = ("continuous", "ties", "one value", "negative", "offset", "tiny", "huge", "float32")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_ranking_metrics_agree_with_scikit_learn(seed, kind):
    label, score = random_case(seed, kind)
    assert metrics.auroc(label, score) == pytest.approx(sklearn.metrics.roc_auc_score(label, score), abs=1e-12)
    assert metrics.average_precision(label, score) == pytest.approx(
        sklearn.metrics.average_precision_score(label, score), abs=1e-12
    )


@pytest.mark.parametrize("kind", KINDS)
def test_curves_agree_with_scikit_learn(kind):
    label, score = random_case(7, kind)
    for ours, theirs in zip(
        metrics.roc_curve(label, score),
        sklearn.metrics.roc_curve(label, score, drop_intermediate=False),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    precision, recall, threshold = sklearn.metrics.precision_recall_curve(label, score)
    ours = metrics.precision_recall_curve(label, score)
    np.testing.assert_allclose(ours[0][::-1], precision[:-1], rtol=1e-12)
    np.testing.assert_allclose(ours[1][::-1], recall[:-1], rtol=1e-12)
    np.testing.assert_allclose(ours[2][::-1], threshold, rtol=1e-12)


@settings(deadline=None, max_examples=60)
@given(labelled_scores())
def test_ranking_metrics_agree_with_scikit_learn_on_ties(case):
    label, score = case
    assert metrics.auroc(label, score) == pytest.approx(sklearn.metrics.roc_auc_score(label, score), abs=1e-12)
    assert metrics.average_precision(label, score) == pytest.approx(
        sklearn.metrics.average_precision_score(label, score), abs=1e-12
    )


@settings(deadline=None, max_examples=60)
@given(labelled_scores())
def test_auroc_is_the_chance_of_the_right_order(case):
    label, score = case
    pairs = [(a > b) + 0.5 * (a == b) for a in score[label == 1] for b in score[label == 0]]
    assert metrics.auroc(label, score) == pytest.approx(np.mean(pairs), abs=1e-12)


@settings(deadline=None, max_examples=60)
@given(labelled_scores())
def test_f1_max_is_the_best_of_all_thresholds(case):
    label, score = case
    best = max(sklearn.metrics.f1_score(label, score >= t, zero_division=0.0) for t in np.unique(score))
    assert metrics.f1_max(label, score) == pytest.approx(best, abs=1e-12)


@settings(deadline=None, max_examples=60)
@given(labelled_scores(), st.floats(-7, 7))
def test_f1_at_is_scikit_learn_s_f1(case, threshold):
    label, score = case
    expected = sklearn.metrics.f1_score(label, score > threshold, zero_division=0.0)
    assert metrics.f1_at(label, score, threshold) == pytest.approx(expected, abs=1e-12)


@settings(deadline=None, max_examples=60)
@given(labelled_scores(), st.one_of(st.sampled_from([0.0, 0.01, 0.1, 0.25, 0.5, 1.0]), st.floats(0, 1)))
def test_recall_at_fpr_is_the_best_affordable_threshold(case, rate):
    label, score = case
    best = 0.0
    for t in [np.inf, *np.unique(score)]:
        alarm = score >= t
        if alarm[label == 0].mean() <= rate:
            best = max(best, alarm[label == 1].mean())
    assert metrics.recall_at_fpr(label, score, rate) == pytest.approx(best, abs=1e-12)


@settings(deadline=None, max_examples=40)
@given(labelled_scores(), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(case, random):
    label, score = case
    order = list(range(len(label)))
    random.shuffle(order)
    for metric in RANKING:
        assert metric(label[order], score[order]) == metric(label, score)
    probability = (score + 6) / 12
    for metric in (metrics.brier, metrics.ece):
        assert metric(label[order], probability[order]) == pytest.approx(metric(label, probability), abs=1e-12)


@pytest.mark.parametrize(
    "transform",
    [lambda s: 3 * s - 7, lambda s: s**3, np.exp, lambda s: s + 1e12, lambda s: np.unique(s, return_inverse=True)[1]],
    ids=["affine", "cube", "exp", "offset", "rank"],
)
@settings(deadline=None, max_examples=25)
@given(case=labelled_scores())
def test_only_the_ranking_matters(case, transform):
    label, score = case
    for metric in RANKING:
        assert metric(label, transform(score)) == metric(label, score)


def test_known_values_at_the_ends():
    label = [0, 0, 0, 1]
    assert metrics.auroc(label, [1, 2, 3, 4]) == 1.0
    assert metrics.auroc(label, [2, 3, 4, 1]) == 0.0
    assert metrics.auroc(label, [5, 5, 5, 5]) == 0.5
    assert metrics.average_precision(label, [5, 5, 5, 5]) == 0.25
    assert metrics.f1_max(label, [5, 5, 5, 5]) == pytest.approx(0.4)
    assert metrics.recall_at_fpr(label, [5, 5, 5, 5], 0.5) == 0.0
    assert metrics.f1_at(label, [1, 2, 3, 4], 4) == 0.0


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("decimals", [1, 17])
def test_probability_metrics_agree_with_scikit_learn(seed, decimals):
    rng = np.random.default_rng(seed)
    label = (rng.random(300) < 0.2).astype(int)
    probability = np.round(rng.random(300), decimals)
    log_odds = np.round(rng.normal(0, 4, 300), decimals)
    assert metrics.brier(label, probability) == pytest.approx(
        sklearn.metrics.brier_score_loss(label, probability), abs=1e-12
    )
    assert metrics.log_loss(label, log_odds) == pytest.approx(
        sklearn.metrics.log_loss(label, 1 / (1 + np.exp(-log_odds))), rel=1e-9
    )


def test_log_loss_is_not_clipped():
    assert metrics.log_loss([0, 1], [1000.0, -3000.0]) == 2000.0
    assert metrics.log_loss([0, 1], [-1000.0, 3000.0]) == 0.0
    assert metrics.log_loss([1, 1], [math.log(3), math.log(3)]) == pytest.approx(-math.log(0.75))


@pytest.mark.parametrize("bins", [1, 5, 15])
@pytest.mark.parametrize("seed", range(3))
def test_reliability_agrees_with_scikit_learn(seed, bins):
    rng = np.random.default_rng(seed)
    probability = rng.permutation(np.linspace(0.001, 0.999, 40 * bins))
    label = (rng.random(40 * bins) < probability**2).astype(int)
    observed, predicted = sklearn.calibration.calibration_curve(label, probability, n_bins=bins, strategy="quantile")
    ours = metrics.reliability(label, probability, bins)
    np.testing.assert_allclose(ours[0], predicted, rtol=1e-12)
    np.testing.assert_allclose(ours[1], observed, rtol=1e-12)
    assert ours[2].tolist() == [40] * bins


def plain_ece(label, probability, bins):
    """Bin j ends at the smallest value that j / bins of the rows do not exceed; equal values share a bin."""
    n, ranked = len(probability), sorted(probability)
    edges = sorted({ranked[math.ceil(Fraction(j * n, bins)) - 1] for j in range(1, bins)})
    held = {}
    for y, p in zip(label, probability, strict=True):
        held.setdefault(sum(e < p for e in edges), []).append((y, p))
    return sum(abs(sum(p for _, p in rows) - sum(y for y, _ in rows)) for rows in held.values()) / n


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 1), st.sampled_from([i / 16 for i in range(17)])), min_size=1, max_size=70),
    st.sampled_from([1, 2, 7, 15]),
)
def test_ece_is_the_plain_loop_even_with_ties(rows, bins):
    label, probability = map(list, zip(*rows, strict=True))
    assert metrics.ece(label, probability, bins) == pytest.approx(plain_ece(label, probability, bins), abs=1e-12)


@pytest.mark.parametrize("n", [3, 14, 15, 16, 299, 1000])
def test_ece_is_the_plain_loop_without_ties(n):
    rng = np.random.default_rng(n)
    probability = rng.random(n)
    label = (rng.random(n) < probability).astype(int)
    assert metrics.ece(label, probability) == pytest.approx(
        plain_ece(label.tolist(), probability.tolist(), 15), abs=1e-12
    )


@pytest.mark.parametrize("decimals", [1, 17])
def test_ece_floor_is_the_mean_ece_of_drawn_labels(decimals):
    rng = np.random.default_rng(5)
    probability = np.sort(np.round(rng.beta(1, 8, 400), decimals))
    draw = np.random.default_rng(11)
    plain = [metrics.ece((draw.random(400) < probability).astype(int), probability) for _ in range(100)]
    assert metrics.ece_floor(probability, draws=100, seed=11) == pytest.approx(np.mean(plain), abs=1e-12)


def test_ece_floor_within_the_noise_of_an_independent_monte_carlo():
    rng = np.random.default_rng(6)
    probability = np.where(np.arange(300) % 10 == 0, 0.5, 0.01) + rng.uniform(0, 0.01, 300)  # not sorted
    plain = [
        plain_ece((rng.random(300) < probability).astype(int).tolist(), probability.tolist(), 10) for _ in range(200)
    ]
    error = np.std(plain) * math.sqrt(1 / 200 + 1 / 1000)
    assert abs(metrics.ece_floor(probability, 10, draws=1000) - np.mean(plain)) < 4 * error


def test_ece_floor_depends_on_its_seed_alone():
    probability = np.linspace(0, 1, 50)
    assert metrics.ece_floor(probability, seed=1) == metrics.ece_floor(probability, seed=1)
    assert metrics.ece_floor(probability, seed=1) != metrics.ece_floor(probability, seed=2)


ALL = [*RANKING, metrics.roc_curve, metrics.precision_recall_curve, lambda y, s: metrics.f1_at(y, s, 0.5)]
PROBABILITY = [metrics.brier, metrics.ece, metrics.reliability]
LABELLED = [*ALL, *PROBABILITY, metrics.log_loss]


@pytest.mark.parametrize("metric", LABELLED)
@pytest.mark.parametrize(
    ("label", "score", "says"),
    [
        ([0, 1], [0.1, np.nan], "not finite"),
        ([0, 1], [0.1, np.inf], "not finite"),
        ([0, 1, 1], [0.1, 0.2], "do not match"),
        ([0, 1], [[0.1], [0.2]], "do not match"),
        ([[0, 1]], [[0.1, 0.2]], "do not match"),
        ([], [], "do not match"),
        ([0, 2], [0.1, 0.2], "neither 0 nor 1"),
        ([-1, 1], [0.1, 0.2], "neither 0 nor 1"),
        ([0, np.nan], [0.1, 0.2], "neither 0 nor 1"),
    ],
)
def test_bad_input_is_refused(metric, label, score, says):
    with pytest.raises(InputError, match=says):
        metric(label, score)


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize("label", [0, 1])
def test_a_ranking_needs_both_classes(metric, label):
    with pytest.raises(InputError, match="only one class"):
        metric([label, label], [0.1, 0.2])


@pytest.mark.parametrize("metric", [*PROBABILITY, lambda y, p: metrics.ece_floor(p)])
@pytest.mark.parametrize("bad", [-1e-9, 1.0000001, 3.0])
def test_a_probability_outside_its_range_is_refused(metric, bad):
    with pytest.raises(InputError, match=r"outside \[0, 1\]"):
        metric([0, 1], [0.5, bad])


@pytest.mark.parametrize("label", [0, 1])
def test_probabilities_of_one_class_are_fine(label):
    assert metrics.brier([label] * 3, [label] * 3) == 0.0
    assert metrics.ece([label] * 3, [label] * 3) == 0.0
    assert metrics.log_loss([label] * 3, [0.0] * 3) == pytest.approx(math.log(2))


def test_input_is_left_as_it_was():
    label, score = np.array([1, 0, 1, 0]), np.array([0.3, 0.9, 0.1, 0.4])
    before = label.copy(), score.copy()
    for metric in LABELLED:
        metric(label, score)
    metrics.ece_floor(score)
    assert np.array_equal(label, before[0]) and np.array_equal(score, before[1])
