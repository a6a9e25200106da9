"""Which stands in better for an ensemble of slow detectors: SUOD's forests, or one student? Three sets, seeds 0, 1, 2.

The ensemble: PyOD's KNN (two), LOF (two) and OCSVM, averaged by PyOD's SUOD without random projections. SUOD's
approximation puts a random forest regressor of 50 trees, its own default, in the place of each of the five; all are
kinds that it approximates by default. `limbeck.distil` is given the same ensemble, not approximated. A fifth of the
rows is held out by chance, the other four are learned from, scaled to mean 0 and spread 1. Of these, SUOD's forests
learn from all; the student's threshold and its gate take a fifth each of what is left. A student that would have been
refused is measured all the same, and the table says so.

Bytes are of what scoring takes: pickled detectors, pickled forests, a student's weights; in `whole_bytes` of what is
saved: the pickled SUOD, which keeps its detectors beside the forests, and the package. Times, on one thread, are
medians of five rounds of `decision_function` and `detect`. SUOD's contains joblib's report on itself, which it cannot
be told to leave out, so that in `bare_...` everybody is asked without such frames: the five detectors or forests one
after another, and the student's scorer.

    python benchmarks/against_suod.py [--sets satellite] [--seeds 0 1 2]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pickle
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from _data import adbench, available
from _following import fifth, never_refused, refused
from _results import append, held, read
from numpy.typing import NDArray
from speed import seconds
from threadpoolctl import threadpool_limits

import limbeck
from limbeck import metrics
from limbeck.fidelity import spearman, top_overlap
from limbeck.fitting import set_aside
from limbeck.tabular.config import FollowerConfig

RESULTS = Path(__file__).with_suffix(".csv")
SETS = ("annthyroid", "satellite", "mammography")
ENSEMBLE, FORESTS, STUDENT = "ensemble", "SUOD's approximation", "limbeck.distil"
KEYS = ("auroc", "spearman", "top_overlap", "learn_seconds", "model_bytes", "whole_bytes", "row_us", "bare_row_us",
        "batch_ms", "bare_batch_ms")  # fmt: skip
SINGLES, BATCH = 50, 1024
Floats = NDArray[np.float64]
Call = Callable[[Floats], Any]


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Keep joblib's reports, which SUOD always asks for, off the screen."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere), contextlib.redirect_stdout(nowhere):
        yield


def ensemble(seed: int, *, approximated: bool) -> Any:
    """Return SUOD on slow detectors, its random projections and its scheduling, which needs processes, left out."""
    from pyod.models.knn import KNN
    from pyod.models.lof import LOF
    from pyod.models.ocsvm import OCSVM
    from pyod.models.suod import SUOD
    from sklearn.ensemble import RandomForestRegressor

    return SUOD(
        [KNN(), KNN(n_neighbors=20, method="mean"), LOF(n_neighbors=20), LOF(n_neighbors=50), OCSVM()],
        n_jobs=1,
        rp_flag_global=False,
        bps_flag=False,
        approx_flag_global=approximated,
        approx_clf=RandomForestRegressor(n_estimators=50, random_state=seed),
    )


def one_by_one(scorers: list[Call]) -> Call:
    """Return what asks several for their scores."""
    return lambda x: [score(x) for score in scorers]


def run(name: str, seed: int) -> list[dict[str, object]]:
    """Return the rows of a set with a seed."""
    x, y = adbench(name)
    unseen = fifth(len(x), seed)
    centre, spread = x[~unseen].mean(0), x[~unseen].std(0)
    x = (x - centre) / np.where(spread > 0, spread, 1.0)
    learn, test = x[~unseen], x[unseen]
    with threadpool_limits(1), silence(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spent = [time.perf_counter()]
        teacher = ensemble(seed, approximated=False).fit(learn)
        spent.append(time.perf_counter())
        forests = ensemble(seed, approximated=True).fit(learn)
        spent.append(time.perf_counter())
        with never_refused():
            detector = limbeck.distil(teacher, learn, seed=seed)
        spent.append(time.perf_counter())
        detectors, approximators = teacher.model_.base_estimators, forests.model_.approximators
        models: dict[str, tuple[Call, Call, Call, Any, Any]] = {
            ENSEMBLE: (
                teacher.decision_function, teacher.decision_function,
                one_by_one([d.decision_function for d in detectors]), detectors, teacher,
            ),
            FORESTS: (
                forests.decision_function, forests.decision_function,
                one_by_one([f.predict for f in approximators]), approximators, forests,
            ),
            STUDENT: (lambda rows: detector.scorer(rows).score, detector.detect, detector.scorer, None, None),
        }  # fmt: skip
        said = teacher.decision_function(test)
        single, many = [row[None].copy() for row in test[:SINGLES]], [test[:BATCH].copy()]
        found: list[dict[str, object]] = []
        for (model, (score_of, call, bare, needed, whole)), took in zip(models.items(), np.diff(spent), strict=True):
            score = score_of(test)
            found.append({
                "set": name, "seed": seed, "rows": len(learn), "unseen": len(test), "anomalies": int(y[unseen].sum()),
                "model": model, "auroc": metrics.auroc(y[unseen], score), "spearman": spearman(said, score),
                "top_overlap": top_overlap(said, score), "learn_seconds": float(took),
                "model_bytes": len(pickle.dumps(needed)), "whole_bytes": len(pickle.dumps(whole)),
                "row_us": 1e6 * seconds(call, single), "bare_row_us": 1e6 * seconds(bare, single),
                "batch_ms": 1e3 * seconds(call, many), "bare_batch_ms": 1e3 * seconds(bare, many),
                "size": "", "refused": "",
            })  # fmt: skip
    found[-1] |= of_the_student(detector, len(learn))
    return found


def of_the_student(detector: Any, rows: int) -> dict[str, object]:
    """Return what the student alone has to say."""
    weights = detector.artefact.weights
    with tempfile.TemporaryDirectory() as folder:
        detector.save(Path(folder) / "it.limbeck")
        files = [file for file in (Path(folder) / "it.limbeck").rglob("*") if file.is_file()]
        whole = sum(file.stat().st_size for file in files)
    taught = int((~set_aside(np.zeros(rows, np.int8), 0)).sum())
    return {
        "model_bytes": sum(weight.nbytes for key, weight in weights.items() if key.startswith("layers.")),
        "whole_bytes": whole,
        "size": detector.artefact.training["chosen"].partition(",")[0],
        "refused": refused(detector.artefact.training["fidelity"]["spearman"], taught, FollowerConfig()),
    }


def table() -> None:
    """Print the docs' table: means over the seeds, the spread of what is no time or size in brackets."""
    rows = read(RESULTS)
    print("| set | model | seeds | " + " | ".join(KEYS) + " | refused |\n" + "| --- " * (4 + len(KEYS)) + "|")
    for name, model in dict.fromkeys((row["set"], row["model"]) for row in rows):
        mine = [row for row in rows if (row["set"], row["model"]) == (name, model)]
        cells = [cell(key, [float(row[key]) for row in mine]) for key in KEYS]
        cells.append(f"{sum(row['refused'] == 'True' for row in mine)}" if model == STUDENT else "")
        print(f"| {name} | {model} | {len(mine)} | " + " | ".join(cells) + " |")


def cell(key: str, values: list[float]) -> str:
    """Return the mean as it is read best, and the spread of a quality; the median of a time or a size."""
    if key in ("auroc", "spearman", "top_overlap"):
        return f"{statistics.mean(values):.3f} ({statistics.pstdev(values):.3f})"
    middle = statistics.median(values)
    return f"{middle:,.0f}" if middle >= 100 else f"{middle:.3g}"


def main() -> None:
    """Measure what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--markdown", action="store_true", help="print the table of the docs, and measure nothing")
    given = parser.parse_args()
    if not given.markdown:
        if not available():
            sys.exit("the data are not there: set LIMBECK_DATA to their folder")
        if find_spec("suod") is None:
            sys.exit("SUOD is not installed: pip install 'limbeck[bench]'")
        for seed in given.seeds:
            for name in given.sets:
                if not held(RESULTS, set=name, seed=seed):
                    for row in run(name, seed):
                        append(RESULTS, row, "scikit-learn", "pyod", "suod")
                    print(f"done: {name}, seed {seed}", flush=True)
    table()


if __name__ == "__main__":
    main()
