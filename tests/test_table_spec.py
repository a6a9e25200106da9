from __future__ import annotations

import json
from decimal import Decimal

import numpy as np
import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.errors import InputError
from limbeck.table_spec import Column, TableSpec, as_text

SPEC = TableSpec(
    (
        Column("amount", "numeric"),
        Column("country", "categorical", ("at", "de", "fr")),
        Column("grade", "categorical", ("1", "10", "2")),
        Column("member", "boolean"),
    ),
    label="fraud",
    normal="no",
    id="tx",
)
ROWS = {
    "amount": [1.5, None, -3],
    "country": ["de", None, "at"],
    "grade": [2, 10, 1],
    "member": [True, False, None],
}
nan = float("nan")
ENCODED = [[1.5, 1, 2, 1], [nan, nan, 1, 0], [-3, 0, 0, nan]]


def one(kind, values, categories=()):
    """Encode one column."""
    return TableSpec((Column("a", kind, categories),)).encode({"a": values})[:, 0].tolist()


def test_encode_turns_values_into_numbers():
    x = SPEC.encode(ROWS)
    assert x.dtype == np.float64 and x.shape == (3, 4)
    np.testing.assert_array_equal(x, ENCODED)


@settings(deadline=None, max_examples=30)
@given(st.permutations([*ROWS, "extra"]))
def test_the_order_of_the_columns_does_not_matter_and_others_are_left_alone(order):
    columns = {name: ROWS.get(name, [object()] * 3) for name in order}
    np.testing.assert_array_equal(SPEC.encode(columns), ENCODED)


def test_an_unseen_category_is_not_a_missing_one():
    values = np.array(["at", "xx", None, nan, "DE", "", "NA"], dtype=object)
    codes = one("categorical", values, ("at", "de", "fr"))
    np.testing.assert_array_equal(codes, [0, 3, nan, nan, 3, nan, nan])


@pytest.mark.parametrize(
    "values",
    [
        ["1", "2", "10", "3"],
        [1, 2, 10, 3],
        [1.0, 2.0, 10.0, 3.0],
        np.array([1, 2, 10, 3], np.int8),
        np.array([1, 2, 10, 3], np.uint64),
        np.array([1, 2, 10, 3], np.float32),
        np.array([1, "2", 10.0, np.int64(3)], object),
    ],
    ids=["texts", "ints", "floats", "int8", "uint64", "float32", "objects"],
)
def test_a_category_is_the_same_from_every_kind_of_value(values):
    assert one("categorical", values, ("1", "10", "2")) == [0, 2, 1, 3]


@pytest.mark.parametrize("values", [[True, False], np.array([np.True_, False], object), ["true", "false"]])
def test_a_boolean_category_is_true_or_false(values):
    assert one("categorical", values, ("false", "true")) == [1, 0]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        (nan, None),
        (np.float32("nan"), None),
        ("", None),
        ("n/a", None),
        (" - ", None),
        ("2.0", "2"),
        ("-3.00", "-3"),
        ("1.2.0", "1.2.0"),
        ("a", "a"),
        (True, "true"),
        (np.False_, "false"),
        (1, "1"),
        (1.0, "1"),
        (-0.0, "0"),
        (1e15, "1000000000000000"),
        (0.1, "0.1"),
        (np.float64(2.5), "2.5"),
        (float("inf"), "inf"),
        (np.int64(7), "7"),
        (2**70, str(2**70)),
        (Decimal("1.5"), "1.5"),
        (np.datetime64("NaT"), None),
    ],
)
def test_as_text(value, text):
    assert as_text(value) == text


def test_as_text_of_pandas_missing_values():
    assert as_text(pandas.NA) is None and as_text(pandas.NaT) is None


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.uint64, np.int64, np.float16, np.float32, np.float64, object])
def test_numbers_of_any_type(dtype):
    assert one("numeric", np.array([0, 1, 100], dtype)) == [0, 1, 100]


def test_missing_numbers():
    values = np.array([1, None, nan, Decimal("2.5"), True], object)
    np.testing.assert_array_equal(one("numeric", values), [1, nan, nan, 2.5, 1])
    np.testing.assert_array_equal(one("numeric", np.array([None, None], object)), [nan, nan])


def test_a_boolean_column_takes_zero_and_one():
    assert one("boolean", [0, 1]) == one("boolean", [False, True]) == [0, 1]


@pytest.mark.parametrize("kind", ["numeric", "boolean"])
@pytest.mark.parametrize(
    ("values", "place"),
    [
        (["x", "y"], "'x' in row 100"),
        (np.array([1.0, None, "oops"], object), "'oops' in row 102"),
        (np.array([1.0, b"raw"], object), "b'raw' in row 101"),
        (np.array(["2024-01-01"], "M8[D]"), "2024, 1, 1"),
        (np.array([1, [2]], object), r"\[2\] in row 101"),
    ],
)
def test_what_is_not_a_number_is_named(kind, values, place):
    with pytest.raises(InputError, match="column 'a' holds something that is not a number") as refused:
        TableSpec((Column("a", kind),)).encode({"a": values}, first_row=100)
    assert refused.match(place)


@pytest.mark.parametrize("bad", [np.inf, -np.inf])
@pytest.mark.parametrize("call", ["encode", "validate"])
def test_an_infinite_value_names_its_column_and_row(bad, call):
    x = np.ones((6, 4))
    x[3, 3], x[5, 0] = bad, bad
    given = x if call == "validate" else {c.name: x[:, i] for i, c in enumerate(SPEC.columns)}
    with pytest.raises(InputError) as refused:
        getattr(SPEC, call)(given, first_row=1000)
    assert refused.match("column 'member' holds an infinite value")
    assert refused.match(f"{bad} in row 1003; 2 in all")


def test_the_largest_finite_value_is_fine():
    assert one("numeric", [1.7e308, -1.7e308]) == [1.7e308, -1.7e308]


def test_all_missing_columns_are_listed_with_a_guess():
    with pytest.raises(InputError) as refused:
        SPEC.encode({"Amount ": [1], "contry": [1], "grade": [1], "colour": [1]})
    message = str(refused.value)
    assert "3 of the model's 4 columns are missing" in message
    assert "amount (did you mean Amount ?)" in message
    assert "country (did you mean contry?)" in message
    assert "member" in message and "member (" not in message
    assert "colour" in message  # what came


def test_a_long_list_of_missing_columns_is_cut():
    spec = TableSpec(tuple(Column(f"x{i}", "numeric") for i in range(50)))
    with pytest.raises(
        InputError, match="50 of the model's 50 columns are missing: x0, x1, x2, x3, x4, ..."
    ) as refused:
        spec.require_columns(["zzz"])
    assert len(str(refused.value)) < 500 and "(50 in all)" in str(refused.value)


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(InputError, match="different lengths") as refused:
        SPEC.encode(ROWS | {"amount": [1.0, 2.0]})
    assert refused.match("amount: 2, country: 3")


@pytest.mark.parametrize(
    ("x", "shape"),
    [
        ([1, 0, 0, 1], (1, 4)),
        ([[1, 0, 0, 1]], (1, 4)),
        ([[1, 0, 0, 1]] * 5, (5, 4)),
        (np.zeros((0, 4)), (0, 4)),
        (np.array([[1, None, nan, True]], object), (1, 4)),
    ],
)
def test_validate_takes_one_row_or_many(x, shape):
    rows = SPEC.validate(x)
    assert rows.shape == shape and rows.dtype == np.float64


@pytest.mark.parametrize("shape", [(), (3,), (5,), (2, 3), (2, 5), (4, 1), (1, 2, 4)])
def test_validate_refuses_other_shapes(shape):
    with pytest.raises(InputError, match="wrong shape") as refused:
        SPEC.validate(np.zeros(shape))
    assert refused.match(r"\(n, 4\)") and "amount, country, grade, member" in str(refused.value)


@pytest.mark.parametrize("x", [[["a", "b", "c", "d"]], [[1, 2, 3], [1, 2]], [[{}, 1, 2, 3]]])
def test_validate_refuses_what_is_not_numbers(x):
    with pytest.raises(InputError, match="not numbers"):
        SPEC.validate(x)


def test_validate_is_the_identity_on_encoded_rows():
    np.testing.assert_array_equal(SPEC.validate(SPEC.encode(ROWS)), ENCODED)


def test_names_and_places():
    assert SPEC.names == ["amount", "country", "grade", "member"]
    assert SPEC.categorical == (1, 2)


names = st.text("ab0 _é語\"'\\,\n", min_size=1, max_size=8)
columns = st.one_of(
    st.builds(Column, names, st.sampled_from(["numeric", "boolean"])),
    st.builds(Column, names, st.just("categorical"), st.lists(names, unique=True, max_size=4).map(tuple)),
)
specs = st.builds(
    TableSpec,
    st.lists(columns, max_size=5).map(tuple),
    st.booleans(),
    st.none() | names,
    st.none() | names,
    st.none() | names,
)


@settings(deadline=None, max_examples=60)
@given(specs)
def test_json_round_trip(spec):
    assert TableSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_an_unknown_kind_of_column_is_refused():
    values = SPEC.to_json()
    values["columns"][0]["kind"] = "picture"
    with pytest.raises(InputError, match="kind is unknown") as refused:
        TableSpec.from_json(values)
    assert refused.match("picture")


@pytest.mark.parametrize("kind", ["numeric", "boolean"])
def test_a_text_that_looks_like_a_number_is_refused_from_objects_too(kind):
    with pytest.raises(InputError, match="not a number"):
        TableSpec((Column("a", kind),)).encode({"a": np.array(["1.5", None], object)})


def test_2d():
    with pytest.raises(InputError):
        TableSpec((Column("a", "numeric"),)).encode({"a": np.zeros((2, 2))})


def test_2dc():
    with pytest.raises(InputError):
        TableSpec((Column("a", "categorical", ("1",)),)).encode({"a": np.zeros((2, 2))})
