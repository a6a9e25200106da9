"""The public battery: what everything that the public API makes must pass. Write a detector's own tests with it.

Each check is a function whose docstring is the rule; it raises `AssertionError` with the numbers where the rule is
broken. An exemption is a name in `skip` with its reason. `CHECKS` are for detectors of rows, `PICTURE_CHECKS` for those
of pictures.

>>> from limbeck.checks import CHECKS, PICTURE_CHECKS
>>> sorted(CHECKS)[:3]
['batch_does_not_matter', 'infinite_values_are_refused', 'input_is_left_alone']
>>> sorted(set(PICTURE_CHECKS) - set(CHECKS))[:3]
['any_size_is_judged', 'grey_and_alpha_are_taken', 'one_picture_is_one']
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limbeck.checks_pictures import ONLY_PICTURES
from limbeck.contracts import Items, Verdicts
from limbeck.detector import Detector
from limbeck.errors import ConfigError, InputError, MissingExtraError
from limbeck.network import Network, float32_tolerance
from limbeck.picture_spec import PictureSpec
from limbeck.runtime import runtimes_for, scorer_for
from limbeck.spec import for_tables
from limbeck.table_spec import TableSpec

__all__ = [
    "BATCH_TOLERANCE",
    "CHECKS",
    "PICTURE_CHECKS",
    "PICTURE_TOLERANCE",
    "RUNTIME_TOLERANCE",
    "check_detector",
    "check_items",
]

Rows = NDArray[np.float64]
Check = Callable[[Detector, NDArray[Any]], None]
BATCH_TOLERANCE = 1e-6  # of a row's score alone and in a batch, relative where it exceeds 1
PICTURE_TOLERANCE = 1e-5  # of a picture's score and map; times what its scales are multiplied by: `_tolerance`
RUNTIME_TOLERANCE = 1e-5  # of a row's score on two runtimes, relative where it exceeds 1; see `float32_tolerance`


def check_detector(detector: Detector, x: NDArray[Any], *, skip: Mapping[str, str] | None = None) -> None:
    """Run every check on a detector: `CHECKS` on one of rows, `PICTURE_CHECKS` on one of pictures.

    Parameters
    ----------
    detector : Detector
        Fitted.
    x : ndarray of float64, shape (n, d), or of uint8, shape (n, h, w, 3), n >= 8
        Rows as `Detector.rows` makes them, or pictures as `Detector.pictures` makes them; real ones best.
    skip : mapping of str to str
        Names of checks that do not apply, each with its reason.

    Raises
    ------
    AssertionError
        If a rule is broken; the check's name and the numbers are in the message.
    ValueError
        If `skip` names no check, or gives no reason.
    """
    skip = skip or {}
    checks = PICTURE_CHECKS if isinstance(detector.spec, PictureSpec) else CHECKS
    for name, reason in skip.items():
        if name not in checks or not reason:
            raise ValueError(f"skip needs the name of a check and a reason, got {name!r}: {reason!r}")
    for name, check in checks.items():
        if name not in skip:
            try:
                check(detector, x.copy())
            except AssertionError as error:
                raise AssertionError(f"{name}: {check.__doc__} ({error})") from error


def check_items(items: Items) -> None:
    """Check the contract of items: order, sizes, types and labels.

    Parameters
    ----------
    items : Items
        At least two.

    Raises
    ------
    AssertionError
        If a rule is broken.
    """
    whole = list(items.batches(len(items)))
    assert len(whole) == 1 and len(whole[0].x) == len(items), "one batch of everything"
    parts = list(items.batches(2))
    assert all(len(b.x) <= 2 and len(b.x) == len(b.label) == len(b.id) for b in parts), "sizes agree"
    np.testing.assert_array_equal(np.concatenate([b.x for b in parts]), whole[0].x, "order does not depend on size")
    assert np.isin(whole[0].label, (-1, 0, 1)).all(), "labels are 0, 1 or -1"
    assert whole[0].x.dtype in (np.float64, np.uint8, np.uint16), "float64 rows or unsigned pixels"


def _close(a: NDArray[np.float32], b: NDArray[np.float32], tolerance: float) -> None:
    gap = np.abs(a.astype(np.float64) - b) / np.maximum(1.0, np.abs(a))
    assert float(gap.max(initial=0.0)) <= tolerance, f"largest difference {gap.max():.3g}, allowed {tolerance:g}"


def _tolerance(detector: Detector) -> float:
    """Return how far scores may be apart: a footing multiplies distances, and what they are rounded by."""
    if isinstance(detector.spec, TableSpec):
        return BATCH_TOLERANCE
    slopes: list[float] = detector.artefact.training.get("footing", {}).get("slope", [])
    return PICTURE_TOLERANCE * max(1.0, sum(slopes))


def _same(a: Verdicts, b: Verdicts) -> None:
    np.testing.assert_array_equal(a.score, b.score)
    np.testing.assert_array_equal(a.p_value, b.p_value)
    np.testing.assert_array_equal(a.is_anomaly, b.is_anomaly)
    np.testing.assert_array_equal(a.map, b.map)


def verdicts_are_well_formed(detector: Detector, x: NDArray[Any]) -> None:
    """Score float32, p-value in (0, 1], probability in [0, 1], one entry an item, all finite; a map for pictures."""
    v = detector.judge(x)
    n = len(x)
    assert v.score.shape == v.p_value.shape == v.is_anomaly.shape == (n,)
    assert v.score.dtype == np.float32 and v.is_anomaly.dtype == bool
    assert np.isfinite(v.score).all()
    assert ((v.p_value > 0) & (v.p_value <= 1)).all()
    if v.probability is not None:
        assert v.probability.shape == (n,) and ((v.probability >= 0) & (v.probability <= 1)).all()
    if isinstance(detector.spec, TableSpec):
        assert v.map is None
    else:
        assert v.map is not None and v.map.dtype == np.float32 and np.isfinite(v.map).all()
        assert v.map.shape == (n, detector.spec.height, detector.spec.width), f"maps have shape {v.map.shape}"


def verdicts_agree(detector: Detector, x: NDArray[Any]) -> None:
    """An item is anomalous exactly where its p-value is at most alpha; p-values fall as scores rise."""
    v = detector.judge(x)
    assert (v.is_anomaly == (v.p_value <= detector.alpha)).all()
    order = np.argsort(v.score)
    assert (np.diff(v.p_value[order]) <= 0).all()


def batch_does_not_matter(detector: Detector, x: NDArray[Any]) -> None:
    """A score, and a picture's map, is the same alone, in a batch, and whatever the items beside it."""
    tolerance = _tolerance(detector)
    alone = [detector.judge(item[None]) for item in x]
    forward, backward = detector.judge(x), detector.judge(x[::-1].copy())
    for i, one in enumerate(alone):
        for batch, place in ((forward, i), (backward, len(x) - 1 - i)):
            _close(one.score, batch.score[[place]], tolerance)
            if one.map is not None and batch.map is not None:
                _close(one.map, batch.map[[place]], tolerance)


def runtimes_agree(detector: Detector, x: Rows) -> None:
    """Every runtime that is installed gives the same scores, far from the data and with missing values too."""
    far = np.concatenate([x, x * 1e4, x + 1e9, -x, np.full_like(x[:1], np.nan)])
    wanted = scorer_for(detector.artefact, "numpy")(far).score
    tolerance = float32_tolerance(Network.from_tensors(detector.artefact.weights).features.width)
    for runtime in runtimes_for(detector.spec):
        try:
            scorer = scorer_for(detector.artefact, runtime)
        except (MissingExtraError, ConfigError):  # not installed, or it says itself that it cannot
            continue
        _close(wanted, scorer(far).score, tolerance)


def package_repeats_it(detector: Detector, x: NDArray[Any]) -> None:
    """Saved and loaded, it says exactly the same, and saves to the same bytes again."""
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder) / "a.limbeck", Path(folder) / "b.limbeck"
        detector.save(first)
        loaded = Detector.load(first)
        loaded.save(second)
        files = sorted(p.relative_to(first) for p in first.rglob("*") if p.is_file())
        assert files == sorted(p.relative_to(second) for p in second.rglob("*") if p.is_file())
        different = [f for f in files if (first / f).read_bytes() != (second / f).read_bytes()]
        assert not different, f"these files differ: {different}"
    _same(detector.judge(x), loaded.judge(x))


def input_is_left_alone(detector: Detector, x: Rows) -> None:
    """Judging does not change the rows."""
    kept = x.copy()
    detector.detect(x)
    np.testing.assert_array_equal(x, kept)


def missing_values_are_judged(detector: Detector, x: Rows) -> None:
    """A gap anywhere still gives a finite score."""
    rows = np.repeat(x[:1], x.shape[1], axis=0)
    np.fill_diagonal(rows, np.nan)
    assert np.isfinite(detector.detect(rows).score).all()


def infinite_values_are_refused(detector: Detector, x: Rows) -> None:
    """An infinite value is an error that names its column."""
    rows = x[:2].copy()
    rows[1, -1] = np.inf
    try:
        detector.detect(rows)
    except InputError as error:
        assert for_tables(detector.spec).names[-1] in str(error), f"the column is not named: {error}"
    else:
        raise AssertionError("it was accepted")


def wrong_width_is_refused(detector: Detector, x: Rows) -> None:
    """Rows with a column too many or too few are an error."""
    for rows in (x[:, :-1], np.hstack([x, x[:, :1]])):
        try:
            detector.detect(rows)
        except InputError:
            continue
        raise AssertionError(f"{rows.shape[1]} columns were accepted")


def one_row_is_one(detector: Detector, x: Rows) -> None:
    """A single row, shape (d,), gives n = 1 and the same verdict."""
    v = detector.detect(x[0])
    assert v.score.shape == (1,)
    _close(v.score, detector.judge(x[:1]).score, BATCH_TOLERANCE)


CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        verdicts_are_well_formed,
        verdicts_agree,
        batch_does_not_matter,
        runtimes_agree,
        package_repeats_it,
        input_is_left_alone,
        missing_values_are_judged,
        infinite_values_are_refused,
        wrong_width_is_refused,
        one_row_is_one,
    )
}
PICTURE_CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        verdicts_are_well_formed, verdicts_agree, batch_does_not_matter, package_repeats_it, *ONLY_PICTURES
    )
}  # fmt: skip
