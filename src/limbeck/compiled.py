"""A tabular student in machine code: the formula of `limbeck.network` in float32, compiled by numba.

For batches, where the arithmetic counts. Rows stand side by side in *lanes*: a layer is worked on four inputs and four
outputs at a time, for all lanes of a block, so that each number that is read is used four times. Every lane does the
same steps in the same order, whatever stands in the others: a row has the same score, to the last bit, alone or in any
batch. A row with a number more than `FAR` spreads from its centre is left to `limbeck.network`, since float32 would
lose digits of its large sums.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

from limbeck.errors import ConfigError
from limbeck.network import LINEAR, Network, float32_tolerance

__all__ = ["FAR", "LANES", "CompiledNetwork"]

FAR = 100.0  # spreads from the centre
LANES = 256  # rows of a block: what a layer reads and writes stays in the nearer caches
APART = 16  # room between one input's lanes and the next's, that they do not all fall on the same places of the cache
STEP = 4  # inputs and outputs that `_layer` works at a time: widths are filled up to a multiple, with weights of zero
FEWEST = 16  # lanes are filled up to a multiple of it
PROBES = 256  # made-up rows on which it is compared with the network

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Places = NDArray[np.int64]
F = TypeVar("F", bound=Callable[..., Any])
# sums and products may be one instruction; nothing else of IEEE 754 is given up
OPTIONS: dict[str, Any] = {"fastmath": {"contract"}, "error_model": "numpy", "nogil": True}


def _compiled(*signature: Any) -> Callable[[F], F]:
    decorate: Callable[[F], F] = numba.njit(*signature, **OPTIONS)
    return decorate


@_compiled()
def _scale(
    x: Doubles, first: int, rows: int, number: Places, centre: Doubles, inverse: Doubles, line: Floats, h: Floats
) -> None:
    """Write scaled numbers into h (p, lanes); line (4, p) is room for four rows, each of which is read in one go."""
    in_order = True
    for i in range(number.size):
        in_order = in_order and number[i] == i
    for start in range(0, rows, 4):
        for k in range(min(4, rows - start)):
            for i in range(number.size):
                column = i if in_order else number[i]
                line[k, i] = (x[first + start + k, column] - centre[i]) * inverse[i]
        for i in range(number.size):
            for k in range(4):
                h[i, start + k] = line[k, i]


@_compiled()
def _bound(rows: int, numbers: int, h: Floats, score: Floats) -> int:
    """Bound scaled numbers in h (p, lanes) as `limbeck.network` does; returns how many are far.

    Their rows get the score NaN.
    """
    far = 0
    for i in range(numbers):
        others = 0
        for r in range(rows):
            others += not abs(h[i, r]) <= np.float32(LINEAR)
        if others:
            for r in range(rows):
                z = h[i, r]
                if np.isnan(z):
                    h[i, r] = 0.0
                elif abs(z) > np.float32(FAR):
                    h[i, r], score[r] = 0.0, np.nan
                    far += 1
                elif abs(z) > np.float32(LINEAR):
                    beyond = np.log(abs(z) - np.float32(LINEAR - 1.0))
                    h[i, r] = np.copysign(np.float32(LINEAR) + beyond, z)
    return far


@_compiled()
def _mark(
    x: Doubles, first: int, rows: int, start: int, indicator: Places, column: Places, code: Places, h: Floats
) -> None:
    """Write the 0 | 1 inputs into h (p, lanes), from input `start` on: gaps, then categories."""
    for k in range(indicator.size):
        for r in range(rows):
            h[start + k, r] = np.isnan(x[first + r, indicator[k]])
    for k in range(column.size):
        for r in range(rows):
            h[start + indicator.size + k, r] = x[first + r, column[k]] == code[k]


@_compiled()
def _layer(w: Floats, bias: Floats, x: Floats, y: Floats, lanes: int) -> None:
    """Write relu(w' x + bias) into y (outputs, lanes); w (inputs, outputs), x (inputs, lanes)."""
    inputs, outputs = w.shape
    for j in range(0, outputs, 4):
        b0, b1, b2, b3 = bias[j], bias[j + 1], bias[j + 2], bias[j + 3]
        for i in range(0, inputs, 4):
            a00, a01, a02, a03 = w[i, j], w[i, j + 1], w[i, j + 2], w[i, j + 3]
            a10, a11, a12, a13 = w[i + 1, j], w[i + 1, j + 1], w[i + 1, j + 2], w[i + 1, j + 3]
            a20, a21, a22, a23 = w[i + 2, j], w[i + 2, j + 1], w[i + 2, j + 2], w[i + 2, j + 3]
            a30, a31, a32, a33 = w[i + 3, j], w[i + 3, j + 1], w[i + 3, j + 2], w[i + 3, j + 3]
            for r in range(lanes):
                x0, x1, x2, x3 = x[i, r], x[i + 1, r], x[i + 2, r], x[i + 3, r]
                y[j, r] = (y[j, r] if i else b0) + a00 * x0 + a10 * x1 + a20 * x2 + a30 * x3
                y[j + 1, r] = (y[j + 1, r] if i else b1) + a01 * x0 + a11 * x1 + a21 * x2 + a31 * x3
                y[j + 2, r] = (y[j + 2, r] if i else b2) + a02 * x0 + a12 * x1 + a22 * x2 + a32 * x3
                y[j + 3, r] = (y[j + 3, r] if i else b3) + a03 * x0 + a13 * x1 + a23 * x2 + a33 * x3
        for k in range(j, j + 4):
            for r in range(lanes):
                y[k, r] = max(y[k, r], np.float32(0.0))


def _given(kind: Any, axes: int = 1) -> Any:
    return numba.types.Array(kind, axes, "C", readonly=True)


@_compiled(
    numba.int64(
        _given(numba.float64, 2),
        *(_given(kind) for kind in (numba.int64, numba.float64, numba.float64, *[numba.int64] * 4, numba.float32)),
        numba.float32[::1],
    )
)
def _score(
    x: Doubles,
    number: Places,
    centre: Doubles,
    inverse: Doubles,
    indicator: Places,
    onehot_column: Places,
    onehot_code: Places,
    widths: Places,
    packed: Floats,
    out: Floats,
) -> int:
    """Write the scores of x (n, d) into out (n,), NaN where a row is far; returns 0 where none is."""
    n, far = len(x), 0
    most = min(LANES, (n + FEWEST - 1) // FEWEST * FEWEST)
    line = np.zeros((4, number.size), np.float32)
    inputs = np.zeros((widths[0], most + APART), np.float32)
    here = np.empty((widths.max(), most + APART), np.float32)
    there = np.empty_like(here)
    score = np.empty(most, np.float32)
    for first in range(0, n, LANES):
        rows = min(LANES, n - first)
        lanes = (rows + FEWEST - 1) // FEWEST * FEWEST
        score[:] = packed[-1]
        _scale(x, first, rows, number, centre, inverse, line, inputs)
        far += _bound(rows, number.size, inputs, score)
        _mark(x, first, rows, number.size, indicator, onehot_column, onehot_code, inputs)
        h, at = inputs, 0
        for k in range(widths.size - 1):
            p, q = widths[k], widths[k + 1]
            w = packed[at : at + p * q].reshape((p, q))
            bias = packed[at + p * q : at + p * q + q]
            if lanes == LANES:  # a number that is known when it is compiled makes the loops a tenth faster
                _layer(w, bias, h, here, LANES)
            else:
                _layer(w, bias, h, here, lanes)
            h, here, there, at = here, there, here, at + p * q + q
        for i in range(widths[-1]):
            a = packed[at + i]
            for r in range(lanes):
                score[r] += a * h[i, r]
        for r in range(rows):
            out[first + r] = score[r]
    return far


@dataclass(frozen=True)
class CompiledNetwork:
    """A network as the compiled code takes it; made by `of`.

    Attributes
    ----------
    network : Network
        Scores the rows that are far, in float64.
    inverse : ndarray of float64, shape (a,)
        One over the scale of each number.
    widths : ndarray of int64, shape (hidden layers + 1,)
        Of the inputs and the hidden layers, filled up.
    packed : ndarray of float32
        Weights and biases, layer by layer.

    Examples
    --------
    >>> from limbeck.network import Features
    >>> none = np.empty(0, np.int64)
    >>> features = Features(np.array([0]), np.zeros(1), np.ones(1), none, none, none)
    >>> student = Network(features, (np.ones((1, 1), np.float32),), (np.ones(1, np.float32),))
    >>> CompiledNetwork.of(student)(np.array([[1.0], [-2.0]]))
    array([ 2., -1.], dtype=float32)
    """

    network: Network
    inverse: Doubles
    widths: Places
    packed: Floats

    @classmethod
    def of(cls, network: Network) -> CompiledNetwork:
        """Pack a network, and compare the compiled code with it.

        Parameters
        ----------
        network : Network
            The student.

        Returns
        -------
        CompiledNetwork
            The same in machine code; compiled when the first one of a process is made, within seconds.

        Raises
        ------
        ConfigError
            If sums in float32 lose digits of this student's scores; see `limbeck.network.float32_tolerance`.
        """
        widths = np.array([_filled(w.shape[0]) for w in network.weights], np.int64)
        parts = []
        for i, (w, b) in enumerate(zip(network.weights, network.biases, strict=True)):
            outputs = 1 if i == len(widths) - 1 else int(widths[i + 1])
            full, bias = np.zeros((widths[i], outputs), np.float32), np.zeros(outputs, np.float32)
            full[: w.shape[0], : w.shape[1]], bias[: b.size] = w, b
            parts += [full.reshape(-1), bias]
        with np.errstate(over="ignore", divide="ignore"):
            inverse = 1.0 / network.features.scale
        made = cls(network, inverse, widths, np.concatenate(parts))
        made._compare()
        return made

    def __call__(self, x: Doubles) -> Floats:
        """Return scores, float32 (n,), of raw rows, float64 (n, d)."""
        out = np.empty(len(x), np.float32)
        if self._run(np.ascontiguousarray(x), out):
            far = np.isnan(out)
            out[far] = self.network(x[far])
        return out

    def one(self, row: Doubles) -> float | None:
        """Return the score of one raw row, float64 (d,); None where it is far."""
        out = np.empty(1, np.float32)
        return None if self._run(np.ascontiguousarray(row[None]), out) else out.item()

    def _run(self, x: Doubles, out: Floats) -> int:
        f = self.network.features
        far: int = _score(
            x,
            f.number,
            f.centre,
            self.inverse,
            f.indicator,
            f.onehot_column,
            f.onehot_code,
            self.widths,
            self.packed,
            out,
        )
        return far

    def _compare(self) -> None:
        """Raise ConfigError where scores of made-up rows, from usual to nearly far, are not the network's."""
        f = self.network.features
        columns = 1 + max((int(p.max()) for p in (f.number, f.indicator, f.onehot_column) if p.size), default=0)
        rng = np.random.default_rng(0)
        x = rng.integers(0, 1 + int(f.onehot_code.max(initial=0)), (PROBES, columns)).astype(np.float64)
        x[:, f.number] = f.centre + f.scale * rng.normal(size=(PROBES, f.number.size)) * FAR ** rng.uniform(
            size=(PROBES, 1)
        )
        x[rng.random(x.shape) < 0.02] = np.nan
        wanted, found = self.network(x).astype(np.float64), self(x)
        worst = float((np.abs(found - wanted) / np.maximum(1.0, np.abs(wanted))).max())
        if not worst <= (allowed := float32_tolerance(f.width)):
            raise ConfigError(
                "the runtime 'numba' loses digits of this student's scores",
                expected=f"a difference of at most {allowed:g}, relative where they exceed 1",
                got=f"{worst:.2g}",
                fix="leave the runtime out",
            )


def _filled(width: int) -> int:
    return max(1, -(-width // STEP)) * STEP
