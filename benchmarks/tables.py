"""How good is the student, beside its teachers and without them? Fifteen real tables, seeds 0, 1, 2.

`limbeck.fit` with its defaults learns from the training rows. What it ships is measured on the test rows, and beside
it, calibrated alike: the five students and every teacher of its candidates table (taught on four fifths of the rows),
the teachers of the shipped student as it was taught last, and one plain LightGBM on the same rows.

    python benchmarks/tables.py [--sets "credit card" thyroid] [--seeds 0 1 2]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from _data import SETS, Split, available, splits
from _markdown import page
from _models import PeakMemory, judged, lightgbm_alone
from _results import append, held, read

import limbeck
from limbeck.data.columns import labels_of, rows_of
from limbeck.fitting import set_aside
from limbeck.spec import for_tables
from limbeck.tabular import multi_teacher

RESULTS = Path(__file__).with_suffix(".csv")
KEYS = ("average_precision", "auroc", "recall_at_1pct_fpr", "false_alarm_rate", "ece", "ece_floor")
SHIPPED, ALONE, COMMITTEE = "shipped", "LightGBM on the labels", "committee"


def run(name: str, split: Split, seed: int) -> None:
    """Measure one split."""
    learned: dict[str, Any] = {}

    def remember(*arguments: Any, **options: Any) -> Any:
        learned["result"] = distil(*arguments, **options)
        return learned["result"]

    distil = multi_teacher.distil
    with warnings.catch_warnings(), mock.patch.object(multi_teacher, "distil", remember), PeakMemory() as memory:
        warnings.simplefilter("ignore")
        start = time.perf_counter()
        detector = limbeck.fit(split.train, label=split.label, seed=seed)
        seconds = time.perf_counter() - start
    result = learned["result"]
    y, y_test = labels_of(split.train[split.label]), labels_of(split.test[split.label])
    spec = for_tables(detector.spec)
    x, x_test = (rows_of(frame, spec, named=True) for frame in (split.train, split.test))
    aside = set_aside(y, seed)
    booster, alone_seconds = lightgbm_alone(x[~aside], y[~aside], spec.categorical, seed)
    models: dict[str, tuple[Callable[..., Any], int, float]] = {
        SHIPPED: (result.network, 4 * result.network.size, seconds)
    }
    for role, network in result.students.items():
        models[f"student: {role}"] = network, 4 * network.size, seconds
    committees = {"": result.teachers, " of the first round": result.committee} if result.teachers else {
        "": result.committee
    }  # fmt: skip
    for when, committee in committees.items():
        models[COMMITTEE + when] = committee.log_odds, committee.bytes, seconds
        for member in committee.members:
            models[f"teacher {member.name}{when}"] = member.log_odds, member.model.bytes, seconds
    models[ALONE] = (lambda rows: booster.predict(rows, raw_score=True)), len(booster.model_to_string()), alone_seconds
    with tempfile.TemporaryDirectory() as folder:
        detector.save(Path(folder) / "it.limbeck")
        package = sum(file.stat().st_size for file in (Path(folder) / "it.limbeck").rglob("*") if file.is_file())
    for model, (score_of, size, spent) in models.items():
        row = judged(np.asarray(score_of(x[aside])), y[aside], np.asarray(score_of(x_test)), y_test)
        append(
            RESULTS,
            {
                "set": name,
                "seed": seed,
                "fold": split.fold,
                "rows": len(y),
                "anomalies": int(y.sum()),
                "test_rows": len(y_test),
                "test_anomalies": int(y_test.sum()),
                "model": model,
                "role": result.chosen if model == SHIPPED else "",
                **row,
                "model_bytes": size,
                "package_bytes": package if model == SHIPPED else "",
                "fit_seconds": round(spent, 1),
                "fit_peak_mib": round(memory.mebibytes) if model == SHIPPED else "",
            },
        )


def table() -> None:
    """Print means over seeds and folds."""
    rows = read(RESULTS)
    for name in dict.fromkeys(r["set"] for r in rows):
        mine = [r for r in rows if r["set"] == name]
        shipped = [r for r in mine if r["model"] == SHIPPED]
        roles = ", ".join(r["role"] for r in shipped)
        seconds, peak = (max(float(r[k]) for r in shipped) for k in ("fit_seconds", "fit_peak_mib"))
        print(f"\n{name}: {len(shipped)} splits; shipped: {roles}; fit {seconds:.0f} s and {peak:.0f} MiB at most")
        print(f"{'model':44}" + "".join(f"{k:>22}" for k in KEYS))
        for model in dict.fromkeys(r["model"] for r in mine):
            cells = []
            for key in KEYS:
                values = [float(r[key]) for r in mine if r["model"] == model and r[key]]
                cells.append(f"{statistics.mean(values):.4f} ({statistics.pstdev(values):.4f})" if values else "")
            print(f"{model:44}" + "".join(f"{c:>22}" for c in cells))


def main() -> None:
    """Measure what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--folds", type=int, nargs="+")
    parser.add_argument("--markdown", action="store_true", help="print the results as a page of the docs, nothing else")
    arguments = parser.parse_args()
    if arguments.markdown:
        print(page(read(RESULTS)))
        return
    if not available():
        sys.exit("the data are not there: set LIMBECK_DATA to their folder")
    for seed in arguments.seeds:
        for name in arguments.sets:
            for split in splits(name, seed):
                wanted = arguments.folds is None or split.fold in arguments.folds
                if wanted and not held(RESULTS, set=name, seed=seed, fold=split.fold):
                    run(name, split, seed)
                    print(f"done: {name}, seed {seed}, fold {split.fold}", flush=True)
    table()


if __name__ == "__main__":
    main()
