"""Is a committee's student as good as the committee, and does it rank alike? The 52 sets of ADBench, seeds 0, 1, 2.

All rows are learned from without their labels, which then measure the scores of the same rows. In no score but the
student's does a row that was learned from speak for itself: of those rows, a detector's scores are the ones that it
left behind. Beside committee and student, which are of one training: its five detectors, and PyOD's own ECOD and
isolation forest on the same rows as they came. Times are those of learning, on one thread; the student's is that of the
committee, too.

Fidelity, with seed 0 alone: both learn from four fifths and are compared on the fifth, five times. No set is cut down,
though `tails`, `nearest` and `lof` keep 20,000 rows at most.

Nothing is set aside for a threshold, as nothing here has one. A student that does not follow is measured all the same,
and it is counted how many would have been refused.

An undistilled control does not exist: without labels and without a teacher there is no target. What a cheaper teacher
would have given is an ablation: --set teachers=isolation-forest --tag "forest alone".

    python benchmarks/committee.py [--sets annthyroid "MVTec screw"] [--seeds 0 1 2] [--jobs 1]
                                   [--set FIELD=VALUE ... --tag NAME]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from _data import adbench, adbench_sets, available
from _following import fifth, never_refused, refused
from _results import append, held, read
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from limbeck import metrics
from limbeck.config import parse_assignment
from limbeck.contracts import Step
from limbeck.errors import LimbeckError
from limbeck.fidelity import spearman, top_overlap
from limbeck.fitting import configure
from limbeck.tabular import committee
from limbeck.tabular.config import CommitteeConfig
from limbeck.tabular.follow import hold_out
from limbeck.tabular.outliers import learn_outliers

RESULTS = Path(__file__).with_suffix(".csv")
FOLDS, FOLDED_SEED = 5, 0
NEAR, MANY = 0.01, 1000  # of AUROC; rows from which a rank correlation is no matter of chance
TEACHER, STUDENT, OTHERS = "committee", "student", ("PyOD ECOD", "PyOD isolation forest")
FIGURES = ("auroc", "average_precision", "seconds", "size", "compared", "spearman", "top_overlap", "refused")
Floats = NDArray[np.float64]
Row = dict[str, str]


@dataclass(frozen=True)
class Job:
    """What is measured at once: a set with a seed, on all rows or on a fold."""

    name: str
    seed: int
    fold: int | None  # None: all rows
    fields: Mapping[str, Any]
    tag: str

    @property
    def key(self) -> dict[str, object]:
        """What its rows of the results begin with."""
        return {"set": self.name, "seed": self.seed, "tag": self.tag, "fold": "" if self.fold is None else self.fold}


def measure(job: Job) -> list[dict[str, object]]:
    """Return the rows of a job."""
    x, y = adbench(job.name)
    config: CommitteeConfig = configure("committee", job.fields)
    about = {"rows": len(x), "columns": x.shape[1], "anomalies": int(y.sum())}
    with threadpool_limits(1), never_refused():
        if job.fold is None:
            found = on_all_rows(x, y, config, job.seed, others=not job.tag)
        else:
            found = [on_a_fold(x, fifth(len(x), job.seed, job.fold), config, job.seed)]
    return [job.key | about | dict.fromkeys(FIGURES, "") | row for row in found]


def on_all_rows(
    x: Floats, y: NDArray[np.int8], config: CommitteeConfig, seed: int, *, others: bool
) -> list[dict[str, object]]:
    """Learn from all rows, and measure everybody on them."""
    left: list[Floats] = []  # what each detector said of the rows that it learned from
    marks = [time.perf_counter()]

    def remember(*arguments: Any, **options: Any) -> Any:
        detector, own = learn(*arguments, **options)
        left.append(own)
        return detector, own

    def on_step(step: Step) -> None:
        if step.stage == "teachers":
            marks.append(time.perf_counter())

    learn = learn_outliers
    with mock.patch.object(committee, "learn_outliers", remember):
        distilled = committee.distil_committee(x, config, seed=seed, on_step=on_step)
    seconds = time.perf_counter() - marks[0]
    members, follower = distilled.committee.members, distilled.follower
    unseen, z = hold_out(len(x), config, seed), distilled.committee.features(x).astype(np.float64)
    said = np.empty((len(members), len(x)))
    for k, member in enumerate(members):
        said[k, ~unseen], said[k, unseen] = left[k], member.detector(z[unseen])
    voices = np.stack([m.footing(own) for m, own in zip(members, said, strict=True) if m.weight])
    scores = {
        TEACHER: (distilled.committee.combine(voices), marks[-1] - marks[0]),
        STUDENT: (follower.network(x).astype(np.float64), seconds),
    }
    taken = np.diff(marks).tolist()
    scores |= {m.name: (own, spent) for m, own, spent in zip(members, said, taken, strict=True)}
    if others:
        scores |= pyod(x, seed)
    found: list[dict[str, object]] = []
    for model, (score, spent) in scores.items():
        quality = {"auroc": metrics.auroc(y, score), "average_precision": metrics.average_precision(y, score)}
        found.append({"model": model, **quality, "seconds": spent})
    following = follower.fidelity["spearman"]
    found[1] |= {
        "size": follower.size,
        "compared": follower.fidelity["n"],
        "spearman": following,
        "top_overlap": follower.fidelity["top_overlap"],
        "refused": refused(following, len(x), config),
    }
    return found


def pyod(x: Floats, seed: int) -> dict[str, tuple[Floats, float]]:
    """Return what PyOD's own detectors say of the rows that they learned from, and how long that took."""
    from pyod.models.ecod import ECOD
    from pyod.models.iforest import IForest

    found = {}
    for name, detector in zip(OTHERS, (ECOD(), IForest(random_state=seed)), strict=True):
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a column that never varies has no skew
            said = detector.fit(x).decision_scores_
        found[name] = said, time.perf_counter() - start
    return found


def on_a_fold(x: Floats, unseen: NDArray[np.bool_], config: CommitteeConfig, seed: int) -> dict[str, object]:
    """Compare student and committee on rows that neither has seen."""
    start = time.perf_counter()
    distilled = committee.distil_committee(x[~unseen], config, seed=seed)
    seconds = time.perf_counter() - start
    said, follower = distilled.committee(x[unseen]), distilled.follower
    its = follower.network(x[unseen])
    return {
        "model": STUDENT,
        "seconds": seconds,
        "size": follower.size,
        "compared": len(said),
        "spearman": spearman(said, its),
        "top_overlap": top_overlap(said, its),
        "refused": refused(follower.fidelity["spearman"], int((~unseen).sum()), config),
    }


def missing(sets: Iterable[str], seeds: Iterable[int], fields: Mapping[str, Any], tag: str) -> Iterator[Job]:
    """List what is not in the results yet."""
    for seed in seeds:
        for name in sets:
            for fold in (None, *range(FOLDS if seed == FOLDED_SEED else 0)):
                job = Job(name, seed, fold, fields, tag)
                if not held(RESULTS, **job.key):
                    yield job


def done(jobs: list[Job], processes: int) -> Iterator[list[dict[str, object]]]:
    """Measure here, or in so many processes, whose times then are those of a busier machine."""
    if processes == 1:
        yield from map(measure, jobs)
        return
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        yield from pool.map(measure, jobs)


def means(rows: list[Row], key: str) -> dict[tuple[str, str], float]:
    """Return the mean over the seeds of a figure on all rows, by set and model."""
    values: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if row["fold"] == "":
            values.setdefault((row["set"], row["model"]), []).append(float(row[key]))
    return {which: statistics.mean(found) for which, found in values.items()}


def fidelity(rows: list[Row], key: str) -> dict[str, float]:
    """Return the mean over the folds of a figure on unseen rows, by set."""
    folds = [row for row in rows if row["fold"] != ""]
    return {
        name: statistics.mean(float(row[key]) for row in folds if row["set"] == name)
        for name in dict.fromkeys(row["set"] for row in folds)
    }


def said_of(rows: list[Row]) -> dict[str, str]:
    """Return what is to be said of all sets together."""
    auroc, sizes = means(rows, "auroc"), {row["set"]: int(row["rows"]) for row in rows}
    less = [round(auroc[name, TEACHER] - value, 6) for (name, model), value in auroc.items() if model == STUDENT]
    followers = [row for row in rows if row["model"] == STUDENT]
    near, not_below = sum(abs(d) <= NEAR for d in less), sum(d <= NEAR for d in less)
    told = {
        f"sets where the student's AUROC is within {NEAR} of the committee's": f"{near} of {len(less)}",
        f"sets where it is at most {NEAR} below": f"{not_below} of {len(less)}",
        "students that would have been refused": f"{sum(row['refused'] == 'True' for row in followers)} "
        f"of {len(followers)}",
    }
    for key, words in (("spearman", "rank correlation"), ("top_overlap", "share of the top 1 % that is the same")):
        large = [value for name, value in fidelity(rows, key).items() if sizes[name] >= MANY]
        if large:
            told[f"{words}, median of {len(large)} sets of {MANY:,} rows and more"] = f"{statistics.median(large):.3f}"
    return told


def table() -> None:
    """Print the docs' tables, one after another for each tag."""
    rows = read(RESULTS)
    for tag in dict.fromkeys(row["tag"] for row in rows):
        mine = [row for row in rows if row["tag"] == tag]
        if tag:
            print(f"\n{tag}\n")
        set_by_set(mine)
        print()
        together(mine)
        print()
        for what, value in said_of(mine).items():
            print(f"- {what}: {value}")


def set_by_set(rows: list[Row]) -> None:
    """Print a line for each set."""
    auroc, precision, seconds = (means(rows, key) for key in ("auroc", "average_precision", "seconds"))
    following, same = fidelity(rows, "spearman"), fidelity(rows, "top_overlap")
    first = {row["set"]: row for row in rows}
    print(
        "| set | rows | anomalous | AUROC of the committee | of the student | best detector, picked by the labels "
        f"| {OTHERS[0]} | {OTHERS[1]} | average precision of the committee | of the student | rank correlation, unseen "
        "rows | top 1 % the same | students | fit, s |\n" + "| --- " * 14 + "|"
    )
    for name in order(first):
        row = first[name]
        detectors = {m: v for (s, m), v in auroc.items() if s == name and m not in (TEACHER, STUDENT, *OTHERS)}
        best = max(detectors, key=lambda m: detectors[m], default="")
        cells = [
            f"{int(row['rows']):,} × {row['columns']}",
            f"{int(row['anomalies']) / int(row['rows']):.1%}",
            *(cell(auroc, name, model) for model in (TEACHER, STUDENT)),
            f"{best} {cell(auroc, name, best)}",
            *(cell(auroc, name, model) for model in OTHERS),
            *(cell(precision, name, model) for model in (TEACHER, STUDENT)),
            *(f"{found[name]:.3f}" if name in found else "" for found in (following, same)),
            ", ".join(sorted({r["size"] for r in rows if r["set"] == name and r["size"]})),
            cell(seconds, name, STUDENT, 1),
        ]
        print(f"| {name} | " + " | ".join(cells) + " |")


def order(names: Iterable[str]) -> list[str]:
    """Put the classical sets first."""
    return sorted(names, key=lambda name: (name.startswith("MVTec"), name.casefold()))


def cell(found: Mapping[tuple[str, str], float], name: str, model: str, digits: int = 3) -> str:
    """Return a figure in words, nothing where there is none."""
    return f"{found[name, model]:.{digits}f}" if (name, model) in found else ""


def together(rows: list[Row]) -> None:
    """Print the means over the sets, the spread of the seeds in brackets."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row["fold"] == "":
            groups.setdefault("MVTec features" if row["set"].startswith("MVTec") else "classical", []).append(row)
    if len(groups) > 1:
        groups["all"] = [row for mine in groups.values() for row in mine]
    print("| sets | model | AUROC | average precision | learning, median s |\n" + "| --- " * 5 + "|")
    for group, mine in groups.items():
        count = len({row["set"] for row in mine})
        for model in dict.fromkeys(row["model"] for row in mine):
            its = [row for row in mine if row["model"] == model]
            cells = [over_seeds(its, key) for key in ("auroc", "average_precision")]
            spent = statistics.median(float(row["seconds"]) for row in its)
            print(f"| {group} ({count}) | {model} | " + " | ".join(cells) + f" | {spent:.2f} |")


def over_seeds(rows: list[Row], key: str) -> str:
    """Return the mean over the sets of one model, and its spread over the seeds where each has all of the sets."""
    seeds = {row["seed"] for row in rows}
    by_seed = [means([row for row in rows if row["seed"] == seed], key) for seed in seeds]
    spread = f" ({statistics.pstdev(statistics.mean(found.values()) for found in by_seed):.4f})"
    complete = all(found.keys() == by_seed[0].keys() for found in by_seed)
    return f"{statistics.mean(means(rows, key).values()):.3f}" + (spread if complete else "")


def main() -> None:
    """Measure what is missing and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", help="default: all of them")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=1, help="processes, of one thread each")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="for an ablation")
    parser.add_argument("--tag", default="", help="names the ablation")
    parser.add_argument("--markdown", action="store_true", help="print the tables of the docs, and measure nothing")
    given = parser.parse_args()
    if not given.markdown:
        if not available():
            sys.exit("the data are not there: set LIMBECK_DATA to their folder")
        if bool(given.set) != bool(given.tag):
            sys.exit("an ablation needs both --set and --tag")
        jobs = list(
            missing(given.sets or adbench_sets(), given.seeds, dict(map(parse_assignment, given.set)), given.tag)
        )
        try:
            for job, found in zip(jobs, done(jobs, given.jobs), strict=True):
                for row in found:
                    append(RESULTS, row, "scikit-learn", "pyod")
                print("done:", ", ".join(f"{key} {value}" for key, value in job.key.items() if value != ""), flush=True)
        except LimbeckError as error:
            sys.exit(str(error))
    table()


if __name__ == "__main__":
    main()
