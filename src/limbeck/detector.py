"""The detector: what a user holds, asks, saves and loads."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from limbeck import package
from limbeck.calibrate import Calibrator
from limbeck.contracts import Artefact, Card, Scorer, Verdicts
from limbeck.data.columns import rows_of
from limbeck.data.images import PictureItems
from limbeck.data.layouts import find_pictures, is_picture_source
from limbeck.data.tables import open_table
from limbeck.runtime import NetworkScorer, scorer_for
from limbeck.spec import InputSpec, for_pictures, for_tables
from limbeck.table_spec import TableSpec

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
    >>> limbeck.load("parts.limbeck").detect("new.png").map.shape  # doctest: +SKIP
    (1, 256, 256)
    """

    artefact: Artefact = field(repr=False)
    scorer: Scorer = field(repr=False)
    calibrator: Calibrator = field(repr=False)
    alpha: float
    card: Card

    @property
    def spec(self) -> InputSpec:
        """What it expects of a row or a picture."""
        return self.artefact.spec

    @property
    def items(self) -> str:
        """What it judges, in a word: "rows" or "pictures"."""
        return "rows" if isinstance(self.spec, TableSpec) else "pictures"

    @property
    def calibration_items(self) -> str:
        """What set its threshold: "calibration normals", or "calibration rows" where nobody knows that they are."""
        known = self.items == "pictures" or self.calibrator.affine is not None
        return "calibration normals" if known else f"calibration {self.items}"

    @cached_property
    def threshold(self) -> float:
        """Score above which a row is called anomalous."""
        return self.calibrator.threshold(self.alpha)

    def detect(self, x: Any) -> Verdicts:
        """Judge rows or pictures.

        Parameters
        ----------
        x : array, frame, mapping, path or list
            Of rows: numbers in the model's order, shape (n, d) or (d,), categories as codes; or anything with named
            columns: a polars or pandas frame, a mapping of columns or of one row's values, a table file. Of pictures:
            a file, a folder, a list of files, or arrays of uint8 or uint16, shape (n, h, w[, c]) or (h, w[, c]).

        Returns
        -------
        Verdicts
            One entry a row or picture; one of them gives n = 1. Maps have the model's size: `limbeck.heat.resize_map`
            brings one to the size of its picture.

        Raises
        ------
        InputError
            If a column is missing, a value is of the wrong kind or infinite, or a picture cannot be read.
        """
        if type(x) is np.ndarray and x.dtype is FLOAT64 and x.shape in self._one_row:
            verdicts = self._judge_one(x if x.ndim == 1 else x[0])
            if verdicts is not None:
                return verdicts
        return self.judge(self.rows(x) if isinstance(self.spec, TableSpec) else self.pictures(x))

    def pictures(self, x: Any) -> NDArray[np.uint8]:
        """Return pictures as the model takes them, uint8 (n, h, w, 3), from anything that `detect` takes."""
        spec = for_pictures(self.spec)
        if is_picture_source(x) or isinstance(x, (str, Path)):
            items = PictureItems(spec, find_pictures(x).pictures)
            return np.concatenate([batch.x for batch in items.batches(len(items))])
        return spec.validate(x)

    def rows(self, x: Any) -> NDArray[np.float64]:
        """Return rows as the model takes them, float64 (n, d), from anything that `detect` takes."""
        spec = for_tables(self.spec)
        if is_picture_source(x):
            for_pictures(spec)  # says what this model judges
        if isinstance(x, np.ndarray) and x.dtype.kind in "biuf":
            return spec.validate(x)
        if isinstance(x, (list, tuple)):
            return spec.validate(np.asarray(x, dtype=np.float64) if _all_numbers(x) else np.asarray(x))
        if isinstance(x, Mapping):
            x = {k: v if np.ndim(v) or hasattr(v, "to_numpy") else [v] for k, v in x.items()}
        source = open_table(x, spec)
        return rows_of(source.frame(), spec, named=source.named)

    def judge(self, items: NDArray[Any]) -> Verdicts:
        """Judge what `rows` or `pictures` made: float64 (n, d) or uint8 (n, h, w, 3)."""
        scores = self.scorer(items)
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
        spec = self.artefact.spec
        return ((1, len(spec.columns)), (len(spec.columns),)) if isinstance(spec, TableSpec) else ()

    @cached_property
    def _limit(self) -> float:
        return float(np.float32(self.threshold))

    def _judge_one(self, row: NDArray[np.float64]) -> Verdicts | None:
        """Judge one row, float64 (d,), the short way; None where there is none."""
        raw = self.scorer.network.one(row) if type(self.scorer) is NetworkScorer else None
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
            "auto", "numpy" or "numba" (rows), "onnx" or "openvino" (pictures); see `limbeck.runtime.scorer_for`.

        Returns
        -------
        Detector
            Ready to judge.

        Raises
        ------
        PackageError
            If it is missing, damaged, tampered with or too new.
        ConfigError
            If there is no such runtime, or it would lose digits of this model's scores.
        MissingExtraError
            If it is not installed.
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
