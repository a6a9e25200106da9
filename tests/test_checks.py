"""The battery on detectors of pictures: it passes on a real one, and each check refuses one that breaks its rule."""

import dataclasses

import numpy as np
import pytest

from limbeck.checks import CHECKS, PICTURE_CHECKS, check_detector
from limbeck.data.layouts import find_pictures
from limbeck.detector import Detector
from limbeck.errors import InputError


@pytest.fixture(scope="module")
def x(picture_detector, parts):
    """Eight prepared pictures, made coloured."""
    paths = [p.path for p in find_pictures(parts / "test").pictures][:8]
    pictures = picture_detector.pictures(paths).copy()
    pictures[..., 1] //= 2
    return pictures


@pytest.fixture(scope="module")
def deep(picture_detector):
    """The same detector as if it had been fitted on pictures of 12 bits."""
    spec = dataclasses.replace(picture_detector.spec, maximum=4095)
    artefact = dataclasses.replace(picture_detector.artefact, spec=spec)
    scorer = dataclasses.replace(picture_detector.scorer, spec=spec)
    return dataclasses.replace(picture_detector, artefact=artefact, scorer=scorer)


def test_the_battery_passes(picture_detector, x):
    kept = x.copy()
    check_detector(picture_detector, x)
    np.testing.assert_array_equal(x, kept)


def test_the_battery_passes_on_more_bits(deep, x):
    check_detector(deep, x)


class Wrapped:
    """A scorer whose scores are changed on their way out."""

    def __init__(self, scorer, change):
        self.scorer, self.spec, self.change = scorer, scorer.spec, change

    def __call__(self, x):
        scores = self.scorer(x)
        return dataclasses.replace(scores, **self.change(x, scores))


def with_scorer(detector, change):
    return dataclasses.replace(detector, scorer=Wrapped(detector.scorer, change))


def with_method(detector, name, method):
    """Return a detector of which one method is another; it is given what the right one is."""
    right = getattr(Detector, name)
    kind = type("Careless", (Detector,), {name: lambda self, x: method(self, x, lambda given: right(self, given))})
    return kind(**{f.name: getattr(detector, f.name) for f in dataclasses.fields(detector)})


def changed(**values):
    """Change fields of what `judge` says."""
    return lambda self, x, right: dataclasses.replace(right(x), **{k: v(right(x)) for k, v in values.items()})


def rising(verdicts):
    """Return p-values that rise with the scores, all above alpha."""
    return 0.5 + verdicts.score.argsort().argsort() / 100


class Forgetful:
    """A calibrator as the right one, until it is saved."""

    def __init__(self, right):
        self.right = right

    def __getattr__(self, name):
        return getattr(self.right, name)

    def p_value(self, score):
        return self.right.p_value(score) / 2


def far_from_zero(x, scores):
    return {"score": np.where(x.max((1, 2, 3)) == 0, np.float32(9), scores.score)}


def spoil(self, x, right):
    said = right(x)
    if isinstance(x, np.ndarray):
        x[...] = 7
    return said


def lenient(self, x, right):
    """Take whatever comes for some picture."""
    try:
        return right(x)
    except InputError:
        return right(np.zeros((64, 64), np.uint8 if self.spec.maximum == 255 else np.uint16))


def guess(self, x, right):
    """Take floats in [0, 1], as so many programs do."""
    floats = isinstance(x, np.ndarray) and x.dtype == np.float32
    return right((x * 255).astype(np.uint8) if floats else x)


def saturate(self, x, right):
    return right(np.minimum(x, 4095) if isinstance(x, np.ndarray) and x.dtype == np.uint16 else x)


def narrow(self, x, right):
    """Take 16 bits for 8."""
    return right((x >> 8).astype(np.uint8) if isinstance(x, np.ndarray) and x.dtype == np.uint16 else x)


def with_alpha(self, x, right):
    """Premultiply by alpha."""
    if isinstance(x, np.ndarray) and x.ndim == 4 and x.shape[3] == 4:
        x = (x[..., :3] * (x[..., 3:] / 255)).astype(np.uint8)
    return right(x)


def no_grey(self, x, right):
    """Take grey for red."""
    if isinstance(x, np.ndarray) and x.ndim == 3 and x.shape[2] > 4:
        x = np.stack([x, 0 * x, 0 * x], 3)
    return right(x)


def cropped(self, x, right):
    """Take the corner instead of resizing."""
    return right([p[:64, :64] for p in x] if isinstance(x, list) else x)


def twice(self, x, right):
    return right(np.stack([x, x]) if isinstance(x, np.ndarray) and x.ndim == 3 and x.shape[2] == 3 else x)


BROKEN = [
    ("verdicts_are_well_formed", "judge", changed(score=lambda v: v.score.astype(np.float64))),
    ("verdicts_are_well_formed", "judge", changed(p_value=lambda v: v.p_value - 1)),
    ("verdicts_are_well_formed", "judge", changed(probability=lambda v: v.p_value + 1)),
    ("verdicts_are_well_formed", "judge", changed(map=lambda v: None)),
    ("verdicts_are_well_formed", "judge", changed(map=lambda v: v.map.astype(np.float64))),
    ("verdicts_are_well_formed", "judge", changed(map=lambda v: v.map[:, :-1])),
    ("verdicts_are_well_formed", "judge", changed(map=lambda v: v.map * np.float32(np.nan))),
    ("verdicts_agree", "judge", changed(is_anomaly=lambda v: ~v.is_anomaly)),
    ("verdicts_agree", "judge", changed(p_value=lambda v: v.p_value[::-1] + np.arange(len(v.p_value)))),
    ("verdicts_agree", "judge", changed(p_value=rising, is_anomaly=lambda v: rising(v) < 0)),
    ("batch_does_not_matter", "scorer", lambda x, s: {"score": s.score + np.float32(1e-3 * len(x))}),
    ("batch_does_not_matter", "scorer", lambda x, s: {"score": s.score - s.score.mean()}),
    ("batch_does_not_matter", "scorer", lambda x, s: {"map": s.map / s.map.max()}),
    ("batch_does_not_matter", "scorer", lambda x, s: {"map": s.map + np.float32(np.nan)}),
    ("runtimes_agree", "scorer", far_from_zero),
    ("runtimes_agree", "scorer", lambda x, s: {"map": s.map + np.float32(1e-3)}),
    ("package_repeats_it", "scorer", lambda x, s: {"score": s.score + np.float32(1e-3)}),
    ("package_repeats_it", "scorer", lambda x, s: {"map": s.map + np.float32(1e-3)}),
    ("package_repeats_it", "calibrator", Forgetful),
    ("input_is_left_alone", "detect", spoil),
    ("one_picture_is_one", "detect", twice),
    ("one_picture_is_one", "detect", changed(map=lambda v: v.map / v.map.max())),
    ("grey_and_alpha_are_taken", "detect", with_alpha),
    ("grey_and_alpha_are_taken", "detect", no_grey),
    ("any_size_is_judged", "detect", cropped),
    ("wrong_shapes_are_refused", "detect", lenient),
    ("wrong_types_are_refused", "detect", lenient),
    ("wrong_types_are_refused", "detect", guess),
    ("the_range_is_that_of_the_fit", "detect", narrow),
    ("the_range_is_that_of_the_fit", "deep", saturate),
]


@pytest.mark.parametrize(("name", "where", "fault"), BROKEN)
def test_the_battery_can_fail(picture_detector, deep, x, name, where, fault):
    if where == "scorer":
        broken = with_scorer(picture_detector, fault)
    elif where == "calibrator":
        broken = dataclasses.replace(picture_detector, calibrator=fault(picture_detector.calibrator))
    elif where == "deep":
        broken = with_method(deep, "detect", fault)
    else:
        broken = with_method(picture_detector, where, fault)
    with pytest.raises(AssertionError):
        PICTURE_CHECKS[name](broken, x.copy())


def test_what_is_wrapped_but_not_broken_passes(picture_detector, x):
    untouched = with_method(with_scorer(picture_detector, lambda x, s: {}), "detect", lambda self, x, right: right(x))
    check_detector(untouched, x)


def test_what_a_footing_multiplies_may_be_further_apart(picture_detector, x):
    def with_slopes(*slopes):
        training = {**picture_detector.artefact.training, "footing": {"slope": slopes, "shift": [0.0] * len(slopes)}}
        artefact = dataclasses.replace(picture_detector.artefact, training=training)
        loose = with_scorer(picture_detector, lambda x, s: {"score": s.score + np.float32(1e-4) * (len(x) > 1)})
        return dataclasses.replace(loose, artefact=artefact)

    check = PICTURE_CHECKS["batch_does_not_matter"]
    check(with_slopes(20.0, 0.0, 60.0), x)
    for slopes in ([], [1.0, 2.0]):
        with pytest.raises(AssertionError, match="largest difference"):
            check(with_slopes(*slopes), x)


def test_every_check_can_fail():
    assert {name for name, *_ in BROKEN} == set(PICTURE_CHECKS)


def test_a_broken_rule_is_named(picture_detector, x):
    broken = with_method(picture_detector, "detect", guess)
    with pytest.raises(AssertionError, match=r"wrong_types_are_refused: .*range is never guessed.*float32 in \[0, 1\]"):
        check_detector(broken, x)
    check_detector(broken, x, skip={"wrong_types_are_refused": "it is meant to guess"})


def test_skip_names_a_check_of_the_same_kind(picture_detector, x):
    assert "missing_values_are_judged" in CHECKS and "missing_values_are_judged" not in PICTURE_CHECKS
    with pytest.raises(ValueError, match="name of a check"):
        check_detector(picture_detector, x, skip={"missing_values_are_judged": "pictures have none"})
