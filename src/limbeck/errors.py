"""What can go wrong, as a user meets it.

::

    LimbeckError
    ├── InputError (ValueError)       the data cannot be used: a file, a column, a value, a shape
    ├── ConfigError (ValueError)      a field or option that does not exist, or a value out of its range
    ├── PackageError                  a package that is missing, damaged, tampered with or too new
    ├── OutputError                   a result that cannot be written, or that would replace another
    ├── ParityError                   an exported graph that does not repeat the model it came from
    └── MissingExtraError (ImportError)   an optional dependency that is not installed

Every message names the thing, what was expected, what came, and the fix.
"""

from __future__ import annotations

import importlib
from types import ModuleType

__all__ = [
    "ConfigError",
    "InputError",
    "LimbeckError",
    "LimbeckWarning",
    "MissingExtraError",
    "OutputError",
    "PackageError",
    "ParityError",
    "require",
    "require_training",
]


class LimbeckError(Exception):
    """A mistake or a failure that Limbeck can explain.

    Parameters
    ----------
    what : str
        The thing that is wrong, by name.
    expected, got, fix : str, optional
        What it should have been, what it was, and what to do about it.
    """

    def __init__(self, what: str, *, expected: str = "", got: str = "", fix: str = "") -> None:
        parts = [what]
        parts += [f"  {k}: {v}" for k, v in (("expected", expected), ("got", got), ("fix", fix)) if v]
        super().__init__("\n".join(parts))
        self.what, self.expected, self.got, self.fix = what, expected, got, fix


class InputError(LimbeckError, ValueError):
    """The data cannot be used."""


class ConfigError(LimbeckError, ValueError):
    """A configuration field or option is unknown or out of its range."""


class PackageError(LimbeckError):
    """A package is missing, damaged, tampered with or too new."""


class OutputError(LimbeckError):
    """A result cannot be written, or would replace an existing one."""


class ParityError(LimbeckError):
    """An exported graph does not repeat the model that it came from."""


class MissingExtraError(LimbeckError, ImportError):
    """An optional dependency is not installed."""


class LimbeckWarning(UserWarning):
    """Something that was handled, and that the user should know about."""


def require(module: str, extra: str) -> ModuleType:
    """Import an optional dependency, or say which line installs it.

    Parameters
    ----------
    module : str
        The module's dotted name.
    extra : str
        The extra of Limbeck that brings it.

    Returns
    -------
    module
        The imported module.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{module!r} is not installed",
            expected=f"the extra {extra!r} of Limbeck",
            got=str(error),
            fix=f"pip install 'limbeck[{extra}]'",
        ) from error


def require_training() -> None:
    """Refuse to begin learning where a part of it is not installed; see `require`."""
    for module in ("torch", "sklearn", "imblearn", "lightgbm", "onnx", "onnxscript"):
        require(module, "train")
