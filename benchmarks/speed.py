"""How fast is a package? One run, one thread, medians of five: one row, 100,000 rows, and a file of five million.

Beside the package: PyOD's isolation forest and a LightGBM of 500 trees, both taught on the same 50,000 rows of 30
numbers.

    python benchmarks/speed.py
"""

from __future__ import annotations

import csv
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import lightgbm
import numpy as np
import polars as pl
from _results import machine, versions
from threadpoolctl import threadpool_limits

import limbeck

RESULTS = Path(__file__).with_suffix(".csv")
ROWS, COLUMNS, TREES = 50_000, 30, 500
MANY, FILE_ROWS, GROUP = 100_000, 5_000_000, 250_000
CONFIG = {"folds": 2, "trees": 50, "steps": 500, "refit_below": 0, "choice": "multi-teacher"}  # speed alone is asked
SCORE = """
import sys, time
from limbeck.batch import score
from limbeck.detector import Detector
detector = Detector.load(sys.argv[1])
start = time.perf_counter()
score(detector, sys.argv[2], sys.argv[3])
print(time.perf_counter() - start)
"""


def table(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Make rows of normal numbers, one in a hundred of them shifted."""
    rng = np.random.default_rng(seed)
    y = (rng.random(rows) < 0.01).astype(np.int8)
    return rng.normal(size=(rows, COLUMNS)) + 1.5 * y[:, None] * (np.arange(COLUMNS) < 4), y


def seconds(call: Callable[[np.ndarray], object], inputs: list[np.ndarray]) -> float:
    """Return the median over five rounds of the mean time of one call, each with another input."""
    call(inputs[0])
    rounds = []
    for _ in range(5):
        start = time.perf_counter()
        for given in inputs:
            call(given)
        rounds.append((time.perf_counter() - start) / len(inputs))
    return statistics.median(rounds)


def file_to_file(package: Path, folder: Path) -> dict[str, float]:
    """Score a Parquet file of five million rows in a process of its own; return rows a second and peak memory."""
    rng = np.random.default_rng(1)
    part = pl.DataFrame(rng.normal(size=(FILE_ROWS, COLUMNS)).astype(np.float32), schema=[f"x{i}" for i in range(30)])
    part.write_parquet(folder / "rows.parquet", row_group_size=GROUP)
    del part
    inside, whole, peaks = [], [], []
    for _ in range(5):
        (folder / "scores.parquet").unlink(missing_ok=True)
        files = [str(package), str(folder / "rows.parquet"), str(folder / "scores.parquet")]
        command = [sys.executable, "-c", SCORE, *files]
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        peak = 0.0
        while process.poll() is None:
            try:
                status = Path(f"/proc/{process.pid}/status").read_text()
            except OSError:
                break
            held = [int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")]
            peak = max([peak, *(kib / 1024 for kib in held)])
            time.sleep(0.02)
        said, _ = process.communicate()
        whole.append(FILE_ROWS / (time.perf_counter() - start))
        inside.append(FILE_ROWS / float(said))
        peaks.append(peak)
    return {
        "rows/s, first read to final rename": statistics.median(inside),
        "rows/s, whole process": statistics.median(whole),
        "peak anonymous MiB": max(peaks),
    }


def main() -> None:
    """Measure and write the table."""
    try:
        from pyod.models.iforest import IForest
    except ImportError:
        sys.exit("PyOD is not installed: pip install 'limbeck[bench]'")
    x, y = table(ROWS, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        detector = limbeck.fit(x, label=y, config=CONFIG)
        forest = IForest(random_state=0).fit(x)
    booster = lightgbm.train({"objective": "binary", "verbosity": -1, "num_threads": 1}, lightgbm.Dataset(x, y), TREES)
    many = table(MANY, 3)[0]
    single = [row[None].copy() for row in many[:2000]]  # some lie far out, and take longer
    with threadpool_limits(1):
        found = {
            "limbeck, 1 row, s": seconds(detector.detect, single),
            "LightGBM, 1 row, s": seconds(lambda x: booster.predict(x, num_threads=1), single),
            "PyOD IForest, 1 row, s": seconds(forest.decision_function, single[:20]),
            f"limbeck, {MANY} rows, s": seconds(detector.detect, [many]),
            f"LightGBM, {MANY} rows, s": seconds(lambda x: booster.predict(x, num_threads=1), [many]),
        }
    found["1 row: times faster than PyOD IForest"] = found["PyOD IForest, 1 row, s"] / found["limbeck, 1 row, s"]
    found["1 row: times faster than LightGBM"] = found["LightGBM, 1 row, s"] / found["limbeck, 1 row, s"]
    found[f"{MANY} rows: times faster than LightGBM"] = (
        found[f"LightGBM, {MANY} rows, s"] / found[f"limbeck, {MANY} rows, s"]
    )
    with tempfile.TemporaryDirectory() as folder:
        detector.save(Path(folder) / "it.limbeck")
        found |= file_to_file(Path(folder) / "it.limbeck", Path(folder))
    with RESULTS.open("w", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["what", "value", "versions", "machine"])
        for what, value in found.items():
            writer.writerow([what, f"{value:.4g}", versions(), machine()])
            print(f"{what:45} {value:.4g}")


if __name__ == "__main__":
    main()
