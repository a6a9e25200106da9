"""What surrounds the work of every command that makes a package."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from limbeck.errors import LimbeckWarning
from limbeck.terminal import kinds, print_candidates, print_following, progress

if TYPE_CHECKING:
    from limbeck.detector import Detector

__all__ = ["Settings", "make", "operations", "settings"]

UNITS = {"M": 1e6, "G": 1e9}

Settings = Annotated[list[str] | None, Parameter(name="--set", negative_iterable=())]


def settings(config: Path | None, set_: list[str] | None) -> dict[str, Any]:
    """Return the configuration fields of a TOML file, and over them those of FIELD=VALUE."""
    from limbeck.config import parse_assignment, read_toml

    return (read_toml(config) if config else {}) | dict(map(parse_assignment, set_ or []))


def operations(text: str) -> float:
    """Read a number of operations: 0.3G, 300M, or 3e8."""
    from limbeck.errors import ConfigError

    unit = UNITS.get(text[-1:].upper(), 1.0)
    try:
        count = float(text[:-1] if unit > 1 else text) * unit
    except ValueError:
        count = 0.0
    if not 0 < count < float("inf"):
        raise ConfigError("this is no number of operations", expected="a number with M or G behind it", got=text,
                          fix="--budget 0.3G")  # fmt: skip
    return count


def make(out: Path, run: Callable[..., Detector], *, overwrite: bool) -> None:
    """Write the package of what `run`, called with `on_step`, learns, and say what was made."""
    from limbeck.outputs import refuse_existing
    from limbeck.package import is_package

    refuse_existing(out, overwrite, is_package)
    with warnings.catch_warnings(record=True) as caught, progress() as on_step:
        detector = run(on_step=on_step)
        detector.save(out, overwrite=overwrite)
    card = detector.card
    print_candidates(detector)
    for note in dict.fromkeys([*card.notes, *(str(w.message) for w in caught if w.category is LimbeckWarning)]):
        print(f"note: {note}", file=sys.stderr)
    print(f"takes     {kinds(detector)}")
    print(
        f"threshold {card.threshold:.4f} for a false-alarm rate of {card.alpha:g} "
        f"({card.n_calibration_normal:,} {detector.calibration_items})"
    )
    print_following(detector)
    print(f"package   {out}")
