"""`limbeck.adapt`: a student of one domain, aligned with another."""

import dataclasses

import numpy as np
import polars as pl
import pytest

import limbeck
from limbeck.checks import check_detector
from limbeck.data.transactions import transactions
from limbeck.errors import InputError, LimbeckWarning
from limbeck.metrics import auroc
from limbeck.report import report
from limbeck.tabular import aligned
from limbeck.tabular.aligned import align
from limbeck.tabular.encode import learn_features

SCALE, SHIFT = np.array([1.8, 0.01, 1.0]), np.array([32.0, 500.0, 0.0])  # the other domain's units


def rows(n=1000, seed=0, *, moved=False, odd=0.0):
    """Return rows of which a share lies far from the middle, in one domain's units or the other's; and which."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, 3)), (rng.random(n) < odd).astype(int)
    x[y == 1] *= 4.0
    return (x * SCALE + SHIFT if moved else x), y


def named(x, *names):
    return dict(zip(names or ("a", "b", "c"), x.T, strict=True))


def strange(x):
    return np.square(x).sum(1)


@pytest.fixture(scope="module")
def student():
    quick = {"steps": 500, "fewest": 1000, "fidelity": 0.8}
    return limbeck.distil(strange, named(rows()[0]), config=quick, alpha=0.05)


@pytest.fixture(scope="module")
def adapted(student):
    return limbeck.adapt(student, named(rows(seed=1, moved=True)[0]))


@pytest.fixture
def no_graph(monkeypatch):
    """Leave the graph out, which takes most of the time, where a test is about something else."""
    monkeypatch.setattr(aligned, "export", lambda network, x, method: (b"", 0.0))


def test_it_is_wrong_before_and_right_after(student, adapted):
    x, y = rows(2000, 2, moved=True, odd=0.1)
    before, after = student.detect(x), adapted.detect(x)
    assert auroc(y, before.score) < 0.8 and before.is_anomaly[y == 0].mean() > 0.9
    assert auroc(y, after.score) > 0.9 and abs(after.is_anomaly[y == 0].mean() - 0.05) < 0.03
    at_home = student.detect((x - SHIFT) / SCALE).score
    assert np.corrcoef(at_home, after.score)[0, 1] > 0.99, "it says of a row what it said of its like at home"
    check_detector(adapted, x)


def test_what_stays_and_where_it_comes_from(student, adapted):
    before, after = student.artefact.weights, adapted.artefact.weights
    moved = {name for name in before if not np.array_equal(before[name], after[name])}
    assert moved == {"features.centre", "features.scale"}
    np.testing.assert_allclose(after["features.centre"], SHIFT, atol=0.2)
    assert adapted.card.method == "distilled" and adapted.alpha == 0.05 and adapted.card.n_items == 1000
    assert adapted.calibrator.normals.size == 200 and adapted.calibration_items == "calibration rows"
    assert any("from a student made on" in note for note in adapted.card.notes)
    assert student.detect(rows()[0]).p_value.mean() == pytest.approx(0.5, abs=0.05), "it was left as it is"


def test_a_column_that_does_not_vary_or_has_no_value(student, no_graph):
    x, _ = rows(300, 3, moved=True)
    x[:, 0], x[:, 2] = 7.0, np.nan
    still = limbeck.adapt(student, x)
    for name in ("features.centre", "features.scale"):
        before, after = student.artefact.weights[name], still.artefact.weights[name]
        assert (before[[0, 2]] == after[[0, 2]]).all() and before[1] != after[1]
    assert sum("does not vary in the new rows" in note for note in still.card.notes) == 2


def test_align_learns_what_learning_anew_would():
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.normal(size=200), rng.random(200) < 0.1, rng.integers(0, 3, 200)]).astype(float)
    y = np.column_stack([rng.gamma(1.0, size=200) * 9, rng.random(200) < 0.6, rng.integers(0, 3, 200)]).astype(float)
    y[::9, 0] = np.nan
    old, anew = learn_features(x, (2,)), learn_features(y, (2,))
    features, still = align(old, y)
    assert still == [] and features.indicator.size == 0 and anew.indicator.size == 1
    for field in dataclasses.fields(features):
        if field.name != "indicator":
            np.testing.assert_array_equal(getattr(features, field.name), getattr(anew, field.name))


def test_columns_of_other_names(student, adapted, no_graph):
    x, _ = rows(seed=1, moved=True)
    other = limbeck.adapt(student, named(x, "room", "b", "hall"), columns={"room": "a", "hall": "c"})
    assert other.spec.names == ["room", "b", "hall"]
    np.testing.assert_array_equal(other.detect(named(x, "room", "b", "hall")).score, adapted.detect(x).score)


def test_few_labels_among_many_rows(student, no_graph):
    x, y = rows(1000, 4, moved=True, odd=0.3)
    few = [int(label) if i < 60 else None for i, label in enumerate(y)]
    normals = 60 - int(y[:60].sum())
    with pytest.warns(LimbeckWarning, match=f"{normals} calibration normals cannot promise"):
        labelled = limbeck.adapt(student, x, label=few, alpha=0.001)
    assert labelled.calibrator.normals.size == normals and labelled.alpha == pytest.approx(1 / (normals + 1))
    assert labelled.calibration_items == "calibration normals" and labelled.card.n_items == 60
    fresh, truth = rows(1000, 5, moved=True, odd=0.3)
    chance = labelled.detect(fresh).probability
    assert chance[truth == 1].mean() > 0.5 > chance[truth == 0].mean() + 0.2
    assert any("940 more rows have no label" in note for note in labelled.card.notes)


def test_all_labels(student, no_graph):
    x, y = rows(1000, 4, moved=True, odd=0.3)
    labelled = limbeck.adapt(student, named(x) | {"y": y}, label="y")
    assert labelled.calibrator.normals.size == int(0.2 * (y == 0).sum()) and labelled.spec.label == "y"


def test_a_student_with_labels_and_categories_moves_with_and_without_labels(detector, tmp_path, monkeypatch):
    other = transactions(1500, seed=7).with_columns(pl.col("amount") * 100, country=pl.lit("xx"))
    bare = limbeck.adapt(detector, other.drop("fraud"))
    assert bare.card.method == "multi-teacher" and bare.detect(other).probability is None
    assert bare.calibration_items == "calibration rows" and "rows without labels" in card_of(bare, tmp_path)
    assert any("'country': 100% of the new rows have a category" in note for note in bare.card.notes)
    check_detector(bare, bare.rows(other)[:300])
    monkeypatch.setattr(aligned, "export", lambda network, x, method: (bare.artefact.onnx, 0.0))  # the same again
    labelled = limbeck.adapt(detector, other, label="fraud")
    assert labelled.detect(other).probability is not None and "labelled rows" in card_of(labelled, tmp_path)
    report(labelled, out=tmp_path / "r.html")
    assert (tmp_path / "r.html").stat().st_size > 1000


def card_of(detector, folder):
    detector.save(folder / "p.limbeck", overwrite=True)
    return (folder / "p.limbeck" / "README.md").read_text("utf-8")


def test_what_cannot_be_adapted(student, picture_detector, no_graph):
    x, y = rows(300, 3)
    for learner, source, options, words in (
        (picture_detector, x, {}, "adapt takes detectors of rows"),
        (student, np.zeros((10, 8, 8), np.uint8), {}, "adapt takes detectors of rows"),
        (student, x[:, :2], {}, "wrong shape"),
        (student, {"a": x[:, 0]}, {}, "2 of the model's 3 columns are missing"),
        (student, named(x), {"columns": {"room": "a"}}, "columns are missing: room"),
        (student, named(x), {"columns": {"a": "zzz"}}, "no column 'zzz'"),
        (student, named(x), {"columns": {"a": "b", "c": "b"}}, "two new names for one column"),
        (student, named(x), {"columns": {"b": "a"}}, "would have one name"),
        (student, x, {"columns": {"room": "a"}}, "renamed by their names"),
        (student, x, {"label": np.zeros(300, int)}, "only one class is present"),
        (student, x, {"label": "y"}, "no column 'y'"),
        (student, x[:22], {}, "too few rows to align with"),
        (student, x, {"label": (strange(x) < 2.0).astype(int)}, "higher scores are more normal"),
    ):
        with pytest.raises(InputError, match=words):
            limbeck.adapt(learner, source, **options)


def test_on_the_command_line(run, tmp_path, student, adapted):
    package, table, out = tmp_path / "a.limbeck", tmp_path / "new.csv", tmp_path / "b.limbeck"
    student.save(package)
    x, y = rows(seed=1, moved=True)
    pl.DataFrame(named(x, "room", "b", "c")).write_csv(table)
    missing = run("adapt", package, table, "--out", out)
    assert missing.returncode == 1 and "columns are missing" in missing.stderr
    unnamed = run("adapt", package, table, "--out", out, "--column", "room")
    assert unnamed.returncode == 1 and "new=old" in unnamed.stderr and not out.exists()
    done = run("adapt", package, table, "--out", out, "--column", "room=a")
    assert done.returncode == 0 and "adapted to new.csv" in done.stderr and "takes" in done.stdout, done.stderr
    np.testing.assert_array_equal(limbeck.load(out).detect(x).score, adapted.detect(x).score)
    assert run("inspect", out).returncode == 0
