"""The knobs of the tabular methods: plain dataclasses, readable without torch or numpy."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from limbeck.config import at_least, automatic_or, between, knob, one_of, share, subset_of

__all__ = [
    "COMMITTEE",
    "OUTLIER_KINDS",
    "OWN_KINDS",
    "RESAMPLERS",
    "ROLES",
    "STUDENTS",
    "REFRESHED",
    "CommitteeConfig",
    "FollowerConfig",
    "MultiTeacherConfig",
    "parse_kind",
]

RESAMPLERS = ("none", "ros", "smote", "borderline", "adasyn", "rus", "tomek", "enn", "smoteenn", "nearmiss")
STUDENTS: dict[str, tuple[int, ...]] = {
    "nano": (16,),
    "tiny": (32, 32),
    "small": (64, 64),
    "base": (128, 64),
}
REFRESHED = 4  # a student that goes on learning takes so many times fewer steps
# The candidates, from the simplest to the most elaborate.
ROLES = {
    "labels": "labels alone",
    "control": "labels, synthetic rows (the control: no teacher)",
    "distilled": "one teacher",
    "distilled-rows": "one teacher, synthetic rows",
    "multi-teacher": "the committee, synthetic rows",
}
COMMITTEE = ("isolation-forest", "tails", "nearest", "lof", "autoencoder")  # detectors that are asked by default
OUTLIER_KINDS = (*COMMITTEE, "gan")  # detectors that need no label
OWN_KINDS = ("lightgbm", "mlp")  # written here; every other one is somebody's class
_KIND = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+(\(.*\))?", re.DOTALL)


def parse_kind(kind: str) -> tuple[str, Mapping[str, Any]]:
    """Split a kind of teacher into its name and its settings; only literal values, nothing is evaluated.

    Parameters
    ----------
    kind : str
        "lightgbm", "mlp", or a class with `fit` and `predict_proba` and, if need be, its settings:
        ``sklearn.ensemble.ExtraTreesClassifier(n_estimators=200)``.

    Returns
    -------
    name : str
        The word or the dotted name.
    settings : mapping of str to object
        Keyword arguments.

    Raises
    ------
    ValueError
        If it is none of these.

    Examples
    --------
    >>> parse_kind("sklearn.naive_bayes.GaussianNB(var_smoothing=1e-8)")
    ('sklearn.naive_bayes.GaussianNB', {'var_smoothing': 1e-08})
    """
    if kind in OWN_KINDS:
        return kind, {}
    if not _KIND.fullmatch(kind):
        raise ValueError(f"{kind!r} is not a kind of teacher")
    name, bracket, rest = kind.partition("(")
    if not bracket:
        return name, {}
    text = f"f({rest}"
    try:
        call = ast.parse(text, mode="eval").body
        whole = ast.get_source_segment(text, call) == text  # nothing follows the bracket
        if not (whole and isinstance(call, ast.Call) and isinstance(call.func, ast.Name)) or call.args:
            raise ValueError("something else than keyword arguments")
        names = [str(k.arg) for k in call.keywords if k.arg is not None]
        if len(set(names)) < len(call.keywords):
            raise ValueError("a setting twice, or none")
        return name, {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
    except (SyntaxError, TypeError, ValueError) as error:
        raise ValueError(f"{kind!r} is not a class with settings: {error}") from error


def _kinds(value: tuple[str, ...]) -> str | None:
    try:
        [parse_kind(kind) for kind in value]
    except ValueError:
        fine = False
    else:
        fine = 0 < len(set(value)) == len(value)
    return None if fine else "different ones of lightgbm, mlp, or package.module.Class(setting=value)"


@dataclass(frozen=True)
class MultiTeacherConfig:
    """Every knob of `multi-teacher`; an ablation is one field set."""

    # the committee: one teacher for each kind and resampler
    teachers: tuple[str, ...] = knob(
        ("lightgbm",), "kinds: lightgbm, mlp, or any class with predict_proba as package.module.Class(setting=value)",
        _kinds,
    )  # fmt: skip
    resamplers: tuple[str, ...] = knob(
        ("none", "ros", "smote", "borderline", "rus", "tomek"),
        "how the rows of each teacher are resampled: " + ", ".join(RESAMPLERS),
        subset_of(*RESAMPLERS),
    )
    ratio: float = knob(
        0.25,
        "anomalies per normal row that resampling aims at (twice the natural rate where that is more)",
        between(1e-6, 1),
    )
    normals: int = knob(
        200, "normal rows per anomaly that a teacher sees at most, drawn for each anew; 0 = all", between(0, 1e9)
    )
    folds: int = knob(
        0, "folds of the out-of-fold scores; 0 = ten below 200 anomalies, five above", automatic_or(between(2, 100))
    )
    kinds: str = knob(
        "best",
        "which kinds are heard: all, or the best by out-of-fold average precision, be it one or all together",
        one_of("best", "all"),
    )
    weights: str = knob(
        "reliability",
        "of the teachers: mean, reliability (out-of-fold log loss), or sample (the same for each labelled row)",
        one_of("mean", "reliability", "sample"),
    )
    reliability: float = knob(
        0.05, "how much log loss, of the prior's, costs a teacher a factor e of its weight", between(1e-4, 100)
    )
    trees: int = knob(300, "boosting rounds of a LightGBM teacher", between(1, 100_000))
    leaves: int = knob(31, "leaves of one tree", between(2, 100_000))
    learning_rate: float = knob(0.05, "step of the boosting", between(1e-6, 1))
    columns: float = knob(0.5, "share of the columns that a tree may use", between(1e-3, 1))
    jobs: int = knob(0, "models taught at the same time, one core each; 0 = one for each core", between(0, 1000))
    # the rows
    swap: int = knob(4, "synthetic rows for each real row, labelled by the committee; 0 = none", between(0, 1000))
    swap_share: float = knob(0.3, "chance of each value to be taken from another row", share)
    swap_anomalous: float = knob(0.25, "share of the synthetic rows that start from an anomaly", share)
    swap_most: int = knob(200_000, "upper bound on the synthetic rows", between(0, 1e9))
    # the student
    student: str = knob("small", "size: " + ", ".join(f"{k} {v}" for k, v in STUDENTS.items()), one_of(*STUDENTS))
    choice: str = knob(
        "auto",
        "which student is shipped: " + ", ".join(ROLES) + "; auto = by validation average precision, the simplest "
        "within one standard error",
        one_of("auto", *ROLES),
    )
    soft: float = knob(0.7, "weight of the committee's word against the label's, on real rows", share)
    soft_loss: str = knob(
        "tempered", "of the committee's word: tempered cross-entropy, or huber on log-odds", one_of("tempered", "huber")
    )
    hard_loss: str = knob(
        "plain", "of the label: plain cross-entropy, weighted by class, or focal", one_of("plain", "weighted", "focal")
    )
    temperature: float = knob(2.0, "softens the committee's log-odds", between(0.1, 100))
    steps: int = knob(
        4000, "most optimiser steps of a student; a small table has 400 passes, at least 500 steps", between(1, 1e8)
    )
    batch: int = knob(
        0, "rows in a step; 0 = 512 up to 50,000 rows to learn from, 2,048 above", automatic_or(between(2, 1e6))
    )
    student_rate: float = knob(
        3e-3, "peak learning rate of a student for steps of 512 rows; it grows with the root of the batch",
        between(1e-8, 1),
    )  # fmt: skip
    attention: float = knob(
        0.25, "share of each step's rows that is drawn from the critical ones: the anomalies, and, where a teacher "
        "speaks, what it finds most suspicious", between(0, 0.95),
    )  # fmt: skip
    critical: float = knob(0.01, "share of the rows that counts as most suspicious", share)
    # what is held out inside
    validation: float = knob(
        0.2, "share of the rows that calibrates the students and fills the candidates table", between(0.05, 0.5)
    )
    measurements: int = knob(
        0,
        "how often the candidates are measured, on other validation rows each time; 0 = until 40 anomalies are seen, "
        "at most four times",
        automatic_or(between(1, 20)),
    )
    refit_below: int = knob(
        1000, "with fewer anomalies, teach the shipped student again on the validation rows too; 0 = never",
        between(0, 1e9),
    )  # fmt: skip
    # robustness: what is done to the rows and labels that are learned from, never to those that measure
    label_noise: float = knob(0.0, "labels turned in each class, as a share of the number of anomalies", share)
    feature_noise: float = knob(0.0, "Gaussian noise on numbers, in units of a column's spread", between(0, 100))
    missing: float = knob(0.0, "share of the values that are taken away", between(0, 0.95))
    # the edge
    max_categories: int = knob(100, "most frequent categories kept of a column; the rest are 'other'", at_least(1))


@dataclass(frozen=True)
class FollowerConfig:
    """Knobs of a student that ranks as its teacher does, whatever the teacher; all there are of `distilled`."""

    # the rows
    swap: float = knob(1, "synthetic rows for each real row, scored by the teacher; 0 = none", between(0, 1000))
    swap_share: float = knob(0.3, "chance of each value to be taken from another row", share)
    fewest: int = knob(5000, "synthetic rows that there are at least", between(0, 1e9))
    most: int = knob(100_000, "and at most", between(0, 1e9))
    far: float = knob(
        0.1, "rows far out for each other row, real or synthetic, scored by the teacher; 0 = none", between(0, 1000)
    )
    # the student
    student: str = knob(
        "tiny", "smallest size that is tried: " + ", ".join(f"{k} {v}" for k, v in STUDENTS.items()), one_of(*STUDENTS)
    )
    fidelity: float = knob(
        0.9,
        "rank correlation with the teacher, on rows held out, below which it learns for longer, then a larger one is "
        "taught, and the largest refused; -1 = any will do",
        between(-1, 1),
    )
    same_top: float = knob(
        0.7, "share of the strangest rows (1 %, at least 10) that has to be the same, or it learns for longer, then a "
        "larger one is taught", share,
    )  # fmt: skip
    longer: float = knob(
        4.0, "most times as many steps for a student that does not follow: twice as many, and again, up to this, for "
        "which larger ones are taught too; 1 = larger ones at once", between(1, 100),
    )  # fmt: skip
    steps: int = knob(
        4000, "most optimiser steps of a student; a small table has 400 passes, at least 500 steps", between(1, 1e8)
    )
    batch: int = knob(
        0, "rows in a step; 0 = 512 up to 50,000 rows to learn from, 2,048 above", automatic_or(between(2, 1e6))
    )
    student_rate: float = knob(
        3e-3, "peak learning rate of a student for steps of 512 rows; it grows with the root of the batch",
        between(1e-8, 1),
    )  # fmt: skip
    target: str = knob(
        "ranks",
        "what is learned: ranks = the teacher's score as that of a standard normal (Huber's loss), or tempered = its "
        "chance of an anomaly at a temperature",
        one_of("ranks", "tempered"),
    )
    temperature: float = knob(1.0, "of target=tempered: softens the teacher's log-odds", between(0.1, 100))
    soft: float = knob(
        1.0, "of target=tempered: weight of its chance; the rest is of its yes or no, the hard label", share
    )
    anomalous: float = knob(
        0.05,
        "of target=tempered: share of the rows that the teacher is taken to hold for anomalous",
        between(1e-4, 0.5),
    )
    attention: float = knob(0.25, "share of each step's rows that is drawn from the critical ones", between(0, 0.95))
    critical: float = knob(0.05, "share of the rows that counts as critical: those that score highest", share)
    # what is held out inside
    validation: float = knob(0.2, "share of the rows on which teacher and student are compared", between(0.05, 0.5))
    # the report
    shown: int = knob(
        10, "rows on which teacher and student differ most that the package keeps, id and values, for its report; "
        "0 = none", between(0, 1000),
    )  # fmt: skip
    # the edge
    max_categories: int = knob(100, "most frequent categories kept of a column; the rest are 'other'", at_least(1))


@dataclass(frozen=True)
class CommitteeConfig(FollowerConfig):
    """Every knob of `committee`; an ablation is one field set."""

    # the committee
    teachers: tuple[str, ...] = knob(COMMITTEE, "detectors: " + ", ".join(OUTLIER_KINDS), subset_of(*OUTLIER_KINDS))
    weights: str = knob(
        "strangest",
        "of the detectors: strangest = the mean of those that find a row strangest, more than half of them; mean = of "
        "all; agreement = their rank correlation with the others; rows = for each row anew, less the farther from the "
        "middle one; student = anew as the student learns, more whom it follows; one that ranks "
        "against the others is never heard",
        one_of("strangest", "mean", "agreement", "rows", "student"),
    )
    trees: int = knob(200, "trees of the isolation forest", between(1, 100_000))
    neighbours: int = knob(10, "rows whose distance counts for `nearest`", between(1, 10_000))
    lof_neighbours: int = knob(20, "rows of a neighbourhood for `lof`", between(2, 10_000))
    autoencoder_steps: int = knob(2000, "optimiser steps of an autoencoder", between(1, 1e8))
    gan_steps: int = knob(1000, "optimiser steps of a GAN", between(1, 1e8))
    gan_rounds: int = knob(2, "times that a GAN's rows are divided into folds anew", between(1, 100))
    folds: int = knob(3, "folds of the out-of-fold scores of autoencoder and GAN", between(2, 100))
    remembered: int = knob(20_000, "most rows that tails, nearest and lof keep", between(10, 1e9))
