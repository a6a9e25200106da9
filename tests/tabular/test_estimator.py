"""The committee as an estimator: PyOD's names and sense, calibrated; it goes on learning."""

import copy

import numpy as np
import pytest
from pyod.models.knn import KNN
from sklearn.ensemble import IsolationForest
from sklearn.utils.estimator_checks import parametrize_with_checks

import limbeck
from limbeck.config import replace
from limbeck.errors import ConfigError, InputError, LimbeckWarning
from limbeck.fidelity import spearman
from limbeck.metrics import brier
from limbeck.network import Network
from limbeck.tabular import estimator as module
from limbeck.tabular.adapter import SklearnOutlier, as_sklearn
from limbeck.tabular.config import CommitteeConfig
from limbeck.tabular.estimator import CommitteeDetector

TINY = CommitteeConfig(teachers=("tails",), steps=5, batch=64, fewest=50, fidelity=-1.0)
QUICK = CommitteeConfig(teachers=("tails", "nearest"), steps=600, batch=256, fewest=1000)


@pytest.mark.filterwarnings("ignore::limbeck.errors.LimbeckWarning")  # so few rows promise little
@parametrize_with_checks([CommitteeDetector(TINY), SklearnOutlier(CommitteeDetector(TINY, alpha=0.05))])
def test_scikit_learn(estimator, check):
    check(estimator)


def table(n=1500, share=0.04, seed=0, shift=0.0):
    """Rows on a bent sheet, and some that are off it."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4))
    x[:, 1] = x[:, 0] ** 2 + 0.1 * x[:, 1]
    y = (rng.random(n) < share).astype(int)
    x[y == 1] += rng.choice([-2.0, 2.0], (int(y.sum()), 4))
    x[:, :3] += shift
    return x, y


@pytest.fixture(scope="module")
def fitted():
    return CommitteeDetector(QUICK, alpha=0.05).fit(table()[0])


@pytest.fixture
def model(fitted):
    return copy.deepcopy(fitted)


@pytest.fixture(scope="module")
def knn():
    return KNN(contamination=0.1).fit(table()[0])


# PyOD


def test_the_names_and_the_sense_are_those_of_pyod(knn):
    x, y = table()
    ours = CommitteeDetector(QUICK, contamination=0.1).fit(x, y)
    fresh, _ = table(seed=1)
    for name in ("decision_scores_", "labels_", "threshold_"):
        assert np.shape(getattr(ours, name)) == np.shape(getattr(knn, name)), name
    for name in ("decision_function", "predict", "predict_proba"):
        assert getattr(ours, name)(fresh).shape == getattr(knn, name)(fresh).shape, name
    for detector in (ours, knn):
        assert set(detector.predict(fresh)) == set(detector.labels_) == {0, 1}
        np.testing.assert_array_equal(detector.labels_, detector.decision_scores_ > detector.threshold_)
        assert detector.labels_.sum() == 150 and detector.threshold_ == np.quantile(detector.decision_scores_, 0.9)
        assert detector.decision_function(fresh)[np.argsort(fresh[:, 3])[-1]] > detector.threshold_
        probability = detector.predict_proba(fresh)
        np.testing.assert_allclose(probability.sum(1), 1.0)
        assert spearman(probability[:, 1], detector.decision_function(fresh)) > 0.98
    assert spearman(ours.decision_function(fresh), knn.decision_function(fresh)) > 0.7


def test_labels_given_to_fit_are_ignored(fitted):
    x, y = table()
    again = CommitteeDetector(QUICK, alpha=0.05).fit(x, y)
    np.testing.assert_array_equal(again.decision_scores_, fitted.decision_scores_)


# what a score becomes


def test_p_values_are_uniform_on_rows_like_those(fitted):
    fresh, _ = table(4000, seed=1)
    p = fitted.predict_pvalue(fresh)
    assert p.min() > 0 and p.max() <= 1
    assert all(abs((p <= a).mean() - a) < 0.06 for a in (0.05, 0.25, 0.5, 0.75))
    np.testing.assert_array_equal(fitted.predict(fresh), p <= 0.05)
    np.testing.assert_array_equal(fitted.predict_proba(fresh)[:, 1], 1 - p)


def test_a_few_labels_make_true_probabilities(model):
    before = model.predict_pvalue(table(100)[0])
    x, y = table(400, 0.08, seed=2)
    model.calibrate(x, y)
    fresh, truth = table(4000, 0.08, seed=3)
    probability = model.predict_proba(fresh)[:, 1]
    assert abs(probability.mean() - truth.mean()) < 0.03
    assert brier(truth, probability) < 0.75 * truth.mean() * (1 - truth.mean())
    top = probability > np.quantile(probability, 0.95)
    assert abs(probability[top].mean() - truth[top].mean()) < 0.15
    np.testing.assert_array_equal(model.predict_pvalue(table(100)[0]), before)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda y, score: y * 0, "too few labelled rows"),
        (lambda y, score: y[:7], "labels and rows do not match"),
        (lambda y, score: y * 2, "labels and rows do not match"),
        (lambda y, score: (score < np.quantile(score, 0.2)).astype(int), "higher scores are more normal"),
    ],
)
def test_labels_that_are_refused(model, change, words):
    x, y = table(200, 0.1, seed=2)
    with pytest.raises(InputError, match=words):
        model.calibrate(x, change(y, model.decision_function(x)))
    assert model.calibrator_.affine is None


def test_gaps_are_allowed_and_a_row_does_not_depend_on_the_others(fitted):
    fresh, _ = table(50, seed=4)
    fresh[::3, 1] = np.nan
    whole = fitted.decision_function(fresh)
    assert np.isfinite(whole).all()
    np.testing.assert_allclose([fitted.decision_function(row[None])[0] for row in fresh], whole, rtol=1e-6)


# the threshold


def test_the_threshold_moves_and_nothing_is_learned_again(model):
    network, scores = model.network_, model.decision_scores_
    for alpha in (0.02, 0.2):
        assert model.set_threshold(alpha=alpha) is model and model.threshold_ == model.calibrator_.threshold(alpha)
    for share in (0.01, 0.3):
        model.set_threshold(contamination=share)
        assert model.labels_.sum() == round(1500 * share) == model.predict(table()[0]).sum()
    assert model.network_ is network and model.decision_scores_ is scores


def test_the_threshold_of_least_expected_cost(model):
    model.calibrate(*table(400, 0.08, seed=2))
    fresh, _ = table(2000, 0.08, seed=3)
    probability = model.predict_proba(fresh)[:, 1]
    for false_alarm, miss in ((1, 1), (1, 10), (5, 2)):
        verdict = model.set_threshold(cost=(false_alarm, miss)).predict(fresh)
        np.testing.assert_array_equal(verdict, (1 - probability) * false_alarm < probability * miss)


def test_thresholds_that_are_refused(model):
    before = model.threshold_
    for values, error, words in (
        ({}, ConfigError, "none of them"),
        ({"alpha": 0.1, "contamination": 0.1}, ConfigError, "one of alpha, contamination and cost"),
        ({"alpha": 1e-9}, InputError, "cannot be promised"),
        ({"contamination": 0.7}, ConfigError, "at most 0.5"),
        ({"cost": (1, 10)}, InputError, "a few labelled rows"),
    ):
        with pytest.raises(error, match=words):
            model.set_threshold(**values)
    model.calibrate(*table(400, 0.08, seed=2))
    for cost in ((1, 0), 3, (1, 2, 3)):
        with pytest.raises(ConfigError, match="two numbers above 0"):
            model.set_threshold(cost=cost)
    assert model.threshold_ == before and model.rule_ == ("alpha", 0.05)


@pytest.mark.parametrize(
    ("values", "x", "words"),
    [
        ({"alpha": 0.0}, table(50)[0], "between 0 and 1"),
        ({"alpha": "auto"}, table(50)[0], "between 0 and 1"),
        ({"contamination": 0.6}, table(50)[0], "at most 0.5"),
        ({}, table(5)[0], "at least 5"),
        ({}, np.ones((50, 2)), "no column varies"),
    ],
)
def test_what_cannot_be_learned_from(values, x, words):
    with pytest.raises((ConfigError, InputError), match=words):
        CommitteeDetector(TINY, **values).fit(x)


def test_a_rate_that_so_few_rows_cannot_promise_is_raised_and_said():
    with pytest.warns(LimbeckWarning, match="raised to 0.0164"):
        model = CommitteeDetector(TINY, alpha=0.01).fit(table(300)[0])
    assert model.threshold_ == model.calibrator_.normals[-1] and model.rule_ == ("alpha", 0.01)


# newer rows


def follows(model, x):
    return spearman(model.committee_(x), model.decision_function(x))


def test_a_refreshed_student_follows_on_newer_rows_and_still_on_old_ones(model, fitted):
    model.refresh(table(1000, seed=5, shift=3.0)[0])
    newer, old = table(600, seed=6, shift=3.0)[0], table(600, seed=7)[0]
    assert follows(model, newer) > follows(fitted, newer) + 0.02
    assert follows(model, newer) > 0.93 and follows(model, old) > 0.93
    assert model.fidelity_["n"] == 160 and len(model.decision_scores_) == 1000
    assert fitted.predict(newer).mean() > 0.8, "all of them are strange to the one that has not seen any"
    assert abs(model.predict(newer).mean() - 0.05) < 0.05


def test_without_old_rows_it_would_forget(model):
    beside = copy.deepcopy(model).refresh(table(1000, seed=5, shift=3.0)[0], steps=300)
    model.remembered_ = (np.empty((0, 4)), np.empty(0))
    model.refresh(table(1000, seed=5, shift=3.0)[0], steps=300)
    old = table(600, seed=7)[0]
    assert follows(model, old) < follows(beside, old) - 0.01


def test_it_begins_with_the_weights_that_it_has(model):
    before = model.network_
    model.refresh(table(1000, seed=1)[0], steps=1)
    assert model.network_.features is before.features
    moved = [np.abs(a - b).max() for a, b in zip(model.network_.weights, before.weights, strict=True)]
    assert 0 < max(moved) < 0.01


def test_another_teachers_scores_can_be_followed(model):
    newer, fresh = table(1000, seed=5, shift=1.0)[0], table(600, seed=6, shift=1.0)[0]
    teacher = KNN().fit(newer)
    before = spearman(teacher.decision_function(fresh), model.decision_function(fresh))
    model.refresh(newer, teacher.decision_scores_, steps=600)
    assert spearman(teacher.decision_function(fresh), model.decision_function(fresh)) > max(0.85, before + 0.1)


def test_the_rows_that_are_remembered_are_few_and_of_all_times(model):
    assert model.remembered_[0].shape == (1200, 4) and model.remembered_[1].shape == (1200,)
    model.set_params(config=replace(QUICK, {"fidelity": -1}))
    model.refresh(table(2000, seed=5, shift=50.0)[0], steps=1)
    kept = model.remembered_[0]
    assert kept.shape == (2000, 4) and 0.3 < (kept[:, 0] > 25).mean() < 0.7


def test_what_was_set_stays_and_probabilities_are_lost(model):
    model.calibrate(*table(400, 0.08, seed=2)).set_threshold(contamination=0.2)
    with pytest.warns(LimbeckWarning, match="calibrate it again"):
        model.refresh(table(1000, seed=1)[0], steps=20)
    assert model.labels_.sum() == 200
    np.testing.assert_array_equal(model.predict_proba(table(9)[0])[:, 1], 1 - model.predict_pvalue(table(9)[0]))
    model.calibrate(*table(400, 0.08, seed=2)).set_threshold(cost=(1, 9))
    with pytest.warns(LimbeckWarning, match="calibrate it again"):
        model.refresh(table(1000, seed=1)[0], steps=20)
    assert model.threshold_ == model.calibrator_.threshold(0.05), "costs need probabilities"


def test_a_refresh_that_fails_changes_nothing(model, monkeypatch):
    before = dict(vars(model))
    x = table(1300, seed=5)[0]
    for rows, scores, words in (
        (x[:, :3], None, "4 features"),
        (x[:4], None, "too few rows"),
        (x, np.ones(1300), "says the same of every row"),
        (x, np.ones(7), r"shape \(1300,\)"),
        (x, np.r_[np.nan, np.arange(1299.0)], "1 of 1,300"),
        (x, np.random.default_rng(0).random(1300), "does not follow the given scores"),
    ):
        with pytest.raises(ValueError, match=words):
            model.refresh(rows, scores)
    follow = module.follow

    def silent(*arguments, start, **named):
        flat = tuple(np.zeros_like(w) for w in start.weights), tuple(np.zeros_like(b) for b in start.biases)
        return follow(*arguments, start=Network(start.features, *flat), **named)

    monkeypatch.setattr(module, "follow", silent)
    with pytest.raises(InputError, match="does not follow the committee"):
        model.refresh(x, steps=1)
    assert vars(model) == before


# scikit-learn


def test_the_senses_of_scikit_learn_and_of_pyod_agree(knn):
    fresh, _ = table(300, seed=1)
    adapted = as_sklearn(knn)
    np.testing.assert_array_equal(adapted.predict(fresh), 1 - 2 * knn.predict(fresh))
    np.testing.assert_array_equal(adapted.score_samples(fresh), -knn.decision_function(fresh))
    np.testing.assert_allclose(adapted.decision_function(fresh), knn.threshold_ - knn.decision_function(fresh))
    again = as_sklearn(KNN(), contamination=0.02).fit(fresh)
    assert (again.predict(fresh) == -1).sum() == 6 and (IsolationForest().fit(fresh).predict(fresh) == -1).any()
    with pytest.raises(ValueError, match="NaN"):
        as_sklearn(KNN()).fit(np.full((30, 2), np.nan))


def test_a_packaged_detector_is_adapted_as_it_is(offset_detector):
    adapted = as_sklearn(offset_detector)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(200, 4)) * [1, 10, 1e-3, 1e6] + [0, 1e9, 0, -1e7]
    x[:20, :2] += [3, 30]
    x[5, 2] = np.nan
    verdict = offset_detector.detect(x)
    np.testing.assert_array_equal(adapted.predict(x), np.where(verdict.is_anomaly, -1, 1))
    assert (adapted.predict(x) == -1).any()
    np.testing.assert_array_equal(adapted.fit(x).predict(x), np.where(verdict.is_anomaly, -1, 1))
    assert (as_sklearn(offset_detector, contamination=0.1).fit_predict(x) == -1).sum() == 20
    with pytest.raises(ValueError, match="3 features"):
        adapted.predict(x[:, :3])
    with pytest.raises(InputError, match="wrong shape"):
        as_sklearn(offset_detector).fit(x[:, :3])


def test_what_is_not_adapted(picture_detector):
    for detector in (IsolationForest(), abs):
        with pytest.raises(InputError, match="no detector in PyOD's sense"):
            as_sklearn(detector)
    with pytest.raises(InputError, match="judges pictures"):
        as_sklearn(picture_detector)
    with pytest.raises(ConfigError, match="at most 0.5"):
        limbeck.as_sklearn(CommitteeDetector(TINY), contamination=0.9).fit(table(50)[0])
