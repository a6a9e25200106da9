"""How a method's configuration is declared, checked and read: one frozen dataclass, a comment a field."""

from __future__ import annotations

import dataclasses
import importlib
import tomllib
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from limbeck.errors import ConfigError

__all__ = [
    "at_least",
    "automatic_or",
    "between",
    "config_class",
    "describe",
    "knob",
    "one_of",
    "parse_assignment",
    "read_toml",
    "replace",
    "share",
    "subset_of",
]

C = TypeVar("C")
Rule = Callable[[Any], str | None]  # None if the value is allowed, else what is expected


def knob(default: Any, comment: str, rule: Rule | None = None) -> Any:
    """Declare a field with its comment and the rule that its values obey."""
    return dataclasses.field(default=default, metadata={"comment": comment, "rule": rule})


def at_least(low: float) -> Rule:
    """Return the rule of a number that is not below `low`."""
    return lambda value: None if value >= low else f"a number of at least {low:g}"


def automatic_or(rule: Rule) -> Rule:
    """Return the rule of a number that is 0, for "choose it", or obeys another rule."""

    def either(value: Any) -> str | None:
        wanted = None if value == 0 else rule(value)
        return wanted and f"0, or {wanted}"

    return either


def share(value: Any) -> str | None:
    """Rule of a number in [0, 1]."""
    return None if 0 <= value <= 1 else "a number from 0 to 1"


def between(low: float, high: float) -> Rule:
    """Return the rule of a number in [low, high]."""
    return lambda value: None if low <= value <= high else f"a number from {low:g} to {high:g}"


def one_of(*names: str) -> Rule:
    """Return the rule of a word from a list."""
    return lambda value: None if value in names else "one of " + ", ".join(names)


def subset_of(*names: str) -> Rule:
    """Return the rule of one or more different words from a list."""

    def rule(value: Any) -> str | None:
        fine = len(value) > 0 and len(set(value)) == len(value) and set(value) <= set(names)
        return None if fine else "one or more different ones of " + ", ".join(names)

    return rule


def config_class(reference: str) -> type[Any]:
    """Return the class that ``module:Class`` names."""
    module, name = reference.split(":")
    found: type[Any] = getattr(importlib.import_module(module), name)
    return found


def replace(config: C, values: Mapping[str, Any]) -> C:
    """Return a copy with some fields set, each converted to its type and checked.

    Parameters
    ----------
    config : dataclass instance
        Where the other fields come from.
    values : mapping of str to object
        Field names and new values; texts, as a command line has them, are converted.

    Returns
    -------
    dataclass instance
        The copy.

    Raises
    ------
    ConfigError
        If a field does not exist, or a value does not fit it.
    """
    types = typing.get_type_hints(type(config))
    fields = {f.name: f for f in dataclasses.fields(config)}  # type: ignore[arg-type]
    converted = {}
    for name, value in values.items():
        if name not in fields:
            raise ConfigError(
                f"there is no field {name!r} in the configuration",
                expected="one of " + ", ".join(sorted(fields)),
                got=name,
                fix="`limbeck methods METHOD` lists the fields with their meaning",
            )
        converted[name] = _convert(name, value, types[name])
        rule = fields[name].metadata.get("rule")
        wanted = rule(converted[name]) if rule else None
        if wanted:
            raise ConfigError(
                f"the field {name!r} cannot have this value",
                expected=wanted,
                got=repr(value),
                fix=f"default: {fields[name].default!r}",
            )
    return dataclasses.replace(config, **converted)  # type: ignore[type-var]


def _convert(name: str, value: Any, kind: Any) -> Any:
    """Turn a text, a TOML value or a Python value into the field's type."""
    try:
        if kind is bool:
            words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
            return value if isinstance(value, bool) else words[str(value).lower()]
        if kind is int:
            if isinstance(value, float) and not value.is_integer():
                raise ValueError
            return int(value)
        if kind is float:
            number = float(value)
            if number != number:
                raise ValueError
            return number
        if typing.get_origin(kind) is tuple:
            parts = _split(value) if isinstance(value, str) else list(value)
            return tuple(p.strip() for p in parts if p.strip())
        return str(value)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        wanted = "a comma-separated list" if typing.get_origin(kind) is tuple else f"a value of type {kind.__name__}"
        raise ConfigError(f"the field {name!r} cannot have this value", expected=wanted, got=repr(value)) from error


def _split(text: str) -> list[str]:
    """Split at commas, but not at those between brackets or quotes."""
    parts, depth, quote = [""], 0, ""
    for c in text:
        if quote:
            quote = "" if c == quote else quote
        elif c in "'\"":
            quote = c
        else:
            depth += (c in "([{") - (c in ")]}")
        if c == "," and not quote and depth <= 0:
            parts.append("")
        else:
            parts[-1] += c
    return parts


def parse_assignment(text: str) -> tuple[str, str]:
    """Split ``FIELD=VALUE``."""
    name, separator, value = text.partition("=")
    if not separator or not name.strip():
        raise ConfigError("--set takes an assignment", expected="FIELD=VALUE", got=text, fix="--set student=tiny")
    return name.strip(), value.strip()


def read_toml(path: Path) -> dict[str, Any]:
    """Read a preset: a flat TOML file of fields."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(
            f"cannot read the configuration {path}", got=error.strerror or str(error), fix="check the path"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not a TOML file", expected="lines of FIELD = VALUE", got=str(error)) from error


def describe(config: type[Any]) -> list[tuple[str, str, str]]:
    """List name, default and comment of each field."""
    return [(f.name, repr(f.default), f.metadata["comment"]) for f in dataclasses.fields(config)]
