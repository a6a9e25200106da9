"""Pictures as arrays: decoded lazily, several at a time, in their order."""

from __future__ import annotations

import hashlib
import os
import struct
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from limbeck.contracts import Batch, Items
from limbeck.data.opened import opened
from limbeck.data.picture_files import Picture
from limbeck.errors import ConfigError, InputError
from limbeck.picture_spec import PictureSpec, range_of

__all__ = ["WORKERS", "PictureItems", "decode", "decode_mask", "evenly", "learn_picture_spec", "original_size"]

Answer = TypeVar("Answer")
WORKERS = min(8, os.cpu_count() or 1)
GREY_16, GREY, FLOAT = ("I", "I;16", "I;16B", "I;16L", "I;16N"), ("1", "L", "LA", "La"), "F"
ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
ORIENTATION = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
CORRUPT = ("refuse", "skip")
AT_ONCE = 16  # pictures


def decode(path: str | Path) -> NDArray[Any]:
    """Decode one picture; of several pages or frames, the first.

    The orientation that the camera noted (EXIF) is applied. Alpha is dropped, not composited; palette, CMYK, YCbCr and
    1-bit pictures become RGB or grey. Of 16-bit colour, and of 16-bit grey with alpha, Pillow reads the upper 8 bits
    only: such pictures come as 8-bit RGB (`learn_picture_spec` notes them).

    Parameters
    ----------
    path : path
        A PNG, JPEG, BMP, TIFF or WebP file, whatever its suffix.

    Returns
    -------
    ndarray of uint8, shape (h, w) or (h, w, 3), or of uint16, shape (h, w)
        Grey, RGB, or 16-bit grey.

    Raises
    ------
    InputError
        If the file is missing, damaged, too large, not a picture, or holds floats or values beyond 16 bits.
    """
    with opened(path) as image:
        image.load()
        turn = TURNS.get(_orientation(image))  # none for TIFF, which Pillow has turned
        upright = image if turn is None else image.transpose(turn)
        if upright.mode in GREY_16 or upright.mode == FLOAT:
            values = np.array(upright)
        else:
            values = np.array(upright.convert("L" if upright.mode in GREY else "RGB"))
    return values if values.dtype == np.uint8 else _as_16_bit(values, path)


def evenly(items: Items, most: int) -> NDArray[np.uint8]:
    """Return pictures, uint8 (n, h, w, 3): all of them, or of many so many, evenly."""
    if len(items) > most:
        items = items.subset(np.linspace(0, len(items) - 1, most).astype(np.int64))
    return np.concatenate([batch.x for batch in items.batches(AT_ONCE)])


def decode_mask(path: str | Path, size: tuple[int, int] | None = None) -> NDArray[np.bool_]:
    """Decode a mask, bool (h, w): true (anomalous) where a pixel is not zero; fails as `decode` does.

    Parameters
    ----------
    path : path
        A picture file. Alpha is dropped; a lossy format (JPEG) makes regions larger.
    size : (int, int), optional
        Height and width to resize to, by nearest neighbour.
    """
    pixels = decode(path)
    mask = (pixels.max(axis=2) if pixels.ndim == 3 else pixels) > 0
    if size is not None:
        image = Image.fromarray(mask.astype(np.uint8))
        mask = np.asarray(image.resize(size[::-1], Image.Resampling.NEAREST)) > 0
    return np.asarray(mask, np.bool_)


def original_size(path: str | Path) -> tuple[int, int]:
    """Return the height and width that `decode` would give, from the header alone; fails as `decode` does."""
    return _header(path).size


@dataclass(frozen=True)
class PictureItems:
    """Pictures on disk: the `Items` that an image method learns from.

    Attributes
    ----------
    spec : PictureSpec
        What every picture is brought to.
    pictures : tuple of Picture
        In their order.
    on_corrupt : str
        "refuse": the first file that cannot be decoded raises its error. "skip": such files are left out of the
        batches, although `len` counts them.
    workers : int
        Threads that decode.
    skipped : dict of str to str
        The id of each picture that was left out so far, and why; shared with subsets.
    """

    spec: PictureSpec
    pictures: tuple[Picture, ...]
    on_corrupt: str = "refuse"
    workers: int = WORKERS
    skipped: dict[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        """Refuse settings that do not exist."""
        _require_known(self.on_corrupt)
        if self.workers < 1:
            raise ConfigError("workers is out of its range", expected="1 or more", got=str(self.workers))

    def __len__(self) -> int:
        """Return the number of pictures, readable or not."""
        return len(self.pictures)

    def subset(self, indices: Sequence[int] | NDArray[np.integer[Any]]) -> PictureItems:
        """Return some of the pictures, in the order asked for."""
        return replace(self, pictures=tuple(self.pictures[int(i)] for i in indices))

    def fingerprint(self) -> str:
        """Name the pictures by their ids, labels, and the sizes and times of their files; none is read."""
        digest = hashlib.sha256(repr(self.spec).encode())
        for picture in self.pictures:
            stat = picture.path.stat() if picture.path.exists() else None
            facts = (picture.id, picture.label, stat and (stat.st_size, stat.st_mtime_ns))
            digest.update(repr(facts).encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def batches(self, size: int) -> Iterator[Batch]:
        """Yield the pictures in their order, at most `size` at a time, at the model's size.

        Memory does not depend on the number of pictures: some are decoded ahead, at most `workers` beyond a batch.
        Threads end with the iterator, also when it is closed early or fails.
        """
        held: list[tuple[Picture, NDArray[np.uint8]]] = []
        with closing(_ahead(self._read, self.pictures, self.workers, size + self.workers)) as answers:
            for picture, answer in answers:
                if isinstance(answer, str):
                    self.skipped[picture.id] = answer
                    continue
                held.append((picture, answer))
                if len(held) == size:
                    yield _batch(held)
                    held = []
        if held:
            yield _batch(held)

    def _read(self, picture: Picture) -> NDArray[np.uint8] | str:
        """Return the prepared picture, or why it is left out."""
        try:
            decoded = decode(picture.path)
        except InputError as error:
            if self.on_corrupt == "refuse":
                raise
            return error.got
        try:
            return self.spec.prepare(decoded)
        except InputError as error:  # a whole picture of another kind is never left out
            raise InputError(
                f"{picture.path}: {error.what}", expected=error.expected, got=error.got, fix=error.fix
            ) from error


def learn_picture_spec(
    pictures: Sequence[Picture],
    size: int | tuple[int, int],
    *,
    on_corrupt: str = "refuse",
    full_range: bool = False,
    workers: int = WORKERS,
) -> tuple[PictureSpec, list[str]]:
    """Fix what a model expects, from the headers of the pictures it learns from.

    Pictures of 16 bits are decoded as well: their range is 2**k - 1, the smallest that holds their largest value.

    Parameters
    ----------
    pictures : sequence of Picture
        The training pictures.
    size : int or (int, int)
        The model's height and width.
    on_corrupt : str
        "refuse" or "skip" files that cannot be read.
    full_range : bool
        Take 65535 as the range of 16-bit pictures, whatever their values.
    workers : int
        Threads that read.

    Returns
    -------
    (PictureSpec, list of str)
        What the model expects, and notes on what will be done to the pictures.

    Raises
    ------
    InputError
        If there is no readable picture, one cannot be used, or 8-bit and 16-bit pictures are mixed.
    """
    _require_known(on_corrupt)
    height, width = (size, size) if isinstance(size, int) else size

    def read(picture: Picture) -> tuple[_Header, int] | str:
        try:
            header = _header(picture.path)
            return header, (255 if header.eight_bit else int(decode(picture.path).max()))
        except InputError as error:
            if on_corrupt == "refuse":
                raise
            return error.got

    answers = list(_ahead(read, pictures, workers, 4 * workers))
    found = [answer for _, answer in answers if not isinstance(answer, str)]
    lost = [picture.id for picture, answer in answers if isinstance(answer, str)]
    if not found:
        raise InputError(
            "there is no picture to learn from",
            expected="at least one readable picture",
            got=f"{len(lost)} files that cannot be read" if lost else "none",
        )
    notes = [f"{len(lost)} of {len(answers)} pictures cannot be read and are left out: {_some(lost)}"] if lost else []
    headers = [header for header, _ in found]
    maximum, more = _range(headers, max(value for _, value in found), full_range)
    return PictureSpec(height, width, maximum), notes + _notes(headers) + more


def _range(headers: list[_Header], largest: int, full_range: bool) -> tuple[int, list[str]]:
    wide = sum(h.mode in GREY_16 for h in headers)
    if not wide:
        return 255, []
    if wide < len(headers):
        raise InputError(
            "the pictures differ in depth",
            expected="8-bit pictures or 16-bit ones",
            got=f"{len(headers) - wide} of 8 bits and {wide} of 16 bits",
            fix="convert them to one depth, or fit one model on each kind",
        )
    maximum = 65535 if full_range else range_of(largest)
    notes = [f"16-bit pictures: the largest value is {largest}, the range 0 to {maximum}"]
    if largest <= 255:
        notes.append("the 16-bit pictures hold 8-bit values: saved as 8-bit ones they would keep their contrast")
    return maximum, notes


@dataclass(frozen=True)
class _Header:
    size: tuple[int, int]  # height and width, upright
    mode: str
    deep_colour: bool  # 16 bits a channel
    alpha: bool

    @property
    def eight_bit(self) -> bool:
        """Whether it is read as 8 bits: its range is then known without its pixels."""
        return self.mode not in GREY_16 and self.mode != FLOAT


def _header(path: str | Path) -> _Header:
    with opened(path) as image:
        noted = _may_have_exif(path) if image.format == "PNG" else image.format != "TIFF"
        turned = noted and _orientation(image) in (5, 6, 7, 8)
        width, height = image.size[::-1] if turned else image.size
        tile = getattr(image, "tile", None)
        raw = str(tile[0][3]) if tile else ""  # the file's own channels, such as RGB;16B
        alpha = image.mode in ALPHA or "transparency" in image.info
        return _Header((height, width), image.mode, ";16" in raw and image.mode not in GREY_16, alpha)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # the pixels may be sound where the notes about them are damaged
        return 1


def _may_have_exif(path: str | Path) -> bool:
    """Walk the chunks of a PNG file; text chunks may hold EXIF or XMP too."""
    with open(path, "rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if kind in (b"eXIf", b"iTXt", b"tEXt", b"zTXt"):
                return True
            file.seek(length + 4, os.SEEK_CUR)
    return False


def _as_16_bit(values: NDArray[Any], path: str | Path) -> NDArray[np.uint16]:
    if values.dtype.kind == "f":
        got, fix = "floating-point values", "save it as 16-bit grey, with a scale that is the same for all pictures"
    elif values.size and (values.min() < 0 or values.max() > 65535):
        got, fix = f"values from {values.min()} to {values.max()}", "save it as 16-bit grey"
    else:
        return values.astype(np.uint16)
    raise InputError(f"{path} cannot be used", expected="whole numbers from 0 to 65535", got=got, fix=fix)


def _notes(headers: list[_Header]) -> list[str]:
    sizes = sorted({h.size for h in headers}, key=lambda s: (s[0] * s[1], s))
    notes = []
    if len(sizes) > 1:
        (h, w), (tallest, widest) = sizes[0], sizes[-1]
        notes.append(f"mixed sizes: {h}x{w} to {tallest}x{widest} (height x width)")
    for count, what in (
        (sum(h.alpha for h in headers), "carry an alpha channel, which is dropped"),
        (sum(h.deep_colour for h in headers), "are 16-bit colour, of which the upper 8 bits are read"),
    ):
        if count:
            notes.append(f"{count} of {len(headers)} pictures {what}")
    return notes


def _some(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def _batch(held: list[tuple[Picture, NDArray[np.uint8]]]) -> Batch:
    label = np.array([p.label for p, _ in held], np.int8)
    return Batch(np.stack([x for _, x in held]), label, None, [p.id for p, _ in held])


def _ahead(
    function: Callable[[Picture], Answer], pictures: Sequence[Picture], workers: int, most: int
) -> Generator[tuple[Picture, Answer], None, None]:
    """Yield each picture and its answer in order, computed in threads, at most `most` before they are asked for."""
    if len(pictures) == 1:  # a pool costs more than it saves
        yield pictures[0], function(pictures[0])
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="limbeck-pictures")
    waiting: deque[tuple[Picture, Future[Answer]]] = deque()
    try:
        for picture in pictures:
            waiting.append((picture, pool.submit(function, picture)))
            if len(waiting) >= most:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _require_known(on_corrupt: str) -> None:
    if on_corrupt not in CORRUPT:
        raise ConfigError("on_corrupt has an unknown value", expected=" or ".join(CORRUPT), got=repr(on_corrupt))
