"""Dirty training sets on disk, of labelled pictures or rows: what `limbeck.data.noisy_split` draws, written out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from limbeck.contracts import OnStep, Step, ignore
from limbeck.data.columns import labels_of
from limbeck.data.layouts import find_pictures, is_picture_source
from limbeck.data.noisy_split import (
    ASIDE,
    LISTS,
    NoisySplit,
    check_settings,
    draw_order,
    exact_share,
    make_noisy_split,
    write,
)
from limbeck.data.picture_files import GOOD, Picture
from limbeck.data.tables import open_table
from limbeck.errors import ConfigError, InputError, OutputError
from limbeck.outputs import new_folder, refuse_existing

__all__ = ["contaminate"]

TEST = 0.3  # share of the normal items that are set aside for the test, where the source is not split


def contaminate(
    source: Any,
    out: str | Path,
    *,
    ratio: float,
    label: str | None = None,
    base: str = "clean",
    overlap: bool = False,
    fold: int = 0,
    test: float | None = None,
    normal: str | None = None,
    masks: bool = True,
    overwrite: bool = False,
    on_step: OnStep = ignore,
) -> NoisySplit:
    """Make a dirty training set, its test and its lists: a folder that appears whole or not at all.

    Of pictures the folder has the layout of MVTec AD: ``train/good/NNNNN.png`` in the order of the split's `train`,
    ``test`` and ``ground_truth`` with the names of the source. Of a table it holds ``train.parquet`` without the label
    column and ``test.parquet`` with it, rows in the order of `train` and `test`, whose ids are the source's row
    numbers. Both hold the lists, ``contamination.json``. Items without a label are left out, and noted.

    Parameters
    ----------
    source : path, frame, mapping or array
        Labelled pictures (a folder or a ``.txt`` list) or a labelled table.
    out : path
        The folder to make.
    ratio, base, overlap, fold
        See `make_noisy_split`.
    label : str, optional
        The label column of a table.
    test : float, in (0, 1), optional
        Share of the normal items that are set aside for the test, drawn by the fold; 0.3 unless told. Only of a source
        that has no training and test split of its own.
    normal : str, optional
        The label, or the folder of pictures, that means normal.
    masks : bool
        Whether to pair pictures with masks, and copy them.
    overwrite : bool
        Whether an earlier such folder may be replaced.
    on_step : callable
        Called with a `Step` as pictures are copied.

    Returns
    -------
    NoisySplit
        The lists.

    Raises
    ------
    ConfigError
        If a setting is out of its range, or does not fit the source.
    InputError
        If the source cannot be used; see `make_noisy_split`.
    OutputError
        If the place is taken, lies inside of the source or around it, or cannot be written.

    Examples
    --------
    >>> contaminate("screw", "screw-10", ratio=0.1).share  # doctest: +SKIP
    0.09090909090909091
    """
    check_settings(ratio, base, fold, test)
    out = Path(out)
    refuse_existing(out, overwrite, _is_ours, source=source)
    _refuse_nested(out, source)
    pictures: tuple[Picture, ...] = ()
    rows = pl.DataFrame()
    if is_picture_source(source):
        pictures = _read_pictures(source, label, normal, masks)
        ids, y, part = (np.array(facts) for facts in zip(*((p.id, p.label, p.split) for p in pictures), strict=True))
    else:
        rows, y = _read_rows(source, label, normal)
        ids, part = np.arange(len(y)), np.full(len(y), "")
    learn, tested = _divide(y, part, test, fold)
    split = make_noisy_split(ids[learn], ids[tested], y[tested], ratio=ratio, base=base, overlap=overlap, fold=fold)
    if rest := int((~learn & ~tested).sum()):
        note = f"{rest:,} items were left out: without a label, or anomalous in the training split"
        split = replace(split, notes=(*split.notes, note))
    with new_folder(out, overwrite=overwrite, is_ours=_is_ours) as partial:
        if pictures:
            _copy_pictures(partial, pictures, split, on_step)
        else:
            _write_rows(partial, rows, str(label), split)
        write(partial / LISTS, split)
    return split


def _is_ours(folder: Path) -> bool:
    return (folder / LISTS).is_file()


def _refuse_nested(out: Path, source: Any) -> None:
    """Refuse a place inside of the source, of which it would become a part, or around it, which it would replace."""
    if isinstance(source, (str, Path)):
        place, origin = out.resolve(), Path(source).resolve()
        if place.is_relative_to(origin) or origin.is_relative_to(place):
            raise OutputError(
                f"{out} lies inside of the source, or the source inside of it", expected="a place beside it"
            )


def _read_pictures(source: Any, label: str | None, normal: str | None, masks: bool) -> tuple[Picture, ...]:
    if label is not None:
        raise InputError(
            "pictures have no label column",
            expected="labels from folders or a list",
            got=repr(label),
            fix="--normal FOLDER",
        )
    return find_pictures(source, masks=masks, normal=normal).pictures


def _read_rows(source: Any, label: str | None, normal: str | None) -> tuple[pl.DataFrame, NDArray[np.int8]]:
    table = open_table(source)
    if label not in table.schema:
        raise InputError(
            f"{table.name} has no label column {label!r}" if label else "a table needs a label column",
            expected="one of " + ", ".join(list(table.schema)[:20]),
            got=repr(label) if label else "none",
            fix="name it: --label COLUMN (label=COLUMN in Python)",
        )
    frame = table.frame()
    return frame, labels_of(frame[label], normal)


def _divide(
    y: NDArray[Any], part: NDArray[Any], test: float | None, fold: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Say which items are the clean ones to learn from, and which the test has before any of them moves."""
    learn = y == 0
    if not part.any():
        normals = np.flatnonzero(learn)
        count = int(exact_share(TEST if test is None else test) * len(normals))
        learn[normals[draw_order(len(normals), fold, ASIDE)[:count]]] = False
    elif test is None:
        learn &= part == "train"
    else:
        raise ConfigError(
            "the source is split already", expected="no share for the test", got=repr(test), fix="leave --test out"
        )
    return learn, (part != "train") & (y >= 0) & ~learn


def _copy_pictures(folder: Path, pictures: Sequence[Picture], split: NoisySplit, on_step: OnStep) -> None:
    """Copy pictures and masks, byte for byte; names, times and order do not tell which of `train` are anomalous."""
    known, names = {p.id: p for p in pictures}, _test_names(pictures)
    to_learn = [known[str(id)].path for id in split.train]
    jobs = [(path, f"train/good/{i:05d}{path.suffix.lower()}") for i, path in enumerate(to_learn)]
    for id in map(str, split.test):
        picture = known[id]
        jobs.append((picture.path, f"test/{names[id]}{picture.path.suffix}"))
        if picture.mask:
            jobs.append((picture.mask, f"ground_truth/{names[id]}_mask{picture.mask.suffix}"))
    for done, (path, name) in enumerate(jobs, 1):
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InputError(f"cannot read {path}", got=str(error.strerror), fix="check its rights") from error
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
        on_step(Step("copying", done, len(jobs)))


def _test_names(pictures: Sequence[Picture]) -> dict[str, str]:
    """Name pictures ``<defect>/<stem>``, their own names; of two alike the later has its number in the source too."""
    names: dict[str, str] = {}
    taken = set()
    for i, picture in enumerate(pictures):
        if picture.split == "train" or picture.label == -1:
            continue
        kind = "good"
        if picture.label == 1:  # in a list any text names a defect; and a defect may be called ok if `normal` is not
            kind = re.sub(r"[/\\\0]", "_", picture.defect).lstrip(".") or "anomaly"
            kind = f"defect-{kind}" if kind.lower() in GOOD else kind
        name, number = f"{kind}/{picture.path.stem}", i  # a mask finds its picture by the stem
        while name.lower() in taken:
            name, number = f"{kind}/{picture.path.stem}-{number}", number + len(pictures)
        taken.add(name.lower())
        names[picture.id] = name
    return names


def _write_rows(folder: Path, frame: pl.DataFrame, label: str, split: NoisySplit) -> None:
    try:
        frame.drop(label)[np.array(split.train)].write_parquet(folder / "train.parquet")
        frame[np.array(split.test)].write_parquet(folder / "test.parquet")
    except pl.exceptions.PolarsError as error:
        raise OSError(str(error)) from error
