"""A tabular student in numpy: features, then a small ReLU network. What every scoring box runs.

The formula is the same here, in the ONNX graph and in torch (`limbeck.tabular.student`): all of it is in float64, so
that 1e9 ± 10 keeps its digits and a score does not depend on the rows beside it; only the score itself is float32.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["LINEAR", "REACH", "Features", "Network", "float32_tolerance"]

Floats = NDArray[np.float64]
LINEAR = 3.0  # scaled numbers are kept as they are up to here, and grow by their logarithm beyond
REACH = 1e30  # scaled numbers are cut here, so that float32 holds them
ROWS = 512  # rows at a time: what they become stays in the cache, and in memory that is not asked for each time


def float32_tolerance(inputs: int) -> float:
    """Return how far a score in float32 may be from one in float64, relative where it exceeds 1.

    1e-5 up to 64 inputs; beyond, rounding errors add up with the root of their number.

    Examples
    --------
    >>> float32_tolerance(30), float32_tolerance(6400)
    (1e-05, 0.0001)
    """
    return 1e-5 * max(1.0, math.sqrt(inputs / 64))


@dataclass(frozen=True)
class Features:
    """From raw rows (n, d) to network inputs (n, p); p = numbers + indicators + one-hot places.

    Attributes
    ----------
    number : ndarray of int64, shape (a,)
        Places of the numeric and boolean columns.
    centre, scale : ndarray of float64, shape (a,)
        Of those columns; a missing value becomes the centre.
    indicator : ndarray of int64, shape (b,)
        Places of the columns that had missing values at fit; each gives a 0 | 1 input.
    onehot_column, onehot_code : ndarray of int64, shape (c,)
        Column and code of each one-hot input.
    """

    number: NDArray[np.int64]
    centre: NDArray[np.float64]
    scale: NDArray[np.float64]
    indicator: NDArray[np.int64]
    onehot_column: NDArray[np.int64]
    onehot_code: NDArray[np.int64]

    @property
    def width(self) -> int:
        """How many network inputs there are (p)."""
        return self.number.size + self.indicator.size + self.onehot_column.size

    def __call__(self, x: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the network's inputs as it is taught them, float32 (n, p), of raw rows, float64 (n, d)."""
        return self.scaled(x).astype(np.float32)

    def scaled(self, x: NDArray[np.float64]) -> Floats:
        """Return the network's inputs, float64 (n, p), of raw rows, float64 (n, d)."""
        raw = x if self._all_in_order(x.shape[1]) else x.take(self.number, axis=1)  # (n, a)
        with np.errstate(over="ignore"):
            z = np.subtract(raw, self.centre, order="C")  # so that its places can be numbered
            z /= self.scale
        far = (~(np.abs(z) <= LINEAR)).reshape(-1).nonzero()[0]  # gaps, and values far out
        if far.size:
            flat = z.reshape(-1)
            flat[far] = _bounded(flat[far])
        parts = [z]
        if self.indicator.size:
            parts.append(np.isnan(x[:, self.indicator]).astype(np.float64))
        if self.onehot_column.size:
            parts.append((x[:, self.onehot_column] == self.onehot_code).astype(np.float64))
        return z if len(parts) == 1 else np.concatenate(parts, axis=1)

    def _all_in_order(self, columns: int) -> bool:
        return self.number.size == columns and self._ascending

    @cached_property
    def _ascending(self) -> bool:
        return bool((self.number[1:] > self.number[:-1]).all())


def _bounded(z: Floats) -> Floats:
    """Return 0 for gaps, and let scaled numbers beyond `LINEAR`, all of them, grow by their logarithm."""
    size = np.minimum(np.abs(z), REACH)
    size -= LINEAR
    np.log1p(size, out=size)
    size += LINEAR
    return np.copysign(np.fmax(size, 0.0), z)


class _Quick(NamedTuple):
    """What the score of one plain row takes."""

    centre: Floats  # (d,)
    reach: Floats  # (d,) how far from the centre a number is kept as it is
    scale: list[float]
    inner: list[tuple[Floats, Floats]]  # weights and floors
    gap: dict[int, Floats]  # by place: what a missing value adds to the first layer
    w_last: Floats
    b_last: float


def _met_one_by_one(z: Floats, near: NDArray[np.bool_], scale: list[float]) -> list[int] | None:
    """Bound what is not near, in place, and return the places of the gaps; None if there is an infinite value."""
    gaps = []
    for place in (~near).nonzero()[0].tolist():
        value = z.item(place)
        if value != value:
            gaps.append(place)
            z[place] = 0.0
        elif math.isinf(value):
            return None
        else:
            beyond = min(abs(value) / scale[place], REACH) - LINEAR
            z[place] = math.copysign((LINEAR + math.log1p(beyond)) * scale[place], value)
    return gaps


@dataclass(frozen=True)
class Network:
    """Features and the layers of a small ReLU network; its output is the log-odds of an anomaly.

    The sums are kept in float64: a row's score then does not depend on the rows beside it.
    """

    features: Features
    weights: tuple[NDArray[np.float32], ...]  # each (inputs, outputs)
    biases: tuple[NDArray[np.float32], ...]  # each (outputs,)

    @property
    def size(self) -> int:
        """Number of weights and biases."""
        return sum(w.size for w in self.weights) + sum(b.size for b in self.biases)

    def __call__(self, x: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return scores, float32 (n,), of raw rows, float64 (n, d)."""
        if len(x) > ROWS:
            return np.concatenate([self(x[i : i + ROWS]) for i in range(0, len(x), ROWS)])
        h = self.features.scaled(x)  # (n, p)
        inner, w_last, b_last = self._layers
        for w, floor in inner:
            h = h.dot(w)  # (n, width)
            np.maximum(h, floor, out=h)
        return np.asarray(h.dot(w_last) + b_last, dtype=np.float32)  # (n,)

    def one(self, row: NDArray[np.float64]) -> float | None:
        """Return the score of one raw row, float64 (d,), in a third of the time; None where it has to go the long way.

        For rows of nothing but numbers. A call of numpy costs more than the arithmetic of so small a network, so that
        none is made that could be done without, and the few values that are missing or far out are met one by one.
        """
        quick = self._quick
        if quick is None or row.size != quick.centre.size:
            return None
        z = row - quick.centre
        near = np.abs(z) <= quick.reach
        gaps = [] if near.item(near.argmin()) else _met_one_by_one(z, near, quick.scale)
        if gaps is None:
            return None
        (w, floor), *others = quick.inner
        h = z.dot(w)
        for place in gaps:
            if place in quick.gap:
                h += quick.gap[place]
        np.maximum(h, floor, out=h)
        for w, floor in others:
            h = h.dot(w)
            np.maximum(h, floor, out=h)
        return float(h.dot(quick.w_last)) + quick.b_last

    @cached_property
    def _quick(self) -> _Quick | None:
        """Return the layers as `one` needs them; None where a row is more than its numbers in order.

        The scales go into the first layer.
        """
        f, (inner, w_last, b_last) = self.features, self._layers
        if f.onehot_column.size or f.number.size == 0 or not inner or not f._ascending or f.number[-1] >= f.number.size:
            return None
        a, w_first = f.number.size, inner[0][0]
        gap = {int(place): w_first[a + i] for i, place in enumerate(f.indicator)}
        layers = [(np.ascontiguousarray(w_first[:a] / f.scale[:, None]), inner[0][1]), *inner[1:]]
        return _Quick(f.centre, LINEAR * f.scale, f.scale.tolist(), layers, gap, w_last, b_last)

    @cached_property
    def _layers(self) -> tuple[list[tuple[Floats, Floats]], Floats, float]:
        """Return weights and floors of the hidden layers, and the weights and the bias of the output, in float64.

        Biases become floors, since ``relu(x + b) = max(x, -b) + b``, and the b behind it goes into the next layer's
        bias: one pass less a layer.
        """
        layers, behind = [], np.zeros(self.features.width)  # what the layer before has yet to add to its output
        for weight, bias in zip(self.weights, self.biases, strict=True):
            w = weight.astype(np.float64)
            behind = bias + behind.dot(w)
            layers.append((w, -behind))
        w_last, floor_last = layers.pop()
        return layers, w_last[:, 0].copy(), float(-floor_last[0])

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return every array under its name, as a package stores them."""
        named: dict[str, NDArray[Any]] = {
            f"features.{f.name}": getattr(self.features, f.name) for f in fields(self.features)
        }
        for i, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            named |= {f"layers.{i}.weight": w, f"layers.{i}.bias": b}
        return named

    @classmethod
    def from_tensors(cls, named: Mapping[str, NDArray[Any]]) -> Network:
        """Rebuild what `tensors` named; raises KeyError where an array is missing."""
        features = Features(**{f.name: named[f"features.{f.name}"] for f in fields(Features)})
        depth = sum(name.endswith(".weight") for name in named)
        return cls(
            features,
            tuple(named[f"layers.{i}.weight"] for i in range(depth)),
            tuple(named[f"layers.{i}.bias"] for i in range(depth)),
        )
