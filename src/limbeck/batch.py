"""Files in, a results file out: streamed, in bounded memory, whole or not at all."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
from polars.io.plugins import register_io_source
from threadpoolctl import threadpool_limits

from limbeck.batch_pictures import is_maps, score_pictures
from limbeck.contracts import OnStep, Step, ignore
from limbeck.data.columns import rows_of
from limbeck.data.layouts import is_picture_source
from limbeck.data.tables import TableSource, open_table
from limbeck.detector import Detector
from limbeck.errors import ConfigError, InputError, LimbeckError, OutputError
from limbeck.outputs import new_file, refuse_existing
from limbeck.picture_spec import PictureSpec
from limbeck.spec import for_pictures, for_tables
from limbeck.table_spec import TableSpec

__all__ = ["RESULTS", "score"]

RESULTS = (".parquet", ".csv", ".jsonl")
ROWS = 32_768  # of a batch: some of them are held at once


def score(
    detector: Detector,
    source: Any,
    out: str | Path,
    *,
    id: str | None = None,
    maps: str | Path | None = None,
    on_corrupt: str = "refuse",
    overwrite: bool = False,
    on_step: OnStep = ignore,
) -> int:
    """Score a table or pictures into a file.

    Parameters
    ----------
    detector : Detector
        What judges.
    source : path, frame, mapping or array
        A table as `limbeck.fit` takes it, whose further columns are passed over; or pictures in files: a folder, a
        list, some paths. All of them are scored, whatever their split and label.
    out : path
        A ``.parquet``, ``.csv`` or ``.jsonl`` file with the columns id, score, p_value, is_anomaly and, where there
        were labels at fit, probability; one row for each row of the source, in its order. A picture's id is its path
        relative to the source.
    id : str, optional
        The column that names the rows; default: the one named at fit if the source has it, else the row's number.
    maps : path, optional
        A folder for the heat maps of pictures, each at its picture's own size: ``ID.png`` to look at, ``ID.tiff`` with
        the scores as float32.
    on_corrupt : str
        What to do with a picture that cannot be read: "refuse", or "skip" and warn.
    overwrite : bool
        Whether an existing file or folder of maps may be replaced.
    on_step : callable
        Called with a `Step` as the work goes on.

    Returns
    -------
    int
        How many rows or pictures were scored.

    Raises
    ------
    InputError
        If the source cannot be read, or its columns do not fit.
    OutputError
        If the place is taken or cannot be written.

    Examples
    --------
    >>> from limbeck.batch import score
    >>> score(detector, "new.parquet", "scores.parquet")  # doctest: +SKIP
    5000000
    """
    out = Path(out)
    if out.suffix.lower() not in RESULTS:
        raise OutputError(
            f"{out.name} is not a kind of results file", expected=", ".join(RESULTS), got=out.suffix or "no suffix"
        )
    refuse_existing(out, overwrite, source=source)
    if isinstance(detector.spec, PictureSpec):
        folder = None if maps is None else Path(maps)
        if folder is not None:
            refuse_existing(folder, overwrite, is_maps, source=source)
        return score_pictures(
            detector, source, out, maps=folder, on_corrupt=on_corrupt, overwrite=overwrite, on_step=on_step
        )
    if maps is not None:
        raise ConfigError("rows have no maps", expected="a package of pictures", got="a table", fix="leave maps out")
    spec = for_tables(detector.spec)
    if is_picture_source(source):
        for_pictures(spec)  # says what this model judges
    table = open_table(source, spec, (id or spec.id,))
    if id is not None and id not in table.schema:
        raise InputError(
            f"{table.name} has no id column {id!r}", expected="one of " + ", ".join(list(table.schema)[:20]), got=id
        )
    id = id if id is not None or spec.id not in table.schema else spec.id
    run = _Run(detector, spec, table, id, on_step)
    lazy = register_io_source(lambda columns, predicate, rows, size: run.results(), schema=run.schema())
    with new_file(out, overwrite=overwrite) as partial:
        try:
            if out.suffix.lower() == ".parquet":
                lazy.sink_parquet(partial)
            elif out.suffix.lower() == ".csv":
                lazy.sink_csv(partial)
            else:
                lazy.sink_ndjson(partial)
        except (pl.exceptions.PolarsError, LimbeckError) as error:
            raise run.failure or OSError(str(error)) from error
    on_step(Step("scoring", run.done, run.done))
    return run.done


class _Run:
    """One pass over a source; remembers how far it came, and an error that the writer would wrap."""

    def __init__(
        self, detector: Detector, spec: TableSpec, table: TableSource, id: str | None, on_step: OnStep
    ) -> None:
        self._detector, self._spec, self._table, self._id, self._on_step = detector, spec, table, id, on_step
        self.done = 0
        self.failure: Exception | None = None

    def schema(self) -> pl.Schema:
        """Return the columns of the results."""
        columns: dict[str, Any] = {
            "id": self._table.schema[self._id] if self._id else pl.Int64(),
            "score": pl.Float32(),
            "p_value": pl.Float64(),
            "is_anomaly": pl.Boolean(),
        }
        if self._detector.calibrator.affine is not None:
            columns["probability"] = pl.Float64()
        return pl.Schema(columns)

    def results(self) -> Iterator[pl.DataFrame]:
        """Yield results, a batch at a time and in order; some batches are judged beside each other.

        One thread a batch: BLAS with threads of its own only waits for them on matrices as narrow as a student's.
        """
        workers = os.cpu_count() or 1
        waiting: deque[Future[pl.DataFrame]] = deque()
        read = 0
        try:
            with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(workers) as pool:
                for frame in self._table.batches(ROWS, self._spec, self._id):
                    waiting.append(pool.submit(self._judged, frame, read))
                    read += frame.height
                    if len(waiting) > workers:
                        yield self._next(waiting)
                while waiting:
                    yield self._next(waiting)
        except Exception as error:  # polars would wrap it in one of its own
            self.failure = error
            raise

    def _next(self, waiting: deque[Future[pl.DataFrame]]) -> pl.DataFrame:
        """Return the results that are due."""
        frame = waiting.popleft().result()
        self.done += frame.height
        self._on_step(Step("scoring", self.done, 0))
        return frame

    def _judged(self, frame: pl.DataFrame, first_row: int) -> pl.DataFrame:
        """Return the results of one batch."""
        rows = rows_of(frame, self._spec, named=self._table.named, first_row=first_row)
        verdicts = self._detector.judge(rows)
        columns: dict[str, Any] = {
            "id": frame[self._id] if self._id else pl.int_range(first_row, first_row + frame.height, eager=True),
            "score": verdicts.score,
            "p_value": verdicts.p_value,
            "is_anomaly": verdicts.is_anomaly,
        }
        if verdicts.probability is not None:
            columns["probability"] = verdicts.probability
        return pl.DataFrame(columns)
