"""Pictures through Python: learn, judge, measure, score into files, report."""

import base64
import dataclasses
import io
import re
import shutil
import subprocess
import sys
from html import unescape

import numpy as np
import polars as pl
import pytest
from PIL import Image
from sklearn import metrics as oracle

import limbeck
from limbeck.batch import score
from limbeck.data.images import decode, decode_mask
from limbeck.data.layouts import find_pictures
from limbeck.errors import ConfigError, InputError, LimbeckWarning, OutputError, PackageError
from limbeck.evaluate import evaluate
from limbeck.fitting.pictures import prepare_pictures
from limbeck.heat import overlay, resize_map
from limbeck.report import report
from limbeck.report_pictures import MOST, curve_of_regions, gallery

TINY = {
    "backbone": "resnet18", "weights": "random", "taps": "layer1", "blocks": "1,1", "size": 32, "steps": 2, "batch": 4,
    "footing": "quantile",
}  # fmt: skip
HEAVY = {"torch", "sklearn", "lightgbm", "imblearn", "onnx", "scipy", "matplotlib", "pandas"}


@pytest.fixture(scope="module")
def files(parts):
    """The test pictures in the order of their ids."""
    return [p for p in find_pictures(parts).pictures if p.split == "test"]


@pytest.fixture(scope="module")
def verdicts(picture_detector, files):
    return picture_detector.detect([p.path for p in files])


@pytest.fixture(scope="module")
def evaluation(picture_detector, parts):
    return evaluate(picture_detector, parts)


@pytest.fixture
def copy(parts, tmp_path):
    """A copy of the test split that a test may spoil."""
    folder = tmp_path / "copy"
    for name in ("test", "ground_truth"):
        shutil.copytree(parts / name, folder / name)
    return folder


@pytest.fixture
def no_learning(monkeypatch):
    """Whatever is refused is refused before anything is learned."""
    from limbeck.image.features import Features

    def fill(self):
        raise AssertionError("it began to learn")

    monkeypatch.setattr(Features, "fill", fill)


# what a detector says


def test_shapes_and_types(verdicts, files):
    n = len(files)
    assert verdicts.score.shape == (n,) and verdicts.score.dtype == np.float32
    assert verdicts.map.shape == (n, 64, 64) and verdicts.map.dtype == np.float32
    assert verdicts.p_value.shape == (n,) and verdicts.p_value.dtype == np.float64
    assert verdicts.is_anomaly.shape == (n,) and verdicts.is_anomaly.dtype == np.bool_
    assert verdicts.probability is None
    assert np.isfinite(verdicts.map).all()


def test_one_picture_in_every_form(picture_detector, files):
    grey = decode(files[0].path)
    assert grey.ndim == 2
    rgb = grey[..., None].repeat(3, 2)
    alpha = np.random.default_rng(0).integers(0, 256, grey.shape, np.uint8)
    wanted = picture_detector.detect(files[0].path)
    assert wanted.score.shape == (1,) and wanted.map.shape == (1, 64, 64)
    for form in (
        str(files[0].path), [files[0].path], grey, grey[..., None], rgb, np.dstack([rgb, alpha]), grey[None], rgb[None],
        [grey], [rgb], np.asfortranarray(grey), grey[::-1][::-1],
    ):  # fmt: skip
        said = picture_detector.detect(form)
        assert said.score.tolist() == wanted.score.tolist()
        assert np.array_equal(said.map, wanted.map)


def test_one_by_one_or_together(picture_detector, files, verdicts, parts):
    arrays = [decode(p.path) for p in files]
    alone = np.concatenate([picture_detector.detect(a).score for a in arrays])
    np.testing.assert_allclose(alone, verdicts.score, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(picture_detector.detect(np.stack(arrays)).map, verdicts.map, rtol=1e-5, atol=1e-6)
    folder = picture_detector.detect(parts / "test")
    np.testing.assert_array_equal(folder.score, verdicts.score)  # both by id
    mixed = [arrays[0], arrays[1][:50, :70, None].repeat(3, 2), arrays[2]]
    several = picture_detector.detect(mixed).score
    np.testing.assert_allclose(several[[0, 2]], verdicts.score[[0, 2]], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(several[1], picture_detector.detect(mixed[1]).score[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("nothing", [[], np.zeros((0, 64, 64, 3), np.uint8), np.zeros((0, 30, 40), np.uint8)])
def test_no_pictures_give_no_verdicts(picture_detector, nothing):
    said = picture_detector.detect(nothing)
    assert said.score.shape == said.p_value.shape == said.is_anomaly.shape == (0,) and said.map.shape == (0, 64, 64)


def test_p_values_are_counted(picture_detector, verdicts):
    normals = picture_detector.calibrator.normals
    m = len(normals)
    assert m == 6, "a fifth of thirty"
    wanted = [(1 + sum(n >= s for n in normals)) / (m + 1) for s in verdicts.score]
    np.testing.assert_allclose(verdicts.p_value, wanted)
    np.testing.assert_array_equal(verdicts.is_anomaly, verdicts.p_value <= picture_detector.alpha)
    assert 0 < verdicts.is_anomaly.sum() < len(wanted)


def test_the_promise_is_what_so_few_pictures_can_give(picture_detector, parts):
    assert picture_detector.alpha == picture_detector.card.alpha == pytest.approx(1 / 7)
    assert picture_detector.threshold == picture_detector.calibrator.normals.max()
    said = " ".join(picture_detector.card.notes)
    assert "6 calibration normals" in said and "0.143" in said and "only 30 pictures" in said
    assert "15 pictures of the test split were not learned from" in said
    scores = np.sort(picture_detector.detect(parts / "train").score)
    nearest = [abs(scores - n).min() for n in picture_detector.calibrator.normals]
    assert max(nearest) < 1e-5, "they are scores of pictures that were set aside"
    assert picture_detector.with_alpha(0.3).threshold == np.sort(picture_detector.calibrator.normals)[4]


def test_a_bad_part_is_hot_where_it_is_bad(parts, files, verdicts):
    for picture, whole in zip(files, verdicts.map, strict=True):
        if picture.defect == "disc":
            mask = decode_mask(parts / "ground_truth" / "disc" / f"{picture.path.stem}_mask.png", (64, 64))
            assert whole[mask].mean() > whole[~mask].mean()


# packages


def test_saved_and_loaded_it_says_the_same(picture_detector, picture_package, files, verdicts, tmp_path):
    for runtime in ("auto", "onnx"):
        loaded = limbeck.load(picture_package, runtime)
        said = loaded.detect([p.path for p in files])
        assert np.array_equal(said.score, verdicts.score) and np.array_equal(said.map, verdicts.map)
        assert np.array_equal(said.p_value, verdicts.p_value) and loaded.threshold == picture_detector.threshold
    loaded.save(tmp_path / "again.limbeck")
    for file in ("model.onnx", "calibration.safetensors", "manifest.json", "README.md"):
        assert (tmp_path / "again.limbeck" / file).read_bytes() == (picture_package / file).read_bytes()
    assert loaded.spec == picture_detector.spec and loaded.card == picture_detector.card and loaded.items == "pictures"
    with pytest.raises(ConfigError, match="no runtime 'numpy' for pictures"):
        limbeck.load(picture_package, runtime="numpy")


def test_a_card_is_of_pictures(picture_package):
    text = (picture_package / "README.md").read_text("utf-8")
    assert "8-bit pictures" in text and "64 × 64" in text and "30 pictures, taken to be good" in text
    assert "columns" not in text and "rows" not in text


def test_a_spoiled_graph_is_refused(picture_package, tmp_path):
    shutil.copytree(picture_package, tmp_path / "p")
    graph = tmp_path / "p" / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"\0")
    with pytest.raises(PackageError, match="model.onnx"):
        limbeck.load(tmp_path / "p")


def test_judging_imports_no_learning_framework(picture_package, parts, tmp_path):
    code = f"""
import sys, limbeck
detector = limbeck.load({str(picture_package)!r})
detector.detect({str(parts / "test" / "good")!r})
from limbeck.batch import score
from limbeck.evaluate import evaluate
score(detector, {str(parts / "test")!r}, {str(tmp_path / "s.parquet")!r}, maps={str(tmp_path / "maps")!r})
evaluate(detector, {str(parts)!r})
detector.save({str(tmp_path / "again.limbeck")!r})
print(*{{m.split('.')[0] for m in sys.modules}})
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert not HEAVY & set(result.stdout.split())


# what a detector refuses


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (np.zeros((64, 64)), ("float64", "uint8")),
        (np.zeros((3, 4)), ("float64",)),
        (np.zeros(4, np.uint8), ("(4,)", "channels last")),
        (np.zeros((3, 64, 64), np.uint16), ("16 bits", "8 bits")),
        (np.zeros((1, 64, 64, 2), np.uint8), ("(64, 64, 2)",)),
        ("rows.parquet", ("rows.parquet",)),
        (pl.DataFrame({"a": [1.0, 2.0]}), ("expected: uint8",)),
        ({"a": 1.0}, ("shape",)),
        ("nowhere.png", ("nowhere.png",)),
        (["nowhere.png", "rows.parquet"], ("pictures",)),
    ],
)
def test_no_pictures_for_a_detector_of_pictures(picture_detector, source, words):
    if isinstance(source, list):
        words = ()
    with pytest.raises(InputError) as caught:
        picture_detector.detect(source)
    for word in words:
        assert word in str(caught.value)


def test_pictures_for_a_detector_of_rows(detector, files, parts, tmp_path):
    path = files[0].path
    for source in (path, str(path), parts, [path], decode(path), np.zeros((2, 64, 64, 3), np.uint8)):
        with pytest.raises(InputError):
            detector.detect(source)
        with pytest.raises(InputError):
            evaluate(detector, source)
        with pytest.raises(InputError):
            score(detector, source, tmp_path / "s.csv")
    assert not any(tmp_path.iterdir())


def test_rows_for_a_detector_of_pictures(picture_detector, test_rows, tmp_path):
    test_rows.head(5).write_parquet(tmp_path / "rows.parquet")
    for source in (tmp_path / "rows.parquet", test_rows.head(5), {"a": [1.0]}):
        with pytest.raises(InputError, match="picture"):
            evaluate(picture_detector, source)
        with pytest.raises(InputError, match="picture"):
            score(picture_detector, source, tmp_path / "s.csv")
    with pytest.raises(InputError, match="in memory with detect"):
        score(picture_detector, np.zeros((2, 64, 64), np.uint8), tmp_path / "s.csv")
    assert [p.name for p in tmp_path.iterdir()] == ["rows.parquet"]


# what is learned from


def prepare(source, **values):
    return prepare_pictures(source, **{"size": 32, "normal": None, "on_corrupt": "refuse", "seed": 0} | values)


def test_only_good_pictures_of_the_training_split_are_taken(parts):
    prepared = prepare(parts)
    learn, aside = ({p.id for p in items.pictures} for items in (prepared.learn, prepared.calibration))
    assert learn.isdisjoint(aside) and len(aside) == 6 == prepared.n_items - len(learn)
    assert learn | aside == {f"train/good/{i:03}.png" for i in range(30)}
    assert {p.id for p in prepare(parts).calibration.pictures} == aside
    assert {p.id for p in prepare(parts, seed=1).calibration.pictures} != aside
    assert prepared.name == "parts" and prepared.n_anomalous == 0 and not prepared.labelled


def drawn(folder, name, array=None):
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((8, 9), np.uint8) if array is None else array).save(file)


def test_what_was_not_learned_from_is_said(tmp_path):
    for name in ("good/1.png", "good/2.png", "good/3.png", "bent/1.png", "bent/2.png", "stray.png"):
        drawn(tmp_path, name)
    notes = prepare(tmp_path).notes
    assert "2 pictures with a defect were not learned from" in notes
    assert "1 pictures without a label were not learned from" in notes
    again = prepare(tmp_path, normal="bent")
    assert again.n_items == 2 and "3 pictures with a defect were not learned from" in again.notes


def test_sizes_and_modes_may_be_mixed(tmp_path):
    drawn(tmp_path, "a.png")
    drawn(tmp_path, "b.png", np.zeros((40, 20, 3), np.uint8))
    drawn(tmp_path, "c.png", np.zeros((16, 16, 4), np.uint8))
    drawn(tmp_path, "d.jpg", np.zeros((16, 16, 3), np.uint8))
    prepared = prepare(tmp_path)
    assert prepared.n_items == 4
    assert any("mixed sizes: 8x9 to 40x20" in n for n in prepared.notes)
    assert any("1 of 4 pictures carry an alpha channel" in n for n in prepared.notes)
    assert [b.x.shape for b in prepared.learn.batches(9)] == [(3, 32, 32, 3)]


def test_a_picture_that_cannot_be_read(tmp_path):
    for name in "abcde":
        drawn(tmp_path, f"{name}.png", np.random.default_rng(0).integers(0, 256, (60, 60), np.uint8))
    (tmp_path / "text.png").write_text("no picture")
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])  # its header is sound
    with pytest.raises(InputError, match="text.png"):
        prepare(tmp_path)
    prepared = prepare(tmp_path, on_corrupt="skip")
    assert prepared.n_items == 5 == len(prepared.learn) + len(prepared.calibration)
    said = [note for note in prepared.notes if "cannot be read" in note]
    assert said == ["2 of 7 pictures cannot be read and were left out: half.png, text.png"]


def test_too_few_pictures(tmp_path):
    drawn(tmp_path, "a.png")
    with pytest.raises(InputError, match="too few good pictures") as caught:
        prepare(tmp_path)
    assert "at least 2" in str(caught.value) and caught.value.got == "1"
    (tmp_path / "b.png").write_text("no picture")
    with pytest.raises(InputError, match="too few"):
        prepare(tmp_path, on_corrupt="skip")
    drawn(tmp_path, "c.png")
    prepared = prepare(tmp_path, on_corrupt="skip")
    assert len(prepared.learn) == len(prepared.calibration) == 1


@pytest.mark.parametrize(
    ("source", "values", "words"),
    [
        (np.zeros((4, 32, 32)), {}, ("float64",)),
        (np.zeros((1, 32, 32), np.uint8), {}, ("at least 2",)),
        (np.zeros((32, 32, 3), np.uint8), {}, ("one picture",)),
        (np.zeros((4, 32, 32), np.uint8), {"method": "multi-teacher", "config": None}, ("does not learn", "leave the")),
        (np.zeros((4, 32, 32), np.uint8), {"label": [0, 1, 0, 1]}, ("no label column", "--normal")),
        (np.zeros((4, 32, 32), np.uint8), {"config": TINY | {"size": 100}}, ("'size'", "--set size=")),
        (np.zeros((4, 32, 32), np.uint8), {"config": TINY | {"tops": 1}}, ("'tops'",)),
        (np.zeros((4, 4)), {"method": "reverse-distillation"}, ("does not learn from", "pictures")),
    ],
)  # fmt: skip
def test_fit_refuses_before_it_learns(no_learning, source, values, words):
    with pytest.raises((InputError, ConfigError)) as caught:
        limbeck.fit(source, **{"config": TINY} | values)
    for word in words:
        assert word in str(caught.value)


def test_deep_pictures_from_memory_to_verdict(tmp_path):
    rng = np.random.default_rng(0)
    pictures = rng.integers(200, 3000, (10, 40, 48)).astype(np.uint16)
    with pytest.warns(LimbeckWarning, match=r"2 calibration normals cannot promise .* 0.05: it is raised to 0.333"):
        detector = limbeck.fit(pictures, config=TINY, alpha=0.05, seed=2)
    assert detector.spec.maximum == 4095 and detector.alpha == pytest.approx(1 / 3)
    assert any("4095" in note for note in detector.card.notes)
    wanted = detector.detect(pictures[0])
    Image.fromarray(pictures[0]).save(tmp_path / "deep.png")
    assert detector.detect(tmp_path / "deep.png").score.tolist() == wanted.score.tolist()
    colour = pictures[0][..., None].repeat(3, 2)
    assert detector.detect(colour).score.tolist() == wanted.score.tolist()
    dimmed = detector.detect(pictures[0] // 2).score
    assert dimmed.tolist() != wanted.score.tolist(), "a picture is not stretched to its own range"
    bright = pictures[0].copy()
    bright[3, 4] = 4096
    with pytest.raises(InputError, match="above the model's range"):
        detector.detect(bright)
    with pytest.raises(InputError, match="8 bits"):
        detector.detect(np.zeros((40, 48), np.uint8))
    assert score(detector, tmp_path / "deep.png", tmp_path / "s.csv", maps=tmp_path / "maps") == 1
    assert decode(tmp_path / "maps" / "deep.png.png").shape == (40, 48, 3)
    detector.save(tmp_path / "deep.limbeck")
    assert "values up to 4,095" in (tmp_path / "deep.limbeck" / "README.md").read_text("utf-8")
    assert limbeck.load(tmp_path / "deep.limbeck").detect(pictures[0]).score.tolist() == wanted.score.tolist()
    labels = np.r_[np.zeros(5), np.ones(4), np.nan]
    measured = evaluate(detector, pictures, label=labels)
    assert measured.metrics["n"] == 9 and measured.metrics["n_anomalous"] == 4
    scores = detector.detect(pictures).score
    assert measured.metrics["auroc"] == pytest.approx(oracle.roc_auc_score(labels[:9], scores[:9]))
    with pytest.raises(InputError, match="labels are needed"):
        evaluate(detector, pictures)


# evaluate


def test_metrics_are_scikit_learns(picture_detector, evaluation, files, verdicts):
    y = np.array([p.label for p in files])
    assert evaluation.label.tolist() == y.tolist() and evaluation.score.tolist() == verdicts.score.tolist()
    m, s = evaluation.metrics, verdicts.score
    assert (m["n"], m["n_anomalous"]) == (15, 7)
    assert m["auroc"] == pytest.approx(oracle.roc_auc_score(y, s)) and m["auroc"] < 1, "some are missed"
    assert m["average_precision"] == pytest.approx(oracle.average_precision_score(y, s))
    assert m["f1_at_threshold"] == pytest.approx(oracle.f1_score(y, verdicts.is_anomaly))
    precision, recall, _ = oracle.precision_recall_curve(y, s)
    assert m["f1_max"] == pytest.approx((2 * precision * recall / np.maximum(precision + recall, 1e-9)).max())
    assert m["false_alarm_rate"] == pytest.approx(verdicts.is_anomaly[y == 0].mean())
    assert (m["threshold"], m["alpha"]) == (picture_detector.threshold, picture_detector.alpha)
    assert "brier" not in m and "ece" not in m and evaluation.probability is None
    assert evaluation.source == "parts" and evaluation.notes == ()


def nearest(mask, size):
    """Resize by the textbook: each pixel takes what lies under its centre."""
    y, x = (((np.arange(n) + 0.5) * m / n).astype(int) for n, m in zip(size, mask.shape, strict=True))
    return mask[np.ix_(y, x)]


def test_pixel_metrics_are_scikit_learns(parts, evaluation, files, verdicts):
    truth = []
    for picture in files:
        file = parts / "ground_truth" / picture.defect / f"{picture.path.stem}_mask.png"
        mask = decode(file) > 0 if picture.label else np.zeros((80, 96), bool)
        truth.append(nearest(mask, (64, 64)))
    y, s = np.stack(truth).ravel(), verdicts.map.ravel()
    m = evaluation.metrics
    assert np.array_equal(evaluation.pictures.masks, truth)
    assert np.array_equal(evaluation.pictures.maps, verdicts.map)
    assert m["pixel_auroc"] == pytest.approx(oracle.roc_auc_score(y, s))
    assert m["pixel_average_precision"] == pytest.approx(oracle.average_precision_score(y, s))
    assert {"pixel_f1_max", "aupro_30", "aupro_05"} <= set(m)
    assert 0 < m["aupro_05"] <= m["aupro_30"] <= 1


def test_without_masks_only_pictures_are_measured(picture_detector, parts, evaluation, copy):
    flat = evaluate(picture_detector, parts, masks=False)
    assert flat.metrics == {k: v for k, v in evaluation.metrics.items() if "pixel" not in k and "aupro" not in k}
    assert flat.pictures.masks is None
    shutil.rmtree(copy / "ground_truth")
    assert evaluate(picture_detector, copy).metrics == flat.metrics


def test_masks_that_do_not_pair_are_listed(picture_detector, copy):
    masks = copy / "ground_truth"
    (masks / "disc" / "000_mask.png").rename(masks / "disc" / "777_mask.png")
    (masks / "faint" / "001_mask.png").unlink()
    with pytest.raises(InputError) as caught:
        evaluate(picture_detector, copy)
    for word in ("picture without a mask: test/disc/000.png", "picture without a mask: test/faint/001.png",
                 "mask without a picture: ground_truth/disc/777_mask.png", "--no-masks", "masks=False"):  # fmt: skip
        assert word in str(caught.value)
    assert evaluate(picture_detector, copy, masks=False).metrics["n"] == 15


def test_defects_without_masks_are_left_out_of_the_pixels(picture_detector, copy, evaluation, files, verdicts):
    shutil.rmtree(copy / "ground_truth" / "faint")
    measured = evaluate(picture_detector, copy)
    assert measured.notes == ("3 anomalous pictures have no mask: pixels are measured without them",)
    assert measured.metrics["n"] == 15 and measured.metrics["auroc"] == evaluation.metrics["auroc"]
    kept = np.array([p.defect != "faint" for p in files])
    y, s = evaluation.pictures.masks[kept].ravel(), verdicts.map[kept].ravel()
    assert measured.metrics["pixel_auroc"] == pytest.approx(oracle.roc_auc_score(y, s))


def test_masks_of_another_size_than_their_pictures(picture_detector, copy, evaluation):
    for i, file in enumerate((copy / "ground_truth").rglob("*.png")):
        mask = decode(file) > 0
        grown = mask.repeat(2 + i, 0).repeat(3, 1)
        Image.fromarray(grown.astype(np.uint8)).save(file)  # ones, as some have it, not 255
    assert evaluate(picture_detector, copy).metrics == evaluation.metrics


def test_masks_that_vanish_are_named(picture_detector, copy, tmp_path):
    """A defect of one pixel in a large mask is gone at the model's size; the picture still counts as anomalous."""
    masks = sorted((copy / "ground_truth").rglob("*.png"))
    for count in (1, len(masks)):
        for file in masks[:count]:
            dot = np.zeros((640, 640), np.uint8)
            dot[1, 1] = 255
            Image.fromarray(dot).save(file)
        measured = evaluate(picture_detector, copy)
        assert f"{count} masks vanish at 64 × 64 pixels" in measured.notes[0]
        assert measured.metrics["n_anomalous"] == len(masks)
        assert ("pixel_auroc" in measured.metrics) == (count < len(masks))


def test_pictures_for_a_model_of_rows_say_what_it_judges(detector, parts):
    for judge in (detector.detect, lambda x: evaluate(detector, x), lambda x: score(detector, x, "never.csv")):
        with pytest.raises(InputError, match="this model judges rows of a table"):
            judge(parts)


def test_damaged_pictures_in_an_evaluation(picture_detector, copy, verdicts, files):
    for kind in ("good", "disc", "faint"):
        (copy / "test" / kind / "000.png").write_text("no picture")
    with pytest.raises(InputError, match=r"disc/000.png is not a readable picture"):
        evaluate(picture_detector, copy)
    measured = evaluate(picture_detector, copy, on_corrupt="skip")
    kept = np.array([p.path.stem != "000" for p in files])
    assert measured.score.tolist() == pytest.approx(verdicts.score[kept].tolist(), abs=1e-6)
    assert measured.label.tolist() == [p.label for p in files if p.path.stem != "000"]
    assert [p.id for p in measured.pictures.pictures] == [p.id for p in files if p.path.stem != "000"]
    assert len(measured.pictures.maps) == len(measured.pictures.masks) == 12
    (note,) = measured.notes
    assert note.startswith("3 pictures could not be read") and "test/good/000.png" in note
    for file in (copy / "test").rglob("*.png"):
        file.write_text("no picture")
    with pytest.raises(InputError, match="no picture of copy can be read"):
        evaluate(picture_detector, copy, on_corrupt="skip")


def test_pictures_without_labels_or_of_one_kind(picture_detector, parts, copy):
    with pytest.raises(InputError, match="has a label"):
        evaluate(picture_detector, parts / "test" / "disc")
    for kind in ("disc", "faint"):
        shutil.rmtree(copy / "test" / kind)
    shutil.rmtree(copy / "ground_truth")
    with pytest.raises(InputError, match="only one class"):
        evaluate(picture_detector, copy)
    with pytest.raises(InputError, match="no label column"):
        evaluate(picture_detector, parts, label="bad")


def test_another_name_for_normal(picture_detector, copy, evaluation):
    (copy / "test" / "good").rename(copy / "test" / "fine")
    (copy / "train" / "fine").mkdir(parents=True)
    measured = evaluate(picture_detector, copy, normal="fine")
    assert measured.metrics["auroc"] == evaluation.metrics["auroc"] and measured.metrics["n"] == 15


# score


def read(path):
    return {".csv": pl.read_csv, ".parquet": pl.read_parquet, ".jsonl": pl.read_ndjson}[path.suffix](path)


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_results_are_a_row_for_each_picture(picture_detector, parts, tmp_path, suffix):
    seen = []
    count = score(picture_detector, parts, tmp_path / f"s{suffix}", on_step=seen.append)
    frame, found = read(tmp_path / f"s{suffix}"), find_pictures(parts).pictures
    assert count == frame.height == len(found) == 45
    assert frame.columns == ["id", "score", "p_value", "is_anomaly"]
    assert frame["id"].to_list() == [p.id for p in found] and frame["id"][0] == "test/disc/000.png"
    wanted = picture_detector.detect([p.path for p in found])
    np.testing.assert_allclose(frame["score"], wanted.score, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(frame["p_value"], wanted.p_value)
    assert frame["is_anomaly"].to_list() == wanted.is_anomaly.tolist()
    assert [s.done for s in seen] == sorted(s.done for s in seen) and (seen[-1].done, seen[-1].total) == (45, 45)
    assert [p.name for p in tmp_path.iterdir()] == [f"s{suffix}"]


def test_maps_have_their_pictures_own_size(picture_detector, copy, tmp_path):
    large = np.random.default_rng(0).integers(0, 256, (130, 70, 3), np.uint8)
    Image.fromarray(large).save(copy / "test" / "good" / "colour.jpg", quality=95)
    maps = tmp_path / "maps"
    count = score(picture_detector, copy / "test", tmp_path / "s.csv", maps=maps)
    assert count == 16
    found = find_pictures(copy / "test").pictures
    said = picture_detector.detect([p.path for p in found])
    written = {p.relative_to(maps).as_posix() for p in maps.rglob("*") if p.is_file()}
    assert written == {"README.txt"} | {p.id + s for p in found for s in (".png", ".tiff")}
    for picture, whole in zip(found, said.map, strict=True):
        decoded = decode(picture.path)
        with Image.open(maps / (picture.id + ".tiff")) as image:
            scores = np.asarray(image)
        assert scores.dtype == np.float32 and scores.shape == decoded.shape[:2]
        np.testing.assert_allclose(scores, resize_map(whole, decoded.shape[:2]), rtol=1e-5, atol=1e-6)
        shown = decode(maps / (picture.id + ".png"))
        assert shown.dtype == np.uint8 and shown.shape == (*decoded.shape[:2], 3)
        difference = abs(shown.astype(int) - overlay(decoded, whole, picture_detector.threshold))
        assert np.quantile(difference, 0.999) <= 1


def test_only_maps_of_ours_are_replaced(picture_detector, files, tmp_path):
    one, out, maps = files[0].path, tmp_path / "s.csv", tmp_path / "maps"
    mine = tmp_path / "holiday"
    mine.mkdir()
    (mine / "README.txt").write_text("My holiday pictures.")
    for values in ({}, {"overwrite": True}):
        with pytest.raises(OutputError, match="something else and is not replaced"):
            score(picture_detector, one, out, maps=mine, **values)
    assert [p.name for p in mine.iterdir()] == ["README.txt"] and not out.exists()
    (mine / "README.txt").unlink()
    with pytest.raises(OutputError, match="not replaced"):
        score(picture_detector, one, out, maps=mine, overwrite=True)
    score(picture_detector, one, out, maps=maps)
    with pytest.raises(OutputError, match="exists"):
        score(picture_detector, one, tmp_path / "t.csv", maps=maps)
    with pytest.raises(OutputError, match="exists"):
        score(picture_detector, one, out)
    (maps / "old.png").touch()
    score(picture_detector, files[1].path, out, maps=maps, overwrite=True)
    assert sorted(p.name for p in maps.iterdir()) == ["001.png.png", "001.png.tiff", "README.txt"]
    with pytest.raises(OutputError, match="source of the data"):
        score(picture_detector, maps, out, maps=maps, overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["holiday", "maps", "s.csv"]


def test_results_are_whole_or_not_there(picture_detector, parts, tmp_path, monkeypatch):
    from limbeck import batch_pictures

    monkeypatch.setattr(batch_pictures, "BATCH", 4)
    write, written = batch_pictures._write_map, []

    def fails(folder, picture, *rest):
        written.append(picture.id)
        if len(written) == 7:
            raise OSError(28, "No space left on device")
        write(folder, picture, *rest)

    monkeypatch.setattr(batch_pictures, "_write_map", fails)
    with pytest.raises(OutputError, match="No space left"):
        score(picture_detector, parts / "test", tmp_path / "s.csv", maps=tmp_path / "maps")
    assert len(written) == 7 and not any(tmp_path.iterdir())


def test_what_was_there_stays_when_a_replacement_fails(picture_detector, copy, tmp_path):
    out, maps = tmp_path / "s.csv", tmp_path / "maps"
    score(picture_detector, copy / "test", out, maps=maps)
    before = {p: p.read_bytes() for p in (out, *maps.rglob("*.tiff"))}
    (copy / "test" / "good" / "007.png").write_text("no picture")
    with pytest.raises(InputError, match="007.png"):
        score(picture_detector, copy / "test", out, maps=maps, overwrite=True)
    assert {p: p.read_bytes() for p in (out, *maps.rglob("*.tiff"))} == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["copy", "maps", "s.csv"]


def test_damaged_pictures_are_skipped_and_said(picture_detector, copy, tmp_path):
    (copy / "test" / "good" / "003.png").write_text("no picture")
    with pytest.warns(LimbeckWarning, match="1 pictures cannot be read: good/003.png"):
        count = score(picture_detector, copy / "test", tmp_path / "s.parquet", maps=tmp_path / "m", on_corrupt="skip")
    frame = pl.read_parquet(tmp_path / "s.parquet")
    assert count == frame.height == 14 and "good/003.png" not in frame["id"].to_list()
    assert len([*(tmp_path / "m").rglob("*.tiff")]) == 14
    for file in (copy / "test").rglob("*.png"):
        file.write_text("no picture")
    with pytest.warns(LimbeckWarning, match="15 pictures cannot be read"):
        assert score(picture_detector, copy / "test", tmp_path / "none.parquet", on_corrupt="skip") == 0
    assert pl.read_parquet(tmp_path / "none.parquet").schema == frame.schema


def test_maps_of_pictures_above_a_list_stay_inside_the_folder(picture_detector, files, tmp_path):
    for name in ("a/x.png", "b/x.png", "x.png", "lists/x.png"):
        drawn(tmp_path, name, decode(files[len(name)].path))
    (tmp_path / "lists" / "parts.txt").write_text("../a/x.png\n../b/x.png\n../x.png\nx.png\n")
    out, maps = tmp_path / "out" / "s.csv", tmp_path / "out" / "maps"
    out.parent.mkdir()
    assert score(picture_detector, tmp_path / "lists" / "parts.txt", out, maps=maps) == 4
    assert pl.read_csv(out)["id"].to_list() == ["../a/x.png", "../b/x.png", "../x.png", "x.png"]
    assert sorted(p.name for p in out.parent.iterdir()) == ["maps", "s.csv"]
    assert len([*maps.rglob("*.tiff")]) == 4, "none replaced another"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "lists", "out", "x.png"]


# report


def figures(page):
    """Return verdict, id and pictures of each figure of the gallery."""
    found = []
    for body in re.findall(r"<figure>(.*?)</figure>", page.split('class="gallery"')[1], re.DOTALL):
        what, rest = re.search(r"<strong>(.*?)</strong> (.*?)</figcaption>", body, re.DOTALL).groups()
        sources = re.findall(r'<img src="data:image/jpeg;base64,([^"]*)" alt="([^"]*)"', body)
        images = {alt: Image.open(io.BytesIO(base64.b64decode(data, validate=True))) for data, alt in sources}
        found.append((unescape(what), unescape(rest).split(", score")[0], images))
    return found


def test_a_report_shows_the_worst_first(picture_detector, evaluation, tmp_path):
    t = picture_detector.threshold
    labels = evaluation.label.tolist()
    good, bad = ([i for i, y in enumerate(labels) if y == k] for k in (0, 1))
    scores = np.full(15, t, np.float32)
    scores[good] = t - np.linspace(0.5, 1.2, len(good))  # rightly passed
    scores[bad] = t + np.linspace(0.43, 1.16, len(bad))  # found
    scores[bad[2]], scores[bad[5]] = t - 0.9, t - 0.1  # missed
    scores[good[1]] = t + 0.3  # a false alarm
    forged = dataclasses.replace(evaluation, score=scores)
    report(picture_detector, tmp_path / "r.html", evaluation=forged)
    page = (tmp_path / "r.html").read_text("utf-8")
    shown = figures(page)
    ids = [p.id for p in evaluation.pictures.pictures]
    margin = np.where(np.array(labels) == 1, t - scores, scores - t)
    assert [name for _, name, _ in shown] == [ids[i] for i in np.argsort(-margin)]
    assert [what.split(":")[0] for what, *_ in shown[:4]] == ["missed", "false alarm", "missed", "found"]
    assert shown[0][0] == "missed: disc" and shown[2][0].startswith("missed: faint")
    assert {what for what, *_ in shown[4:]} == {"found: disc", "found: faint", "rightly passed"}
    for what, name, images in shown:
        assert ("mask" in images) == ("good" not in name) and {"picture", "anomaly map"} <= set(images), what
        for image in images.values():
            image.load()
        assert images["picture"].size == (96, 80)
    assert (
        "How much of each defect is found" in page and "<script" not in page and "http://" not in page.split("<svg")[0]
    )


def test_pictures_in_a_report_are_what_they_say(picture_detector, evaluation, files):
    for shown in gallery(picture_detector, evaluation):
        i = [p.id for p in files].index(shown["id"])
        picture, whole, mask = (
            np.asarray(Image.open(io.BytesIO(base64.b64decode(shown[k].split(",")[1]))), float) if shown[k] else None
            for k in ("picture", "map", "mask")
        )
        decoded = decode(files[i].path)
        assert abs(picture - decoded).mean() < 4
        assert abs(whole - overlay(decoded, evaluation.pictures.maps[i], picture_detector.threshold)).mean() < 8
        assert (mask is None) == (files[i].label == 0)
        if mask is not None:
            assert np.array_equal(mask > 127, evaluation.pictures.masks[i])


def only(evaluation, places):
    """Return an evaluation of some of the pictures, however often each."""
    shown = evaluation.pictures
    some = dataclasses.replace(
        shown, pictures=tuple(shown.pictures[i] for i in places), maps=shown.maps[places], masks=shown.masks[places]
    )
    return dataclasses.replace(
        evaluation, label=evaluation.label[places], score=evaluation.score[places], pictures=some
    )


def test_a_gallery_is_of_bounded_size(picture_detector, evaluation):
    assert len(gallery(picture_detector, only(evaluation, [*range(15)] * 4))) == MOST < 60


def test_a_picture_that_is_gone_since_is_grey(picture_detector, copy):
    measured = evaluate(picture_detector, copy)
    shutil.rmtree(copy / "test")
    shown = gallery(picture_detector, measured)
    assert len(shown) == 15
    grey = np.asarray(Image.open(io.BytesIO(base64.b64decode(shown[0]["picture"].split(",")[1]))))
    assert abs(grey.astype(int) - 128).max() <= 1


def test_large_and_deep_pictures_are_made_small(picture_detector, evaluation, tmp_path):
    deep = np.linspace(1000, 3000, 900 * 600).reshape(900, 600).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    one = only(evaluation, [0])
    first = dataclasses.replace(one.pictures.pictures[0], path=tmp_path / "deep.png")
    one = dataclasses.replace(one, pictures=dataclasses.replace(one.pictures, pictures=(first,)))
    (shown,) = gallery(picture_detector, one)
    small = np.asarray(Image.open(io.BytesIO(base64.b64decode(shown["picture"].split(",")[1]))), float)
    assert small.shape[0] <= 224 and small.shape[1] / small.shape[0] == pytest.approx(2 / 3, abs=0.01)
    assert small[0].mean() < 8 and small[-1].mean() > 247, "from its darkest to its lightest"
    assert len(shown["picture"]) < 60_000


def test_the_curve_of_regions_is_the_metrics(evaluation):
    fpr, overlap = curve_of_regions(evaluation.pictures)
    assert fpr[0] == 0 and fpr[-1] == 0.3 and (np.diff(overlap) >= 0).all()
    assert np.trapezoid(overlap, fpr) / 0.3 == pytest.approx(evaluation.metrics["aupro_30"], abs=2e-3)
    assert curve_of_regions(dataclasses.replace(evaluation.pictures, masks=None)) is None


def test_a_report_without_masks_or_without_pictures(picture_detector, parts, tmp_path):
    report(picture_detector, tmp_path / "flat.html", evaluation=evaluate(picture_detector, parts, masks=False))
    page = (tmp_path / "flat.html").read_text("utf-8")
    assert "How much of each defect" not in page and 'alt="mask"' not in page and page.count('alt="anomaly map"') == 15
    report(picture_detector, tmp_path / "card.html")
    card = (tmp_path / "card.html").read_text("utf-8")
    assert "data:image" not in card and "30 pictures" in card and "Columns" not in card
    other = picture_detector.with_alpha(0.3)
    with pytest.raises(InputError, match="another detector"):
        report(other, tmp_path / "x.html", evaluation=evaluate(picture_detector, parts))
