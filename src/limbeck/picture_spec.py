"""What a model expects of one picture, and how to make it so: numpy and Pillow only.

Size, filter and range are part of the model: a picture is resized by Pillow's bilinear filter, and the values of a
16-bit picture are scaled by a maximum that was fixed at fit, never by the picture's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from limbeck.errors import InputError

__all__ = ["PictureSpec", "range_of"]

CHANNELS = (1, 3, 4)
MAXIMA = tuple((1 << k) - 1 for k in range(8, 17))


def range_of(largest: int) -> int:
    """Return the range of 16-bit pictures whose largest value is known.

    It starts at 511, so that 255 always means 8-bit pictures.

    Examples
    --------
    >>> range_of(3000), range_of(4095), range_of(4096), range_of(12)
    (4095, 4095, 8191, 511)
    """
    return next(m for m in MAXIMA[1:] if m >= largest)


@dataclass(frozen=True)
class PictureSpec:
    """What a model expects of a picture.

    Attributes
    ----------
    height, width : int
        The model's size in pixels, whatever the picture's.
    maximum : int
        The value that becomes white: 255 for 8-bit pictures, 2**k - 1 up to 65535 for 16-bit ones.

    Raises
    ------
    InputError
        If a size is below 1, or the maximum is not 2**k - 1 with k from 8 to 16.

    Examples
    --------
    >>> PictureSpec(4, 6, 255).prepare(np.zeros((20, 30), np.uint8)).shape
    (4, 6, 3)
    """

    height: int
    width: int
    maximum: int
    kind: str = "pictures"

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        if not (_is_size(self.height) and _is_size(self.width)):
            raise InputError(
                "a picture's size is wrong",
                expected="height and width as whole numbers from 1 up",
                got=f"{self.height!r} and {self.width!r}",
            )
        if self.maximum not in MAXIMA:
            raise InputError(
                "the range of the pictures is wrong",
                expected=", ".join(map(str, MAXIMA)),
                got=repr(self.maximum),
                fix="255 for 8-bit pictures, 65535 for the whole range of 16-bit ones",
            )

    def prepare(self, picture: NDArray[Any]) -> NDArray[np.uint8]:
        """Bring one decoded picture to the model's size and range.

        An 8-bit picture becomes what Pillow's bilinear `resize` makes of it, bit for bit. A 16-bit one is scaled
        by `maximum`, resized in floating point, and only then rounded. Grey is repeated, alpha dropped.

        Parameters
        ----------
        picture : ndarray of uint8 or uint16, shape (h, w), (h, w, 1), (h, w, 3) or (h, w, 4)
            Grey, RGB or RGBA; uint8 where `maximum` is 255, else uint16.

        Returns
        -------
        ndarray of uint8, shape (height, width, 3)
            What the model takes.

        Raises
        ------
        InputError
            If the type or shape is wrong, or a value is above `maximum`: nothing is saturated.
        """
        picture = self._checked(np.asarray(picture))
        if picture.ndim == 3:
            picture = picture[..., 0] if picture.shape[2] == 1 else picture[..., :3]
        resized = self._resize_8(picture) if self.maximum == 255 else self._resize_16(picture)
        return np.repeat(resized[..., None], 3, axis=2) if resized.ndim == 2 else resized

    def validate(self, x: NDArray[Any] | Sequence[NDArray[Any]]) -> NDArray[np.uint8]:
        """Prepare decoded pictures.

        Parameters
        ----------
        x : ndarray of uint8 or uint16, or a list of them
            A batch (n, h, w) or (n, h, w, c), one picture (h, w) or (h, w, c) with c = 1, 3 or 4, or a list of
            pictures of any sizes. Of shape (a, b, c) with such a c it is one picture.

        Returns
        -------
        ndarray of uint8, shape (n, height, width, 3)
            One picture gives n = 1.

        Raises
        ------
        InputError
            See `prepare`.
        """
        if not isinstance(x, (list, tuple)):
            array = np.asarray(x)
            if self.maximum == 255 and array.dtype == np.uint8 and array.shape[1:] == (self.height, self.width, 3):
                return array
            if array.ndim not in (2, 3, 4):
                raise _wrong_shape(array)
            single = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in CHANNELS)
            x = array[None] if single else array
        out = np.empty((len(x), self.height, self.width, 3), np.uint8)
        for i, picture in enumerate(x):
            out[i] = self.prepare(picture)
        return out

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> PictureSpec:
        """Read what `to_json` wrote."""
        if set(values) != {"height", "width", "maximum", "kind"} or values["kind"] != "pictures":
            raise InputError(
                "this does not describe pictures",
                expected="height, width, maximum, and kind 'pictures'",
                got=", ".join(f"{k}={v!r}" for k, v in values.items()),
            )
        return cls(values["height"], values["width"], values["maximum"])

    def _checked(self, picture: NDArray[Any]) -> NDArray[Any]:
        depth = {("u", 1): 8, ("u", 2): 16}.get((picture.dtype.kind, picture.dtype.itemsize))
        if depth is None:
            raise InputError(
                "a picture has the wrong type",
                expected=f"uint{self._depth}",
                got=str(picture.dtype),
                fix="give the values as they were decoded: they are scaled here, by a range that was fixed at fit",
            )
        if depth != self._depth:
            raise InputError(
                f"a picture has {depth} bits, and the model was fitted on pictures of {self._depth} bits",
                expected=f"uint{self._depth}, range 0 to {self.maximum}",
                got=f"uint{depth}",
                fix="take the pictures as at fit, or fit again on pictures like these",
            )
        if not (picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] in CHANNELS)) or not picture.size:
            raise _wrong_shape(picture)
        largest = int(picture[..., :3].max() if picture.ndim == 3 else picture.max())
        if largest > self.maximum:
            raise InputError(
                "a picture holds values above the model's range",
                expected=f"0 to {self.maximum}, the range fixed at fit",
                got=f"{largest}",
                fix="fit again with the whole range of 65535, or with pictures as bright as this one; "
                "if only this picture is overexposed, take it again",
            )
        return picture

    @property
    def _depth(self) -> int:
        return 8 if self.maximum == 255 else 16

    def _resize_8(self, picture: NDArray[Any]) -> NDArray[np.uint8]:
        image = Image.fromarray(np.ascontiguousarray(picture))
        return np.array(image.resize((self.width, self.height), Image.Resampling.BILINEAR))

    def _resize_16(self, picture: NDArray[Any]) -> NDArray[np.uint8]:
        scaled = picture.astype(np.float32) * np.float32(255 / self.maximum)
        planes = [scaled] if scaled.ndim == 2 else [scaled[..., i] for i in range(3)]
        size = (self.width, self.height)
        resized = [np.asarray(_plane(p).resize(size, Image.Resampling.BILINEAR)) for p in planes]
        rounded: NDArray[np.uint8] = np.clip(np.rint(np.stack(resized, axis=-1)), 0, 255).astype(np.uint8)
        return rounded[..., 0] if len(planes) == 1 else rounded


def _plane(values: NDArray[np.float32]) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(values))  # of mode F


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _wrong_shape(picture: NDArray[Any]) -> InputError:
    return InputError(
        "a picture has the wrong shape",
        expected="(h, w), (h, w, 1), (h, w, 3) or (h, w, 4); channels last",
        got=str(picture.shape),
    )
