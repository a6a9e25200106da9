"""Picture files opened by Pillow: its warnings silenced, its many errors turned into one."""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from PIL import Image, UnidentifiedImageError

from limbeck.errors import InputError

__all__ = ["opened"]

FORMATS = ("BMP", "JPEG", "PNG", "TIFF", "WEBP")  # no others: some of Pillow's readers start other programs

# While any thread reads a picture, Pillow's warnings are silent. `warnings.catch_warnings` is not for threads: one
# would undo the filters of another. So one entry is put in front, and taken out by the last reader.
_QUIET = ("ignore", None, Warning, re.compile(r"PIL\b"), 0)
_LOCK = threading.Lock()
_readers = 0


@contextmanager
def opened(path: str | Path) -> Iterator[Image.Image]:
    """Open a picture file; whatever a damaged one makes Pillow raise within is an InputError that names it."""
    _count_readers(+1)
    try:
        # Opened here: where Pillow maps a file into memory itself, it scrambles a TIFF that is turned.
        with open(path, "rb") as file, Image.open(file, formats=FORMATS) as image:
            yield image
    except Exception as error:  # Pillow raises OSError, SyntaxError, struct.error, KeyError and more
        raise _unreadable(path, error) from error
    finally:
        _count_readers(-1)


def _count_readers(change: int) -> None:
    global _readers
    with _LOCK:
        _readers += change
        filters = cast(list[Any], warnings.filters)
        filters[:] = [_QUIET] * bool(_readers) + [f for f in filters if f is not _QUIET]


def _unreadable(path: str | Path, error: Exception) -> InputError:
    if isinstance(error, FileNotFoundError):
        return InputError(f"there is no file {str(path)!r}", expected="a picture", got="nothing", fix="check the path")
    if isinstance(error, Image.DecompressionBombError):
        got, fix = str(error), "cut or shrink the picture; if the file is small, it may be a decompression bomb"
    elif isinstance(error, UnidentifiedImageError):
        empty = Path(path).stat().st_size == 0
        got = "an empty file" if empty else "no picture that is known, whatever its suffix says"
        fix = "copy the file again, or take it out of the folder"
    else:
        got = (str(error).strip().splitlines() or [type(error).__name__])[0]
        fix = "if the file is truncated or still being written, copy it again, or take it out of the folder"
    return InputError(
        f"{path} is not a readable picture", expected="a complete PNG, JPEG, BMP, TIFF or WebP file", got=got, fix=fix
    )
