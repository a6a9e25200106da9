"""`limbeck.refresh`: the student in a package goes on learning from newer rows."""

import numpy as np
import polars as pl
import pytest

import limbeck
from limbeck.checks import check_detector
from limbeck.errors import ConfigError, InputError
from limbeck.fidelity import spearman
from limbeck.fitting.distilling import _kept

QUICK = {"steps": 800, "fewest": 1000, "fidelity": 0.85}
FAST = {"steps": 700}


MOVED = np.array([2.0, 2.0, 2.0, 0.0])  # where the newer rows are


def rows(n=1200, seed=0, moved=False):
    return np.random.default_rng(seed).normal(size=(n, 4)) + moved * MOVED


def strange(x):
    """Say how rare rows are where both places count: a teacher that knows old rows and newer ones."""
    return -np.logaddexp(*(-0.5 * np.square(x - place).sum(1) for place in (0.0, MOVED)))


def named(x, **more):
    return {f"c{j}": x[:, j] for j in range(4)} | more


@pytest.fixture(scope="module")
def student():
    return limbeck.distil(strange, named(rows()), config=QUICK, alpha=0.05)


@pytest.fixture(scope="module")
def refreshed(student):
    return limbeck.refresh(student, rows(seed=5, moved=True), strange, remembered=named(rows()), config=FAST)


def follows(detector, x):
    return spearman(strange(x), detector.detect(x).score)


def test_it_follows_on_newer_rows_and_still_on_old_ones(student, refreshed):
    newer, old = rows(600, 6, True), rows(600, 7)
    assert follows(refreshed, newer) > follows(student, newer) + 0.1
    assert follows(refreshed, newer) > 0.9 and follows(refreshed, old) > 0.9
    assert student.detect(newer).is_anomaly.mean() > 0.3, "strange to the one that has not seen any"
    assert abs(refreshed.detect(newer).is_anomaly.mean() - 0.05) < 0.04 and refreshed.alpha == 0.05
    check_detector(refreshed, refreshed.rows(newer))


def test_what_stays_and_where_it_comes_from(student, refreshed):
    assert refreshed.spec == student.spec and refreshed.card.method == "distilled"
    centres = [d.artefact.weights["features.centre"] for d in (student, refreshed)]
    np.testing.assert_array_equal(*centres)
    assert refreshed.artefact.training["fidelity"]["n"] == 192, "of the newer rows alone"
    assert any("a student made on" in note and "beside rows of before" in note for note in refreshed.card.notes)
    assert refreshed.artefact.config == student.artefact.config | FAST
    assert _kept(refreshed) == student.artefact.config | {"steps": 1000}, "steps do not dwindle"


def test_stored_scores_of_both_times(student):
    old, newer = rows(), rows(seed=5, moved=True)
    then, now = (named(x, said=strange(x), more=x[:, 0]) for x in (old, newer))
    again = limbeck.refresh(student, now, "said", remembered=then, config=FAST, alpha=0.1)
    assert follows(again, rows(600, 6, True)) > 0.9 and follows(again, rows(600, 7)) > 0.9
    assert again.alpha == 0.1 and again.spec.names == student.spec.names
    with pytest.raises(InputError, match="has no column 'said'"):
        limbeck.refresh(student, now, "said", remembered=named(old))


def test_what_cannot_be_refreshed(student, detector, picture_detector):
    newer = rows(1300, 5)
    for learner, source, teacher, words in (
        (picture_detector, newer, strange, "refresh takes detectors of rows"),
        (detector, newer, strange, "refresh takes detectors that learned from scores"),
        (student, np.zeros((10, 8, 8), np.uint8), strange, "refresh takes tables"),
        (student, newer[:, :3], strange, "wrong shape"),
        (student, np.column_stack([newer, newer]), strange, "wrong shape"),
        (student, {"a": newer[:, 0]}, strange, "4 of the model's 4 columns are missing"),
        (student, newer, np.arange(7.0), r"shape \(1300,\)"),
        (student, newer, np.ones(1300), "says the same of every row"),
        (student, newer, np.random.default_rng(0).normal(size=1300), "does not follow the stored scores"),
        (student, newer[:9], strange, "too few rows"),
        (student, newer, picture_detector, "judges pictures"),
        (student, newer, detector, "do not take the same columns"),
    ):
        with pytest.raises(InputError, match=words):
            limbeck.refresh(learner, source, teacher, config={"steps": 20})
    with pytest.raises(ConfigError, match="no field 'stepz'"):
        limbeck.refresh(student, newer, strange, config={"stepz": 1})


def test_on_the_command_line(run, tmp_path, student):
    package, table = tmp_path / "a.limbeck", tmp_path / "new.csv"
    student.save(package)
    x = rows(seed=5)
    pl.DataFrame(named(x, said=strange(x))).write_csv(table)
    there = run("refresh", package, "said", table, "--out", package)
    assert there.returncode == 1 and "--overwrite" in there.stderr
    few = ("--set", "steps=1", "--set", "fidelity=-1", "--out", package, "--overwrite")
    over = run("refresh", package, package, table, *few)
    assert over.returncode == 0 and "may fade" in over.stderr and "takes" in over.stdout, over.stderr
    after = limbeck.load(package)
    before = student.artefact.weights
    moved = [np.abs(a - before[name]).max() for name, a in after.artefact.weights.items() if name.startswith("layers")]
    assert 0 < max(moved) < 0.01, "it began with the weights that it had"
    assert after.alpha == 0.05 and after.card.n_items == 1200
