"""Pictures in memory: arrays as the `Items` that an image method learns from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limbeck.contracts import Batch
from limbeck.errors import InputError
from limbeck.picture_spec import CHANNELS, PictureSpec, range_of

__all__ = ["ArrayItems", "learn_array_spec"]


def learn_array_spec(pictures: NDArray[Any], size: int) -> tuple[PictureSpec, list[str]]:
    """Return what a model of these pictures expects, and notes.

    Parameters
    ----------
    pictures : ndarray of uint8 or uint16, shape (n, h, w) or (n, h, w, c), c = 1, 3 or 4
        Grey, RGB or RGBA.
    size : int
        Height and width of the model, in pixels.

    Returns
    -------
    spec : PictureSpec
        The range of 16-bit pictures is the smallest 2**k - 1 that holds their largest value.
    notes : list of str
        What was found.

    Raises
    ------
    InputError
        If shape or type do not fit.
    """
    if pictures.dtype not in (np.uint8, np.uint16) or pictures.ndim not in (3, 4) or not pictures.size:
        raise InputError(
            "this array is not pictures",
            expected="uint8 or uint16, shape (n, h, w) or (n, h, w, c) with c = 1, 3 or 4",
            got=f"{pictures.dtype}, shape {pictures.shape}",
            fix="convert floats to uint8 with a range that you know: it is never guessed",
        )
    if pictures.ndim == 3 and pictures.shape[2] in CHANNELS:
        raise InputError(
            "this array is one picture",
            expected="shape (n, h, w) or (n, h, w, c)",
            got=f"shape {pictures.shape}",
            fix="give several pictures of good parts: numpy.stack([a, b, ...])",
        )
    if pictures.dtype == np.uint8:
        return PictureSpec(size, size, 255), []
    maximum = range_of(int((pictures[..., :3] if pictures.ndim == 4 else pictures).max()))  # alpha is dropped
    return PictureSpec(size, size, maximum), [f"16-bit pictures: values up to {maximum} are taken"]


@dataclass(frozen=True)
class ArrayItems:
    """Pictures in memory.

    Attributes
    ----------
    spec : PictureSpec
        What every picture is brought to.
    pictures : ndarray of uint8 or uint16, shape (n, h, w) or (n, h, w, c)
        As they are.
    """

    spec: PictureSpec
    pictures: NDArray[Any]

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.pictures)

    def batches(self, size: int) -> Iterator[Batch]:
        """Yield the pictures in their order, at most `size` at a time, at the model's size."""
        for i in range(0, len(self.pictures), size):
            x = np.stack([self.spec.prepare(picture) for picture in self.pictures[i : i + size]])
            yield Batch(x, np.zeros(len(x), np.int8), None, range(i, i + len(x)))

    def subset(self, indices: Sequence[int] | NDArray[np.integer[Any]]) -> ArrayItems:
        """Return some of the pictures, in the order asked for."""
        return ArrayItems(self.spec, self.pictures[np.asarray(indices, dtype=np.intp)])

    def fingerprint(self) -> str:
        """Name the pictures by their values."""
        return hashlib.sha256(np.ascontiguousarray(self.pictures).tobytes()).hexdigest()
