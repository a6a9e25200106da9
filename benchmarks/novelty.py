"""How well do `max` and `mean` of a map tell one class from the rest? Ten digits, each once the normal one.

A random half of a digit of scikit-learn's is learned from, everything else is tested. The pictures, 8 x 8, go to
`limbeck.fit` as an array. Each detector is fitted once and both scores are taken from its maps. The control is the
distance to the nearest picture of the same half, in its 64 pixels.

ResNet-18 at 32 pixels is the paper's; its ImageNet weights come in no package, so without --weights they are random.

    python benchmarks/novelty.py [--digits 0 1] [--seeds 0] [--teachers NAME ...] [--steps 300] [--weights FILE]
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from _results import append, held, read
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.neighbors import NearestNeighbors

import limbeck
from limbeck import LimbeckWarning, metrics

RESULTS = Path(__file__).with_suffix(".csv")
CONTROL = "nearest picture"
TEACHERS: dict[str, dict[str, Any]] = {
    "resnet18 at 32": {"backbone": "resnet18", "size": 32},
    "efficientnet-lite0 at 64": {"backbone": "efficientnet-lite0", "size": 64},  # strides 8, 16, 32
    "efficientnet-lite0 at 32": {  # strides 4, 8, 16, as ResNet-18's
        "backbone": "efficientnet-lite0", "size": 32, "taps": ["_blocks.2", "_blocks.4", "_blocks.10"],
    },
}  # fmt: skip
SCORES = ("max", "mean")


def digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return 1,797 grey pictures, uint8 (n, 8, 8), and the digit that each shows."""
    found = load_digits()
    return np.rint(found.images * (255 / 16)).astype(np.uint8), found.target.astype(np.int64)


def split(y: NDArray[np.int64], digit: int, seed: int) -> NDArray[np.bool_]:
    """Choose what is learned from: half of the pictures of a digit."""
    chosen = np.zeros(len(y), bool)
    normal = np.flatnonzero(y == digit)
    chosen[np.random.default_rng(seed).permutation(normal)[: len(normal) // 2]] = True
    return chosen


def run(digit: int, seed: int, teacher: str, weights: str, steps: int) -> None:
    """Measure one digit as the normal class, by one teacher or by the control."""
    x, y = digits()
    learned = split(y, digit, seed)
    anomalous = (y[~learned] != digit).astype(np.int8)
    start = time.perf_counter()
    if teacher == CONTROL:
        near = NearestNeighbors(n_neighbors=1).fit(x[learned].reshape(-1, 64))
        seconds = time.perf_counter() - start
        scores = {"distance": near.kneighbors(x[~learned].reshape(-1, 64))[0][:, 0]}
    else:
        config = {**TEACHERS[teacher], "weights": weights, "steps": steps}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LimbeckWarning)  # so few calibration pictures promise little
            detector = limbeck.fit(x[learned], config=config, seed=seed)
        seconds = time.perf_counter() - start
        maps = np.asarray(detector.detect(x[~learned]).map)
        scores = {"max": maps.max((1, 2)), "mean": maps.mean((1, 2), dtype=np.float64)}
    for score, values in scores.items():
        append(RESULTS, {
            "digit": digit, "seed": seed, "teacher": teacher, "weights": named(weights), "steps": steps, "score": score,
            "auroc": metrics.auroc(anomalous, values), "learned": int(learned.sum()), "tested": len(anomalous),
            "tested_normal": int((anomalous == 0).sum()), "fit_seconds": round(seconds, 2),
        })  # fmt: skip


def named(weights: str) -> str:
    """Return weights as they are written down: "published", "random" or the file's name."""
    return Path(weights).name or "published"


def plan(teachers: list[str], weights: str, steps: int) -> list[tuple[str, str, int]]:
    """List teacher, weights and steps of what is measured for each digit."""
    found = [(CONTROL, "none", 0)]
    for teacher in teachers:
        resnet = TEACHERS[teacher]["backbone"] == "resnet18"
        found.append((teacher, (weights or "random") if resnet else "", steps))
    return found


def table() -> None:
    """Print the mean over the digits, and its spread over the seeds."""
    rows = read(RESULTS)
    print(f"{'teacher':28}{'weights':28}{'steps':>6}  {'score':10}{'digits':>6}{'AUROC':>16}{'worst':>8}")
    for key in dict.fromkeys((r["teacher"], r["weights"], r["steps"], r["score"]) for r in rows):
        mine = [r for r in rows if (r["teacher"], r["weights"], r["steps"], r["score"]) == key]
        seeds = dict.fromkeys(r["seed"] for r in mine)
        means = [statistics.mean(float(r["auroc"]) for r in mine if r["seed"] == seed) for seed in seeds]
        words = f"{statistics.mean(means):.4f} ({statistics.pstdev(means):.4f})"
        count, worst = len({r["digit"] for r in mine}), min(float(r["auroc"]) for r in mine)
        print(f"{key[0]:28}{key[1]:28}{key[2]:>6}  {key[3]:10}{count:>6}{words:>16}{worst:8.4f}")


def main() -> None:
    """Measure what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--digits", type=int, nargs="+", default=list(range(10)), choices=range(10), metavar="DIGIT")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--teachers", nargs="+", default=list(TEACHERS), choices=list(TEACHERS), metavar="NAME")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--weights", default="", metavar="FILE", help="of ResNet-18, with torchvision's keys")
    arguments = parser.parse_args()
    for seed in arguments.seeds:
        for digit in arguments.digits:
            for teacher, weights, steps in plan(arguments.teachers, arguments.weights, arguments.steps):
                key = {"digit": digit, "seed": seed, "teacher": teacher, "weights": named(weights), "steps": steps}
                if not held(RESULTS, **key):
                    run(digit, seed, teacher, weights, steps)
                    print(f"done: {digit}, seed {seed}, {teacher}", flush=True)
    table()


if __name__ == "__main__":
    main()
