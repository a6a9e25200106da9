"""What detectors of pictures alone must pass; `limbeck.checks` has the rest of the battery, and runs both.

Each check takes a detector and pictures as `Detector.pictures` makes them, uint8 (n, h, w, 3) of the model's size.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from limbeck.contracts import Verdicts
from limbeck.detector import Detector
from limbeck.errors import InputError, MissingExtraError
from limbeck.runtime import made_for, runtimes_for, scorer_for
from limbeck.spec import for_pictures

__all__ = ["ONLY_PICTURES"]

ENGINES = 1e-4  # of a score or a map on two engines, of its own size or of the range of all

Pictures = NDArray[np.uint8]


def _as_at_fit(detector: Detector, x: Pictures) -> NDArray[Any]:
    """Return pictures of the depth of those at fit, which the model takes for `x`."""
    maximum = for_pictures(detector.spec).maximum
    return x.copy() if maximum == 255 else np.rint(x * (maximum / 255)).astype(np.uint16)


def _same(said: Verdicts, wanted: Verdicts) -> None:
    np.testing.assert_array_equal(said.score, wanted.score)
    np.testing.assert_array_equal(said.map, wanted.map)


def _refused(detector: Detector, x: Any, what: str) -> None:
    try:
        detector.detect(x)
    except InputError:
        return
    raise AssertionError(f"{what} was accepted")


def runtimes_agree(detector: Detector, x: Pictures) -> None:
    """Every runtime that is installed says the same, of black, white and noise too.

    Exactly, where it is the one that the package was made for; another one rounds where it likes, which shows in the
    last digits, or where features have eight bits, in all of them.
    """
    noise = np.random.default_rng(0).integers(0, 256, x[:1].shape, np.uint8)
    far = np.concatenate([x[:5], np.zeros_like(noise), np.full_like(noise, 255), noise])
    wanted = detector.scorer(far)
    own, few = made_for(detector.artefact), detector.artefact.training.get("export", {}).get("precision") == "int8"
    for runtime in runtimes_for(detector.spec):
        try:
            said = scorer_for(detector.artefact, runtime)(far)
        except MissingExtraError:
            continue
        exactly = runtime in ("auto", own)
        if few and not exactly:
            continue
        for one, other in ((said.score, wanted.score), (said.map, wanted.map)):
            assert one is not None and other is not None
            if exactly:
                np.testing.assert_array_equal(one, other)
            else:
                np.testing.assert_allclose(one, other, rtol=ENGINES, atol=ENGINES * max(1.0, float(np.ptp(other))))


def input_is_left_alone(detector: Detector, x: Pictures) -> None:
    """Judging changes no picture."""
    given = _as_at_fit(detector, x)
    kept = given.copy()
    detector.detect(given)
    np.testing.assert_array_equal(given, kept)


def one_picture_is_one(detector: Detector, x: Pictures) -> None:
    """One picture, shape (h, w, 3), gives n = 1 and the same verdict."""
    _same(detector.detect(_as_at_fit(detector, x[0])), detector.judge(x[:1]))


def grey_and_alpha_are_taken(detector: Detector, x: Pictures) -> None:
    """Grey is judged as three equal channels, with a last axis of 1 or without; alpha makes no difference."""
    given = _as_at_fit(detector, x)
    alpha = np.random.default_rng(0).permutation(given[..., :1].ravel()).reshape(*given.shape[:3], 1)
    _same(detector.detect(np.concatenate([given, alpha], 3)), detector.judge(x))
    grey = np.repeat(x[..., :1], 3, axis=3)
    for form in (given[..., 0], given[..., :1]):
        _same(detector.detect(form), detector.judge(grey))


def any_size_is_judged(detector: Detector, x: Pictures) -> None:
    """Pictures of other sizes are resized as the spec says, each for itself in a list; maps keep the model's size."""
    given = _as_at_fit(detector, x[:3])
    spec = for_pictures(detector.spec)
    mixed = [given[0].repeat(2, 0), given[1][: spec.height - 1, 1:], given[2]]
    wanted = np.stack([spec.prepare(picture) for picture in mixed])
    _same(detector.detect(mixed), detector.judge(wanted))
    _same(detector.detect(mixed[0]), detector.judge(wanted[:1]))


def wrong_shapes_are_refused(detector: Detector, x: Pictures) -> None:
    """Shapes that pictures do not have are an error: channels first, two channels, a row, a table, no pixels."""
    given = _as_at_fit(detector, x)
    wrong = {
        "channels first": given.transpose(0, 3, 1, 2),
        "two channels": given[..., :2],
        "five axes": given[None],
        "a row": given[0, 0, 0],
        "a picture without pixels": given[:1, :0],
        "a table": {"a": [1.0, 2.0]},
    }
    for what, array in wrong.items():
        _refused(detector, array, what)


def wrong_types_are_refused(detector: Detector, x: Pictures) -> None:
    """Floats, signed integers and truth values are an error: their range is never guessed."""
    given = _as_at_fit(detector, x[:1])
    _refused(detector, (given / given.max()).astype(np.float32), "float32 in [0, 1]")
    for kind in (np.float64, np.int16, np.int64, np.uint32, np.bool_):
        _refused(detector, given.astype(kind), np.dtype(kind).name)


def the_range_is_that_of_the_fit(detector: Detector, x: Pictures) -> None:
    """Pictures of as many bits as at fit are judged by the range fixed then; others, or brighter ones, are an error."""
    given = _as_at_fit(detector, x)
    _same(detector.detect(given), detector.judge(x))
    maximum = for_pictures(detector.spec).maximum
    _refused(detector, given.astype(np.uint16 if maximum == 255 else np.uint8), "another depth")
    if 255 < maximum < 65535:
        given[0, 0, 0, 0] = maximum + 1
        _refused(detector, given, f"a value above {maximum}")


ONLY_PICTURES = (
    runtimes_agree,
    input_is_left_alone,
    one_picture_is_one,
    grey_and_alpha_are_taken,
    any_size_is_judged,
    wrong_shapes_are_refused,
    wrong_types_are_refused,
    the_range_is_that_of_the_fit,
)
