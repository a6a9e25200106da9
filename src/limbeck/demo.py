"""The whole story on built-in data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from limbeck.batch import score
from limbeck.contracts import OnStep, ignore
from limbeck.data.transactions import transactions
from limbeck.detector import Detector
from limbeck.errors import OutputError, require, require_training
from limbeck.evaluate import evaluate
from limbeck.fitting import fit
from limbeck.outputs import new_file
from limbeck.report import report

__all__ = ["TableDemo", "demo_table"]

ROWS, RATE = 10_000, 0.03
CONFIG = {
    "trees": 150,
    "folds": 5,
    "steps": 2500,
    "refit_below": 0,
    "measurements": 1,
}  # smaller than the defaults, to end in a minute


@dataclass(frozen=True)
class TableDemo:
    """What a demo leaves behind."""

    detector: Detector
    metrics: dict[str, float]
    n_train: int
    n_test: int
    package: Path
    scores: Path
    report: Path


def demo_table(folder: Path, *, seed: int = 0, on_step: OnStep = ignore) -> TableDemo:
    """Generate card payments, fit, save, evaluate, report and score.

    Parameters
    ----------
    folder : Path
        Where everything goes; it is made if need be, and what an earlier demo left there is replaced.
    seed : int
        Seed of the data and of everything random.
    on_step : callable
        Called with a `Step` as the work goes on.

    Returns
    -------
    TableDemo
        The detector, its metrics and the paths of the files.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    """
    require_training()
    require("jinja2", "report")
    require("matplotlib", "report")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot make the folder {folder}", expected="a writable place", got=error.strerror or str(error)
        ) from error
    train, test = (transactions(n, rate=RATE, seed=s) for n, s in ((ROWS, 2 * seed), (2 * ROWS, 2 * seed + 1)))
    for name, frame in (("train", train), ("test", test)):
        with new_file(folder / f"{name}.parquet", overwrite=True) as partial:
            frame.write_parquet(partial)
    detector = fit(folder / "train.parquet", label="fraud", config=CONFIG, seed=seed, on_step=on_step)
    detector.save(folder / "transactions.limbeck", overwrite=True)
    detector = Detector.load(folder / "transactions.limbeck")
    evaluation = evaluate(detector, folder / "test.parquet", on_step=on_step)
    report(detector, folder / "report.html", evaluation=evaluation, overwrite=True)
    score(detector, folder / "test.parquet", folder / "scores.parquet", overwrite=True, on_step=on_step)
    return TableDemo(
        detector,
        evaluation.metrics,
        len(train),
        len(test),
        folder / "transactions.limbeck",
        folder / "scores.parquet",
        folder / "report.html",
    )
