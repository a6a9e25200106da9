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
from limbeck.tabular.config import COMMITTEE, CommitteeConfig
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


def bent(monkeypatch, **how):
    """Change what some detectors say: of each a function of its scores and the network inputs."""
    learn = module.learn_outliers

    def learned(kind, z, config, *, seed):
        detector, own = learn(kind, z, config, seed=seed)
        change = how.get(kind.replace("-", "_"))
        return (detector, own) if change is None else ((lambda z: change(detector(z), z)), change(own, z))

    monkeypatch.setattr(module, "learn_outliers", learned)


def turned(score, z):
    return -score


def turned_nearby(score, z):
    """Ranks backwards but where no row is: a check with rows far out does not find it."""
    return np.where(np.abs(z).max(1) > 5, 1e3, -score)


def test_who_ranks_against_the_others_is_not_heard(monkeypatch):
    bent(monkeypatch, tails=turned_nearby)
    committee, _ = learn_committee(table()[0], CONFIG, seed=0)
    weights = {m.name: m.weight for m in committee.members}
    assert weights == {"isolation-forest": 0.5, "tails": 0.0, "nearest": 0.5}
    assert len(committee.notes) == 1 and "'tails' ranks against the others" in committee.notes[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (turned, "holds rows far out for more normal than real ones"),
        (lambda score, z: np.where(score > np.median(score), np.nan, score), "says something else than numbers"),
        (lambda score, z: np.where(np.abs(z).max(1) > 5, np.inf, score), "says something else than numbers"),
        (lambda score, z: np.full(len(z), 0.7), "says the same of every row"),
    ],
    ids=["turned", "nan", "infinite far out", "constant"],
)
def test_who_makes_no_sense_is_not_heard(monkeypatch, change, words):
    x, _ = table(n=600)
    bent(monkeypatch, tails=change)
    committee, own = learn_committee(x, CONFIG, seed=0)
    assert [m.name for m in committee.members] == ["isolation-forest", "nearest"]
    assert len(committee.notes) == 1
    assert committee.notes[0].startswith(f"the detector 'tails' {words}") and "is not heard" in committee.notes[0]
    monkeypatch.undo()
    without, own_without = learn_committee(x, replace(CONFIG, {"teachers": ["isolation-forest", "nearest"]}), seed=0)
    np.testing.assert_array_equal(own, own_without)
    np.testing.assert_array_equal(committee(x), without(x))
    assert without.notes == []


def test_a_committee_of_which_nobody_can_be_heard(monkeypatch):
    bent(monkeypatch, tails=turned, nearest=lambda score, z: score * np.nan)
    with pytest.raises(InputError, match="no detector of the committee can be heard") as caught:
        learn_committee(table()[0], replace(CONFIG, {"teachers": ["tails", "nearest"]}), seed=0)
    assert "'tails' holds rows far out" in str(caught.value) and "'nearest' says something else" in str(caught.value)


def test_a_table_of_categories_alone_has_no_rows_far_out():
    x = np.random.default_rng(0).integers(0, 3, (300, 4)).astype(np.float64)
    committee, own = learn_committee(x, CONFIG, seed=0, categorical=(0, 1, 2, 3))
    assert len(committee.members) == 3 and np.isfinite(own).all()


def test_a_committee_that_hardly_agrees_says_so(monkeypatch):
    """Of two that contradict each other nobody knows which errs: both are heard, and that is said."""
    teachers = replace(CONFIG, {"teachers": ["tails", "nearest"], "fidelity": -1.0, "steps": 50})
    x, _ = table(n=600)
    agreed, _ = learn_committee(x, teachers, seed=0)
    assert agreed.agreement > 0.5 and agreed.notes == []
    bent(monkeypatch, tails=turned_nearby)
    with pytest.warns(LimbeckWarning, match="the detectors hardly agree"):
        result = distil_committee(x, teachers, seed=0)
    assert result.committee.agreement < 0
    assert any("hardly agree" in note and "with care" in note for note in result.notes)


@pytest.mark.parametrize(("count", "heard"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)])
def test_more_than_half_of_the_detectors_say_how_strange_a_row_is(count, heard):
    """The ones that find it strangest: written out row by row."""
    teachers = COMMITTEE[:count]
    committee, own = learn_committee(table()[0], replace(CONFIG, {"teachers": teachers}), seed=0)
    assert len(own) == count
    found = committee.combine(own[:, :50])
    np.testing.assert_allclose(found, [sum(sorted(row)[-heard:]) / heard for row in own[:, :50].T.tolist()])


def test_weights_for_each_row_anew():
    """Who is far from the middle of the others is heard less: written out for one row."""
    committee, own = learn_committee(table()[0], replace(CONFIG, {"weights": "rows"}), seed=0)
    voice = np.array([[0.0], [0.5], [4.0]])
    heard = np.exp(-np.array([0.5, 0.0, 3.5]))
    np.testing.assert_allclose(committee.combine(voice), (heard @ voice) / heard.sum())
    assert own.shape == (3, 1500)
    x = table(n=50, seed=1)[0]
    np.testing.assert_allclose(committee(x), [committee(row[None])[0] for row in x], rtol=1e-9)


@pytest.mark.parametrize("target", ["ranks", "tempered"])
def test_weights_follow_the_student_as_it_learns(monkeypatch, target):
    """One detector whose word is noise: no student follows it, and it is heard less and less."""
    learn = module.learn_outliers

    def noisy(kind, z, config, *, seed):
        detector, own = learn(kind, z, config, seed=seed)
        if kind != "nearest":
            return detector, own

        def noise(z):
            return np.abs(np.sin(1e4 * z.sum(1))) + 0.05 * np.abs(z).sum(1)

        return noise, noise(z)

    monkeypatch.setattr(module, "learn_outliers", noisy)
    fields = {"weights": "student", "target": target, "fidelity": -1.0}
    result = distil_committee(table()[0], replace(CONFIG, fields), seed=0)
    weights = {m.name: m.weight for m in result.committee.members}
    assert sum(weights.values()) == pytest.approx(1.0) and weights["nearest"] < 0.1
    x = table()[0]
    np.testing.assert_array_equal(result.said[result.held], result.committee(x[result.held]))  # as it weighs in the end
    assert result.follower.fidelity["spearman"] == spearman(
        result.said[result.held], result.follower.network(x[result.held])
    )


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


def test_a_report_draws_the_curve_of_the_student_that_was_kept(monkeypatch):
    """The first lesson here learns nothing: what is kept is the same size, taught for twice as long."""
    taught = follow._taught

    def first_in_vain(lessons, features, hidden, config, seed, length, *others):
        network, curve = taught(lessons, features, hidden, config, seed, length, *others)
        if length == 1:
            last = np.zeros_like(network.weights[-1])
            network = Network(network.features, (*network.weights[:-1], last), network.biases)
        return network, curve

    monkeypatch.setattr(follow, "_taught", first_in_vain)
    training = limbeck.fit(table()[0], config=QUICK, seed=0).artefact.training
    assert training["chosen"] == "tiny, 2 times"
    assert list(training["curves"]) == ["tiny", "tiny, 2 times"]


def test_a_student_that_does_not_follow_is_refused_where_there_are_rows_enough(monkeypatch):
    tried = []

    def silent(lessons, features, hidden, config, seed, length, *_):
        tried.append((hidden, length))
        width = features.width
        return Network(features, (np.zeros((width, 1), np.float32),), (np.zeros(1, np.float32),)), [0.0]

    monkeypatch.setattr(follow, "_taught", silent)
    with pytest.raises(InputError, match="the student does not follow the committee") as caught:
        distil_committee(table()[0], CONFIG, seed=0)
    assert "0.9" in str(caught.value) and "fidelity=-1" in str(caught.value)
    ladder = [((32, 32), 1), ((32, 32), 2), ((32, 32), 4), ((64, 64), 4), ((128, 64), 4)]
    assert tried == ladder, "first for longer, then larger ones"
    with pytest.warns(LimbeckWarning, match="does not follow"):
        distil_committee(table(n=400)[0], CONFIG, seed=0)
    tried.clear()
    distil_committee(table()[0], replace(CONFIG, {"fidelity": -1.0, "longer": 1.0}), seed=0)
    assert tried == [(hidden, 1) for hidden in [(32, 32), (64, 64), (128, 64)]], "the strangest rows are not the same"
    tried.clear()
    distil_committee(table()[0], replace(CONFIG, {"fidelity": -1.0, "longer": 3.0}), seed=0)
    assert [length for _, length in tried] == [1, 2, 3, 3, 3]
    tried.clear()
    distil_committee(table()[0], replace(CONFIG, {"fidelity": -1.0, "same_top": 0.0}), seed=0)
    assert tried == [((32, 32), 1)]


def test_tempered_soft_labels_are_log_odds_even_at_the_share_held_anomalous(monkeypatch):
    told = {}

    def remember(lessons, hidden, **options):
        told.update(options, lessons=lessons)
        return learn(lessons, hidden, **options)

    learn = follow.train_student
    monkeypatch.setattr(follow, "train_student", remember)
    fields = {"target": "tempered", "temperature": 3.0, "soft": 0.6, "anomalous": 0.1, "fidelity": -1.0}
    result = distil_committee(table()[0], replace(CONFIG, fields), seed=0)
    lessons = told["lessons"]
    real = lessons.soft[:1200]  # a fifth of 1,500 rows is held out
    assert told["soft_loss"] == "tempered" and told["temperature"] == 3.0
    assert (real > 0).sum() == 120 and (lessons.soft_share == np.float32(0.6)).all()
    np.testing.assert_array_equal(lessons.hard, lessons.soft > 0)
    x, y = table(seed=1)
    score = result.follower.network(x)
    assert auroc(y, score) > 0.9 and 0.05 < (score > 0).mean() < 0.2, "log-odds: about a tenth above 0"


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
