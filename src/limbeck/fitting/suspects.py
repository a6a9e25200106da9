"""The suspicion list: which pictures of a dirty training set look anomalous to the detector that was made of it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from limbeck.contracts import OnStep, Scorer, Step
from limbeck.fitting.prepared import Prepared
from limbeck.heat import data_uri, overlay

__all__ = ["said_of", "suspects_of"]

AT_ONCE = 32  # pictures


def suspects_of(
    scorer: Scorer, prepared: Prepared, *, cut: float, shown: int, on_step: OnStep, rare: Collection[str] = ()
) -> dict[str, Any]:
    """Judge the training set with the finished model.

    Parameters
    ----------
    scorer : Scorer
        Of the finished model.
    prepared : Prepared
        Pictures that were learned from, and those of the calibration.
    cut : float
        Score above which a picture is suspected, and by which its map is coloured.
    shown : int
        Of how many the picture and its map are kept, small.
    on_step : callable
        Called with a `Step` as the work goes on.
    rare : collection of str
        The ids of those in which learning found what hardly any other picture has.

    Returns
    -------
    dict
        ``cut``, and ``pictures``: of each ``id``, ``score``, ``suspected``, ``rare``, ``calibration`` (whether it was
        set aside), the rare ones first, then by score; of the first ones ``picture`` and ``map``, data URIs.
    """
    parts = ((prepared.learn, False), (prepared.calibration, True))
    total, rows = sum(len(items) for items, _ in parts), []
    for items, calibration in parts:
        for batch in items.batches(AT_ONCE):
            for id, score in zip(batch.id, scorer(batch.x).score.tolist(), strict=True):
                found = {"suspected": score > cut, "rare": str(id) in rare and not calibration}
                rows.append({"id": str(id), "score": score, **found, "calibration": calibration})
            on_step(Step("judging", len(rows), total))
    order = sorted(range(total), key=lambda i: (not rows[i]["rare"], -rows[i]["score"]))
    for i in order[:shown]:
        items, place = (parts[0][0], i) if i < len(parts[0][0]) else (parts[1][0], i - len(parts[0][0]))
        (batch,) = items.subset(np.array([place])).batches(1)
        maps = scorer(batch.x).map
        assert maps is not None
        rows[i] |= {"picture": data_uri(batch.x[0]), "map": data_uri(overlay(batch.x[0], maps[0], cut))}
    return {"cut": cut, "pictures": [rows[i] for i in order]}


def said_of(suspects: dict[str, Any]) -> str:
    """Say in a sentence what the list holds."""
    found, rare = (sum(row[key] for row in suspects["pictures"]) for key in ("suspected", "rare"))
    total = len(suspects["pictures"])
    words = f"{found:,} of {total:,} training pictures look anomalous: `limbeck suspects PACKAGE` lists them"
    return words + f", and first the {rare:,} that have something that hardly any other picture has" * bool(rare)
