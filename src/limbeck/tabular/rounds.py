"""One round of the multi-teacher method: rows with synthetic neighbours, a committee on them, and its students."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from limbeck.contracts import OnStep, Step
from limbeck.errors import InputError
from limbeck.network import Features, Network
from limbeck.tabular.augment import swap_rows
from limbeck.tabular.config import ROLES, STUDENTS, MultiTeacherConfig
from limbeck.tabular.encode import learn_features
from limbeck.tabular.noise import blur, drop, flip_labels
from limbeck.tabular.student import FEWEST_STEPS, LARGE_BATCH, MANY_LESSONS, PASSES, SMALL_BATCH, Lessons, train_student
from limbeck.tabular.teachers import Committee, Pair, fit_committee, pairs_of
from limbeck.tabular.workers import beside_each_other

__all__ = ["Progress", "Round"]

Floats = NDArray[np.float64]
Labels = NDArray[np.int8]
MANY_STEPS = 1_000  # from here on students are worth a process each


class Progress:
    """Counts teachers and students over all rounds for whoever watches."""

    def __init__(self, on_step: OnStep, config: MultiTeacherConfig, turns: int, again: bool) -> None:
        self._on_step = on_step
        self._teachers = 0
        self._students = 0
        self._of_teachers = (turns + again) * len(pairs_of(config))
        self._of_students = turns * len(ROLES) + again

    def last_round(self, teachers: int) -> None:
        """Say how many teachers the round on all rows has: the shipped student's alone, perhaps none."""
        self._of_teachers = self._teachers + teachers
        self._on_step(Step("teachers", self._teachers, self._of_teachers))

    def round_of_teachers(self) -> Callable[[str, int], None]:
        """Return a callback that counts on from the rounds before."""
        before = self._teachers

        def on_teacher(name: str, done: int) -> None:
            self._teachers = before + done
            self._on_step(Step("teachers", self._teachers, self._of_teachers))

        return on_teacher

    def students(self) -> Callable[[float], None]:
        """Return a callback for one more student that has learned, with its last loss."""

        def on_student(loss: float) -> None:
            self._students += 1
            self._on_step(Step("students", self._students, self._of_students, {"loss": loss}))

        return on_student


class Round:
    """Some rows with their synthetic ones, a committee on them, and the students that it can teach there."""

    def __init__(
        self,
        x: Floats,
        y: Labels,
        config: MultiTeacherConfig,
        seed: int,
        categorical: tuple[int, ...],
        progress: Progress,
    ) -> None:
        self._config, self._seed, self._categorical, self._progress = config, seed, categorical, progress
        x, y = _disturbed(x, y, config, seed, categorical)
        self._real, self._label = x, y
        self._features: Features = learn_features(x, categorical)
        if self._features.width == 0:
            raise InputError("no column varies", expected="a column with two different values", got="0 features")
        count = min(config.swap * len(y), config.swap_most)
        self._made, base = swap_rows(x, y, count, share=config.swap_share, anomalous=config.swap_anomalous, seed=seed)
        self._inputs = np.concatenate([self._features(x), self._features(self._made)])
        self._hard = np.concatenate([y, base]).astype(np.float32)
        self._words: dict[str, NDArray[np.float32]] = {}  # log-odds of the real and the made rows, by who says them
        self._best: Pair | None = None
        self._speakers: tuple[Pair, ...] = ()
        self.curves: dict[str, list[float]] = {}
        self.notes: list[str] = []

    def teach(self, pairs: tuple[Pair, ...], store: Path | None) -> Committee:
        """Teach the committee, and hear it and its best member on every row."""
        committee = fit_committee(
            self._real,
            self._label,
            self._config,
            seed=self._seed,
            categorical=self._categorical,
            pairs=pairs,
            store=store,
            on_teacher=self._progress.round_of_teachers(),
        )
        best = committee.best(self._label)
        for name, teacher in (("committee", committee), ("best", best)):
            said = teacher.log_odds(self._made) if len(self._made) else np.empty(0)
            self._words[name] = np.concatenate([teacher.heard, said]).astype(np.float32)
        self._best = (best.kind, best.resampler)
        self._speakers = tuple((m.kind, m.resampler) for m in committee.speakers)
        self.notes += _notes(committee, len(pairs))
        return committee

    def heard_by(self, role: str) -> tuple[Pair, ...]:
        """Return the teachers that the student of a role listens to."""
        if role in ("labels", "control") or self._best is None:
            return ()
        return self._speakers if role == "multi-teacher" else (self._best,)

    def students(self, roles: Iterable[str]) -> dict[str, Network]:
        """Teach the students of some roles; all share size, steps and seed."""
        told, networks, steps = self._progress.students(), {}, self._steps()
        calls = [(role, self._lessons(role), self._config, steps, self._seed) for role in roles]
        rows = len(self._inputs) if steps >= MANY_STEPS else 0
        for role, weights, biases, curve in beside_each_other(_teach_student, calls, rows=rows, jobs=self._config.jobs):
            networks[role] = Network(self._features, weights, biases)
            self.curves[role] = curve
            told(curve[-1])
        return {role: networks[role] for role, *_ in calls}

    def _steps(self) -> int:
        """Return how many steps every student has: fewer than asked for where the table is small."""
        enough = math.ceil(PASSES * len(self._inputs) / (self._config.batch or SMALL_BATCH))
        return min(self._config.steps, max(FEWEST_STEPS, enough))

    def _lessons(self, role: str) -> Lessons:
        """Return what the student of one role is told."""
        config, real = self._config, len(self._label)
        rows = slice(0, real) if role in ("labels", "distilled") else slice(None)
        share = np.full(len(self._hard), 1.0, np.float32)  # synthetic rows have no label: the teachers alone speak
        share[:real] = config.soft
        anomalies = np.flatnonzero(self._label == 1)
        if role in ("labels", "control"):
            return Lessons(self._inputs[rows], None, self._hard[rows], share[rows], anomalies)
        soft = self._words["committee" if role == "multi-teacher" else "best"]
        top = np.argsort(-soft[:real], kind="stable")[: round(config.critical * real)]
        critical = np.union1d(top, anomalies)
        return Lessons(self._inputs[rows], soft[rows], self._hard[rows], share[rows], critical)


def _teach_student(
    role: str, lessons: Lessons, config: MultiTeacherConfig, steps: int, seed: int
) -> tuple[str, tuple[NDArray[np.float32], ...], tuple[NDArray[np.float32], ...], list[float]]:
    """Teach the student of one role."""
    weights, biases, curve = train_student(
        lessons,
        STUDENTS[config.student],
        steps=steps,
        batch=config.batch or (LARGE_BATCH if len(lessons.x) > MANY_LESSONS else SMALL_BATCH),
        rate=config.student_rate,
        temperature=config.temperature,
        soft_loss=config.soft_loss,
        hard_loss=config.hard_loss,
        attention=config.attention,
        seed=seed,
    )
    return role, weights, biases, curve


def _notes(committee: Committee, asked: int) -> list[str]:
    """Say what the committee did otherwise than asked."""
    notes = [f"teacher {m.name!r}: {m.note}" for m in committee.members if m.note]
    if len(committee.dropped) == asked:
        return [*notes, "no teacher is better than chance on rows that it did not see"]
    notes += [f"the teacher {name!r} ranked backwards and is not heard" for name in committee.dropped]
    silent = dict.fromkeys(m.kind for m in committee.members if m.weight == 0)
    return notes + [f"the kind {kind!r} is not heard: without it the committee ranks better" for kind in silent]


def _disturbed(
    x: Floats, y: Labels, config: MultiTeacherConfig, seed: int, categorical: tuple[int, ...]
) -> tuple[Floats, Labels]:
    """Add the noise that the configuration asks for."""
    if config.feature_noise:
        x = blur(x, learn_features(x, categorical), config.feature_noise, seed)
    if config.missing:
        x = drop(x, config.missing, seed)
    return x, flip_labels(y, config.label_noise, seed) if config.label_noise else y
