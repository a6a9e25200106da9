"""Teacher and student side by side: what is kept of both, against brute force."""

import json
import pickle
import time
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from scipy.stats import rankdata
from sklearn.neighbors import NearestNeighbors

import limbeck
from limbeck.fitting.tables import prepare_table
from limbeck.network import Network
from limbeck.table_spec import Column, TableSpec
from limbeck.tabular import comparison, follow
from limbeck.tabular.comparison import compare, costs, pickled_bytes
from limbeck.tabular.encode import learn_features

QUICKEST = {"steps": 50, "fewest": 300, "fidelity": -1}
SPEC = TableSpec(tuple(Column(f"c{j}", "numeric") for j in range(3)))


def student_of(x, categorical=()):
    """Return a student that says the sum of its inputs."""
    features = learn_features(x, categorical)
    return Network(features, (np.ones((features.width, 1), np.float32),), (np.zeros(1, np.float32),))


def compared(n, seed=0, shown=10):
    """Return rows, both scores of each, and what is kept of them."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    network = student_of(x)
    student = network(x).astype(float)
    said = student + rng.normal(size=n)
    return x, said, student, compare(x, said, network, name="it", spec=SPEC, id=range(n), shown=shown)


def strangest(score, k):
    return set(np.argsort(-score)[:k].tolist())


def test_all_of_the_strangest_are_kept_and_evenly_many_of_the_others():
    _, said, student, found = compared(6000)
    pairs = {k: np.array(v) for k, v in found["pairs"].items() if k != "strangest"}
    assert len(pairs["teacher"]) == len(pairs["student"]) == 2000 and found["n"] == 6000
    assert (np.diff(pairs["teacher"]) >= 0).all()
    for who, score in (("teacher", said), ("student", student)):
        kept = pairs[who][found["pairs"]["strangest"][who]]
        np.testing.assert_allclose(np.sort(kept), np.sort(score)[-60:], atol=1e-4)
    top = strangest(said, 60) | strangest(student, 60)
    others = np.sort(np.delete(said, list(top)))
    marked = set().union(*found["pairs"]["strangest"].values())
    drawn = np.delete(pairs["teacher"], list(marked))
    assert len(drawn) == 2000 - len(top)
    places = np.searchsorted(others, drawn) / len(others)
    np.testing.assert_allclose(places, np.linspace(0, 1, len(drawn)), atol=2e-3)


def test_both_scores_of_a_pair_are_of_one_row():
    _, said, student, found = compared(300)
    order = np.argsort(said)
    np.testing.assert_allclose(found["pairs"]["teacher"], said[order], atol=1e-4)
    np.testing.assert_allclose(found["pairs"]["student"], student[order], atol=1e-4)


def test_of_very_many_rows_the_others_are_not_crowded_out():
    *_, found = compared(80_000)
    marked = found["pairs"]["strangest"]
    assert len(found["pairs"]["teacher"]) == 2000 and {len(marked[who]) for who in marked} == {750}


@pytest.mark.parametrize("n", [3, 40, 6000])
def test_the_overlap_is_that_of_sets(n):
    _, said, student, found = compared(n)
    k, share = found["overlap"]["k"], found["overlap"]["share"]
    assert k[0] == min(n, 10) and k[-1] == max(min(n, 10), n // 10) and all(a < b for a, b in pairwise(k))
    assert share == [len(strangest(said, j) & strangest(student, j)) / j for j in k]


def test_the_rows_on_whose_rank_they_differ_most():
    x, said, student, found = compared(500)
    first, second = rankdata(said) / 500, rankdata(student) / 500
    apart = np.abs(first - second)
    rows = [int(row["id"]) for row in found["apart"]]
    np.testing.assert_allclose(apart[rows], np.sort(apart)[::-1][:10])
    for row, i in zip(found["apart"], rows, strict=True):
        wanted = (said[i], student[i], first[i], second[i])
        got = [row[key] for key in ("teacher", "student", "teacher_rank", "student_rank")]
        np.testing.assert_allclose(got, wanted, atol=1e-4)
        assert all(x[i, SPEC.names.index(v["column"])] == v["value"] for v in row["unusual"])
    assert compared(500, shown=0)[-1]["apart"] == []


def test_what_is_unusual_of_a_row():
    """The three numbers farthest from the median, in spreads; neither gaps nor categories, and no overflow."""
    x = np.random.default_rng(0).normal(size=(200, 6))
    x[:, 4] = np.arange(200) % 3
    network = student_of(x, (4,))
    x[0] = [-7.0, np.nan, 0.01, 5.0, 2.0, 1e308]
    spec = TableSpec(tuple(Column(c, "numeric") for c in "abcdef"))
    found = compare(x, -network(x).astype(float), network, name="it", spec=spec, id=[None] * 200, shown=1)
    (row,) = found["apart"]
    assert row["id"] == "" and [v["column"] for v in row["unusual"]] == ["f", "a", "d"]
    middle, quartiles = np.median(x[1:, 0]), np.percentile(x[1:, 0], (25, 75))
    assert row["unusual"][1]["spreads"] == pytest.approx((-7 - middle) / (np.diff(quartiles)[0] / 1.349), rel=0.05)
    json.dumps(found, allow_nan=False)


def test_both_are_timed_on_the_same_rows():
    x, asked = np.random.default_rng(0).normal(size=(1500, 3)), []

    def slow(rows):
        asked.append(len(rows))
        time.sleep(0.005)
        return rows[:, 0]

    network = student_of(x)
    found = costs(x, network, slow, 7000)
    assert found["weights"] == 4 and found["bytes"] == {"student": 16, "teacher": 7000}
    assert [s["rows"] for s in found["seconds"]] == [1, 1024] and asked == [1] * 5 + [1024] * 5
    assert all(s["teacher"] >= 0.005 > s["student"] > 0 for s in found["seconds"])
    assert costs(x, network, None, None)["seconds"] == []


def test_a_slow_teacher_is_asked_once(monkeypatch):
    monkeypatch.setattr(comparison, "SECONDS", 0.001)
    x, asked = np.random.default_rng(0).normal(size=(50, 3)), []
    found = costs(x, student_of(x), lambda rows: asked.append(len(rows)) or time.sleep(0.002), None)
    assert asked == [1, 50] and [s["turns"] for s in found["seconds"]] == [1, 1]


def test_what_a_teacher_takes_is_its_pickle():
    index = NearestNeighbors().fit(np.random.default_rng(0).normal(size=(20_000, 3)))
    assert pickled_bytes(index) == len(pickle.dumps(index, pickle.HIGHEST_PROTOCOL)) > 480_000
    index.handle = lambda: None
    assert pickled_bytes(index) is None and pickled_bytes(np.mean) is None


@pytest.fixture
def no_graph(monkeypatch):
    """Leave the export out, which takes seconds and compares nothing."""
    monkeypatch.setattr(follow, "export", lambda network, x, method: (b"", 0.0))


def test_rows_are_called_as_in_their_source(no_graph):
    x = np.random.default_rng(0).normal(size=(400, 3))
    table = {f"c{j}": x[:, j] for j in range(3)} | {"serial": [f"u{i}" for i in range(400)]}
    detector = limbeck.fit(table, id="serial", config={**QUICKEST, "teachers": "tails,nearest"}, alpha=0.05)
    for kept, number in (
        (detector, lambda id: int(id[1:])),
        (limbeck.distil(np.abs(x).sum(1), table, ignore_columns="serial", config=QUICKEST, alpha=0.05), int),
    ):
        rows = kept.artefact.training["comparison"]["apart"]
        assert len(rows) == 10
        for row in rows:
            assert all(table[v["column"]][number(row["id"])] == v["value"] for v in row["unusual"])
    members = detector.artefact.training["members"]
    assert [m["name"] for m in members] == ["tails", "nearest"] and all(0 < m["student"] <= 1 for m in members)


def test_rows_without_a_label_do_not_shift_the_others():
    frame = pl.DataFrame({"a": np.arange(60.0), "y": [None, *[0, 0, 1] * 19, 0, 1]})
    options = {"normal": None, "id": None, "ignored": (), "max_categories": 9, "seed": 0}
    prepared = prepare_table(frame, label="y", **options)
    for items in (prepared.learn, prepared.calibration):
        (batch,) = items.batches(100)
        assert batch.id == batch.x[:, 0].tolist()


def test_the_same_seed_leaves_the_same_behind_but_for_the_costs(no_graph, tmp_path):
    x = np.random.default_rng(0).normal(size=(400, 3))
    for name in ("a", "b"):
        config = {**QUICKEST, "teachers": "nearest,autoencoder", "autoencoder_steps": 20}
        limbeck.fit(x, config=config, alpha=0.05).save(tmp_path / name)
    files = sorted(p.name for p in (tmp_path / "a" / "training").iterdir())
    assert {"comparison.json", "costs.json", "members.json"} < set(files)
    for file in set(files) - {"costs.json"}:
        assert (tmp_path / "a" / "training" / file).read_bytes() == (tmp_path / "b" / "training" / file).read_bytes()
    costs = json.loads((tmp_path / "a" / "training" / "costs.json").read_text())
    assert costs["bytes"]["teacher"] > 10_000 and [s["rows"] for s in costs["seconds"]] == [1, 64]
