from __future__ import annotations

import dataclasses

import lightgbm
import numpy as np
import pytest

from limbeck.calibrate import Affine, sigmoid
from limbeck.errors import LimbeckWarning
from limbeck.metrics import auroc, brier
from limbeck.tabular import teachers
from limbeck.tabular.config import MultiTeacherConfig
from limbeck.tabular.teachers import FLATTEST, SHARPEST, fit_committee, folds_for

CONFIG = MultiTeacherConfig(resamplers=("none", "rus"), folds=2, trees=20)
INTERCEPT, WEIGHTS = -3.4, np.array([1.2, -0.8, 0.5, 0.0, 0.0])


def rows(n=3000, seed=0):
    """Rows whose probability of an anomaly is known: about 6 %."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 5))
    truth = x @ WEIGHTS + INTERCEPT
    y = (rng.random(n) < sigmoid(truth)).astype(np.int8)
    x[rng.random(n) < 0.05, 4] = np.nan
    return x, y, truth


@pytest.fixture(scope="module")
def committee():
    x, y, _ = rows()
    return fit_committee(x, y, CONFIG, seed=0)


def same(one, two, x):
    assert [m.resampler for m in one.members] == [m.resampler for m in two.members]
    assert one.affine == two.affine and one.dropped == two.dropped
    for a, b in zip(one.members, two.members, strict=True):
        assert a.affine == b.affine and a.note == b.note
        np.testing.assert_array_equal(a.heard, b.heard)
    np.testing.assert_array_equal(one.heard, two.heard)
    np.testing.assert_array_equal(one.log_odds(x), two.log_odds(x))


def test_there_is_a_member_for_each_resampler(committee):
    assert [m.resampler for m in committee.members] == ["none", "rus"]
    assert all(m.note == "" and m.heard.shape == (3000,) for m in committee.members)
    assert all(m.booster.num_trees() == 20 for m in committee.members)
    assert committee.dropped == ()
    assert committee.bytes == sum(len(m.booster.model_to_string().encode()) for m in committee.members)


def test_it_ranks_new_rows_nearly_as_well_as_the_truth(committee):
    x, y, truth = rows(6000, seed=1)
    assert auroc(y, truth) - 0.05 < auroc(y, committee.log_odds(x)) < auroc(y, truth) + 0.01
    assert brier(y, sigmoid(committee.log_odds(x))) < y.mean() * (1 - y.mean())


def test_the_committee_is_the_calibrated_mean_of_its_members(committee):
    x = rows(200, seed=2)[0]
    mean = np.mean([m.log_odds(x) for m in committee.members], axis=0)
    np.testing.assert_array_equal(committee.log_odds(x), committee.affine(mean))
    mean = np.mean([m.heard for m in committee.members], axis=0)
    np.testing.assert_array_equal(committee.heard, committee.affine(mean))


@pytest.mark.filterwarnings("ignore::limbeck.errors.LimbeckWarning")  # noise may rank either way
@pytest.mark.parametrize("resampler", CONFIG.resamplers)
def test_what_is_heard_of_noise_is_noise(resampler):
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(2000, 5)), (rng.random(2000) < 0.3).astype(np.int8)
    noise = fit_committee(x, y, MultiTeacherConfig(resamplers=(resampler,), folds=2, trees=20), seed=0)
    assert abs(auroc(y, noise.members[0].heard) - 0.5) < 4 * np.sqrt((1 / 600 + 1 / 1400) / 12)
    assert auroc(y, noise.members[0].log_odds(x)) > 0.75
    assert auroc(y, noise.heard) < 0.56 < 0.75 < auroc(y, noise.log_odds(x))


def test_what_is_heard_is_as_good_as_on_new_rows():
    x, y, truth = rows(2000, seed=4)
    found = fit_committee(x, y, MultiTeacherConfig(resamplers=("none", "ros"), folds=2, trees=60), seed=0)
    new_x, new_y, _ = rows(20_000, seed=5)
    new = auroc(new_y, found.log_odds(new_x))
    assert auroc(y, found.log_odds(x)) > 0.95 > auroc(y, truth) + 0.02
    assert auroc(y, found.heard) == pytest.approx(new, abs=0.06)


def test_a_row_has_no_part_in_the_models_that_are_heard_of_it(monkeypatch):
    monkeypatch.setattr(teachers, "fit_affine", lambda score, label: Affine())  # raw scores, nothing shared
    x, y, _ = rows(1000, seed=6)
    config = MultiTeacherConfig(resamplers=("none",), folds=4, trees=10)
    before = fit_committee(x, y, config, seed=0).members[0].heard
    for i in range(6):
        moved = x.copy()
        moved[i] = [50.0, -50.0, 50.0, -50.0, 50.0]
        same = fit_committee(moved, y, config, seed=0).members[0].heard == before
        assert 249 <= same.sum() <= 500  # the rest of its own fold, while the models of the three others have moved


def test_resampling_does_not_move_the_prior(committee):
    x, y, truth = rows(20_000, seed=7)
    rus = committee.members[1]
    raw = sigmoid(rus.booster.predict(x, raw_score=True)).mean()
    assert raw > 2 * y.mean()  # taught on one anomaly in five rows
    assert sigmoid(rus.log_odds(x)).mean() == pytest.approx(sigmoid(truth).mean(), rel=0.25)
    assert sigmoid(committee.log_odds(x)).mean() == pytest.approx(sigmoid(truth).mean(), rel=0.25)


def test_what_is_heard_has_the_prior_of_the_training_rows(committee):
    y = rows()[1]
    for heard in [committee.heard, *(m.heard for m in committee.members)]:
        assert sigmoid(heard).mean() == pytest.approx(y.mean(), rel=1e-3)


def test_a_bounded_slope_keeps_the_prior():
    rng = np.random.default_rng(8)
    y = (np.arange(600) % 6 == 0).astype(np.int8)
    x = rng.normal(size=(600, 2)) + 20 * y[:, None]  # separable: the line would be as steep as it can
    found = fit_committee(x, y, CONFIG, seed=0)
    for member in found.members:
        assert FLATTEST <= member.affine.slope <= SHARPEST
        assert sigmoid(member.heard).mean() == pytest.approx(y.mean(), rel=1e-3)
    assert any(m.affine.slope == SHARPEST for m in found.members)
    assert auroc(y, found.heard) == 1.0 and np.isfinite(found.heard).all()


def complementary():
    """A group's share of anomalies in one fold is the opposite of that in the other: every teacher is misled."""
    group = np.repeat(np.arange(30.0), 8)
    return group[:, None], (np.arange(240) % 2).astype(np.int8)


def test_where_all_teachers_rank_backwards_the_user_is_told_and_the_prior_stays():
    x, y = complementary()
    config = MultiTeacherConfig(resamplers=("none", "tomek"), folds=2, trees=20)
    with pytest.warns(LimbeckWarning, match="no teacher is better than chance") as said:
        found = fit_committee(x, y, config, seed=0)
    assert len(said) == 1
    assert found.dropped == ("none", "tomek") and [m.resampler for m in found.members] == ["none", "tomek"]
    for member in found.members:
        assert auroc(y, member.heard) < 0.4 and member.affine.slope == FLATTEST
        assert sigmoid(member.heard).mean() == pytest.approx(0.5, abs=1e-3)
    assert sigmoid(found.heard).mean() == pytest.approx(0.5, abs=1e-3)


def test_one_teacher_that_ranks_backwards_is_not_heard(monkeypatch):
    x, y, _ = rows(1500, seed=9)
    honest = teachers.resample

    def spoil(name, x, y, *args, **options):
        found = honest(name, x, y, *args, **options)
        return dataclasses.replace(found, y=(1 - found.y).astype(np.int8)) if name == "rus" else found

    monkeypatch.setattr(teachers, "resample", spoil)
    with pytest.warns(LimbeckWarning, match="rank backwards and are not heard: rus"):
        found = fit_committee(x, y, CONFIG, seed=0)
    assert found.dropped == ("rus",) and [m.resampler for m in found.members] == ["none"]
    assert auroc(y, found.heard) > 0.6


@pytest.mark.filterwarnings("ignore::limbeck.errors.LimbeckWarning")  # with five anomalies it may rank either way
def test_a_fallback_is_noted():
    x, y, _ = rows(1500, seed=10)
    keep = np.sort(np.r_[np.flatnonzero(y == 0), np.flatnonzero(y == 1)[:5]])
    config = MultiTeacherConfig(resamplers=("smote",), folds=2, trees=5)
    found = fit_committee(x[keep], y[keep], config, seed=0)
    assert [m.note for m in found.members] == ["ros instead: 5 anomalies are too few for 5 neighbours"]


def test_categories_and_gaps_are_learned():
    rng = np.random.default_rng(11)
    code = rng.integers(0, 12, 3000).astype(float)
    y = (rng.random(3000) < np.where(np.isin(code, (2, 7)), 0.6, 0.02)).astype(np.int8)
    code[rng.random(3000) < 0.05] = np.nan
    x = np.column_stack([rng.normal(size=3000), code])
    found = fit_committee(x, y, CONFIG, seed=0, categorical=(1,))
    assert auroc(y, found.heard) > 0.85
    new = np.column_stack([np.zeros(14), [*np.arange(13.0), np.nan]])  # code 12 was never seen
    odds = found.log_odds(new)
    assert np.isfinite(odds).all()
    assert set(np.argsort(odds)[-2:]) == {2, 7}


def test_finished_teachers_are_found_in_the_store(tmp_path, monkeypatch, committee):
    x, y, _ = rows()
    first = fit_committee(x, y, CONFIG, seed=0, store=tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["none.npz", "rus.npz"]
    same(first, committee, x)  # a store changes nothing

    def refuse(*args, **options):
        raise AssertionError("a finished teacher was taught again")

    monkeypatch.setattr(lightgbm, "train", refuse)
    same(fit_committee(x, y, CONFIG, seed=0, store=tmp_path), first, x)
    with pytest.raises(AssertionError, match="taught again"):
        fit_committee(x, y, CONFIG, seed=0)


def test_only_what_is_not_in_the_store_is_taught(tmp_path, monkeypatch, committee):
    x, y, _ = rows()
    fit_committee(x, y, CONFIG, seed=0, store=tmp_path)
    (tmp_path / "rus.npz").unlink()
    (tmp_path / ".rus.npz.4194999.partial").write_bytes(b"cut off")  # what an interrupted run leaves
    train, calls = lightgbm.train, []
    monkeypatch.setattr(lightgbm, "train", lambda *a, **o: calls.append(1) or train(*a, **o))
    again = fit_committee(x, y, CONFIG, seed=0, store=tmp_path)
    assert len(calls) == CONFIG.folds + 1
    same(again, committee, x)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["none.npz", "rus.npz"]


def test_the_same_seed_gives_the_same_committee(committee):
    x, y, _ = rows()
    same(fit_committee(x, y, CONFIG, seed=0), committee, x)
    assert not np.array_equal(fit_committee(x, y, CONFIG, seed=1).heard, committee.heard)


def test_who_watches_is_told_of_each_teacher():
    x, y, _ = rows(600, seed=12)
    seen = []
    fit_committee(x, y, CONFIG, seed=0, on_teacher=lambda name, done: seen.append((name, done)))
    assert seen == [("none", 0), ("rus", 1), ("", 2)]


@pytest.mark.parametrize(
    ("asked", "anomalous", "normal", "folds"),
    [
        (0, 199, 1000, 10),
        (0, 200, 1000, 5),
        (0, 7, 1000, 7),
        (0, 1000, 4, 4),
        (3, 50, 1000, 3),
        (8, 5, 1000, 5),
        (1, 50, 1000, 2),
        (5, 2, 1000, 2),
        (5, 1, 1000, 2),
    ],
)
def test_the_number_of_folds(asked, anomalous, normal, folds):
    y = np.r_[np.ones(anomalous), np.zeros(normal)].astype(np.int8)
    assert folds_for(asked, y) == folds


def test_blas_keeps_to_one_thread_while_workers_run(monkeypatch):
    """Neighbours are sought inside OpenMP loops; BLAS with threads of its own there warns, and may hang."""
    import threadpoolctl

    import limbeck.tabular.teachers as teachers

    seen = []

    def watched(*arguments, **options):
        seen.extend(p["num_threads"] for p in threadpoolctl.threadpool_info() if p["user_api"] == "blas")
        return real(*arguments, **options)

    real = teachers.resample
    monkeypatch.setattr(teachers, "resample", watched)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 3)), (np.arange(200) % 10 == 0).astype(np.int8)
    x[y == 1] += 2
    fit_committee(x, y, MultiTeacherConfig(resamplers=("smote",), folds=3, trees=5), seed=0)
    assert seen and set(seen) == {1}
