"""Commands that use a package."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from limbeck.cli.app import AsJson, command, load
from limbeck.errors import OutputError
from limbeck.terminal import (
    print_candidates,
    print_following,
    print_input,
    print_metrics,
    print_profile,
    print_table,
    progress,
)


@command
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
    detector = load(package)
    with progress() as on_step:
        count = run(detector, source, out, id=id, maps=maps, on_corrupt=corrupt, overwrite=overwrite, on_step=on_step)
    print(f"{count:,} {detector.items} scored\nscores   {out}" + (f"\nmaps     {maps}" if maps else ""))


@command
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
    detector = load(package)
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


@command
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
    detector = load(package)
    evaluation = None
    if source is not None:
        with progress() as on_step:
            evaluation = measure(detector, source, label=label, normal=normal, masks=not no_masks, on_step=on_step)
    draw(detector, out, evaluation=evaluation, overwrite=overwrite)
    print(f"report   {out}")


@command
def suspects(
    package: Path,
    *,
    out: Path | None = None,
    top: int = 20,
    overwrite: bool = False,
    json_: AsJson = False,
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

    detector = load(package)
    frame = listed(detector)
    if out is not None:
        write_suspects(detector, out, overwrite=overwrite)
    if json_:
        print(json.dumps(frame.head(max(0, top)).to_dicts(), indent=1))
        return
    rare = f"; {frame['rare'].sum():,} have something that hardly any other picture has, and come first"
    found = f"{frame['suspected'].sum():,} of {len(frame):,} training pictures look anomalous"
    print(found + rare * frame["rare"].any(), end="\n\n")
    words = {True: "yes", False: "no"}
    rows = [
        (rank, id, f"{score:.4g}", *(words[answer] for answer in answers))
        for rank, id, score, *answers in frame.head(max(0, top)).iter_rows()
    ]
    print_table(("rank", "picture", "score", "suspected", "rare", "set aside"), rows)
    if out is not None:
        print(f"list     {out}")


@command
def inspect(package: Path, *, json_: AsJson = False) -> None:
    """Show what a package holds.

    Parameters
    ----------
    package : Path
        A package that `limbeck fit` wrote.
    json_ : bool
        Print JSON.
    """
    import dataclasses

    detector = load(package)
    card = detector.card
    if json_:
        facts = dataclasses.asdict(card) | {"config": detector.artefact.config, "input": detector.spec.to_json()}
        print(json.dumps(facts, indent=1))
        return
    print(f"{card.name}: {card.method}, seed {card.seed}, made {card.created}")
    print(f"{card.n_items:,} {detector.items}, {card.n_anomalous:,} known to be anomalous")
    print(
        f"threshold {card.threshold:.4f} for a false-alarm rate of {detector.alpha:g} "
        f"({card.n_calibration_normal:,} {detector.calibration_items})"
    )
    print_following(detector)
    print()
    print_candidates(detector)
    print_input(detector)
    for note in card.notes:
        print(f"note: {note}")


def _require_report() -> None:
    """Say that a report cannot be drawn before the work for it is done."""
    from limbeck.errors import require

    require("jinja2", "report")
    require("matplotlib", "report")


@command
def profile(
    package: Path,
    source: str | None = None,
    *,
    threads: Annotated[list[int] | None, Parameter(negative_iterable=())] = None,
    batch: Annotated[list[int] | None, Parameter(negative_iterable=())] = None,
    plot: Path | None = None,
    json_: AsJson = False,
    overwrite: bool = False,
) -> None:
    """Measure what a package costs on this machine: work, time by stage, throughput, memory, distance to its limit.

    Parameters
    ----------
    package : Path
        A package that `limbeck fit` wrote.
    source : str
        Items to measure on: a table or pictures. Default: made-up ones.
    threads : list of int
        A number of threads to judge pictures with; as often as needed. Default: 1 and all cores.
    batch : list of int
        A number of items to judge at once; as often as needed.
    plot : Path
        A .svg or .png file for the times as a picture.
    json_ : bool
        Print JSON.
    overwrite : bool
        Replace an existing plot.
    """
    from limbeck.profile import profile as run
    from limbeck.profile_plot import refuse_plot, write_plot

    if plot is not None:
        refuse_plot(plot, overwrite)
    with progress() as on_step:
        found = run(load(package), source, threads=threads or (), batches=batch or (), on_step=on_step)
    if plot is not None:
        write_plot(found, plot, overwrite=overwrite)
    if json_:
        print(json.dumps(found.facts(), indent=1))
    else:
        print_profile(found)


@command
def export(
    package: Path,
    *,
    calibration: str,
    out: Path,
    precision: Literal["int8", "fp16", "fp32"] = "int8",
    to: Literal["onnx", "openvino"] = "onnx",
    test: str | None = None,
    max_drop: float = 0.5,
    seed: int = 0,
    overwrite: bool = False,
) -> None:
    """Write a package of pictures with fewer bits and a threshold of its own; refused if it finds less.

    Parameters
    ----------
    package : Path
        A package of pictures.
    calibration : str
        Good pictures, at least ten, for ranges and threshold; best of some that it did not learn from.
    out : Path
        The package to write.
    precision : str
        Bits of the networks; maps and scores stay in float32.
    to : str
        What the package runs on: onnxruntime, or OpenVINO for processors of Intel's kind.
    test : str
        Labelled pictures that tell how much is lost. Default: the good ones, and the same with drawn defects.
    max_drop : float
        Points of AUROC that may be lost on them.
    seed : int
        Seed of the drawn defects.
    overwrite : bool
        Replace an existing package.
    """
    from limbeck.export import export as run
    from limbeck.outputs import refuse_existing
    from limbeck.package import is_package

    refuse_existing(out, overwrite, is_package)
    with progress() as on_step:
        small = run(
            load(package), precision, calibration, runtime=to, test=test, max_drop=max_drop, seed=seed, on_step=on_step
        )
        small.save(out, overwrite=overwrite)
    print(f"note: {small.card.notes[-1]}", file=sys.stderr)
    print(f"threshold {small.threshold:.4f} for a false-alarm rate of {small.alpha:g}\npackage   {out}")
