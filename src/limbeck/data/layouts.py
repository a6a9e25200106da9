"""What a source of pictures holds: paths, labels, splits and masks; no picture is opened.

Labels come from folders and lists, never from masks; masks are paired by name, never by order.
"""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from limbeck.data.picture_files import (
    GOOD,
    PICTURE_SUFFIXES,
    Picture,
    entries,
    id_of,
    is_picture,
    key_of,
    label_of,
    lines_of,
    listed,
    not_a_picture,
    refuse_lines,
    walk,
    what_is_in,
)
from limbeck.data.tables import CSV, PARQUET
from limbeck.errors import InputError

__all__ = ["PICTURE_SUFFIXES", "Picture", "PictureSource", "find_pictures", "is_picture_source"]

MASK_FOLDERS = ("ground_truth", "masks")
SPLIT_FILE = Path("split_csv", "1cls.csv")
SPLIT_COLUMNS = ("object", "split", "label", "image", "mask")
NO_MASKS = "give each its partner; or measure at image level only, without masks: --no-masks, in Python masks=False"


@dataclass(frozen=True)
class PictureSource:
    """Pictures that were found.

    Attributes
    ----------
    name : str
        The folder's or file's name, never its path.
    layout : str
        "mvtec", "visa", "folders", "list" or "file".
    pictures : tuple of Picture
        Sorted by id.
    """

    name: str
    layout: str
    pictures: tuple[Picture, ...]

    def training(self) -> tuple[Picture, ...]:
        """Return the pictures to learn from: normal ones, or the unlabelled ones where none is said to be normal."""
        if self.layout in ("mvtec", "visa"):
            return tuple(p for p in self.pictures if p.split == "train" and p.label == 0)
        normal = tuple(p for p in self.pictures if p.label == 0)
        return normal or tuple(p for p in self.pictures if p.label == -1)

    def testing(self) -> tuple[Picture, ...]:
        """Return the labelled pictures to measure on: the test split where there is one, else all with a label."""
        split = "test" if self.layout in ("mvtec", "visa") else ""
        return tuple(p for p in self.pictures if p.split == split and p.label != -1)


def find_pictures(
    source: str | Path | Sequence[str | Path], *, masks: bool = False, normal: str | None = None
) -> PictureSource:
    """Find the pictures of a source, with their labels; none is opened.

    ==========  ======================================================================================
    layout      what it is
    ==========  ======================================================================================
    mvtec       ``train/good``, ``test/<defect>``, ``ground_truth/<defect>/<stem>_mask.png``
    visa        a category folder of VisA; its split is read from ``../split_csv/1cls.csv``
    folders     pictures at any depth, labelled where a subfolder is called good, normal or ok
    list        a ``.txt`` file: a picture a line; then, after tabs, a label and a mask
    file        one picture, or several
    ==========  ======================================================================================

    Hidden files are passed over, as are folders of masks. A folder that links lead to repeatedly is read once.

    Parameters
    ----------
    source : path or sequence of paths
        A folder, a list, a picture, or several pictures.
    masks : bool
        Pair anomalous pictures with masks. Defects without any folder of masks are left without.
    normal : str, optional
        The folder, or the label in a list, that means normal; default: good, normal or ok.

    Returns
    -------
    PictureSource
        The pictures, sorted by id.

    Raises
    ------
    InputError
        If there are no pictures, files are missing, or pictures and masks do not pair.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> folder = Path(mkdtemp())
    >>> for name in ("good/1.png", "good/2.png", "scratch/1.png"):
    ...     (folder / name).parent.mkdir(exist_ok=True)
    ...     (folder / name).touch()
    >>> [(p.id, p.label) for p in find_pictures(folder).pictures]
    [('good/1.png', 0), ('good/2.png', 0), ('scratch/1.png', 1)]
    """
    if not isinstance(source, (str, Path)):
        return _read_files(list(source))
    path, good = Path(source), {normal.lower()} if normal else GOOD
    if not path.exists():
        raise InputError(f"there is no file or folder {str(source)!r}", expected="pictures", fix="check the path")
    if not path.is_dir():
        return _read_list(path, masks, good) if path.suffix.lower() == ".txt" else _read_files([path])
    layout, pictures = _read_folder(path, masks, good)
    if not pictures:
        raise InputError(
            f"there are no pictures in {str(source)!r}",
            expected=", ".join(sorted(PICTURE_SUFFIXES)),
            got=what_is_in(path),
            fix="check the path",
        )
    if normal and layout != "visa" and not any(p.label == 0 for p in pictures):
        raise InputError(
            f"there are no pictures in a folder called {normal!r}",
            expected="a folder of normal pictures",
            got=", ".join(sorted({p.defect or p.id.split("/")[0] for p in pictures})[:12]),
            fix="name the folder that holds normal pictures",
        )
    return _sorted(path.resolve().name, layout, pictures)


def is_picture_source(source: Any) -> bool:
    """Say whether a source is pictures, by its names alone.

    Parameters
    ----------
    source : object
        A path, or anything else.

    Returns
    -------
    bool
        True for a folder with pictures (and not Parquet or CSV parts), a picture file, a ``.txt`` file, whether it
        exists or not, and a list of picture files.

    Raises
    ------
    InputError
        If a folder holds pictures and tables side by side.

    Examples
    --------
    >>> is_picture_source("parts.txt"), is_picture_source("part.PNG"), is_picture_source("parts.csv")
    (True, True, False)
    """
    if isinstance(source, (list, tuple)):
        return bool(source) and all(isinstance(s, (str, Path)) and is_picture(Path(s)) for s in source)
    if not isinstance(source, (str, Path)):
        return False
    path = Path(source)
    if not path.is_dir():
        return is_picture(path) or path.suffix.lower() == ".txt"
    if _is_mvtec(path) or _is_visa(path) or (path / SPLIT_FILE).is_file():
        return True
    files = [e for e in entries(path) if not e.is_dir()]
    tables, pictures = ([e for e in files if e.suffix.lower() in kind] for kind in (PARQUET | CSV, PICTURE_SUFFIXES))
    if tables and pictures:
        raise InputError(
            f"the folder {path.name} holds pictures and tables side by side",
            expected="pictures, or the parts of a table",
            got=f"{len(pictures)} pictures and {len(tables)} tables, such as {pictures[0].name} and {tables[0].name}",
            fix="move one kind elsewhere, or name the pictures in a .txt list",
        )
    return not tables and any(True for _ in walk(path))


def _read_folder(path: Path, masks: bool, good: set[str]) -> tuple[str, list[Picture]]:
    is_picture_source(path)  # refuses a mix
    if (path / SPLIT_FILE).is_file():
        raise _several(path, sorted({row["object"] for _, row in _read_split(path / SPLIT_FILE)}))
    if _is_visa(path):
        return "visa", _read_visa(path, masks)
    if _is_mvtec(path, good):
        found = [p for split in ("train", "test") for p in _read_labelled(path, path / split, split, good)]
        stray = [p.id for p in found if p.label == -1]
        if stray:
            raise InputError(
                f"{len(stray)} pictures stand beside the folders that say what they are",
                expected="pictures in train/good and test/<defect>",
                got=listed(stray),
                fix="move them into the folder of their kind",
            )
        return "mvtec", _paired(path, found, "test", good) if masks else found
    inside = [e for e in entries(path) if e.is_dir()]
    categories = [e.name for e in inside if _is_mvtec(e, good)]
    if categories:
        raise _several(path, categories)
    if any(e.name.lower() in good for e in inside):
        found = _read_labelled(path, path, "", good)
        return "folders", _paired(path, found, "", good) if masks else found
    return "folders", [Picture(p, id_of(p, path)) for p in walk(path, MASK_FOLDERS)]


def _read_labelled(root: Path, folder: Path, split: str, good: set[str]) -> list[Picture]:
    """Read one folder of pictures for each defect; pictures beside these folders are unlabelled."""
    if not folder.is_dir():
        return []
    pictures = []
    for path in walk(folder, () if split else MASK_FOLDERS):
        inside = path.relative_to(folder).parts
        label, defect = label_of(inside[0], good) if len(inside) > 1 else (-1, "")
        pictures.append(Picture(path, id_of(path, root), label, split, defect))
    return pictures


def _paired(root: Path, pictures: list[Picture], split: str, good: set[str]) -> list[Picture]:
    """Give each anomalous picture of a split the one mask of its name, or list all that do not pair."""
    partners: dict[tuple[str, str], list[Path]] = {}  # (defect, path without suffix) -> masks
    base = root / split
    keys = {p.id: key_of(p.path, base) for p in pictures if p.split == split and p.label == 1}
    known, wrong, defects = Counter(keys.values()), [], set()
    for folder in (root / name for name in MASK_FOLDERS if (root / name).is_dir()):
        for mask in walk(folder):
            defect, stem = key_of(mask, folder)
            if label_of(defect, good)[0] == 0:
                continue
            defects.add(defect)
            bare = (defect, stem.removesuffix("_mask"))
            key = bare if bare in known else (defect, stem)
            partners.setdefault(key, []).append(mask)
            if key not in known:
                wrong.append(f"mask without a picture: {id_of(mask, root)}")
        defects |= {e.name for e in entries(folder) if e.is_dir()}
    paired = []
    for picture in pictures:
        found = partners.get(keys[picture.id], []) if picture.id in keys else []
        paired.append(replace(picture, mask=found[0] if found else None))
        if picture.id not in keys or picture.defect not in defects:
            continue
        if not found:
            wrong.append(f"picture without a mask: {picture.id}")
        elif len(found) > 1:
            wrong.append(f"picture with {len(found)} masks: {picture.id}")
        elif known[keys[picture.id]] > 1:
            wrong.append(f"picture whose mask belongs to another too: {picture.id}")
    _refuse_unpaired(wrong)
    return paired


def _refuse_unpaired(wrong: list[str]) -> None:
    if wrong:
        raise InputError(
            "pictures and masks do not pair",
            expected="one mask for each anomalous picture, called <stem>_mask.png or <stem>.png",
            got=listed(sorted(wrong)),
            fix=NO_MASKS,
        )


def _read_visa(path: Path, masks: bool) -> list[Picture]:
    root, category = path.resolve().parent, path.resolve().name
    if not (root / SPLIT_FILE).is_file():
        raise InputError(
            f"{path} looks like a category of VisA, and its split is missing",
            expected=f"the file {root / SPLIT_FILE}",
            got="no such file",
            fix=f"copy it there, or give {path / 'Data' / 'Images'} to take labels from folders alone",
        )
    rows = [(line, row) for line, row in _read_split(root / SPLIT_FILE) if row["object"] == category]
    if not rows:
        raise InputError(f"{SPLIT_FILE.name} does not name {category!r}", expected="rows with this object", got="none")
    masked = masks and any(row["mask"] and (root / row["mask"]).parent.is_dir() for _, row in rows)
    pictures, problems, unpaired = [], [], []
    for line, row in rows:
        picture, problem = _visa_picture(path, root / row["image"], row)
        if problem:
            problems.append(f"line {line}: {problem}")
        if masked and picture.label == 1:
            mask = root / row["mask"]
            picture = replace(picture, mask=mask)
            unpaired += [] if row["mask"] and mask.is_file() else [f"picture without a mask: {picture.id}"]
        pictures.append(picture)
    refuse_lines(problems, SPLIT_FILE.name)
    _refuse_unpaired(unpaired)
    return pictures


def _visa_picture(path: Path, image: Path, row: dict[str, str]) -> tuple[Picture, str]:
    """Return the picture of one row, and what is wrong with it."""
    problem = "" if image.is_file() else f"{row['image']} is missing"
    if row["split"] not in ("train", "test"):
        problem = f"split {row['split']!r} is neither train nor test"
    if row["label"] not in ("normal", "anomaly"):
        problem = f"label {row['label']!r} is neither normal nor anomaly"
    name = id_of(image, path.resolve())
    if row["label"] == "anomaly":
        return Picture(path / name, name, 1, row["split"], image.parent.name), problem
    return Picture(path / name, name, 0, row["split"], "good"), problem


def _read_split(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the line numbers and rows of VisA's split."""
    rows = csv.DictReader(lines_of(path))
    names = rows.fieldnames or []
    if not set(SPLIT_COLUMNS) <= set(names):
        raise InputError(
            f"{path.name} lacks columns", expected=", ".join(SPLIT_COLUMNS), got=", ".join(names) or "nothing"
        )
    for row in rows:
        yield rows.line_num, {c: (row[c] or "").strip() for c in SPLIT_COLUMNS}


def _read_list(path: Path, masks: bool, good: set[str]) -> PictureSource:
    pictures: list[Picture] = []
    problems: list[str] = []
    seen: dict[Path, int] = {}
    for number, line in enumerate(lines_of(path), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, label, mask, *rest = (*(f.strip() for f in line.split("\t")), "", "", "")
        file, mask_file = (Path(os.path.normpath(path.parent / f)) for f in (name, mask))
        known = _listed_label(label, good)
        paired = bool(masks and mask and known and known[0] == 1)
        wrong = [w for f in (file, *([mask_file] if paired else [])) if (w := not_a_picture(f))]
        if file in seen:
            wrong.append(f"{name} stands in line {seen[file]} too")
        if known is None:
            wrong.append(f"label {label!r} is not 0, 1, good, normal, ok, anomaly or a defect's name")
        if any(rest):
            wrong.append("more than a picture, a label and a mask")
        problems += [f"line {number}: {w}" for w in wrong]
        seen.setdefault(file, number)
        label_, defect = known or (-1, "")
        pictures.append(Picture(file, id_of(file, path.parent), label_, "", defect, mask_file if paired else None))
    refuse_lines(problems, path.name)
    if not pictures:
        raise InputError(f"{path.name} names no pictures", expected="a picture a line", got="no line that counts")
    if any(p.mask for p in pictures):
        _refuse_unpaired([f"picture without a mask: {p.id}" for p in pictures if p.label == 1 and not p.mask])
    return _sorted(path.name, "list", pictures)


def _listed_label(text: str, good: set[str]) -> tuple[int, str] | None:
    """Return label and defect, or None where a number means nothing."""
    known = {"": (-1, ""), "0": (0, "good"), "1": (1, "")}.get(text)
    if known or text.lstrip("+-").replace(".", "", 1).isdigit():
        return known
    return label_of(text, good)


def _read_files(files: Sequence[Any]) -> PictureSource:
    paths = [Path(f) for f in files if isinstance(f, (str, Path))]
    wrong = [f"a {type(f).__name__}, not a path" for f in files if not isinstance(f, (str, Path))]
    wrong += [w for p in paths if (w := not_a_picture(p))]
    whole = [os.path.abspath(p) for p in paths]
    wrong += [f"{p} came {n} times" for p, n in Counter(whole).items() if n > 1]
    if wrong or not paths:
        raise InputError(
            f"{len(wrong)} of {len(files)} files cannot be used" if files else "there are no files",
            expected="picture files: " + ", ".join(sorted(PICTURE_SUFFIXES)),
            got=listed(wrong) if wrong else "an empty list",
        )
    root = Path(os.path.commonpath([os.path.dirname(p) for p in whole]))
    pictures = [Picture(p, id_of(Path(w), root)) for p, w in zip(paths, whole, strict=True)]
    return _sorted(paths[0].name if len(paths) == 1 else root.name, "file", pictures)


def _sorted(name: str, layout: str, pictures: list[Picture]) -> PictureSource:
    return PictureSource(name, layout, tuple(sorted(pictures, key=lambda p: p.id)))


def _is_mvtec(path: Path, good: set[str] = GOOD) -> bool:
    splits = [path / name for name in ("train", "test") if (path / name).is_dir()]
    return any(e.name.lower() in good and e.is_dir() for split in splits for e in entries(split))


def _is_visa(path: Path) -> bool:
    return (path / "Data" / "Images").is_dir()


def _several(path: Path, categories: list[str]) -> InputError:
    return InputError(
        f"{path.resolve().name} holds several categories: a model learns one",
        expected="the folder of one category",
        got=", ".join(categories),
        fix=f"name one, such as {path / categories[0]}" if categories else "",
    )
