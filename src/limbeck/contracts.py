"""The nouns that the pieces of Limbeck owe each other; no logic.

Items → Teacher → Distiller → Scorer → Calibrator → Detector. Data flows left to right and never back.
Shapes are spoken with the same letters everywhere: n items, d columns, c channels, (h, w) pixels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from limbeck.spec import InputSpec

__all__ = [
    "Artefact",
    "Batch",
    "Card",
    "Distiller",
    "Items",
    "OnStep",
    "Scorer",
    "Scores",
    "Step",
    "Verdicts",
    "ignore",
]


@dataclass(frozen=True)
class Batch:
    """Some items, decoded."""

    x: NDArray[Any]  # float64 (n, d) for tables; uint8 or uint16 (n, h, w, c) for pictures
    label: NDArray[np.int8]  # (n,): 0 normal, 1 anomalous, -1 unknown
    mask: NDArray[np.bool_] | None  # (n, h, w); None for tables
    id: Sequence[Any]  # n names; row numbers stay a range, so that nobody pays for a million strings


class Items(Protocol):
    """Inputs read lazily, with label, mask and id where known."""

    @property
    def spec(self) -> InputSpec:
        """What one item looks like."""

    def __len__(self) -> int:
        """Return how many items there are."""

    def batches(self, size: int) -> Iterator[Batch]:
        """Yield the items in their order, at most `size` at a time."""

    def subset(self, indices: Sequence[int] | NDArray[np.integer[Any]]) -> Items:
        """Return some of the items, in the order asked for."""

    def fingerprint(self) -> str:
        """Name the items: what was kept of a run on other ones is of no use."""


@dataclass(frozen=True)
class Step:
    """One step of something long, for whoever watches: a progress bar, a log, a tracker."""

    stage: str  # what is being done, in a user's words
    done: int
    total: int  # 0 = not known
    values: dict[str, float] = field(default_factory=dict)  # measured on the way: a loss, a score


OnStep = Callable[[Step], None]


def ignore(step: Step) -> None:
    """Watch nothing."""


@dataclass(frozen=True)
class Scores:
    """What a scorer says: raw, higher = more anomalous."""

    score: NDArray[np.float32]  # (n,) raw; a classifier's is its log-odds, never its probability
    map: NDArray[np.float32] | None = None  # (n, h, w), same unit as score; None for tables


@dataclass(frozen=True)
class Artefact:
    """What learning leaves behind; everything after it needs no torch."""

    weights: dict[str, NDArray[Any]]
    onnx: bytes
    spec: InputSpec
    method: str
    config: dict[str, Any]
    training: dict[str, Any]  # candidates, comparison, costs, curves, suspects, ablations: plain JSON values


class Distiller(ABC):
    """One published method: items in, an artefact out."""

    @abstractmethod
    def fit(self, items: Items, *, seed: int, workdir: Path, on_step: OnStep = ignore) -> Artefact:
        """Learn from the items.

        Parameters
        ----------
        items : Items
            What to learn from; the calibration rows are not among them.
        seed : int
            The same seed on the same machine gives the same artefact, but for ``training["costs"]``, which is measured.
        workdir : Path
            An existing folder for what a later run may resume from.
        on_step : callable
            Called with a `Step` as the work goes on.

        Returns
        -------
        Artefact
            Bytes and arrays, no live objects.
        """


class Scorer(Protocol):
    """A packaged model on one runtime: numpy in, numpy out."""

    @property
    def spec(self) -> InputSpec:
        """What it expects."""

    def __call__(self, x: NDArray[Any]) -> Scores:
        """Score validated items."""


@dataclass(frozen=True)
class Verdicts:
    """What a detector says of n items.

    Attributes
    ----------
    score : ndarray of float32, shape (n,)
        Raw score, higher = more anomalous. With labels at fit, the log-odds of an anomaly.
    p_value : ndarray of float64, shape (n,), in (0, 1]
        Conformal p-value: how often a normal item scores at least this high.
    is_anomaly : ndarray of bool, shape (n,)
        Whether ``p_value <= alpha``.
    probability : ndarray of float64, shape (n,), in [0, 1], or None
        Calibrated probability of an anomaly, where there were labels at fit.
    map : ndarray of float32, shape (n, h, w), or None
        Score of each pixel, for pictures.
    """

    score: NDArray[np.float32]
    p_value: NDArray[np.float64]
    is_anomaly: NDArray[np.bool_]
    probability: NDArray[np.float64] | None = None
    map: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Card:
    """The facts of a model card."""

    name: str
    method: str
    created: str  # ISO 8601, UTC
    seed: int
    source: str  # the file's name, never its path
    n_items: int
    n_anomalous: int
    n_calibration_normal: int
    alpha: float  # the false-alarm rate that is promised
    threshold: float
    metrics: dict[str, dict[str, float]]  # row of the candidates table -> metric -> value
    notes: tuple[str, ...] = ()  # what was handled on the way: dropped rows, fallbacks
    licence: str = "The data's own; no pretrained weights were used."
    versions: dict[str, str] = field(default_factory=dict)
