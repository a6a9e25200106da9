"""The noise protocol: which anomalies are hidden, what is written, and what is read back."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from _data import FOLDER, PICTURE_SETS, available, picture_split

from limbeck.data.contaminate import contaminate
from limbeck.data.layouts import find_pictures
from limbeck.data.noisy_split import LISTS, NoisySplit, make_noisy_split, read, write
from limbeck.data.transactions import transactions
from limbeck.errors import ConfigError, InputError, OutputError

# MVTec AD: good pictures to learn from, good and anomalous ones to test on, added at 10 %, left in the test
MVTEC = {
    "carpet": (280, 28, 89, 28, 61), "grid": (264, 21, 57, 26, 31), "leather": (245, 32, 92, 24, 68),
    "tile": (230, 33, 84, 23, 61), "wood": (247, 19, 60, 24, 36), "bottle": (209, 20, 63, 20, 43),
    "cable": (224, 58, 92, 22, 70), "capsule": (219, 23, 109, 21, 88), "hazelnut": (391, 40, 70, 39, 31),
    "metal_nut": (220, 22, 93, 22, 71), "pill": (267, 26, 141, 26, 115), "screw": (320, 41, 119, 32, 87),
    "toothbrush": (60, 12, 30, 6, 24), "transistor": (213, 60, 40, 21, 19), "zipper": (240, 32, 119, 24, 95),
}  # fmt: skip


def draw(clean=100, good=10, bad=50, **settings):
    """Split made-up items: clean ones are called c, those of the test g and b."""
    test = [f"g{i:03}" for i in range(good)] + [f"b{i:03}" for i in range(bad)]
    return make_noisy_split([f"c{i:03}" for i in range(clean)], test, [0] * good + [1] * bad, **settings)


# the draw


@pytest.mark.parametrize("category", MVTEC)
def test_the_counts_of_mvtec_ad(category):
    clean, good, bad, added, left = MVTEC[category]
    split = draw(clean, good, bad, ratio=0.1)
    assert (len(split.added), split.anomalies_left) == (added, left)
    assert (len(split.train), len(split.test)) == (clean + added, good + left)
    assert split.share == added / (clean + added)
    assert split.notes == ()


@pytest.mark.parametrize("base", ["clean", "mixed"])
@pytest.mark.parametrize("clean", [1, 7, 100, 209])
def test_the_number_added_is_the_largest_within_the_ratio(base, clean):
    for percent in (*range(0, 40), 57, 99):  # 0.29 of 100 and 0.57 of 100 are a hair below 29 and 57 in floats
        n = 0
        while 100 * (n + 1) <= percent * (clean + (n + 1 if base == "mixed" else 0)):
            n += 1
        split = draw(clean, 2, n + 1, ratio=percent / 100, base=base)
        assert len(split.added) == n, percent
        assert split.share <= percent / 100


def test_the_draw_is_this_one_for_ever():
    """On any machine, under any numpy: lists that were published must stay what they are."""
    split = make_noisy_split(range(10), range(10, 20), [0] * 4 + [1] * 6, ratio=0.3, fold=1)
    assert split.added == (19, 17, 14)
    assert split.train == (5, 6, 9, 3, 2, 1, 0, 19, 8, 4, 7, 14, 17)
    assert split.test == (10, 11, 12, 13, 15, 16, 18)


def test_neither_the_order_of_the_items_nor_the_process_matters():
    split = draw(ratio=0.2, fold=3)
    test = [f"g{i:03}" for i in range(10)] + [f"b{i:03}" for i in range(50)]
    label = [0] * 10 + [1] * 50
    order = np.random.default_rng(0).permutation(60)
    clean = [f"c{i:03}" for i in reversed(range(100))]
    turned = make_noisy_split(clean, np.array(test)[order], np.array(label)[order], ratio=0.2, fold=3)
    assert turned == split
    code = (
        "from limbeck.data.noisy_split import make_noisy_split\n"
        f"print(make_noisy_split({clean}, {test}, {label}, ratio=0.2, fold=3) == {split!r})"
    )
    code = "from limbeck.data.noisy_split import NoisySplit\n" + code
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "True\n"


def test_a_smaller_ratio_adds_the_first_of_a_larger_one():
    splits = [draw(ratio=r, fold=2, base=base) for base in ("clean", "mixed") for r in (0, 0.05, 0.1, 0.2, 0.3)]
    splits.sort(key=lambda s: len(s.added))
    for small, large in zip(splits, splits[1:], strict=False):
        assert small.added == large.added[: len(small.added)]
        assert small.train == tuple(id for id in large.train if id in set(small.train)), "nothing moves"
    assert splits[0].added == () and len(splits[0].train) == 100 and splits[-1].added


def test_overlap_decides_only_what_leaves_the_test():
    apart, both = (draw(ratio=0.2, fold=1, overlap=overlap) for overlap in (False, True))
    assert apart.train == both.train and apart.added == both.added
    assert not set(apart.train) & set(apart.test) and not set(apart.added) & set(apart.anomalous)
    assert set(both.train) & set(both.test) == set(both.added) <= set(both.anomalous)
    assert set(both.test) - set(apart.test) == set(apart.added)
    assert (apart.anomalies_left, both.anomalies_left) == (30, 50)
    assert [id for id in apart.test if id.startswith("b")] == list(apart.anomalous)


def test_the_training_list_is_shuffled_and_drawn_without_replacement():
    split = draw(ratio=0.4)
    assert len(set(split.train)) == len(split.train) == 140
    assert len(set(split.added)) == 40 and set(split.added) <= set(split.train)
    places = np.flatnonzero(np.isin(split.train, split.added))
    assert places[0] < 20 and places[-1] > 120 and 50 < places.mean() < 90, "hidden anywhere"


def test_folds_differ_and_every_anomaly_has_its_chance():
    drawn = [set(draw(ratio=0.1, fold=fold).added) for fold in range(60)]
    assert len(set(map(frozenset, drawn))) == 60
    assert set().union(*drawn) == {f"b{i:03}" for i in range(50)}


def test_anomalies_run_out():
    split = draw(100, 10, 15, ratio=0.4, overlap=True)
    assert len(split.added) == 15 and split.share == 15 / 115
    assert split.notes == ("the ratio asks for 40 anomalies, and there are 15",)


@pytest.mark.parametrize("base", ["clean", "mixed"])
@pytest.mark.parametrize(("clean", "bad"), [(100, 10), (320, 119), (60, 2), (5000, 12), (199021, 492), (9, 8)])
def test_no_anomaly_left_is_refused_with_a_ratio_that_works(base, clean, bad):
    with pytest.raises(InputError) as caught:
        draw(clean, 3, bad, ratio=0.95, base=base)
    most = float(re.search(r"at most ([\d.e-]+),", caught.value.fix)[1])
    assert "no anomaly would be left" in caught.value.what and "--overlap" in caught.value.fix
    split = draw(clean, 3, bad, ratio=most, base=base)
    assert split.anomalies_left == 1, "and it is no smaller than need be"


@pytest.mark.parametrize(
    "settings",
    [
        {"ratio": 1.5}, {"ratio": 1}, {"ratio": -0.1}, {"ratio": float("nan")}, {"ratio": "0.1"},
        {"ratio": 0.1, "base": "all"}, {"ratio": 0.1, "fold": -1}, {"ratio": 0.1, "fold": 0.5},
    ],
)  # fmt: skip
def test_settings_out_of_their_range(settings):
    with pytest.raises(ConfigError) as caught:
        draw(**settings)
    assert caught.value.expected and repr([*settings.values()][-1]) == caught.value.got


@pytest.mark.parametrize(
    ("clean", "test", "label", "words"),
    [
        ([], [1, 2], [0, 1], "0 to learn from"),
        ([0], [1, 2], [0, 0], "2 normal and 0 anomalous"),
        ([0], [1, 2], [1, 1], "0 normal and 2 anomalous"),
        ([0, 0], [1, 2], [0, 1], "3 of them different"),
        ([0], [1, 2, 2], [0, 1, 1], "3 of them different"),
        ([0, 1], [1, 2], [0, 1], "3 of them different"),
        ([0], ["1", "2"], [0, 1], "int64 and <U1"),
        ([0.5], [1.5, 2.5], [0, 1], "float64"),
        ([0], [1, 2], [0], r"\(1,\)"),
        ([[0]], [1, 2], [0, 1], r"\(1, 1\)"),
        ([0], [1, 2], [0, -1], "-1"),
        ([0], [1, 2], [0, float("nan")], "nan"),
    ],
)
def test_items_that_cannot_be_split(clean, test, label, words):
    with pytest.raises(InputError, match=words):
        make_noisy_split(clean, test, label, ratio=0)


# the lists


@pytest.mark.parametrize(
    "split",
    [
        draw(ratio=0.2, fold=5),
        draw(ratio=0, overlap=True),
        draw(100, 10, 15, ratio=0.4, overlap=True, base="mixed"),
        make_noisy_split(range(50), range(50, 90), [0, 1] * 20, ratio=0.1),
        make_noisy_split(["gut/ö.png", "gut/\udcff.png"], ["a,\n", '"b"', "c"], [0, 1, 1], ratio=0.5),
    ],
)
def test_lists_are_read_back_as_they_were(tmp_path, split):
    write(tmp_path / LISTS, split)
    assert read(tmp_path / LISTS) == read(tmp_path) == split
    raw = json.loads((tmp_path / LISTS).read_text())
    assert (raw["share"], raw["anomalies_left"]) == (split.share, split.anomalies_left)
    assert len((tmp_path / LISTS).read_text().splitlines()) == len(raw) + 2, "a field a line"
    assert [p.name for p in tmp_path.iterdir()] == [LISTS]


def test_lists_that_exist_are_not_replaced(tmp_path):
    write(tmp_path / LISTS, draw(ratio=0.2))
    before = (tmp_path / LISTS).read_bytes()
    with pytest.raises(OutputError, match="exists"):
        write(tmp_path / LISTS, draw(ratio=0.1))
    with pytest.raises(OutputError, match="does not exist"):
        write(tmp_path / "no" / LISTS, draw(ratio=0.1))
    assert (tmp_path / LISTS).read_bytes() == before
    write(tmp_path / LISTS, draw(ratio=0.1), overwrite=True)
    assert read(tmp_path).ratio == 0.1


def swap(raw, key, i, j):
    raw[key][i], raw[key][j] = raw[key][j], raw[key][i]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda raw: raw.update(schema=2), ("another version", "schema 1", "schema 2")),
        (lambda raw: raw.pop("schema"), ("cannot be read", "schema")),
        (lambda raw: raw.update(schema="1"), ("another version", "schema '1'")),
        (lambda raw: raw.update(colour=None), ("was changed", "colour")),
        (lambda raw: raw.pop("added"), ("was changed", "no 'added'")),
        (lambda raw: raw.pop("notes"), ("was changed", "no 'notes'")),
        (lambda raw: raw.pop("share"), ("was changed", "share")),
        (lambda raw: raw.update(share=0.1), ("was changed", "share")),
        (lambda raw: raw.update(anomalies_left=50), ("was changed", "anomalies_left")),
        (lambda raw: raw.update(ratio=0.3), ("was changed", "added")),
        (lambda raw: raw.update(ratio=7), ("was changed", "ratio is a share")),
        (lambda raw: raw.update(base="all"), ("was changed", "base")),
        (lambda raw: raw.update(overlap=True), ("was changed", "test")),
        (lambda raw: raw.update(overlap="false"), ("was changed", "overlap")),
        (lambda raw: raw.update(fold=4), ("was changed", "train")),
        (lambda raw: raw.update(notes=[7]), ("was changed", "notes")),
        (lambda raw: raw.update(train="c001"), ("was changed",)),
        (lambda raw: raw.update(test=None), ("was changed",)),
        (lambda raw: raw.update(test=[["g000"], []]), ("was changed",)),
        (lambda raw: raw["test"].append(raw["added"][0]), ("was changed",)),  # not disjoint
        (lambda raw: raw["test"].append(raw["train"][0]), ("was changed",)),
        (lambda raw: raw["train"].append(raw["test"][0]), ("was changed",)),
        (lambda raw: raw["train"].append(raw["train"][0]), ("was changed",)),
        (lambda raw: raw["train"].append(5), ("was changed",)),
        (lambda raw: raw["added"].pop(), ("was changed",)),
        (lambda raw: raw["anomalous"].pop(), ("was changed",)),
        (lambda raw: swap(raw, "train", 0, 1), ("was changed", "got: train")),
        (lambda raw: swap(raw, "added", 0, 1), ("was changed", "got: added")),
    ],
)
def test_lists_that_were_changed(tmp_path, change, words):
    write(tmp_path / LISTS, draw(ratio=0.2, fold=3))
    raw = json.loads((tmp_path / LISTS).read_text())
    change(raw)
    (tmp_path / LISTS).write_text(json.dumps(raw))
    with pytest.raises(InputError) as caught:
        read(tmp_path / LISTS)
    for word in (LISTS, "fix", *words):
        assert word in str(caught.value)


def test_lists_that_are_damaged(tmp_path):
    file = tmp_path / LISTS
    with pytest.raises(InputError, match="cannot be read"):
        read(tmp_path)
    write(file, draw(ratio=0.2))
    whole = file.read_bytes()
    for content in (whole[:-200], b"", b"[1]", b"7", b"\xff\xfe", whole.replace(b'"train": [', b'"train": [NaN, ')):
        file.write_bytes(content)
        with pytest.raises(InputError, match=LISTS):
            read(file)


# tables


@pytest.fixture(scope="module")
def payments():
    """Rows with a number, and some labels missing."""
    frame = transactions(2000, rate=0.1, seed=0).with_row_index("row")
    return frame.with_columns(fraud=pl.when(pl.col("row") % 50 == 7).then(None).otherwise("fraud"))


def write_table(frame, file):
    frame.write_csv(file) if file.suffix == ".csv" else frame.write_parquet(file)
    return file


@pytest.mark.parametrize("name", ["tx.parquet", "tx.csv"])
@pytest.mark.parametrize("overlap", [False, True])
def test_a_table(payments, tmp_path, name, overlap):
    source, out = write_table(payments, tmp_path / name), tmp_path / "dirty"
    split = contaminate(source, out, ratio=0.05, label="fraud", overlap=overlap, fold=1)
    assert sorted(p.name for p in out.iterdir()) == [LISTS, "test.parquet", "train.parquet"]
    assert read(out) == split
    train, test = pl.read_parquet(out / "train.parquet"), pl.read_parquet(out / "test.parquet")
    assert train.columns == [c for c in payments.columns if c != "fraud"] and test.columns == payments.columns
    assert tuple(train["row"]) == split.train and tuple(test["row"]) == split.test
    assert train.equals(payments[list(split.train)].drop("fraud").cast(train.schema))
    assert test.equals(payments[list(split.test)].cast(test.schema))
    truth = dict(zip(payments["row"], payments["fraud"], strict=True))
    assert {id for id in split.train if truth[id] == 1} == set(split.added)
    assert [id for id in split.test if truth[id] == 1] == list(split.anomalous)
    normal, bad = (payments["fraud"] == 0).sum(), (payments["fraud"] == 1).sum()
    assert len(split.train) - len(split.added) == normal - int(0.3 * normal)
    assert len(split.added) == int(0.05 * (normal - int(0.3 * normal)))
    assert split.anomalies_left == bad - (0 if overlap else len(split.added))
    assert split.notes == ("40 items were left out: without a label, or anomalous in the training split",)
    assert None not in {truth[id] for id in split.train + split.test}


def test_what_is_set_aside_depends_on_the_fold_alone(payments, tmp_path):
    def aside(name, **settings):
        split = contaminate(payments, tmp_path / name, label="fraud", **settings)
        return set(split.test) - set(split.anomalous)

    first = aside("a", ratio=0.05)
    assert aside("b", ratio=0.1, base="mixed", overlap=True) == first
    assert aside("c", ratio=0.05, fold=1) != first
    assert len(aside("d", ratio=0.05, test=0.5)) == (payments["fraud"] == 0).sum() // 2
    assert aside("e", ratio=0.05, test=0.5) > first, "a larger share holds the smaller one"


def test_what_is_set_aside_is_this_for_ever(tmp_path):
    frame = pl.DataFrame({"a": range(20), "y": [0, 1] * 10})
    split = contaminate(frame, tmp_path / "x", ratio=0, label="y", fold=1)
    assert set(split.test) - set(split.anomalous) == {0, 2, 10}


def test_labels_that_are_texts(payments, tmp_path):
    kinds = pl.when(pl.col("fraud") == 0).then(pl.lit("fine")).otherwise(pl.lit("stolen")).alias("kind")
    frame = payments.with_columns(kinds).drop("fraud")
    with pytest.raises(InputError, match="mean normal"):
        contaminate(frame, tmp_path / "x", ratio=0.05, label="kind")
    split = contaminate(frame, tmp_path / "x", ratio=0.05, label="kind", normal="fine")
    assert set(frame["kind"].gather(split.added)) == {"stolen"}


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({}, InputError, "a table needs a label column"),
        ({"label": "frod"}, InputError, "no label column 'frod'"),
        ({"label": "fraud", "ratio": 0.9}, InputError, "no anomaly would be left"),
        ({"label": "fraud", "normal": "2"}, InputError, "no row of the label column"),
        ({"label": "nothing"}, InputError, "1400 to learn from, 600 normal and 0 anomalous"),
        ({"label": "gaps"}, InputError, "mean normal"),
        ({"label": "fraud", "ratio": 1.5}, ConfigError, "ratio"),
        ({"label": "fraud", "test": 0}, ConfigError, "test is a share"),
        ({"label": "fraud", "test": 1.0}, ConfigError, "test is a share"),
    ],
)
def test_tables_that_cannot_be_used(payments, tmp_path, settings, error, words):
    frame = payments.with_columns(nothing=pl.lit(0), gaps=pl.lit(float("nan")))
    with pytest.raises(error, match=words):
        contaminate(frame, tmp_path / "x", **{"ratio": 0.05, **settings})
    assert not any(tmp_path.iterdir())


def test_labels_that_are_not_a_number_are_left_out(payments, tmp_path):
    frame = payments.with_columns(pl.col("fraud").cast(pl.Float64).fill_null(float("nan")))
    split = contaminate(frame, tmp_path / "x", ratio=0.05, label="fraud")
    assert split == contaminate(payments, tmp_path / "y", ratio=0.05, label="fraud")


# pictures


def make(root, *names):
    """Write files that hold their own names: nothing here opens a picture."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{root.name}/{name}")
    return root


def held(folder):
    """Return what each file of a folder holds."""
    return {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("overlap", [False, True])
def test_pictures_in_the_layout_of_mvtec_ad(parts, tmp_path, overlap):
    out = tmp_path / "dirty"
    steps = []
    split = contaminate(parts, out, ratio=0.1, fold=2, overlap=overlap, on_step=steps.append)
    assert read(out) == split
    assert (len(split.added), split.anomalies_left) == (3, 7 if overlap else 4)
    learned = sorted((out / "train" / "good").iterdir())
    assert [p.name for p in learned] == [f"{i:05}.png" for i in range(33)]
    assert [p.read_bytes() for p in learned] == [(parts / id).read_bytes() for id in split.train]
    assert len({p.stat().st_mtime_ns // 10**10 for p in learned}) <= 2, "written now, whatever their age"

    found = find_pictures(out, masks=True)
    assert found.layout == "mvtec" and found.training() == tuple(p for p in found.pictures if p.split == "train")
    assert len(found.training()) == 33
    assert tuple(p.id for p in found.testing()) == split.test, "pictures of the test keep their names"
    assert tuple(p.id for p in found.testing() if p.label == 1) == split.anomalous
    source = {p.id: p for p in find_pictures(parts, masks=True).pictures}
    for picture in found.testing():
        assert picture.path.read_bytes() == source[picture.id].path.read_bytes()
        assert (picture.mask is None) == (picture.label == 0)
        if picture.mask:
            assert picture.mask.read_bytes() == source[picture.id].mask.read_bytes()
    assert len([*(out / "ground_truth").rglob("*.png")]) == split.anomalies_left
    assert steps[-1].done == steps[-1].total == 33 + len(split.test) + split.anomalies_left

    alone = find_pictures(out / "train")
    assert len(alone.training()) == 33, "`limbeck fit FOLDER/train` learns from the same"


def test_a_folder_without_train_and_test(tmp_path):
    names = [f"free/{i:02}.jpg" for i in range(20)]
    names += [f"crack/{i}.PNG" for i in range(5)] + [f"ok/{i}.png" for i in range(4)]
    source = make(tmp_path / "tiles", *names, *(f"ground_truth/crack/{i}.png" for i in range(5)),
                  *(f"ground_truth/ok/{i}.png" for i in range(4)))  # fmt: skip
    split = contaminate(source, tmp_path / "x", ratio=0.2, normal="free", test=0.25)
    assert (len(split.train), len(split.added), len(split.test), split.anomalies_left) == (18, 3, 11, 6)
    files = held(tmp_path / "x")
    assert [files[f"train/good/{i:05}{Path(id).suffix.lower()}"] for i, id in enumerate(split.train)] == [
        f"tiles/{id}" for id in split.train
    ]
    found = find_pictures(tmp_path / "x", masks=True)
    assert {p.id: p.label for p in found.testing()} == {
        "test/" + id.replace("free/", "good/").replace("ok/", "defect-ok/"): int(not id.startswith("free"))
        for id in split.test
    }, "a defect that is called ok does not become a good one"
    for picture in found.testing():
        if picture.label:
            _, kind, name = picture.id.split("/")
            assert picture.mask.read_text() == f"tiles/ground_truth/{kind.removeprefix('defect-')}/{name.lower()}"


def test_a_list_of_pictures_from_anywhere(tmp_path):
    """Names that occur twice, labels that are no names of folders, masks, pictures without a label."""
    make(tmp_path / "far", *(f"{d}/{i}.png" for d in "abc" for i in range(6)), "0.png", "0_mask.png", "m.png")
    lines = [f"far/{d}/{i}.png\tgood" for d in "ab" for i in range(6)]
    lines += [f"far/c/{i}.png\t{kind}\tfar/m.png" for i, kind in enumerate(["1", "../up", ".", "cut", "CUT", "cut"])]
    (tmp_path / "list.txt").write_text("\n".join([*lines, "far/0.png\tcut\tfar/0_mask.png", "far/m.png"]))
    split = contaminate(tmp_path / "list.txt", tmp_path / "x", ratio=0, test=0.5)
    found = find_pictures(tmp_path / "x", masks=True)
    assert len(found.training()) == 6 and len(found.testing()) == 13
    assert split.notes == ("1 items were left out: without a label, or anomalous in the training split",)
    assert {p.defect for p in found.testing()} == {"good", "anomaly", "_up", "cut", "CUT"}
    assert sorted(p.path.read_text() for p in found.testing()) == sorted(split.test)
    assert {p.mask.read_text() for p in found.testing() if p.label} == {"far/m.png", "far/0_mask.png"}
    assert not [*tmp_path.parent.glob("up")]


def test_a_category_of_visa(tmp_path):
    root = tmp_path / "visa"
    rows = ["object,split,label,image,mask"]
    rows += [f"candle,train,normal,candle/Data/Images/Normal/{i:03}.JPG," for i in range(8)]
    rows += [f"candle,test,normal,candle/Data/Images/Normal2/{i:03}.JPG," for i in range(4)]
    for i in range(6):
        mask = f"candle/Data/Masks/Anomaly/{i:03}.png"
        rows.append(f"candle,{'test' if i else 'train'},anomaly,candle/Data/Images/Anomaly/{i:03}.JPG,{mask}")
        make(root, mask)
    make(root, *(row.split(",")[3] for row in rows[1:]), "split_csv/1cls.csv")
    (root / "split_csv/1cls.csv").write_text("\n".join(rows))
    split = contaminate(root / "candle", tmp_path / "x", ratio=0.25)
    assert (len(split.train), len(split.added), split.anomalies_left) == (10, 2, 3)
    assert "1 items were left out" in split.notes[0] and "Data/Images/Anomaly/000.JPG" not in split.train + split.test
    found = find_pictures(tmp_path / "x", masks=True)
    assert {p.id for p in found.testing()} == {
        id.replace("Data/Images", "test").replace("Normal2", "good") for id in split.test
    }
    for picture in found.testing():
        assert picture.mask is None or picture.mask.read_text().endswith(f"Masks/Anomaly/{picture.path.stem}.png")


def test_pictures_whose_masks_do_not_pair(tmp_path):
    source = make(tmp_path / "s", *(f"good/{i}.png" for i in range(9)), "bent/0.png", "bent/1.png", "masks/bent/7.png")
    with pytest.raises(InputError, match="--no-masks"):
        contaminate(source, tmp_path / "x", ratio=0.2)
    assert not (tmp_path / "x").exists()
    contaminate(source, tmp_path / "x", ratio=0.2, masks=False)
    assert sorted(p.name for p in (tmp_path / "x").iterdir()) == [LISTS, "test", "train"]


@pytest.mark.parametrize(
    ("names", "settings", "error", "words"),
    [
        (("1.png", "2.png"), {}, InputError, "0 to learn from, 0 normal and 0 anomalous"),
        (("good/1.png", "good/2.png", "good/3.png", "good/4.png"), {}, InputError, "1 normal and 0 anomalous"),
        (("train/good/1.png", "test/good/1.png"), {}, InputError, "1 normal and 0 anomalous"),
        (("train/good/1.png", "test/bent/1.png"), {}, InputError, "0 normal and 1 anomalous"),
        (("train/good/1.png", "test/good/1.png", "test/bent/1.png"), {"test": 0.3}, ConfigError, "split already"),
        (("good/1.png", "bent/1.png"), {"label": "y"}, InputError, "no label column"),
        (("good/1.png", "bent/1.png"), {"normal": "free"}, InputError, "'free'"),
        (("good/1.gif",), {}, InputError, "parts of one kind"),
    ],
)
def test_pictures_that_cannot_be_used(tmp_path, names, settings, error, words):
    source = make(tmp_path / "source", *names)
    with pytest.raises(error, match=words):
        contaminate(source, tmp_path / "x", ratio=0, **settings)
    assert [p.name for p in tmp_path.iterdir()] == ["source"]


def test_a_picture_that_cannot_be_read_leaves_nothing(tmp_path):
    source = make(tmp_path / "source", *(f"good/{i}.png" for i in range(9)), "bent/0.png", "bent/1.png")
    (source / "good" / "gone.png").symlink_to("nowhere.png")
    with pytest.raises(InputError, match="gone.png"):
        contaminate(source, tmp_path / "x", ratio=0.1)
    assert [p.name for p in tmp_path.iterdir()] == ["source"]


# places


def test_what_is_replaced_and_what_never(payments, tmp_path):
    arguments = {"label": "fraud", "ratio": 0.05}
    first = contaminate(payments, tmp_path / "x", **arguments)
    before = (tmp_path / "x" / "train.parquet").read_bytes()
    with pytest.raises(OutputError, match="--overwrite"):
        contaminate(payments, tmp_path / "x", **arguments, fold=1)
    with pytest.raises(InputError, match="no anomaly"):
        contaminate(payments, tmp_path / "x", label="fraud", ratio=0.9, overwrite=True)
    assert read(tmp_path / "x") == first and (tmp_path / "x" / "train.parquet").read_bytes() == before
    assert contaminate(payments, tmp_path / "x", **arguments, fold=1, overwrite=True) == read(tmp_path / "x") != first
    with pytest.raises(OutputError, match="exists"):  # before anything is read
        contaminate(tmp_path / "nowhere", tmp_path / "x", **arguments)
    mine = make(tmp_path / "mine", "family.jpg")
    with pytest.raises(OutputError, match="something else"):
        contaminate(payments, mine, **arguments, overwrite=True)
    assert held(mine) == {"family.jpg": "mine/family.jpg"}
    with pytest.raises(OutputError, match="does not exist"):
        contaminate(payments, tmp_path / "no" / "x", **arguments)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine", "x"]


def test_the_source_is_neither_spoiled_nor_replaced(parts, payments, tmp_path):
    source = make(tmp_path / "s", *(f"good/{i}.png" for i in range(9)), "bent/0.png", "bent/1.png")
    with pytest.raises(OutputError, match="inside"):
        contaminate(source, source / "dirty", ratio=0.1)
    assert not (source / "dirty").exists()
    contaminate(payments, tmp_path / "x", label="fraud", ratio=0.05)
    for inside in (tmp_path / "x" / "test.parquet", tmp_path / "x"):
        with pytest.raises(OutputError, match="inside|is the source"):
            contaminate(inside, tmp_path / "x", label="fraud", ratio=0.05, overwrite=True)
    assert read(tmp_path / "x")


# real data, and the page


@pytest.mark.data
@pytest.mark.skipif(not available(), reason="the real data of LIMBECK_DATA are not there")
def test_screw_at_ten_per_cent(tmp_path):
    assert (FOLDER / "images" / f"{PICTURE_SETS['screw']}.zip").is_file()
    picture_split("screw", 0, tmp_path)
    for overlap, left in ((False, 87), (True, 119)):
        split = contaminate(tmp_path / "screw", tmp_path / f"dirty{overlap}", ratio=0.1, overlap=overlap)
        assert (len(split.train), len(split.added), split.anomalies_left) == (352, 32, left)
        found = find_pictures(tmp_path / f"dirty{overlap}", masks=True)
        assert len(found.training()) == 352 and sum(p.mask is not None for p in found.testing()) == left


def test_the_page_in_python_runs(tmp_path, monkeypatch, capsys):
    page = (Path(__file__).parents[2] / "docs" / "contamination.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    transactions(3000, rate=0.05, seed=0).select("amount", "hour", "distance_km", "fraud").fill_null(0).write_parquet(
        tmp_path / "tx.parquet"
    )
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code, names)
    assert isinstance(names["split"], NoisySplit) and names["hidden"].sum() == len(names["split"].added)
    assert 0.5 < float(capsys.readouterr().out.split()[0]) <= 1
