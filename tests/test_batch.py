"""A file in, a results file out: in order, whatever is judged beside it, and whole or not at all."""

import numpy as np
import polars as pl
import pytest
import threadpoolctl

from limbeck import batch
from limbeck.errors import InputError


def test_results_keep_the_order_of_the_rows(detector, test_rows, tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "ROWS", 100)
    seen = []
    source = test_rows.head(1050).with_columns(name=pl.int_range(1050).cast(pl.String) + "x")
    rows = batch.score(detector, source, tmp_path / "s.parquet", id="name", on_step=seen.append)
    found = pl.read_parquet(tmp_path / "s.parquet")
    assert rows == 1050 and found["id"].to_list() == [f"{i}x" for i in range(1050)]
    wanted = detector.detect(source)
    np.testing.assert_allclose(found["score"], wanted.score, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(found["is_anomaly"], wanted.is_anomaly)
    assert [s.done for s in seen] == [*range(100, 1001, 100), 1050, 1050]
    batch.score(detector, source.drop("name"), tmp_path / "t.parquet")
    assert pl.read_parquet(tmp_path / "t.parquet")["id"].to_list() == list(range(1050))


def test_a_bad_row_in_a_later_batch_is_named_and_nothing_is_left(detector, test_rows, tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "ROWS", 100)
    name = next(c.name for c in detector.spec.columns if c.kind == "numeric")
    place = pl.int_range(1050) == 777
    source = test_rows.head(1050).with_columns(pl.when(place).then(float("inf")).otherwise(pl.col(name)).alias(name))
    with pytest.raises(InputError, match="row 777"):
        batch.score(detector, source, tmp_path / "s.parquet")
    assert not list(tmp_path.iterdir())


def test_blas_keeps_to_one_thread_while_batches_are_judged(detector, test_rows, tmp_path):
    def blas():
        return {p["num_threads"] for p in threadpoolctl.threadpool_info() if p["user_api"] == "blas"}

    before, seen = blas(), []
    batch.score(detector, test_rows, tmp_path / "s.parquet", on_step=lambda step: seen.append(blas()))
    assert seen[0] == {1} and blas() == before
