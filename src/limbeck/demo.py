"""The whole story on built-in data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from limbeck.batch import score
from limbeck.contracts import OnStep, ignore
from limbeck.data.defects import DEFECTS, textures
from limbeck.data.images import decode, decode_mask
from limbeck.data.transactions import transactions
from limbeck.detector import Detector
from limbeck.errors import InputError, OutputError, require, require_training
from limbeck.evaluate import Evaluation, evaluate
from limbeck.fitting import fit
from limbeck.heat import overlay
from limbeck.outputs import new_file
from limbeck.report import report

__all__ = ["PicturesDemo", "TableDemo", "contact_sheet", "demo_pictures", "demo_table"]

ROWS, RATE = 10_000, 0.03
CONFIG = {
    "trees": 150,
    "folds": 5,
    "steps": 2500,
    "refit_below": 0,
    "measurements": 1,
}  # smaller than the defaults, to end in a minute


@dataclass(frozen=True)
class TableDemo:
    """What a demo leaves behind."""

    detector: Detector
    metrics: dict[str, float]
    n_train: int
    n_test: int
    package: Path
    scores: Path
    report: Path


def demo_table(folder: Path, *, seed: int = 0, on_step: OnStep = ignore) -> TableDemo:
    """Generate card payments, fit, save, evaluate, report and score.

    Parameters
    ----------
    folder : Path
        Where everything goes; it is made if need be, and what an earlier demo left there is replaced.
    seed : int
        Seed of the data and of everything random.
    on_step : callable
        Called with a `Step` as the work goes on.

    Returns
    -------
    TableDemo
        The detector, its metrics and the paths of the files.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    """
    _prepare(folder)
    train, test = (transactions(n, rate=RATE, seed=s) for n, s in ((ROWS, 2 * seed), (2 * ROWS, 2 * seed + 1)))
    for name, frame in (("train", train), ("test", test)):
        with new_file(folder / f"{name}.parquet", overwrite=True) as partial:
            frame.write_parquet(partial)
    detector = fit(folder / "train.parquet", label="fraud", config=CONFIG, seed=seed, on_step=on_step)
    detector.save(folder / "transactions.limbeck", overwrite=True)
    detector = Detector.load(folder / "transactions.limbeck")
    evaluation = evaluate(detector, folder / "test.parquet", on_step=on_step)
    report(detector, folder / "report.html", evaluation=evaluation, overwrite=True)
    score(detector, folder / "test.parquet", folder / "scores.parquet", overwrite=True, on_step=on_step)
    return TableDemo(
        detector,
        evaluation.metrics,
        len(train),
        len(test),
        folder / "transactions.limbeck",
        folder / "scores.parquet",
        folder / "report.html",
    )


TRAIN, GOOD, BAD = 200, 60, 30  # pictures
ALPHA = 0.05  # 40 of the pictures calibrate: the threshold is their second highest score
PICTURES: dict[str, Any] = {
    "size": 160,
    "taps": ["_blocks.2", "_blocks.4", "_blocks.10"],  # one scale finer than the backbone's own: pictures are small
    "steps": 500,
    "halved": "no",  # one student
    "schedule": "cosine",
    "sigma": 3.0,
}  # smaller than the defaults, to end in two minutes


@dataclass(frozen=True)
class PicturesDemo:
    """What a demo with pictures leaves behind."""

    detector: Detector
    metrics: dict[str, float]
    n_train: int
    n_test: int
    package: Path
    scores: Path
    report: Path
    maps: Path
    sheet: Path


def demo_pictures(folder: Path, *, seed: int = 0, on_step: OnStep = ignore) -> PicturesDemo:
    """Cut petals out of a photograph, damage some, fit, save, evaluate, report and score with heat maps.

    Parameters
    ----------
    folder : Path
        Where everything goes; it is made if need be, and what an earlier demo left there is replaced.
    seed : int
        Seed of the pictures and of everything random.
    on_step : callable
        Called with a `Step` as the work goes on.

    Returns
    -------
    PicturesDemo
        The detector, its metrics and the paths of the files.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    InputError
        If the backbone's weights cannot be had.
    """
    _prepare(folder)
    petals, package = folder / "petals", folder / "petals.limbeck"
    textures(
        petals,
        n_train=TRAIN,
        n_test_good=GOOD,
        n_test_bad=BAD,
        size=PICTURES["size"],
        seed=seed,
        overwrite=True,
    )
    fit(petals, config=PICTURES, alpha=ALPHA, seed=seed, on_step=on_step).save(package, overwrite=True)
    detector = Detector.load(package)
    evaluation = evaluate(detector, petals, on_step=on_step)
    report(detector, folder / "petals.html", evaluation=evaluation, overwrite=True)
    scores, maps, sheet = folder / "scores.csv", folder / "maps", folder / "heatmaps.png"
    score(detector, petals / "test", scores, maps=maps, overwrite=True, on_step=on_step)
    with new_file(sheet, overwrite=True) as partial:
        contact_sheet(detector, evaluation).save(partial, format="PNG", optimize=True)
    return PicturesDemo(
        detector, evaluation.metrics, TRAIN, GOOD + BAD, package, scores, folder / "petals.html", maps, sheet
    )


CELL, GAP, LEFT, TOP, BOTTOM = 184, 8, 96, 64, 34  # pixels of the sheet
INK, PALE, RIGHT, WRONG = (32, 33, 36), (110, 113, 120), (24, 128, 56), (197, 34, 31)
CREDIT = "photograph: vultilion, CC BY 2.0; defects are drawn"


def contact_sheet(detector: Detector, evaluation: Evaluation) -> Image.Image:
    """Draw two good pictures and one of each kind of defect in columns: the picture, its heat map, its true mask.

    Of the good ones those at a third and two thirds of the order of scores are taken, of each kind the median: neither
    the best nor the worst.

    Parameters
    ----------
    detector : Detector
        Its threshold decides the verdicts.
    evaluation : Evaluation
        Of pictures with masks.

    Returns
    -------
    PIL.Image.Image
        RGB.

    Raises
    ------
    InputError
        If there are no pictures to draw.
    """
    shown = evaluation.pictures
    if shown is None:
        raise InputError("there are no pictures to draw", expected="an evaluation of pictures", got="one of rows")
    chosen = _typical(evaluation)
    size = (LEFT + len(chosen) * (CELL + GAP), TOP + 3 * (CELL + GAP) + BOTTOM)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    large, small = ImageFont.load_default(19), ImageFont.load_default(15)
    for column, i in enumerate(chosen):
        picture, value, bad = shown.pictures[i], evaluation.score[i], bool(evaluation.label[i])
        alarm = bool(value > np.float32(detector.threshold))
        x = LEFT + column * (CELL + GAP)
        draw.text((x, 10), picture.defect, INK, large)
        verdict = f"{'alarm' if alarm else 'passed'}  {value:.2f}"
        draw.text((x, 36), verdict, RIGHT if alarm == bad else WRONG, small)
        pixels = decode(picture.path)
        mask = np.zeros(pixels.shape[:2], bool) if picture.mask is None else decode_mask(picture.mask)
        heat = overlay(pixels, shown.maps[i], detector.threshold)
        for row, cell in enumerate((pixels, heat, mask.astype(np.uint8) * 255)):
            resized = Image.fromarray(cell).convert("RGB").resize((CELL, CELL), Image.Resampling.BICUBIC)
            sheet.paste(resized, (x, TOP + row * (CELL + GAP)))
    for row, word in enumerate(("picture", "heat map", "truth")):
        draw.text((LEFT - 14, TOP + row * (CELL + GAP) + CELL / 2), word, INK, small, anchor="rm")
    words = f"alarm above {detector.threshold:.2f}, promised for at most {detector.alpha:.0%} of good pictures"
    draw.text((LEFT, size[1] - 28), words, PALE, small)
    draw.text((size[0] - GAP, size[1] - 28), CREDIT, PALE, small, anchor="ra")
    return sheet


def _typical(evaluation: Evaluation) -> list[int]:
    """Return the places of the pictures to draw."""
    assert evaluation.pictures is not None
    kinds = np.array([p.defect for p in evaluation.pictures.pictures])
    chosen = []
    for kind, shares in (("good", (1 / 3, 2 / 3)), *((kind, (1 / 2,)) for kind in DEFECTS)):
        places = np.flatnonzero(kinds == kind)
        order = places[np.argsort(evaluation.score[places], kind="stable")]
        chosen += [int(order[int(share * (len(order) - 1))]) for share in shares if len(order)]
    return chosen


def _prepare(folder: Path) -> None:
    """Make the folder, and say what is not installed before the work begins."""
    require_training()
    require("jinja2", "report")
    require("matplotlib", "report")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot make the folder {folder}", expected="a writable place", got=error.strerror or str(error)
        ) from error
