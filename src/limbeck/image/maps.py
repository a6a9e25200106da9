"""From features and their re-creation to an anomaly map and a score.

Up-sampling and smoothing are linear and work on rows and columns alone, so both together are one matrix on each side
of a small map: exact, borders included, the same in torch and ONNX, and a hundredth of the cost of a convolution.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

__all__ = ["LOCAL", "AnomalyMap", "distance", "enlarge", "parts_of_relative", "relative_distance", "smooth"]

Floats = NDArray[np.float64]
TOP = 0.01  # share of a map's pixels whose mean is the score "top"
LOCAL = 0.5  # share of a place itself in what is usual there; the rest is the whole picture's
TRUNCATE = 4.0  # standard deviations at which the Gaussian ends


def distance(target: Tensor, output: Tensor) -> Tensor:
    """Return one minus the cosine of each location: (n, c, h, w) twice gives (n, h, w), in [0, 2]."""
    target, output = (f / f.square().sum(1, keepdim=True).clamp_min(1e-12).sqrt() for f in (target, output))
    return 1.0 - (target * output).sum(1)


def relative_distance(
    target: Tensor, output: Tensor, middle: Tensor, weight: Tensor | None = None, *, local: float = LOCAL
) -> Tensor:
    """Return how far a re-creation is off, beside how far the features are from what is usual.

    The length of the difference at a place, by the root of the mean square of two lengths: of the features' own
    deviation from the mean of normal pictures at that place, and all over the picture. The re-creation is first scaled
    as fits the picture best, for a loss of angles leaves its length open. Unlike an angle it sees what points the usual
    way but is too long or too short, and is not ruled by the mean that all features share. What is far from usual
    itself makes a difference there look smaller: the less the place counts, the more a map says of large defects.

    Parameters
    ----------
    target, output : Tensor, shape (n, c, h, w)
        The teacher's features and their re-creation.
    middle : Tensor, shape (1, c, 1, 1)
        Mean of the features of normal pictures.
    weight : Tensor, shape (1, c, 1, 1), optional
        How much the difference of each channel counts, at least 0; 1 without.
    local : float
        Share of the place's own deviation in that mean square, from 0 to 1.

    Returns
    -------
    Tensor, shape (n, h, w)
        At least 0; 1 where the difference is as long as that root.
    """
    off, usual = parts_of_relative(target, output, middle, local)
    whole = off.sum(1) if weight is None else (off * weight).sum(1)
    return (whole / usual).clamp_min(1e-12).sqrt()


def parts_of_relative(target: Tensor, output: Tensor, middle: Tensor, local: float = LOCAL) -> tuple[Tensor, Tensor]:
    """Return what a relative distance is made of: squared differences (n, c, h, w), and what is usual (n, h, w)."""
    whole = (1, 2, 3)
    gain = (target * output).sum(whole, keepdim=True) / output.square().sum(whole, keepdim=True).clamp_min(1e-12)
    usual = (target - middle).square().sum(1)
    usual = local * usual + (1 - local) * usual.mean((1, 2), keepdim=True)
    return (target - gain * output).square(), usual.clamp_min(1e-12)


def enlarge(size: int, to: int) -> Floats:
    """Return the matrix (to, size) of linear interpolation whose corners stay corners."""
    if size == 1:
        return np.ones((to, 1))
    place = np.linspace(0, size - 1, to)
    low = np.minimum(place.astype(int), size - 2)
    matrix = np.zeros((to, size))
    matrix[np.arange(to), low] = 1 - (place - low)
    matrix[np.arange(to), low + 1] += place - low
    return matrix


def smooth(size: int, sigma: float) -> Floats:
    """Return the matrix (size, size) of a Gaussian that ends at 4 sigma and is reflected at the borders, edge included.

    Parameters
    ----------
    size : int
        Pixels.
    sigma : float
        In pixels; 0 = no smoothing.

    Returns
    -------
    ndarray, shape (size, size)
        Its rows sum to 1; the same as ``scipy.ndimage.gaussian_filter1d``.
    """
    if sigma == 0:
        return np.eye(size)
    radius = int(TRUNCATE * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    weights /= weights.sum()
    places = (np.arange(size)[:, None] + offsets) % (2 * size)  # ... c b a | a b c | c b a | a b c ...
    places = np.where(places < size, places, 2 * size - 1 - places)
    matrix = np.zeros((size, size))
    np.add.at(matrix, (np.arange(size)[:, None], places), weights)
    return matrix


class AnomalyMap(nn.Module):
    """Puts the distances of all scales on one footing, combines them at the picture's size, and takes the score.

    Parameters
    ----------
    sizes : sequence of (int, int)
        Height and width of each scale.
    height, width : int
        Of the picture.
    sigma : float
        Of the smoothing, in pixels.
    score : str
        Of a picture: "max" of its map, "top" = the mean of the highest 1 % of its pixels, or "mean" of all.
    combine : str
        Of the scales: their "sum" or their "product".
    measure : str
        Of features and their re-creation: "cosine" or "relative"; see `distance` and `relative_distance`.
    local : float
        Of "relative".

    Attributes
    ----------
    slope, shift : Tensor, shape (k,)
        The footing of each of k scales: ``slope * distance + shift``; 1 and 0 until `set_footing`.
    """

    slope: Tensor
    shift: Tensor

    def __init__(
        self,
        sizes: Sequence[tuple[int, int]],
        height: int,
        width: int,
        *,
        sigma: float,
        score: str = "max",
        combine: str = "sum",
        measure: str = "cosine",
        local: float = LOCAL,
    ) -> None:
        super().__init__()
        self.score, self.combine, self.measure, self.local = score, combine, measure, local
        self.top = max(1, round(TOP * height * width))
        for k, (h, w) in enumerate(sizes):
            for word, small, large in (("rows", h, height), ("columns", w, width)):
                matrix = smooth(large, sigma) @ enlarge(small, large)
                self.register_buffer(f"{word}{k}", torch.from_numpy(matrix).float(), persistent=False)
            self.register_buffer(f"middle{k}", torch.zeros(1, 1, 1, 1))
        self.register_buffer("slope", torch.ones(len(sizes)))
        self.register_buffer("shift", torch.zeros(len(sizes)))

    def set_footing(self, slope: Sequence[float], shift: Sequence[float]) -> None:
        """Put each scale on a footing."""
        self.slope.copy_(torch.tensor(slope))
        self.shift.copy_(torch.tensor(shift))

    def set_middle(self, k: int, middle: Tensor) -> None:
        """Say what the mean of each channel, (c,), is in normal pictures, at one scale; 0 until then."""
        self.register_buffer(f"middle{k}", middle.view(1, -1, 1, 1))

    def set_weight(self, k: int, weight: Tensor) -> None:
        """Say how much each channel, (c,), counts in the relative distance of one scale; all the same until then."""
        self.register_buffer(f"weight{k}", weight.view(1, -1, 1, 1))

    def distances(self, target: Tensor, output: Tensor, k: int) -> Tensor:
        """Return the distance of each place at one scale, (n, h, w), of features and their re-creation."""
        if self.measure == "relative":
            weight = getattr(self, f"weight{k}", None)
            return relative_distance(target, output, self.get_buffer(f"middle{k}"), weight, local=self.local)
        return distance(target, output)

    def enlarged(self, distances: Tensor, k: int) -> Tensor:
        """Return the map of one scale as it is, (n, h, w) to (n, height, width)."""
        rows, columns = self.get_buffer(f"rows{k}"), self.get_buffer(f"columns{k}")
        return rows @ distances @ columns.T

    def scale(self, distances: Tensor, k: int) -> Tensor:
        """Return the map of one scale on its footing, (n, h, w) to (n, height, width)."""
        return self.enlarged(distances * self.slope[k] + self.shift[k], k)

    def _sum(self, distances: Sequence[Tensor]) -> Tensor:
        """Return the sum of the maps of all scales: they come together while they are small, side by side.

        ``R0 D0 C0' + R1 D1 C1' = [R0 D0, R1 D1] [C0, C1]'``: one product at the picture's size, not one for each scale.
        """
        high = [self.get_buffer(f"rows{k}") @ (d * self.slope[k] + self.shift[k]) for k, d in enumerate(distances)]
        columns = [self.get_buffer(f"columns{k}") for k in range(len(distances))]
        return torch.cat(high, 2) @ torch.cat(columns, 1).T

    def forward(self, targets: Sequence[Tensor], outputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return scores (n,) and maps (n, height, width)."""
        each = [self.distances(t, o, k) for k, (t, o) in enumerate(zip(targets, outputs, strict=True))]
        if self.combine == "sum":
            whole = self._sum(each)
        else:
            whole = torch.stack([self.scale(d, k) for k, d in enumerate(each)]).prod(0)
        if self.score == "mean":
            return whole.mean(2).mean(1), whole  # onnxruntime loses three digits in one sum of 2048 × 2048 pixels
        pixels = whole.flatten(1)
        if self.score == "max":
            return pixels.amax(1), whole
        return pixels.topk(self.top, dim=1, sorted=False).values.mean(1), whole
