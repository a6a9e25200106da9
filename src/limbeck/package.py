"""The package: a folder of files that are read, checked against their hashes, and never executed.

::

    NAME.limbeck/
      manifest.json              schema, method, configuration, what an item must be, calibration, card, hashes
      weights.safetensors        the student of a table; of pictures it is empty: the graph holds all
      model.onnx                 the model as a graph, from raw numbers to scores, or from pictures to scores and maps
      calibration.safetensors    scores of the calibration normals
      training/*.json            candidates, curves, notes: what the report shows
      README.md                  the model card
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from limbeck.calibrate import Affine, Calibrator
from limbeck.contracts import Artefact, Card
from limbeck.errors import LimbeckError, PackageError
from limbeck.model_card import card_text
from limbeck.outputs import new_folder
from limbeck.spec import spec_from_json

__all__ = ["SCHEMA", "Contents", "is_package", "read", "write"]

SCHEMA = 1
WEIGHTS, GRAPH, CALIBRATION, CARD = "weights.safetensors", "model.onnx", "calibration.safetensors", "README.md"


@dataclass(frozen=True)
class Contents:
    """What a package holds."""

    artefact: Artefact
    calibrator: Calibrator
    alpha: float
    card: Card


class _Leaf(pydantic.BaseModel):
    shape: list[int]
    dtype: str


class _Calibration(pydantic.BaseModel):
    alpha: float = pydantic.Field(gt=0, lt=1)
    slope: float | None
    intercept: float | None


class _Manifest(pydantic.BaseModel):
    schema_version: int
    method: str
    config: dict[str, Any]
    input: dict[str, Any]
    calibration: _Calibration
    card: dict[str, Any]
    tensors: dict[str, dict[str, _Leaf]]
    sha256: dict[str, str]


def is_package(folder: Path) -> bool:
    """Say whether a folder looks like a package."""
    return (folder / "manifest.json").is_file()


def write(folder: Path, contents: Contents, *, overwrite: bool = False) -> None:
    """Write a package whole, or not at all.

    Parameters
    ----------
    folder : Path
        Where it goes; its name ends in ``.limbeck`` by custom.
    contents : Contents
        What it holds.
    overwrite : bool
        Whether it may replace an existing package.

    Raises
    ------
    OutputError
        If the place is taken or cannot be written.
    """
    artefact, calibrator = contents.artefact, contents.calibrator
    weights = dict(sorted(artefact.weights.items()))  # the same bytes whatever order they were loaded in
    tensors = {WEIGHTS: weights, CALIBRATION: {"normals": calibrator.normals}}
    files = {name: save_tensors({k: np.ascontiguousarray(v) for k, v in t.items()}) for name, t in tensors.items()}
    files[GRAPH] = artefact.onnx
    files[CARD] = card_text(contents.card, artefact, contents.alpha).encode()
    files |= {f"training/{key}.json": _json(value) for key, value in artefact.training.items()}
    line = calibrator.affine
    manifest = _Manifest(
        schema_version=SCHEMA,
        method=artefact.method,
        config=artefact.config,
        input=artefact.spec.to_json(),
        calibration=_Calibration(
            alpha=contents.alpha, slope=line.slope if line else None, intercept=line.intercept if line else None
        ),
        card=asdict(contents.card),
        tensors={
            name: {k: _Leaf(shape=list(v.shape), dtype=str(v.dtype)) for k, v in t.items()}
            for name, t in tensors.items()
        },
        sha256={name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
    )
    with new_folder(folder, overwrite=overwrite, is_ours=is_package) as partial:
        (partial / "training").mkdir()
        for name, data in files.items():
            (partial / name).write_bytes(data)
        (partial / "manifest.json").write_bytes(_json(manifest.model_dump()))


def read(folder: Path) -> Contents:
    """Read a package and check everything in it.

    Parameters
    ----------
    folder : Path
        A package.

    Returns
    -------
    Contents
        What it holds.

    Raises
    ------
    PackageError
        If it is missing, damaged, tampered with, or of a newer schema; the file and the leaf are named.
    """
    manifest = _read_manifest(folder)
    files = {name: _read_file(folder, name, wanted) for name, wanted in manifest.sha256.items()}
    missing = {WEIGHTS, GRAPH, CALIBRATION} - set(files)
    if missing:
        raise PackageError(
            f"{folder.name}: the manifest does not name {', '.join(sorted(missing))}", fix="make the package anew"
        )
    tensors = {name: _read_tensors(folder, name, files[name], leaves) for name, leaves in manifest.tensors.items()}
    training = {
        Path(n).stem: json.loads(data) for n, data in files.items() if n.startswith("training/") and n.endswith(".json")
    }
    try:
        spec = spec_from_json(manifest.input)
        names = {f.name for f in fields(Card)}
        facts: dict[str, Any] = {k: tuple(v) if k == "notes" else v for k, v in manifest.card.items() if k in names}
        card = Card(**facts)
    except (KeyError, TypeError, LimbeckError) as error:
        raise PackageError(
            f"{folder.name}/manifest.json: a part is not as it was written", got=str(error), fix="make the package anew"
        ) from error
    slope, intercept = manifest.calibration.slope, manifest.calibration.intercept
    line = None if slope is None or intercept is None else Affine(slope, intercept)
    normals = tensors.get(CALIBRATION, {}).get("normals")
    if normals is None or normals.ndim != 1 or not normals.size or (np.diff(normals) < 0).any():
        raise PackageError(f"{folder.name}/{CALIBRATION}: 'normals' is not a sorted list of scores")
    artefact = Artefact(tensors[WEIGHTS], files[GRAPH], spec, manifest.method, manifest.config, training)
    return Contents(artefact, Calibrator(normals, line), manifest.calibration.alpha, card)


def _read_manifest(folder: Path) -> _Manifest:
    path = folder / "manifest.json"
    if not path.is_file():
        raise PackageError(
            f"{folder} is not a Limbeck package",
            expected="a folder with a manifest.json",
            got="no such folder" if not folder.exists() else "no manifest.json in it",
            fix="`limbeck fit SOURCE --out NAME.limbeck` makes one",
        )
    try:
        raw = json.loads(path.read_bytes())
        version = raw["schema_version"]
        if isinstance(version, int) and version > SCHEMA:
            raise PackageError(
                f"{folder.name} was written by a newer Limbeck",
                expected=f"schema {SCHEMA} or older",
                got=f"schema {version}",
                fix="pip install --upgrade limbeck",
            )
        return _Manifest.model_validate(raw)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        raise PackageError(
            f"{folder.name}/manifest.json: {'.'.join(map(str, first['loc']))} is wrong",
            expected=first["msg"],
            got=repr(first["input"])[:80],
            fix="make the package anew",
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise PackageError(
            f"{folder.name}/manifest.json cannot be read",
            expected="the JSON that was written",
            got=f"{type(error).__name__}: {error}",
            fix="copy the package again, or make it anew",
        ) from error


def _read_file(folder: Path, name: str, wanted: str) -> bytes:
    path = folder / name
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise PackageError(f"{folder.name}/manifest.json names a file outside the package", got=name)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PackageError(
            f"{folder.name}/{name} cannot be read",
            expected="the file that the manifest names",
            got=error.strerror or str(error),
            fix="copy the package again",
        ) from error
    found = hashlib.sha256(data).hexdigest()
    if found != wanted:
        raise PackageError(
            f"{folder.name}/{name} is not the file that was written",
            expected=f"SHA-256 {wanted[:16]}...",
            got=f"SHA-256 {found[:16]}..., {len(data)} bytes",
            fix="the file was changed or damaged: copy the package again, or make it anew",
        )
    return data


def _read_tensors(folder: Path, name: str, data: bytes, leaves: dict[str, _Leaf]) -> dict[str, NDArray[Any]]:
    try:
        tensors = load_tensors(data)
    except SafetensorError as error:
        raise PackageError(f"{folder.name}/{name} is not a safetensors file", got=str(error)) from error
    if set(tensors) != set(leaves):
        raise PackageError(
            f"{folder.name}/{name} holds other leaves than the manifest says",
            expected=", ".join(sorted(leaves)),
            got=", ".join(sorted(tensors)),
        )
    for leaf, wanted in leaves.items():
        array = tensors[leaf]
        if list(array.shape) != wanted.shape or str(array.dtype) != wanted.dtype:
            raise PackageError(
                f"{folder.name}/{name}: leaf {leaf!r} has changed",
                expected=f"{wanted.dtype} {tuple(wanted.shape)}",
                got=f"{array.dtype} {array.shape}",
            )
    return tensors


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()
