"""The benchmark of committees: what is measured on made-up sets, and what its tables make of rows."""

import committee
import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.metrics import roc_auc_score

from limbeck.tabular.config import CommitteeConfig
from limbeck.tabular.encode import learn_features
from limbeck.tabular.follow import hold_out

QUICK = {"teachers": "nearest", "neighbours": 1, "steps": 1, "fewest": 10, "most": 10}


def made(rows):
    rng = np.random.default_rng(0)
    y = (np.arange(rows) % 10 == 0).astype(np.int8)
    return rng.normal(size=(rows, 2)) + 2.0 * y[:, None] * rng.normal(size=(rows, 2)), y


@pytest.fixture
def data(monkeypatch, tmp_path):
    monkeypatch.setattr(committee, "adbench", lambda name: made(1300 if name == "large" else 120))
    monkeypatch.setattr(committee, "RESULTS", tmp_path / "it.csv")


def row(name, model, auroc, **others):
    base = {"set": name, "seed": "0", "tag": "", "fold": "", "rows": "2000", "columns": "3", "anomalies": "100",
            "model": model, "auroc": str(auroc), "average_precision": "0.5", "seconds": "1.5", "size": "",
            "compared": "", "spearman": "", "top_overlap": "", "refused": ""}  # fmt: skip
    return base | others


ROWS = [
    row("a", "committee", 0.8), row("a", "student", 0.795, size="tiny", refused="False", seconds="4"),
    row("a", "lof", 0.9), row("a", "tails", 0.6), row("a", "PyOD ECOD", 0.7),
    row("a", "committee", 0.9, seed="1"), row("a", "student", 0.885, seed="1", size="small", refused="True"),
    row("MVTec b", "committee", 0.5, rows="300"), row("MVTec b", "student", 0.6, rows="300", refused="False"),
    row("a", "student", "", fold="0", spearman="0.9", top_overlap="0.4", refused="True"),
    row("a", "student", "", fold="1", spearman="0.8", top_overlap="0.6", refused="False"),
    row("MVTec b", "student", "", fold="0", rows="300", spearman="0.1", top_overlap="0.1", refused="False"),
]  # fmt: skip


def test_no_row_that_was_learned_from_speaks_for_itself(data):
    found = {r["model"]: r for r in committee.measure(committee.Job("small", 0, None, QUICK, ""))}
    assert list(found) == ["committee", "student", "nearest", *committee.OTHERS]
    x, y = made(120)
    unseen = hold_out(120, CommitteeConfig(), 0)
    z = learn_features(x[~unseen])(x)
    far = cdist(z, z)
    np.fill_diagonal(far, np.inf)
    assert found["nearest"]["auroc"] == pytest.approx(roc_auc_score(y, far[:, ~unseen].min(1)), abs=1e-6)
    assert found["committee"]["auroc"] == pytest.approx(found["nearest"]["auroc"], abs=1e-3)  # its lowest are as one
    assert found["student"]["compared"] == unseen.sum()
    assert found["student"]["seconds"] > found["committee"]["seconds"] >= found["nearest"]["seconds"] > 0


def test_an_ablation_does_without_the_others(data):
    found = committee.measure(committee.Job("small", 0, None, QUICK, "one step"))
    assert [r["model"] for r in found] == ["committee", "student", "nearest"]


def test_a_student_that_would_be_refused_is_compared_on_the_fifth_and_counted(data):
    (found,) = committee.measure(committee.Job("large", 0, 2, QUICK, ""))
    assert (found["rows"], found["compared"], found["fold"], found["refused"]) == (1300, 260, 2, True)
    assert found["spearman"] < 0.9
    (found,) = committee.measure(committee.Job("large", 0, 2, QUICK | {"fidelity": -1}, ""))
    assert (found["refused"], found["size"]) == (False, "base"), "any will do, but larger ones are tried"


def test_folds_for_the_first_seed_alone(data):
    jobs = [(j.name, j.seed, j.fold) for j in committee.missing(["small", "large"], [0, 1], {}, "")]
    assert jobs == [
        *((name, 0, fold) for name in ("small", "large") for fold in (None, 0, 1, 2, 3, 4)), ("small", 1, None),
        ("large", 1, None),
    ]  # fmt: skip
    committee.append(committee.RESULTS, {"set": "small", "seed": 0, "tag": "", "fold": 3, "model": "student"})
    committee.append(committee.RESULTS, {"set": "small", "seed": 1, "tag": "", "fold": "", "model": "student"})
    left = [(j.name, j.seed, j.fold) for j in committee.missing(["small", "large"], [0, 1], {}, "")]
    assert left == [job for job in jobs if job not in {("small", 0, 3), ("small", 1, None)}]


def test_what_is_said_of_all_sets():
    assert list(committee.said_of(ROWS).items()) == [
        ("sets where the student's AUROC is within 0.01 of the committee's", "1 of 2"),  # a: 0.85 and 0.84
        ("sets where it is at most 0.01 below", "2 of 2"),
        ("students that would have been refused", "2 of 6"),
        ("rank correlation, median of 1 sets of 1,000 rows and more", "0.850"),
        ("share of the top 1 % that is the same, median of 1 sets of 1,000 rows and more", "0.500"),
    ]


def test_the_tables(data, capsys):
    others = (row("a", "committee", 0.7, tag="other"), row("a", "student", 0.6, tag="other", refused="False"))
    for made_up in (*ROWS, *others):
        committee.append(committee.RESULTS, made_up)
    committee.table()
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == (
        "| a | 2,000 × 3 | 5.0% | 0.850 | 0.840 | lof 0.900 | 0.700 |  | 0.500 | 0.500 | 0.850 | 0.500 | small, tiny "
        "| 2.8 |"
    )
    assert lines[3].startswith("| MVTec b | 300 × 3 | 33.3% | 0.500 | 0.600 |")
    assert "| classical (1) | committee | 0.850 (0.0500) | 0.500 (0.0000) | 1.50 |" in lines
    assert "| MVTec features (1) | student | 0.600 (0.0000) | 0.500 (0.0000) | 1.50 |" in lines
    assert "| all (2) | student | 0.720 | 0.500 | 1.50 |" in lines  # no spread: one set has one seed
    assert "| classical (1) | student | 0.600 (0.0000) | 0.500 (0.0000) | 1.50 |" in lines[lines.index("other") :]
