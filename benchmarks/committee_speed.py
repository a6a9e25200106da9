"""How much faster and smaller than its committee is a student, and how closely does it follow? One run, one thread.

`limbeck.fit` with its defaults learns 50,000 generated rows of 30 numbers: five clusters, each with correlations of its
own, and one row in a hundred three spreads away from its cluster. Committee and student are of that one training; a
student that `fit` would have refused is measured all the same, and the table says how closely it followed there.
Medians of five rounds: one row, and batches of 1,024. The student runs in numpy, as a package opens, and compiled
(`limbeck.load(folder, runtime="numba")`). `scorer` gives the score, as the committee does; `detect` gives the p-value
and the verdict, too, and for a single row takes a shorter way. PyOD's ECOD, taught on the same rows, stands apart: it
is not a member, and of every call it computes the whole table's tails again.

Fidelity is measured on 25,000 rows of the same clusters that nobody has seen. The committee's size is that of its
pickled members, the student's that of its weights, each beside the whole package.

    python benchmarks/committee_speed.py [--seeds 0] [--quick]

`--quick` only tries the script, on fewer rows, and writes nothing.
"""

from __future__ import annotations

import argparse
import pickle
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from _following import never_refused
from _results import append, held, read
from numpy.typing import NDArray
from pyod.models.ecod import ECOD
from speed import seconds
from threadpoolctl import threadpool_limits

import limbeck
from limbeck.detector import Detector
from limbeck.fidelity import spearman, top_overlap
from limbeck.tabular import committee
from limbeck.tabular.committee import DistilledCommittee

RESULTS = Path(__file__).with_suffix(".csv")
COLUMNS, CLUSTERS, ANOMALOUS, AWAY, BATCH = 30, 5, 0.01, 3.0, 1024
TOP = 0.01
Floats = NDArray[np.float64]
Found = dict[str, float]


@dataclass(frozen=True)
class Amounts:
    """How much is measured."""

    rows: int  # to learn from
    unseen: int
    singles: int  # calls of a round
    batches: int
    slow: int  # single rows of a round for ECOD


FULL = Amounts(rows=50_000, unseen=25_000, singles=200, batches=3, slow=3)
QUICK = Amounts(rows=2_000, unseen=2_048, singles=5, batches=1, slow=1)


def table(rows: int, seed: int, part: int) -> tuple[Floats, NDArray[np.int8]]:
    """Make rows, float64 (n, 30), and labels; a seed fixes the clusters, and each part has other rows of them."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(scale=4.0, size=(CLUSTERS, COLUMNS))
    mixing = rng.normal(size=(CLUSTERS, COLUMNS, COLUMNS)) / np.sqrt(COLUMNS)
    rng = np.random.default_rng((seed, part))
    y = (rng.random(rows) < ANOMALOUS).astype(np.int8)
    which, plain = rng.integers(CLUSTERS, size=rows), rng.normal(size=(rows, COLUMNS))
    x = centres[which] + np.einsum("nd,nde->ne", plain, mixing[which])
    x[y == 1] += rng.choice([-AWAY, AWAY], size=(int(y.sum()), COLUMNS))
    return x, y


def learned(x: Floats, seed: int) -> tuple[Detector, DistilledCommittee]:
    """Fit through the front door, and keep the committee, which a package does not hold."""
    kept: list[DistilledCommittee] = []

    def remember(*arguments: Any, **options: Any) -> DistilledCommittee:
        kept.append(distil(*arguments, **options))
        return kept[0]

    distil = committee.distil_committee
    with mock.patch.object(committee, "distil_committee", remember), never_refused():
        return limbeck.fit(x, seed=seed), kept[0]


def compiled(detector: Detector) -> Detector:
    """Save a package and open it compiled."""
    with tempfile.TemporaryDirectory() as folder:
        detector.save(Path(folder) / "it.limbeck")
        return limbeck.load(Path(folder) / "it.limbeck", runtime="numba")


def speeds(detector: Detector, teacher: Callable[[Floats], Any], ecod: Any, x: Floats, amounts: Amounts) -> Found:
    """Return seconds of a call, and how many times less the student takes."""
    single = [row[None].copy() for row in x[: amounts.singles]]
    many = [x[k * BATCH : (k + 1) * BATCH].copy() for k in range(amounts.batches)]
    students: dict[str, Callable[[Floats], Any]] = {}
    for name, it in (("student", detector), ("student compiled", compiled(detector))):
        students |= {f"{name}, scorer": it.scorer, f"{name}, detect": it.detect}
    found: Found = {}
    for words, inputs, few in (("1 row", single, amounts.slow), (f"{BATCH:,} rows", many, 1)):
        mine = {
            "committee": seconds(teacher, inputs),
            **{name: seconds(call, inputs) for name, call in students.items()},
            "PyOD ECOD": seconds(ecod.decision_function, inputs[:few]),
        }
        found |= {f"{words}: {name}, s": spent for name, spent in mine.items()}
        for slow in ("committee", "PyOD ECOD"):
            for quick in students:
                found[f"{words}: {quick}, times faster than the {slow}"] = mine[slow] / mine[quick]
    return found


def sizes(detector: Detector, distilled: DistilledCommittee) -> Found:
    """Return bytes."""
    found: Found = {f"{m.name}, pickled, bytes": len(pickle.dumps(m)) for m in distilled.committee.members}
    found["committee, pickled, bytes"] = sum(found.values())
    found["student, weights, bytes"] = 4 * distilled.follower.network.size
    with tempfile.TemporaryDirectory() as folder:
        detector.save(Path(folder) / "it.limbeck")
        files = (Path(folder) / "it.limbeck").rglob("*")
        found["package, bytes"] = sum(file.stat().st_size for file in files if file.is_file())
    for name in ("student, weights", "package"):
        found[f"{name}, times smaller than the committee"] = (
            found["committee, pickled, bytes"] / found[f"{name}, bytes"]
        )
    return found


def measure(seed: int, amounts: Amounts) -> Found:
    """Measure everything on one training."""
    x, unseen = (table(rows, seed, part)[0] for part, rows in enumerate((amounts.rows, amounts.unseen)))
    with threadpool_limits(1):
        detector, distilled = learned(x, seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ecod = ECOD().fit(x)
        found = speeds(detector, distilled.committee, ecod, unseen, amounts) | sizes(detector, distilled)
        said, its = distilled.committee(unseen), detector.scorer(unseen).score
    inside, words = distilled.follower.fidelity, f"on {len(unseen):,} unseen rows"
    found[f"rank correlation in the fit, on {inside['n']:,} rows (refused below 0.9)"] = inside["spearman"]
    found[f"rank correlation with the committee, {words}"] = spearman(said, its)
    found[f"top {TOP:.0%} the same, {words}"] = top_overlap(said, its, TOP)
    return found


def shown(values: list[tuple[str, float]]) -> None:
    """Print the table."""
    print("| what | value |\n| --- | --- |")
    for what, value in values:
        print(f"| {what} | {value:,.0f} |" if value >= 1000 else f"| {what} | {value:.4g} |")


def main() -> None:
    """Measure what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--quick", action="store_true", help="try the script; nothing is written")
    parser.add_argument("--markdown", action="store_true", help="print the table of the docs, and measure nothing")
    given = parser.parse_args()
    if given.quick:
        shown(list(measure(0, QUICK).items()))
        return
    for seed in given.seeds:
        if not given.markdown and not held(RESULTS, seed=seed):
            for what, value in measure(seed, FULL).items():
                append(RESULTS, {"seed": seed, "what": what, "value": value}, "scikit-learn", "pyod")
    for seed in given.seeds:
        print(f"\nseed {seed}\n")
        shown([(row["what"], float(row["value"])) for row in read(RESULTS) if row["seed"] == str(seed)])


if __name__ == "__main__":
    main()
