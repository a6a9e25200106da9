"""Does a student survive wrong labels? Credit-card sample, labels turned in each class, seeds 0, 1, 2.

As many anomalies become "normal", and as many normal rows "anomalies", as 0, 2, 5 and 10 % of the number of anomalies;
everything that learns gets the same wrong labels, and is measured on the same test rows with the right ones.

    python benchmarks/label_noise.py [--seeds 0 1 2]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _data import available, creditcard_sample
from _models import lightgbm_alone
from _results import append, held, read

from limbeck import metrics
from limbeck.data.columns import labels_of, rows_of
from limbeck.tabular.config import MultiTeacherConfig
from limbeck.tabular.encode import learn_spec
from limbeck.tabular.multi_teacher import distil
from limbeck.tabular.noise import flip_labels

RESULTS = Path(__file__).with_suffix(".csv")
LEVELS = (0.0, 0.02, 0.05, 0.1)
CONFIG = MultiTeacherConfig(refit_below=0, measurements=1)


def run(seed: int, level: float) -> None:
    """Measure one seed at one level."""
    train, test = creditcard_sample(seed)
    spec, _ = learn_spec(train, label="fraud")
    x, x_test = (rows_of(frame, spec, named=True) for frame in (train, test))
    y, y_test = flip_labels(labels_of(train["fraud"]), level, seed), labels_of(test["fraud"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = distil(x, y, CONFIG, seed=seed)
    booster, _ = lightgbm_alone(x, y, (), seed)
    models: dict[str, Callable[..., Any]] = {f"student: {role}": n for role, n in result.students.items()}
    models |= {"committee": result.committee.log_odds, "LightGBM on the labels": booster.predict}
    for model, score_of in models.items():
        append(
            RESULTS,
            {
                "seed": seed,
                "noise": level,
                "model": model,
                "average_precision": metrics.average_precision(y_test, score_of(x_test)),
                "auroc": metrics.auroc(y_test, score_of(x_test)),
            },
        )


def main() -> None:
    """Measure what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    seeds = parser.parse_args().seeds
    if not available():
        sys.exit("the data are not there: set LIMBECK_DATA to their folder")
    for seed in seeds:
        for level in LEVELS:
            if not held(RESULTS, seed=seed, noise=f"{level:.6g}"):
                run(seed, level)
    rows = read(RESULTS)
    print(f"{'model':26}" + "".join(f"{f'{level:.0%} turned':>24}" for level in LEVELS))
    for model in dict.fromkeys(r["model"] for r in rows):
        ap = {(float(r["noise"]), r["seed"]): float(r["average_precision"]) for r in rows if r["model"] == model}
        cells = []
        for level in LEVELS:
            mine = [s for noise, s in ap if noise == level]
            ratio = statistics.mean(ap[level, s] / ap[0.0, s] for s in mine)
            cells.append(f"{statistics.mean(ap[level, s] for s in mine):.3f} (ratio {ratio:.3f})")
        print(f"{model:26}" + "".join(f"{cell:>24}" for cell in cells))


if __name__ == "__main__":
    main()
