"""What a compact student of detectors of pictures learns from: their scorers, and good pictures of their size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from limbeck.contracts import Distiller, OnStep, Step
from limbeck.detector import Detector
from limbeck.errors import ConfigError, InputError
from limbeck.fitting.configuring import configure
from limbeck.fitting.pictures import prepare_pictures
from limbeck.fitting.prepared import Prepared
from limbeck.picture_spec import PictureSpec

__all__ = ["COMPACT", "prepare_compact"]

COMPACT = "compact"


def prepare_compact(
    teacher: Any, source: Any, config: Any, *, normal: str | None, on_corrupt: str, seed: int, on_step: OnStep
) -> tuple[Prepared, Distiller, Any]:
    """Return good pictures, what learns from them, and its configuration; the pictures' size is the detectors'."""
    from limbeck.image.compact import Compact

    detectors = list(teacher) if isinstance(teacher, (list, tuple)) else [teacher]
    spec = _spec_of(detectors)
    chosen = configure(
        COMPACT, {"size": spec.height} | dict(config or {}) if config is None or isinstance(config, Mapping) else config
    )
    if chosen.size != spec.height:
        raise ConfigError(
            "the student takes pictures of the detectors' size",
            expected=f"size={spec.height}",
            got=str(chosen.size),
            fix="leave size out",
        )
    on_step(Step("reading", 0, 1))
    prepared = prepare_pictures(source, size=spec.height, normal=normal, on_corrupt=on_corrupt, seed=seed)
    if prepared.learn.spec != spec:
        raise InputError(
            "these are not the pictures that the detectors take",
            expected=_said(spec),
            got=_said(prepared.learn.spec),
            fix="give pictures of the kind that they were fitted on",
        )
    on_step(Step("reading", 1, 1))
    names = ", ".join(dict.fromkeys(d.card.method for d in detectors))
    prepared.notes.append(f"distilled from {len(detectors)} detector{'s' * (len(detectors) > 1)}: {names}")
    return prepared, Compact(chosen, [d.scorer for d in detectors]), chosen


def _spec_of(detectors: Sequence[Any]) -> PictureSpec:
    """Return what all detectors take, square pictures of one kind, or refuse them."""
    for detector in detectors:
        if not (isinstance(detector, Detector) and isinstance(detector.spec, PictureSpec)):
            raise InputError(
                "pictures are distilled from detectors of pictures",
                expected="a Detector that limbeck.fit made of pictures, or a list of them",
                got="a detector of rows" if isinstance(detector, Detector) else repr(detector)[:80],
                fix="check the package's path; in Python, limbeck.load it first",
            )
    specs = list(dict.fromkeys(d.spec for d in detectors))
    if len(specs) != 1 or specs[0].height != specs[0].width:
        raise InputError(
            "the detectors do not take pictures of one size",
            expected="square pictures, the same for all of them",
            got=", ".join(map(_said, specs)) or "no detector",
            fix="fit them with the same size",
        )
    only: PictureSpec = specs[0]
    return only


def _said(spec: Any) -> str:
    return f"{spec.height} x {spec.width}, {spec.maximum.bit_length()} bits"
