"""Files of pictures, by their names: how they are found, called and labelled; no picture is opened."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from limbeck.errors import InputError

__all__ = [
    "PICTURE_SUFFIXES",
    "Picture",
    "entries",
    "id_of",
    "is_picture",
    "key_of",
    "label_of",
    "lines_of",
    "listed",
    "not_a_picture",
    "refuse_lines",
    "walk",
    "what_is_in",
]

PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}
GOOD = {"good", "normal", "ok"}


@dataclass(frozen=True)
class Picture:
    """One picture, by its file.

    Attributes
    ----------
    path : Path
        The file.
    id : str
        Its path relative to the source, with forward slashes.
    label : int
        0 normal, 1 anomalous, -1 unknown.
    split : str
        "train", "test", or "" where the source is not split.
    defect : str
        "good", the name of the defect's folder, or "" where unknown.
    mask : Path or None
        The file of its mask; a normal picture has none.
    """

    path: Path
    id: str
    label: int = -1
    split: str = ""
    defect: str = ""
    mask: Path | None = None


def label_of(folder: str, good: set[str]) -> tuple[int, str]:
    """Return label and defect by the name of a folder."""
    return (0, "good") if folder.lower() in good else (1, folder)


def id_of(path: Path, root: Path) -> str:
    """Return a path relative to a source, with forward slashes."""
    return Path(os.path.relpath(path, root)).as_posix()


def key_of(path: Path, folder: Path) -> tuple[str, str]:
    """Return the defect's folder, and the rest of the path without its suffix."""
    first, *rest = path.relative_to(folder).with_suffix("").parts
    return (first, "/".join(rest)) if rest else ("", first)


def is_picture(path: Path) -> bool:
    """Say whether a suffix is a picture's."""
    return path.suffix.lower() in PICTURE_SUFFIXES


def not_a_picture(path: Path) -> str:
    """Return why a file cannot be a picture; empty where it may be one."""
    if not is_picture(path):
        return f"{path} is not a picture file"
    return "" if path.is_file() else f"{path} is missing"


def entries(folder: Path) -> list[Path]:
    """Return what a folder holds and does not hide, by name."""
    try:
        return sorted((p for p in folder.iterdir() if not p.name.startswith(".")), key=lambda p: p.name)
    except OSError as error:
        raise InputError(f"cannot read the folder {folder}", got=str(error.strerror), fix="check its rights") from error


def walk(folder: Path, passed_over: tuple[str, ...] = ()) -> Iterator[Path]:
    """Yield the pictures below a folder; some folders directly in it may be passed over."""
    seen: set[str] = set()  # links may lead in circles

    def visit(place: Path) -> Iterator[Path]:
        real = os.path.realpath(place)
        if real in seen:
            return
        seen.add(real)
        for entry in entries(place):
            if not entry.is_dir():
                if is_picture(entry):
                    yield entry
            elif place is not folder or entry.name not in passed_over:
                yield from visit(entry)

    return visit(folder)


def lines_of(path: Path) -> list[str]:
    """Read the lines of a text file."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            return list(file)
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name} is not written in UTF-8", expected="UTF-8 text", got=str(error)) from error
    except OSError as error:
        raise InputError(f"cannot read {path}", got=str(error.strerror)) from error


def what_is_in(folder: Path) -> str:
    """Say what a folder without pictures holds instead."""
    names = [n for _, _, files in os.walk(folder) for n in files if not n.startswith(".")]
    suffixes = sorted({Path(n).suffix.lower() or "no suffix" for n in names})
    return f"{len(names)} file{'s' * (len(names) > 1)}: {', '.join(suffixes[:8])}" if names else "no files"


def listed(lines: list[str], most: int = 20) -> str:
    """Write lines below each other, at most so many, then a count."""
    more = [f"and {len(lines) - most} more"] if len(lines) > most else []
    return "\n    ".join(["", *lines[:most], *more])


def refuse_lines(problems: list[str], name: str) -> None:
    """Raise one error for all lines of a list that cannot be used."""
    if problems:
        raise InputError(
            f"{len(problems)} lines of {name} cannot be used",
            expected="files that exist, each named once",
            got=listed(problems),
            fix="correct these lines; paths are relative to the list's folder",
        )
