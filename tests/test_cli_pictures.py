"""The command line on pictures: the promise that scripts rely on, and one clear error for each mistake."""

import dataclasses
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from limbeck.image import pretrained
from limbeck.image.config import CompactConfig, ResidualAttentionConfig, ReverseDistillationConfig
from limbeck.image.features import Features
from limbeck.image.pretrained import PRETRAINED, load_weights

SMALL = (
    *("--set", "backbone=resnet18"), *("--set", "weights=random"), *("--set", "taps=layer1"), *("--set", "size=64"),
    *("--set", "batch=4"), *("--set", "footing=quantile"),
)  # fmt: skip
FAST = (*SMALL, "--set", "blocks=1,1")
METRICS = {
    "n", "n_anomalous", "auroc", "average_precision", "f1_max", "f1_at_threshold", "recall_at_1pct_fpr", "threshold",
    "alpha", "false_alarm_rate", "pixel_auroc", "pixel_average_precision", "pixel_f1_max", "aupro_30", "aupro_05",
}  # fmt: skip


def command(*arguments):
    return [sys.executable, "-m", "limbeck.cli", *map(str, arguments)]


def surroundings(**values):
    """Return an environment in which torch adds up in the same order as here."""
    return os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())} | values


@pytest.fixture
def no_learning(monkeypatch):
    """Whatever is refused is refused before anything is learned."""

    def fill(self):
        raise AssertionError("it began to learn")

    monkeypatch.setattr(Features, "fill", fill)


def refused(result, *words):
    """One message, no traceback, and the words that a user needs."""
    said = result.stderr + result.stdout
    assert result.returncode == 1, said
    assert "Traceback" not in said
    assert result.stderr.count("error:") == 1, said
    for word in words:
        assert word in result.stderr, f"{word!r} not in {result.stderr}"


def fits(result):
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr and "error" not in result.stderr


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def drawn(file, array=None):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((20, 24), np.uint8) if array is None else array).save(file)
    return file


@pytest.fixture
def copy(parts, tmp_path):
    """A copy of the test split that a test may spoil."""
    folder = tmp_path / "copy"
    for name in ("test", "ground_truth"):
        shutil.copytree(parts / name, folder / name)
    return folder


@pytest.fixture
def out(tmp_path):
    """A folder of its own for what commands write."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


# the promise


def test_the_whole_story(run, parts, tmp_path, out):
    """Pictures of mixed sizes and modes, one of them damaged, with masks of another size: learned in a process."""
    source = tmp_path / "mixed"
    shutil.copytree(parts, source)
    good = sorted((source / "train" / "good").iterdir())
    for file in good[:3]:
        with Image.open(file) as image:
            image.convert("RGBA").resize((50, 40)).save(file)
    for file in good[3:6]:
        with Image.open(file) as image:
            image.convert("RGB").save(file.with_suffix(".jpg"))
        file.unlink()
    good[6].write_text("no picture")
    for file in (source / "ground_truth").rglob("*.png"):
        with Image.open(file) as image:
            image.resize((192, 160), Image.Resampling.NEAREST).save(file)
    package = out / "parts.limbeck"
    arguments = ("fit", source, "--out", package, "--alpha", "0.2", "--set", "steps=20", *FAST)
    refused(run(*arguments), "006.png is not a readable picture", "no picture that is known", "take it out")
    assert names(out) == []
    fitted = subprocess.run(
        command(*arguments, "--corrupt", "skip"), capture_output=True, text=True, timeout=300, env=surroundings()
    )
    fits(fitted)
    notes = [line.removeprefix("note: ") for line in fitted.stderr.splitlines() if line.startswith("note: ")]
    assert "1 of 30 pictures cannot be read and were left out: train/good/006.png" in notes
    assert "mixed sizes: 40x50 to 80x96 (height x width)" in notes
    assert "3 of 29 pictures carry an alpha channel, which is dropped" in notes
    assert "15 pictures of the test split were not learned from" in notes
    assert len(notes) == len(set(notes))
    assert "takes     pictures of 8 bit, resized to 64 × 64" in fitted.stdout
    assert "for a false-alarm rate of 0.2 (5 calibration normals)" in fitted.stdout
    assert names(out) == ["parts.limbeck"]
    assert {"manifest.json", "model.onnx", "calibration.safetensors", "README.md"} <= set(names(package))

    fits(run("score", package, source / "test", "--out", out / "s.parquet", "--maps", out / "maps"))
    frame = pl.read_parquet(out / "s.parquet")
    assert frame.columns == ["id", "score", "p_value", "is_anomaly"] and frame.height == 15
    assert len([*(out / "maps").rglob("*.tiff")]) == 15

    judged = run("evaluate", package, source, "--json", out / "m.json", "--report", out / "r.html")
    fits(judged)
    metrics = json.loads((out / "m.json").read_text())
    assert set(metrics) == METRICS and (metrics["n"], metrics["n_anomalous"]) == (15, 7)
    from sklearn.metrics import roc_auc_score

    labels = ["good" not in name for name in frame["id"]]
    assert metrics["auroc"] == pytest.approx(roc_auc_score(labels, frame["score"].to_numpy()))
    original = run("evaluate", package, parts, "--json", out / "o.json")
    fits(original)
    assert json.loads((out / "o.json").read_text()) == metrics, "masks are resized by nearest neighbour"
    assert (out / "r.html").read_text("utf-8").count("data:image/jpeg") == 15 + 15 + 7

    fits(run("evaluate", package, source, "--no-masks", "--json", out / "flat.json"))
    assert set(json.loads((out / "flat.json").read_text())) == {
        k for k in METRICS if "pixel" not in k and "aupro" not in k
    }
    fits(run("report", package, source, "--out", out / "again.html"))
    assert (out / "again.html").read_bytes() == (out / "r.html").read_bytes()
    fits(run("report", package, "--out", out / "card.html"))
    inspected = run("inspect", package)
    fits(inspected)
    assert "reverse-distillation" in inspected.stdout and "resized to 64 × 64; values up to 255" in inspected.stdout
    facts = json.loads(run("inspect", package, "--json").stdout)
    assert facts["input"] == {"height": 64, "width": 64, "maximum": 255, "kind": "pictures"} and facts["n_items"] == 29


@pytest.mark.parametrize(
    "method",
    [
        ("--method", "reverse-distillation", "--set", "dropout=0.2", "--set", "blocks=1,1"),
        ("--method", "residual-attention", "--set", "rate=0.05"),
        ("--method", "cross-domain", "--set", "dropout=0.2", "--set", "blocks=1,1", "--set", "domains=2"),
    ],
    ids=lambda method: method[1],
)
def test_a_killed_run_goes_on_to_the_same_bytes(run, parts, tmp_path, out, monkeypatch, method):
    steps = 24
    package, work = out / "x.limbeck", out / ".x.limbeck.work"
    arguments = ("fit", parts, *method, "--alpha", "0.2", "--set", "checkpoint=0", "--set", f"steps={steps}",
                 "--seed", "5", *SMALL)  # fmt: skip
    with (tmp_path / "said").open("w") as said:
        process = subprocess.Popen(command(*arguments, "--out", package), env=surroundings(), stdout=said, stderr=said)
        deadline = time.monotonic() + 120
        while not (found := [*work.glob("*/checkpoint.pt")]):
            assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "said").read_text()
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert names(out) == [".x.limbeck.work"], "no half-written package"
    state = torch.load(found[0], weights_only=True)
    done = len(state["losses"])  # none yet, where students of domains learn first
    assert 0 < done + state.get("taught", 0) < steps

    from limbeck.image import course
    from limbeck.image import train as loop

    begun, batches = [], loop.batches

    def spy(n, size, steps, seed, first=0):
        begun.append(first)
        return batches(n, size, steps, seed, first)

    for module in (loop, course):
        monkeypatch.setattr(module, "batches", spy)
    fits(run(*arguments, "--out", package, "--resume"))
    fits(run(*arguments, "--out", out / "whole.limbeck"))
    assert begun == [done, 0]
    for file in ("model.onnx", "calibration.safetensors", "training/curves.json"):
        assert (package / file).read_bytes() == (out / "whole.limbeck" / file).read_bytes()
    assert names(out) == ["whole.limbeck", "x.limbeck"]


def test_a_full_disk_is_one_clear_error(parts, out):
    def little_room():
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    result = subprocess.run(
        command("fit", parts, "--out", out / "x.limbeck", *FAST),
        capture_output=True, text=True, timeout=300, preexec_fn=little_room, env=surroundings(),
    )  # fmt: skip
    refused(result, "features of 24 pictures cannot be written", "0.00 GB of room", "File too large", "cache_gb=0")
    assert [p.name for p in out.iterdir() if not p.name.endswith(".work")] == []


def test_results_are_the_same_in_every_format(run, picture_package, parts, out):
    frames = []
    for suffix, read in ((".csv", pl.read_csv), (".parquet", pl.read_parquet), (".jsonl", pl.read_ndjson)):
        fits(run("score", picture_package, parts / "test", "--out", out / f"s{suffix}"))
        frames.append(read(out / f"s{suffix}"))
    for frame in frames[1:]:
        assert frame["id"].to_list() == frames[0]["id"].to_list()
        np.testing.assert_allclose(frame["score"], frames[0]["score"], rtol=1e-6)
    assert frames[0]["id"][0] == "disc/000.png"


def test_methods_and_fields(run):
    listed = json.loads(run("methods", "--json").stdout)
    assert [row["method"] for row in listed if row["source"] == "pictures"] == [
        "reverse-distillation", "residual-attention", "compact", "cross-domain"
    ]  # fmt: skip
    for name, wanted in (
        ("reverse-distillation", ReverseDistillationConfig),
        ("residual-attention", ResidualAttentionConfig),
        ("compact", CompactConfig),
    ):
        rows = json.loads(run("methods", name, "--json").stdout)
        assert [row["field"] for row in rows] == [f.name for f in dataclasses.fields(wanted)]
        assert all(row["meaning"] for row in rows)


# mistakes in fitting


def test_folders_with_too_little_in_them(run, no_learning, tmp_path, out):
    (tmp_path / "empty").mkdir()
    (tmp_path / "wrong").mkdir()
    (tmp_path / "wrong" / "a.gif").touch()
    for name, got in (("empty", "got: no files"), ("wrong", "got: 1 file: .gif")):
        for more in ((), FAST, ("--method", "reverse-distillation", *FAST)):
            result = run("fit", tmp_path / name, "--out", out / "x.limbeck", *more)
            refused(result, f"nothing to learn from in the folder {name}", ".png", "Parquet or CSV", got)
    drawn(tmp_path / "one" / "a.png")
    refused(
        run("fit", tmp_path / "one", "--out", out / "x.limbeck", *FAST), "too few good pictures in one", "at least 2"
    )
    refused(run("fit", tmp_path / "nowhere.png", "--out", out / "x.limbeck", *FAST), "nowhere.png")
    drawn(tmp_path / "bad" / "train" / "good" / "a.png")
    drawn(tmp_path / "bad" / "train" / "b.png")
    refused(run("fit", tmp_path / "bad", "--out", out / "x.limbeck", *FAST), "train/b.png", "beside the folders")
    drawn(tmp_path / "several" / "screw" / "train" / "good" / "a.png")
    drawn(tmp_path / "several" / "pill" / "train" / "good" / "a.png")
    refused(run("fit", tmp_path / "several", "--out", out / "x.limbeck", *FAST), "several categories", "pill, screw")
    (tmp_path / "list.txt").write_text("a.png\nb.png\n")
    refused(run("fit", tmp_path / "list.txt", "--out", out / "x.limbeck", *FAST), "2 lines of list.txt", "missing")
    assert names(out) == []


def test_files_that_are_no_pictures(run, no_learning, tmp_path, out):
    folder = tmp_path / "pictures"
    for name in "ab":
        drawn(folder / f"{name}.png")
    (folder / "c.png").write_text("no picture")
    refused(run("fit", folder, "--out", out / "x.limbeck", *FAST), "c.png is not a readable picture", "copy the file")
    Image.fromarray(np.zeros((8, 8), np.uint16) + 900).save(folder / "c.png")
    refused(run("fit", folder, "--out", out / "x.limbeck", *FAST), "differ in depth", "2 of 8 bits and 1 of 16 bits")
    Image.fromarray(np.zeros((8, 8), np.float32)).save(folder / "c.tiff")
    (folder / "c.png").unlink()
    refused(run("fit", folder, "--out", out / "x.limbeck", *FAST), "c.tiff cannot be used", "floating-point")
    assert names(out) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--set", "size=100"), ("'size'", "multiple of", "--set size=")),
        (("--set", "size=8"), ("'size'", "32 to 2048")),
        (("--set", "backbone=resnet19"), ("'resnet19'", "resnet18")),
        (("--set", "taps=layer7"), ("layer7",)),
        (("--set", "blocks=1"), ("'blocks'",)),
        (("--set", "loss=l3"), ("'loss'", "global")),
        (("--set", "tops=1"), ("'tops'", "limbeck methods")),
        (("--set", "weights=none.pth"), ("none.pth", "No such file", "check the path")),
        (("--label", "bad"), ("no label column", "--normal FOLDER")),
        (("--id", "serial"), ("no columns", "serial")),
        (("--ignore", "serial"), ("no columns", "serial")),
        (("--normal", "fine"), ("'fine'",)),
        (("--alpha", "2"), ("alpha",)),
    ],
)
def test_mistakes_in_the_arguments(run, no_learning, parts, out, arguments, words):
    refused(run("fit", parts, "--out", out / "x.limbeck", *FAST, *arguments), *words)
    assert names(out) == []


def test_a_method_for_another_kind_of_source(run, no_learning, parts, test_rows, tmp_path, out):
    result = run("fit", parts, "--method", "multi-teacher", "--out", out / "x.limbeck")
    refused(result, "'multi-teacher'", "got: pictures", "'reverse-distillation' is taken")
    test_rows.head(50).write_parquet(tmp_path / "rows.parquet")
    result = run(
        "fit", tmp_path / "rows.parquet", "--method", "reverse-distillation", "--out", out / "x.limbeck", *FAST
    )
    refused(result, "'reverse-distillation'", "got: a table", "'committee' is taken")
    assert names(out) == []


def test_weights_of_another_network(run, no_learning, parts, tmp_path, out):
    state, _ = load_weights("vgg16", "random")
    torch.save(state, tmp_path / "vgg.pth")
    result = run("fit", parts, "--out", out / "x.limbeck", *FAST, "--set", f"weights={tmp_path / 'vgg.pth'}")
    refused(result, "vgg.pth does not hold the weights of resnet18", "weights of vgg16: choose that backbone")
    (tmp_path / "text.pth").write_text("no weights")
    result = run("fit", parts, "--out", out / "x.limbeck", *FAST, "--set", f"weights={tmp_path / 'text.pth'}")
    refused(result, "text.pth cannot be read as weights")
    assert names(out) == []


@pytest.mark.parametrize("backbone", ["resnet18", ReverseDistillationConfig().backbone])
def test_no_weights_and_no_network(run, no_learning, parts, tmp_path, out, monkeypatch, backbone):
    cut_off = {"package": "limbeck_weights_that_nobody_has", "url": "http://127.0.0.1:9/weights.pth"}
    entry = PRETRAINED[backbone]
    cut_off = {k: v if getattr(entry, k) else "" for k, v in cut_off.items()}
    monkeypatch.setitem(PRETRAINED, backbone, dataclasses.replace(entry, **cut_off))
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    result = run("fit", parts, "--out", out / "x.limbeck", "--set", f"backbone={backbone}")
    refused(
        result,
        f"the weights of {backbone} are not there",
        "1. ",
        "2. --set weights=FILE",
        "3. on a machine with network",
    )
    assert "limbeck[weights]" in result.stderr and str(tmp_path / "cache") in result.stderr
    assert names(out) == [] and not [*tmp_path.glob("cache/*")]


def test_a_download_that_finds_no_room(run, no_learning, parts, tmp_path, out, monkeypatch):
    """The cache of weights is a file where a folder should be."""
    (tmp_path / "cache").write_text("")
    served = tmp_path / "served.pth"
    served.write_bytes(b"weights")
    entry = dataclasses.replace(PRETRAINED["resnet18"], package="", url=served.as_uri())
    monkeypatch.setitem(PRETRAINED, "resnet18", entry)
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))
    refused(run("fit", parts, "--out", out / "x.limbeck", *FAST, "--set", "weights="), entry.file_name)
    assert names(out) == [] and pretrained.cache_folder().is_file()


def test_an_existing_package_is_replaced_only_when_asked(run, no_learning, parts, picture_package, out):
    shutil.copytree(picture_package, out / "x.limbeck")
    before = (out / "x.limbeck" / "manifest.json").read_bytes()
    refused(run("fit", parts, "--out", out / "x.limbeck", *FAST), "exists", "--overwrite")
    refused(run("fit", parts, "--out", out / "x.limbeck", "--overwrite", *FAST, "--set", "size=100"), "'size'")
    assert (out / "x.limbeck" / "manifest.json").read_bytes() == before and names(out) == ["x.limbeck"]


# mistakes in judging


def test_a_damaged_picture_among_those_to_judge(run, picture_package, copy, out):
    (copy / "test" / "good" / "004.png").write_text("no picture")
    for arguments in (
        ("score", picture_package, copy / "test", "--out", out / "s.csv", "--maps", out / "maps"),
        ("evaluate", picture_package, copy, "--json", out / "m.json", "--report", out / "r.html"),
        ("report", picture_package, copy, "--out", out / "r.html"),
    ):
        refused(run(*arguments), "004.png is not a readable picture", "copy the file again")
        assert names(out) == []
    scored = run(
        "score", picture_package, copy / "test", "--out", out / "s.csv", "--maps", out / "maps", "--corrupt", "skip"
    )
    fits(scored)
    assert "note: 1 pictures cannot be read: good/004.png" in scored.stderr and "14 pictures scored" in scored.stdout
    judged = run("evaluate", picture_package, copy, "--json", out / "m.json", "--corrupt", "skip")
    fits(judged)
    assert "note: 1 pictures could not be read: test/good/004.png" in judged.stderr
    assert json.loads((out / "m.json").read_text())["n"] == 14


def test_pictures_that_nothing_can_be_measured_on(run, picture_package, parts, copy, out):
    for source, words in (
        (parts / "test" / "disc", ("no picture of disc has a label", "--normal FOLDER")),
        (parts / "test" / "disc" / "000.png", ("no picture of 000.png has a label",)),
        (parts / "nowhere", ("nowhere",)),
        (parts / "train", ("only one class",)),
    ):
        for arguments in (
            ("evaluate", picture_package, source, "--json"),
            ("report", picture_package, source, "--out"),
        ):
            refused(run(*arguments, out / "r"), *words)
    (copy / "ground_truth" / "disc" / "002_mask.png").unlink()
    refused(
        run("evaluate", picture_package, copy, "--json", out / "r"), "without a mask: test/disc/002.png", "--no-masks"
    )
    refused(run("evaluate", picture_package, parts, "--label", "bad"), "no label column")
    assert names(out) == []
    fits(run("evaluate", picture_package, copy, "--no-masks"))


def test_rows_for_pictures_and_pictures_for_rows(run, package, picture_package, parts, test_rows, tmp_path, out):
    rows = tmp_path / "rows.parquet"
    test_rows.head(100).write_parquet(rows)
    (tmp_path / "pieces").mkdir()
    shutil.copy(rows, tmp_path / "pieces" / "a.parquet")
    for model, sources, word in (
        (picture_package, (rows, tmp_path / "pieces"), "picture"),
        (package, (parts, parts / "test" / "good" / "000.png"), "table"),
    ):
        for source in sources:
            for arguments in (("score", model, source, "--out", out / "s.csv"),
                              ("evaluate", model, source, "--json", out / "m.json"),
                              ("report", model, source, "--out", out / "r.html")):  # fmt: skip
                refused(run(*arguments), word)
    refused(run("score", package, rows, "--out", out / "s.csv", "--maps", out / "maps"), "rows have no maps")
    assert names(out) == []


def test_places_that_are_taken(run, picture_package, parts, out):
    (out / "maps").mkdir()
    (out / "maps" / "README.txt").write_text("Mine.")
    arguments = ("score", picture_package, parts / "test", "--out", out / "s.csv", "--maps", out / "maps")
    for more in ((), ("--overwrite",)):
        refused(run(*arguments, *more), "something else and is not replaced")
    assert names(out) == ["maps"] and names(out / "maps") == ["README.txt"]
    refused(run("score", picture_package, parts, "--out", out / "s.xlsx"), ".parquet, .csv, .jsonl")
    refused(run("score", picture_package, parts, "--out", picture_package / "s.csv"), "inside a package")
