"""Pictures in, a results file and heat maps out."""

from __future__ import annotations

import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image

from limbeck.contracts import Batch, OnStep, Step, Verdicts
from limbeck.data.images import PictureItems, decode
from limbeck.data.layouts import find_pictures
from limbeck.data.picture_files import Picture
from limbeck.detector import Detector
from limbeck.errors import InputError, LimbeckWarning
from limbeck.heat import overlay, resize_map
from limbeck.outputs import new_file, new_folder
from limbeck.spec import for_pictures

__all__ = ["is_maps", "score_pictures", "write_frame"]

BATCH = 16


def score_pictures(
    detector: Detector,
    source: Any,
    out: Path,
    *,
    maps: Path | None,
    on_corrupt: str,
    overwrite: bool,
    on_step: OnStep,
) -> int:
    """Score pictures into a file; see `limbeck.batch.score`."""
    if not isinstance(source, (str, Path, list, tuple)):
        raise InputError(
            "only pictures in files are scored into a file",
            expected="a folder, a .txt list, a picture or several",
            got=type(source).__name__,
            fix="judge pictures in memory with detect",
        )
    found = find_pictures(source)
    items = PictureItems(for_pictures(detector.spec), found.pictures, on_corrupt)
    by_id = {picture.id: picture for picture in found.pictures}
    parts: list[pl.DataFrame] = []
    done = 0
    with ExitStack() as files:
        partial = files.enter_context(new_file(out, overwrite=overwrite))
        folder = None if maps is None else files.enter_context(new_folder(maps, overwrite=overwrite, is_ours=is_maps))
        if folder is not None:
            (folder / MARKER).write_text(WORDS)
        for batch in items.batches(BATCH):
            verdicts = detector.judge(batch.x)
            parts.append(_results(batch, verdicts))
            if folder is not None and verdicts.map is not None:
                for id, scores in zip(batch.id, verdicts.map, strict=True):
                    _write_map(folder, by_id[id], scores, detector.threshold)
            done += len(batch.x)
            on_step(Step("scoring", done, len(items)))
        if items.skipped:
            names = ", ".join(list(items.skipped)[:5]) + (", ..." if len(items.skipped) > 5 else "")
            warnings.warn(f"{len(items.skipped)} pictures cannot be read: {names}", LimbeckWarning, stacklevel=3)
        write_frame(pl.concat(parts) if parts else _EMPTY, partial, out.suffix.lower())
    return done


MARKER, WORDS = "README.txt", "Heat maps made by Limbeck: .png to look at, .tiff to measure with.\n"
_EMPTY = pl.DataFrame(schema={"id": pl.String, "score": pl.Float32, "p_value": pl.Float64, "is_anomaly": pl.Boolean})


def is_maps(folder: Path) -> bool:
    """Say whether a folder holds maps of ours, and may be replaced by others."""
    try:
        return (folder / MARKER).read_bytes() == WORDS.encode()
    except OSError:
        return False


def _results(batch: Batch, verdicts: Verdicts) -> pl.DataFrame:
    columns = {"score": verdicts.score, "p_value": verdicts.p_value, "is_anomaly": verdicts.is_anomaly}
    return pl.DataFrame({"id": pl.Series(batch.id, dtype=pl.String), **columns})


def _write_map(folder: Path, picture: Picture, scores: NDArray[np.float32], threshold: float) -> None:
    """Write a heat map to look at and the scores themselves, both at the picture's own size."""
    decoded = decode(picture.path)
    if decoded.dtype != np.uint8:
        decoded = (decoded.astype(np.float64) / max(1, int(decoded.max())) * 255).astype(np.uint8)  # to look at
    parts = ["_" if part == ".." else part for part in Path(picture.id).parts]  # never outside of the folder
    place = folder.joinpath(*parts)  # with its suffix: others may have the same stem
    place.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(overlay(decoded, scores, threshold)).save(place.with_name(place.name + ".png"))
    Image.fromarray(resize_map(scores, decoded.shape[:2])).save(place.with_name(place.name + ".tiff"))


def write_frame(frame: pl.DataFrame, path: Path, suffix: str) -> None:
    """Write a frame as ``.parquet``, ``.csv`` or ``.jsonl``."""
    if suffix == ".parquet":
        frame.write_parquet(path)
    elif suffix == ".csv":
        frame.write_csv(path)
    else:
        frame.write_ndjson(path)
