"""The knobs of the tabular methods: plain dataclasses, readable without torch or numpy."""

from __future__ import annotations

from dataclasses import dataclass

from limbeck.config import at_least, automatic_or, between, knob, one_of, share, subset_of

__all__ = ["RESAMPLERS", "STUDENTS", "MultiTeacherConfig"]

RESAMPLERS = ("none", "ros", "smote", "borderline", "rus", "tomek")
STUDENTS: dict[str, tuple[int, ...]] = {
    "nano": (16,),
    "tiny": (32, 32),
    "small": (64, 64),
    "base": (128, 64),
}


@dataclass(frozen=True)
class MultiTeacherConfig:
    """Every knob of `multi-teacher`; an ablation is one field set."""

    # the committee
    resamplers: tuple[str, ...] = knob(
        RESAMPLERS, "one teacher for each: how its training folds are resampled", subset_of(*RESAMPLERS)
    )
    ratio: float = knob(
        0.25,
        "anomalies per normal row that resampling aims at (twice the natural rate where that is more)",
        between(1e-6, 1),
    )
    folds: int = knob(
        0, "folds of the out-of-fold scores; 0 = ten below 200 anomalies, five above", automatic_or(between(2, 100))
    )
    trees: int = knob(300, "boosting rounds of a LightGBM teacher", between(1, 100_000))
    leaves: int = knob(31, "leaves of one tree", between(2, 100_000))
    learning_rate: float = knob(0.05, "step of the boosting", between(1e-6, 1))
    jobs: int = knob(0, "models taught at the same time, one thread each; 0 = one for each core", between(0, 1000))
    # the rows
    swap: int = knob(4, "synthetic rows for each real row, labelled by the committee; 0 = none", between(0, 1000))
    swap_share: float = knob(0.3, "chance of each value to be taken from another row", share)
    swap_anomalous: float = knob(0.25, "share of the synthetic rows that start from an anomaly", share)
    swap_most: int = knob(400_000, "upper bound on the synthetic rows", between(0, 1e9))
    # the student
    student: str = knob("small", "size: " + ", ".join(f"{k} {v}" for k, v in STUDENTS.items()), one_of(*STUDENTS))
    soft: float = knob(0.7, "weight of the committee's word against the label's, on real rows", share)
    temperature: float = knob(2.0, "softens the committee's log-odds", between(0.1, 100))
    steps: int = knob(4000, "optimiser steps of a student", between(1, 1e8))
    batch: int = knob(512, "rows in a step", between(2, 1e6))
    student_rate: float = knob(3e-3, "peak learning rate of a student", between(1e-8, 1))
    # what is held out inside
    validation: float = knob(
        0.2, "share of the rows that calibrates the students and fills the candidates table", between(0.05, 0.5)
    )
    refit: bool = knob(True, "teach the shipped student again on all rows, the validation rows too, after measuring it")
    # the edge
    max_categories: int = knob(100, "most frequent categories kept of a column; the rest are 'other'", at_least(1))
