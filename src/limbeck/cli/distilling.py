"""Commands that make a student of any detector, and that take it further: newer rows, another domain."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from limbeck.cli.app import command
from limbeck.cli.making import Settings, make, operations, settings


@command
def distil(
    teacher: str,
    source: str,
    *,
    out: Path,
    alpha: float = 0.01,
    config: Path | None = None,
    set_: Settings = None,
    seed: int = 0,
    turned: Annotated[bool, Parameter(negative_bool=())] = False,
    overwrite: bool = False,
    id: str | None = None,
    ignore: Annotated[list[str] | None, Parameter(negative_iterable=())] = None,
    budget: str | None = None,
    also: Annotated[list[Path] | None, Parameter(negative_iterable=())] = None,
    normal: str | None = None,
    on_corrupt: str = "refuse",
) -> None:
    """Distil a package, or the scores that any detector left in a column, into one small student.

    Parameters
    ----------
    teacher : str
        A package, or the column of the source that holds the scores, higher = more anomalous.
    source : str
        A table (CSV, Parquet, Arrow, .npy, .npz), or a folder of Parquet or CSV parts. Of a package of pictures:
        pictures of good parts, a folder or a .txt list.
    out : Path
        The package to write, by custom NAME.limbeck.
    alpha : float
        The false-alarm rate to promise.
    config : Path
        A TOML file of configuration fields.
    set_ : list of str
        FIELD=VALUE, as often as needed; `limbeck methods distilled` lists them, of pictures `limbeck methods compact`.
    seed : int
        Seed of everything random.
    turned : bool
        Low scores mean anomalous.
    overwrite : bool
        Replace an existing package.
    id : str
        The column that names the rows: not learned from, written beside the scores.
    ignore : list of str
        A column to leave out, labels first of all; as often as needed.
    budget : str
        Of pictures: most multiply-adds that one may take, as 0.3G or 300M. Default: 0.3G.
    also : list of Path
        Of pictures: another package to learn from beside the first; as often as needed.
    normal : str
        Of pictures: the folder that means normal.
    on_corrupt : str
        Of pictures: "refuse" one that cannot be read, or "skip" it.
    """
    from limbeck.detector import load
    from limbeck.fitting import distil as learn
    from limbeck.package import is_package

    first: Any = load(teacher) if is_package(Path(teacher)) else teacher
    run = partial(
        learn,
        [first, *map(load, also)] if also else first,
        source,
        config=settings(config, set_) | ({} if budget is None else {"budget": operations(budget) / 1e9}),
        alpha=alpha,
        seed=seed,
        turned=turned,
        id=id,
        ignore_columns=ignore or (),
        normal=normal,
        on_corrupt=on_corrupt,
    )
    make(out, run, overwrite=overwrite)


@command
def refresh(
    package: Path,
    teacher: str,
    source: str,
    *,
    out: Path,
    remember: str | None = None,
    alpha: float | None = None,
    config: Path | None = None,
    set_: Settings = None,
    seed: int = 0,
    turned: Annotated[bool, Parameter(negative_bool=())] = False,
    overwrite: bool = False,
    id: str | None = None,
) -> None:
    """Let the student in a package go on learning from newer rows, and calibrate it on them.

    Parameters
    ----------
    package : Path
        A package that learned without labels, from a table.
    teacher : str
        A package that takes the same columns, or the column of the source that holds scores, higher = more anomalous.
    source : str
        The newer rows: a table (CSV, Parquet, Arrow, .npy, .npz), or a folder of Parquet or CSV parts.
    out : Path
        The package to write; with --overwrite it may be the same.
    remember : str
        A table of rows of before, so that their ranking is not forgotten; with that column of scores, if there is one.
    alpha : float
        The false-alarm rate to promise. Default: the package's.
    config : Path
        A TOML file of configuration fields.
    set_ : list of str
        FIELD=VALUE, as often as needed; `limbeck methods distilled` lists them.
    seed : int
        Seed of everything random.
    turned : bool
        Low scores mean anomalous.
    overwrite : bool
        Replace an existing package.
    id : str
        The column that names the rows. Default: the package's.
    """
    from limbeck.detector import load
    from limbeck.fitting import refresh as learn_on
    from limbeck.package import is_package

    run = partial(
        learn_on,
        load(package),
        source,
        load(teacher) if is_package(Path(teacher)) else teacher,
        remembered=remember,
        config=settings(config, set_),
        alpha=alpha,
        seed=seed,
        turned=turned,
        id=id,
    )
    make(out, run, overwrite=overwrite)


@command
def adapt(
    package: Path,
    source: str,
    *,
    out: Path,
    label: str | None = None,
    column: Annotated[list[str] | None, Parameter(negative_iterable=())] = None,
    normal: str | None = None,
    alpha: float | None = None,
    seed: int = 0,
    overwrite: bool = False,
    id: str | None = None,
) -> None:
    """Align the student in a package with another domain, and calibrate it there; no teacher is asked.

    Parameters
    ----------
    package : Path
        A package that judges rows.
    source : str
        Rows of the new domain: a table (CSV, Parquet, Arrow, .npy, .npz), or a folder of Parquet or CSV parts.
    out : Path
        The package to write; with --overwrite it may be the same.
    label : str
        The label column, for the threshold and probabilities; a few labels do, empty elsewhere. Default: none.
    column : list of str
        NEW=OLD: the source's name of a column that the package takes; as often as needed.
    normal : str
        The label that means normal; every other one is then anomalous.
    alpha : float
        The false-alarm rate to promise. Default: the package's.
    seed : int
        Seed of the draw of the calibration rows.
    overwrite : bool
        Replace an existing package.
    id : str
        The column that names the rows. Default: the package's.
    """
    from limbeck.detector import load
    from limbeck.fitting import adapt as align

    pairs = [text.partition("=") for text in column or ()]
    run = partial(
        align,
        load(package),
        source,
        columns={new: old for new, _, old in pairs},
        label=label,
        normal=normal,
        alpha=alpha,
        seed=seed,
        id=id,
    )
    make(out, run, overwrite=overwrite)
