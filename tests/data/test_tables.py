from __future__ import annotations

import datetime as dt
from decimal import Decimal

import numpy as np
import pandas
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.contracts import Batch
from limbeck.data.columns import TableItems, as_columns, as_label_array, labels_of, rows_of
from limbeck.data.tables import TABLE_SUFFIXES, open_table
from limbeck.errors import InputError
from limbeck.table_spec import Column, TableSpec
from limbeck.tabular.encode import learn_spec

nan = float("nan")
SPEC = TableSpec(
    (
        Column("amount", "numeric"),
        Column("count", "numeric"),
        Column("member", "boolean"),
        Column("country", "categorical", ("at", "de", "fr")),
        Column("grade", "categorical", ("1", "10", "2")),
    )
)
FRAME = pl.DataFrame(
    {
        "amount": [1.5, None, -3.25, 1e300, 0.1],
        "count": [1, 2, 3, 4, 2**40],
        "member": [True, False, None, True, False],
        "country": ["de", "at", None, "zz", "fr"],
        "grade": [1, 2, 10, None, 3],
    }
)
ENCODED = np.array(
    [
        [1.5, 1, 1, 1, 0],
        [nan, 2, 0, 0, 2],
        [-3.25, 3, nan, nan, 1],
        [1e300, 4, 1, 3, nan],
        [0.1, 2**40, 0, 2, 3],
    ]
)


def encode(source, spec=SPEC):
    return spec.encode(as_columns(source.frame(), spec.names))


def write_csv(frame, path, separator=","):
    frame.write_csv(path, separator=separator)
    return path


def write_parts(frame, folder, write):
    folder.mkdir()
    for i in range(0, frame.height, 2):
        write(frame[i : i + 2], folder / f"part-{i:03d}")
    return folder


def pandas_frame():
    """Mixed object columns, NaN, None, NA and categoricals, as they come from the wild."""
    return pandas.DataFrame(
        {
            "grade": pandas.Series([1, "2", 10.0, None, np.int64(3)], dtype=object),
            "country": pandas.Categorical(["de", "at", None, "zz", "fr"]),
            "member": pandas.array([True, False, None, True, False], dtype="boolean"),
            "count": pandas.array([1, 2, 3, 4, 2**40], dtype="Int64"),
            "amount": [1.5, nan, -3.25, 1e300, 0.1],
            "unused": [dt.date(2024, 1, 1)] * 5,
        }
    )


def plain_pandas_frame():
    """What `FRAME` becomes by way of Python lists."""
    columns = {name: pandas.Series(FRAME[name].to_list(), dtype=object) for name in FRAME.columns}
    return pandas.DataFrame(columns).set_axis([9, 3, 3, 1, 0])


KINDS = {
    "csv": lambda p: write_csv(FRAME, p / "t.csv"),
    "CSV": lambda p: write_csv(FRAME, p / "t.CSV"),
    "semicolon csv": lambda p: write_csv(FRAME, p / "t.csv", ";"),
    "tsv": lambda p: write_csv(FRAME, p / "t.tsv", "\t"),
    "csv by pandas": lambda p: plain_pandas_frame().to_csv(p / "t.csv", index=False) or p / "t.csv",
    "csv with NA": lambda p: FRAME.write_csv(p / "t.csv", null_value="NA") or p / "t.csv",
    "parquet": lambda p: FRAME.write_parquet(p / "t.parquet") or p / "t.parquet",
    "pq": lambda p: FRAME.write_parquet(p / "t.pq") or p / "t.pq",
    "text path": lambda p: FRAME.write_parquet(p / "t.parquet") or str(p / "t.parquet"),
    "name with wildcards": lambda p: FRAME.write_parquet(p / "t[1]*.parquet") or p / "t[1]*.parquet",
    "feather": lambda p: FRAME.write_ipc(p / "t.feather") or p / "t.feather",
    "arrow": lambda p: FRAME.write_ipc(p / "t.arrow", compression="zstd") or p / "t.arrow",
    "folder of parquet": lambda p: write_parts(
        FRAME, p / "parts", lambda f, to: f.write_parquet(to.with_suffix(".parquet"))
    ),
    "folder of csv": lambda p: write_parts(FRAME, p / "parts", lambda f, to: f.write_csv(to.with_suffix(".csv"))),
    "folder of tsv": lambda p: write_parts(
        FRAME, p / "parts", lambda f, to: f.write_csv(to.with_suffix(".tsv"), separator="\t")
    ),
    "polars": lambda p: FRAME,
    "polars lazy": lambda p: FRAME.lazy(),
    "polars types": lambda p: FRAME.with_columns(
        pl.col("amount").fill_null(nan),
        pl.col("count").cast(pl.UInt64),
        pl.col("country").cast(pl.Categorical),
        pl.col("grade").cast(pl.Decimal(10, 2)).cast(pl.Int8),
    ),
    "pandas": lambda p: pandas_frame(),
    "pandas objects": lambda p: plain_pandas_frame(),
    "mapping": lambda p: FRAME.to_dict(as_series=False),
    "mapping of arrays": lambda p: {n: np.array(FRAME[n].to_list(), object) for n in reversed(FRAME.columns)},
    "mapping of series": lambda p: dict(FRAME.to_dict(as_series=True)),
}


@pytest.mark.parametrize("known", [True, False], ids=["with spec", "without spec"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_source_gives_the_same_values(tmp_path, kind, known):
    source = open_table(KINDS[kind](tmp_path), SPEC if known else None)
    assert source.named
    np.testing.assert_array_equal(encode(source), ENCODED)


def numeric_array():
    x = np.random.default_rng(0).normal(size=(7, 3))
    x[2, 1] = nan
    return x


def save(path, array, **more):
    if path.suffix == ".npy":
        np.save(path, array)
    else:
        np.savez(path, **({"X": array} | more))
    return path


ARRAYS = {
    "array": lambda p, x: x,
    "fortran": lambda p, x: np.asfortranarray(x),
    "view": lambda p, x: np.repeat(x, 2, axis=0)[::2],
    "big endian": lambda p, x: x.astype(">f8"),
    "npy": lambda p, x: save(p / "t.npy", x),
    "npz": lambda p, x: save(p / "t.npz", x),
    "npz, small x": lambda p, x: np.savez(p / "t.npz", x=x) or p / "t.npz",
    "compressed": lambda p, x: np.savez_compressed(p / "t.npz", X=x) or p / "t.npz",
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_every_kind_of_array_gives_the_same_values(tmp_path, kind):
    x = numeric_array()
    source = open_table(ARRAYS[kind](tmp_path, x))
    assert not source.named
    spec = TableSpec(tuple(Column(f"x{i}", "numeric") for i in range(3)), named=False)
    assert list(source.schema)[:3] == spec.names
    np.testing.assert_array_equal(encode(source, spec), x)


def test_npz_brings_names_and_labels(tmp_path):
    x = numeric_array()
    path = save(
        tmp_path / "t.npz",
        x,
        y=np.array([0, 1, 0, 0, 0, 1, 0]),
        columns=np.array(["b", "a", "c"]),
        other=np.zeros(3),
        pictures=np.zeros((7, 2, 2)),
    )
    source = open_table(path)
    assert source.named and list(source.schema) == ["b", "a", "c", "y"]
    np.testing.assert_array_equal(as_columns(source.frame(), ["a"])["a"], x[:, 1])
    assert labels_of(source.frame()["y"]).tolist() == [0, 1, 0, 0, 0, 1, 0]


def test_npz_whose_names_do_not_fit_is_refused(tmp_path):
    with pytest.raises(InputError, match="names and columns do not match"):
        open_table(save(tmp_path / "t.npz", numeric_array(), columns=np.array(["a", "b"])))


def test_opening_reads_no_rows(tmp_path):
    path = write_csv(pl.DataFrame({"a": [1, 2], "b": ["x", "y"]}), tmp_path / "t.csv")
    source = open_table(path)
    assert source.name == "t.csv" and source.schema == {"a": pl.Int64, "b": pl.String}
    path.write_text("a,b\n3,z\n")
    assert source.frame().rows() == [(3, "z")]


def test_kinds_come_from_the_spec_never_from_the_values(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("code,amount,tx\n" + "007,1,01\n" * 20_000 + "abc,1.5,02\n")
    spec = TableSpec((Column("code", "categorical", ("007", "abc")), Column("amount", "numeric")))
    source = open_table(path, spec, text=("tx", None, "absent"))
    assert source.schema == {"code": pl.String, "amount": pl.Float64, "tx": pl.String}
    frame = source.frame()
    assert frame["tx"].unique().sort().to_list() == ["01", "02"]
    x = encode(source, spec)
    assert x[0].tolist() == [0, 1] and x[-1].tolist() == [1, 1.5]


def test_without_a_spec_the_whole_file_decides_the_type(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "1,1\n" * 20_000 + "1.5,x\n")
    assert open_table(path).schema == {"a": pl.Float64, "b": pl.String}


@pytest.mark.parametrize("word", ["", "NA", "N/A", "NULL", "null", "?"])
def test_words_that_mean_missing_in_a_csv_file(tmp_path, word):
    path = tmp_path / "t.csv"
    path.write_text(f"a,b\n1,x\n{word},{word}\n")
    assert open_table(path).frame().rows() == [(1, "x"), (None, None)]


@pytest.mark.parametrize("word", ["", "NA", "null"])
def test_words_in_other_files_are_words(tmp_path, word):
    pl.DataFrame({"a": [word, "x"]}).write_parquet(tmp_path / "t.parquet")
    assert open_table(tmp_path / "t.parquet").frame()["a"].to_list() == [word, "x"]


MANY = pl.DataFrame({"a": np.arange(10_007), "b": np.arange(10_007) / 7, "c": [f"t{i % 13}" for i in range(10_007)]})
BATCHED = {
    "polars": lambda p: MANY,
    "polars in pieces": lambda p: pl.concat([MANY[:10], MANY[10:3000], MANY[3000:]], rechunk=False),
    "parquet": lambda p: MANY.write_parquet(p / "t.parquet", row_group_size=700) or p / "t.parquet",
    "csv": lambda p: write_csv(MANY, p / "t.csv"),
    "feather": lambda p: MANY.write_ipc(p / "t.feather") or p / "t.feather",
    "folder": lambda p: write_parts_of(MANY, p / "parts", 1111),
}


def write_parts_of(frame, folder, rows):
    folder.mkdir()
    for i, part in enumerate(frame.iter_slices(rows)):
        part.write_parquet(folder / f"{i:02d}.parquet")
    return folder


@pytest.mark.parametrize("size", [256, 1000, 10_007, 1_000_000])
@pytest.mark.parametrize("kind", BATCHED)
def test_batches_come_in_order_and_of_bounded_size(tmp_path, kind, size):
    pieces = list(open_table(BATCHED[kind](tmp_path)).batches(size))
    assert all(0 < piece.height <= size for piece in pieces)
    assert pl.concat(pieces).equals(MANY)


def test_batches_of_one_row():
    pieces = list(open_table(MANY[:5]).batches(1))
    assert [p["a"].item() for p in pieces] == [0, 1, 2, 3, 4]


def test_batches_read_only_what_a_spec_needs_and_what_is_named(tmp_path):
    source = open_table(BATCHED["parquet"](tmp_path))
    spec = TableSpec((Column("c", "categorical"),))
    for more, expected in [((), ["c"]), (("a", None), ["c", "a"]), (("c",), ["c"]), ((None,), ["c"])]:
        pieces = list(source.batches(4000, spec, *more))
        assert {tuple(p.columns) for p in pieces} == {tuple(expected)}
        assert pl.concat(pieces).equals(MANY.select(expected))


def test_batches_without_a_needed_column_are_refused():
    with pytest.raises(InputError, match="columns are missing"):
        list(open_table(MANY).batches(10, TableSpec((Column("absent", "numeric"),))))


def test_batches_of_an_array_come_by_place_where_the_spec_has_names():
    pieces = list(open_table(np.eye(3)).batches(2, TableSpec((Column("amount", "numeric"),))))
    assert [p.columns for p in pieces] == [["x0", "x1", "x2"]] * 2


def truncated(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


BROKEN = {
    "parquet cut in half": lambda p: truncated(BATCHED["parquet"](p), 0.5),
    "parquet without its last byte": lambda p: truncated(BATCHED["parquet"](p), 0.9999),
    "empty parquet": lambda p: truncated(BATCHED["parquet"](p), 0),
    "feather cut in half": lambda p: truncated(BATCHED["feather"](p), 0.5),
    "npy cut in half": lambda p: truncated(save(p / "t.npy", np.ones((100, 3))), 0.5),
    "empty npy": lambda p: truncated(save(p / "t.npy", np.ones((100, 3))), 0),
    "empty csv": lambda p: truncated(write_csv(MANY, p / "t.csv"), 0),
    "text as parquet": lambda p: write_csv(MANY, p / "t.parquet"),
    "text as npz": lambda p: write_csv(MANY, p / "t.npz"),
    "pickled npy": lambda p: np.save(p / "t.npy", np.array([[None]]), allow_pickle=True) or p / "t.npy",
    "pickled npz": lambda p: np.savez(p / "t.npz", X=np.array([[None]])) or p / "t.npz",
    "blank lines": lambda p: (p / "t.csv").write_text("\n\n\n") and p / "t.csv",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_named_when_it_is_opened(tmp_path, kind):
    path = BROKEN[kind](tmp_path)
    with pytest.raises(InputError, match=f"cannot read {path.name}|{path.name} is empty") as refused:
        open_table(path)
    assert "copy it again" in refused.value.fix or "is empty" in refused.value.what


def garbled(p):
    """Return a Parquet file whose footer is whole and whose rows are not."""
    path = p / "t.parquet"
    MANY.write_parquet(path, row_group_size=700)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[4:middle] = np.random.default_rng(0).bytes(middle - 4)
    path.write_bytes(content)
    return path


def ragged(p):
    (p / "t.csv").write_text("a,b\n1,2\n3,4,5\n")
    return p / "t.csv"


def late_text(p):
    (p / "t.csv").write_text("a,b\n" + "1,2\n" * 5000 + "1,oops\n")
    return p / "t.csv"


@pytest.mark.parametrize("make", [garbled, ragged, late_text])
@pytest.mark.parametrize("read", [lambda s: s.frame(), lambda s: list(s.batches(100))], ids=["frame", "batches"])
def test_broken_rows_are_refused_when_they_are_read(tmp_path, make, read):
    path = make(tmp_path)
    numbers = TableSpec((Column("a", "numeric"), Column("b", "numeric")))
    with pytest.raises(InputError, match=f"cannot read {path.name}"):
        read(open_table(path, numbers))


def test_a_header_alone_has_columns_and_no_rows(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n")
    source = open_table(tmp_path / "t.csv")
    assert list(source.schema) == ["a", "b"]
    assert list(source.batches(10)) == []
    with pytest.raises(InputError, match=r"t\.csv has no rows"):
        source.frame()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="there is no file or folder .*absent.csv"):
        open_table(tmp_path / "absent.csv")


@pytest.mark.parametrize("name", ["t.xlsx", "t", "t.csv.gz", "t.txt"])
def test_an_unknown_suffix_is_refused_with_the_known_ones(tmp_path, name):
    (tmp_path / name).write_text("a\n1\n")
    with pytest.raises(InputError, match="not a kind of table") as refused:
        open_table(tmp_path / name)
    assert all(suffix in refused.value.expected for suffix in TABLE_SUFFIXES)


@pytest.mark.parametrize("names", [[], ["a.csv", "b.parquet"], ["readme.txt"], [".hidden.csv"]])
def test_a_folder_without_parts_of_one_kind_is_refused(tmp_path, names):
    for name in names:
        (tmp_path / name).write_text("a\n1\n")
    with pytest.raises(InputError, match="is not a table"):
        open_table(tmp_path)


def test_other_files_in_a_folder_of_parts_are_passed_over(tmp_path):
    folder = write_parts_of(MANY, tmp_path / "parts", 5000)
    (folder / "_SUCCESS").write_text("")
    (folder / "notes.txt").write_text("x")
    assert open_table(folder).frame().equals(MANY)


def test_parquet_parts_are_joined_by_name(tmp_path):
    pl.DataFrame({"a": [1], "b": [2]}).write_parquet(tmp_path / "1.parquet")
    pl.DataFrame({"b": [4], "a": [3]}).write_parquet(tmp_path / "2.parquet")
    assert open_table(tmp_path).frame().to_dict(as_series=False) == {"a": [1, 3], "b": [2, 4]}


@pytest.mark.parametrize("second", ["b,a\n1,2\n", "a,c\n1,2\n", "a\n1\n"])
def test_csv_parts_with_other_columns_are_refused(tmp_path, second):
    (tmp_path / "1.csv").write_text("a,b\n1,2\n")
    (tmp_path / "2.csv").write_text(second)
    with pytest.raises(InputError, match="cannot read"):
        open_table(tmp_path).frame()


@pytest.mark.parametrize("shape", [(3,), (3, 2, 2), ()])
def test_an_array_of_another_shape_is_refused(tmp_path, shape):
    for source in (np.zeros(shape), save(tmp_path / "t.npz", np.zeros(shape))):
        with pytest.raises(InputError, match="an array is not a table"):
            open_table(source)


def test_npz_without_x_is_refused(tmp_path):
    np.savez(tmp_path / "t.npz", data=np.zeros((3, 2)))
    with pytest.raises(InputError, match="holds no array X") as refused:
        open_table(tmp_path / "t.npz")
    assert refused.value.got == "data"


@pytest.mark.parametrize("source", [5, None, [1, 2], [[1.0, 2.0]], object()])
def test_what_is_not_a_table_is_refused(source):
    with pytest.raises(InputError, match="this is not a table"):
        open_table(source)


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([1, 2.5, None], pl.Float64, [1, 2.5, None]),
        ([1, 2, None], pl.Int64, [1, 2, None]),
        ([True, None, False], pl.Boolean, [True, None, False]),
        ([1, "a", 2.0, nan], pl.String, ["1", "a", "2", None]),
        ([True, "a", pandas.NA], pl.String, ["true", "a", None]),
    ],
)
def test_columns_of_objects(values, dtype, expected):
    for source in (pandas.DataFrame({"a": pandas.Series(values, dtype=object)}), {"a": np.array(values, object)}):
        frame = open_table(source).frame()
        assert frame.schema == {"a": dtype} and frame["a"].to_list() == expected


@pytest.mark.parametrize(
    "values",
    [
        [dt.date(2024, 1, 1), None],
        [dt.datetime(2024, 1, 1, 12), None],
        [dt.time(12, 30), None],
        pandas.to_datetime(["2024-01-01", None]),
        pandas.to_datetime(["2024-01-01", None]).tz_localize("Europe/Vienna"),
        pandas.to_timedelta(["1 day", None]).astype("timedelta64[us]"),
    ],
)
def test_dates_stay_dates(values):
    assert open_table(pandas.DataFrame({"a": values})).schema["a"].is_temporal()
    assert open_table({"a": values}).schema["a"].is_temporal()


def test_as_columns_gives_numbers_as_they_are_and_the_rest_as_objects():
    frame = pl.DataFrame(
        {
            "i": [1, None],
            "f": pl.Series([1.5, None], dtype=pl.Float32),
            "b": [True, None],
            "d": [Decimal("1.25"), None],
            "s": ["x", None],
            "c": pl.Series(["y", None], dtype=pl.Categorical),
            "n": [None, None],
        }
    )
    columns = as_columns(frame, frame.columns)
    for name, expected in {"i": [1, nan], "f": [1.5, nan], "b": [1, nan], "d": [1.25, nan]}.items():
        assert columns[name].dtype.kind == "f"
        np.testing.assert_array_equal(columns[name], expected)
    assert [columns[n].tolist() for n in "scn"] == [["x", None], ["y", None], [None, None]]
    assert all(columns[n].dtype == object for n in "scn")
    assert list(as_columns(frame, ["s"])) == ["s"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 1, 0], [0, 1, 0]),
        ([0, None, 1], [0, -1, 1]),
        ([0.0, 1.0, nan, None], [0, 1, -1, -1]),
        ([False, True, None], [0, 1, -1]),
        (["normal", "neptune.", None], [0, 1, -1]),
        (["Normal.", " GOOD ", "Scratch"], [0, 0, 1]),
        (["benign", "malignant"], [0, 1]),
        (["no", "yes"], [0, 1]),
        (["negative", "positive"], [0, 1]),
        (["ok", "not ok"], [0, 1]),
        (["0", "1"], [0, 1]),
        (["false", "true"], [0, 1]),
        ([0, 0], [0, 0]),
        ([1, 1, None], [1, 1, -1]),
        ([True, True], [1, 1]),
        (["1", "1"], [1, 1]),
        (["good", "good"], [0, 0]),
    ],
)
def test_labels_that_speak_for_themselves(values, expected):
    found = labels_of(pl.Series("label", values))
    assert found.dtype == np.int8 and found.tolist() == expected


@pytest.mark.parametrize("dtype", [pl.Categorical, pl.Enum(["normal", "bad"])])
def test_labels_of_a_categorical_column(dtype):
    assert labels_of(pl.Series("label", ["bad", "normal", None], dtype=dtype)).tolist() == [1, 0, -1]


@pytest.mark.parametrize(
    "values",
    [[0, 1, 2], [1, 2], [-1, 1], [2, 2], [0.0, 0.5], ["a", "b"], ["bad", "bad"], ["red", None], [None, None]],
)
def test_ambiguous_labels_are_refused_with_the_way_out(values):
    with pytest.raises(InputError, match="which values of the label column 'class' mean normal") as refused:
        labels_of(pl.Series("class", values))
    assert "--normal" in refused.value.fix


@pytest.mark.parametrize(
    ("values", "normal", "expected"),
    [
        ([2, 4, None, 2], "2", [0, 1, -1, 0]),
        ([0, 1, 2], "1", [1, 0, 1]),
        ([2.0, 4.5, nan], "2", [0, 1, -1]),
        ([True, False], "True", [0, 1]),
        (["a", "b", "c", None], "b", [1, 0, 1, -1]),
        (["Legit.", "legit", "fraud"], " LEGIT", [0, 0, 1]),
        (["normal", "calm"], "calm", [1, 0]),
        (["a", "a"], "a", [0, 0]),
    ],
)
def test_the_normal_value_can_be_named(values, normal, expected):
    assert labels_of(pl.Series("label", values), normal).tolist() == expected


def test_a_normal_value_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="no row of the label column 'label' is 'c'") as refused:
        labels_of(pl.Series("label", ["a", "b", None]), "c")
    assert "'a'" in refused.value.got and "--normal" in refused.value.fix


@settings(deadline=None, max_examples=30)
@given(st.lists(st.sampled_from(["x", "y", "z", None]), min_size=1, max_size=30), st.sampled_from("xyz"))
def test_labels_are_normal_unknown_or_anomalous(values, normal):
    values = [*values, normal]
    expected = [-1 if v is None else int(v != normal) for v in values]
    assert labels_of(pl.Series("label", values, dtype=pl.String), normal).tolist() == expected


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ([0, 1, 0], [0, 1, 0]),
        (np.array([False, True, True]), [0, 1, 1]),
        (np.array([0.0, 1.0, nan]), [0, 1, -1]),
        (("normal", "bad", "worse"), [0, 1, 1]),
    ],
)
def test_labels_beside_an_array(label, expected):
    assert labels_of(as_label_array(label, 3)).tolist() == expected


@pytest.mark.parametrize("label", [[0, 1], [[0], [1], [0]], 1])
def test_labels_of_another_length_are_refused(label):
    with pytest.raises(InputError, match="labels and rows do not match"):
        as_label_array(label, 3)


@pytest.mark.parametrize("size", [1, 3, 5, 100])
def test_items_come_in_batches_with_their_row_numbers(size):
    items = TableItems(SPEC, ENCODED, np.array([0, 1, 0, -1, 0], np.int8))
    assert len(items) == 5
    batches = list(items.batches(size))
    assert all(isinstance(b, Batch) and 0 < len(b.x) <= size and b.mask is None for b in batches)
    np.testing.assert_array_equal(np.concatenate([b.x for b in batches]), ENCODED)
    assert np.concatenate([b.label for b in batches]).tolist() == [0, 1, 0, -1, 0]
    assert [i for b in batches for i in b.id] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("values", [[np.float64(1.5), None, 2], [np.int64(1), 2, None], [Decimal("1.5"), None]])
def test_numbers_in_an_object_column_are_numbers(values):
    assert open_table({"a": np.array(values, object)}).schema["a"].is_numeric()


@pytest.mark.parametrize(
    ("values", "codes"), [(["a", float("nan")], [0, np.nan]), (["a", 1.0], [0, 1]), (["a", True], [0, 2])]
)
@pytest.mark.parametrize("by", ["spec", "table"])
def test_lists_of_mixed_values(values, codes, by):
    spec = TableSpec((Column("c", "categorical", ("a", "1", "true")),))
    columns = {"c": values} if by == "spec" else as_columns(open_table({"c": values}).frame(), ["c"])
    np.testing.assert_array_equal(spec.encode(columns)[:, 0], codes)


def test_a_byte_order_mark_does_not_hide_the_first_column(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbfcode,v\n007,1\n008,2\n")
    spec = TableSpec((Column("code", "categorical", ("007", "008")),))
    assert spec.encode(as_columns(open_table(tmp_path / "t.csv", spec).frame(), ["code"]))[:, 0].tolist() == [0, 1]


@pytest.mark.parametrize("name", [" code", "a,b"])
def test_a_header_name_with_space_or_comma_keeps_its_kind(tmp_path, name):
    (tmp_path / "t.csv").write_text(f'"{name}",v\n007,1\n')
    spec = TableSpec((Column(name, "categorical", ("007",)),))
    assert open_table(tmp_path / "t.csv", spec).schema[name] == pl.String


def test_a_semicolon_file_with_a_comma_in_a_quoted_name(tmp_path):
    (tmp_path / "t.csv").write_text('"a,b";c\n1;2\n')
    assert list(open_table(tmp_path / "t.csv").schema) == ["a,b", "c"]


def test_a_boolean_column_that_starts_empty(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n" + ",1\n" * 10_001 + "true,0\n")
    spec = TableSpec((Column("a", "boolean"),))
    assert spec.encode(as_columns(open_table(tmp_path / "t.csv", spec).frame(), ["a"]))[-1, 0] == 1


@pytest.mark.parametrize("folder", ["parts [1]", "parts*"])
def test_a_folder_whose_name_has_wildcards(tmp_path, folder):
    (tmp_path / folder).mkdir()
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / folder / "1.parquet")
    (tmp_path / "partsx").mkdir()
    pl.DataFrame({"a": [2]}).write_parquet(tmp_path / "partsx" / "1.parquet")
    assert open_table(tmp_path / folder).frame()["a"].to_list() == [1]


def test_hidden_parts_are_passed_over(tmp_path):
    (tmp_path / "1.csv").write_text("a,b\n1,2\n")
    (tmp_path / "._1.csv").write_bytes(b"Mac OS X\n\n")
    assert open_table(tmp_path).frame().rows() == [(1, 2)]


def test_parts_with_capital_suffixes(tmp_path):
    (tmp_path / "1.CSV").write_text("a,b\n1,2\n")
    assert open_table(tmp_path).frame().rows() == [(1, 2)]


def test_sources_that_do_not_fit_are_refused_not_a_traceback_unequal():
    with pytest.raises(InputError):
        open_table({"a": [1, 2], "b": [1, 2, 3]})


def test_one_row_with_a_missing_value():
    assert open_table({"a": None, "b": 1.0}).frame().height == 1


@pytest.mark.parametrize(
    "values", [np.array(["2024-01-01"], "M8[s]"), np.array([1], "m8[s]"), np.array(["2024"], "M8[Y]")]
)
def test_dates_of_every_resolution_stay_dates(values):
    assert open_table({"a": values}).schema["a"].is_temporal()


def test_periods():
    with pytest.raises(InputError):
        learn_spec(open_table(pandas.DataFrame({"a": pandas.period_range("2020", periods=2)})).frame())


def test_names_that_repeat_are_refused(tmp_path):
    np.savez(tmp_path / "t.npz", X=np.ones((3, 2)), columns=np.array(["a", "a"]))
    with pytest.raises(InputError):
        open_table(tmp_path / "t.npz")


def test_npz_garbled(tmp_path):
    np.savez_compressed(tmp_path / "t.npz", X=np.random.default_rng(0).normal(size=(1000, 5)))
    content = bytearray((tmp_path / "t.npz").read_bytes())
    content[300:2000] = np.random.default_rng(1).bytes(1700)
    (tmp_path / "t.npz").write_bytes(content)
    with pytest.raises(InputError, match="cannot read"):
        open_table(tmp_path / "t.npz")


def test_npz_cut(tmp_path):
    np.savez(tmp_path / "t.npz", X=np.ones((50, 3)))
    (tmp_path / "t.npz").write_bytes((tmp_path / "t.npz").read_bytes()[:600])
    with pytest.raises(InputError, match="cannot read"):
        open_table(tmp_path / "t.npz")


@pytest.mark.parametrize(
    "label",
    [[0, 1, None], pandas.Series(["normal", "bad", None]), np.array([True, False, None], object)],
    ids=["ints", "pandas", "bools"],
)
def test_missing_labels_beside_an_array(label):
    assert labels_of(as_label_array(label, 3))[2] == -1


def test_categories_are_the_same_from_every_file(tmp_path):
    spec = TableSpec((Column("c", "categorical", ("1", "2", "A")),))
    frame = pl.DataFrame({"c": ["1", "2.0", "A", "NA", "", "?", "z"]})
    frame.write_csv(tmp_path / "t.csv")
    frame.write_parquet(tmp_path / "t.parquet")
    for path in (tmp_path / "t.csv", tmp_path / "t.parquet"):
        found = rows_of(open_table(path, spec).frame(), spec, named=True)[:, 0]
        np.testing.assert_array_equal(found, [0, 1, 2, nan, nan, nan, 3])


def test_pandas_categories_are_no_numbers():
    frame = pandas.DataFrame({"c": pandas.Categorical([3, 0, None, 3])})
    assert open_table(frame).frame()["c"].to_list() == ["3", "0", None, "3"]


def test_names_that_clash_are_refused(tmp_path):
    np.savez(tmp_path / "t.npz", X=np.ones((3, 2)), x1=np.zeros(3))
    (tmp_path / "t.csv").write_text("a,a,b\n1,2,3\n")
    twice = pandas.DataFrame([[1, 2]], columns=["a", "a"])
    for source in (tmp_path / "t.npz", tmp_path / "t.csv", twice):
        with pytest.raises(InputError, match="several columns of one name"):
            open_table(source)
