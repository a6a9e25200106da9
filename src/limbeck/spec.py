"""What a model expects of one item: a row of a table, or a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from limbeck.errors import InputError
from limbeck.picture_spec import PictureSpec
from limbeck.table_spec import TableSpec

__all__ = ["InputSpec", "for_pictures", "for_tables", "spec_from_json"]

InputSpec = TableSpec | PictureSpec


def for_tables(spec: InputSpec) -> TableSpec:
    """Return the spec of a model of rows; refuse one of pictures."""
    if isinstance(spec, TableSpec):
        return spec
    raise InputError(
        "this model judges pictures",
        expected="picture files, a folder of them, or arrays of uint8",
        got="a table",
        fix="give pictures, or a model that was fitted on a table",
    )


def for_pictures(spec: InputSpec) -> PictureSpec:
    """Return the spec of a model of pictures; refuse one of rows."""
    if isinstance(spec, PictureSpec):
        return spec
    raise InputError(
        "this model judges rows of a table",
        expected="a table with the columns " + ", ".join(spec.names[:8]) + (", ..." if len(spec.names) > 8 else ""),
        got="pictures",
        fix="give a table, or a model that was fitted on pictures",
    )


def spec_from_json(values: Mapping[str, Any]) -> InputSpec:
    """Read what either's `to_json` wrote."""
    return PictureSpec.from_json(values) if values["kind"] == "pictures" else TableSpec.from_json(values)
