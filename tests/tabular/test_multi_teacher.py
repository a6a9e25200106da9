"""The estimator keeps scikit-learn's contract; the method keeps its own."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from limbeck.errors import InputError, LimbeckWarning
from limbeck.tabular.config import MultiTeacherConfig
from limbeck.tabular.multi_teacher import MultiTeacherClassifier, distil

QUICK = MultiTeacherConfig(resamplers=("none",), folds=2, trees=20, steps=250, batch=64, refit=False)


@pytest.mark.filterwarnings("ignore::limbeck.errors.LimbeckWarning")  # some checks learn from random labels
@parametrize_with_checks([MultiTeacherClassifier(QUICK)])
def test_scikit_learn(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1200, 5))
    y = (rng.random(1200) < 0.08).astype(np.int8)
    x[y == 1, :2] += 1.8
    return x, y


def tensors(network):
    return network.tensors()


def same(a, b):
    return all(np.array_equal(tensors(a)[k], tensors(b)[k]) for k in tensors(a))


def config(**values):
    return MultiTeacherConfig(**{"resamplers": ("none", "rus"), "folds": 2, "trees": 20, "steps": 150, "batch": 64,
                                 "refit": False, **values})  # fmt: skip


def test_without_teacher_words_the_student_is_the_plain_one(table):
    """No synthetic rows and no weight on the committee leave exactly the labels' student: the footing is equal."""
    students = distil(*table, config(soft=0.0, swap=0), seed=0).students
    assert same(students["distilled"], students["labels"])
    assert same(students["control"], students["labels"])


def test_the_control_differs_by_the_teacher_alone(table):
    """With no weight on the committee's word on real rows, distilled and control still differ on synthetic ones."""
    students = distil(*table, config(soft=0.0), seed=0).students
    assert not same(students["distilled"], students["control"])
    assert (
        tensors(students["distilled"])["layers.0.weight"].shape == tensors(students["control"])["layers.0.weight"].shape
    )


def test_a_student_of_the_committee_alone_ranks_like_it(table):
    x, y = table
    result = distil(x, y, config(soft=1.0, steps=1500, batch=256), seed=0)
    fresh = np.random.default_rng(1).normal(size=(2000, 5)) + [0.5, 0.5, 0, 0, 0]
    from scipy.stats import spearmanr

    assert spearmanr(result.students["distilled"](fresh), result.committee.log_odds(fresh)).statistic > 0.8


def test_the_score_is_a_log_odds(table):
    """The mean probability of the shipped student is the true prior, although its rows were not."""
    from limbeck.calibrate import sigmoid

    x, y = table
    network = distil(x, y, config(steps=600), seed=0).network
    assert abs(sigmoid(network(x)).mean() - y.mean()) < 0.03


def test_candidates_are_measured_as_scikit_learn_would(table):
    x, y = table
    result = distil(x, y, config(validation=0.3), seed=4)
    assert [c["role"] for c in result.candidates] == [
        "distilled",
        "control",
        "labels",
        "committee",
        "teacher",
        "teacher",
    ]
    from limbeck.tabular.multi_teacher import _held_out

    outside = _held_out(y, 0.3, 4)
    for c in result.candidates[:3]:
        wanted = average_precision_score(y[outside], result.students[c["role"]](x[outside]))
        assert c["average_precision"] == pytest.approx(wanted)
        assert c["n"] == outside.sum() and c["n_anomalous"] == y[outside].sum()


def test_validation_rows_are_never_learned_from(table):
    """Changing the validation rows changes no student that is measured on them."""
    from limbeck.tabular.multi_teacher import _held_out

    x, y = table
    outside = _held_out(y, 0.2, 0)
    moved = x.copy()
    moved[outside] *= 1.01
    a, b = (distil(rows, y, config(), seed=0) for rows in (x, moved))
    assert all(same(a.students[role], b.students[role]) for role in a.students)


def test_refit_teaches_on_every_row(table):
    x, y = table
    a, b = (distil(x, y, config(refit=refit), seed=0) for refit in (False, True))
    assert a.candidates == b.candidates
    assert not same(a.network, b.network)


def test_same_seed_same_student(table):
    a, b, c = (distil(*table, config(), seed=seed) for seed in (1, 1, 2))
    assert same(a.network, b.network) and not same(a.network, c.network)


def test_the_number_of_workers_changes_nothing(table):
    a, b = (distil(*table, config(jobs=jobs), seed=0) for jobs in (1, 3))
    assert same(a.network, b.network)


def test_labels_that_mean_nothing_are_said(table):
    x, _ = table
    y = (np.random.default_rng(5).random(1200) < 0.08).astype(np.int8)
    with pytest.warns(LimbeckWarning, match="chance|backwards"):
        for seed in range(4):
            distil(x, y, config(), seed=seed)


def test_a_control_that_wins_is_said():
    from limbeck.tabular.candidates import verdict

    rows = [{"role": r, "average_precision": v} for r, v in (("distilled", 0.5), ("control", 0.6), ("labels", 0.4))]
    assert len(verdict(rows)) == 1 and "control" in verdict(rows)[0] and "0.600" in verdict(rows)[0]


def test_too_few_rows():
    with pytest.raises(InputError, match="at least 3"):
        distil(np.eye(6), np.array([0, 0, 0, 0, 1, 1], np.int8), config(), seed=0)


def test_nothing_varies():
    with pytest.raises(InputError, match="no column varies"):
        distil(np.ones((40, 2)), np.arange(40, dtype=np.int8) % 2, config(), seed=0)


def test_text_classes_and_names():
    import pandas as pd

    rng = np.random.default_rng(0)
    x = pd.DataFrame(rng.normal(size=(300, 3)), columns=["a", "b", "c"])
    y = np.where(rng.random(300) < 0.2, "z fraud", "a fine")
    x.loc[y == "z fraud", "a"] += 3
    model = MultiTeacherClassifier(QUICK).fit(x, y)
    assert model.classes_.tolist() == ["a fine", "z fraud"]
    assert (model.predict(x) == y).mean() > 0.9
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
