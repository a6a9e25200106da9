"""The part of a report that shows pictures: the worst misses first, each with its map and its mask."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from limbeck.data.images import decode
from limbeck.detector import Detector
from limbeck.errors import InputError
from limbeck.evaluate import Evaluation, Pictures
from limbeck.heat import data_uri, overlay
from limbeck.pixel_metrics import pro_curve

__all__ = ["curve_of_regions", "gallery", "said_of_suspects"]

MOST = 24  # pictures shown
GREY = 224  # size of what stands for a picture that is gone, in pixels
LIMIT = 0.3  # false-positive rate to which the curve of regions is drawn


def gallery(detector: Detector, evaluation: Evaluation) -> list[dict[str, str]]:
    """Return the pictures to show: missed ones, false alarms, then those that are nearest to being either.

    Parameters
    ----------
    detector : Detector
        Its threshold decides what is a miss.
    evaluation : Evaluation
        Of pictures.

    Returns
    -------
    list of dict
        ``id``, ``what``, ``score``, and ``picture``, ``map`` and ``mask`` as data URIs ("" where there is no mask).
    """
    shown = evaluation.pictures
    if shown is None:
        return []
    margin = np.where(evaluation.label == 1, -1, 1) * (evaluation.score.astype(np.float64) - detector.threshold)
    order = np.argsort(-margin, kind="stable")[:MOST]  # from the most wrong to the nearest to wrong
    return [_shown(detector, evaluation, shown, int(i)) for i in order]


def _shown(detector: Detector, evaluation: Evaluation, shown: Pictures, i: int) -> dict[str, str]:
    picture, score, bad = shown.pictures[i], float(evaluation.score[i]), evaluation.label[i] == 1
    alarm = score > np.float32(detector.threshold)
    what = ("found" if alarm else "missed") if bad else ("false alarm" if alarm else "rightly passed")
    try:
        decoded = _eight_bit(decode(picture.path))
    except InputError:  # gone since it was measured
        decoded = np.full((GREY, GREY), 128, np.uint8)
    mask = None if shown.masks is None or picture.mask is None else shown.masks[i]
    return {
        "id": picture.id,
        "what": what,
        "defect": picture.defect if bad else "",
        "score": f"{score:.4g}",
        "picture": data_uri(decoded),
        "map": data_uri(overlay(decoded, shown.maps[i], detector.threshold)),
        "mask": "" if mask is None else data_uri(mask.astype(np.uint8) * 255),
    }


def said_of_suspects(held: dict[str, Any] | None) -> dict[str, Any] | None:
    """Say which training pictures look anomalous; None where the method asks no such question."""
    if held is None:
        return None
    rows = held["pictures"]
    return {
        "found": sum(row["suspected"] for row in rows),
        "rare": sum(row.get("rare", False) for row in rows),
        "total": len(rows),
        "cut": f"{held['cut']:.4g}",
        "shown": [(i, row, f"{row['score']:.4g}") for i, row in enumerate(rows, 1) if "picture" in row],
    }


def curve_of_regions(shown: Pictures) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return false-positive rate of pixels and mean overlap with each defect, thinned; None without masks."""
    if shown.masks is None:
        return None
    measured = np.array([p.mask is not None or p.label == 0 for p in shown.pictures])
    fpr, pro = pro_curve(shown.masks[measured], shown.maps[measured])
    grid = np.linspace(0, LIMIT, 301)
    return grid, np.interp(grid, fpr, pro)


def _eight_bit(picture: NDArray[Any]) -> NDArray[np.uint8]:
    """Return a picture that can be looked at: a 16-bit one from its darkest to its lightest value."""
    if picture.dtype == np.uint8:
        return picture
    low, high = int(picture.min()), int(picture.max())
    return np.asarray((picture.astype(np.float64) - low) / max(1, high - low) * 255).astype(np.uint8)
