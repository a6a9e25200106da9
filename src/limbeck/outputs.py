"""Results appear whole or not at all: written under a temporary name beside their place, then renamed.

A killed run leaves at most a hidden ``.NAME.PID.partial``; the next run to the same place removes it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from limbeck.errors import LimbeckError, OutputError

__all__ = ["new_file", "new_folder", "refuse_existing", "working_folder"]


def refuse_existing(
    path: Path, overwrite: bool, is_ours: Callable[[Path], bool] = Path.is_file, *, source: object = None
) -> None:
    """Check a place before the work begins.

    Parameters
    ----------
    path : Path
        Where the result will go.
    overwrite : bool
        Whether it may replace an existing result.
    is_ours : callable
        Whether what exists is such a result: nothing else is ever replaced.
    source : object
        Where the data come from: a file is never replaced by what is made of it.

    Raises
    ------
    OutputError
        If something is there that may not be replaced, or the folder around it does not exist.
    """
    path = path.resolve()
    if not path.parent.is_dir():
        raise OutputError(
            f"the folder for {path.name} does not exist", expected="an existing folder", got=str(path.parent)
        )
    if (path.parent / "manifest.json").is_file():
        raise OutputError(
            f"{path} lies inside a package",
            expected="a place outside of it",
            got=str(path.parent),
            fix="choose another",
        )
    if not path.exists():
        return
    if isinstance(source, (str, Path)) and Path(source).resolve() == path:
        raise OutputError(f"{path} is the source of the data", expected="another place", fix="choose another name")
    if not is_ours(path):
        raise OutputError(
            f"{path} is something else and is not replaced",
            expected="a new name",
            got="a folder" if path.is_dir() else "a file",
            fix="choose another name",
        )
    if not overwrite:
        raise OutputError(
            f"{path} exists",
            expected="a new name",
            got="an existing result",
            fix="add --overwrite, or choose another name",
        )


@contextmanager
def new_file(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary name to write to; it becomes `path` when the block ends well, and goes otherwise."""
    path = path.resolve()  # through a link: what it points to is written, the link stays
    partial = _partial(path)
    refuse_existing(path, overwrite)
    with _explained(path, partial):
        yield partial
        _sync(partial)
        partial.replace(path)


@contextmanager
def new_folder(path: Path, *, overwrite: bool = False, is_ours: Callable[[Path], bool] = Path.is_dir) -> Iterator[Path]:
    """Yield a temporary folder to fill; it becomes `path` when the block ends well, and goes otherwise."""
    path = path.resolve()
    partial = _partial(path)
    refuse_existing(path, overwrite, is_ours)
    with _explained(path, partial):
        partial.mkdir()
        yield partial
        for file in partial.rglob("*"):
            _sync(file)
        if path.exists():  # a folder cannot be replaced in one step: the old one stands aside meanwhile
            aside = partial.with_suffix(".replaced")
            path.rename(aside)
            try:
                partial.rename(path)
            except OSError:
                aside.rename(path)
                raise
            shutil.rmtree(aside)
        else:
            partial.rename(path)


@contextmanager
def working_folder(path: Path, *, resume: bool) -> Iterator[Path]:
    """Yield a folder for unfinished work beside `path`: gone when the block ends well, else kept for a resumed run."""
    path = path.resolve()
    folder = path.with_name(f".{path.name}.work")
    if not resume:
        _remove(folder)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot write beside {path.name}", expected="a writable folder", got=error.strerror or str(error)
        ) from error
    try:
        yield folder
    except BaseException:
        if not any(file.is_file() for file in folder.rglob("*")):
            _remove(folder)
        raise
    _remove(folder)


def _partial(path: Path) -> Path:
    """Return a temporary name of this process; clear away, or put back, what killed processes left."""
    for old in path.parent.glob(f".{path.name}.*"):
        owner = re.fullmatch(r"\.(\d+)\.(partial|replaced)", old.name.removeprefix(f".{path.name}"))
        if owner is None or _runs(int(owner[1])):
            continue
        if owner[2] == "replaced" and not path.exists():  # killed between the two renames of a replacement
            old.rename(path)
        else:
            _remove(old)
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


@contextmanager
def _explained(path: Path, partial: Path) -> Iterator[None]:
    """Turn a failing disk into one clear error, and leave nothing behind."""
    try:
        yield
    except LimbeckError:
        raise
    except OSError as error:
        raise OutputError(
            f"cannot write {path.name}",
            expected="a writable place with enough room",
            got=error.strerror or str(error),
            fix="free some room, or choose another place",
        ) from error
    finally:
        _remove(partial)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _sync(file: Path) -> None:
    if file.is_file():
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
