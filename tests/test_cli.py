"""The command line as a stranger uses it: the promise that scripts rely on, and one clear error for each mistake."""

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

from limbeck.data.transactions import transactions
from limbeck.tabular.config import ROLES

FAST = (
    "--set",
    "resamplers=none",
    "--set",
    "folds=2",
    "--set",
    "trees=10",
    "--set",
    "steps=40",
    "--set",
    "refit_below=0",
    "--set",
    "measurements=1",
)
METRICS = {
    "n", "n_anomalous", "auroc", "average_precision", "f1_max", "f1_at_threshold", "recall_at_1pct_fpr", "threshold",
    "alpha", "false_alarm_rate", "brier", "ece",
}  # fmt: skip


def limbeck(*arguments, cwd=None):
    """Run a command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "limbeck.cli", *map(str, arguments)],
        cwd=cwd, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def refused(result, *words):
    """One message, no traceback, and the words that a user needs."""
    said = result.stderr + result.stdout
    assert result.returncode == 1, said
    assert "Traceback" not in said
    assert result.stderr.count("error:") == 1, said
    for word in words:
        assert word in result.stderr, f"{word!r} not in {result.stderr}"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    transactions(1500, rate=0.04, seed=0).write_parquet(folder / "train.parquet")
    transactions(1000, rate=0.04, seed=1).write_parquet(folder / "test.parquet")
    transactions(1000, rate=0.04, seed=1).write_csv(folder / "test.csv")
    return folder


# the promise


def test_the_whole_story_in_processes(files, tmp_path):
    package = tmp_path / "tx.limbeck"
    fitted = limbeck("fit", files / "train.parquet", "--label", "fraud", "--out", package, "--alpha", "0.05", *FAST)
    assert fitted.returncode == 0, fitted.stderr
    for name in ("manifest.json", "weights.safetensors", "model.onnx", "calibration.safetensors", "README.md"):
        assert (package / name).is_file()
    assert not list(tmp_path.glob(".*")), "nothing hidden is left"
    assert all(word in fitted.stdout for word in (*ROLES, "(shipped)", "committee of 1", "threshold"))

    scored = limbeck("score", package, files / "test.csv", "--out", tmp_path / "s.parquet")
    assert scored.returncode == 0, scored.stderr
    frame = pl.read_parquet(tmp_path / "s.parquet")
    assert frame.columns == ["id", "score", "p_value", "is_anomaly", "probability"]
    assert frame["id"].to_list() == list(range(1000))

    judged = limbeck("evaluate", package, files / "test.parquet", "--json", tmp_path / "m.json", "--report",
                     tmp_path / "r.html")  # fmt: skip
    assert judged.returncode == 0, judged.stderr
    metrics = json.loads((tmp_path / "m.json").read_text())
    assert set(metrics) == METRICS
    assert metrics["n"] == 1000 and metrics["n_anomalous"] == 40
    labels = pl.read_parquet(files / "test.parquet")["fraud"].to_numpy()
    from sklearn.metrics import roc_auc_score

    assert metrics["auroc"] == pytest.approx(roc_auc_score(labels, frame["score"].to_numpy()))
    assert metrics["false_alarm_rate"] == pytest.approx(frame["is_anomaly"].to_numpy()[labels == 0].mean())
    assert (tmp_path / "r.html").read_text().startswith("<!")

    assert limbeck("report", package, "--out", tmp_path / "card.html").returncode == 0
    assert "amount" in limbeck("inspect", package).stdout
    assert json.loads(limbeck("inspect", package, "--json").stdout)["method"] == "multi-teacher"


def test_results_are_the_same_in_every_format(run, package, files, tmp_path):
    frames = []
    for suffix, read in ((".parquet", pl.read_parquet), (".csv", pl.read_csv), (".jsonl", pl.read_ndjson)):
        out = tmp_path / f"s{suffix}"
        assert run("score", package, files / "test.parquet", "--out", out).returncode == 0
        frames.append(read(out))
    for frame in frames[1:]:
        assert frame.columns == frames[0].columns
        np.testing.assert_allclose(frame["score"], frames[0]["score"], rtol=1e-6)
        assert frame["is_anomaly"].to_list() == frames[0]["is_anomaly"].to_list()


def test_an_id_column_names_the_rows(run, package, files, tmp_path):
    table = pl.read_parquet(files / "test.parquet").with_columns(tx=pl.format("t{}", pl.int_range(1000)))
    table.write_csv(tmp_path / "named.csv")
    assert run("score", package, tmp_path / "named.csv", "--id", "tx", "--out", tmp_path / "s.csv").returncode == 0
    assert pl.read_csv(tmp_path / "s.csv")["id"][:2].to_list() == ["t0", "t1"]


def test_config_file_and_set(run, files, tmp_path):
    preset = 'resamplers = ["none", "rus"]\ntrees = 10\nfolds = 2\nsteps = 40\nrefit_below = 0\n'
    (tmp_path / "c.toml").write_text(preset)
    out = tmp_path / "a.limbeck"
    got = run("fit", files / "train.parquet", "--label", "fraud", "--out", out, "--config", tmp_path / "c.toml",
              "--set", "student=nano", "--alpha", "0.05")  # fmt: skip
    assert got.returncode == 0, got.stderr
    config = json.loads((out / "manifest.json").read_text())["config"]
    assert config["student"] == "nano" and config["resamplers"] == ["none", "rus"] and config["trees"] == 10


def test_same_seed_same_package(run, files, tmp_path):
    for name in ("a", "b"):
        got = run("fit", files / "train.parquet", "--label", "fraud", "--out", tmp_path / f"{name}.limbeck",
                  "--alpha", "0.05", "--seed", "3", *FAST)  # fmt: skip
        assert got.returncode == 0, got.stderr
    for file in ("weights.safetensors", "calibration.safetensors", "training/candidates.json"):
        assert (tmp_path / "a.limbeck" / file).read_bytes() == (tmp_path / "b.limbeck" / file).read_bytes()


@pytest.mark.alone
def test_help_is_quick_and_imports_nothing_heavy():
    """Measured as installed: with bytecode, which the first run writes where the surroundings forbid it by default."""
    command = [sys.executable, "-m", "limbeck.cli", "--help"]
    surroundings = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(command, env=surroundings, capture_output=True, check=True)
    times = []
    for _ in range(7):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, env=surroundings, capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    code = (
        "import sys; from limbeck.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\nprint(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split()
    assert not {"numpy", "torch", "sklearn", "polars", "pydantic", "onnxruntime"} & set(loaded)
    assert min(times) <= 0.3


def test_methods(run):
    assert "multi-teacher" in run("methods").stdout
    fields = json.loads(run("methods", "multi-teacher", "--json").stdout)
    assert {"field", "default", "meaning"} == set(fields[0]) and all(f["meaning"] for f in fields)


# mistakes in fitting


def table(tmp_path, **columns):
    n = len(next(iter(columns.values())))
    rng = np.random.default_rng(0)
    base = {"a": rng.normal(size=n), "b": rng.normal(size=n)}
    path = tmp_path / "table.parquet"
    pl.DataFrame(base | columns).write_parquet(path)
    return path


def labels(n=400, anomalous=20):
    return [1] * anomalous + [0] * (n - anomalous)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"y": [0] * 400}, ("only one class", "400 normal and 0 anomalous", "fix")),
        ({"y": [1] * 400}, ("only one class",)),
        ({"y": labels(anomalous=4)}, ("too few anomalous", "at least 5", "396 normal and 4")),
        ({"y": [*range(400)]}, ("mean normal", "--normal")),
        ({"y": ["fine"] * 300 + ["broken"] * 100}, ("mean normal", "'broken'", "--normal")),
        ({"y": labels(), "c": [np.inf] + [1.0, 2.0] * 199 + [0.5]}, ("'c'", "infinite", "row 0")),
        ({"y": labels(), "c": [f"u{i % 200}" for i in range(400)]}, None),
        ({"y": labels(), "c": [f"u{i}" for i in range(400)]}, ("'c'", "identifier", "320 in 320 rows")),
        ({"y": labels(), "c": ["n.d."] * 150 + [f"{i}.5" for i in range(250)]}, ("'c'", "numbers", "'n.d.'", "empty")),
        ({"y": labels(), "c": [f"{i}.5 %" for i in range(400)]}, ("'c'", "numbers written as text", "plain numbers")),
        ({"y": labels(), "when": ["2026-01-02", "2026-02-03"] * 200}, ("'when'", "dates", "hour", "--ignore when")),
    ],
)  # fmt: skip
def test_mistakes_in_the_training_table(run, tmp_path, columns, words):
    out = tmp_path / "x.limbeck"
    result = run("fit", table(tmp_path, **columns), "--label", "y", "--out", out, "--alpha", "0.1", *FAST)
    if words is None:  # 200 different texts that repeat are categories
        assert result.returncode == 0, result.stderr
        return
    refused(result, *words)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["table.parquet"]


def test_a_text_column_of_a_hundred_thousand_categories(run, tmp_path):
    n = 100_000
    path = table(tmp_path, y=labels(n, 500), who=[f"customer {i}" for i in range(n)])
    result = run("fit", path, "--label", "y", "--out", tmp_path / "x.limbeck", *FAST)
    refused(result, "'who'", "identifier", "90000 in", "--ignore who", "--id who")
    result = run("fit", path, "--label", "y", "--id", "who", "--out", tmp_path / "x.limbeck", *FAST)
    assert result.returncode == 0, result.stderr


def test_many_categories_are_pooled_and_said(run, tmp_path):
    path = table(tmp_path, y=labels(4000, 40), c=[f"c{i % 300}" for i in range(4000)])
    result = run("fit", path, "--label", "y", "--out", tmp_path / "x.limbeck", "--alpha", "0.1", *FAST)
    assert result.returncode == 0, result.stderr
    assert "'c' has 300 categories" in result.stderr


def test_a_column_without_values_is_left_out_and_said(run, tmp_path):
    path = table(tmp_path, y=labels(), c=[np.nan] * 400)
    out = tmp_path / "x.limbeck"
    result = run("fit", path, "--label", "y", "--out", out, "--alpha", "0.1", *FAST)
    assert result.returncode == 0, result.stderr
    assert "'c' has no value at all and was left out" in result.stderr
    assert run("score", out, path, "--out", tmp_path / "s.csv").returncode == 0


def test_rows_without_a_label_are_left_out_and_said(run, tmp_path):
    path = table(tmp_path, y=[*labels(390), *[None] * 10])
    result = run("fit", path, "--label", "y", "--out", tmp_path / "x.limbeck", "--alpha", "0.1", *FAST)
    assert result.returncode == 0 and "10 rows without a label" in result.stderr, result.stderr


def test_a_named_normal_value(run, tmp_path):
    path = table(tmp_path, y=["fine"] * 350 + ["bent"] * 25 + ["torn"] * 25)
    out = tmp_path / "x.limbeck"
    result = run("fit", path, "--label", "y", "--normal", "fine", "--out", out, "--alpha", "0.1", *FAST)
    assert result.returncode == 0, result.stderr
    assert json.loads((out / "manifest.json").read_text())["card"]["n_anomalous"] == 50
    assert run("evaluate", out, path).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--label", "frod"), ("no column 'frod'", "did you mean 'fraud'")),
        (("--method", "multi-teacher"), ("needs labels", "--label", "'committee' is taken")),
        (("--method", "committee", "--label", "fraud"), ("'committee' learns without labels", "--ignore COLUMN")),
        (("--label", "fraud", "--set", "tres=5"), ("'tres'", "trees")),
        (("--label", "fraud", "--set", "trees=many"), ("'trees'", "int", "many")),
        (("--label", "fraud", "--set", "soft=2"), ("'soft'", "from 0 to 1")),
        (("--label", "fraud", "--set", "trees"), ("FIELD=VALUE",)),
        (("--label", "fraud", "--set", "resamplers=smoke"), ("'resamplers'", "smote")),
        (("--label", "fraud", "--alpha", "1.5"), ("alpha", "between 0 and 1")),
        (("--label", "fraud", "--method", "magic"), ("'magic'", "multi-teacher")),
        (("--label", "fraud", "--ignore", "nothing"), ("no column 'nothing'",)),
        (("--label", "Fraud"), ("no column 'Fraud'", "did you mean 'fraud'")),
        (("--label", "fraud", "--normal", "maybe"), ("no row", "'maybe'", "0, 1")),
        (("--label", "fraud", "--seed", "-1"), ("seed", "from 0 to 2,000,000,000", "-1")),
        (("--label", "fraud", "--seed", "4294967295"), ("seed", "from 0 to")),
        (("--label", "fraud", "--set", "folds=1"), ("'folds'", "0, or", "from 2")),
        (("--label", "fraud", "--set", "learning_rate=0"), ("'learning_rate'",)),
        (("--label", "fraud", "--set", "trees=99999999999999999999"), ("'trees'", "100000")),
        (("--label", "fraud", "--config", "none.toml"), ("none.toml", "No such file")),
    ],
)
def test_mistakes_in_the_arguments(run, files, tmp_path, arguments, words):
    out = tmp_path / "x.limbeck"
    refused(run("fit", files / "train.parquet", "--out", out, *arguments), *words)
    assert not any(tmp_path.iterdir())


def test_an_unknown_flag(run, files, tmp_path):
    result = run("fit", files / "train.parquet", "--labell", "fraud", "--out", tmp_path / "x.limbeck")
    assert result.returncode != 0 and "--label" in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr


def test_sources_that_are_no_tables(run, tmp_path):
    out = tmp_path / "x.limbeck"
    refused(run("fit", tmp_path / "none.parquet", "--label", "y", "--out", out), "none.parquet", "check the path")
    (tmp_path / "a.xlsx").write_bytes(b"PK")
    refused(run("fit", tmp_path / "a.xlsx", "--label", "y", "--out", out), ".xlsx", ".parquet")
    (tmp_path / "a.csv").write_text("")
    refused(run("fit", tmp_path / "a.csv", "--label", "y", "--out", out), "a.csv")
    (tmp_path / "b.csv").write_text("a,y\n")
    refused(run("fit", tmp_path / "b.csv", "--label", "y", "--out", out), "b.csv", "no rows")
    (tmp_path / "parts").mkdir()
    refused(run("fit", tmp_path / "parts", "--label", "y", "--out", out), "parts", "Parquet or CSV")


def test_a_truncated_parquet_file(run, package, files, tmp_path):
    broken = tmp_path / "broken.parquet"
    broken.write_bytes((files / "test.parquet").read_bytes()[:-500])
    refused(run("fit", broken, "--label", "fraud", "--out", tmp_path / "x.limbeck"), "broken.parquet", "truncated")
    refused(run("score", package, broken, "--out", tmp_path / "s.parquet"), "broken.parquet", "truncated")
    assert [p.name for p in tmp_path.iterdir()] == ["broken.parquet"]


# mistakes in scoring


def test_wrong_columns_and_another_order(run, package, files, tmp_path):
    rows = pl.read_parquet(files / "test.parquet")
    rows.rename({"amount": "amout"}).drop("hour").write_parquet(tmp_path / "wrong.parquet")
    out = tmp_path / "s.parquet"
    refused(
        run("score", package, tmp_path / "wrong.parquet", "--out", out),
        "2 of the model's",
        "did you mean amout",
        "hour",
    )
    assert not out.exists()
    rows.select(reversed(rows.columns)).write_parquet(tmp_path / "turned.parquet")
    assert run("score", package, tmp_path / "turned.parquet", "--out", out).returncode == 0
    assert run("score", package, files / "test.parquet", "--out", tmp_path / "t.parquet").returncode == 0
    assert pl.read_parquet(out).equals(pl.read_parquet(tmp_path / "t.parquet"))


def test_values_of_the_wrong_kind(run, package, files, tmp_path):
    rows = pl.read_parquet(files / "test.parquet")
    rows.with_columns(amount=pl.lit("much")).write_parquet(tmp_path / "text.parquet")
    refused(
        run("score", package, tmp_path / "text.parquet", "--out", tmp_path / "s.csv"), "'amount'", "'much' in row 0"
    )
    rows.with_columns(amount=pl.lit("much")).write_csv(tmp_path / "text.csv")
    refused(run("score", package, tmp_path / "text.csv", "--out", tmp_path / "s.csv"), "text.csv", "much", "amount")
    late = rows.with_columns(pl.when(pl.int_range(1000) == 777).then(np.inf).otherwise("amount").alias("amount"))
    late.write_parquet(tmp_path / "late.parquet")
    refused(run("score", package, tmp_path / "late.parquet", "--out", tmp_path / "s.csv"), "'amount'", "row 777")
    assert not list(tmp_path.glob("*s.csv*"))


def test_outputs_that_exist(run, package, files, tmp_path):
    out = tmp_path / "s.parquet"
    out.write_text("precious")
    refused(run("score", package, files / "test.parquet", "--out", out), "exists", "--overwrite")
    assert out.read_text() == "precious"
    assert run("score", package, files / "test.parquet", "--out", out, "--overwrite").returncode == 0
    assert pl.read_parquet(out).height == 1000
    kept = tmp_path / "kept.limbeck"
    shutil.copytree(package, kept)
    before = (kept / "manifest.json").read_bytes()
    again = ("fit", files / "train.parquet", "--label", "fraud", "--out", kept, "--alpha", "0.05", *FAST)
    refused(run(*again), "exists", "--overwrite")
    assert (kept / "manifest.json").read_bytes() == before
    assert run(*again, "--overwrite").returncode == 0
    assert (kept / "manifest.json").read_bytes() != before
    home = tmp_path / "photos"
    home.mkdir()
    (home / "family.jpg").write_text("x")
    refused(run("fit", files / "train.parquet", "--label", "fraud", "--out", home, "--overwrite"), "not replaced")
    assert (home / "family.jpg").exists()
    refused(run("score", package, files / "test.parquet", "--out", tmp_path / "no" / "s.csv"), "does not exist")
    refused(run("score", package, files / "test.parquet", "--out", tmp_path / "s.xlsx"), ".parquet, .csv, .jsonl")


def test_evaluating_without_labels(run, package, files, tmp_path):
    pl.read_parquet(files / "test.parquet").drop("fraud").write_parquet(tmp_path / "u.parquet")
    refused(run("evaluate", package, tmp_path / "u.parquet"), "'fraud'", "--label")
    pl.read_parquet(files / "test.parquet").with_columns(fraud=pl.lit(0)).write_parquet(tmp_path / "o.parquet")
    refused(run("evaluate", package, tmp_path / "o.parquet"), "only one class")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda p: (p / "weights.safetensors").write_bytes((p / "weights.safetensors").read_bytes()[:-1] + b"!"),
         ("weights.safetensors", "SHA-256")),
        (lambda p: (p / "model.onnx").unlink(), ("model.onnx", "No such file")),
        (lambda p: (p / "manifest.json").write_text("{"), ("manifest.json", "cannot be read")),
        (lambda p: (p / "manifest.json").unlink(), ("not a Limbeck package",)),
        (lambda p: edit(p, lambda m: m.update(schema_version=99)), ("newer Limbeck", "schema 99", "upgrade")),
        (lambda p: edit(p, lambda m: m["calibration"].update(alpha=7)), ("calibration.alpha", "less than 1")),
        (lambda p: edit(p, lambda m: m["tensors"]["weights.safetensors"]["layers.0.bias"].update(shape=[3])),
         ("layers.0.bias", "(3,)")),
        (lambda p: edit(p, lambda m: m["sha256"].update({"../../secret": "0"})), ("outside the package",)),
        (lambda p: edit(p, lambda m: m["input"]["columns"].pop()), ("columns",)),
    ],
)  # fmt: skip
def test_packages_that_were_tampered_with(run, package, files, tmp_path, damage, words):
    copy = tmp_path / "it.limbeck"
    shutil.copytree(package, copy)
    damage(copy)
    refused(run("score", copy, files / "test.parquet", "--out", tmp_path / "s.csv"), *words)
    assert not (tmp_path / "s.csv").exists()


def edit(package, change):
    manifest = json.loads((package / "manifest.json").read_text())
    change(manifest)
    (package / "manifest.json").write_text(json.dumps(manifest))


# killed


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "limbeck.cli", *map(str, arguments)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


def kill_when(process, condition, seconds=120):
    """Kill once something is seen; say whether it was still running."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        if condition():
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return True
        time.sleep(0.002)
    process.kill()
    process.wait()
    return False


def test_killed_while_fitting_and_resumed(files, tmp_path):
    out = tmp_path / "x.limbeck"
    slow = ("fit", files / "train.parquet", "--label", "fraud", "--out", out, "--alpha", "0.05", "--set", "folds=3",
            "--set", "trees=150", "--set", "steps=60", "--set", "refit_below=0")  # fmt: skip
    work = tmp_path / ".x.limbeck.work"
    assert kill_when(start(*slow), lambda: len(list(work.rglob("[!.]*.npz"))) >= 2)
    assert not out.exists()
    finished = {p: p.stat().st_mtime_ns for p in work.rglob("[!.]*.npz")}
    resumed = start(*slow, "--resume")
    while resumed.poll() is None:  # the finished teachers are read, not taught again
        for path, when in finished.items():
            if path.exists():
                assert path.stat().st_mtime_ns == when
        time.sleep(0.05)
    assert resumed.returncode == 0
    assert not work.exists()
    unbroken = tmp_path / "y.limbeck"
    assert start(*slow[:5], unbroken, *slow[6:]).wait() == 0
    assert (out / "weights.safetensors").read_bytes() == (unbroken / "weights.safetensors").read_bytes()


SAVE = """
import sys, time, pathlib, limbeck
detector = limbeck.load(sys.argv[1])
write = pathlib.Path.write_bytes
def slowly(self, data):
    time.sleep(0.2)
    return write(self, data)
pathlib.Path.write_bytes = slowly
detector.save(sys.argv[2], overwrite=True)
"""


@pytest.mark.parametrize("existing", [False, True])
def test_killed_while_saving(package, tmp_path, existing):
    out = tmp_path / "x.limbeck"
    if existing:
        shutil.copytree(package, out)
    process = subprocess.Popen([sys.executable, "-c", SAVE, package, out], start_new_session=True)
    assert kill_when(process, lambda: len(list(tmp_path.glob(".x.limbeck.*/*"))) >= 2)
    assert out.exists() == existing
    assert list(tmp_path.glob(".x.limbeck.*.partial")), "it was killed in the middle"
    import limbeck

    if existing:
        limbeck.load(out)
    limbeck.load(package).save(out, overwrite=True)  # the next save clears up
    assert [p.name for p in tmp_path.iterdir()] == ["x.limbeck"]


def test_killed_while_scoring(package, tmp_path):
    transactions(20_000, seed=1).write_parquet(tmp_path / "part.parquet")
    big = pl.concat([pl.read_parquet(tmp_path / "part.parquet")] * 60)
    big.write_parquet(tmp_path / "big.parquet")
    for suffix in ("parquet", "csv"):
        out = tmp_path / f"s.{suffix}"
        process = start("score", package, tmp_path / "big.parquet", "--out", out)
        assert kill_when(process, lambda: any(p.stat().st_size > 0 for p in tmp_path.glob(".s.*.partial")))
        assert not out.exists()
    import limbeck
    from limbeck.batch import score

    assert score(limbeck.load(package), tmp_path / "part.parquet", tmp_path / "s.parquet") == 20_000
    assert not list(tmp_path.glob(".s.parquet.*"))


def test_a_full_disk(package, files, tmp_path, monkeypatch, run):
    """No room: one error, nothing under the final name, nothing hidden left."""
    import limbeck.outputs

    def full(file):
        if ".work" not in str(file):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(limbeck.outputs, "_sync", full)
    refused(
        run("score", package, files / "test.parquet", "--out", tmp_path / "s.parquet"), "No space left", "free some"
    )
    result = run(
        "fit", files / "train.parquet", "--label", "fraud", "--out", tmp_path / "x.limbeck", "--alpha", "0.05", *FAST
    )
    refused(result, "x.limbeck", "No space left")
    assert [p.name for p in tmp_path.iterdir()] == [".x.limbeck.work"], "the finished teachers wait for --resume"
    monkeypatch.undo()
    again = run(
        "fit",
        files / "train.parquet",
        "--label",
        "fraud",
        "--out",
        tmp_path / "x.limbeck",
        "--alpha",
        "0.05",
        *FAST,
        "--resume",
    )
    assert again.returncode == 0, again.stderr


def test_a_full_disk_while_teaching(files, tmp_path, monkeypatch, run):
    import numpy

    def full(*arguments, **more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(numpy, "savez", full)
    out = tmp_path / "x.limbeck"
    refused(run("fit", files / "train.parquet", "--label", "fraud", "--out", out, *FAST), "No space left", "free some")
    assert not any(tmp_path.iterdir())


def test_a_table_as_a_european_spreadsheet_writes_it(run, tmp_path):
    """Semicolons, decimal commas, a byte-order mark: the same detector as from the plain table."""
    rng = np.random.default_rng(0)
    y = np.array(labels(600, 60))
    a, b = rng.normal(size=600) + 3 * y, rng.normal(size=600)
    lines = ["größe;b;y", *(f"{u:.4f};{v:.4f};{w}".replace(".", ",") for u, v, w in zip(a, b, y, strict=True))]
    (tmp_path / "excel.csv").write_bytes("\r\n".join(lines).encode("utf-8-sig"))
    pl.DataFrame({"größe": a.round(4), "b": b.round(4), "y": y}).write_parquet(tmp_path / "plain.parquet")
    found = []
    for name in ("excel.csv", "plain.parquet"):
        out = tmp_path / f"{name}.limbeck"
        result = run("fit", tmp_path / name, "--label", "y", "--out", out, "--alpha", "0.1", *FAST)
        assert result.returncode == 0, result.stderr
        assert "takes     2 numeric columns" in result.stdout
        found.append((out / "calibration.safetensors").read_bytes())
    assert found[0] == found[1]
    assert run("evaluate", out, tmp_path / "excel.csv").returncode == 0
    (tmp_path / "latin.csv").write_bytes("größe;y\n1;0\n".encode("latin-1"))
    refused(run("fit", tmp_path / "latin.csv", "--label", "y", "--out", tmp_path / "l.limbeck"), "UTF-8")


def test_labels_that_passed_through_floats(run, tmp_path):
    """pandas writes 1.0 and 0.0 where a label column has gaps."""
    rng = np.random.default_rng(0)
    y = labels(400)
    rows = [
        f"{v:.3f},{'' if i % 50 == 7 else float(w)}"
        for i, (v, w) in enumerate(zip(rng.normal(size=400), y, strict=True))
    ]
    (tmp_path / "t.csv").write_text("\n".join(["a,y", *rows]))
    out = tmp_path / "x.limbeck"
    assert run("fit", tmp_path / "t.csv", "--label", "y", "--out", out, "--alpha", "0.1", *FAST).returncode == 0
    result = run("evaluate", out, tmp_path / "t.csv")
    assert result.returncode == 0, result.stderr


def test_the_source_and_packages_are_never_replaced(run, package, files, tmp_path):
    data = tmp_path / "data.csv"
    shutil.copy(files / "test.csv", data)
    before = data.read_bytes()
    copy = tmp_path / "it.limbeck"
    shutil.copytree(package, copy)
    refused(run("score", copy, data, "--out", data, "--overwrite"), "source of the data")
    refused(run("evaluate", copy, data, "--report", data, "--overwrite"), "source of the data")
    refused(run("evaluate", copy, data, "--json", copy / "manifest.json", "--overwrite"), "inside a package")
    both = tmp_path / "q.json"
    refused(run("evaluate", copy, data, "--json", both, "--report", both), "one file")
    assert data.read_bytes() == before and not both.exists()
    assert run("inspect", copy).returncode == 0


def test_a_link_to_a_package_is_written_through(run, package, files, tmp_path):
    (tmp_path / "real").mkdir()
    link = tmp_path / "link.limbeck"
    link.symlink_to(tmp_path / "real" / "x.limbeck")
    again = ("fit", files / "train.parquet", "--label", "fraud", "--out", link, "--alpha", "0.05", *FAST, "--overwrite")
    for _ in range(2):
        assert run(*again).returncode == 0
        assert link.is_symlink() and (link / "manifest.json").is_file()
    assert sorted(p.name for p in tmp_path.rglob("*") if p.name.startswith(".")) == []


def test_results_are_written_whoever_reads_the_output(package, files, tmp_path):
    """The reader of the pipe goes away, or the terminal knows ASCII only: the files are there all the same."""
    command = [sys.executable, "-m", "limbeck.cli", "evaluate", str(package), str(files / "test.parquet")]
    process = subprocess.Popen(
        [*command, "--json", str(tmp_path / "m.json")], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    said = process.stderr.read().decode()
    process.wait()
    process.stderr.close()
    assert "Traceback" not in said
    assert json.loads((tmp_path / "m.json").read_text())["n"] == 1000
    ascii_only = subprocess.run(
        [sys.executable, "-m", "limbeck.cli", "methods"],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
    )
    assert ascii_only.returncode == 0, ascii_only.stderr


def test_interrupted(files, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "limbeck.cli", "fit", str(files / "train.parquet"), "--label", "fraud", "--out",
         str(tmp_path / "x.limbeck"), "--set", "trees=2000"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while process.poll() is None and not (tmp_path / ".x.limbeck.work").exists():
        time.sleep(0.05)
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=120)[1]
    assert process.returncode in (130, -signal.SIGINT) and "interrupted" in said and "Traceback" not in said, said
    assert not (tmp_path / "x.limbeck").exists()


WITHOUT = """
import sys
for name in ("torch", "sklearn", "lightgbm", "imblearn", "onnx", "onnxscript", "scipy", "matplotlib"):
    sys.modules[name] = None
from limbeck.cli import main
main(sys.argv[1:])
"""


def test_a_scoring_box_without_the_training_extra(package, files, tmp_path):
    def box(*arguments):
        return subprocess.run([sys.executable, "-c", WITHOUT, *map(str, arguments)], capture_output=True, text=True)

    assert box("score", package, files / "test.csv", "--out", tmp_path / "s.csv").returncode == 0
    assert box("evaluate", package, files / "test.csv", "--json", tmp_path / "m.json").returncode == 0
    assert box("inspect", package).returncode == 0
    refused(box("fit", files / "train.parquet", "--label", "fraud", "--out", tmp_path / "x.limbeck"), "limbeck[train]")
    refused(box("distil", "amount", files / "train.parquet", "--out", tmp_path / "x.limbeck"), "limbeck[train]")
    refused(box("demo", "--out", tmp_path / "demo"), "limbeck[train]")
    refused(box("report", package, "--out", tmp_path / "r.html"), "limbeck[report]")
    code = "import sys; sys.modules['torch'] = None\nimport limbeck\nlimbeck.MultiTeacherClassifier"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "MissingExtraError" in result.stderr and "limbeck[train]" in result.stderr
