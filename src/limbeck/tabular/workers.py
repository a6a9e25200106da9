"""Models taught beside each other: one a core, one thread each."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from limbeck.errors import require

__all__ = ["FEW_ROWS", "beside_each_other"]

Answer = TypeVar("Answer")
FEW_ROWS = 5_000  # up to here models are taught one after the other: starting processes would cost more


def beside_each_other(
    function: Callable[..., Answer], calls: Sequence[tuple[Any, ...]], *, rows: int, jobs: int
) -> Iterator[Answer]:
    """Call a function with each of many arguments, in processes, and yield the answers as they come.

    One thread a model: boosting with several spins, and costs ten times the processor time where anything else runs
    beside it; layers as small as a student's only wait for each other. SMOTE's neighbours call BLAS from OpenMP, so
    that BLAS too is held to one thread. An answer does not depend on the number of processes.

    Parameters
    ----------
    function : callable
        Of a module's top level; its answer says which call it belongs to.
    calls : sequence of tuple
        Arguments; large arrays in them are shared, not copied.
    rows : int
        How much there is to learn from; where it is little, everything happens in this process.
    jobs : int
        Processes; 0 = one for each core.

    Yields
    ------
    Answer
        One a call, in the order in which they end.
    """
    workers = min(jobs or os.cpu_count() or 1, len(calls)) if rows > FEW_ROWS else 1
    if workers <= 1:
        with require("threadpoolctl", "train").threadpool_limits(1, user_api="blas"):
            for arguments in calls:
                yield function(*arguments)
        return
    joblib = require("joblib", "train")
    with joblib.parallel_config(backend="loky", inner_max_num_threads=1), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "A worker stopped", UserWarning)  # it grew, and another took its place
        run = joblib.Parallel(n_jobs=workers, return_as="generator_unordered", batch_size=1, mmap_mode="c")
        yield from run(joblib.delayed(function)(*arguments) for arguments in calls)
