"""The ablation of what a student is told: each way is learned and written down once, and summed up by set and seed."""

import csv

import numpy as np
import pytest
import told
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from limbeck.network import Network
from limbeck.tabular.encode import learn_features

QUICK = {"teachers": ("nearest",), "steps": 1, "fewest": 10.0, "most": 10.0}


def made(name):
    rng = np.random.default_rng(0)
    y = (np.arange(120) % 10 == 0).astype(np.int8)
    return rng.normal(size=(120, 2)) + 2.0 * y[:, None] * rng.normal(size=(120, 2)), y


@pytest.fixture
def quick(monkeypatch, tmp_path):
    monkeypatch.setattr(told, "adbench", made)
    monkeypatch.setattr(told, "RESULTS", tmp_path / "it.csv")
    monkeypatch.setattr(told, "ANY", told.ANY | QUICK)
    monkeypatch.setattr(told, "TOLD", {k: told.TOLD[k] for k in (told.DEFAULT, "temperature 2", "weights=mean")})


def rows():
    with told.RESULTS.open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_every_way_is_measured_once(quick, monkeypatch):
    told.measure("any", 0, told.TOLD)
    assert [r["told"] for r in rows()] == list(told.TOLD)
    x, y = made("any")
    one = rows()[0]
    assert 0 <= float(one["grows"]) <= 1
    assert 0 <= float(one["strange"]) <= 1
    assert -1 <= float(one["spearman"]) <= 1
    assert roc_auc_score(y, x.var(1)) > 0.5  # what is made has something to find
    assert float(one["committee_auroc"]) > 0.6
    monkeypatch.setattr(told, "learn_committee", None)  # nothing is left to learn
    told.measure("any", 0, told.TOLD)
    assert len(rows()) == len(told.TOLD)


def test_ways_of_weighing_have_a_committee_of_their_own(quick, monkeypatch):
    asked = []
    learn = told.learn_committee
    monkeypatch.setattr(
        told, "learn_committee", lambda x, config, seed: asked.append(config.weights) or learn(x, config, seed=seed)
    )
    told.measure("any", 0, told.TOLD)
    assert asked == ["strangest", "mean"]


def test_rays_along_which_a_score_falls_are_seen():
    x = np.random.default_rng(0).normal(size=(200, 1))
    features = learn_features(x)
    up = Network(features, (np.array([[1.0]], np.float32),), (np.zeros(1, np.float32),))
    assert spearmanr(x[:, 0], up(x)).statistic == pytest.approx(1.0)
    found = told.along_rays(up, x, features, 0)  # grows to one side, where it alarms, and falls to the other
    assert 0.3 < found["grows"] < 0.7
    assert found["strange"] == pytest.approx(found["grows"])


def test_the_table_says_means_and_the_spread_of_seeds(quick, capsys):
    told.measure("any", 0, told.TOLD)
    told.measure("any", 1, told.TOLD)
    told.measure("other", 0, [told.DEFAULT])
    told.table(["any"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(told.TOLD)
    mine = [float(r["auroc"]) for r in rows() if r["told"] == told.DEFAULT and r["set"] == "any"]
    assert f"{np.mean(mine):.3f} ({np.std(mine):.3f})" in lines[2]
