"""Anomaly maps as people see them: brought to a picture's own size, and laid over it."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from limbeck.errors import InputError

__all__ = ["data_uri", "heat", "overlay", "resize_map"]

# From no heat to the most, evenly spaced; lightness rises all the way, so that it reads in grey too.
COLOURS = np.array(
    [[13, 8, 60], [84, 15, 110], [155, 40, 100], [215, 70, 65], [246, 125, 20], [252, 190, 45], [252, 250, 165]], float
)
HEIGHT = 224  # most pixels of a picture in a page
OPAQUE = 0.75  # of the heat where it is strongest
WARM, HOT = 0.5, 2.0  # of the threshold: where heat begins to be seen, and where it is full


def resize_map(scores: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Bring one map to another size by linear interpolation.

    Parameters
    ----------
    scores : ndarray of float32, shape (h, w)
        A map of `Verdicts`.
    size : (int, int)
        Height and width, of the picture it belongs to.

    Returns
    -------
    ndarray of float32, shape `size`
        In the same unit.

    Raises
    ------
    InputError
        If it is not one map.

    Examples
    --------
    >>> resize_map(np.ones((4, 4), np.float32), (2, 8)).shape
    (2, 8)
    """
    scores = np.asarray(scores, dtype=np.float32)
    if scores.ndim != 2:
        raise InputError("this is not one map", expected="shape (h, w)", got=str(scores.shape), fix="pass map[i]")
    if scores.shape == size:
        return scores
    image = Image.fromarray(scores).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.float32)


def heat(scores: NDArray[np.float32], threshold: float) -> NDArray[np.float64]:
    """Return how hot each pixel is, in [0, 1]: 0 up to half the threshold, 1 from twice the threshold on.

    All pictures of a detector share this scale: a good picture stays cold, instead of being stretched until it glows.
    """
    low, high = (threshold - (1 - WARM) * abs(threshold), threshold + (HOT - 1) * abs(threshold))
    return np.clip((np.asarray(scores, dtype=np.float64) - low) / max(high - low, 1e-9), 0, 1)


def overlay(picture: NDArray[np.uint8], scores: NDArray[np.float32], threshold: float) -> NDArray[np.uint8]:
    """Lay a map over its picture.

    Parameters
    ----------
    picture : ndarray of uint8, shape (h, w) or (h, w, 3)
        As it was decoded.
    scores : ndarray of float32, shape (h', w')
        Its map, of any size.
    threshold : float
        Of the detector: from there on a pixel is as hot as a picture that is called anomalous.

    Returns
    -------
    ndarray of uint8, shape (h, w, 3)
        The picture in grey where it is cold.

    Examples
    --------
    >>> overlay(np.zeros((8, 8), np.uint8), np.ones((4, 4), np.float32), threshold=0.5).shape
    (8, 8, 3)
    """
    grey = picture if picture.ndim == 2 else picture.mean(axis=2)
    warmth = heat(resize_map(scores, grey.shape), threshold)
    place = warmth * (len(COLOURS) - 1)
    low = np.minimum(place.astype(int), len(COLOURS) - 2)
    colour = COLOURS[low] + (COLOURS[low + 1] - COLOURS[low]) * (place - low)[..., None]
    share = (OPAQUE * np.minimum(1, 2 * warmth))[..., None]
    return np.asarray(grey[..., None] * (1 - share) + colour * share).round().astype(np.uint8)


def data_uri(picture: NDArray[np.uint8]) -> str:
    """Return a picture, (h, w) or (h, w, 3), as a page can hold it: a JPEG of at most 224 pixels in height."""
    image = Image.fromarray(picture)
    if image.height > HEIGHT:
        image = image.resize((max(1, round(image.width * HEIGHT / image.height)), HEIGHT), Image.Resampling.BILINEAR)
    data = io.BytesIO()
    image.save(data, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode()
