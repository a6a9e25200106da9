"""Does the main job work on real input? The command line on credit-card fraud and NSL-KDD, seeds 0, 1, 2.

The package that `limbeck fit` writes is evaluated by `limbeck evaluate`; beside it, on the same test rows: one
LightGBM on the labels, and, all taught on the same four fifths of what a Distiller sees, the committee, the distilled
student, the control without a teacher and the plain student of the labels.

    python benchmarks/main_job.py [--seeds 0 1 2]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from _data import available, creditcard_sample, nsl_kdd
from _models import judged, lightgbm_alone
from _results import append, held, read

from limbeck import metrics
from limbeck.calibrate import sigmoid
from limbeck.data.columns import labels_of, rows_of
from limbeck.detector import Detector
from limbeck.fitting import set_aside
from limbeck.tabular.config import MultiTeacherConfig
from limbeck.tabular.multi_teacher import distil

RESULTS = Path(__file__).with_suffix(".csv")
SETS = {"credit card (sample)": "fraud", "NSL-KDD": "label"}
KEYS = ("average_precision", "auroc", "recall_at_1pct_fpr", "false_alarm_rate", "brier", "ece", "ece_floor")


def frames(name: str, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the training and the test rows; NSL-KDD's split is the official one, whatever the seed."""
    return nsl_kdd() if name == "NSL-KDD" else creditcard_sample(seed)


def command(*arguments: str) -> None:
    """Run the command line."""
    subprocess.run([sys.executable, "-m", "limbeck.cli", *arguments], check=True, stdout=subprocess.DEVNULL)


def run(name: str, seed: int, folder: Path) -> None:
    """Measure one set with one seed."""
    label = SETS[name]
    train, test = frames(name, seed)
    train.write_parquet(folder / "train.parquet")
    test.write_parquet(folder / "test.parquet")
    package = folder / "it.limbeck"
    start = time.perf_counter()
    command("fit", str(folder / "train.parquet"), "--label", label, "--out", str(package), "--seed", str(seed))
    seconds = time.perf_counter() - start
    command("evaluate", str(package), str(folder / "test.parquet"), "--json", str(folder / "metrics.json"))
    found = json.loads((folder / "metrics.json").read_text())
    detector = Detector.load(package)
    y_test, x_test = labels_of(test[label]), rows_of(test, detector.spec, named=True)
    floor = metrics.ece_floor(sigmoid(detector.calibrator.affine(detector.judge(x_test).score)))  # type: ignore[misc]
    shipped = {k: found.get(k, floor) for k in KEYS}
    rows = {"package, through the command line": (shipped, seconds)}

    y, x = labels_of(train[label]), rows_of(train, detector.spec, named=True)
    aside = set_aside(y, seed)
    booster, alone = lightgbm_alone(x[~aside], y[~aside], detector.spec.categorical, seed)
    said = [np.asarray(booster.predict(part, raw_score=True)) for part in (x[aside], x_test)]
    rows["LightGBM on the labels"] = judged(said[0], y[aside], said[1], y_test), alone
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = time.perf_counter()
        result = distil(
            x[~aside], y[~aside], MultiTeacherConfig(refit_below=0), seed=seed, categorical=detector.spec.categorical
        )
        seconds = time.perf_counter() - start
    models: dict[str, Callable[..., Any]] = {f"student: {r}": network for r, network in result.students.items()}
    models[f"committee of {len(result.committee.members)}"] = result.committee.log_odds
    for model, score_of in models.items():
        rows[model] = judged(score_of(x[aside]), y[aside], score_of(x_test), y_test), seconds
    for model, (row, spent) in rows.items():
        append(RESULTS, {"set": name, "seed": seed, "model": model, **row, "fit_seconds": round(spent, 1)})


def main() -> None:
    """Measure what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    seeds = parser.parse_args().seeds
    if not available():
        sys.exit("the data are not there: set LIMBECK_DATA to their folder")
    for name in SETS:
        for seed in seeds:
            if not held(RESULTS, set=name, seed=seed):
                with tempfile.TemporaryDirectory() as folder:
                    run(name, seed, Path(folder))
    rows = read(RESULTS)
    for name in SETS:
        print(f"\n{name}: mean (spread) over seeds {', '.join(sorted({r['seed'] for r in rows if r['set'] == name}))}")
        print(f"{'model':38}" + "".join(f"{k:>22}" for k in KEYS))
        for model in dict.fromkeys(r["model"] for r in rows if r["set"] == name):
            cells = []
            for key in KEYS:
                values = [float(r[key]) for r in rows if r["set"] == name and r["model"] == model and r[key]]
                cells.append(f"{statistics.mean(values):.4f} ({statistics.pstdev(values):.4f})" if values else "")
            print(f"{model:38}" + "".join(f"{c:>22}" for c in cells))


if __name__ == "__main__":
    main()
