from __future__ import annotations

import imblearn.over_sampling
import imblearn.under_sampling
import numpy as np
import pytest
from scipy.spatial.distance import cdist

import limbeck.tabular.resample as module
from limbeck.network import REACH
from limbeck.tabular.config import RESAMPLERS
from limbeck.tabular.encode import learn_features
from limbeck.tabular.resample import CLEANING_RATIO, NEIGHBOURS, resample, thin

nan = float("nan")
OVER = ("ros", "smote", "borderline")
UNDER = ("rus", "nearmiss")
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
@pytest.mark.parametrize("name", [*OVER, "adasyn", *UNDER])
def test_the_ratio_is_reached(name, anomalous, ratio, aim, gaps):
    x, y = table(anomalous=anomalous, gaps=gaps)
    found = run(name, x, y, ratio=ratio)
    assert (found.used, found.reason) == (name, "")
    assert found.y.dtype == np.int8 and found.x.dtype == np.float64 and len(found.x) == len(found.y)
    normal, anomalies = (found.y == 0).sum(), (found.y == 1).sum()
    close = anomalous / 2 / normal if name == "adasyn" else 0  # it rounds what it makes of each anomaly
    assert anomalies / normal == pytest.approx(aim, abs=1.5 / min(normal, anomalies) * max(aim, 0.1) + close)
    assert (anomalies == anomalous) if name in UNDER else (normal == 900)


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
    if found.used in ("none", *OVER, "adasyn"):
        assert kept[: len(given)] == given
    if found.used in ("ros", "rus", "tomek", "enn", "nearmiss"):
        assert set(kept) <= set(given)
    if found.used in ("rus", "tomek", "enn", "nearmiss"):
        assert len(set(kept)) == len(kept) < len(given)
        assert (found.y == 1).sum() == 30
    if found.used == "smoteenn":
        assert {key for key, label in zip(kept, found.y, strict=True) if label == 0} < set(given)


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


@pytest.mark.parametrize("name", ["smote", "borderline", "adasyn"])
def test_made_rows_lie_between_neighbours_in_scaled_units(name):
    x, y = table(scales=(1e6, 1.0, 1e-3, 50.0))
    features = learn_features(x)
    made = (made_rows(run(name, x, y), x) - features.centre) / features.scale
    known = (x[y == 1] - features.centre) / features.scale
    pairs = [(known[i], known[j]) for i in range(len(known)) for j in nearest(known, i)]
    gap = [min(distance_to_segment(point, a, b) for a, b in pairs) for point in made]
    assert abs(len(made) - 195) <= (15 if name == "adasyn" else 0) and max(gap) < 1e-9
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


@pytest.mark.parametrize("name", ["smote", "borderline", "adasyn", "smoteenn"])
def test_too_few_anomalies_for_neighbours_are_repeated_instead(name):
    x, y = table(anomalous=NEIGHBOURS)
    found = run(name, x, y)
    assert found.used == "ros" and f"{NEIGHBOURS} anomalies are too few" in found.reason
    assert set(keys(found.x, found.y)) == set(keys(x, y)) and (found.y == 1).sum() == 225
    assert run(name, *table(anomalous=NEIGHBOURS + 1)).used == name


@pytest.mark.parametrize(("name", "title"), [("borderline", "Borderline-SMOTE"), ("adasyn", "ADASYN")])
def test_some_cannot_mix_categories(name, title):
    x, y = table(categories=True)
    found = run(name, x, y, categorical=CATEGORICAL)
    assert (found.used, found.reason) == ("ros", f"{title} cannot mix categories") and (found.y == 1).sum() == 225


@pytest.mark.parametrize("name", [n for n in RESAMPLERS if n not in ("none", "tomek", "enn")])
@pytest.mark.parametrize("anomalous", [900, 1500])
def test_balanced_classes_are_left_alone_with_a_reason(name, anomalous):
    x, y = table(anomalous=anomalous)
    found = run(name, x, y)
    assert (found.used, found.reason) == ("none", "the classes are balanced already")
    assert found.x is x


def test_adasyn_is_imbalanced_learn_s_in_scaled_units():
    x, y = table(scales=(1e6, 1.0, 1e-3, 50.0))
    features = learn_features(x)
    z = (x - features.centre) / features.scale
    sampler = imblearn.over_sampling.ADASYN(sampling_strategy={1: 225}, random_state=1)
    wanted = sampler.fit_resample(z, y)[0][len(x) :] * features.scale + features.centre
    np.testing.assert_allclose(made_rows(run("adasyn", x, y, seed=1), x), wanted, rtol=1e-9)


def test_adasyn_makes_more_of_the_anomalies_that_normal_rows_surround():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(320, 2)), np.r_[np.zeros(300), np.ones(20)].astype(np.int8)
    x[310:, 0] += 8  # half of the anomalies lie among normal rows, half far away
    made = made_rows(run("adasyn", x, y), x)
    assert len(made) > 40 and (made[:, 0] < 4.5).mean() > 0.9
    assert (made_rows(run("smote", x, y), x)[:, 0] < 4.5).mean() < 0.7


@pytest.mark.parametrize("name", ["adasyn", "borderline"])
def test_where_no_normal_row_is_near_any_anomaly_anomalies_are_repeated(name):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 3)), np.r_[np.zeros(180), np.ones(20)].astype(np.int8)
    x[180:] += 50
    found = run(name, x, y)
    assert (found.used, found.reason) == ("ros", "there is nothing to invent between these rows")
    assert (found.y == 1).sum() == 45 and set(keys(found.x, found.y)) == set(keys(x, y))


def test_another_error_of_adasyn_is_not_hidden(monkeypatch):
    def fail(*args):
        raise ValueError("another error")

    monkeypatch.setattr(imblearn.over_sampling.ADASYN, "fit_resample", fail)
    with pytest.raises(ValueError, match="another error"):
        run("adasyn", *table())


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


@pytest.mark.parametrize("name", ["tomek", "enn", "smoteenn", "nearmiss"])
def test_those_that_remove_rows_look_at_a_bounded_number_of_normal_rows(name):
    x, y = table(normal=3000, anomalous=20)
    found = run(name, x, y, ratio=1 / CLEANING_RATIO if name == "nearmiss" else 0.25)
    assert found.used == name and (found.y == 1).sum() >= 20
    assert 0.6 * CLEANING_RATIO * 20 < (found.y == 0).sum() <= CLEANING_RATIO * 20


def agreed(z, y, n=3):
    """Return the rows whose n nearest all have their label."""
    distance = cdist(z.astype(float), z.astype(float))
    np.fill_diagonal(distance, np.inf)
    return (y[np.argsort(distance, axis=1)[:, :n]] == y[:, None]).all(axis=1)


@pytest.mark.parametrize("gaps", [False, True], ids=["full", "gaps"])
@pytest.mark.parametrize("seed", range(3))
def test_enn_is_imbalanced_learn_s_on_network_inputs(seed, gaps):
    x, y = table(normal=500, anomalous=60, seed=seed, gaps=gaps, scales=(1e5, 1.0, 1e-4, 1.0))
    z = learn_features(x)(x)
    sampler = imblearn.under_sampling.EditedNearestNeighbours()
    sampler.fit_resample(z, y)
    found = run("enn", x, y)
    assert (found.used, found.reason) == ("enn", "") and len(sampler.sample_indices_) < len(x)
    np.testing.assert_array_equal(found.x, x[np.sort(sampler.sample_indices_)])
    np.testing.assert_array_equal(found.y, y[np.sort(sampler.sample_indices_)])
    np.testing.assert_array_equal(found.x, x[(y == 1) | agreed(z, y)])


def test_enn_with_categories_sees_them_one_hot():
    x, y = table(normal=500, anomalous=60, gaps=True, categories=True)
    found = run("enn", x, y, categorical=CATEGORICAL)
    kept = (y == 1) | agreed(learn_features(x, CATEGORICAL)(x), y)
    np.testing.assert_array_equal(found.x, x[kept])
    np.testing.assert_array_equal(found.y, y[kept])


@pytest.mark.parametrize("categories", [False, True], ids=["numbers", "categories"])
@pytest.mark.parametrize("gaps", [False, True], ids=["full", "gaps"])
def test_smoteenn_is_smote_and_then_enn_on_both_labels(gaps, categories):
    x, y = table(normal=500, anomalous=30, gaps=gaps, categories=categories, scales=(1e5, 1.0, 1e-4, 1.0))
    categorical = CATEGORICAL if categories else ()
    more = run("smote", x, y, categorical=categorical)
    kept = agreed(learn_features(x, categorical)(more.x), more.y)
    assert 0 < kept[more.y == 1].mean() < 1 and 0 < kept[more.y == 0].mean() < 1
    found = run("smoteenn", x, y, categorical=categorical)
    assert (found.used, found.reason) == ("smoteenn", "") and found.y.dtype == np.int8
    np.testing.assert_array_equal(found.x, more.x[kept])
    np.testing.assert_array_equal(found.y, more.y[kept])


def test_smoteenn_of_thinned_rows_reaches_the_ratio_among_them(monkeypatch):
    monkeypatch.setattr(module, "CLEANING_MOST", 0)  # only what SMOTE does
    x, y = table(normal=3000, anomalous=20)
    found = run("smoteenn", x, y)
    assert (found.y == 0).sum() == CLEANING_RATIO * 20 and (found.y == 1).sum() == CLEANING_RATIO * 20 / 4


@pytest.mark.parametrize("gaps", [False, True], ids=["full", "gaps"])
def test_nearmiss_picks_the_normal_rows_nearest_to_three_anomalies(gaps):
    x, y = table(normal=500, anomalous=30, gaps=gaps, scales=(1e5, 1.0, 1e-4, 1.0))
    z = learn_features(x)(x).astype(float)
    mean = np.sort(cdist(z[y == 0], z[y == 1]), axis=1)[:, :3].mean(axis=1)
    found = run("nearmiss", x, y)
    assert (found.used, found.reason) == ("nearmiss", "")
    assert set(keys(found.x[found.y == 0], np.zeros(120, np.int8))) == set(
        keys(x[y == 0][np.argsort(mean)[:120]], np.zeros(120, np.int8))
    )
    assert sorted(keys(found.x[found.y == 1], np.ones(30, np.int8))) == sorted(keys(x[y == 1], np.ones(30, np.int8)))


@pytest.mark.parametrize("anomalous", [1, 3])
def test_too_few_anomalies_for_nearmiss_leave_normal_rows_out_at_random(anomalous):
    x, y = table(anomalous=anomalous)
    found = run("nearmiss", x, y)
    assert (found.used, found.reason) == ("rus", f"{anomalous} anomalies are too few for 3 neighbours")
    assert (found.y == 1).sum() == anomalous and (found.y == 0).sum() == 4 * anomalous
    assert set(keys(found.x, found.y)) <= set(keys(x, y))
    assert run("nearmiss", *table(anomalous=4)).used == "nearmiss"


@pytest.mark.parametrize("name", ["nearmiss", "smoteenn"])
@pytest.mark.parametrize("ratio", [0.01, 0.04])
def test_a_ratio_below_that_of_the_rows_looked_at_can_be_asked_for(name, ratio):
    x, y = table(normal=3000, anomalous=20)
    found = run(name, x, y, ratio=ratio)
    assert (found.y == 1).any() and (found.y == 0).any()


def test_thin_keeps_every_anomaly_and_so_many_normal_rows_for_each():
    y = (np.random.default_rng(0).random(2000) < 0.02).astype(np.int8)
    kept = thin(y, 7, seed=3)
    assert set(np.flatnonzero(y == 1)) <= set(kept)
    assert (y[kept] == 0).sum() == 7 * y.sum()
    assert (np.diff(kept) > 0).all()
    np.testing.assert_array_equal(kept, thin(y, 7, seed=3))
    assert not np.array_equal(kept, thin(y, 7, seed=4))


@pytest.mark.parametrize("ratio", [0, 9, 10, 10**9])
def test_thin_keeps_all_rows_where_there_are_not_more(ratio):
    y = np.r_[np.zeros(90), np.ones(10)].astype(np.int8)
    np.testing.assert_array_equal(thin(y, ratio, seed=0), np.arange(100))
    assert len(thin(y, 8, seed=0)) == 90


def test_thin_draws_normal_rows_from_everywhere():
    y = np.r_[np.zeros(1000), np.ones(10)].astype(np.int8)
    drawn = np.concatenate([thin(y, 10, seed)[:100] for seed in range(100)])
    counts = np.bincount(drawn, minlength=1000)
    assert counts.sum() == 10_000 and counts.max() < 30 and (counts == 0).mean() < 0.01


def watched(monkeypatch, sampler, package):
    """Note how many rows of each label a sampler is shown."""
    seen = []
    base = getattr(package, sampler)
    real = base.fit_resample

    def watch(self, x, y):
        seen.append(((y == 0).sum(), (y == 1).sum()))
        return real(self, x, y)

    monkeypatch.setattr(base, "fit_resample", watch)
    return seen


@pytest.mark.parametrize(
    ("name", "sampler", "categorical"),
    [
        ("smote", "SMOTE", ()),
        ("smote", "SMOTENC", CATEGORICAL),
        ("smote", "SMOTEN", (0, 1, 2, 3)),
        ("borderline", "BorderlineSMOTE", ()),
        ("adasyn", "ADASYN", ()),
    ],
)
def test_neighbours_are_sought_among_a_bounded_number_of_rows_of_each_label(monkeypatch, name, sampler, categorical):
    monkeypatch.setattr(module, "INVENTING_MOST", {1: 20, 0: 300})
    x, y = table(normal=600, anomalous=60, categories=bool(categorical))
    x = np.round(x) if len(categorical) == 4 else x
    seen = watched(monkeypatch, sampler, imblearn.over_sampling)
    found = run(name, x, y, categorical=categorical)
    assert seen == [(300, 20)]
    np.testing.assert_array_equal(found.x[:660], x)  # rows that are not looked at stay
    assert found.used == name and abs((found.y == 1).sum() - 150) <= (15 if name == "adasyn" else 0)


def test_the_bounds_are_wide():
    assert min(module.INVENTING_MOST.values()) >= 1000 and module.CLEANING_MOST >= 1000


@pytest.mark.parametrize(("name", "sampler"), [("tomek", "TomekLinks"), ("enn", "EditedNearestNeighbours")])
def test_rows_beyond_the_bound_of_cleaning_stay_as_they_are(monkeypatch, name, sampler):
    monkeypatch.setattr(module, "CLEANING_MOST", 200)
    x, y = table(normal=500, anomalous=60)
    seen = watched(monkeypatch, sampler, imblearn.under_sampling)
    found = run(name, x, y)
    assert [sum(counts) for counts in seen] == [200]
    removed = set(keys(x, y)) - set(keys(found.x, found.y))
    assert 0 < len(removed) < 200 and len(found.x) == 560 - len(removed)
    places = [keys(x, y).index(key) for key in keys(found.x, found.y)]
    assert places == sorted(places)


def test_smoteenn_cleans_a_bounded_number_of_rows(monkeypatch):
    monkeypatch.setattr(module, "CLEANING_MOST", 200)
    seen = watched(monkeypatch, "EditedNearestNeighbours", imblearn.under_sampling)
    found = run("smoteenn", *table(normal=500, anomalous=30))
    assert [sum(counts) for counts in seen] == [200]
    assert 425 < len(found.x) < 625


def test_cleaning_that_sees_one_label_alone_changes_nothing(monkeypatch):
    monkeypatch.setattr(module, "CLEANING_MOST", 1)
    x, y = table(normal=500, anomalous=60)
    np.testing.assert_array_equal(run("enn", x, y).x, x)


def test_enn_that_would_leave_no_normal_row_leaves_all():
    x, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0, 1, 0, 1], np.int8)
    found = run("enn", x, y)
    assert (found.used, found.reason) == ("none", "nothing would be left of a class") and found.x is x
    found = run("enn", x, np.array([0, 1, 0, 0], np.int8))
    assert (found.used, found.reason) == ("none", "there are too few rows for 3 neighbours") and found.x is x


def test_smoteenn_that_would_leave_nothing_of_a_class_is_smote():
    x, y = np.arange(13.0)[:, None], (np.arange(13) % 2).astype(np.int8)
    found = run("smoteenn", x, y, ratio=1.0)
    assert (found.used, found.reason) == ("smote", "nothing would be left of a class")
    np.testing.assert_array_equal(found.x[:13], x)
    assert found.y.tolist() == [*y, 1]


@pytest.mark.parametrize("name", RESAMPLERS)
def test_no_class_ever_vanishes(name):
    rng = np.random.default_rng(0)
    for normal, anomalous in [(1, 1), (2, 2), (2, 3), (3, 2), (9, 1), (8, 6), (7, 7), (30, 6), (60, 9), (6, 30)]:
        for ratio in (0.25, 1.0):
            x = rng.normal(size=(normal + anomalous, 2))
            y = np.r_[np.zeros(normal), np.ones(anomalous)].astype(np.int8)
            found = resample(name, x, y, learn_features(x), ratio=ratio, seed=0)
            assert (found.y == 0).any() and (found.y == 1).any() and len(found.x) == len(found.y)
            assert found.used == name or found.reason


def test_enn_of_three_rows():
    x, y = np.array([[0.0], [1.0], [2.0]]), np.array([0, 1, 1], np.int8)
    assert run("enn", x, y).used == "none"


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


@pytest.mark.parametrize("name", ["smote", "adasyn"])
@pytest.mark.parametrize("unit", [1.0, 1e-3])
def test_values_near_overflow_give_finite_rows(name, unit):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 3)), np.r_[np.zeros(180), np.ones(20)].astype(np.int8)
    x[:, 1] *= unit
    x[190:193, 1] = [1e308, -1e308, 1e200]
    features = learn_features(x)
    made = made_rows(resample(name, x, y, features, ratio=0.25, seed=0), x)
    assert len(made) > 10 and (abs(made[:, 1] - features.centre[1]) <= REACH * features.scale[1]).all()
