"""A package with fewer bits: smaller, on many processors faster, and refused if it finds less than before."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limbeck import metrics
from limbeck.calibrate import Calibrator
from limbeck.contracts import OnStep, Scorer, Step, ignore
from limbeck.data.defects import damage
from limbeck.data.images import PictureItems, evenly
from limbeck.data.layouts import find_pictures
from limbeck.data.picture_arrays import ArrayItems
from limbeck.detector import Detector
from limbeck.errors import ConfigError, InputError, ParityError
from limbeck.evaluate import evaluate
from limbeck.fidelity import spearman
from limbeck.picture_spec import PictureSpec
from limbeck.quantise import PRECISIONS, with_fewer_bits
from limbeck.runtime import scorer_for

__all__ = ["MAX_DROP", "export"]

MAX_DROP = 0.5  # points of AUROC
ENGINES = {"onnx": "onnxruntime", "openvino": "OpenVINO"}
FEWEST, MOST = 10, 50  # pictures to calibrate on at least, and to learn ranges from at most, good and damaged
ENOUGH = 1000  # pictures for threshold and gate, evenly from all that are given: they are held in memory
AT_ONCE = 16
Scored = NDArray[np.float32]


def export(
    detector: Detector,
    precision: str,
    calibration: Any,
    *,
    runtime: str = "onnx",
    test: Any = None,
    max_drop: float = MAX_DROP,
    seed: int = 0,
    on_step: OnStep = ignore,
) -> Detector:
    """Return a detector of pictures in another precision, with a threshold of its own.

    Weights and features of the networks get fewer bits; differences, maps and scores stay in float32. The range of each
    feature is taken from good pictures and from the same ones with drawn defects: from good ones alone, what is strange
    would be cut off. The threshold is set anew, by the new scores of good pictures: best of some that the detector did
    not learn from.

    Parameters
    ----------
    detector : Detector
        Of pictures; it is left as it is.
    precision : str
        "int8", "fp16", or "fp32": the threshold alone is new.
    calibration : path, list or array
        Good pictures, at least ten, as for `limbeck.fit`; of more than a thousand some, evenly.
    runtime : str
        What the package is to run on: "onnx", or "openvino" for processors of Intel's kind, of the extra `openvino`.
        With eight bits each rounds in its own way, so the threshold belongs to one.
    test : path or list, optional
        Labelled pictures that tell how much is lost. Default: the good ones, and the same with drawn defects.
    max_drop : float
        Points of AUROC, in percent, that may be lost on them, at least 0.
    seed : int
        Of the drawn defects; those that tell how much is lost are others than those of the ranges.
    on_step : callable
        Called with a `Step` as the work goes on.

    Returns
    -------
    Detector
        Its card and `training["export"]` say what was measured.

    Raises
    ------
    InputError
        If it judges rows or has fewer bits already, or there are too few pictures.
    ConfigError
        If there is no such precision, or a number is out of its range.
    ParityError
        If more is lost.
    MissingExtraError
        If onnx, of the extra `report`, or the runtime is not installed.

    Examples
    --------
    >>> import limbeck
    >>> from limbeck.export import export
    >>> small = export(limbeck.load("parts.limbeck"), "int8", "parts/train/good")  # doctest: +SKIP
    >>> small.save("parts-int8.limbeck")  # doctest: +SKIP
    """
    if precision not in PRECISIONS:
        raise ConfigError("there is no such precision", expected="one of " + ", ".join(PRECISIONS), got=repr(precision))
    if runtime not in ENGINES:
        raise ConfigError(
            "there is no such runtime for pictures", expected="one of " + ", ".join(ENGINES), got=repr(runtime)
        )
    if not max_drop >= 0:
        raise ConfigError("max_drop is out of its range", expected="points, 0 or more", got=repr(max_drop))
    if not isinstance(detector.spec, PictureSpec):
        raise InputError(
            "fewer bits are for pictures",
            expected="a detector of pictures",
            got="one of rows, whose network takes some kilobytes",
            fix="use it as it is",
        )
    if (done := detector.artefact.training.get("export", {}).get("precision", "fp32")) != "fp32":
        raise InputError(
            "this package has fewer bits already", expected="one with all of its bits", got=done,
            fix="export the package that it was made of",
        )  # fmt: skip
    pictures = _pictures(detector, calibration)
    on_step(Step("converting", 0, 1))
    damaged, _ = damage(pictures, seed)
    ranges = np.concatenate([pictures[:MOST], damaged[:MOST]])
    graph = with_fewer_bits(detector.artefact.onnx, precision, ranges)
    artefact = dataclasses.replace(detector.artefact, onnx=graph)
    scorer = scorer_for(artefact, runtime)
    on_step(Step("converting", 1, 1))
    on_step(Step("comparing", 0, 2))
    before, after = _scores(detector.scorer, pictures), _scores(scorer, pictures)
    calibrator = Calibrator.fit(after, np.zeros(len(after), np.int8))
    alpha, raised = calibrator.promise(detector.alpha, "normals")
    on_step(Step("comparing", 1, 2))
    small = Detector(artefact, scorer, calibrator, alpha, detector.card)
    lost = _of_drawn(detector, small, pictures, seed + 1) if test is None else _of_labelled(detector, small, test)
    on_step(Step("comparing", 2, 2))
    if lost.points > max_drop:
        raise ParityError(
            f"{precision} loses too much",
            expected=f"at most {max_drop:g} points of AUROC lost on {lost.on}",
            got=f"{lost.points:.2f}: {lost.before:.4f}, then {lost.after:.4f}",
            fix="allow more (--max-drop), or stay with more bits",
        )
    return _described(small, detector, precision, runtime, lost, max_drop, spearman(before, after), raised)


@dataclass(frozen=True)
class _Lost:
    """AUROC before and after."""

    before: float
    after: float
    on: str

    @property
    def points(self) -> float:
        return 100 * (self.before - self.after)


def _pictures(detector: Detector, good: Any) -> NDArray[np.uint8]:
    """Return good pictures at the model's size, no more than are enough."""
    spec = detector.spec
    assert isinstance(spec, PictureSpec)
    if isinstance(good, np.ndarray):
        items: PictureItems | ArrayItems = ArrayItems(spec, good)
    else:
        items = PictureItems(spec, find_pictures(good).training())
    if len(items) < FEWEST:
        raise InputError("too few good pictures", expected=f"at least {FEWEST}", got=str(len(items)))
    return evenly(items, ENOUGH)


def _scores(scorer: Scorer, pictures: NDArray[np.uint8]) -> Scored:
    parts = [scorer(pictures[i : i + AT_ONCE]).score for i in range(0, len(pictures), AT_ONCE)]
    return np.concatenate(parts)


def _of_labelled(before: Detector, after: Detector, test: Any) -> _Lost:
    """Compare on labelled pictures."""
    was, now = (float(evaluate(d, test, masks=False).metrics["auroc"]) for d in (before, after))
    return _Lost(was, now, "labelled pictures")


def _of_drawn(before: Detector, after: Detector, pictures: NDArray[np.uint8], seed: int) -> _Lost:
    """Compare on good pictures, and on the same ones with a drawn defect each, others than those of the ranges."""
    damaged, _ = damage(pictures, seed)
    if not len(damaged):
        raise InputError(
            "no defect can be seen on these pictures", expected="pictures of a texture",
            fix="give labelled ones to compare on (--test)",
        )  # fmt: skip
    label = np.repeat([0, 1], (len(pictures), len(damaged)))
    both = np.concatenate([pictures, damaged])
    was, now = (metrics.auroc(label, _scores(d.scorer, both)) for d in (before, after))
    return _Lost(was, now, f"{len(damaged)} good pictures with a drawn defect")


def _described(
    small: Detector,
    detector: Detector,
    precision: str,
    runtime: str,
    lost: _Lost,
    most: float,
    ranks: float,
    raised: list[str],
) -> Detector:
    """Write down what was done."""
    sizes = len(detector.artefact.onnx), len(small.artefact.onnx)
    facts = {
        "precision": precision,
        "runtime": runtime,
        "auroc": {"before": lost.before, "after": lost.after, "on": lost.on},
        "max_drop": most,
        "spearman": ranks,
        "bytes": {"before": sizes[0], "after": sizes[1]},
    }
    note = (
        f"{precision}, for {ENGINES[runtime]}: {sizes[1] / sizes[0]:.0%} of the size; AUROC {lost.before:.4f}, then "
        f"{lost.after:.4f} on {lost.on} (at most {most:g} points may be lost); rank correlation of good pictures' "
        f"scores {ranks:.3f}; the threshold is that of the pictures given for it"
    )
    artefact = dataclasses.replace(small.artefact, training=detector.artefact.training | {"export": facts})
    card = dataclasses.replace(
        detector.card,
        n_calibration_normal=int(small.calibrator.normals.size),
        alpha=small.alpha,
        threshold=small.calibrator.threshold(small.alpha),
        notes=(*detector.card.notes, note, *raised),
    )
    return dataclasses.replace(small, artefact=artefact, card=card)
