"""The command line: each command is a call into the modules beside it, imported only when it runs."""

from __future__ import annotations

import io
import json
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from cyclopts import App, Parameter

import limbeck
from limbeck.errors import LimbeckError, LimbeckWarning, OutputError
from limbeck.terminal import kinds, print_candidates, print_input, print_metrics, print_table, progress, show_warning

if TYPE_CHECKING:
    from limbeck.detector import Detector

__all__ = ["app", "main"]

Command = TypeVar("Command", bound=Callable[..., Any])

app = App(
    name="limbeck",
    version=limbeck.__version__,
    help="Distil heavy anomaly detectors into one small calibrated model.",
    help_format="plaintext",  # importing the markdown renderer would cost 40 ms more
    default_parameter=Parameter(negative=()),
    suppress_keyboard_interrupt=False,
)


def _command(function: Command) -> Command:
    """Make a command of a function; the list of commands needs its first line only, and parsing all costs 40 ms."""
    app.command(function, help=str(function.__doc__).partition("\n")[0])
    return function


@_command
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


@_command
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
    card = detector.card
    for note in dict.fromkeys([*card.notes, *(str(w.message) for w in caught if w.category is LimbeckWarning)]):
        print(f"note: {note}", file=sys.stderr)
    print(f"takes     {kinds(detector)}")
    print(
        f"threshold {card.threshold:.4f} for a false-alarm rate of {card.alpha:g} "
        f"({card.n_calibration_normal:,} calibration normals)\npackage   {out}"
    )


@_command
def score(
    package: Path,
    source: str,
    *,
    out: Path,
    engine: Literal["local"] = "local",
    id: str | None = None,
    maps: Path | None = None,
    corrupt: Literal["refuse", "skip"] = "refuse",
    overwrite: bool = False,
) -> None:
    """Score a table or pictures into a results file.

    Parameters
    ----------
    package : Path
        A package that `limbeck fit` wrote.
    source : str
        A table with the columns used at fit; their order does not matter, others are passed over. Or pictures.
    out : Path
        A .parquet, .csv or .jsonl file: id, score, p_value, is_anomaly and, with labels at fit, probability.
    engine : str
        Where the work runs.
    id : str
        The column that names the rows. Default: the one named at fit, else the row's number.
    maps : Path
        A folder for heat maps of the pictures: ID.png to look at, ID.tiff with the scores of the pixels.
    corrupt : str
        What to do with a picture that cannot be read.
    overwrite : bool
        Replace existing results.
    """
    from limbeck.batch import score as run
    from limbeck.outputs import refuse_existing

    refuse_existing(out, overwrite, source=source)
    detector = _load(package)
    with progress() as on_step:
        count = run(detector, source, out, id=id, maps=maps, on_corrupt=corrupt, overwrite=overwrite, on_step=on_step)
    print(f"{count:,} {detector.items} scored\nscores   {out}" + (f"\nmaps     {maps}" if maps else ""))


@_command
def evaluate(
    package: Path,
    source: str,
    *,
    label: str | None = None,
    json_: Annotated[Path | None, Parameter(name="--json")] = None,
    report: Path | None = None,
    normal: str | None = None,
    no_masks: bool = False,
    corrupt: Literal["refuse", "skip"] = "refuse",
    overwrite: bool = False,
) -> None:
    """Measure a package on labelled rows or pictures that it has not seen.

    Parameters
    ----------
    package : Path
        A package that `limbeck fit` wrote.
    source : str
        A table with the columns used at fit and a label column, or pictures in labelled folders.
    label : str
        The label column. Default: the one named at fit.
    json_ : Path
        Write the metrics there as one flat JSON object.
    report : Path
        Write an HTML report there.
    normal : str
        The label, or the folder of pictures, that means normal. Default: the label named at fit.
    no_masks : bool
        Measure pictures only, not their pixels.
    corrupt : str
        What to do with a picture that cannot be read.
    overwrite : bool
        Replace existing files.
    """
    from limbeck.evaluate import evaluate as run
    from limbeck.outputs import new_file, refuse_existing

    for file in filter(None, (json_, report)):
        refuse_existing(file, overwrite, source=source)
    if json_ is not None and json_ == report:
        raise OutputError("metrics and report cannot be one file", expected="two names", got=str(json_))
    if report is not None:
        _require_report()
    detector = _load(package)
    with progress() as on_step:
        evaluation = run(
            detector, source, label=label, normal=normal, masks=not no_masks, on_corrupt=corrupt, on_step=on_step
        )
    for note in evaluation.notes:
        print(f"note: {note}", file=sys.stderr)
    if json_ is not None:  # files first: what is printed may go to a pipe that closes
        with new_file(json_, overwrite=overwrite) as partial:
            partial.write_text(json.dumps(evaluation.metrics, indent=1, allow_nan=False) + "\n", "utf-8")
    if report is not None:
        from limbeck.report import report as draw

        draw(detector, report, evaluation=evaluation, overwrite=overwrite)
    print_metrics(evaluation.metrics, tuple(evaluation.metrics))
    for word, path in (("metrics", json_), ("report ", report)):
        if path is not None:
            print(f"{word}  {path}")


@_command
def report(
    package: Path,
    source: str | None = None,
    *,
    out: Path,
    label: str | None = None,
    normal: str | None = None,
    no_masks: bool = False,
    overwrite: bool = False,
) -> None:
    """Write an HTML report of a package, with plots of how it does on labelled items if a source is given.

    Parameters
    ----------
    package : Path
        A package that `limbeck fit` wrote.
    source : str
        Labelled rows or pictures that it has not seen.
    out : Path
        The HTML file, one piece, readable offline.
    label : str
        The label column. Default: the one named at fit.
    normal : str
        The label, or the folder of pictures, that means normal. Default: the label named at fit.
    no_masks : bool
        Measure pictures only, not their pixels.
    overwrite : bool
        Replace an existing file.
    """
    from limbeck.evaluate import evaluate as measure
    from limbeck.outputs import refuse_existing
    from limbeck.report import report as draw

    refuse_existing(out, overwrite, source=source)
    _require_report()
    detector = _load(package)
    evaluation = None
    if source is not None:
        with progress() as on_step:
            evaluation = measure(detector, source, label=label, normal=normal, masks=not no_masks, on_step=on_step)
    draw(detector, out, evaluation=evaluation, overwrite=overwrite)
    print(f"report   {out}")


@_command
def suspects(
    package: Path,
    *,
    out: Path | None = None,
    top: int = 20,
    overwrite: bool = False,
    json_: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> None:
    """List the training pictures that look anomalous, of a package that was made of a dirty set.

    Parameters
    ----------
    package : Path
        A package of a method for dirty training sets.
    out : Path
        A .parquet, .csv or .jsonl file for the whole list.
    top : int
        How many to print.
    overwrite : bool
        Replace an existing file.
    json_ : bool
        Print JSON.
    """
    from limbeck.suspects import suspects as listed
    from limbeck.suspects import write_suspects

    detector = _load(package)
    frame = listed(detector)
    if out is not None:
        write_suspects(detector, out, overwrite=overwrite)
    if json_:
        print(json.dumps(frame.head(max(0, top)).to_dicts(), indent=1))
        return
    print(f"{frame['suspected'].sum():,} of {len(frame):,} training pictures look anomalous\n")
    words = {True: "yes", False: "no"}
    rows = [(r, i, f"{s:.4g}", words[y], words[c]) for r, i, s, y, c in frame.head(max(0, top)).iter_rows()]
    print_table(("rank", "picture", "score", "suspected", "set aside"), rows)
    if out is not None:
        print(f"list     {out}")


@_command
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
    json_: Annotated[bool, Parameter(name="--json", negative=())] = False,
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


@_command
def methods(name: str | None = None, *, json_: Annotated[bool, Parameter(name="--json", negative=())] = False) -> None:
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


@_command
def inspect(package: Path, *, json_: Annotated[bool, Parameter(name="--json", negative=())] = False) -> None:
    """Show what a package holds.

    Parameters
    ----------
    package : Path
        A package that `limbeck fit` wrote.
    json_ : bool
        Print JSON.
    """
    import dataclasses

    detector = _load(package)
    card = detector.card
    if json_:
        facts = dataclasses.asdict(card) | {"config": detector.artefact.config, "input": detector.spec.to_json()}
        print(json.dumps(facts, indent=1))
        return
    print(f"{card.name}: {card.method}, seed {card.seed}, made {card.created}")
    print(f"{card.n_items:,} {detector.items}, {card.n_anomalous:,} known to be anomalous")
    print(
        f"threshold {card.threshold:.4f} for a false-alarm rate of {detector.alpha:g} "
        f"({card.n_calibration_normal:,} calibration normals)\n"
    )
    print_candidates(detector)
    print_input(detector)
    for note in card.notes:
        print(f"note: {note}")


def _require_report() -> None:
    """Say that a report cannot be drawn before the work for it is done."""
    from limbeck.errors import require

    require("jinja2", "report")
    require("matplotlib", "report")


def _load(package: Path) -> Detector:
    from limbeck.detector import Detector

    return Detector.load(package)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; a user's mistake prints one clear message and exits with 1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a column's name may not fit the terminal's alphabet
    with warnings.catch_warnings():
        if not sys.warnoptions:
            warnings.simplefilter("ignore")  # other people's; ours are notes
            warnings.simplefilter("always", LimbeckWarning)
            warnings.showwarning = show_warning
        try:
            app(arguments)
        except LimbeckError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(1)
        except KeyboardInterrupt:
            print("interrupted; `limbeck fit ... --resume` goes on where it stopped", file=sys.stderr)
            sys.exit(130)
        except BrokenPipeError:  # the reader of a pipe went away
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        except OSError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(1)


if __name__ == "__main__":
    main()
