from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest

from limbeck.data.layouts import PICTURE_SUFFIXES, find_pictures, is_picture_source
from limbeck.errors import InputError


def make(root: Path, *names: str) -> Path:
    """Create empty files: nothing here opens a picture."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def facts(source):
    return [(p.id, p.label, p.split, p.defect) for p in source.pictures]


def ids(pictures):
    return [p.id for p in pictures]


def masks_of(source, root):
    return {p.id: p.mask.relative_to(root).as_posix() for p in source.pictures if p.mask}


def mvtec(root: Path) -> Path:
    return make(
        root / "bottle",
        *("train/good/001.png", "train/good/000.png"),
        *("test/good/000.png", "test/scratch/000.png", "test/scratch/001.PNG", "test/bent/000.png"),
        *("ground_truth/scratch/000_mask.png", "ground_truth/scratch/001.bmp", "ground_truth/bent/000_mask.tif"),
        *("license.txt", ".hidden.png", "test/.cache/000.png", "test/scratch/._000.png"),
    )


def visa(root: Path) -> Path:
    images = {"Normal/0.JPG": "train", "Normal/1.JPG": "test", "Anomaly/0.JPG": "test", "Anomaly/1.JPG": "test"}
    make(root / "VisA/candle/Data/Images", *images)
    make(root / "VisA/candle/Data/Masks/Anomaly", "0.png", "1.png")
    lines = ["object,split,label,image,mask"]
    for image, split in reversed(images.items()):
        label = "anomaly" if "Anomaly" in image else "normal"
        mask = "candle/Data/Masks/" + image.replace("JPG", "png") if label == "anomaly" else ""
        lines.append(f"candle,{split},{label},candle/Data/Images/{image},{mask}")
    lines.append("pcb1,train,normal,pcb1/Data/Images/Normal/0.JPG,")
    make(root / "VisA", "split_csv/1cls.csv", "candle/image_anno.csv")
    (root / "VisA/split_csv/1cls.csv").write_text("\n".join(lines) + "\n")
    return root / "VisA"


# MVTec AD


def test_mvtec_labels_come_from_folders_and_splits_are_kept(tmp_path):
    source = find_pictures(str(mvtec(tmp_path)))
    assert (source.name, source.layout) == ("bottle", "mvtec")
    assert facts(source) == [
        ("test/bent/000.png", 1, "test", "bent"),
        ("test/good/000.png", 0, "test", "good"),
        ("test/scratch/000.png", 1, "test", "scratch"),
        ("test/scratch/001.PNG", 1, "test", "scratch"),
        ("train/good/000.png", 0, "train", "good"),
        ("train/good/001.png", 0, "train", "good"),
    ]
    assert ids(source.training()) == ["train/good/000.png", "train/good/001.png"]
    assert ids(source.testing()) == [f"test/{n}" for n in ("bent/000.png", "good/000.png", *SCRATCHES)]
    assert not any(p.mask for p in source.pictures)
    assert all(p.path == tmp_path / "bottle" / p.id for p in source.pictures)


SCRATCHES = ("scratch/000.png", "scratch/001.PNG")


def test_mvtec_masks_pair_by_stem(tmp_path):
    root = mvtec(tmp_path)
    assert masks_of(find_pictures(root, masks=True), root) == {
        "test/scratch/000.png": "ground_truth/scratch/000_mask.png",
        "test/scratch/001.PNG": "ground_truth/scratch/001.bmp",
        "test/bent/000.png": "ground_truth/bent/000_mask.tif",
    }


def test_all_masks_that_do_not_pair_are_named_in_one_error(tmp_path):
    root = mvtec(tmp_path)
    (root / "ground_truth/bent/000_mask.tif").unlink()
    make(root, "ground_truth/scratch/007.png", "ground_truth/scratch/001_mask.png", "ground_truth/gone/1.png")
    make(root, "test/scratch/005.png", "test/scratch/005.jpg", "ground_truth/scratch/005.png", "ground_truth/flat.png")
    with pytest.raises(InputError) as caught:
        find_pictures(root, masks=True)
    assert caught.value.got.split("\n    ")[1:] == [
        "mask without a picture: ground_truth/flat.png",
        "mask without a picture: ground_truth/gone/1.png",
        "mask without a picture: ground_truth/scratch/007.png",
        "picture whose mask belongs to another too: test/scratch/005.jpg",
        "picture whose mask belongs to another too: test/scratch/005.png",
        "picture with 2 masks: test/scratch/001.PNG",
        "picture without a mask: test/bent/000.png",
    ]
    assert "--no-masks" in caught.value.fix and "masks=False" in caught.value.fix
    assert len(find_pictures(root).pictures) == 8


def test_twenty_mismatches_are_named_and_the_others_counted(tmp_path):
    root = make(mvtec(tmp_path), *(f"test/scratch/x{i:02d}.png" for i in range(25)))
    with pytest.raises(InputError) as caught:
        find_pictures(root, masks=True)
    lines = caught.value.got.split("\n    ")[1:]
    assert len(lines) == 21 and lines[-1] == "and 5 more"


def test_a_defect_without_a_folder_of_masks_has_none(tmp_path):
    root = make(mvtec(tmp_path), "test/dent/000.png", "test/dent/001.png", "ground_truth/good/000_mask.png")
    source = find_pictures(root, masks=True)
    assert {p.defect for p in source.pictures if p.mask} == {"scratch", "bent"}
    assert all(p.mask is None for p in source.pictures if p.label != 1)


def test_a_picture_called_like_a_mask_is_paired_with_its_own(tmp_path):
    root = make(tmp_path, "train/good/0.png", "test/masks/1_mask.png", "test/a/0.png", "test/a/0_mask.png")
    make(root, "ground_truth/a/0_mask.png", "ground_truth/a/0_mask_mask.png", "ground_truth/masks/1_mask.png")
    assert masks_of(find_pictures(root, masks=True), root) == {
        "test/a/0.png": "ground_truth/a/0_mask.png",
        "test/a/0_mask.png": "ground_truth/a/0_mask_mask.png",
        "test/masks/1_mask.png": "ground_truth/masks/1_mask.png",
    }


@pytest.mark.parametrize("present", ["train/good/0.png", "test/good/0.png"])
def test_mvtec_works_with_one_split_alone(tmp_path, present):
    source = find_pictures(make(tmp_path, present), masks=True)
    assert source.layout == "mvtec"
    assert (len(source.training()), len(source.testing())) == ((1, 0) if "train" in present else (0, 1))


def test_anomalies_among_the_training_pictures_are_not_learnt_from(tmp_path):
    root = make(mvtec(tmp_path), "train/scratch/000.png")
    source = find_pictures(root, masks=True)  # the mask of test/scratch/000.png is not this one's
    assert facts(source)[-1] == ("train/scratch/000.png", 1, "train", "scratch")
    assert {p.label for p in source.training()} == {0} and len(source.testing()) == 4
    assert source.pictures[-1].mask is None


def test_pictures_beside_the_folders_of_a_split_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"(?s)1 pictures stand beside.*train/loose.png"):
        find_pictures(make(mvtec(tmp_path), "train/loose.png"))


def test_several_mvtec_categories_are_named(tmp_path):
    mvtec(tmp_path)
    make(tmp_path, "cable/train/good/0.png")
    with pytest.raises(InputError, match=r"(?s)several categories.*bottle, cable.*bottle"):
        find_pictures(tmp_path)


# VisA


def test_visa_reads_its_split(tmp_path):
    root = visa(tmp_path)
    source = find_pictures(root / "candle", masks=True)
    assert (source.name, source.layout) == ("candle", "visa")
    assert facts(source) == [
        ("Data/Images/Anomaly/0.JPG", 1, "test", "Anomaly"),
        ("Data/Images/Anomaly/1.JPG", 1, "test", "Anomaly"),
        ("Data/Images/Normal/0.JPG", 0, "train", "good"),
        ("Data/Images/Normal/1.JPG", 0, "test", "good"),
    ]
    assert masks_of(source, root) == {
        f"Data/Images/Anomaly/{i}.JPG": f"candle/Data/Masks/Anomaly/{i}.png" for i in "01"
    }
    assert ids(source.training()) == ["Data/Images/Normal/0.JPG"] and len(source.testing()) == 3
    assert not any(p.mask for p in find_pictures(root / "candle").pictures)


def test_visa_lists_its_categories(tmp_path):
    root = visa(tmp_path)
    assert is_picture_source(root)
    with pytest.raises(InputError, match="(?s)several categories.*candle, pcb1") as caught:
        find_pictures(root)
    assert str(root / "candle") in caught.value.fix


def test_visa_names_every_missing_file(tmp_path):
    root = visa(tmp_path)
    for name in ("Normal/0.JPG", "Anomaly/1.JPG"):
        (root / "candle/Data/Images" / name).unlink()
    with pytest.raises(InputError) as caught:
        find_pictures(root / "candle")
    assert "line 2: candle/Data/Images/Anomaly/1.JPG is missing" in caught.value.got
    assert "line 5: candle/Data/Images/Normal/0.JPG is missing" in caught.value.got


def test_visa_names_a_picture_without_its_mask(tmp_path):
    root = visa(tmp_path)
    (root / "candle/Data/Masks/Anomaly/0.png").unlink()
    with pytest.raises(InputError, match="picture without a mask: Data/Images/Anomaly/0.JPG"):
        find_pictures(root / "candle", masks=True)
    (root / "candle/Data/Masks/Anomaly/1.png").unlink()
    (root / "candle/Data/Masks/Anomaly").rmdir()
    assert not masks_of(find_pictures(root / "candle", masks=True), root)


def test_visa_without_its_split_is_refused_and_its_folders_still_work(tmp_path):
    root = visa(tmp_path)
    (root / "split_csv/1cls.csv").unlink()
    with pytest.raises(InputError, match="(?s)its split is missing.*Images"):
        find_pictures(root / "candle")
    source = find_pictures(root / "candle/Data/Images")
    assert source.layout == "folders" and [p.label for p in source.pictures] == [1, 1, 0, 0]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("object,split,image\n", "lacks columns"),
        ("object,split,label,image,mask\nother,train,normal,a,\n", "does not name 'candle'"),
        ("object,split,label,image,mask\ncandle,val,normal,candle/Data/Images/Normal/0.JPG,\n", "line 2: split 'val'"),
        ("object,split,label,image,mask\ncandle,test,bad,candle/Data/Images/Normal/0.JPG,\n", "line 2: label 'bad'"),
    ],
)
def test_a_visa_split_that_is_not_one_is_refused(tmp_path, text, match):
    root = visa(tmp_path)
    (root / "split_csv/1cls.csv").write_text(text)
    with pytest.raises(InputError, match=match):
        find_pictures(root / "candle")


# Plain folders


def test_a_folder_of_pictures_alone_is_unlabelled(tmp_path):
    names = [f"{i}{suffix}" for i, suffix in enumerate(sorted(PICTURE_SUFFIXES | {".PNG", ".Jpg"}))]
    source = find_pictures(make(tmp_path / "parts", *names, "notes.md", ".x.png"))
    assert facts(source) == [(name, -1, "", "") for name in names]
    assert (source.name, source.layout) == ("parts", "folders")
    assert ids(source.training()) == names and not source.testing()


@pytest.mark.parametrize("good", ["good", "Normal", "OK"])
@pytest.mark.parametrize("masks", ["ground_truth", "masks"])
def test_subfolders_label_where_one_is_called_good(tmp_path, good, masks):
    root = make(tmp_path, f"{good}/day 1/0.png", f"{good}/1.png", "dent/0.png", f"{masks}/dent/0_mask.png", "x/0.jpg")
    make(root, "beside.png")
    source = find_pictures(root, masks=True)
    assert facts(source) == sorted(
        [
            ("beside.png", -1, "", ""),
            (f"{good}/1.png", 0, "", "good"),
            (f"{good}/day 1/0.png", 0, "", "good"),
            ("dent/0.png", 1, "", "dent"),
            ("x/0.jpg", 1, "", "x"),
        ]
    )
    assert masks_of(source, root) == {"dent/0.png": f"{masks}/dent/0_mask.png"}
    assert len(source.training()) == 2 and len(source.testing()) == 4


def test_nested_folders_without_a_good_one_are_unlabelled(tmp_path):
    root = make(tmp_path, "a/b/0.png", "a/0.png", "c/0.png", ".git/0.png", "masks/c/0.png")
    assert facts(find_pictures(root)) == [(i, -1, "", "") for i in ("a/0.png", "a/b/0.png", "c/0.png")]


def test_order_is_by_id_whatever_the_file_system_says(tmp_path, monkeypatch):
    names = [f"{a}/{b}.png" for a, b in itertools.product("cabd", "2013")]
    make(tmp_path, *names)
    whole = Path.iterdir
    shuffle = random.Random(0).shuffle

    def shuffled(folder):
        found = list(whole(folder))
        shuffle(found)
        return iter(found)

    monkeypatch.setattr(Path, "iterdir", shuffled)
    assert ids(find_pictures(tmp_path).pictures) == sorted(names)


def test_links_in_circles_end(tmp_path):
    root = make(tmp_path / "parts", "a/0.png", "b/1.png")
    (root / "a" / "up").symlink_to(root, target_is_directory=True)
    (root / "b" / "a").symlink_to(root / "a", target_is_directory=True)
    (root / "broken.png").symlink_to(tmp_path / "nowhere.png")
    assert ids(find_pictures(root).pictures) == ["a/0.png", "b/1.png", "broken.png"]
    assert is_picture_source(root)


@pytest.mark.parametrize(
    ("names", "got"),
    [(["a.csv", "b/b.csv", "c.TXT"], "3 files: .csv, .txt"), (["b"], "1 file: no suffix"), ([], "no files")],
)
def test_a_folder_without_pictures_says_what_it_holds(tmp_path, names, got):
    with pytest.raises(InputError, match="no pictures in") as caught:
        find_pictures(make(tmp_path, *names))
    assert caught.value.got == got


def test_the_normal_folder_may_have_another_name(tmp_path):
    root = make(tmp_path / "a", "Pass/0.png", "good/0.png", "dent/0.png", "ground_truth/dent/0.png")
    make(root, "ground_truth/pass/0.png")
    source = find_pictures(root, normal="pass", masks=True)
    assert [(p.id, p.label) for p in source.pictures] == [("Pass/0.png", 0), ("dent/0.png", 1), ("good/0.png", 1)]
    assert masks_of(source, root) == {"dent/0.png": "ground_truth/dent/0.png"}
    split = find_pictures(make(tmp_path / "b", "train/pass/0.png", "test/dent/0.png"), normal="pass")
    assert split.layout == "mvtec" and ids(split.training()) == ["train/pass/0.png"]
    listed = find_pictures(write_list(root, "Pass/0.png\tPASS\ngood/0.png\tgood\n"), normal="pass")
    assert [p.label for p in listed.pictures] == [0, 1]
    for other in (root, make(tmp_path / "c", "0.png")):
        with pytest.raises(InputError, match="no pictures in a folder called 'fine'"):
            find_pictures(other, normal="fine")


# Lists and files


def write_list(root: Path, text: str) -> Path:
    (root / "parts.txt").write_text(text, encoding="utf-8")
    return root / "parts.txt"


def test_a_list_gives_pictures_labels_and_masks(tmp_path):
    make(tmp_path, *(f"p/{i}.png" for i in range(8)), "m/2.png", "m/3.png", "m/6.png", "m/7.png")
    text = "\ufeff# parts of May\n\np/1.png\tGood\r\np/0.png\t0\tm/none.png\n p/2.png \t1\tm/2.png\n"
    text += "p/3.png\tdeep dent\tm/3.png\np/4.png\n./p/5.png\t\n"
    text += f"p/6.png\tanomaly\tm/6.png\n{tmp_path}/p/7.png\t1\tm/7.png"
    source = find_pictures(write_list(tmp_path, text), masks=True)
    assert (source.name, source.layout) == ("parts.txt", "list")
    assert facts(source) == [
        ("p/0.png", 0, "", "good"),
        ("p/1.png", 0, "", "good"),
        ("p/2.png", 1, "", ""),
        ("p/3.png", 1, "", "deep dent"),
        ("p/4.png", -1, "", ""),
        ("p/5.png", -1, "", ""),
        ("p/6.png", 1, "", "anomaly"),
        ("p/7.png", 1, "", ""),
    ]
    assert masks_of(source, tmp_path) == {f"p/{i}.png": f"m/{i}.png" for i in (2, 3, 6, 7)}
    assert ids(source.training()) == ["p/0.png", "p/1.png"] and len(source.testing()) == 6
    assert not any(p.mask for p in find_pictures(tmp_path / "parts.txt").pictures)


def test_a_list_of_known_anomalies_leaves_the_others_to_learn_from(tmp_path):
    make(tmp_path, "0.png", "1.png")
    assert ids(find_pictures(write_list(tmp_path, "0.png\t1\n1.png\n")).training()) == ["1.png"]


def test_every_line_of_a_list_that_cannot_be_used_is_named(tmp_path):
    make(tmp_path, "0.png", "1.png", "2.png", "t.csv")
    text = "0.png\n#\ngone.png\nt.csv\nx/../0.png\n1.png\t1\tgone_mask.png\n2.png\t7\n2.png\t\t\tx\n"
    with pytest.raises(InputError) as caught:
        find_pictures(write_list(tmp_path, text), masks=True)
    assert caught.value.got.split("\n    ")[1:] == [
        f"line 3: {tmp_path}/gone.png is missing",
        f"line 4: {tmp_path}/t.csv is not a picture file",
        "line 5: x/../0.png stands in line 1 too",
        f"line 6: {tmp_path}/gone_mask.png is missing",
        "line 7: label '7' is not 0, 1, good, normal, ok, anomaly or a defect's name",
        "line 8: 2.png stands in line 7 too",
        "line 8: more than a picture, a label and a mask",
    ]


def test_a_list_with_some_masks_needs_all(tmp_path):
    make(tmp_path, "0.png", "1.png", "m.png")
    path = write_list(tmp_path, "0.png\t1\tm.png\n1.png\t1\n")
    with pytest.raises(InputError, match="picture without a mask: 1.png"):
        find_pictures(path, masks=True)


@pytest.mark.parametrize("content", [b"", b"# nothing\n", b"\xff\xfe\x00"])
def test_a_list_without_pictures_is_refused(tmp_path, content):
    (tmp_path / "parts.txt").write_bytes(content)
    with pytest.raises(InputError, match="names no pictures|UTF-8"):
        find_pictures(tmp_path / "parts.txt")


def test_files_have_ids_relative_to_what_they_share(tmp_path):
    make(tmp_path / "x", "a/0.png", "b/c/0.jpg")
    source = find_pictures([tmp_path / "x/b/c/0.jpg", str(tmp_path / "x/a/0.png")])
    assert facts(source) == [("a/0.png", -1, "", ""), ("b/c/0.jpg", -1, "", "")]
    assert (source.name, source.layout) == ("x", "file")
    one = find_pictures(tmp_path / "x/a/0.png")
    assert (one.name, one.layout, facts(one)) == ("0.png", "file", [("0.png", -1, "", "")])
    assert one.training() == one.pictures and one.testing() == ()


def test_files_that_cannot_be_used_are_named_together(tmp_path):
    make(tmp_path, "0.png", "t.csv")
    with pytest.raises(InputError, match="4 of 5 files") as caught:
        find_pictures([tmp_path / "0.png", tmp_path / "0.png", tmp_path / "t.csv", tmp_path / "gone.png", 3])
    for text in ("0.png came 2 times", "t.csv is not a picture", "gone.png is missing", "a int"):
        assert text in caught.value.got


@pytest.mark.parametrize(("source", "match"), [([], "no files"), ("gone", "no file or folder"), (__file__, "1 of 1")])
def test_what_is_no_source_is_refused(source, match):
    with pytest.raises(InputError, match=match):
        find_pictures(source)


# Pictures or a table


def test_pictures_and_tables_are_told_apart(tmp_path):
    yes = [mvtec(tmp_path), visa(tmp_path) / "candle", make(tmp_path / "p", "a/0.png"), "x.TIFF", "gone/list.txt"]
    no = [make(tmp_path / "t", "0.parquet", "1.parquet", "plots/0.png"), make(tmp_path / "e", "x"), "t.csv", 3, [], {}]
    assert [is_picture_source(s) for s in yes] == [True] * len(yes)
    assert [is_picture_source(s) for s in no] == [False] * len(no)
    assert is_picture_source(["a.png", Path("b.jpg")]) and not is_picture_source(["a.png", 1.5])


def test_pictures_and_tables_side_by_side_are_refused(tmp_path):
    root = make(tmp_path, "0.png", "labels.csv")
    for ask in (is_picture_source, find_pictures):
        with pytest.raises(InputError, match="side by side") as caught:
            ask(root)
        assert "0.png" in caught.value.got and "labels.csv" in caught.value.got
