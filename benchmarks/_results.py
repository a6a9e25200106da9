"""A small CSV a benchmark appends to; rows that it already holds are not measured again."""

from __future__ import annotations

import csv
import importlib.metadata
import os
import platform
from pathlib import Path


def machine() -> str:
    """Describe the machine without naming it."""
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def versions(*others: str) -> str:
    """List the versions that decide the figures."""
    names = ("limbeck", "torch", "lightgbm", "numpy", *others)
    return ", ".join(f"{n} {importlib.metadata.version(n)}" for n in names)


def held(file: Path, **key: object) -> bool:
    """Say whether a row with these values is there."""
    if not file.exists():
        return False
    with file.open(newline="") as handle:
        wanted = {k: _cell(v) for k, v in key.items()}
        return any(all(row[k] == v for k, v in wanted.items()) for row in csv.DictReader(handle))


def append(file: Path, row: dict[str, object], *others: str) -> None:
    """Add a row with versions, those of other libraries too, and machine."""
    full: dict[str, object] = {k: _cell(v) for k, v in row.items()}
    full |= {"versions": versions(*others), "machine": machine()}
    fresh = not file.exists()
    with file.open("a", newline="") as handle:
        writer = csv.DictWriter(handle, list(full), lineterminator="\n")
        if fresh:
            writer.writeheader()
        writer.writerow(full)


def _cell(value: object) -> str:
    """Return a value as it is written."""
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def read(file: Path) -> list[dict[str, str]]:
    """Return every row."""
    with file.open(newline="") as handle:
        return list(csv.DictReader(handle))
