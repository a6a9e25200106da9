"""`limbeck contaminate` as a stranger uses it: what it prints, what it leaves, one clear error for each mistake."""

import functools
import json
import re
import resource
import subprocess
import sys

import polars as pl
import pytest

from limbeck.data.layouts import find_pictures
from limbeck.data.noisy_split import LISTS, read
from limbeck.data.transactions import transactions


@pytest.fixture
def run(run):
    """Run `limbeck contaminate`."""
    return functools.partial(run, "contaminate")


def refused(result, *words):
    """One message, no traceback, and the words that a user needs."""
    said = result.stderr + result.stdout
    assert result.returncode == 1, said
    assert "Traceback" not in said
    assert len(re.findall("^error:", result.stderr, re.MULTILINE)) == 1, said
    for word in words:
        assert word in result.stderr, f"{word!r} not in {result.stderr}"


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    file = tmp_path_factory.mktemp("table") / "tx.parquet"
    transactions(2000, rate=0.05, seed=0).write_parquet(file)
    return file


def test_pictures(run, parts, tmp_path):
    out = tmp_path / "dirty"
    made = run(parts, "--ratio", "0.1", "--out", out)
    assert (made.returncode, made.stderr) == (0, "")
    assert made.stdout.splitlines() == [
        "train    33 items, 3 of them hidden anomalies (9.09%)",
        "test     12 items, 4 of them anomalous",
        f"lists    {out / LISTS}",
    ]
    assert len(find_pictures(out, masks=True).training()) == 33
    flat = run(parts, "--ratio", "0.1", "--out", tmp_path / "flat", "--no-masks")
    assert flat.returncode == 0 and not (tmp_path / "flat" / "ground_truth").exists()
    assert read(tmp_path / "flat") == read(out)


def test_a_table_and_every_option(run, table, tmp_path):
    out = tmp_path / "dirty"
    arguments = ("--label", "fraud", "--ratio", "0.2", "--base", "mixed", "--overlap", "--fold", "3", "--test", "0.4",
                 "--normal", "0", "--out", out)  # fmt: skip
    made = run(table, *arguments, "--json")
    assert made.returncode == 0, made.stderr
    facts = json.loads(made.stdout)
    note = "the ratio asks for 285 anomalies, and there are 100"
    assert facts == {
        "ratio": 0.2, "base": "mixed", "overlap": True, "fold": 3, "n_train": 1240, "n_added": 100,
        "share": 100 / 1240, "n_test": 860, "anomalies_left": 100, "notes": [note], "lists": str(out / LISTS),
    }  # fmt: skip
    assert made.stderr == f"note: {note}\n"
    assert read(out).facts() == {k: v for k, v in facts.items() if k not in ("notes", "lists")}
    assert pl.read_parquet(out / "train.parquet").height == 1240
    assert pl.read_parquet(out / "test.parquet")["fraud"].sum() == 100
    refused(run(table, *arguments), "exists", "--overwrite")
    assert run(table, *arguments, "--overwrite").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--ratio", "1.5", "--label", "fraud"), ("ratio", "from 0 to below 1", "1.5")),
        (("--ratio", "nan", "--label", "fraud"), ("ratio", "nan")),
        (("--ratio", "0.9", "--label", "fraud"), ("no anomaly would be left", "at most", "--overlap")),
        (("--ratio", "0.02"), ("needs a label column", "one of amount", "--label COLUMN")),
        (("--ratio", "0.02", "--label", "frod"), ("no label column 'frod'", "fraud", "--label COLUMN")),
        (("--ratio", "0.02", "--label", "amount"), ("mean normal", "--normal")),
        (("--ratio", "0.02", "--label", "fraud", "--fold", "-1"), ("fold", "0 or more", "-1")),
        (("--ratio", "0.02", "--label", "fraud", "--test", "2"), ("test", "between 0 and 1")),
    ],
)
def test_mistakes(run, table, tmp_path, arguments, words):
    refused(run(table, *arguments, "--out", tmp_path / "x"), *words)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(("base", "ratio"), [("all", "0.1"), ("clean", "many")])
def test_words_that_are_none(run, table, tmp_path, base, ratio):
    result = run(table, "--label", "fraud", "--base", base, "--ratio", ratio, "--out", tmp_path / "x")
    assert result.returncode != 0 and "Traceback" not in result.stdout + result.stderr
    assert not any(tmp_path.iterdir())


def test_sources_that_are_none(run, parts, tmp_path):
    for source in ("nowhere", tmp_path / "none.parquet", tmp_path / "none.txt"):
        refused(run(source, "--ratio", "0.1", "--label", "y", "--out", tmp_path / "x"), "no")
    refused(run(parts, "--ratio", "0.1", "--label", "y", "--out", tmp_path / "x"), "no label column", "--normal")
    refused(run(parts / "train", "--ratio", "0.1", "--out", tmp_path / "x"), "21 to learn from, 9 normal and 0 anom")
    refused(run(parts, "--ratio", "0.1", "--out", tmp_path / "no" / "x"), "does not exist")
    refused(run(parts, "--ratio", "0.1", "--out", parts / "x"), "inside of the source")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["pictures", "table"])
def test_a_full_disk_is_one_clear_error(parts, table, tmp_path, kind):
    def little_room():
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    source, more = (parts, ()) if kind == "pictures" else (table, ("--label", "fraud"))
    command = (sys.executable, "-m", "limbeck.cli", "contaminate", source, "--ratio", "0.02", "--out", tmp_path / "x")
    result = subprocess.run([*map(str, (*command, *more))], capture_output=True, text=True, preexec_fn=little_room)
    refused(result, "cannot write x", "File too large", "free some room")
    assert not any(tmp_path.iterdir())
