from __future__ import annotations

import dataclasses

import lightgbm
import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import average_precision_score, log_loss
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.naive_bayes import GaussianNB

from limbeck.calibrate import Affine, sigmoid
from limbeck.errors import LimbeckWarning
from limbeck.metrics import auroc, brier
from limbeck.tabular import kinds, teachers, workers
from limbeck.tabular.config import MultiTeacherConfig
from limbeck.tabular.teachers import FLATTEST, SHARPEST, Committee, fit_committee, folds_for, pairs_of

NB, TREES = "sklearn.naive_bayes.GaussianNB", "sklearn.ensemble.ExtraTreesClassifier(n_estimators=20)"
WARNS = "sklearn.linear_model.LogisticRegression(max_iter=1)"

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
    assert [m.name for m in one.members] == [m.name for m in two.members]
    assert one.affine == two.affine and one.dropped == two.dropped
    for a, b in zip(one.members, two.members, strict=True):
        assert (a.kind, a.affine, a.note, a.weight) == (b.kind, b.affine, b.note, b.weight)
        np.testing.assert_array_equal(a.heard, b.heard)
    np.testing.assert_array_equal(one.heard, two.heard)
    np.testing.assert_array_equal(one.log_odds(x), two.log_odds(x))


def test_there_is_a_member_for_each_resampler(committee):
    assert [(m.kind, m.resampler) for m in committee.members] == [("lightgbm", "none"), ("lightgbm", "rus")]
    assert [m.name for m in committee.members] == ["lightgbm none", "lightgbm rus"]
    assert all(m.note == "" and m.heard.shape == (3000,) for m in committee.members)
    assert all(m.model.booster.num_trees() == 20 for m in committee.members)
    assert committee.dropped == ()
    assert committee.bytes == sum(len(m.model.booster.model_to_string().encode()) for m in committee.members)


def test_it_ranks_new_rows_nearly_as_well_as_the_truth(committee):
    x, y, truth = rows(6000, seed=1)
    assert auroc(y, truth) - 0.05 < auroc(y, committee.log_odds(x)) < auroc(y, truth) + 0.01
    assert brier(y, sigmoid(committee.log_odds(x))) < y.mean() * (1 - y.mean())


def test_the_committee_is_the_calibrated_weighted_mean_of_its_members(committee):
    x = rows(200, seed=2)[0]
    weights = [m.weight for m in committee.members]
    assert weights[0] != weights[1]
    mean = sum(w * m.log_odds(x) for w, m in zip(weights, committee.members, strict=True)) / sum(weights)
    np.testing.assert_allclose(committee.log_odds(x), committee.affine(mean), rtol=1e-12)
    mean = sum(w * m.heard for w, m in zip(weights, committee.members, strict=True)) / sum(weights)
    np.testing.assert_allclose(committee.heard, committee.affine(mean), rtol=1e-12)


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
    raw = sigmoid(rus.model.booster.predict(x, raw_score=True)).mean()
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
    assert found.dropped == ("lightgbm none", "lightgbm tomek")
    assert [m.resampler for m in found.members] == ["none", "tomek"]
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
    with pytest.warns(LimbeckWarning, match="rank backwards and are not heard: lightgbm rus"):
        found = fit_committee(x, y, CONFIG, seed=0)
    assert found.dropped == ("lightgbm rus",) and [m.resampler for m in found.members] == ["none"]
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
    assert sorted(p.name for p in tmp_path.iterdir()) == ["lightgbm-none.npz", "lightgbm-rus.npz"]
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
    (tmp_path / "lightgbm-rus.npz").unlink()
    (tmp_path / ".lightgbm-rus.npz.4194999.partial").write_bytes(b"cut off")  # what an interrupted run leaves
    train, calls = lightgbm.train, []
    monkeypatch.setattr(lightgbm, "train", lambda *a, **o: calls.append(1) or train(*a, **o))
    again = fit_committee(x, y, CONFIG, seed=0, store=tmp_path)
    assert len(calls) == CONFIG.folds + 1
    same(again, committee, x)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["lightgbm-none.npz", "lightgbm-rus.npz"]


def test_the_same_seed_gives_the_same_committee(committee):
    x, y, _ = rows()
    same(fit_committee(x, y, CONFIG, seed=0), committee, x)
    assert not np.array_equal(fit_committee(x, y, CONFIG, seed=1).heard, committee.heard)


def test_who_watches_is_told_of_each_teacher():
    x, y, _ = rows(600, seed=12)
    seen = []
    fit_committee(x, y, CONFIG, seed=0, on_teacher=lambda name, done: seen.append((name, done)))
    assert seen == [("", 0), ("lightgbm none", 1), ("lightgbm rus", 2)]


def several(**fields):
    return MultiTeacherConfig(**{"resamplers": ("none",), "folds": 2, "trees": 20, "kinds": "all", **fields})


def test_every_kind_is_taught_with_every_resampler():
    config = several(teachers=("lightgbm", NB), resamplers=("none", "rus"))
    wanted = (("lightgbm", "none"), ("lightgbm", "rus"), (NB, "none"), (NB, "rus"))
    assert pairs_of(config) == wanted
    x, y, _ = rows(600)
    found = fit_committee(x, y, config, seed=0)
    assert tuple((m.kind, m.resampler) for m in found.members) == wanted
    assert [m.name for m in found.members] == ["lightgbm none", "lightgbm rus", "GaussianNB none", "GaussianNB rus"]


@pytest.mark.parametrize("kind", ["mlp", NB, TREES])
def test_other_kinds_rank_new_rows_nearly_as_well_as_the_truth(kind, monkeypatch):
    monkeypatch.setattr(kinds, "NETWORK_STEPS", 150)
    monkeypatch.setattr(kinds, "NETWORK_BATCH", 64)
    x, y, _ = rows(2000)
    found = fit_committee(x, y, several(teachers=(kind,), resamplers=("none", "smote")), seed=0)
    new_x, new_y, truth = rows(6000, seed=1)
    assert auroc(new_y, truth) - 0.1 < auroc(new_y, found.log_odds(new_x)) < auroc(new_y, truth) + 0.01
    assert auroc(y, found.heard) == pytest.approx(auroc(new_y, found.log_odds(new_x)), abs=0.08)
    assert sigmoid(found.log_odds(new_x)).mean() == pytest.approx(new_y.mean(), rel=0.3)
    assert found.bytes == sum(m.model.bytes for m in found.members) > 1000


def test_what_is_heard_is_scikit_learn_s_cross_validated_prediction(monkeypatch):
    monkeypatch.setattr(teachers, "fit_affine", lambda score, label: Affine())  # raw scores
    x, y, _ = rows(900)
    x = np.clip(np.nan_to_num(x), -2, 2)  # no indicators, nothing far; and naive Bayes does not mind units
    found = fit_committee(x, y, several(teachers=(NB,), folds=4), seed=5)
    splits = StratifiedKFold(4, shuffle=True, random_state=5)
    p = cross_val_predict(GaussianNB(), x, y, cv=splits, method="predict_proba")[:, 1]
    np.testing.assert_allclose(found.members[0].heard, np.log(p / (1 - p)), rtol=1e-4, atol=1e-4)
    new = np.clip(np.nan_to_num(rows(300, seed=1)[0]), -2, 2)
    p = GaussianNB().fit(x, y).predict_proba(new)[:, 1]  # taught on all rows
    np.testing.assert_allclose(found.members[0].model(new), np.log(p / (1 - p)), rtol=1e-4, atol=1e-4)


def test_a_pair_learns_the_same_with_and_without_the_others():
    x, y, _ = rows(800)
    config = several(teachers=("lightgbm", TREES), resamplers=("none", "ros"), weights="mean")
    everyone = fit_committee(x, y, config, seed=0)
    some = ((TREES, "ros"), ("lightgbm", "ros"))
    found = fit_committee(x, y, config, seed=0, pairs=some)
    assert tuple((m.kind, m.resampler) for m in found.members) == some
    for member in found.members:
        twin = next(m for m in everyone.members if m.name == member.name)
        np.testing.assert_array_equal(member.heard, twin.heard)
        np.testing.assert_array_equal(member.log_odds(x), twin.log_odds(x))


def test_the_seeds_of_all_parts_differ(monkeypatch):
    seeds, real = [], teachers.learn
    monkeypatch.setattr(teachers, "learn", lambda *a, **o: seeds.append(o["seed"]) or real(*a, **o))
    x, y, _ = rows(400)
    fit_committee(x, y, several(teachers=("lightgbm", NB), resamplers=("none", "rus"), folds=3), seed=0)
    assert len(seeds) == len(set(seeds)) == 16


@pytest.fixture(scope="module")
def trio():
    """Three kinds of different worth, their weights still to be chosen."""
    x, y, _ = rows(1500)

    def fit(**fields):
        return fit_committee(x, y, several(teachers=("lightgbm", NB, TREES), **fields), seed=0)

    return x, y, fit


def test_with_weights_mean_all_weigh_the_same(trio):
    x, _, fit = trio
    found = fit(weights="mean")
    assert [m.weight for m in found.members] == [1.0, 1.0, 1.0]
    np.testing.assert_allclose(found.heard, found.affine(np.mean([m.heard for m in found.members], axis=0)))
    np.testing.assert_allclose(found.log_odds(x), found.affine(np.mean([m.log_odds(x) for m in found.members], axis=0)))


@pytest.mark.parametrize("tau", [0.01, 0.05, 1.0])
def test_with_weights_reliability_log_loss_decides(trio, tau):
    _, y, fit = trio
    found = fit(weights="reliability", reliability=tau)
    prior = log_loss(y, np.full(len(y), y.mean()))
    loss = np.array([log_loss(y, expit(m.heard)) for m in found.members]) / prior
    wanted = np.exp(-(loss - loss.min()) / tau)
    assert np.ptp(wanted) > 0.01 and wanted.max() == 1
    assert [m.weight for m in found.members] == pytest.approx(wanted, rel=1e-6)


def test_with_weights_sample_each_labelled_row_hears_most_who_knows_it(trio):
    x, y, fit = trio
    found, reliable = fit(weights="sample"), fit(weights="reliability")
    heard = np.array([m.heard for m in found.members])
    entropy = -np.log(np.where(y == 1, expit(heard), expit(-heard)))
    wanted = (np.exp(-entropy) * heard).sum(axis=0) / np.exp(-entropy).sum(axis=0)
    np.testing.assert_allclose(found.heard, found.affine(wanted), rtol=1e-9)
    assert log_loss(y, expit(found.heard)) < log_loss(y, expit(reliable.heard))
    # a new row has no label: there the weights are those of reliability
    assert [m.weight for m in found.members] == [m.weight for m in reliable.members]
    assert found.affine == reliable.affine
    np.testing.assert_array_equal(found.log_odds(x), reliable.log_odds(x))


def test_a_hopeless_teacher_keeps_a_weight_above_none(monkeypatch):
    x, y, _ = rows(600)
    odds = np.where(y == 1, 5.0, -5.0)
    one, other = (
        teachers.Member(str(k), "none", "", None, Affine(), heard) for k, heard in enumerate((odds, 0 * odds - 9))
    )
    weights = [m.weight for m in teachers._weigh([one, other], y, several(reliability=1e-4))]
    assert weights[0] == 1 and 0 < weights[1] < 1e-6


def puzzle(which, seed=0):
    """Rows that trees alone understand, that naive Bayes alone understands, or each of them one half of."""
    rng = np.random.default_rng(seed)
    n = 400 if which == "bayes" else 1200
    x = rng.normal(size=(n, 4))
    trees, bayes = 3 * np.sign(x[:, 0] * x[:, 1]), x @ [0.6, 0.6, 0.6, 0.6]
    truth = {"trees": trees + 0.1 * x[:, 3], "bayes": bayes, "both": 0.5 * trees + 1.2 * bayes}[which]
    return x, (rng.random(n) < sigmoid(truth - 2)).astype(np.int8)


@pytest.mark.filterwarnings("ignore::limbeck.errors.LimbeckWarning")
@pytest.mark.parametrize(("which", "chosen"), [("trees", {"lightgbm"}), ("bayes", {NB}), ("both", {"lightgbm", NB})])
def test_kinds_without_which_the_committee_is_better_are_silenced(which, chosen):
    x, y = puzzle(which)
    config = several(teachers=("lightgbm", NB), resamplers=("none", "ros"), weights="mean")
    everyone = fit_committee(x, y, config, seed=0)
    found = fit_committee(x, y, dataclasses.replace(config, kinds="best"), seed=0)
    assert all(m.weight == 1 for m in everyone.members) and len(everyone.members) == len(found.members) == 4

    def ap(names):
        return average_precision_score(y, np.mean([m.heard for m in everyone.members if m.kind in names], axis=0))

    sets = [{"lightgbm"}, {NB}, {"lightgbm", NB}]
    assert max(sets, key=ap) == chosen
    assert [m.weight for m in found.members] == [1.0 if m.kind in chosen else 0.0 for m in found.members]
    assert {m.kind for m in found.speakers} == chosen
    speakers = [m for m in everyone.members if m.kind in chosen]
    np.testing.assert_allclose(found.heard, found.affine(np.mean([m.heard for m in speakers], axis=0)))
    assert found.bytes == sum(m.model.bytes for m in speakers)


def test_who_is_silenced_is_not_even_asked(committee):
    x = rows(100, seed=2)[0]

    def refuse(x):
        raise AssertionError("a silenced teacher was asked")

    first, second = committee.members
    silenced = dataclasses.replace(second, weight=0.0, model=refuse)
    found = Committee((first, silenced), committee.affine, (), committee.heard)
    np.testing.assert_allclose(found.log_odds(x), committee.affine(first.log_odds(x)), rtol=1e-12)
    assert found.speakers == (first,) and found.bytes == first.model.bytes


def test_the_best_is_the_speaker_with_the_highest_average_precision(trio):
    _, y, fit = trio
    found = fit()
    ap = {m.name: average_precision_score(y, m.heard) for m in found.members}
    assert found.best(y).name == max(ap, key=ap.get)
    members = tuple(dataclasses.replace(m, weight=0.0) if m is found.best(y) else m for m in found.members)
    without = dataclasses.replace(found, members=members)
    assert without.best(y).name == sorted(ap, key=ap.get)[-2]


def shown(monkeypatch, config, x, y):
    """Return rows and labels that each model is taught on, and the committee."""
    seen, real = [], teachers.learn

    def watch(kind, x, y, *args, **options):
        seen.append((x, y))
        return real(kind, x, y, *args, **options)

    monkeypatch.setattr(teachers, "learn", watch)
    return seen, fit_committee(x, y, config, seed=0)


def test_a_teacher_sees_a_bounded_number_of_normal_rows_drawn_anew(monkeypatch):
    x, y, _ = rows(1500)
    seen, found = shown(monkeypatch, several(teachers=("lightgbm", NB), normals=5, folds=3), x, y)
    assert len(seen) == 8
    assert all((labels == 0).sum() == 5 * (labels == 1).sum() for _, labels in seen)
    assert seen[0][1].sum() == y.sum() and all(abs(labels.sum() - y.sum() * 2 / 3) < 1 for _, labels in seen[1:4])
    normal = [{row.tobytes() for row in given[labels == 0]} for given, labels in seen]
    for k in range(1, 4):
        assert not normal[k] <= normal[0]  # another draw, not a part of the first
    assert normal[0] != normal[4]  # and another for each teacher
    assert all(m.heard.shape == (1500,) and np.isfinite(m.heard).all() for m in found.members)
    assert sigmoid(found.heard).mean() == pytest.approx(y.mean(), rel=1e-2)  # the prior is that of all rows


def test_without_a_bound_a_teacher_sees_all_rows(monkeypatch):
    x, y, _ = rows(1500)
    seen, _ = shown(monkeypatch, several(normals=0, folds=3), x, y)
    assert [len(labels) for _, labels in seen] == [1500, 1000, 1000, 1000]
    np.testing.assert_array_equal(seen[0][0], x)


def test_teaching_in_processes_changes_nothing(monkeypatch):
    x, y, _ = rows(700)
    config = several(teachers=("lightgbm", WARNS), resamplers=("none", "smote"), trees=8, jobs=2, normals=9)
    here = fit_committee(x, y, config, seed=0)
    monkeypatch.setattr(workers, "FEW_ROWS", 100)

    def refuse(*args, **options):
        raise AssertionError("taught in this process")

    monkeypatch.setattr(lightgbm, "train", refuse)
    heard = []
    there = fit_committee(x, y, config, seed=0, on_teacher=lambda name, done: heard.append((name, done)))
    same(there, here, x)
    assert "converge" in there.members[2].note
    assert heard[0] == ("", 0) and [done for _, done in heard] == [0, 1, 2, 3, 4]
    assert {name for name, _ in heard[1:]} == {m.name for m in here.members}
    with pytest.raises(AssertionError, match="in this process"):
        fit_committee(x, y, dataclasses.replace(config, jobs=1), seed=0)


def test_an_error_in_a_process_reaches_the_user(monkeypatch):
    monkeypatch.setattr(workers, "FEW_ROWS", 100)
    x, y, _ = rows(300)
    wrong = "sklearn.ensemble.ExtraTreesClassifier(n_estimators=-5)"
    with pytest.raises(ValueError, match="n_estimators"):
        fit_committee(x, y, several(teachers=(wrong,), jobs=2), seed=0)


def test_a_kind_that_cannot_be_stored_is_taught_again(tmp_path, monkeypatch):
    monkeypatch.setattr(kinds, "NETWORK_STEPS", 40)
    x, y, _ = rows(500)
    config = several(teachers=("lightgbm", TREES, "mlp"))
    first = fit_committee(x, y, config, seed=0, store=tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["lightgbm-none.npz", "mlp-none.npz"]
    calls, heard, real = [], [], teachers.learn
    monkeypatch.setattr(teachers, "learn", lambda kind, *a, **o: calls.append(kind) or real(kind, *a, **o))
    again = fit_committee(x, y, config, seed=0, store=tmp_path, on_teacher=lambda *said: heard.append(said))
    assert calls == [TREES] * 3 and heard == [("", 2), ("ExtraTreesClassifier none", 3)]
    same(again, first, x)


def test_where_all_are_in_the_store_who_watches_is_told_once(tmp_path):
    x, y, _ = rows(500)
    fit_committee(x, y, several(), seed=0, store=tmp_path)
    heard = []
    fit_committee(x, y, several(), seed=0, store=tmp_path, on_teacher=lambda *said: heard.append(said))
    assert heard == [("", 1)]


def test_warnings_of_a_teacher_become_notes(recwarn):
    x, y, _ = rows(700)
    found = fit_committee(x, y, several(teachers=(WARNS,), resamplers=("none", "adasyn")), seed=0, categorical=(3,))
    first, second = (m.note for m in found.members)
    assert first.startswith("lbfgs failed to converge") and "\n" not in first and first.count("lbfgs") == 1
    assert second == f"ros instead: ADASYN cannot mix categories; {first}"
    assert not [w for w in recwarn if "lbfgs" in str(w.message)]


def test_notes_are_kept_in_the_store(tmp_path):
    x, y, _ = rows(600)
    x[:, 3] = np.round(x[:, 3])
    for _ in range(2):
        found = fit_committee(x, y, several(resamplers=("borderline",)), seed=0, categorical=(3,), store=tmp_path)
        assert [m.note for m in found.members] == ["ros instead: Borderline-SMOTE cannot mix categories"]


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
