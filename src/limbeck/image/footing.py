"""How scales of an anomaly map are put on one footing before they are added up, by good pictures kept from learning.

Features at different depths are re-created with very different errors: a plain sum is ruled by whichever scale is the
noisiest. Nothing here looks at a real anomaly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limbeck.data.defects import DEFECTS, add_defect
from limbeck.errors import InputError
from limbeck.image.maps import AnomalyMap, distance

__all__ = ["by_defects", "by_quantiles", "damage", "scale_maps"]

Maps = NDArray[np.float32]  # (k, n, h, w): of k scales
LOW, HIGH, RISE = 0.9, 0.995, 0.1  # quantiles of normal pixels, and the distance that they get on the common footing
DAMAGED = 96  # pictures with made-up defects


def scale_maps(whole: AnomalyMap, targets: Sequence[Tensor], outputs: Sequence[Tensor]) -> Maps:
    """Return the map of each scale before any footing, (k, n, h, w), of features and their re-creation."""
    maps = [whole.enlarged(distance(t, o), k) for k, (t, o) in enumerate(zip(targets, outputs, strict=True))]
    return torch.stack(maps).numpy()


def by_quantiles(normal: Maps) -> tuple[list[float], list[float]]:
    """Return slope and shift of each scale by the spread of its highest normal pixels.

    The 0.9 quantile of the pixels of normal pictures becomes 0 and the 0.995 quantile 0.1; divided by the number of
    scales, so that their sum is a mean.

    Batzner, Heckler and König, "EfficientAD", WACV 2024.
    """
    slopes, shifts = [], []
    for pixels in normal:
        low, high = np.quantile(pixels, [LOW, HIGH])
        slope = RISE / max(float(high - low), 1e-6) / len(normal)
        slopes.append(slope)
        shifts.append(-slope * float(low))
    return slopes, shifts


def by_defects(normal: Maps, damaged: Maps, masks: NDArray[np.bool_]) -> tuple[list[float], list[float]]:
    """Return slope and shift of each scale by how well it tells made-up defects from normal pixels.

    Fisher's linear discriminant over the scales of a pixel: weights are the inverse of the normal pixels' covariance
    times the difference of means; a scale that would count against an anomaly is left out. The sum has its 0.9
    quantile of normal pixels at 0 and the 0.995 quantile at 0.1.

    Parameters
    ----------
    normal : ndarray, shape (k, n, h, w)
        Maps of k scales of good pictures.
    damaged : ndarray, shape (k, m, h, w)
        Of the same kind of pictures with made-up defects.
    masks : ndarray of bool, shape (m, h, w)
        Where those are.

    Returns
    -------
    slope, shift : list of k floats
        Not all slopes are 0.

    References
    ----------
    Fisher, "The use of multiple measurements in taxonomic problems", Annals of Eugenics 7, 1936.
    """
    k = len(normal)
    pixels = normal.reshape(k, -1).astype(np.float64)
    middle = pixels.mean(1)
    gap = damaged[:, masks].mean(1) - middle
    kept = np.arange(k)
    while True:  # leave out the most harmful scale until none is
        covariance = np.atleast_2d(np.cov(pixels[kept]))
        weights = np.linalg.solve(covariance + 1e-9 * np.trace(covariance) * np.eye(len(kept)), gap[kept])
        if len(kept) == 1 or (weights >= 0).all():
            break
        kept = np.delete(kept, weights.argmin())
    slope = np.zeros(k)
    slope[kept] = np.maximum(weights, 0)
    if not slope.any():  # nothing tells them apart
        return by_quantiles(normal)
    low, high = np.quantile(slope @ pixels, [LOW, HIGH])
    unit = RISE / max(float(high - low), 1e-12)
    return (slope * unit).tolist(), [-float(low) * unit / k] * k


def damage(pictures: NDArray[np.uint8], seed: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return some hundred pictures with made-up defects of every kind, and their masks.

    Raises
    ------
    InputError
        If no defect can be seen on any of them.
    """
    rng = np.random.default_rng(seed + 3)
    kinds = list(DEFECTS)
    made = []
    for i in range(math.ceil(DAMAGED / len(pictures)) * len(pictures)):
        try:
            made.append(add_defect(pictures[i % len(pictures)], kinds[i % len(kinds)], rng))
        except InputError:  # a stain on black is not seen
            continue
        if len(made) == DAMAGED:
            break
    if not made:
        raise InputError("no made-up defect can be seen on these pictures", fix="--set footing=quantile")
    return np.stack([picture for picture, _ in made]), np.stack([mask for _, mask in made])
