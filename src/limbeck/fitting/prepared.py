"""What a source gives to learning: items to learn from, items to calibrate on, and what there is to say of them."""

from __future__ import annotations

from dataclasses import dataclass

from limbeck.contracts import Items

__all__ = ["Prepared"]


@dataclass(frozen=True)
class Prepared:
    """A source, split.

    Attributes
    ----------
    learn, calibration : Items
        No item is in both; no distiller sees the second.
    labelled : bool
        Whether there are anomalies among them, so that scores can become probabilities.
    name : str
        The source's, never its path.
    n_items, n_anomalous : int
        Of both together.
    notes : list of str
        What was left out, dropped or found odd.
    """

    learn: Items
    calibration: Items
    labelled: bool
    name: str
    n_items: int
    n_anomalous: int
    notes: list[str]
