"""Commands that make detectors, and what they are made of."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from limbeck.cli.app import AsJson, command
from limbeck.cli.making import Settings, make, settings
from limbeck.terminal import print_candidates, print_metrics, print_table, progress


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
    set_: Settings = None,
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
    from limbeck.fitting import fit as learn
    from limbeck.outputs import refuse_existing, working_folder
    from limbeck.package import is_package

    refuse_existing(out, overwrite, is_package)  # before the work of an earlier run is cleared away
    values = settings(config, set_)
    with working_folder(out, resume=resume) as workdir:
        run = partial(
            learn,
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
        )
        make(out, run, overwrite=overwrite)


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
