"""Made-up defects with known masks, and the pictures of the demo: petals from a photograph, some of them damaged."""

from __future__ import annotations

import importlib.resources
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from limbeck.errors import ConfigError, InputError, require
from limbeck.outputs import new_folder
from limbeck.pixel_metrics import regions

__all__ = ["DEFECTS", "NOTICEABLE", "add_defect", "damage", "textures"]

NOTICEABLE = 8  # levels of 255: a pixel belongs to the mask if any channel changed by more
LEAST, MOST, SPECK = 0.001, 0.1, 0.0005  # shares of a picture: bounds of a mask, and pieces below which are undone
SMALLEST = 32  # pixels: height or width in which a defect can be drawn
TRIES = 50
FINE = 4  # shapes are drawn this many times larger, for smooth edges

Picture = NDArray[np.uint8]  # (h, w) or (h, w, 3)
Floats = NDArray[np.float64]


def add_defect(picture: Picture, kind: str, rng: np.random.Generator) -> tuple[Picture, NDArray[np.bool_]]:
    """Damage a picture at a random place.

    Parameters
    ----------
    picture : ndarray of uint8, shape (h, w) or (h, w, 3)
        At least 32 pixels high and wide; it is not changed.
    kind : str
        A key of `DEFECTS`.
    rng : numpy.random.Generator
        Decides place, shape and strength.

    Returns
    -------
    picture : ndarray of uint8
        Of the same shape.
    mask : ndarray of bool, shape (h, w)
        Exactly where any channel differs by more than `NOTICEABLE` levels: between 0.1 % and 10 % of the picture.

    Raises
    ------
    ConfigError
        If there is no such kind.
    InputError
        If this is not such a picture, or no defect can be seen on it.

    Examples
    --------
    >>> damaged, mask = add_defect(np.full((64, 64), 128, np.uint8), "stain", np.random.default_rng(0))
    >>> damaged.shape, bool(0.001 <= mask.mean() <= 0.1)
    ((64, 64), True)
    """
    if kind not in DEFECTS:
        raise ConfigError(f"there is no defect {kind!r}", expected="one of " + ", ".join(DEFECTS), got=kind)
    shape = np.shape(picture)
    colours = len(shape) == 2 or shape[2:] == (3,)
    if not colours or min(shape[:2]) < SMALLEST or np.asarray(picture).dtype != np.uint8:
        raise InputError(
            "a defect cannot be drawn on this",
            expected=f"uint8 (h, w) or (h, w, 3), at least {SMALLEST} pixels high and wide",
            got=f"{np.asarray(picture).dtype} {shape}",
        )
    for _ in range(TRIES):
        damaged = np.clip(np.rint(DEFECTS[kind](picture, rng)), 0, 255).astype(np.uint8)
        mask = _noticed(picture, damaged)
        number = regions(mask)
        specks = (np.bincount(number.ravel()) < SPECK * mask.size)[number] & mask
        damaged[specks] = picture[specks]
        mask &= ~specks
        if LEAST <= mask.mean() <= MOST:
            return damaged, mask
    raise InputError(
        f"no {kind} can be seen on this picture",
        expected="a picture of a texture",
        got=f"{TRIES} tries that changed too little or too much of it",
        fix="choose another kind, or another picture",
    )


def damage(pictures: NDArray[np.uint8], seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Draw a defect on each picture, of every kind in turn.

    Parameters
    ----------
    pictures : ndarray of uint8, shape (n, h, w, 3)
        Left as they are.
    seed : int
        Of places, shapes and strengths.

    Returns
    -------
    damaged : ndarray of uint8, shape (m, h, w, 3)
        Those on which a defect can be seen.
    place : ndarray of int, shape (m,)
        Which picture each was.
    """
    rng, kinds = np.random.default_rng(seed), list(DEFECTS)
    damaged, place = [], []
    for i, picture in enumerate(pictures):
        for kind in kinds[i % len(kinds) :] + kinds[: i % len(kinds)]:
            try:
                damaged.append(add_defect(picture, kind, rng)[0])
            except InputError:  # not every kind can be seen on every picture
                continue
            place.append(i)
            break
    return np.array(damaged, np.uint8).reshape(-1, *pictures.shape[1:]), np.array(place, np.int64)


def _noticed(before: Picture, after: Picture) -> NDArray[np.bool_]:
    change = np.abs(after.astype(np.int16) - before) > NOTICEABLE
    return np.asarray(change.any(axis=2) if change.ndim == 3 else change, np.bool_)


def _scratch(picture: Picture, rng: np.random.Generator) -> Floats:
    """Draw a thin bent stroke, bright or dark, with the opposite along one side."""
    side = min(picture.shape[:2])
    length, bend, angle = side * rng.uniform(0.3, 0.65), side * rng.uniform(-0.15, 0.15), rng.uniform(0, 2 * np.pi)
    t = np.linspace(-1, 1, 33)
    along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    line = _place(picture, rng, 0.3) + np.outer(t * length / 2, along) + np.outer((1 - t**2) * bend, across)
    width = max(1.2, side * rng.uniform(0.010, 0.018))
    core = _drawn(picture, line, width=width)
    rim = _drawn(picture, line + across * width, width=width) * (1 - core)
    change = _change(picture, core, rng, 70, 115)
    return picture + _like(picture, change * core - 0.35 * change * rim)


def _stain(picture: Picture, rng: np.random.Generator) -> Floats:
    """Shift brightness and colour in a soft blob."""
    radius = min(picture.shape[:2]) * rng.uniform(0.06, 0.12)
    blob = _drawn(picture, _outline(picture, rng, radius, corners=48, rough=0.18), soft=radius * 0.2)
    change = _change(picture, blob, rng, 70, 110)
    tint = rng.uniform(0.4, 1.2, 3)
    return picture + _like(picture, change * blob) * (tint if picture.ndim == 3 else 1.0)


def _paste(picture: Picture, rng: np.random.Generator) -> Floats:
    """Move a piece of the picture elsewhere, turned and a little brighter or darker."""
    h, w = picture.shape[:2]
    a, b = min(h, w) * rng.uniform(0.13, 0.24, 2)
    reach = np.hypot(a, b) / 2
    old, new = (rng.uniform([reach, reach], [w - reach, h - reach]) for _ in range(2))
    turn = _turned(rng.uniform(np.pi / 6, 2 * np.pi - np.pi / 6))
    corners = np.array([[-a, -b], [a, -b], [a, b], [-a, b]]) / 2
    piece = _drawn(picture, new + corners @ turn.T, soft=0.4)
    start = old - turn.T @ new  # a pixel p of the result shows what was at turn.T @ p + start
    (m00, m01), (m10, m11) = turn.T.tolist()
    matrix = (m00, m01, float(start[0]), m10, m11, float(start[1]))
    moved = Image.fromarray(picture).transform((w, h), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
    return _over(picture, np.asarray(moved) + _change(picture, piece, rng, 15, 30), piece)


def _smear(picture: Picture, rng: np.random.Generator) -> Floats:
    """Wipe a long patch along its direction; what is left is a little brighter or darker."""
    h, w = picture.shape[:2]
    side = min(h, w)
    angle, reach = rng.uniform(0, np.pi), side * rng.uniform(0.10, 0.16)
    t = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    long, short = side * rng.uniform(0.14, 0.22), side * rng.uniform(0.06, 0.09)
    outline = _place(picture, rng, 0.25) + np.stack([long * np.cos(t), short * np.sin(t)], 1) @ _turned(angle).T
    patch = _drawn(picture, outline, soft=side * 0.01)
    wiped = np.zeros(picture.shape)
    steps = np.linspace(-reach, reach, 17)
    for step in steps:
        rows = np.clip(np.arange(h) + round(step * np.sin(angle)), 0, h - 1)
        columns = np.clip(np.arange(w) + round(step * np.cos(angle)), 0, w - 1)
        wiped += picture[np.ix_(rows, columns)] / len(steps)
    return _over(picture, wiped + _change(picture, patch, rng, 25, 45), patch)


def _missing(picture: Picture, rng: np.random.Generator) -> Floats:
    """Break a piece out: behind it is a dark ground, or a bright one if the picture is dark."""
    radius = min(picture.shape[:2]) * rng.uniform(0.05, 0.10)
    hole = _drawn(picture, _outline(picture, rng, radius, corners=int(rng.integers(5, 9)), rough=0.35))
    dark = float((picture.reshape(*hole.shape, -1).mean(axis=2) * hole).sum() / hole.sum()) < 110
    ground = rng.uniform(170, 220) if dark else rng.uniform(20, 60)
    return _over(picture, _like(picture, ground + rng.normal(0, 6, hole.shape)), hole)


DEFECTS: dict[str, Callable[[Picture, np.random.Generator], Floats]] = {
    "scratch": _scratch,
    "stain": _stain,
    "paste": _paste,
    "smear": _smear,
    "missing": _missing,
}


def _place(picture: Picture, rng: np.random.Generator, margin: float) -> Floats:
    """Return a point (x, y) that keeps away from the borders by a share of the sides."""
    h, w = picture.shape[:2]
    return np.asarray(rng.uniform(margin, 1 - margin, 2) * (w, h))


def _outline(picture: Picture, rng: np.random.Generator, radius: float, *, corners: int, rough: float) -> Floats:
    """Return the corners (x, y) of a closed shape: a circle with bumps."""
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False) + rng.uniform(0, 2 * np.pi)
    height, phase, waves = rng.uniform(-1, 1, 3), rng.uniform(0, 2 * np.pi, 3), np.array([2, 3, 5])
    bumps = np.clip((height * np.cos(waves * angle[:, None] + phase)).sum(axis=1), -1.5, 1.5)
    circle = np.stack([np.cos(angle), np.sin(angle)], 1)
    return np.asarray(_place(picture, rng, 0.15) + radius * (1 + rough * bumps)[:, None] * circle)


def _turned(angle: float) -> Floats:
    """Return the matrix that turns points (x, y)."""
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _drawn(picture: Picture, points: Floats, *, width: float = 0.0, soft: float = 0.0) -> Floats:
    """Return how much of each pixel (h, w) a closed shape covers, or a line where there is a width."""
    h, w = picture.shape[:2]
    canvas = Image.new("L", (w * FINE, h * FINE))
    corners = [(float(x), float(y)) for x, y in points * FINE]
    if width:
        ImageDraw.Draw(canvas).line(corners, fill=255, width=round(width * FINE), joint="curve")
    else:
        ImageDraw.Draw(canvas).polygon(corners, fill=255)
    canvas = canvas.filter(ImageFilter.GaussianBlur(soft * FINE)) if soft else canvas
    return np.asarray(canvas.reduce(FINE), np.float64) / 255


def _change(picture: Picture, where: Floats, rng: np.random.Generator, low: float, high: float) -> float:
    """Return a change of brightness, up or down at random, but never to where there is no room."""
    level = float((picture.reshape(*where.shape, -1).mean(axis=2) * where).sum() / max(where.sum(), 1e-9))
    amount, up = rng.uniform(low, high), rng.random() < 0.5
    up = (up or level < amount) and level + amount <= 255
    return amount if up else -amount


def _like(picture: Picture, values: Floats) -> Floats:
    """Give values (h, w) the axis of colours where the picture has one."""
    return values[..., None] if picture.ndim == 3 else values


def _over(picture: Picture, other: Floats, share: Floats) -> Floats:
    """Lay something over a picture."""
    share = _like(picture, share)
    return picture * (1 - share) + other * share


PHOTO = "flower.jpg"  # of scikit-learn: a dahlia seen from above
CENTRE = np.array([307.0, 222.0])  # of the flower, (x, y) in pixels
SQUARE = 70.0, 74.0  # pixels of the photograph that a picture shows, high and wide: least and most
FAR = 74.0, 78.0  # from the flower's centre to a picture's: petals fill it from edge to edge
NOTE = "README.txt"
WORDS = """Pictures made by Limbeck, for its demo; to be replaced at any time.

They show petals of the photograph flower.jpg by vultilion (flickr.com/photos/vultilion/6056698931), licensed under
CC BY 2.0 (creativecommons.org/licenses/by/2.0), cut out, turned and resized; the defects are drawn.
"""


def textures(
    folder: str | Path,
    *,
    n_train: int = 200,
    n_test_good: int = 60,
    n_test_bad: int = 30,
    size: int = 128,
    seed: int = 0,
    overwrite: bool = False,
) -> None:
    """Write pictures of petals in the layout of MVTec AD, some of the test pictures damaged, with masks.

    All are squares at random places of one flower, from a photograph that scikit-learn carries. Test pictures show
    petals that were learned, in other cuts, as pictures of one kind of part do; no picture to learn from is damaged.

    Parameters
    ----------
    folder : path
        Where they go, whole or not at all.
    n_train, n_test_good, n_test_bad : int
        How many; kinds of defects take turns.
    size : int
        Height and width in pixels, at least 32.
    seed : int
        Same seed, same pictures.
    overwrite : bool
        Whether such a folder may be replaced.

    Raises
    ------
    ConfigError
        If a number is out of its range.
    MissingExtraError
        If scikit-learn is not installed.
    OutputError
        If the place is taken or cannot be written.

    Examples
    --------
    >>> textures("petals", n_train=100)  # doctest: +SKIP
    """
    for name, number, least in (
        ("n_train", n_train, 0),
        ("n_test_good", n_test_good, 0),
        ("n_test_bad", n_test_bad, 0),
        ("size", size, SMALLEST),
    ):
        if number < least:
            raise ConfigError(f"{name} is out of its range", expected=f"{least} or more", got=str(number))
    photo = _photo()
    kinds = list(DEFECTS)
    with new_folder(Path(folder), overwrite=overwrite, is_ours=_is_ours) as partial:
        (partial / NOTE).write_text(WORDS, "utf-8")
        for i, picture in enumerate(_petals(photo, n_train, size, (seed, 0))):
            _save(picture, partial / "train/good" / f"{i:03d}.png")
        for i, picture in enumerate(_petals(photo, n_test_good, size, (seed, 1))):
            _save(picture, partial / "test/good" / f"{i:03d}.png")
        for i, picture in enumerate(_petals(photo, n_test_bad, size, (seed, 2))):
            kind, stem = kinds[i % len(kinds)], f"{i // len(kinds):03d}"
            damaged, mask = add_defect(picture, kind, np.random.default_rng((seed, 3, i)))
            _save(damaged, partial / "test" / kind / f"{stem}.png")
            _save(mask.astype(np.uint8) * 255, partial / "ground_truth" / kind / f"{stem}_mask.png")


def _is_ours(folder: Path) -> bool:
    note = folder / NOTE
    return note.is_file() and note.read_text("utf-8", errors="replace").startswith(WORDS.splitlines()[0])


def _photo() -> Image.Image:
    sklearn: Any = require("sklearn", "train")
    path = importlib.resources.files(sklearn) / "datasets" / "images" / PHOTO
    with path.open("rb") as file, Image.open(file) as image:
        return image.convert("RGB")


def _petals(photo: Image.Image, count: int, size: int, seed: tuple[int, int]) -> Iterator[Picture]:
    """Cut squares out of the flower, turned so that petals point down, some mirrored, each of its own brightness."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        angle, far, square = rng.uniform(0, 2 * np.pi), rng.uniform(*FAR), rng.uniform(*SQUARE)
        down = np.array([np.cos(angle), np.sin(angle)])  # outwards
        across = np.array([-np.sin(angle), np.cos(angle)])
        corner = CENTRE + down * (far - square / 2) - across * square / 2
        (a, d), (b, e), (c, f) = across * square / size, down * square / size, corner
        matrix = tuple(map(float, (a, b, c, d, e, f)))
        cut = photo.transform((size, size), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
        yield np.clip(np.asarray(cut) * rng.uniform(0.93, 1.07), 0, 255).round().astype(np.uint8)


def _save(picture: NDArray[np.uint8], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)
