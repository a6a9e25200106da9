from __future__ import annotations

import datetime as dt
from decimal import Decimal

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.data.columns import as_columns
from limbeck.data.tables import open_table
from limbeck.errors import InputError
from limbeck.table_spec import Column
from limbeck.tabular.encode import learn_features, learn_spec

nan = float("nan")


def kind_of(values, dtype=None):
    spec, notes = learn_spec(pl.DataFrame({"a": pl.Series(values, dtype=dtype)}))
    assert notes == []
    return spec.columns[0].kind


@pytest.mark.parametrize(
    ("values", "dtype", "kind"),
    [
        ([1, 2], pl.Int8, "numeric"),
        ([1, 2], pl.UInt64, "numeric"),
        ([0, 1], pl.Int64, "numeric"),
        ([1.5, nan, None], pl.Float32, "numeric"),
        ([Decimal("1.5"), Decimal("2")], None, "numeric"),
        ([True, False, None], None, "boolean"),
        (["x", "y", None], None, "categorical"),
        (["1", "2"], None, "categorical"),
        (["x", "y"], pl.Categorical, "categorical"),
        (["x", "y"], pl.Enum(["y", "x"]), "categorical"),
    ],
)
def test_kinds_of_columns(values, dtype, kind):
    assert kind_of(values, dtype) == kind


def test_label_and_id_are_passed_over_and_kept_by_name():
    frame = pl.DataFrame({"tx": ["a", "b"], "amount": [1, 2], "fraud": ["no", "yes"]})
    spec, notes = learn_spec(frame, label="fraud", normal="no", id="tx", named=False)
    assert spec.names == ["amount"] and notes == []
    assert (spec.label, spec.normal, spec.id, spec.named) == ("fraud", "no", "tx", False)


def test_categories_are_sorted_and_do_not_depend_on_the_rows_order():
    values = ["b", "c", "a", "b", None, "c"]
    there, _ = learn_spec(pl.DataFrame({"a": values}))
    back, _ = learn_spec(pl.DataFrame({"a": values[::-1]}))
    assert there == back
    assert there.columns == (Column("a", "categorical", ("a", "b", "c")),)


@pytest.mark.parametrize(
    "values",
    [
        ["2024-01-01", "2024-02-03"],
        ["2024/1/1", "2024/2/3", None],
        ["2024-01-01T12:30:00Z", "2024-01-02 12:30"],
        ["2024-01-01 12:30:00.123456", "2024-01-02 12:30:00+02:00"],
        ["1.2.2024", "31.12.2023"],
        ["01/02/24", "02/02/2024"],
        [" 1-2-2024 ", "3-4-2024"],
        ["12:30", "23:59:59"],
        ["2024-01-01", "2024-02-03"] * 10 + ["unknown"],
        [dt.date(2024, 1, 1), dt.date(2024, 1, 2)],
        [dt.datetime(2024, 1, 1), None, dt.datetime(2024, 1, 2)],
        [dt.time(1), dt.time(2)],
        [dt.timedelta(1), dt.timedelta(2)],
    ],
    ids=lambda v: str(v[0]),
)
def test_dates_are_refused_with_advice(values):
    with pytest.raises(InputError, match="column 'when' holds dates or times") as refused:
        learn_spec(pl.DataFrame({"amount": np.arange(len(values)), "when": values}))
    assert "hour of day" in refused.value.fix and "--ignore when" in refused.value.fix


def test_dates_as_categories_are_refused():
    with pytest.raises(InputError, match="dates or times"):
        learn_spec(pl.DataFrame({"when": pl.Series(["2024-01-01", "2024-02-03"], dtype=pl.Categorical)}))


@pytest.mark.parametrize("values", [["1-2", "3-4"], ["1.5", "2.5"], ["192.168.0.1", "10.0.0.1"], ["2024", "2025"]])
def test_what_only_looks_a_little_like_a_date_is_a_category(values):
    assert kind_of(values) == "categorical"


def test_a_few_dates_among_words_are_categories():
    assert kind_of(["2024-01-01", "2024-02-03", "never", "unknown"]) == "categorical"


def test_an_identifier_is_refused_with_advice():
    frame = pl.DataFrame({"amount": np.arange(100_000), "account": [f"DE{i:08d}" for i in range(100_000)]})
    with pytest.raises(InputError, match="column 'account' looks like an identifier") as refused:
        learn_spec(frame)
    assert refused.value.got == "100000 in 100000 rows"
    assert "--ignore account" in refused.value.fix and "--id account" in refused.value.fix
    assert learn_spec(frame, id="account")[0].names == ["amount"]


@pytest.mark.parametrize(("rows", "distinct", "fine"), [(1200, 1000, True), (1200, 1001, False), (10_000, 2000, True)])
def test_many_categories_are_fine_while_they_repeat(rows, distinct, fine):
    frame = pl.DataFrame({"a": [f"k{i % distinct}" for i in range(rows)]})
    if fine:
        assert len(learn_spec(frame, max_categories=5000)[0].columns[0].categories) == distinct
    else:
        with pytest.raises(InputError, match="identifier"):
            learn_spec(frame, max_categories=5000)


def test_rare_categories_are_pooled_with_a_note():
    values = ["often"] * 5 + ["some"] * 3 + ["b", "c", "a"]
    spec, notes = learn_spec(pl.DataFrame({"word": values}), max_categories=3)
    assert spec.columns[0].categories == ("a", "often", "some")  # of equally rare ones the first by name
    assert notes == ["column 'word' has 5 categories: the 3 most frequent are kept, the rest count as unseen"]
    codes = spec.encode(as_columns(pl.DataFrame({"word": ["a", "b", "c", "often", "new", None]}), ["word"]))
    np.testing.assert_array_equal(codes[:, 0], [0, 3, 3, 1, 3, nan])


def test_as_many_categories_as_allowed_need_no_note():
    spec, notes = learn_spec(pl.DataFrame({"a": ["x", "y", "z"]}), max_categories=3)
    assert spec.columns[0].categories == ("x", "y", "z") and notes == []


EMPTY = {
    "null": pl.Series([None, None, None]),
    "null text": pl.Series([None, None, None], dtype=pl.String),
    "nan": pl.Series([nan, nan, nan]),
    "nan and null": pl.Series([nan, None, nan]),
}
CONSTANT = {
    "number": pl.Series([3, 3, 3]),
    "text": pl.Series(["x", "x", "x"]),
    "boolean": pl.Series([True, True, True]),
    "date": pl.Series([dt.date(2024, 1, 1)] * 3),
}


@pytest.mark.parametrize("name", [*EMPTY, *CONSTANT])
def test_columns_that_say_nothing_are_left_out_with_a_note(name):
    series = (EMPTY | CONSTANT)[name]
    spec, notes = learn_spec(pl.DataFrame({"good": [1, 2, 3], "useless": series}))
    why = "no value at all" if name in EMPTY else "one value only"
    assert spec.names == ["good"]
    assert notes == [f"column 'useless' has {why} and was left out"]


def test_one_value_beside_gaps_says_something():
    spec, notes = learn_spec(pl.DataFrame({"a": [3.0, None, 3.0], "b": ["x", None, "x"]}))
    assert spec.names == ["a", "b"] and notes == []


def test_nothing_left_is_refused_with_the_reasons():
    with pytest.raises(InputError, match="no column is left") as refused:
        learn_spec(pl.DataFrame({"a": [1, 1], "y": [0, 1]}), label="y")
    assert "column 'a' has one value only" in refused.value.got
    with pytest.raises(InputError, match="no column is left"):
        learn_spec(pl.DataFrame({"y": [0, 1]}), label="y")


@pytest.mark.parametrize("values", [[[1], [2]], [{"x": 1}, {"x": 2}], [b"x", b"y"]])
def test_other_kinds_are_refused_by_name(values):
    with pytest.raises(InputError, match="column 'a' is of a kind that cannot be learned") as refused:
        learn_spec(pl.DataFrame({"a": values}))
    assert "--ignore a" in refused.value.fix


def test_features_of_a_mixed_table():
    x = np.array(
        [
            # number, constant, flag, category, constant with gaps, empty, flag with gaps
            [1.0, 5.0, 0.0, 2.0, 7.0, nan, 1.0],
            [2.0, 5.0, 1.0, 0.0, nan, nan, nan],
            [4.0, 5.0, 1.0, nan, 7.0, nan, 0.0],
            [9.0, 5.0, 0.0, 2.0, 7.0, nan, 0.0],
        ]
    )
    found = learn_features(x, categorical=(3,))
    assert found.number.tolist() == [0, 2, 6]
    assert found.centre.tolist() == [3.0, 0.5, 0.5]
    assert found.scale[1:].tolist() == [0.5, 0.5]
    assert found.indicator.tolist() == [3, 4, 6]
    assert list(zip(found.onehot_column.tolist(), found.onehot_code.tolist(), strict=True)) == [(3, 0), (3, 2)]
    assert found.number.dtype == found.indicator.dtype == found.onehot_code.dtype == np.int64
    assert np.isfinite(found(x)).all() and found(x).shape == (4, found.width)


def test_centre_and_scale_of_a_normal_sample_are_its_mean_and_deviation():
    x = np.random.default_rng(0).normal(-40, 7, (20_000, 1))
    found = learn_features(x)
    assert found.centre[0] == np.median(x)
    assert found.centre[0] == pytest.approx(-40, abs=0.2) and found.scale[0] == pytest.approx(7, rel=0.03)


def test_a_few_extreme_values_do_not_squeeze_the_rest():
    x = np.random.default_rng(1).normal(size=(2000, 1))
    x[:20] = 1e12
    found = learn_features(x)
    assert found.scale[0] == pytest.approx(1, rel=0.1)
    assert found(x[20:]).std() == pytest.approx(1, rel=0.2)


@pytest.mark.parametrize(
    ("share", "low", "high", "width"), [(0.4, 25, 75, 1.349), (0.08, 5, 95, 3.290), (0.02, 1, 99, 4.653)]
)
def test_the_scale_takes_wider_quantiles_where_most_values_coincide(share, low, high, width):
    rng = np.random.default_rng(2)
    x = np.zeros((4000, 1))
    x[rng.choice(4000, int(4000 * share), replace=False), 0] = rng.normal(100, 10, int(4000 * share))
    expected = (np.percentile(x, high) - np.percentile(x, low)) / width
    assert learn_features(x).scale[0] == pytest.approx(expected, rel=1e-12)


def test_the_scale_is_the_standard_deviation_where_nearly_all_values_coincide():
    x = np.zeros((4000, 1))
    x[:4, 0] = [90, 100, 110, 120]
    assert learn_features(x).scale[0] == pytest.approx(x.std(), rel=1e-12)


def test_numbers_with_a_large_offset_are_spread_out():
    x = 1e9 + np.random.default_rng(3).uniform(-10, 10, (1000, 1))
    found = learn_features(x)
    assert found(x).std() == pytest.approx(1, rel=0.3)
    assert np.unique(found(x)).size == 1000


def test_learning_features_leaves_the_rows_as_they_were():
    x = np.random.default_rng(4).normal(size=(50, 3))
    x[::5, 1] = nan
    before = x.copy()
    learn_features(x, (2,))
    np.testing.assert_array_equal(x, before)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.one_of(st.floats(-1e150, 1e150), st.just(nan), st.sampled_from([0.0, 1.0])), min_size=1, max_size=40)
)
def test_every_column_gives_finite_inputs_and_a_positive_scale(values):
    x = np.array(values)[:, None]
    found = learn_features(x)
    assert (found.scale > 0).all() and np.isfinite(found.scale).all() and np.isfinite(found.centre).all()
    assert np.isfinite(found(x)).all()
    seen = {v for v in values if v == v}
    assert found.number.tolist() == ([0] if len(seen) > 1 else [])
    assert found.indicator.tolist() == ([0] if seen and len(seen) and any(v != v for v in values) else [])


@pytest.mark.parametrize(
    "source",
    [
        np.array([[1.5, "x"], [2, "y"], [None, "x"]], object),
        np.array([[1.0, 2.0], [3.0, 4.0]], object),
        np.arange(4.0).reshape(2, 2).astype(np.longdouble),
    ],
    ids=["mixed", "numbers", "longdouble"],
)
def test_arrays_of_objects_can_be_learned(source):
    spec, _ = learn_spec(open_table(source).frame())
    assert spec.columns[0].kind == "numeric"


@pytest.mark.parametrize("values", [[1.5e308, -1.5e308], [1.5e308, 1.6e308]])
def test_the_largest_values_have_a_finite_centre_and_scale(values):
    f = learn_features(np.repeat(values, 50)[:, None])
    assert (
        np.isfinite(f.centre).all() and np.isfinite(f.scale).all() and len(np.unique(f(np.array(values)[:, None]))) == 2
    )
