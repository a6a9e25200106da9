"""The detector: what a user holds, asks, saves and loads."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from limbeck import package
from limbeck.calibrate import Calibrator
from limbeck.contracts import Artefact, Card, Scorer, Verdicts
from limbeck.data.columns import rows_of
from limbeck.data.tables import open_table
from limbeck.runtime import NumpyScorer, scorer_for
from limbeck.spec import InputSpec

__all__ = ["Detector", "load"]

FLOAT64 = np.dtype(np.float64)


@final
@dataclass(frozen=True)
class Detector:
    """A scorer with its calibration and its card; made by `limbeck.fit` or `limbeck.load`.

    Attributes
    ----------
    artefact : Artefact
        Weights, graph and spec, so that saving needs no torch.
    scorer : Scorer
        Runs them.
    calibrator : Calibrator
        Turns scores into p-values and probabilities.
    alpha : float
        Promised false-alarm rate, in (0, 1).
    card : Card
        Where it comes from and how good it is.

    Examples
    --------
    >>> import limbeck
    >>> detector = limbeck.load("tx.limbeck")  # doctest: +SKIP
    >>> detector.detect({"amount": 999.0, "country": "at"}).p_value  # doctest: +SKIP
    array([0.0003])
    """

    artefact: Artefact
    scorer: Scorer
    calibrator: Calibrator
    alpha: float
    card: Card

    @property
    def spec(self) -> InputSpec:
        """What it expects of a row."""
        return self.artefact.spec

    @cached_property
    def threshold(self) -> float:
        """Score above which a row is called anomalous."""
        return self.calibrator.threshold(self.alpha)

    def detect(self, x: Any) -> Verdicts:
        """Judge rows.

        Parameters
        ----------
        x : array, frame, mapping or path
            Numbers in the model's order, shape (n, d) or (d,), categories as codes; or anything with named columns:
            a polars or pandas frame, a mapping of columns or of one row's values, a table file.

        Returns
        -------
        Verdicts
            One entry a row; one row gives n = 1.

        Raises
        ------
        InputError
            If a column is missing, or a value is of the wrong kind or infinite.
        """
        if type(x) is np.ndarray and x.dtype is FLOAT64 and x.shape in self._one_row:
            verdicts = self._judge_one(x if x.ndim == 1 else x[0])
            if verdicts is not None:
                return verdicts
        return self.judge(self.rows(x))

    def rows(self, x: Any) -> NDArray[np.float64]:
        """Return rows as the model takes them, float64 (n, d), from anything that `detect` takes."""
        if isinstance(x, np.ndarray) and x.dtype.kind in "biuf":
            return self.spec.validate(x)
        if isinstance(x, (list, tuple)):
            return self.spec.validate(np.asarray(x, dtype=np.float64) if _all_numbers(x) else np.asarray(x))
        if isinstance(x, Mapping):
            x = {k: v if np.ndim(v) or hasattr(v, "to_numpy") else [v] for k, v in x.items()}
        source = open_table(x, self.spec)
        return rows_of(source.frame(), self.spec, named=source.named)

    def judge(self, rows: NDArray[np.float64]) -> Verdicts:
        """Judge rows that `rows` or `InputSpec.encode` made, float64 (n, d)."""
        scores = self.scorer(rows)
        return Verdicts(
            score=scores.score,
            p_value=self.calibrator.p_value(scores.score),
            is_anomaly=scores.score > np.float32(self.threshold),
            probability=self.calibrator.probability(scores.score),
            map=scores.map,
        )

    @cached_property
    def _one_row(self) -> tuple[tuple[int, ...], ...]:
        """Return the shapes that a single row may have."""
        columns = len(self.artefact.spec.columns)
        return ((1, columns), (columns,))

    @cached_property
    def _limit(self) -> float:
        return float(np.float32(self.threshold))

    def _judge_one(self, row: NDArray[np.float64]) -> Verdicts | None:
        """Judge one row, float64 (d,), the short way; None where there is none."""
        raw = self.scorer.network.one(row) if type(self.scorer) is NumpyScorer else None
        if raw is None:
            return None
        score = np.array([raw], np.float32)
        value = score.item()
        p_value, probability = self.calibrator.one(value)
        return Verdicts(
            score,
            np.array([p_value]),
            np.array([value > self._limit]),
            None if probability is None else np.array([probability]),
        )

    def with_alpha(self, alpha: float) -> Detector:
        """Return the same detector with another promised false-alarm rate; nothing is learned again.

        Parameters
        ----------
        alpha : float
            At least ``calibrator.smallest_rate``, below 1.

        Returns
        -------
        Detector
            A copy.

        Raises
        ------
        InputError
            If so few calibration rows cannot promise this rate.
        """
        threshold = self.calibrator.threshold(alpha)
        card = dataclasses.replace(self.card, alpha=alpha, threshold=threshold)
        return dataclasses.replace(self, alpha=alpha, card=card)

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write the package, whole or not at all.

        Parameters
        ----------
        folder : path
            Where it goes, by custom ``NAME.limbeck``.
        overwrite : bool
            Whether it may replace an existing package.

        Raises
        ------
        OutputError
            If the place is taken or cannot be written.
        """
        package.write(
            Path(folder),
            package.Contents(self.artefact, self.calibrator, self.alpha, self.card),
            overwrite=overwrite,
        )

    @classmethod
    def load(cls, folder: str | Path, runtime: str = "auto") -> Detector:
        """Read a package; nothing in it is executed, and torch is not needed.

        Parameters
        ----------
        folder : path
            A package.
        runtime : str
            "auto", "numpy" or "onnx".

        Returns
        -------
        Detector
            Ready to judge.

        Raises
        ------
        PackageError
            If it is missing, damaged, tampered with or too new.
        ConfigError
            If there is no such runtime.
        """
        contents = package.read(Path(folder))
        scorer = scorer_for(contents.artefact, runtime)
        return cls(contents.artefact, scorer, contents.calibrator, contents.alpha, contents.card)


def load(folder: str | Path, runtime: str = "auto") -> Detector:
    """Read a package; see `Detector.load`."""
    return Detector.load(folder, runtime)


def _all_numbers(x: Any) -> bool:
    try:
        return np.asarray(x, dtype=np.float64).ndim > 0
    except (TypeError, ValueError):
        return False
