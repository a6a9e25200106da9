"""The one door to learning, from Python."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

import limbeck
from limbeck.checks import check_items
from limbeck.data.columns import TableItems
from limbeck.errors import ConfigError, InputError
from limbeck.evaluate import evaluate
from limbeck.fitting import CALIBRATION_MOST, set_aside
from limbeck.image.config import CrossDomainConfig, ResidualAttentionConfig, ReverseDistillationConfig
from limbeck.table_spec import Column, TableSpec
from limbeck.tabular.config import MultiTeacherConfig

FAST = {"resamplers": ["none"], "folds": 2, "trees": 10, "steps": 40, "refit_below": 0, "measurements": 1}


def test_calibration_rows_are_a_fifth_and_at_most_ten_thousand():
    y = np.zeros(200_000, np.int8)
    y[:400] = 1
    aside = set_aside(y, 0)
    assert aside.sum() <= CALIBRATION_MOST and 0.0015 < y[aside].mean() < 0.0025
    small = set_aside(y[:2000], 0)
    assert small.sum() == 400 and y[:2000][small].sum() == 80
    assert (set_aside(y, 1) != aside).any()


def test_calibration_rows_are_never_learned_from(train):
    """Turning the calibration rows into nonsense changes no weight."""
    y = train["fraud"].to_numpy()
    aside = set_aside(y, 0)
    moved = train.with_columns(amount=pl.when(pl.Series(aside)).then(1e7).otherwise("amount"))
    a, b = (limbeck.fit(t, label="fraud", config=FAST, alpha=0.05) for t in (train, moved))
    assert all(np.array_equal(a.artefact.weights[k], b.artefact.weights[k]) for k in a.artefact.weights)
    assert not np.array_equal(a.calibrator.normals, b.calibrator.normals)
    assert a.calibrator.normals.size == (y[aside] == 0).sum()


def test_every_source_gives_the_same_detector(train, tmp_path):
    train.write_csv(tmp_path / "t.csv")
    train.write_parquet(tmp_path / "t.parquet")
    train.write_ipc(tmp_path / "t.feather")
    pandas = pd.DataFrame({n: train[n].to_list() for n in train.columns})
    ways = [train, pandas, tmp_path / "t.csv", str(tmp_path / "t.parquet"), tmp_path / "t.feather"]
    found = [limbeck.fit(way, label="fraud", config=FAST, alpha=0.05).calibrator.normals for way in ways]
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)


def test_arrays_with_labels_beside_them(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(600, 3)), (rng.random(600) < 0.1).astype(int)
    x[y == 1] += 2
    np.savez(tmp_path / "a.npz", X=x, y=y)
    a = limbeck.fit(x, label=y, config=FAST, alpha=0.05)
    b = limbeck.fit(
        tmp_path / "a.npz", label="y", config=MultiTeacherConfig(**FAST | {"resamplers": ("none",)}), alpha=0.05
    )
    np.testing.assert_array_equal(a.calibrator.normals, b.calibrator.normals)
    assert a.spec.names == ["x0", "x1", "x2"]
    assert evaluate(a, x, label=y).metrics == evaluate(b, tmp_path / "a.npz").metrics
    with pytest.raises(InputError, match="labels and rows"):
        limbeck.fit(x, label=y[:-1])


def test_a_finished_teacher_is_not_taught_again(train, tmp_path, monkeypatch):
    a = limbeck.fit(train, label="fraud", config=FAST, alpha=0.05, workdir=tmp_path)
    import lightgbm

    monkeypatch.setattr(lightgbm, "train", lambda *a, **k: pytest.fail("taught again"))
    b = limbeck.fit(train, label="fraud", config=FAST, alpha=0.05, workdir=tmp_path)
    np.testing.assert_array_equal(a.calibrator.normals, b.calibrator.normals)
    with pytest.raises(pytest.fail.Exception, match="taught again"):
        limbeck.fit(train, label="fraud", config=FAST, alpha=0.05, workdir=tmp_path, seed=1)


def test_progress_is_told(train):
    steps = []
    limbeck.fit(train, label="fraud", config=FAST, alpha=0.05, on_step=steps.append)
    stages = list(dict.fromkeys(s.stage for s in steps))
    assert stages == ["reading", "teachers", "students", "exporting"]
    for stage in stages:
        last = [s for s in steps if s.stage == stage][-1]
        assert last.done == last.total
        done = [s.done for s in steps if s.stage == stage]
        assert done == sorted(done)


@pytest.mark.parametrize("config", [{"trees": 0}, {"nothing": 1}, 7, MultiTeacherConfig(soft=3.0)])
def test_wrong_configurations(train, config):
    with pytest.raises(ConfigError):
        limbeck.fit(train, label="fraud", config=config)


@pytest.mark.parametrize("config", [ReverseDistillationConfig(), CrossDomainConfig(), ResidualAttentionConfig()])
def test_a_configuration_says_its_method(train, config):
    names = {"Rev": "reverse-distillation", "Cro": "cross-domain", "Res": "residual-attention"}
    with pytest.raises(ConfigError, match=f"the method '{names[type(config).__name__[:3]]}' does not learn from"):
        limbeck.fit(train, config=config)
    with pytest.raises(ConfigError, match="this is not a configuration"):
        limbeck.fit(train, label="fraud", config=config, method="multi-teacher")


def test_items_keep_their_contract():
    x = np.random.default_rng(0).normal(size=(7, 2))
    check_items(TableItems(TableSpec((Column("a", "numeric"), Column("b", "numeric"))), x, np.zeros(7, np.int8)))


@pytest.mark.parametrize("method", [None, "cross-domain", "reverse-distillation", "multi-teacher", "committee"])
def test_a_source_that_is_not_there_is_called_that_whatever_the_method(tmp_path, method):
    with pytest.raises(InputError, match="there is no file or folder .*parts"):
        limbeck.fit(tmp_path / "parts", method=method)
