"""How far the places of a picture are from those of other pictures: scores that need no training.

`memory_scores` asks all places of a picture. `rarity` asks those alone that somebody else found strange: what is
strange and found again in other pictures is unusual, what is found in hardly any other is suspect.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from limbeck.calibrate import outlier_cut
from limbeck.image.features import Features
from limbeck.image.maps import TOP

__all__ = ["distances_to_others", "memory_scores", "rarity", "strangest_places"]

MEMORIES, PLACES, POOL = 5, 2000, 200  # how many, how many places each holds, and of how many pictures
STRANGEST, MOST_OTHERS = 3, 2000  # places of a picture that are asked, and pictures in which they are looked for
FEWEST_WITNESSES = 3  # other pictures in which a place must be found, however few there are
MOST_SUSPECTED = 0.5  # of the pictures, beyond which nobody is left to compare with
AT_ONCE, OTHERS_AT_ONCE = 32, 8  # pictures
Floats = NDArray[np.float64]


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
    pool = torch.cat([_smoothed(features[part]) for part in np.array_split(some, -(-len(some) // AT_ONCE))])
    owner = torch.from_numpy(some).repeat_interleave(pool.shape[1])
    pool = pool.flatten(0, 1)
    drawn = [torch.from_numpy(rng.choice(len(pool), min(PLACES, len(pool)), replace=False)) for _ in range(MEMORIES)]
    score = np.empty(len(chosen))
    for start in range(0, len(chosen), AT_ONCE):
        part = chosen[start : start + AT_ONCE]
        places = _smoothed(features[part])
        far = torch.stack([_nearest(places, torch.from_numpy(part), pool[d], owner[d]) for d in drawn]).mean(0)
        score[start : start + AT_ONCE] = far.topk(max(1, round(TOP * far.shape[1]))).values.mean(1).numpy()
    return score


def _nearest(places: Tensor, pictures: Tensor, memory: Tensor, owner: Tensor) -> Tensor:
    """Return the distance of each place from the nearest one of another picture, (n, places)."""
    far = torch.cdist(places, memory)
    own = pictures[:, None] == owner
    return far.masked_fill(own[:, None] & ~own.all(1)[:, None, None], torch.inf).amin(2)


def _smoothed(features: list[Tensor]) -> Tensor:
    """Return a vector of each place, (n, places, channels), of features smoothed over 3 x 3."""
    return _places([F.avg_pool2d(f, 3, 1, 1, count_include_pad=False) for f in features])


def _places(features: list[Tensor]) -> Tensor:
    """Return a vector of each place, (n, places, channels): of the two deepest scales, each of unit length."""
    chosen = features[-2:]
    size = chosen[0].shape[2:]
    scales = [F.normalize(F.interpolate(f, size, mode="bilinear", align_corners=False), dim=1) for f in chosen]
    return torch.cat(scales, 1).flatten(2).transpose(1, 2)


def strangest_places(maps: Tensor, shapes: Sequence[tuple[int, int, int]]) -> Tensor:
    """Return the places of pictures where their maps are highest.

    Parameters
    ----------
    maps : Tensor, shape (n, h, w)
        Higher = stranger.
    shapes : sequence of (c, h, w)
        Of the features' scales; places are those of the last but one, or of the only one.

    Returns
    -------
    Tensor of int64, shape (n, 3), or fewer places where there are not so many
        Counted along the rows.
    """
    _, h, w = shapes[-2:][0]
    places = F.adaptive_avg_pool2d(maps.unsqueeze(1), (h, w)).flatten(1)
    return places.topk(min(STRANGEST, h * w)).indices


def distances_to_others(
    features: Features, chosen: NDArray[np.int64], places: Tensor, *, seed: int
) -> tuple[Tensor, NDArray[np.int64]]:
    """Return how far some places of each picture are from the most alike place of each other picture.

    Parameters
    ----------
    features : Features
        Of all pictures; the two deepest scales are used, or the only one, at the finer one's size.
    chosen : ndarray of int, shape (n,)
        The pictures.
    places : Tensor of int64, shape (n, p)
        See `strangest_places`.
    seed : int
        Of the other pictures, where there are more than 2,000: some of them will do.

    Returns
    -------
    far : Tensor, shape (n, p, m)
        In [0, 2] for one scale, at most 2 * sqrt(2) for two; infinite where the other picture is the picture itself.
    others : ndarray of int, shape (m,)
        Which of the n pictures the others are.
    """
    n, p = places.shape
    others = np.arange(n)
    if n > MOST_OTHERS:
        others = np.sort(np.random.default_rng((seed, 13)).choice(n, MOST_OTHERS, replace=False))
    asked = []
    for start in range(0, n, AT_ONCE):
        vectors = _places(features[chosen[start : start + AT_ONCE]])
        asked.append(vectors.gather(1, places[start : start + AT_ONCE, :, None].expand(-1, -1, vectors.shape[2])))
    wanted = torch.cat(asked).flatten(0, 1)
    far = torch.empty(n * p, len(others))
    for start in range(0, len(others), OTHERS_AT_ONCE):
        vectors = _places(features[chosen[others[start : start + OTHERS_AT_ONCE]]])
        each = torch.cdist(wanted, vectors.flatten(0, 1)).view(n * p, *vectors.shape[:2])
        far[:, start : start + OTHERS_AT_ONCE] = each.amin(2)
    far = far.view(n, p, len(others))
    far[torch.from_numpy(others), :, torch.arange(len(others))] = torch.inf
    return far, others


def rarity(far: Tensor, others: NDArray[np.int64], *, repeated: float, deviations: float) -> tuple[Floats, float]:
    """Return how rare what is strange in pictures is, and from where on it is suspect.

    The mean distance of a picture's strange places from the most alike places of so many other pictures, the nearest
    ones. Who is suspected is no witness for the others: what a rare kind of anomaly has in common with the few others
    of its kind counts for less with each of them that is found.

    Parameters
    ----------
    far : Tensor, shape (n, p, m)
        See `distances_to_others`.
    others : ndarray of int, shape (m,)
        Which of the n pictures they are.
    repeated : float, in (0, 1]
        Share of the others that are asked; at least three are.
    deviations : float
        Robust standard deviations above the median; see `limbeck.calibrate.outlier_cut`.

    Returns
    -------
    score : ndarray of float64, shape (n,)
        Higher = rarer; 0, where there is no other picture.
    cut : float
        Above it a picture is suspected.
    """
    asked = min(max(FEWEST_WITNESSES, math.ceil(repeated * len(others))), len(others) - 1)
    if asked < 1:
        return np.zeros(len(far)), 0.0

    def rare(witnesses: NDArray[np.bool_]) -> Floats:
        nearest = far[:, :, torch.from_numpy(np.flatnonzero(witnesses))].topk(asked, largest=False).values
        score: Floats = nearest.mean((1, 2)).double().numpy()
        return score

    score = rare(np.ones(len(others), bool))
    cut = outlier_cut(score, deviations)
    known = 0
    while (score > cut).sum() > known:
        known = (score > cut).sum()
        witnesses = score[others] <= cut
        if witnesses.sum() <= asked:
            break
        again = rare(witnesses)
        if (again > cut).mean() > MOST_SUSPECTED:
            break
        score = again
    return score, cut
