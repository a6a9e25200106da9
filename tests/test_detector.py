"""What a user holds: the same verdict alone, in a batch, on every runtime, before and after saving."""

import dataclasses

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from scipy import stats
from strategies import rows

import limbeck
import limbeck.calibrate
import limbeck.metrics
from limbeck.checks import BATCH_TOLERANCE, CHECKS, RUNTIME_TOLERANCE, check_detector
from limbeck.data.transactions import transactions
from limbeck.errors import ConfigError, InputError
from limbeck.network import Network
from limbeck.runtime import scorer_for

QUICK = {"resamplers": ["none"], "folds": 2, "trees": 10, "steps": 100, "refit_below": 0, "measurements": 1}


def gap(a, b):
    return float((np.abs(a.astype(float) - b) / np.maximum(1, np.abs(a))).max())


def test_the_battery_passes(detector, test_rows):
    check_detector(detector, detector.rows(test_rows.head(64)))


def test_the_battery_passes_on_offsets(offset_detector):
    rng = np.random.default_rng(3)
    check_detector(offset_detector, rng.normal(size=(40, 4)) * [1, 10, 1e-3, 1e6] + [0, 1e9, 0, -1e7])


@pytest.mark.parametrize("name", CHECKS)
def test_the_battery_can_fail(name, detector, test_rows):
    """Each check refuses a detector that breaks its rule."""

    class Broken:
        spec = detector.spec
        called = 0

        def __call__(self, x):
            scores = detector.scorer(np.nan_to_num(x, posinf=0.0))
            self.called += 1
            return dataclasses.replace(scores, score=scores.score + np.float32(len(x) + self.called))

    class Careless(type(detector)):  # accepts anything and changes it
        def detect(self, x):
            x = np.atleast_2d(x)
            width = len(self.spec.columns)
            x[:] = 0
            fixed = np.nan_to_num(np.resize(x, (len(x) + (name == "one_row_is_one"), width)))
            verdicts = self.judge(fixed)
            if name == "missing_values_are_judged":
                verdicts.score[:] = np.nan
            return verdicts

        def judge(self, x):
            verdicts = super().judge(x)
            return dataclasses.replace(verdicts, is_anomaly=~verdicts.is_anomaly, p_value=verdicts.p_value - 1)

    values = {f.name: getattr(detector, f.name) for f in dataclasses.fields(detector)}
    if name in ("batch_does_not_matter", "package_repeats_it"):
        broken = dataclasses.replace(detector, scorer=Broken())
    elif name == "runtimes_agree":
        other = {**detector.artefact.weights, "layers.0.bias": detector.artefact.weights["layers.0.bias"] + 1}
        broken = dataclasses.replace(detector, artefact=dataclasses.replace(detector.artefact, weights=other))
    else:
        broken = Careless(**values)
    with pytest.raises(AssertionError):
        CHECKS[name](broken, detector.rows(test_rows.head(8)).copy())


def test_skip_needs_a_reason(detector, test_rows):
    with pytest.raises(ValueError, match="reason"):
        check_detector(detector, detector.rows(test_rows.head(8)), skip={"runtimes_agree": ""})


@settings(deadline=None, max_examples=60)
@given(x=rows(4))
def test_every_runtime_says_the_same(offset_detector, x):
    """Alone, in a batch, in numpy, ONNX and torch; offsets, extremes and gaps included."""
    import torch

    from limbeck.tabular.student import TorchNetwork

    numpy_scorer, onnx_scorer = (scorer_for(offset_detector.artefact, r) for r in ("numpy", "onnx"))
    batch = numpy_scorer(x).score
    assert np.isfinite(batch).all()
    assert gap(batch, np.concatenate([numpy_scorer(row[None]).score for row in x])) <= BATCH_TOLERANCE
    assert gap(batch, onnx_scorer(x).score) <= RUNTIME_TOLERANCE
    assert gap(batch, np.concatenate([onnx_scorer(row[None]).score for row in x])) <= RUNTIME_TOLERANCE
    module = TorchNetwork(Network.from_tensors(offset_detector.artefact.weights))
    assert gap(batch, module(torch.from_numpy(x)).numpy()) <= RUNTIME_TOLERANCE


def test_small_steps_on_a_large_offset_count(offset_detector):
    """1e9 + 25 is an anomaly and 1e9 is not, although float32 knows no number between."""
    usual = offset_detector.detect([0.0, 1e9, 0.0, -1e7])
    shifted = offset_detector.detect([2.5, 1e9 + 25, 0.0, -1e7])
    assert shifted.score[0] > usual.score[0] + 1


def test_every_way_to_give_rows_is_the_same(detector, test_rows, tmp_path):
    part = test_rows.head(50)
    wanted = detector.detect(part)
    part.write_parquet(tmp_path / "rows.parquet")
    part.write_csv(tmp_path / "rows.csv")
    shuffled = part.select(sorted(part.columns, reverse=True)).with_columns(pl.lit("x").alias("more"))
    pandas = pd.DataFrame({n: part[n].to_list() for n in part.columns})
    given_ways = [
        detector.rows(part), shuffled, pandas, str(tmp_path / "rows.parquet"), tmp_path / "rows.csv",
        {n: part[n].to_list() for n in part.columns}, part.lazy(),
    ]  # fmt: skip
    for way in given_ways:
        np.testing.assert_array_equal(detector.detect(way).score, wanted.score)
    np.testing.assert_array_equal(detector.detect(part.row(0, named=True)).score, wanted.score[:1])


def test_one_row_the_short_way_is_judged_as_in_a_batch():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(1500, 4)), (np.arange(1500) % 20 == 0).astype(int)
    x[y == 1] += 2
    plain = limbeck.fit(x, label=y, config=QUICK, alpha=0.05)
    new = rng.normal(size=(400, 4)) * 1.7
    new[:5, 1] = np.nan
    assert all(plain.scorer.network.one(row) is not None for row in new)
    batch = plain.judge(new)
    alone = [plain.detect(row[None] if i % 2 else row) for i, row in enumerate(new)]
    for field in ("score", "p_value", "probability"):
        found = np.concatenate([getattr(v, field) for v in alone])
        np.testing.assert_allclose(found, getattr(batch, field), rtol=1e-6, atol=1e-6)
        assert found.dtype == getattr(batch, field).dtype
    np.testing.assert_array_equal(np.concatenate([v.is_anomaly for v in alone]), batch.is_anomaly)
    assert (plain.detect(new[7]).is_anomaly == (plain.detect(new[7]).p_value <= plain.alpha)).all()
    for wrong in (new[7][:, None], new[7][:3], new[7][None, None]):
        with pytest.raises(InputError, match="wrong shape"):
            plain.detect(wrong)
    with pytest.raises(InputError, match="infinite"):
        plain.detect(np.array([0.0, np.inf, 0.0, 0.0]))


def test_unseen_categories_and_gaps_are_judged(detector, test_rows):
    row = test_rows.row(0, named=True)
    for change in ({"country": "mars"}, {"country": None}, {"amount": None}, {"online": None}):
        v = detector.detect(row | change)
        assert np.isfinite(v.score).all() and 0 < v.p_value[0] <= 1


def test_a_false_alarm_rate_is_kept_on_held_out_normals(detector):
    """Over 100 fresh draws of normals, alarms follow the exact law that the promise implies."""
    m, n, alpha = 400, 500, 0.05
    allowed = int(alpha * (m + 1))
    law = stats.betabinom(n, allowed, m + 1 - allowed)
    fresh = detector.rows(transactions(102_000, rate=1e-5, seed=7).filter(pl.col("fraud") == 0))
    scores = detector.scorer(fresh).score[: 100 * (m + n)].reshape(100, m + n)
    alarms = []
    for draw in scores:
        calibrator = limbeck.calibrate.Calibrator.fit(draw[:m], np.zeros(m))
        alarms.append(int((draw[m:] > calibrator.threshold(alpha)).sum()))
    inside = np.mean([(law.ppf(0.025) <= a <= law.ppf(0.975)) for a in alarms])
    assert inside >= 0.88  # 95 % expected; below 0.88 has a chance of 0.3 %
    total = 100 * n
    assert abs(sum(alarms) / total - allowed / (m + 1)) < 4 * law.std() * 10 / total


def test_another_rate_needs_no_refit(detector, test_rows):
    strict = detector.with_alpha(0.01)
    assert strict.threshold > detector.threshold
    assert strict.card.threshold == strict.threshold
    few, many = strict.detect(test_rows), detector.detect(test_rows)
    assert few.is_anomaly.sum() < many.is_anomaly.sum()
    with pytest.raises(InputError, match="cannot be promised"):
        detector.with_alpha(1e-6)


@pytest.mark.filterwarnings("ignore:no teacher is better")  # the labels here mean nothing
def test_too_few_normals_raise_the_rate(train):
    with pytest.warns(limbeck.LimbeckWarning, match="raised to"):
        found = limbeck.fit(
            train.head(400).with_columns(fraud=(pl.int_range(400) % 40 == 0).cast(pl.Int8)), label="fraud",
            config={"resamplers": ["none"], "folds": 2, "trees": 5, "steps": 20, "refit_below": 0, "measurements": 1},
            alpha=0.001,
        )  # fmt: skip
    assert found.alpha == pytest.approx(1 / (found.calibrator.normals.size + 1))
    assert any("raised to" in note for note in found.card.notes)


def test_unknown_runtime(package):
    with pytest.raises(ConfigError, match="tensorrt"):
        limbeck.load(package, "tensorrt")


def test_probabilities_are_calibrated(detector):
    fresh = transactions(20_000, seed=5)
    probability = detector.detect(fresh).probability
    assert abs(probability.mean() - fresh["fraud"].mean()) < 0.004
    assert limbeck.metrics.ece(fresh["fraud"].to_numpy(), probability) < 0.01
