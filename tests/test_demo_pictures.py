"""The demo with pictures, tiny: every file is there and can be read."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from PIL import Image

import limbeck
from limbeck import demo
from limbeck.cli import main
from limbeck.data.picture_files import Picture
from limbeck.errors import InputError, MissingExtraError, OutputError
from limbeck.evaluate import Evaluation, Pictures

TINY = {"backbone": "resnet18", "weights": "random", "size": 64, "steps": 5, "batch": 4, "blocks": ["1"] * 4}


def shrink(patch):
    patch.setattr(demo, "PICTURES", TINY)
    patch.setattr(demo, "ALPHA", 0.4)
    for name, number in (("TRAIN", 10), ("GOOD", 4), ("BAD", 5)):
        patch.setattr(demo, name, number)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The command, run over the remains of an earlier demo."""
    out = tmp_path_factory.mktemp("demo") / "made" / "here"
    (out / "maps").mkdir(parents=True)
    (out / "maps/README.txt").write_text("Heat maps made by Limbeck: .png to look at, .tiff to measure with.\n")
    (out / "petals.html").write_text("old")
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch)
        printed = []
        patch.setattr("builtins.print", lambda *words, **_: printed.append(" ".join(map(str, words))))
        with pytest.raises(SystemExit) as end:
            main(["demo", "image", "--out", str(out), "--seed", "1"])
        assert not end.value.code
    return out, "\n".join(printed)


def test_every_file_is_there(ran):
    out, _ = ran
    assert {p.name for p in out.iterdir()} == {
        "petals", "petals.limbeck", "petals.html", "scores.csv", "maps", "heatmaps.png"
    }  # fmt: skip
    assert "<html" in (out / "petals.html").read_text()
    scores = pl.read_csv(out / "scores.csv")
    assert scores.columns == ["id", "score", "p_value", "is_anomaly"] and len(scores) == 9
    for name in scores["id"]:
        with Image.open(out / "maps" / f"{name}.png") as heat, Image.open(out / "maps" / f"{name}.tiff") as values:
            assert heat.size == values.size == (64, 64)
    detector = limbeck.load(out / "petals.limbeck")
    said = detector.detect(out / "petals/test/good/000.png")
    assert said.score[0] == pytest.approx(scores.filter(pl.col("id") == "good/000.png")["score"][0], rel=1e-4)
    assert json.loads((out / "petals.limbeck/manifest.json").read_text())["card"]["seed"] == 1


def test_the_summary_says_what_matters(ran):
    out, printed = ran
    assert "10 pictures of petals to learn from; 4 good, 5 damaged to test on" in printed
    assert "% of good pictures, 40.00% promised" in printed
    for name in ("petals.limbeck", "scores.csv", "maps", "heatmaps.png", "petals.html"):
        assert str(out / name) in printed


def test_the_sheet_can_be_read(ran):
    with Image.open(ran[0] / "heatmaps.png") as sheet:
        sheet.load()
        assert sheet.mode == "RGB" and sheet.width > sheet.height > 400


# What the sheet shows


@pytest.fixture
def shown(tmp_path):
    """One grey picture for each place of the sheet; the scratch is missed, the second good one is a false alarm."""
    kinds = ["good", "good", "good", "good", *demo.DEFECTS]
    scores = np.array([0.1, 0.2, 0.3, 0.9, 0.4, 0.8, 0.8, 0.8, 0.8], np.float32)
    maps, masks, pictures = np.zeros((9, 20, 20), np.float32), np.zeros((9, 20, 20), bool), []
    for i, kind in enumerate(kinds):
        Image.new("RGB", (40, 40), (10 * i, 50, 200)).save(tmp_path / f"{i}.png")
        mask = None
        if kind != "good":
            maps[i, :10] = 2.0  # the upper half glows
            mask = tmp_path / f"{i}_mask.png"
            Image.fromarray(np.repeat([[0], [255]], 20, 0).astype(np.uint8).repeat(40, 1)).save(mask)  # the lower half
        pictures.append(Picture(tmp_path / f"{i}.png", f"{i}.png", int(kind != "good"), "test", kind, mask))
    label = np.array([0] * 4 + [1] * 5, np.int8)
    return Evaluation({}, label, scores, None, "petals", Pictures(tuple(pictures), maps, masks))


def centre(row, column, down=0.5):
    side = demo.CELL + demo.GAP
    return round(demo.LEFT + column * side + demo.CELL / 2), round(demo.TOP + row * side + demo.CELL * down)


def test_rows_are_picture_map_and_truth(shown):
    sheet = demo.contact_sheet(SimpleNamespace(threshold=0.5, alpha=0.05), shown)
    assert sheet.width == demo.LEFT + 7 * (demo.CELL + demo.GAP)
    for column, i in enumerate([1, 2, 4, 5, 6, 7, 8]):  # of four good ones, those at a third and two thirds
        assert sheet.getpixel(centre(0, column)) == (10 * i, 50, 200)
        upper, lower = (sheet.getpixel(centre(1, column, down)) for down in (0.2, 0.8))
        assert max(lower) - min(lower) == 0, "cold places are grey"
        assert (max(upper) - min(upper) > 50) == (i > 3), "hot places are coloured"
        truth = [sheet.getpixel(centre(2, column, down))[0] for down in (0.2, 0.8)]
        assert truth == ([0, 255] if i > 3 else [0, 0])


@pytest.mark.parametrize(("threshold", "wrong"), [(0.5, [2]), (0.35, []), (0.25, [1])])
def test_wrong_verdicts_are_red(shown, threshold, wrong):
    sheet = np.asarray(demo.contact_sheet(SimpleNamespace(threshold=threshold, alpha=0.05), shown))
    side = demo.CELL + demo.GAP
    heads = [sheet[: demo.TOP, demo.LEFT + k * side : demo.LEFT + (k + 1) * side] for k in range(7)]
    assert [k for k, head in enumerate(heads) if (head == demo.WRONG).all(axis=2).any()] == wrong
    assert [k for k, head in enumerate(heads) if not (head == demo.RIGHT).all(axis=2).any()] == wrong


def test_rows_have_no_sheet(shown):
    rows = Evaluation({}, shown.label, shown.score, None, "tx")
    with pytest.raises(InputError, match="no pictures to draw"):
        demo.contact_sheet(SimpleNamespace(threshold=0.5, alpha=0.05), rows)


# What goes wrong


def test_what_is_missing_is_said_before_the_work(tmp_path, monkeypatch):
    shrink(monkeypatch)
    for name, extra in (("torch", "train"), ("jinja2", "report")):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, name, None)
            with pytest.raises(MissingExtraError, match=rf"limbeck\[{extra}\]"):
                demo.demo_pictures(tmp_path / "demo")
    assert not list(tmp_path.iterdir())


def test_weights_that_are_missing_are_named(tmp_path, monkeypatch):
    shrink(monkeypatch)
    monkeypatch.setattr(demo, "PICTURES", TINY | {"weights": str(tmp_path / "none.pth")})
    with pytest.raises(InputError, match=r"none\.pth"):
        demo.demo_pictures(tmp_path / "demo")


def test_a_place_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot make the folder"):
        demo.demo_pictures(tmp_path / "file" / "demo")
