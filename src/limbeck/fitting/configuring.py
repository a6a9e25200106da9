"""Which configuration a method is fitted with."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from limbeck import config as configuration
from limbeck.errors import ConfigError
from limbeck.methods import METHODS

__all__ = ["configure", "method_of"]


def configure(method: str, values: Any = None) -> Any:
    """Return a method's configuration: the defaults, a mapping of fields, or a configuration as it is."""
    if method not in METHODS:
        raise ConfigError(
            f"there is no method {method!r}", expected="one of " + ", ".join(METHODS), got=method, fix="limbeck methods"
        )
    wanted = configuration.config_class(METHODS[method].config)
    if type(values) is wanted:
        return configuration.replace(values, dataclasses.asdict(values))
    if values is not None and not isinstance(values, Mapping):
        raise ConfigError(
            "this is not a configuration", expected=f"a mapping of fields, or {wanted.__name__}", got=repr(values)
        )
    return configuration.replace(wanted(), values or {})


def method_of(config: Any) -> str | None:
    """Return the method that a configuration is of; None of a mapping, which does not say."""
    if not dataclasses.is_dataclass(config):
        return None
    return next((n for n, m in METHODS.items() if type(config) is configuration.config_class(m.config)), None)
