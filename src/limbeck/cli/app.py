"""The application that commands are added to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from cyclopts import App, Parameter

import limbeck

if TYPE_CHECKING:
    from limbeck.detector import Detector

__all__ = ["AsJson", "app", "command", "load"]

Command = TypeVar("Command", bound=Callable[..., Any])
AsJson = Annotated[bool, Parameter(name="--json", negative=())]

app = App(
    name="limbeck",
    version=limbeck.__version__,
    help="Distil heavy anomaly detectors into one small calibrated model.",
    help_format="plaintext",  # importing the markdown renderer would cost 40 ms more
    default_parameter=Parameter(negative=()),
    suppress_keyboard_interrupt=False,
)


def command(function: Command) -> Command:
    """Make a command of a function; the list of commands needs its first line only, and parsing all costs 40 ms."""
    app.command(function, help=str(function.__doc__).partition("\n")[0])
    return function


def load(package: Path) -> Detector:
    """Read a package."""
    from limbeck.detector import Detector

    return Detector.load(package)
