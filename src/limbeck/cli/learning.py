"""Commands that make detectors, and what they are made of."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from limbeck.cli.app import AsJson, command
from limbeck.errors import LimbeckWarning
from limbeck.terminal import kinds, print_candidates, print_following, print_metrics, print_table, progress

if TYPE_CHECKING:
    from limbeck.detector import Detector


@command
def demo(what: Literal["table", "image"] = "table", *, out: Path = Path("limbeck-demo"), seed: int = 0) -> None:
    """Show the whole story on built-in data: fit, evaluate, report, score; a minute or two.

    Parameters
    ----------
    what : str
        The kind of data.
    out : Path
        Folder for the data, the package, the scores and the report; what an earlier demo left there is replaced.
    seed : int
        Seed of the data and of everything random.
    """
    from limbeck.demo import demo_pictures, demo_table

    if what == "image":
        with progress() as on_step:
            made = demo_pictures(out, seed=seed, on_step=on_step)
        metrics, bad = made.metrics, int(made.metrics["n_anomalous"])
        print(f"{made.n_train} pictures of petals to learn from; {made.n_test - bad} good, {bad} damaged to test on.\n")
        print_metrics(metrics, ("auroc", "pixel_auroc", "aupro_30", "recall_at_1pct_fpr"))
        rate, promised = metrics["false_alarm_rate"], made.detector.alpha
        print(f"false alarms: {rate:.2%} of good pictures, {promised:.2%} promised\n")
        print(f"package  {made.package}\nscores   {made.scores}\nmaps     {made.maps}")
        print(f"sheet    {made.sheet}\nreport   {made.report}")
        return
    with progress() as on_step:
        result = demo_table(out, seed=seed, on_step=on_step)
    print(f"{result.n_train:,} generated card payments to learn from, {result.n_test:,} others to test on.\n")
    print_candidates(result.detector)
    print_metrics(result.metrics, ("average_precision", "auroc", "recall_at_1pct_fpr", "ece"))
    print(
        f"false alarms: {result.metrics['false_alarm_rate']:.2%} of normal rows, {result.detector.alpha:.2%} promised\n"
    )
    print(f"package  {result.package}\nscores   {result.scores}\nreport   {result.report}")


@command
def fit(
    source: str,
    *,
    out: Path,
    method: str | None = None,
    label: str | None = None,
    alpha: float = 0.01,
    config: Path | None = None,
    set_: Annotated[list[str] | None, Parameter(name="--set", negative_iterable=())] = None,
    seed: int = 0,
    resume: bool = False,
    overwrite: bool = False,
    normal: str | None = None,
    id: str | None = None,
    ignore: Annotated[list[str] | None, Parameter(negative_iterable=())] = None,
    corrupt: Literal["refuse", "skip"] = "refuse",
) -> None:
    """Learn a detector and write its package.

    Parameters
    ----------
    source : str
        A table (CSV, Parquet, Arrow, .npy, .npz), a folder of Parquet or CSV parts, or pictures of good parts: a
        folder, or a .txt list.
    out : Path
        The package to write, by custom NAME.limbeck.
    method : str
        The method; `limbeck methods` lists them. Default: by the kind of source.
    label : str
        The label column: 0 and 1, booleans, or texts of which some mean normal.
    alpha : float
        The false-alarm rate to promise.
    config : Path
        A TOML file of configuration fields.
    set_ : list of str
        FIELD=VALUE, as often as needed; over what --config says.
    seed : int
        Seed of everything random.
    resume : bool
        Go on where a killed run stopped.
    overwrite : bool
        Replace an existing package.
    normal : str
        The label, or the folder of pictures, that means normal; every other one is then anomalous.
    id : str
        The column that names the rows: not learned from, written beside the scores.
    ignore : list of str
        A column to leave out; as often as needed.
    corrupt : str
        What to do with a picture that cannot be read.
    """
    from limbeck.config import parse_assignment, read_toml
    from limbeck.fitting import fit as learn
    from limbeck.outputs import refuse_existing, working_folder
    from limbeck.package import is_package

    refuse_existing(out, overwrite, is_package)
    values = (read_toml(config) if config else {}) | dict(map(parse_assignment, set_ or []))
    with (
        warnings.catch_warnings(record=True) as caught,
        working_folder(out, resume=resume) as workdir,
        progress() as on_step,
    ):
        detector = learn(
            source,
            label=label,
            method=method,
            config=values,
            alpha=alpha,
            seed=seed,
            normal=normal,
            id=id,
            ignore_columns=ignore or (),
            on_corrupt=corrupt,
            workdir=workdir,
            on_step=on_step,
        )
        detector.save(out, overwrite=overwrite)
    print_candidates(detector)
    _say_what_was_made(detector, out, caught)


def _say_what_was_made(detector: Detector, out: Path, caught: list[warnings.WarningMessage]) -> None:
    """Print what a package takes, its threshold, and every note."""
    card = detector.card
    for note in dict.fromkeys([*card.notes, *(str(w.message) for w in caught if w.category is LimbeckWarning)]):
        print(f"note: {note}", file=sys.stderr)
    print(f"takes     {kinds(detector)}")
    print(
        f"threshold {card.threshold:.4f} for a false-alarm rate of {card.alpha:g} "
        f"({card.n_calibration_normal:,} {detector.calibration_items})"
    )
    print_following(detector)
    print(f"package   {out}")


@command
def distil(
    teacher: str,
    source: str,
    *,
    out: Path,
    alpha: float = 0.01,
    config: Path | None = None,
    set_: Annotated[list[str] | None, Parameter(name="--set", negative_iterable=())] = None,
    seed: int = 0,
    turned: Annotated[bool, Parameter(negative_bool=())] = False,
    overwrite: bool = False,
    id: str | None = None,
    ignore: Annotated[list[str] | None, Parameter(negative_iterable=())] = None,
) -> None:
    """Distil a package, or the scores that any detector left in a column, into one small student.

    Parameters
    ----------
    teacher : str
        A package of rows, or the column of the source that holds the scores, higher = more anomalous.
    source : str
        A table (CSV, Parquet, Arrow, .npy, .npz), or a folder of Parquet or CSV parts.
    out : Path
        The package to write, by custom NAME.limbeck.
    alpha : float
        The false-alarm rate to promise.
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
        The column that names the rows: not learned from, written beside the scores.
    ignore : list of str
        A column to leave out, labels first of all; as often as needed.
    """
    from limbeck.config import parse_assignment, read_toml
    from limbeck.detector import load
    from limbeck.fitting import distil as learn
    from limbeck.outputs import refuse_existing
    from limbeck.package import is_package

    refuse_existing(out, overwrite, is_package)
    values = (read_toml(config) if config else {}) | dict(map(parse_assignment, set_ or []))
    with warnings.catch_warnings(record=True) as caught, progress() as on_step:
        detector = learn(
            load(teacher) if is_package(Path(teacher)) else teacher,
            source,
            config=values,
            alpha=alpha,
            seed=seed,
            turned=turned,
            id=id,
            ignore_columns=ignore or (),
            on_step=on_step,
        )
        detector.save(out, overwrite=overwrite)
    _say_what_was_made(detector, out, caught)


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
    set_: Annotated[list[str] | None, Parameter(name="--set", negative_iterable=())] = None,
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
    from limbeck.config import parse_assignment, read_toml
    from limbeck.detector import load
    from limbeck.fitting import refresh as learn_on
    from limbeck.outputs import refuse_existing
    from limbeck.package import is_package

    refuse_existing(out, overwrite, is_package)
    values = (read_toml(config) if config else {}) | dict(map(parse_assignment, set_ or []))
    with warnings.catch_warnings(record=True) as caught, progress() as on_step:
        detector = learn_on(
            load(package),
            source,
            load(teacher) if is_package(Path(teacher)) else teacher,
            remembered=remember,
            config=values,
            alpha=alpha,
            seed=seed,
            turned=turned,
            id=id,
            on_step=on_step,
        )
        detector.save(out, overwrite=overwrite)
    _say_what_was_made(detector, out, caught)


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
    from limbeck.outputs import refuse_existing
    from limbeck.package import is_package

    refuse_existing(out, overwrite, is_package)
    pairs = [text.partition("=") for text in column or ()]
    with warnings.catch_warnings(record=True) as caught, progress() as on_step:
        detector = align(
            load(package),
            source,
            columns={new: old for new, _, old in pairs},
            label=label,
            normal=normal,
            alpha=alpha,
            seed=seed,
            id=id,
            on_step=on_step,
        )
        detector.save(out, overwrite=overwrite)
    _say_what_was_made(detector, out, caught)


@command
def contaminate(
    source: str,
    *,
    ratio: float,
    out: Path,
    label: str | None = None,
    base: Literal["clean", "mixed"] = "clean",
    overlap: bool = False,
    fold: int = 0,
    test: float | None = None,
    normal: str | None = None,
    no_masks: bool = False,
    overwrite: bool = False,
    json_: AsJson = False,
) -> None:
    """Make a dirty training set: good items with hidden anomalies among them, and the test that is left.

    Parameters
    ----------
    source : str
        Labelled pictures (a folder or a .txt list), or a table with a label column.
    ratio : float
        How many anomalies to hide, as a share of the clean items: from 0 to below 1.
    out : Path
        The folder to make: train, test, and the lists in contamination.json.
    label : str
        The label column of a table.
    base : str
        What the ratio is a share of: the clean items, or the mix of clean and hidden ones.
    overlap : bool
        Leave the hidden anomalies in the test as well.
    fold : int
        Seed of the draw; all methods see the same lists.
    test : float
        Share of the normal items to set aside for the test, where the source is not split. Default: 0.3.
    normal : str
        The label, or the folder of pictures, that means normal; every other one is then anomalous.
    no_masks : bool
        Do not pair and copy masks.
    overwrite : bool
        Replace an earlier such folder.
    json_ : bool
        Print JSON.
    """
    from limbeck.data.contaminate import contaminate as run
    from limbeck.data.noisy_split import LISTS

    with progress() as on_step:
        split = run(
            source,
            out,
            ratio=ratio,
            label=label,
            base=base,
            overlap=overlap,
            fold=fold,
            test=test,
            normal=normal,
            masks=not no_masks,
            overwrite=overwrite,
            on_step=on_step,
        )
    for note in split.notes:
        print(f"note: {note}", file=sys.stderr)
    if json_:
        print(json.dumps(split.facts() | {"notes": split.notes, "lists": str(out / LISTS)}, indent=1))
        return
    print(
        f"train    {len(split.train):,} items, {len(split.added):,} of them hidden anomalies ({split.share:.2%})\n"
        f"test     {len(split.test):,} items, {split.anomalies_left:,} of them anomalous\nlists    {out / LISTS}"
    )


@command
def methods(name: str | None = None, *, json_: AsJson = False) -> None:
    """List the methods, or the configuration fields of one.

    Parameters
    ----------
    name : str
        A method.
    json_ : bool
        Print JSON.
    """
    from limbeck.config import config_class, describe
    from limbeck.errors import ConfigError
    from limbeck.methods import METHODS

    if name is not None and name not in METHODS:
        raise ConfigError(f"there is no method {name!r}", expected="one of " + ", ".join(METHODS), got=name)
    if name is None:
        rows = [(key, m.source, m.summary) for key, m in METHODS.items()]
        head = ("method", "source", "summary")
    else:
        rows = describe(config_class(METHODS[name].config))
        head = ("field", "default", "meaning")
    if json_:
        print(json.dumps([dict(zip(head, row, strict=True)) for row in rows], indent=1))
    else:
        print_table(head, rows)
