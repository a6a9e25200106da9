"""Does a student move to another domain? KDD99 to NSL-KDD and its new attacks, and between devices of TON-IoT.

The source's student learns from its labels (`multi-teacher`) or without (`committee`). On the target's test rows: that
student as it is; aligned without labels (`adapt`), and with 50 labels for the threshold; distilled anew, on the
target's rows, from what the source's teachers say of them. Bounds: the same two methods learned on the target alone.

At most so many rows of each table (`rows`), and less learning than by default (`QUICK`), so that all of it takes
minutes: compare the rows with one another, and with nothing else. A student that does not follow is measured all the
same.

    python benchmarks/adapt.py [--sets "KDD99 to NSL-KDD"] [--seeds 0 1 2] [--rows 6000] [--markdown]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import polars as pl
from _data import DOMAINS, Domains, available, domains
from _following import never_refused
from _results import append, held, read
from threadpoolctl import threadpool_limits

import limbeck
from limbeck import Detector, InputError, metrics
from limbeck.tabular import multi_teacher

RESULTS = Path(__file__).with_suffix(".csv")
SETS = ("KDD99 to NSL-KDD", *DOMAINS)
LABELS = 50
QUICK = {"steps": 1000}
QUICK_LABELS = {"steps": 1000, "trees": 60, "folds": 2, "measurements": 1, "refit_below": 0}
FIGURES = ("auroc", "average_precision", "new_auroc", "new_average_precision", "alpha", "false_alarm_rate", "recall")
HEAD = ("AUROC", "AP", "AUROC, new attacks", "AP, new attacks", "promised", "false alarms", "recall")
Row = dict[str, str]


def with_labels(frame: pl.DataFrame, seed: int) -> tuple[Detector, Any]:
    """Learn from labels; return the student and its teachers."""
    distil, kept = multi_teacher.distil, []

    def remember(*arguments: Any, **options: Any) -> Any:
        kept.append(distil(*arguments, **options))
        return kept[0]

    with mock.patch.object(multi_teacher, "distil", remember):
        detector = limbeck.fit(frame, label="label", config=QUICK_LABELS, seed=seed)
    return detector, kept[0].committee


def few(y: np.ndarray, seed: int) -> list[int | None]:
    """Return the labels of 50 rows, drawn at random, and none of the others."""
    drawn = set(np.random.default_rng(seed).permutation(len(y))[:LABELS].tolist())
    return [int(label) if i in drawn else None for i, label in enumerate(y)]


def models(found: Domains, seed: int) -> dict[str, Callable[[], Detector]]:
    """Return how each row of the table is learned; those behind use what those before have learned."""
    rows, y = found.target.drop("label"), found.target["label"].to_numpy()
    made: dict[str, Any] = {}

    def keep(name: str, learned: Any) -> Detector:
        made[name] = learned
        detector: Detector = learned[0] if isinstance(learned, tuple) else learned
        return detector

    def redistilled() -> Detector:
        student, teachers = made["labels"]
        return limbeck.distil(teachers.log_odds(student.rows(rows)), rows, config=QUICK, seed=seed)

    return {
        "source, labels": lambda: keep("labels", with_labels(found.source, seed)),
        "source, labels: aligned": lambda: limbeck.adapt(made["labels"][0], rows, seed=seed),
        "source, labels: aligned, 50 labels": lambda: limbeck.adapt(
            made["labels"][0], rows, label=few(y, seed), seed=seed
        ),
        "source, labels: distilled anew from its teachers": redistilled,
        "source, no labels": lambda: keep(
            "none", limbeck.fit(found.source.drop("label"), config=QUICK, method="committee", seed=seed)
        ),
        "source, no labels: aligned": lambda: limbeck.adapt(made["none"], rows, seed=seed),
        "source, no labels: distilled anew from its student": lambda: limbeck.distil(
            made["none"].detect(rows).score.astype(float), rows, config=QUICK, seed=seed
        ),
        "target alone, no labels": lambda: limbeck.fit(rows, config=QUICK, method="committee", seed=seed),
        "target alone, all labels": lambda: with_labels(found.target, seed)[0],
    }


def measured(detector: Detector, found: Domains) -> dict[str, object]:
    """Return a detector's figures on the target's test rows."""
    y, verdicts = found.test["label"].to_numpy(), detector.detect(found.test.drop("label"))
    figures = {
        "auroc": metrics.auroc(y, verdicts.score),
        "average_precision": metrics.average_precision(y, verdicts.score),
        "new_auroc": "",
        "new_average_precision": "",
        "alpha": detector.alpha,
        "false_alarm_rate": float(verdicts.is_anomaly[y == 0].mean()),
        "recall": float(verdicts.is_anomaly[y == 1].mean()),
    }
    if found.new is not None:
        y, score = y[found.new], verdicts.score[found.new]
        figures |= {"new_auroc": metrics.auroc(y, score), "new_average_precision": metrics.average_precision(y, score)}
    return figures


def run(name: str, seed: int, rows: int) -> None:
    """Measure two domains with a seed."""
    found = domains(name, rows, seed)
    sizes = {"source_rows": len(found.source), "target_rows": len(found.target), "test_rows": len(found.test)}
    rows_found: list[dict[str, object]] = []
    for model, learn in models(found, seed).items():
        start = time.perf_counter()
        try:
            with threadpool_limits(1), never_refused():
                figures = measured(learn(), found)
        except InputError as error:  # the labels say that higher scores are more normal
            figures = dict.fromkeys(FIGURES, "")
            print(f"{name}, seed {seed}, {model}: {error}", flush=True)
        spent = round(time.perf_counter() - start, 2)
        rows_found.append(
            {"set": name, "seed": seed, "rows": rows, "model": model, **sizes, **figures, "seconds": spent}
        )
    for row in rows_found:
        append(RESULTS, row, "scikit-learn")


def table() -> None:
    """Print the means over the seeds, AUROC with its spread, as the docs have them."""
    rows = read(RESULTS)
    for name in dict.fromkeys(row["set"] for row in rows):
        mine = [row for row in rows if row["set"] == name]
        shown = [(key, word) for key, word in zip(FIGURES, HEAD, strict=True) if any(row[key] for row in mine)]
        print(f"\n| {name} | " + " | ".join(word for _, word in shown) + " |\n" + "| --- " * (1 + len(shown)) + "|")
        for model in dict.fromkeys(row["model"] for row in mine):
            its = [row for row in mine if row["model"] == model]
            print(f"| {model} | " + " | ".join(cell(its, key) for key, _ in shown) + " |")


def cell(rows: list[Row], key: str) -> str:
    """Return the mean of a figure, and for AUROC its spread; nothing where every seed was refused."""
    values = [float(row[key]) for row in rows if row[key]]
    if not values:
        return "refused"
    spread = f" ({statistics.pstdev(values):.3f})" if key.endswith("auroc") else ""
    return f"{statistics.mean(values):.3f}" + spread


def main() -> None:
    """Measure what is missing and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS, metavar="SET")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", type=int, default=6000, help="of each table, at most")
    parser.add_argument("--markdown", action="store_true", help="print the tables of the docs, and measure nothing")
    given = parser.parse_args()
    if not given.markdown:
        if not available():
            sys.exit("the data are not there: set LIMBECK_DATA to their folder")
        for seed in given.seeds:
            for name in given.sets:
                if not held(RESULTS, set=name, seed=seed, rows=given.rows):
                    run(name, seed, given.rows)
                    print(f"done: {name}, seed {seed}", flush=True)
    table()


if __name__ == "__main__":
    main()
