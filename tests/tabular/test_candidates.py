from __future__ import annotations

import re

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from limbeck.tabular.candidates import choose, together, verdict
from limbeck.tabular.config import ROLES


def labels(n=1000, anomalous=60):
    y = np.zeros(n, np.int8)
    y[np.random.default_rng(0).choice(n, anomalous, replace=False)] = 1
    return y


def noisy(y, shift, seed):
    return np.random.default_rng(seed).normal(size=len(y)) + shift * y


@pytest.mark.parametrize("best", ROLES)
def test_one_that_is_clearly_better_is_chosen(best):
    y = labels()
    scores = {role: noisy(y, 4.0 if role == best else 0.5, seed) for seed, role in enumerate(ROLES)}
    role, reason = choose([(scores, y)], seed=0)
    ap = average_precision_score(y, scores[best])
    assert role == best
    assert reason == f"{best!r} is shipped: the highest average precision on the validation rows ({ap:.3f})"


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("drop", range(5))
def test_of_equals_the_simplest_is_chosen(turned, drop):
    y = labels()
    roles = list(ROLES)[drop:]
    score = noisy(y, 2.0, 1)
    scores = {role: score for role in (roles[::-1] if turned else roles)}  # whatever the order they come in
    assert choose([(scores, y)], seed=0)[0] == roles[0]


def test_one_that_is_a_little_simpler_is_chosen_within_the_error_and_the_reason_names_both():
    y = labels()
    scores = {"labels": noisy(y, 0.2, 5), "control": noisy(y, 2.0, 2), "multi-teacher": noisy(y, 2.0, 1)}
    ap = {role: average_precision_score(y, score) for role, score in scores.items()}
    assert ap["control"] < ap["multi-teacher"]
    role, reason = choose([(scores, y)], seed=0)
    assert role == "control"
    found = re.fullmatch(
        r"'control' is shipped: its average precision on the validation rows \((.*)\) is within one standard error "
        r"\((.*)\) of that of the best, 'multi-teacher' \((.*)\), and it is simpler",
        reason,
    )
    assert found
    assert float(found[1]) == pytest.approx(ap["control"], abs=6e-4)
    assert float(found[3]) == pytest.approx(ap["multi-teacher"], abs=6e-4)
    assert float(found[2]) >= ap["multi-teacher"] - ap["control"] - 1e-3


def bootstrap(y, *scores, times=200, seed=9):
    """Return average precision (times, scores) of rows drawn again inside each class."""
    rng = np.random.default_rng(seed)
    classes = [np.flatnonzero(y == value) for value in (0, 1)]
    drawn = [np.concatenate([rng.choice(rows, rows.size) for rows in classes]) for _ in range(times)]
    return np.array([[average_precision_score(y[rows], score[rows]) for score in scores] for rows in drawn])


def test_the_error_is_that_of_the_difference_on_the_same_rows():
    y = labels()
    good = noisy(y, 2.0, 1)
    worse = good + 0.2 * noisy(y, 0.0, 2)  # nearly the same, and a little worse
    lead = average_precision_score(y, good) - average_precision_score(y, worse)
    ap = bootstrap(y, good, worse)
    assert (ap[:, 0] - ap[:, 1]).std(ddof=1) < 0.8 * lead < lead < 0.6 * ap[:, 0].std(ddof=1)
    assert choose([({"labels": worse, "multi-teacher": good}, y)], seed=0)[0] == "multi-teacher"


def test_the_error_agrees_with_another_bootstrap():
    y = labels()
    scores = {"labels": noisy(y, 2.0, 2), "multi-teacher": noisy(y, 2.0, 1)}
    ap = bootstrap(y, *scores.values())
    role, reason = choose([(scores, y)], seed=0)
    said = float(re.search(r"standard error \((.*?)\)", reason)[1])
    assert role == "labels" and said == pytest.approx((ap[:, 1] - ap[:, 0]).std(ddof=1), rel=0.25)


def test_a_simpler_one_that_is_out_of_reach_is_passed_over():
    y = labels()
    scores = {
        role: noisy(y, shift, seed) for seed, (role, shift) in enumerate(zip(ROLES, (0, 0.2, 2, 2, 2), strict=True))
    }
    scores["distilled-rows"] = scores["multi-teacher"] = scores["distilled"]
    assert choose([(scores, y)], seed=0)[0] == "distilled"


def test_the_same_seed_chooses_the_same_for_the_same_reason():
    y = labels()
    scores = {"labels": noisy(y, 2.0, 2), "multi-teacher": noisy(y, 2.0, 1)}
    assert choose([(scores, y)], seed=1) == choose([(scores, y)], seed=1)
    assert len({choose([(scores, y)], seed=s)[1] for s in range(5)}) > 1


def test_few_anomalies_and_a_single_student_are_enough():
    y = np.array([0, 0, 0, 1], np.int8)
    assert choose([({"multi-teacher": np.arange(4.0)}, y)], seed=0)[0] == "multi-teacher"
    assert choose([({"labels": -np.arange(4.0), "control": np.arange(4.0)}, y)], seed=0)[0] == "control"


def test_several_measurements_are_averaged():
    """Each on rows of its own: the mean of the average precisions decides, not that of all rows together."""
    first, second = labels(), labels(600, 40)
    measured = [
        ({"labels": noisy(first, 0.5, 1), "multi-teacher": noisy(first, 3.0, 2)}, first),
        ({"labels": noisy(second, 2.0, 3), "multi-teacher": noisy(second, 2.0, 4)}, second),
    ]
    role, reason = choose(measured, seed=0)
    ap = np.mean([average_precision_score(y, scores["multi-teacher"]) for scores, y in measured])
    assert role == "multi-teacher" and f"({ap:.3f})" in reason
    turned = [({"labels": s["multi-teacher"], "multi-teacher": s["labels"]}, y) for s, y in measured]
    assert choose(turned, seed=0)[0] == "labels"


def test_the_error_shrinks_with_the_number_of_measurements():
    y = labels()
    scores = {"labels": noisy(y, 2.0, 2), "multi-teacher": noisy(y, 2.0, 1)}

    ap = bootstrap(y, *scores.values())
    error = (ap[:, 1] - ap[:, 0]).std(ddof=1)
    lead = average_precision_score(y, scores["multi-teacher"]) - average_precision_score(y, scores["labels"])
    assert error / np.sqrt(6) < 0.8 * lead < lead < 0.8 * error
    assert choose([(scores, y)], seed=0)[0] == "labels"
    assert choose([(scores, y)] * 6, seed=0)[0] == "multi-teacher"


def rows(**ap):
    return [
        {"role": "committee", "average_precision": 0.99},  # neither a student nor in the way
        {"role": "teacher", "average_precision": 0.99},
        *({"role": role.replace("_", "-"), "average_precision": value} for role, value in ap.items()),
    ]


def test_a_control_that_wins_is_said():
    said = verdict(rows(labels=0.4, control=0.6, distilled=0.45, multi_teacher=0.5), "multi-teacher")
    assert said == [
        "no distilled student is above the control (same rows, no teacher) on the validation rows: average precision "
        "0.500 (multi-teacher) against 0.600"
    ]


def test_labels_that_win_are_said():
    said = verdict(rows(labels=0.7, control=0.6, distilled=0.65), "distilled")
    assert said == [
        "no distilled student is above the plain student of the labels on the validation rows: average precision "
        "0.650 (distilled) against 0.700"
    ]


def test_a_tie_is_no_win():
    assert len(verdict(rows(labels=0.5, control=0.5, multi_teacher=0.5), "multi-teacher")) == 2


def test_nothing_is_said_where_distillation_pays():
    assert verdict(rows(labels=0.5, control=0.6, distilled=0.1, multi_teacher=0.61), "multi-teacher") == []
    assert verdict(rows(labels=0.5, multi_teacher=0.6), "multi-teacher") == []  # there may be no control


@pytest.mark.parametrize(
    ("chosen", "words"), [("labels", "the plain student of the labels"), ("control", "the control (same rows")]
)
def test_a_student_without_a_teacher_is_called_that(chosen, words):
    said = verdict(rows(labels=0.5, control=0.6, multi_teacher=0.61), chosen)
    assert len(said) == 1 and said[0].startswith(f"the shipped student learned without a teacher: it is {words}")
    assert len(verdict(rows(labels=0.5, control=0.7, multi_teacher=0.61), chosen)) == 2


def test_measurements_are_averaged_and_their_rows_counted_together():
    def table(ap, members, teachers):
        rows = [("labels", "labels", ap), ("committee", f"committee of {members}", ap + 0.1)]
        rows += [("teacher", f"teacher {name}", ap + 0.2) for name in teachers]
        return [
            {"role": r, "name": n, "weights": 7, "average_precision": v, "n": 10, "n_anomalous": 2} for r, n, v in rows
        ]

    merged = together([table(0.5, 2, ["a", "b"]), table(0.7, 1, ["b"])])
    assert [row["name"] for row in merged] == ["labels", "committee of 2", "teacher b"]  # one may have been dropped
    assert [row["average_precision"] for row in merged] == pytest.approx([0.6, 0.7, 0.8])
    assert all((row["weights"], row["n"], row["n_anomalous"]) == (7, 20, 4) for row in merged)
