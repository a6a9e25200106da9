"""The suspicion list of a package: which training pictures look anomalous, for a person who cleans the set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from limbeck.batch import RESULTS
from limbeck.batch_pictures import write_frame
from limbeck.detector import Detector
from limbeck.errors import InputError, OutputError
from limbeck.methods import METHODS
from limbeck.outputs import new_file

__all__ = ["suspects", "write_suspects"]


def suspects(detector: Detector) -> pl.DataFrame:
    """Return the training pictures, the most suspicious first.

    Parameters
    ----------
    detector : Detector
        Made by a method that learns from dirty sets.

    Returns
    -------
    DataFrame
        Columns ``rank`` (from 1), ``id``, ``score`` (as the detector scores it), ``suspected`` (whether it scores like
        an anomaly), ``rare`` (whether it is among those that learning took for anomalies, since what is strange in them
        is in hardly any other picture; they come first) and ``calibration`` (whether it was set aside for calibration,
        and never learned from).

    Raises
    ------
    InputError
        If the detector's method makes no such list.

    Examples
    --------
    >>> import limbeck
    >>> from limbeck.suspects import suspects
    >>> suspects(limbeck.load("parts.limbeck")).filter("suspected")["id"]  # doctest: +SKIP
    """
    rows = _rows(detector)
    schema = {"id": pl.String, "score": pl.Float32} | dict.fromkeys(("suspected", "rare", "calibration"), pl.Boolean)
    frame = pl.DataFrame({key: [row.get(key, False) for row in rows] for key in schema}, schema=schema)
    return frame.with_row_index("rank", 1)


def write_suspects(detector: Detector, out: str | Path, *, overwrite: bool = False) -> int:
    """Write the list as a table, whole or not at all, and return how many pictures it names.

    Parameters
    ----------
    detector : Detector
        Made by a method that learns from dirty sets.
    out : path
        A ``.parquet``, ``.csv`` or ``.jsonl`` file; see `suspects` for its columns.
    overwrite : bool
        Whether it may replace an existing file.

    Returns
    -------
    int
        Rows.

    Raises
    ------
    InputError
        If the detector's method makes no such list.
    OutputError
        If the place is taken, cannot be written, or is of another kind.
    """
    out, frame = Path(out), suspects(detector)
    if out.suffix.lower() not in RESULTS:
        raise OutputError(
            f"{out.name} is not a kind of table", expected=", ".join(RESULTS), got=out.suffix or "no suffix"
        )
    with new_file(out, overwrite=overwrite) as partial:
        write_frame(frame, partial, out.suffix.lower())
    return len(frame)


def _rows(detector: Detector) -> list[dict[str, Any]]:
    held = detector.artefact.training.get("suspects")
    if held is None:
        raise InputError(
            f"the package of {detector.card.name} has no suspicion list",
            expected="a method for dirty training sets: " + ", ".join(n for n, m in METHODS.items() if m.dirty),
            got=detector.card.method,
            fix="fit it with --method cross-domain",
        )
    rows: list[dict[str, Any]] = held["pictures"]
    return rows
