from __future__ import annotations

import imblearn.under_sampling
import numpy as np
import pytest

from limbeck.tabular.config import RESAMPLERS
from limbeck.tabular.encode import learn_features
from limbeck.tabular.resample import CLEANING_RATIO, NEIGHBOURS, resample

nan = float("nan")
OVER = ("ros", "smote", "borderline")
CATEGORICAL = (2,)


def table(normal=900, anomalous=30, *, seed=0, gaps=False, categories=False, scales=(1.0, 1.0, 1.0, 1.0), shift=1.0):
    """Overlapping clouds, so that every resampler has something to do."""
    rng = np.random.default_rng(seed)
    y = np.zeros(normal + anomalous, np.int8)
    y[rng.choice(y.size, anomalous, replace=False)] = 1
    x = rng.normal(size=(y.size, 4)) + shift * y[:, None]
    if categories:
        x[:, 2] = rng.integers(0, 3, y.size) + 2 * y  # anomalies know the codes 2, 3 and 4
    x *= np.where(np.isin(np.arange(4), CATEGORICAL if categories else ()), 1.0, scales)
    if gaps:
        x[rng.random(x.shape) < 0.1] = nan
    return x, y


def run(name, x, y, *, ratio=0.25, seed=1, categorical=()):
    return resample(name, x, y, learn_features(x, categorical), ratio=ratio, seed=seed, categorical=categorical)


def keys(x, y):
    """Each row with its label as bytes: equal where every bit is, gaps included."""
    return [row.tobytes() + bytes([label]) for row, label in zip(np.ascontiguousarray(x), y, strict=True)]


@pytest.mark.parametrize("gaps", [False, True], ids=["full", "gaps"])
@pytest.mark.parametrize(
    ("anomalous", "ratio", "aim"),
    [
        (30, 0.25, 0.25),
        (30, 0.1, 0.1),
        (90, 0.01, 2 * 90 / 990),  # twice the natural rate, where that is more
        (30, 1.0, 1.0),
        (400, 0.25, 2 * 400 / 1300),
    ],
)
@pytest.mark.parametrize("name", [*OVER, "rus"])
def test_the_ratio_is_reached(name, anomalous, ratio, aim, gaps):
    x, y = table(anomalous=anomalous, gaps=gaps)
    found = run(name, x, y, ratio=ratio)
    assert (found.used, found.reason) == (name, "")
    assert found.y.dtype == np.int8 and found.x.dtype == np.float64 and len(found.x) == len(found.y)
    normal, anomalies = (found.y == 0).sum(), (found.y == 1).sum()
    assert anomalies / normal == pytest.approx(aim, abs=1.5 / min(normal, anomalies) * max(aim, 0.1))
    assert (normal == 900) if name in OVER else (anomalies == anomalous)


@pytest.mark.parametrize("name", ["ros", "smote"])
def test_the_ratio_is_reached_with_categories(name):
    x, y = table(gaps=True, categories=True)
    found = run(name, x, y, categorical=CATEGORICAL)
    assert found.used == name and (found.y == 1).sum() == 225


@pytest.mark.parametrize("name", RESAMPLERS)
@pytest.mark.parametrize("categories", [False, True], ids=["numbers", "categories"])
def test_given_rows_stay_as_they_are(name, categories):
    x, y = table(gaps=True, categories=categories)
    before = x.copy(), y.copy()
    found = run(name, x, y, categorical=CATEGORICAL if categories else ())
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(y, before[1])
    given, kept = keys(x, y), keys(found.x, found.y)
    if found.used in ("none", *OVER):
        assert kept[: len(given)] == given
    if found.used in ("ros", "rus", "tomek"):
        assert set(kept) <= set(given)
    if found.used in ("rus", "tomek"):
        assert len(set(kept)) == len(kept) < len(given)
        assert (found.y == 1).sum() == 30


def test_none_is_the_identity():
    x, y = table(gaps=True)
    found = run("none", x, y)
    assert found.x is x and found.y is y and (found.used, found.reason) == ("none", "")


def made_rows(found, x):
    assert (found.y[len(x) :] == 1).all()
    return found.x[len(x) :]


def nearest(z, i):
    """Return the anomalies nearest to anomaly i, itself left out."""
    distance = np.linalg.norm(z - z[i], axis=1)
    return np.argsort(distance)[1 : NEIGHBOURS + 1]


def distance_to_segment(point, a, b):
    t = np.clip((point - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)
    return np.linalg.norm(point - (a + t * (b - a)))


@pytest.mark.parametrize("name", ["smote", "borderline"])
def test_made_rows_lie_between_neighbours_in_scaled_units(name):
    x, y = table(scales=(1e6, 1.0, 1e-3, 50.0))
    features = learn_features(x)
    made = (made_rows(run(name, x, y), x) - features.centre) / features.scale
    known = (x[y == 1] - features.centre) / features.scale
    pairs = [(known[i], known[j]) for i in range(len(known)) for j in nearest(known, i)]
    gap = [min(distance_to_segment(point, a, b) for a, b in pairs) for point in made]
    assert len(made) == 195 and max(gap) < 1e-9
    # with raw units the first column alone would choose the neighbours
    raw = [(known[i], known[j]) for i in range(len(known)) for j in nearest(x[y == 1], i)]
    assert max(min(distance_to_segment(point, a, b) for a, b in raw) for point in made) > 0.1


def test_made_rows_take_gaps_at_the_centre():
    x, y = table(gaps=True)
    features = learn_features(x)
    made = made_rows(run("smote", x, y), x)
    assert np.isfinite(made).all()
    known = np.where(np.isnan(x[y == 1]), features.centre, x[y == 1])
    assert (made >= known.min(axis=0) - 1e-9).all() and (made <= known.max(axis=0) + 1e-9).all()


def test_made_rows_have_categories_that_anomalies_have():
    x, y = table(categories=True)
    x[(y == 0) & (np.arange(len(y)) % 3 == 0), 2] = nan  # no anomaly has a gap here
    made = made_rows(run("smote", x, y, categorical=CATEGORICAL), x)
    assert set(made[:, 2]) <= set(x[y == 1, 2]) and len(set(made[:, 2])) > 1
    x[y == 1, 2] = nan
    made = made_rows(run("smote", x, y, categorical=CATEGORICAL), x)
    assert np.isnan(made[:, 2]).all() and np.isfinite(made[:, [0, 1, 3]]).all()


def test_made_rows_of_categories_alone():
    rng = np.random.default_rng(0)
    y = np.r_[np.zeros(300), np.ones(20)].astype(np.int8)
    x = rng.integers(0, 3, (320, 2)).astype(float) + 2 * y[:, None]
    found = run("smote", x, y, categorical=(0, 1))
    assert found.used == "smote" and (found.y == 1).sum() == 75
    for j in range(2):
        assert set(made_rows(found, x)[:, j]) <= set(x[y == 1, j])


@pytest.mark.parametrize("name", ["smote", "borderline"])
def test_too_few_anomalies_for_neighbours_are_repeated_instead(name):
    x, y = table(anomalous=NEIGHBOURS)
    found = run(name, x, y)
    assert found.used == "ros" and f"{NEIGHBOURS} anomalies are too few" in found.reason
    assert set(keys(found.x, found.y)) == set(keys(x, y)) and (found.y == 1).sum() == 225
    assert run(name, *table(anomalous=NEIGHBOURS + 1)).used == name


def test_borderline_cannot_mix_categories():
    x, y = table(categories=True)
    found = run("borderline", x, y, categorical=CATEGORICAL)
    assert found.used == "ros" and "categories" in found.reason and (found.y == 1).sum() == 225


@pytest.mark.parametrize("name", ["ros", "smote", "borderline", "rus"])
@pytest.mark.parametrize("anomalous", [900, 1500])
def test_balanced_classes_are_left_alone_with_a_reason(name, anomalous):
    x, y = table(anomalous=anomalous)
    found = run(name, x, y)
    assert (found.used, found.reason) == ("none", "the classes are balanced already")
    assert found.x is x


def test_tomek_removes_the_normal_half_of_each_link():
    x = np.array([[0.0], [0.1], [5.0], [5.1], [5.25], [9.0], [20.0], [20.1]])
    y = np.array([0, 1, 0, 0, 1, 1, 0, 0], np.int8)
    # mutual neighbours of different labels: 0 and 0.1; 5.25's neighbour is 5.1, but that one's is 5.0
    found = run("tomek", x, y)
    assert found.x[:, 0].tolist() == [0.1, 5.0, 5.1, 5.25, 9.0, 20.0, 20.1]
    assert found.y.tolist() == [1, 0, 0, 1, 1, 0, 0] and (found.used, found.reason) == ("tomek", "")


@pytest.mark.parametrize("gaps", [False, True], ids=["full", "gaps"])
@pytest.mark.parametrize("seed", range(3))
def test_tomek_is_imbalanced_learn_s_on_network_inputs(seed, gaps):
    x, y = table(normal=500, anomalous=60, seed=seed, gaps=gaps, scales=(1e5, 1.0, 1e-4, 1.0))
    sampler = imblearn.under_sampling.TomekLinks()
    sampler.fit_resample(learn_features(x)(x), y)
    found = run("tomek", x, y)
    assert len(sampler.sample_indices_) < len(x)
    np.testing.assert_array_equal(found.x, x[sampler.sample_indices_])
    np.testing.assert_array_equal(found.y, y[sampler.sample_indices_])


def test_tomek_looks_at_a_bounded_number_of_normal_rows():
    x, y = table(normal=3000, anomalous=20)
    found = run("tomek", x, y)
    assert (found.y == 1).sum() == 20
    assert 0.8 * CLEANING_RATIO * 20 < (found.y == 0).sum() <= CLEANING_RATIO * 20


@pytest.mark.parametrize("name", RESAMPLERS)
def test_the_same_seed_gives_the_same_rows(name):
    x, y = table(normal=1500, gaps=True)
    first, again, other = (run(name, x, y, seed=s) for s in (3, 3, 4))
    np.testing.assert_array_equal(first.x, again.x)
    np.testing.assert_array_equal(first.y, again.y)
    assert np.array_equal(first.x, other.x, equal_nan=True) == (name == "none")


@pytest.mark.parametrize("name", ["ros", "smote", "borderline"])
@pytest.mark.parametrize(("normal", "anomalous"), [(41, 40), (51, 49), (5, 1), (2, 1)])
def test_nearly_balanced_or_tiny_folds_can_be_resampled(name, normal, anomalous):
    x = np.random.default_rng(0).normal(size=(normal + anomalous, 2))
    y = np.r_[np.zeros(normal), np.ones(anomalous)].astype(np.int8)
    found = resample(name, x, y, learn_features(x), ratio=0.25, seed=0)
    assert (found.y == 1).sum() >= anomalous


def test_borderline_that_makes_nothing_says_so():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 3)), np.r_[np.zeros(180), np.ones(20)].astype(np.int8)
    x[180:] += 50
    found = resample("borderline", x, y, learn_features(x), ratio=0.25, seed=0)
    assert found.reason or (found.y == 1).sum() > 20


def test_smote_far():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 3)), np.r_[np.zeros(180), np.ones(20)].astype(np.int8)
    x[190:193, 1] = [1e308, -1e308, 1e200]
    assert np.isfinite(resample("smote", x, y, learn_features(x), ratio=0.25, seed=0).x).all()


def test_smote_far_scale():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 3)), np.r_[np.zeros(180), np.ones(20)].astype(np.int8)
    x[:, 1] *= 1e-3
    x[190:193, 1] = [1e308, -1e308, 1e200]
    assert np.isfinite(resample("smote", x, y, learn_features(x), ratio=0.25, seed=0).x).all()
