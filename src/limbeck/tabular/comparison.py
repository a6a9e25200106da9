"""Teacher and student side by side: what learning leaves behind of both, for the report.

All is compared on rows held out, from which the student has not learned. What is repeatable (`compare`) is kept
apart from what is not (`costs`): a timing differs from run to run, and so may the length of a pickle.
"""

from __future__ import annotations

import inspect
import pickle
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limbeck.fidelity import ranks, top_overlap
from limbeck.network import REACH, Network
from limbeck.table_spec import TableSpec
from limbeck.tabular.teacher_of import Teacher

__all__ = ["compare", "costs", "pickled_bytes"]

Floats = NDArray[np.float64]
PAIRS = 2000  # most rows whose two scores are kept
TOP, TOP_FEWEST, TOP_MOST = 0.01, 10, 750  # which rows count as strangest: a share, but neither fewer nor more
CURVE, POINTS = 0.1, 12  # of the overlap: up to which share of the rows, at how many places
UNUSUAL = 3  # columns that are named of a row
DIGITS = 4  # decimals of what is drawn
BATCH, TURNS, SECONDS = 1024, 5, 0.2  # of a timing: rows, most repeats, and the time after which there is no other


def compare(
    x: Floats,
    said: Floats,
    network: Network,
    *,
    name: str,
    spec: TableSpec,
    id: Sequence[Any],
    shown: int,
) -> dict[str, Any]:
    """Set a student beside its teacher.

    The rows whose two scores are kept are all that either holds among its strangest 1 % (at least 10, at most 750 a
    side), and of the others evenly many along the teacher's ranking, up to 2,000 in all: where rows are many the
    strangest stand out, and the others lie as they do in full.

    Parameters
    ----------
    x : ndarray of float64, shape (n, d)
        Raw rows that the student has not learned from; n at least 2.
    said : ndarray of float64, shape (n,)
        The teacher's normal score of each.
    network : Network
        The student.
    name : str
        What the teacher is called.
    spec : TableSpec
        Names the columns.
    id : sequence, length n
        What each row is called.
    shown : int
        Of how many rows, those on which both differ most, id and values are kept.

    Returns
    -------
    dict
        ``teacher``, its name; ``n``; ``pairs``: ``teacher`` and ``student``, scores in the teacher's order, and
        ``strangest``: of each the places in these lists that it holds strangest; ``overlap``: ``k``, and which
        ``share`` of the k strangest rows is the same; ``apart``: rows.

    Examples
    --------
    >>> from limbeck.table_spec import Column
    >>> from limbeck.tabular.encode import learn_features
    >>> x = np.arange(40.0)[:, None]
    >>> network = Network(learn_features(x), (np.ones((1, 1), np.float32),), (np.zeros(1, np.float32),))
    >>> found = compare(
    ...     x, -x[:, 0], network, name="the teacher", spec=TableSpec((Column("a", "numeric"),)), id=range(40), shown=1
    ... )
    >>> found["apart"][0]["id"], found["apart"][0]["teacher_rank"], found["apart"][0]["student_rank"]
    ('0', 1.0, 0.025)
    """
    n, student = len(x), network(x).astype(np.float64)
    most = max(min(TOP_FEWEST, n), round(CURVE * n))
    counts = np.unique(np.geomspace(min(TOP_FEWEST, n), most, POINTS).round().astype(int)).tolist()
    return {
        "teacher": name,
        "n": n,
        "pairs": _pairs(said, student),
        "overlap": {"k": counts, "share": [top_overlap(said, student, k / n, k) for k in counts]},
        "apart": _apart(x, said, student, network, spec, id, shown),
    }


def _pairs(said: Floats, student: Floats) -> dict[str, Any]:
    """Choose rows by both scores, and return these."""
    n = len(said)
    count = min(n, max(TOP_FEWEST, round(TOP * n)), TOP_MOST)
    strangest = {
        who: np.argsort(-score, kind="stable")[:count] for who, score in (("teacher", said), ("student", student))
    }
    top, order = np.union1d(*strangest.values()), np.argsort(said, kind="stable")
    others = order[~np.isin(order, top)]
    room = PAIRS - len(top)
    if len(others) > room:
        others = others[np.linspace(0, len(others) - 1, room).round().astype(int)]
    kept = order[np.isin(order, np.concatenate([top, others]))]
    return {
        "teacher": said[kept].round(DIGITS).tolist(),
        "student": student[kept].round(DIGITS).tolist(),
        "strangest": {who: np.flatnonzero(np.isin(kept, rows)).tolist() for who, rows in strangest.items()},
    }


def _apart(
    x: Floats, said: Floats, student: Floats, network: Network, spec: TableSpec, id: Sequence[Any], shown: int
) -> list[dict[str, Any]]:
    """Return the rows on whose rank teacher and student differ most, and what is unusual of them."""
    first, second, features = ranks(said) / len(x), ranks(student) / len(x), network.features
    rows = []
    for i in np.argsort(-np.abs(first - second), kind="stable")[:shown].tolist():
        with np.errstate(over="ignore"):
            spreads = np.nan_to_num((x[i, features.number] - features.centre) / features.scale)
        spreads = np.clip(spreads, -REACH, REACH)
        places = [k for k in np.argsort(-np.abs(spreads), kind="stable")[:UNUSUAL].tolist() if spreads[k]]
        unusual = [
            {
                "column": spec.names[features.number[k]],
                "value": float(x[i, features.number[k]]),
                "spreads": round(float(spreads[k]), DIGITS),
            }
            for k in places
        ]
        rows.append(
            {
                "id": "" if id[i] is None else str(id[i]),
                "teacher": round(float(said[i]), DIGITS),
                "student": round(float(student[i]), DIGITS),
                "teacher_rank": round(float(first[i]), DIGITS),
                "student_rank": round(float(second[i]), DIGITS),
                "unusual": unusual,
            }
        )
    return rows


def costs(x: Floats, network: Network, teacher: Teacher | None, size: int | None) -> dict[str, Any]:
    """Measure how large and how quick both are; no two runs say exactly the same.

    Parameters
    ----------
    x : ndarray of float64, shape (n, d)
        Raw rows; the first one, and the first 1,024, are scored in turn by both.
    network : Network
        The student, as it scores in numpy.
    teacher : callable, or None
        Scores any rows; None where it can no longer be asked: nothing is timed then.
    size : int or None
        Bytes of the teacher; None where nobody knows.

    Returns
    -------
    dict
        ``weights`` of the student; ``bytes`` of both; ``seconds``, a list: ``rows``, ``turns``, and the medians of
        ``teacher`` and ``student``. A teacher that takes longer than 0.2 s is asked once.
    """
    sizes = [] if teacher is None else [1, min(BATCH, len(x))]
    return {
        "weights": network.size,
        "bytes": {"student": 4 * network.size, "teacher": size},
        "seconds": [_timed(x[:rows], teacher, network) for rows in sizes if teacher is not None],
    }


def _timed(x: Floats, teacher: Teacher, student: Callable[[Floats], Any]) -> dict[str, Any]:
    """Let both score the same rows in turn."""
    student(x[:1])  # what is made once is made now
    taken: list[list[float]] = []
    while not taken or (len(taken) < TURNS and np.sum(taken) < SECONDS):
        taken.append([_seconds(score, x) for score in (teacher, student)])
    medians = np.median(taken, axis=0).tolist()
    return {"rows": len(x), "turns": len(taken), "teacher": medians[0], "student": medians[1]}


def _seconds(score: Callable[[Floats], Any], x: Floats) -> float:
    start = time.perf_counter()
    score(x)
    return time.perf_counter() - start


class _Counter:
    """A file that keeps nothing but its length."""

    def __init__(self) -> None:
        self.bytes = 0

    def write(self, data: bytes | pickle.PickleBuffer) -> int:
        """Count; large arrays come as they lie in memory."""
        size = memoryview(data).nbytes
        self.bytes += size
        return size


def pickled_bytes(detector: Any) -> int | None:
    """Return how many bytes a fitted detector takes as a pickle, or None where it cannot be one.

    A function has no size of its own: its pickle would be its name.

    Examples
    --------
    >>> pickled_bytes(np.zeros(10**5)) > 8e5, pickled_bytes(len), pickled_bytes(iter(lambda: 0, 1))
    (True, None, None)
    """
    if inspect.isroutine(detector):
        return None
    counter = _Counter()
    try:
        pickle.dump(detector, counter, pickle.HIGHEST_PROTOCOL)
    except Exception:  # whatever somebody's own class raises: what cannot be measured is not known
        return None
    return counter.bytes
