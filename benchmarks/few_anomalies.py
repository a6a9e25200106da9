"""With some fifty anomalies, what does each part give? Generated payments, 4,000 rows to learn from, 30,000 to test on.

The shipped student (taught again on all rows), the five students before that, and the committee.

    python benchmarks/few_anomalies.py [--seeds 0 1 2 3]
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _results import append, held, read

from limbeck import metrics
from limbeck.data.columns import labels_of, rows_of
from limbeck.data.transactions import transactions
from limbeck.tabular.config import MultiTeacherConfig
from limbeck.tabular.encode import learn_spec
from limbeck.tabular.multi_teacher import distil

RESULTS = Path(__file__).with_suffix(".csv")
ROWS, TEST_ROWS, TEST_SEED = 4_000, 30_000, 999


def run(seed: int) -> None:
    """Measure one seed."""
    train, test = transactions(ROWS, seed=seed), transactions(TEST_ROWS, seed=TEST_SEED)
    spec, _ = learn_spec(train, label="fraud")
    x, x_test = (rows_of(frame, spec, named=True) for frame in (train, test))
    y, y_test = labels_of(train["fraud"]), labels_of(test["fraud"])
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = distil(x, y, MultiTeacherConfig(), seed=seed, categorical=spec.categorical)
    seconds = round(time.perf_counter() - start, 1)
    models: dict[str, Callable[..., Any]] = {"shipped, again on all rows": result.network}
    models |= {f"student: {role}": network for role, network in result.students.items()}
    models["committee"] = result.committee.log_odds
    for model, score_of in models.items():
        score = score_of(x_test)
        append(
            RESULTS,
            {
                "seed": seed,
                "anomalies": int(y.sum()),
                "model": model,
                "role": result.chosen if model.startswith("shipped") else "",
                "average_precision": metrics.average_precision(y_test, score),
                "auroc": metrics.auroc(y_test, score),
                "fit_seconds": seconds,
            },
        )


def main() -> None:
    """Measure what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
    for seed in parser.parse_args().seeds:
        if not held(RESULTS, seed=seed):
            run(seed)
    rows = read(RESULTS)
    for model in dict.fromkeys(r["model"] for r in rows):
        values = [float(r["average_precision"]) for r in rows if r["model"] == model]
        print(f"{model:30} {statistics.mean(values):.4f} ({statistics.pstdev(values):.4f}) over {len(values)} seeds")


if __name__ == "__main__":
    main()
