"""`limbeck.distil`: any detector, or its stored scores, into one package that ranks rows the same way."""

import dataclasses
import json

import numpy as np
import polars as pl
import pytest
import torch
from pyod.models.knn import KNN
from sklearn.ensemble import IsolationForest
from sklearn.svm import OneClassSVM

import limbeck
from limbeck.checks import check_detector
from limbeck.errors import ConfigError, InputError
from limbeck.fidelity import spearman
from limbeck.fitting import distilling
from limbeck.tabular.config import FollowerConfig

QUICK = {"steps": 500, "fewest": 1000}
QUICKEST = {"steps": 50, "fewest": 300, "fidelity": -1}


def rows(n=1500, seed=0):
    """Rows on a bent sheet: five numbers, the fourth of which never varies."""
    x = np.random.default_rng(seed).normal(size=(n, 5))
    x[:, 1], x[:, 3] = x[:, 0] ** 2 + 0.1 * x[:, 1], 7.0
    return x


@pytest.fixture(scope="module")
def knn():
    return KNN().fit(rows())


@pytest.fixture(scope="module")
def distilled(knn):
    return limbeck.distil(knn, rows(), config=QUICK, alpha=0.05)


def test_a_detector_becomes_a_student_that_ranks_as_it_does(knn, distilled):
    assert distilled.card.method == "distilled" and distilled.artefact.training["fidelity"]["spearman"] > 0.9
    fresh = rows(1000, 1)
    assert spearman(knn.decision_function(fresh), distilled.detect(fresh).score) > 0.9
    assert 0.02 < distilled.detect(fresh).is_anomaly.mean() < 0.09
    check_detector(distilled, distilled.rows(fresh))


class TorchAutoEncoder:
    """A linear autoencoder on torch's float32, with the names of PyOD's deep detectors."""

    def fit(self, x):
        torch.manual_seed(0)
        self.net = torch.nn.Sequential(torch.nn.Linear(x.shape[1], 2), torch.nn.Linear(2, x.shape[1]))
        optimiser = torch.optim.Adam(self.net.parameters(), 0.05)
        for _ in range(100):
            optimiser.zero_grad()
            self._lost(x).mean().backward()
            optimiser.step()
        self.decision_scores_ = self.decision_function(x)
        return self

    def _lost(self, x):
        rows = torch.from_numpy(np.asarray(x)).float()
        return (self.net(rows) - rows).square().sum(1)

    def decision_function(self, x):
        return self._lost(x).detach().numpy()


def test_what_is_said_of_pictures_is_refused_of_rows(distilled):
    for teacher, options, got in (
        (distilled, {"normal": "good"}, "normal='good'"),
        ([distilled] * 2, {}, "2 detectors"),
    ):
        with pytest.raises(ConfigError, match="rows have one teacher") as caught:
            limbeck.distil(teacher, rows(100), **options)
        assert got in str(caught.value)


@pytest.mark.parametrize(
    ("teacher", "say"),
    [
        (TorchAutoEncoder, lambda d, x: d.decision_function(x)),
        (lambda: OneClassSVM(gamma=0.05), lambda d, x: -d.score_samples(x)),
    ],
    ids=["torch autoencoder", "svm"],
)
def test_detectors_of_other_kinds(teacher, say):
    x, fresh = rows(600)[:, :3], rows(300, 1)[:, :3]
    fitted = teacher().fit(x)
    student = limbeck.distil(fitted, x, config={"steps": 300, "fewest": 600, "fidelity": -1, "same_top": 0}, alpha=0.05)
    assert spearman(say(fitted, fresh), student.detect(fresh).score) > 0.8


def test_it_is_saved_and_loaded_like_any_other(distilled, tmp_path):
    distilled.save(tmp_path / "a.limbeck")
    again = limbeck.load(tmp_path / "a.limbeck")
    np.testing.assert_array_equal(again.detect(rows(50, 1)).score, distilled.detect(rows(50, 1)).score)
    assert "without labels" in (tmp_path / "a.limbeck" / "README.md").read_text()


def test_stored_scores_the_teacher_is_never_asked(knn):
    fresh = rows(1000, 1)
    named = {f"c{j}": rows()[:, j] for j in range(5)} | {"word": ["a", "b", "c"] * 500, "said": knn.decision_scores_}
    detector = limbeck.distil("said", named, config=QUICK, alpha=0.05)
    assert detector.spec.names == ["c0", "c1", "c2", "c4", "word"], "neither the scores nor what never varies"
    assert not any("looks like a label" in note for note in detector.card.notes)
    again = limbeck.distil("said", named | {"fraud": [0, 1, 0] * 500}, config=QUICKEST, alpha=0.05)
    assert any("column 'fraud' looks like a label" in note for note in again.card.notes)
    said = detector.detect({f"c{j}": fresh[:, j] for j in range(5)} | {"word": ["a"] * 1000}).score
    assert spearman(knn.decision_function(fresh), said) > 0.85
    array = limbeck.distil(knn.decision_scores_, rows(), config=QUICK, alpha=0.05)
    assert spearman(knn.decision_function(fresh), array.detect(fresh).score) > 0.85


def test_far_rows_are_strange_although_the_teacher_cannot_be_asked(knn):
    network = limbeck.distil(knn.decision_scores_, rows(), config=QUICK, alpha=0.05)
    ways = np.random.default_rng(2).normal(size=(50, 5))
    ways /= np.abs(ways).max(1, keepdims=True)
    along = np.stack([network.detect(ways * far).score for far in (10, 30, 100, 1e3, 1e4)])
    assert (np.diff(along, axis=0) > 0).mean() > 0.95 and (along > network.threshold).all()


def test_low_scores_may_mean_anomalous(knn):
    turned = limbeck.distil(-knn.decision_scores_, rows(), config=QUICKEST, alpha=0.05, turned=True)
    plain = limbeck.distil(knn.decision_scores_, rows(), config=QUICKEST, alpha=0.05)
    np.testing.assert_array_equal(turned.detect(rows(50, 1)).score, plain.detect(rows(50, 1)).score)
    live = limbeck.distil(lambda x: -np.abs(x).sum(1), rows(), config=QUICK, alpha=0.05, turned=True)
    assert live.detect(np.full((1, 5), 30.0)).is_anomaly[0]


def test_no_row_is_its_own_neighbour(knn, monkeypatch):
    """What a detector of neighbours kept of its own rows leaves each row out; asking it again does not."""
    given = []
    finish = distilling.finish
    monkeypatch.setattr(
        distilling, "finish", lambda prepared, *a, **k: given.append(prepared) or finish(prepared, *a, **k)
    )
    limbeck.distil(knn, rows(), config=QUICKEST, alpha=0.05)
    kept = np.concatenate([given[0].learn.score, given[0].calibration.score])
    assert sorted(kept) == sorted(knn.decision_scores_)
    limbeck.distil(knn, rows(1500, 1), config=QUICKEST, alpha=0.05)  # not its own rows
    kept = np.concatenate([given[1].learn.score, given[1].calibration.score])
    assert sorted(kept) == sorted(knn.decision_function(rows(1500, 1)))


def test_a_limbeck_teaches_a_limbeck(distilled):
    named = {f"x{j}": rows()[:, j] for j in range(5)} | {"serial": np.arange(1500)}
    nano = {**QUICK, "student": "nano", "fidelity": 0.8, "same_top": 0}
    smaller = limbeck.distil(distilled, named, config=nano, alpha=0.05, id="serial")
    assert smaller.spec.id == "serial" and smaller.spec.names == distilled.spec.names
    assert spearman(distilled.detect(rows(500, 1)).score, smaller.detect(rows(500, 1)).score) > 0.8


@pytest.mark.parametrize(
    ("teacher", "source", "words"),
    [
        (np.ones(1500), rows(), "says the same of every row"),
        (np.arange(7.0), rows(), r"expected: shape \(1500,\)"),
        (np.r_[np.nan, np.arange(1499.0)], rows(), "1 of 1,500 are not"),
        ("nothing", {"a": [1.0, 2.0]}, "no column 'nothing'"),
        ("word", {"a": np.arange(30.0), "word": ["x", "y", "z"] * 10}, "'word' are no numbers"),
        (abs, {"a": np.arange(30.0), "word": ["x", "y", "z"] * 10}, "gets numbers alone"),
        (lambda x: x[:, 0], np.zeros((10, 8, 8), np.uint8), "pictures are distilled from detectors of pictures"),
        (np.random.default_rng(0).normal(size=1500), rows(), "the student does not follow the stored scores"),
        (lambda x: -np.abs(x).sum(1), rows(), "for more normal than real ones"),
    ],
)
def test_what_cannot_be_distilled(teacher, source, words):
    with pytest.raises(InputError, match=words):
        limbeck.distil(teacher, source, config={"steps": 200, "fewest": 500})


def test_a_coarse_teacher_is_said():
    x = rows()
    detector = limbeck.distil(np.round(np.abs(x[:, 0])), x, config=QUICKEST, alpha=0.05)
    assert any("different values" in note for note in detector.card.notes)


def test_fit_says_where_the_teacher_goes():
    with pytest.raises(ConfigError, match="needs a teacher") as caught:
        limbeck.fit(rows(), method="distilled")
    assert "limbeck.distil(TEACHER, SOURCE)" in str(caught.value)


def test_on_the_command_line(run, tmp_path):
    forest = IsolationForest(random_state=0).fit(rows())
    table = pl.DataFrame(rows(), schema=[f"c{j}" for j in range(5)])
    table.with_columns(said=pl.Series(-forest.score_samples(rows()))).write_csv(tmp_path / "rows.csv")
    fast = ("--set", "steps=500", "--set", "fewest=1000", "--alpha", "0.05")
    first = run("distil", "said", tmp_path / "rows.csv", "--out", tmp_path / "a.limbeck", *fast)
    assert first.returncode == 0 and "rank correlation" in first.stderr and "c0" not in first.stdout
    assert "(300 calibration rows)" in first.stdout and "student   rank correlation 0.9" in first.stdout
    assert "the teacher takes" not in first.stdout, "of stored scores nobody knows it"
    package = tmp_path / "a.limbeck"
    second = run("distil", package, tmp_path / "rows.csv", "--out", tmp_path / "b.limbeck", *fast)
    assert second.returncode == 0, second.stderr
    assert "times the time for one row, " in second.stdout
    assert "\nstudent   rank correlation 0.9" in run("inspect", package).stdout
    assert json.loads((tmp_path / "b.limbeck" / "manifest.json").read_text())["card"]["method"] == "distilled"
    third = run("distil", "sai", tmp_path / "rows.csv", "--out", tmp_path / "c.limbeck")
    assert third.returncode == 1 and "did you mean 'said'" in third.stderr
    listed = json.loads(run("methods", "distilled", "--json").stdout)
    assert [row["field"] for row in listed] == [f.name for f in dataclasses.fields(FollowerConfig)]
