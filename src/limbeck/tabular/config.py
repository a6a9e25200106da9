"""The knobs of the tabular methods: plain dataclasses, readable without torch or numpy."""

from __future__ import annotations

from dataclasses import dataclass

from limbeck.config import at_least, between, knob, one_of, share, subset_of

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
        share,
    )
    folds: int = knob(0, "folds of the out-of-fold scores; 0 = ten below 200 anomalies, five above", at_least(0))
    trees: int = knob(300, "boosting rounds of a LightGBM teacher", at_least(1))
    leaves: int = knob(31, "leaves of one tree", at_least(2))
    learning_rate: float = knob(0.05, "step of the boosting", share)
    jobs: int = knob(0, "models taught at the same time, one thread each; 0 = one for each core", at_least(0))
    # the rows
    swap: int = knob(4, "synthetic rows for each real row, labelled by the committee; 0 = none", at_least(0))
    swap_share: float = knob(0.3, "chance of each value to be taken from another row", share)
    swap_anomalous: float = knob(0.25, "share of the synthetic rows that start from an anomaly", share)
    swap_most: int = knob(400_000, "upper bound on the synthetic rows", at_least(0))
    # the student
    student: str = knob("small", "size: " + ", ".join(f"{k} {v}" for k, v in STUDENTS.items()), one_of(*STUDENTS))
    soft: float = knob(0.7, "weight of the committee's word against the label's, on real rows", share)
    temperature: float = knob(2.0, "softens the committee's log-odds", between(0.1, 100))
    steps: int = knob(4000, "optimiser steps of a student", at_least(1))
    batch: int = knob(512, "rows in a step", at_least(2))
    student_rate: float = knob(3e-3, "peak learning rate of a student", share)
    # what is held out inside
    validation: float = knob(
        0.2, "share of the rows that calibrates the students and fills the candidates table", between(0.05, 0.5)
    )
    refit: bool = knob(True, "teach the shipped student again on all rows, the validation rows too, after measuring it")
    # the edge
    max_categories: int = knob(100, "most frequent categories kept of a column; the rest are 'other'", at_least(1))
