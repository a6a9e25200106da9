"""How scales of an anomaly map are put on one footing before they are added up, by good pictures kept from learning.

Features at different depths are re-created with very different errors: a plain sum is ruled by whichever scale is the
noisiest. Nothing here looks at a real anomaly.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limbeck.image.maps import AnomalyMap

__all__ = ["by_means", "by_quantiles", "scale_maps"]

Maps = NDArray[np.float32]  # (k, n, h, w): of k scales
LOW, HIGH, RISE = 0.9, 0.995, 0.1  # quantiles of normal pixels, and the distance that they get on the common footing
LEAST = 1e-6  # of a distance: below it there is only rounding


def scale_maps(whole: AnomalyMap, targets: Sequence[Tensor], outputs: Sequence[Tensor]) -> Maps:
    """Return the map of each scale before any footing, (k, n, h, w), of features and their re-creation."""
    maps = [whole.enlarged(whole.distances(t, o, k), k) for k, (t, o) in enumerate(zip(targets, outputs, strict=True))]
    return torch.stack(maps).numpy()


def by_means(normal: Maps) -> tuple[list[float], list[float]]:
    """Return slope and shift of each scale by its mean over the pixels of normal pictures.

    Divided by the number of scales, so that their sum is a mean: a pixel of 0 is as far from its re-creation as a
    normal one, a pixel of 2 three times as far.
    """
    means = normal.reshape(len(normal), -1).mean(1, dtype=np.float64)
    return [1 / (len(normal) * max(float(mean), LEAST)) for mean in means], [-1 / len(normal)] * len(normal)


def by_quantiles(normal: Maps) -> tuple[list[float], list[float]]:
    """Return slope and shift of each scale by the spread of its highest normal pixels.

    The 0.9 quantile of the pixels of normal pictures becomes 0 and the 0.995 quantile 0.1; divided by the number of
    scales, so that their sum is a mean.

    Batzner, Heckler and König, "EfficientAD", WACV 2024.
    """
    slopes, shifts = [], []
    for pixels in normal:
        low, high = np.quantile(pixels, [LOW, HIGH])
        slope = RISE / max(float(high - low), LEAST) / len(normal)
        slopes.append(slope)
        shifts.append(-slope * float(low))
    return slopes, shifts
