"""Pictures as a source of learning: the good ones of a folder or an array, some of them set aside."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.calibrate import CALIBRATION_MOST, CALIBRATION_SHARE
from limbeck.data.images import PictureItems, learn_picture_spec
from limbeck.data.layouts import find_pictures, is_picture_source
from limbeck.data.picture_arrays import ArrayItems, learn_array_spec
from limbeck.data.picture_files import PICTURE_SUFFIXES, entries, what_is_in
from limbeck.data.tables import CSV, PARQUET
from limbeck.errors import InputError
from limbeck.fitting.prepared import Prepared

__all__ = ["FEW_PICTURES", "are_pictures", "prepare_pictures"]

FEWEST_PICTURES = 2  # one to learn from, one to calibrate on
FEW_PICTURES = 50  # below this the user is told how little a threshold says


def are_pictures(source: Any) -> bool:
    """Say whether a source is pictures: files, a folder of them, or an array of more than two axes."""
    if isinstance(source, np.ndarray):
        return source.ndim > 2
    if is_picture_source(source):
        return True
    folder = Path(source) if isinstance(source, (str, Path)) else None
    if folder and folder.is_dir() and not any(e.suffix.lower() in PARQUET | CSV for e in entries(folder)):
        raise InputError(
            f"there is nothing to learn from in the folder {folder.resolve().name}",
            expected="pictures (" + ", ".join(sorted(PICTURE_SUFFIXES)) + "), or the parts of a table: Parquet or CSV",
            got=what_is_in(folder),
            fix="check the path",
        )
    return False


def prepare_pictures(source: Any, *, size: int, normal: str | None, on_corrupt: str, seed: int) -> Prepared:
    """Find good pictures, and set some aside for calibration."""
    items: PictureItems | ArrayItems
    if isinstance(source, np.ndarray):
        spec, notes = learn_array_spec(source, size)
        items, name = ArrayItems(spec, source), "array"
    else:
        found = find_pictures(source, normal=normal)
        good = found.training()
        _refuse_few(len(good), found.name)
        file_spec, notes = learn_picture_spec(good, size, on_corrupt=on_corrupt)
        items, name = PictureItems(file_spec, good, on_corrupt), found.name
        if on_corrupt == "skip":
            items = _readable(items, notes)
        notes += _left_out(found.pictures, good)
    _refuse_few(len(items), name)
    if len(items) < FEW_PICTURES:
        notes.append(f"only {len(items)} pictures: a threshold from so few promises little")
    order = np.random.default_rng(seed + 1).permutation(len(items))
    count = max(1, int(min(CALIBRATION_SHARE * len(items), CALIBRATION_MOST)))
    learn, aside = (items.subset(np.sort(places)) for places in (order[count:], order[:count]))
    return Prepared(learn, aside, False, name, len(items), 0, notes)


def _refuse_few(n: int, name: str) -> None:
    if n < FEWEST_PICTURES:
        raise InputError(
            f"too few good pictures in {name}",
            expected=f"at least {FEWEST_PICTURES}: one to learn from and one to calibrate on; some hundred are better",
            got=str(n),
            fix="give more pictures of good parts",
        )


def _readable(items: PictureItems, notes: list[str]) -> PictureItems:
    """Decode every picture once, and leave out those that cannot be."""
    for _ in items.batches(64):
        pass
    if not items.skipped:
        return items
    names = list(items.skipped)
    notes[:] = [note for note in notes if "cannot be read" not in note]  # of the headers alone
    notes.append(
        f"{len(names)} of {len(items)} pictures cannot be read and were left out: "
        + ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    )  # fmt: skip
    return items.subset([i for i, picture in enumerate(items.pictures) if picture.id not in items.skipped])


def _left_out(pictures: Any, good: Any) -> list[str]:
    """Say which pictures of the source were not learned from."""
    words = {
        "train": "pictures of the training split that are not good",
        "test": "pictures of the test split",
        "defect": "pictures with a defect",
        "unknown": "pictures without a label",
    }
    taken = {p.id for p in good}
    rest = Counter(p.split or ("defect" if p.label == 1 else "unknown") for p in pictures if p.id not in taken)
    return [f"{n} {words[kind]} were not learned from" for kind, n in rest.items()]
