"""How well anomaly maps find defects, pixel by pixel and region by region: pure numpy, on raw scores.

Everywhere `masks` and `maps` hold one array (h, w) for each picture, normal ones included: an array (n, h, w), or a
sequence whose pictures may differ in size. A mask is true (or 1) where there is a defect. A map is any finite score,
higher = more anomalous. All pictures are pooled, and ties count as ties. Scores are compared as float32.
Memory beside the inputs: at most about 50 bytes for each pixel, which is 12 times the maps as float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from limbeck.errors import ConfigError, InputError

__all__ = [
    "aupro",
    "pixel_auroc",
    "pixel_average_precision",
    "pixel_f1_max",
    "pixel_metrics",
    "pro_curve",
    "pro_rd4ad_compat",
    "regions",
]

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Pictures = NDArray[Any] | Sequence[ArrayLike]


def _binary(mask: NDArray[Any], name: str) -> NDArray[np.bool_]:
    if mask.dtype != np.bool_ and not np.isin(mask, (0, 1)).all():
        got = f"{np.unique(mask)[:5].tolist()}"
        raise InputError(f"{name} holds more than 0 and 1", expected="1 = defect", got=got, fix="pass mask > 0")
    return mask.astype(np.bool_, copy=False)


def _pictures(masks: Pictures, maps: Pictures, dtype: type[np.floating[Any]]) -> Iterator[tuple[NDArray[Any], ...]]:
    """Yield the checked mask and map of each picture."""
    if len(masks) != len(maps) or len(masks) == 0:
        got = f"{len(masks)} masks and {len(maps)} maps"
        raise InputError("masks and maps do not match", expected="one of each for each picture, at least 1", got=got)
    for i, (mask, raw) in enumerate(zip(masks, maps, strict=True)):
        m, s = np.asarray(mask), np.asarray(raw)
        if m.ndim != 2 or m.shape != s.shape or m.size == 0:
            raise InputError(
                f"mask {i} and map {i} do not match",
                expected="two arrays of one shape (h, w), h and w >= 1",
                got=f"shapes {m.shape} and {s.shape}",
                fix="resize the mask by nearest neighbour; pass a single picture as [mask] and [map]",
            )
        with np.errstate(over="ignore"):
            s = s.astype(dtype)
        if not (finite := np.isfinite(s)).all():
            got = f"{(~finite).sum()} others"
            raise InputError(f"map {i} is not finite", expected=f"finite numbers, as {np.dtype(dtype)}", got=got)
        yield _binary(m, f"mask {i}"), s


def _components(nodes: int, a: NDArray[np.intp], b: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the smallest node that each node is joined to by the edges a-b."""
    root = np.arange(nodes)
    while ((u := root[a]) != (v := root[b])).any():
        np.minimum.at(root, np.maximum(u, v), np.minimum(u, v))
        root = root[root]
    return root


def regions(mask: ArrayLike) -> NDArray[np.int32]:
    """Give each connected region of a mask its number; pixels that touch at a corner are connected.

    Parameters
    ----------
    mask : array-like of bool, shape (h, w)
        Where the defects are.

    Returns
    -------
    ndarray of int32, shape (h, w)
        0 outside, 1 to k inside the k regions, in the order in which rows meet them.

    Raises
    ------
    InputError
        If the mask is not (h, w) or holds something other than 0 and 1.

    Examples
    --------
    >>> regions([[1, 0, 0, 1], [0, 1, 0, 1]]).tolist()
    [[1, 0, 0, 2], [0, 1, 0, 2]]
    """
    m = np.asarray(mask)
    if m.ndim != 2:
        raise InputError("the mask is not one picture", expected="shape (h, w)", got=f"shape {m.shape}")
    h, w = m.shape
    inside = np.zeros((h, w + 1), dtype=np.bool_)  # an empty last column keeps rows apart
    inside[:, :w] = _binary(m, "the mask")
    edges = np.flatnonzero(np.diff(inside.ravel(), prepend=False))
    start, stop = edges[::2], edges[1::2]  # runs of true pixels, row by row
    # A run touches those runs of the row above that begin no later than it stops, and stop no earlier than it begins.
    first = np.searchsorted(stop + (w + 1), start, side="left")
    touching = np.searchsorted(start + (w + 1), stop, side="right") - first
    below = np.repeat(np.arange(start.size), touching)
    above = np.arange(below.size) + np.repeat(first - (np.cumsum(touching) - touching), touching)
    _, number = np.unique(_components(start.size, below, above), return_inverse=True)
    found = np.zeros((h, w + 1), dtype=np.int32)
    found[inside] = np.repeat(number + 1, stop - start)
    return np.ascontiguousarray(found[:, :w])


def _packed(masks: Pictures, maps: Pictures) -> NDArray[np.uint64]:
    """Return one number for each pixel: how far its score lies from the top above, its region below (0 = none)."""
    parts, count = [], 0
    for mask, raw in _pictures(masks, maps, np.float32):
        score = raw + np.float32(0)  # no negative zero
        bits = score.view(np.uint32)
        below_top = np.where(score < 0, bits, np.uint32(0x7FFFFFFF) - bits)  # as IEEE 754 orders its numbers
        region = regions(mask)
        region[mask] += count
        count = max(count, int(region.max()))
        parts.append((below_top.astype(np.uint64) << np.uint64(32) | region.astype(np.uint64)).ravel())
    return np.concatenate(parts)


def _counts(masks: Pictures, maps: Pictures) -> tuple[Counts, Counts, Floats]:
    """Return true alarms, false alarms and mean share of a region at or above each distinct score, from the highest."""
    packed = _packed(masks, maps)
    packed.sort()
    below_top, region = packed >> np.uint64(32), packed.astype(np.uint32)  # the cast keeps the lower 32 bits
    last = np.flatnonzero(np.append(below_top[1:] != below_top[:-1], True))  # last pixel of each distinct score
    del packed, below_top
    size = np.bincount(region)
    if size.size == 1 or size[0] == 0:
        got = f"{size[1:].sum()} anomalous of {region.size} pixels"
        raise InputError("one kind of pixel is missing", expected="at least one defect, and normal pixels", got=got)
    true = np.cumsum(region > 0, dtype=np.int64)[last]
    share = np.r_[0.0, 1.0 / ((size.size - 1) * size[1:])][region]
    pro = np.minimum(np.cumsum(share, out=share)[last], 1.0)
    pro[-1] = 1.0  # not a rounding error less
    last += 1 - true
    return true, last, pro


def _anchored(false: Counts, pro: Floats) -> tuple[Floats, Floats]:
    return np.r_[0.0, false / false[-1]], np.r_[0.0, pro]


def pro_curve(masks: Pictures, maps: Pictures) -> tuple[Floats, Floats]:
    """Return false-positive rate and per-region overlap at each distinct score, from (0, 0) to (1, 1).

    The rate is over the pixels outside all regions, of normal pictures too. The overlap is the mean, over the
    regions of all pictures, of the share of a region that is found: a small region counts as much as a large one.

    Parameters
    ----------
    masks, maps : array (n, h, w), or sequence of arrays (h, w)
        Defects and raw scores.

    Returns
    -------
    fpr, pro : ndarray, shape (k + 1,)
        k is the number of distinct scores (as float32).

    Raises
    ------
    InputError
        If shapes do not match, a map is not finite, or no pixel is anomalous or none normal.

    Examples
    --------
    >>> fpr, pro = pro_curve([[[1, 0, 1, 1]]], [[[0.9, 0.8, 0.8, 0.1]]])
    >>> fpr.tolist(), pro.tolist()
    ([0.0, 0.0, 1.0, 1.0], [0.0, 0.5, 0.75, 1.0])
    """
    return _anchored(*_counts(masks, maps)[1:])


def _area(fpr: Floats, pro: Floats, limit: float) -> float:
    inside = int(np.searchsorted(fpr, limit, side="right"))
    ends = slice(inside - 1, inside + 1)
    x = np.append(fpr[:inside], limit)
    y = np.append(pro[:inside], np.interp(limit, fpr[ends], pro[ends]))
    return float(np.trapezoid(y, x) / limit)


def aupro(masks: Pictures, maps: Pictures, limit: float = 0.3) -> float:
    """Area under the per-region overlap up to a false-positive rate, divided by that rate.

    Parameters
    ----------
    masks, maps : array (n, h, w), or sequence of arrays (h, w)
        Defects and raw scores.
    limit : float, in (0, 1]
        The false-positive rate at which integration ends, by linear interpolation.

    Returns
    -------
    float
        In [0, 1]; limit / 2 is chance.

    Raises
    ------
    ConfigError
        If the limit lies outside (0, 1].
    InputError
        If shapes do not match, a map is not finite, or no pixel is anomalous or none normal.

    References
    ----------
    Bergmann et al., "The MVTec Anomaly Detection Dataset", International Journal of Computer Vision 129, 2021.

    Examples
    --------
    >>> round(aupro([[[1, 0, 1, 1]]], [[[0.9, 0.8, 0.8, 0.1]]]), 4)
    0.5375
    """
    if not 0 < limit <= 1:
        raise ConfigError("limit is out of range", expected="a false-positive rate in (0, 1]", got=f"{limit}")
    return _area(*pro_curve(masks, maps), limit)


def _rd4ad_picture(index: int, mask: NDArray[np.bool_], scores: Floats) -> float:
    thresholds = np.linspace(scores.min(), scores.max(), 200, endpoint=False)

    def share_above(inside: NDArray[np.bool_]) -> Floats:
        ranked = np.sort(scores[inside])
        return np.asarray(ranked.size - np.searchsorted(ranked, thresholds, side="right")) / max(ranked.size, 1)

    numbered = regions(mask)
    overlap = np.mean([share_above(numbered == k) for k in range(1, numbered.max() + 1)], axis=0)
    fpr = share_above(~mask)
    kept = fpr < 0.3
    if kept.sum() < 2 or fpr[kept].max() == 0:
        raise InputError(
            f"the authors' PRO does not exist for picture {index}",
            expected="at least 2 of 200 thresholds with a false-positive rate below 0.3, one of them above 0",
            got=f"{kept.sum()} below 0.3, {(kept & (fpr > 0)).sum()} of them above 0",
            fix="use aupro",
        )
    fpr, overlap = fpr[kept][::-1], overlap[kept][::-1]
    return float(np.trapezoid(overlap, fpr / fpr[-1]))


def pro_rd4ad_compat(masks: Pictures, maps: Pictures) -> float:
    """PRO as RD4AD's authors compute it: not comparable to `aupro`, only there to compare with published tables.

    After the public code of Deng and Li (CVPR 2022). For each anomalous picture alone: 200 evenly spaced thresholds
    from its own lowest score to its own highest, the mean overlap of its regions over its own false-positive rate,
    kept below 0.3 and stretched so that the largest kept rate becomes 1, without the point (0, 0). Then the mean over
    these pictures. Normal pictures are ignored.

    Parameters
    ----------
    masks, maps : array (n, h, w), or sequence of arrays (h, w)
        Defects and raw scores, compared as float64.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    InputError
        If shapes do not match, a map is not finite, no pixel is anomalous, or the value does not exist for a
        picture (a perfect or constant map): it needs at least 2 thresholds with a rate below 0.3, one above 0.

    Examples
    --------
    >>> pro_rd4ad_compat([[[0, 0, 0, 0, 1, 1]]], [[[0.0, 0.1, 0.2, 0.5, 0.3, 0.9]]])
    0.5
    """
    pictures = enumerate(_pictures(masks, maps, np.float64))
    found = [_rd4ad_picture(i, mask, scores) for i, (mask, scores) in pictures if mask.any()]
    if not found:
        raise InputError("no pixel is anomalous", expected="at least one defect", got="empty masks only")
    return float(np.mean(found))


def _pooled(true: Counts, false: Counts) -> dict[str, float]:
    gained = np.diff(true, prepend=0)
    twice_area = np.dot(np.diff(false, prepend=0), 2 * true - gained)  # trapezoids in whole numbers: exact
    precision_sum = np.dot(gained, true / (true + false))
    del gained
    return {
        "pixel_auroc": float(twice_area / (2 * true[-1] * false[-1])),
        "pixel_average_precision": float(precision_sum / true[-1]),
        "pixel_f1_max": float(2 * (true / (true + false + true[-1])).max()),
    }


def pixel_auroc(masks: Pictures, maps: Pictures) -> float:
    """Area under the ROC curve over the pixels of all pictures.

    Parameters
    ----------
    masks, maps : array (n, h, w), or sequence of arrays (h, w)
        Defects and raw scores.

    Returns
    -------
    float
        In [0, 1]; 0.5 is chance. Close to 1 for any fair model, since most pixels are easy: see `aupro` too.

    Raises
    ------
    InputError
        If shapes do not match, a map is not finite, or no pixel is anomalous or none normal.

    Examples
    --------
    >>> pixel_auroc([[[0, 0, 1, 1]]], [[[0.1, 0.4, 0.35, 0.8]]])
    0.75
    """
    return _pooled(*_counts(masks, maps)[:2])["pixel_auroc"]


def pixel_average_precision(masks: Pictures, maps: Pictures) -> float:
    """Area under the precision-recall curve over the pixels of all pictures, by steps.

    Parameters
    ----------
    masks, maps : array (n, h, w), or sequence of arrays (h, w)
        Defects and raw scores.

    Returns
    -------
    float
        In [0, 1]; the share of anomalous pixels is chance.

    Raises
    ------
    InputError
        If shapes do not match, a map is not finite, or no pixel is anomalous or none normal.

    Examples
    --------
    >>> round(pixel_average_precision([[[0, 0, 1, 1]]], [[[0.1, 0.4, 0.35, 0.8]]]), 4)
    0.8333
    """
    return _pooled(*_counts(masks, maps)[:2])["pixel_average_precision"]


def pixel_f1_max(masks: Pictures, maps: Pictures) -> float:
    """Largest F1 over all thresholds, over the pixels of all pictures.

    Parameters
    ----------
    masks, maps : array (n, h, w), or sequence of arrays (h, w)
        Defects and raw scores.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    InputError
        If shapes do not match, a map is not finite, or no pixel is anomalous or none normal.

    Examples
    --------
    >>> pixel_f1_max([[[0, 0, 1, 1]]], [[[0.1, 0.4, 0.35, 0.8]]])
    0.8
    """
    return _pooled(*_counts(masks, maps)[:2])["pixel_f1_max"]


def pixel_metrics(masks: Pictures, maps: Pictures) -> dict[str, float]:
    """All measures of anomaly maps from one sort.

    Parameters
    ----------
    masks, maps : array (n, h, w), or sequence of arrays (h, w)
        Defects and raw scores.

    Returns
    -------
    dict of str to float
        `pixel_auroc`, `pixel_average_precision`, `pixel_f1_max`, `aupro_30` and `aupro_05` (limits 0.3 and 0.05).

    Raises
    ------
    InputError
        If shapes do not match, a map is not finite, or no pixel is anomalous or none normal.

    Examples
    --------
    >>> {name: round(value, 4) for name, value in pixel_metrics([[[1, 0, 0]]], [[[0.8, 0.1, 0.9]]]).items()}
    {'pixel_auroc': 0.5, 'pixel_average_precision': 0.5, 'pixel_f1_max': 0.6667, 'aupro_30': 0.0, 'aupro_05': 0.0}
    """
    true, false, pro = _counts(masks, maps)
    pooled = _pooled(true, false)
    fpr, pro = _anchored(false, pro)
    return pooled | {"aupro_30": _area(fpr, pro, 0.3), "aupro_05": _area(fpr, pro, 0.05)}
