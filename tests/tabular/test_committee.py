"""A committee without labels and its student: who is heard, what the student is told, and when it is refused."""

import numpy as np
import pytest

import limbeck
from limbeck.checks import check_detector
from limbeck.config import replace
from limbeck.errors import ConfigError, InputError, LimbeckWarning
from limbeck.evaluate import evaluate
from limbeck.fidelity import spearman
from limbeck.metrics import auroc
from limbeck.network import Network
from limbeck.tabular import committee as module
from limbeck.tabular import follow
from limbeck.tabular.augment import far_rows
from limbeck.tabular.committee import distil_committee, learn_committee
from limbeck.tabular.config import CommitteeConfig
from limbeck.tabular.follow import NormalScores

QUICK = {
    "teachers": ["isolation-forest", "tails", "nearest"], "trees": 50, "autoencoder_steps": 100, "steps": 500,
    "fewest": 1000,
}  # fmt: skip
CONFIG = replace(CommitteeConfig(), QUICK)


def table(n=1500, d=5, strange=30, seed=0):
    """Rows on a bent sheet, and some that are off it, with gaps and a column of other units."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    x[:, 1] = x[:, 0] ** 2 + 0.1 * x[:, 1]
    y = np.zeros(n, int)
    y[:strange] = 1
    x[:strange] += rng.choice([-3.0, 3.0], (strange, d))
    x[:, 2] = 1e6 + 1e3 * x[:, 2]
    x[rng.random((n, d)) < 0.01] = np.nan
    return x, y


@pytest.fixture(scope="module")
def distilled():
    return distil_committee(table()[0], CONFIG, seed=0)


def test_normal_scores_are_ranks_on_a_normal_scale():
    score = np.random.default_rng(0).exponential(size=2001)
    footing = NormalScores.learn(score)
    z = footing(score)
    assert np.median(z) == pytest.approx(0.0, abs=1e-12) and z.std() == pytest.approx(1.0, abs=0.01)
    assert (np.diff(z[np.argsort(score)]) > 0).all()
    above = footing(score.max() * np.array([1.0, 2.0, 4.0, 8.0, 1e6]))
    assert above[0] == z.max() and (np.diff(above) > 0.3).all(), "they go on growing"
    assert footing(np.array([-1.0])) == z.min()


def test_equal_scores_share_a_rank_and_a_constant_is_no_fault():
    z = NormalScores.learn(np.array([1.0, 1.0, 1.0, 2.0]))(np.array([1.0, 2.0]))
    np.testing.assert_allclose(z, [-0.3186394, 1.1503494], rtol=1e-6)  # of 3/8 and 7/8
    assert NormalScores.learn(np.full(9, 4.0))(np.array([4.0])) == 0.0


def test_who_ranks_against_the_others_is_not_heard(monkeypatch):
    learn = module.learn_outliers

    def turned(kind, z, config, *, seed):
        detector, own = learn(kind, z, config, seed=seed)
        return (detector, own) if kind != "tails" else ((lambda z: -detector(z)), -own)

    monkeypatch.setattr(module, "learn_outliers", turned)
    committee, _ = learn_committee(table()[0], CONFIG, seed=0)
    weights = {m.name: m.weight for m in committee.members}
    assert weights == {"isolation-forest": 0.5, "tails": 0.0, "nearest": 0.5}
    result = distil_committee(table()[0], CONFIG, seed=0)
    assert any("'tails' ranks against the others" in note for note in result.notes)


def test_weights_by_agreement():
    committee, _ = learn_committee(table()[0], replace(CONFIG, {"weights": "agreement"}), seed=0)
    weight, agreement = (np.array([getattr(m, name) for m in committee.members]) for name in ("weight", "agreement"))
    np.testing.assert_allclose(weight, agreement / agreement.sum())


def test_the_committee_finds_what_is_strange_and_the_student_follows(distilled):
    x, y = table()
    assert auroc(y, distilled.committee(x)) > 0.9
    assert distilled.follower.fidelity["spearman"] >= 0.9 and distilled.follower.fidelity["n"] == 300
    fresh, labels = table(seed=1)
    assert spearman(distilled.committee(fresh), distilled.follower.network(fresh)) > 0.9
    assert auroc(labels, distilled.follower.network(fresh)) > 0.9


def test_scores_grow_along_rays_that_leave_the_rows(distilled):
    """Where nothing was seen no network is sure of itself: far rows are strange, farther ones stranger."""
    x, _ = table()
    rng = np.random.default_rng(5)
    middle, spread = np.nanmedian(x, axis=0), np.nanstd(x, axis=0)
    ways = rng.normal(size=(100, 5))
    ways /= np.abs(ways).max(1, keepdims=True)
    along = np.stack(
        [distilled.follower.network(middle + ways * spread * far) for far in (6, 12, 25, 50, 100, 1e3, 1e4, 1e6)]
    )
    assert (np.diff(along, axis=0) > 0).mean() > 0.97
    assert (along[2:] > np.quantile(distilled.follower.network(x), 0.99)).all()


def test_rows_far_out_are_moved_in_their_own_units():
    x = np.zeros((10, 3))
    rows, distance = far_rows(x, np.array([0, 2]), np.array([1.0, 1e-6]), 2000, seed=0)
    np.testing.assert_allclose(np.abs(rows / [1.0, 1.0, 1e-6]).max(1), distance)
    assert (rows[:, 1] == 0).all() and (rows[:, [0, 2]] != 0).any(1).all()
    assert 100 < np.abs(rows[:, 0]).max() <= 3000 and 1e-4 < np.abs(rows[:, 2]).max() <= 3e-3
    assert (rows[:, 0] == 0).any() and (rows[:, 0] < 0).any() and (rows[:, 0] > 0).any()
    np.testing.assert_array_equal(rows, far_rows(x, np.array([0, 2]), np.array([1.0, 1e-6]), 2000, seed=0)[0])


def test_a_student_that_does_not_follow_is_refused_where_there_are_rows_enough(monkeypatch):
    sizes = []

    def silent(lessons, features, hidden, config, seed, start):
        sizes.append(hidden)
        width = features.width
        return Network(features, (np.zeros((width, 1), np.float32),), (np.zeros(1, np.float32),)), [0.0]

    monkeypatch.setattr(follow, "_taught", silent)
    with pytest.raises(InputError, match="the student does not follow the committee") as caught:
        distil_committee(table()[0], CONFIG, seed=0)
    assert "0.9" in str(caught.value) and "fidelity=-1" in str(caught.value)
    assert sizes == [(32, 32), (64, 64), (128, 64)], "larger ones were tried"
    with pytest.warns(LimbeckWarning, match="does not follow"):
        distil_committee(table(n=400)[0], CONFIG, seed=0)
    sizes.clear()
    distil_committee(table()[0], replace(CONFIG, {"fidelity": -1.0}), seed=0)
    assert sizes == [(32, 32)]


def test_the_same_seed_the_same_student(distilled):
    again = distil_committee(table()[0], CONFIG, seed=0)
    x, _ = table(seed=3)
    np.testing.assert_array_equal(again.follower.network(x), distilled.follower.network(x))


def test_a_detector_of_unlabelled_rows_passes_the_battery():
    rng = np.random.default_rng(0)
    x, y = table(seed=2)
    columns = {f"c{j}": x[:, j] for j in range(5)} | {"kind": rng.choice(["a", "b", "c"], len(x)).tolist()}
    detector = limbeck.fit(columns, config=QUICK, alpha=0.05)
    assert detector.card.method == "committee" and detector.calibrator.affine is None
    check_detector(detector, detector.rows(columns))
    found = evaluate(detector, columns | {"bad": y}, label="bad")
    assert found.metrics["auroc"] > 0.9 and found.metrics["false_alarm_rate"] < 0.12
    assert any("rank correlation" in note for note in detector.card.notes)


def test_a_forgotten_label_is_said():
    x, y = table(n=300)
    columns = {f"c{j}": x[:, j] for j in range(5)} | {"fraud": y}
    with pytest.warns(LimbeckWarning):  # 60 calibration rows promise 1.6 % at best
        detector = limbeck.fit(columns, config={**QUICK, "fidelity": -1})
    assert any("column 'fraud' looks like a label" in note for note in detector.card.notes)


def test_labels_and_methods_that_do_not_go_together():
    x, y = table(n=300)
    with pytest.raises(ConfigError, match="'committee' learns without labels"):
        limbeck.fit(x, label=y, method="committee")
    with pytest.raises(InputError, match="a table needs labels for the method 'multi-teacher'"):
        limbeck.fit(x, method="multi-teacher")


@pytest.mark.parametrize(
    ("x", "words"),
    [(np.random.default_rng(0).normal(size=(20, 2)), "too few rows"), (np.ones((100, 2)), "no column varies")],
)
def test_tables_that_say_nothing(x, words):
    with pytest.raises(InputError, match=words):
        limbeck.fit(x, config=QUICK)
