"""How far the places of a picture are from those of other pictures: a score that needs no training."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from limbeck.image.features import Features
from limbeck.image.maps import TOP

__all__ = ["memory_scores"]

MEMORIES, PLACES, POOL = 5, 2000, 200  # how many, how many places each holds, and of how many pictures
AT_ONCE = 32  # pictures


def memory_scores(features: Features, chosen: NDArray[np.int64], *, seed: int) -> NDArray[np.float64]:
    """Return how far pictures are from sparse random memories of each other.

    A rare kind of anomaly is seldom in a memory of few places, so that its pictures find no likeness there; a picture's
    own places do not count.

    Parameters
    ----------
    features : Features
        Of all pictures; the two deepest scales are used, or the only one, at the finer one's size.
    chosen : ndarray of int, shape (n,)
        The pictures.
    seed : int
        Of the memories.

    Returns
    -------
    ndarray of float64, shape (n,)
        The mean over the memories of a place's distance from its nearest one, and of it the highest 1 % of a picture.
    """
    rng = np.random.default_rng((seed, 11))
    some = rng.choice(chosen, min(len(chosen), POOL), replace=False)
    pool = torch.cat([_places(features[part]) for part in np.array_split(some, -(-len(some) // AT_ONCE))])
    owner = torch.from_numpy(some).repeat_interleave(pool.shape[1])
    pool = pool.flatten(0, 1)
    drawn = [torch.from_numpy(rng.choice(len(pool), min(PLACES, len(pool)), replace=False)) for _ in range(MEMORIES)]
    score = np.empty(len(chosen))
    for start in range(0, len(chosen), AT_ONCE):
        part = chosen[start : start + AT_ONCE]
        places = _places(features[part])
        far = torch.stack([_nearest(places, torch.from_numpy(part), pool[d], owner[d]) for d in drawn]).mean(0)
        score[start : start + AT_ONCE] = far.topk(max(1, round(TOP * far.shape[1]))).values.mean(1).numpy()
    return score


def _nearest(places: Tensor, pictures: Tensor, memory: Tensor, owner: Tensor) -> Tensor:
    """Return the distance of each place from the nearest one of another picture, (n, places)."""
    far = torch.cdist(places, memory)
    own = pictures[:, None] == owner
    return far.masked_fill(own[:, None] & ~own.all(1)[:, None, None], torch.inf).amin(2)


def _places(features: list[Tensor]) -> Tensor:
    """Return a vector of each place, (n, places, channels): features of unit length, smoothed over 3 × 3."""
    chosen = features[-2:]
    size = chosen[0].shape[2:]
    scales = [F.avg_pool2d(f, 3, 1, 1, count_include_pad=False) for f in chosen]
    scales = [F.normalize(F.interpolate(f, size, mode="bilinear", align_corners=False), dim=1) for f in scales]
    return torch.cat(scales, 1).flatten(2).transpose(1, 2)
