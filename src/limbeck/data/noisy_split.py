"""Lists of a dirty training set: which items are learned from, which anomalies hide among them, what is tested on.

The noise protocol of the field, as SoftPatch set it: n anomalies of the test, drawn without replacement, join the clean
training items, with n the ratio times the number of clean ones. Without overlap they leave the test, with overlap they
stay in it. Others state the ratio as a share of the mix, and anomalies may run out: so the true share and the number of
anomalies left in the test belong to every split.

References
----------
Jiang et al., "SoftPatch: Unsupervised Anomaly Detection with Noisy Data", NeurIPS 2022.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from limbeck.errors import ConfigError, InputError
from limbeck.outputs import new_file

__all__ = [
    "ASIDE",
    "LISTS",
    "NoisySplit",
    "check_settings",
    "draw_order",
    "exact_share",
    "make_noisy_split",
    "read",
    "write",
]

SCHEMA = 1
LISTS = "contamination.json"
BASES = ("clean", "mixed")
ADDED, ORDER, ASIDE = 1, 2, 3  # what is drawn, each from numbers of its own

Ids = tuple[str, ...] | tuple[int, ...]


@dataclass(frozen=True)
class NoisySplit:
    """Which items are learned from and which are tested on, by their ids.

    Attributes
    ----------
    ratio : float, in [0, 1)
        What was asked for.
    base : str
        "clean": a share of the number of clean items. "mixed": a share of all that is learned from.
    overlap : bool
        Whether the added anomalies stay in the test.
    fold : int
        The seed.
    train : tuple of str or int
        What to learn from, shuffled.
    added : tuple of str or int
        The anomalies among them, in the order in which they were drawn.
    test : tuple of str or int
        What to test on, sorted.
    anomalous : tuple of str or int
        The anomalies among them, sorted.
    notes : tuple of str
        What the user should know: anomalies that ran out, items that were left out.
    """

    ratio: float
    base: str
    overlap: bool
    fold: int
    train: Ids
    added: Ids
    test: Ids
    anomalous: Ids
    notes: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """The true share of anomalies among what is learned from, in [0, 1)."""
        return len(self.added) / len(self.train)

    @property
    def anomalies_left(self) -> int:
        """How many anomalies the test holds."""
        return len(self.anomalous)

    def facts(self) -> dict[str, Any]:
        """Return what belongs beside every result: the settings, the counts, the true share; no lists."""
        return {
            "ratio": self.ratio,
            "base": self.base,
            "overlap": self.overlap,
            "fold": self.fold,
            "n_train": len(self.train),
            "n_added": len(self.added),
            "share": self.share,
            "n_test": len(self.test),
            "anomalies_left": self.anomalies_left,
        }


def make_noisy_split(
    clean: ArrayLike,
    test: ArrayLike,
    label: ArrayLike,
    *,
    ratio: float,
    base: str = "clean",
    overlap: bool = False,
    fold: int = 0,
) -> NoisySplit:
    """Draw anomalies of the test and add them to the clean training items.

    The draw depends on the ids and the fold alone, not on their order, the machine or the version of numpy: a smaller
    ratio adds the first of those that a larger one adds, and both kinds of overlap learn from the same list.

    Parameters
    ----------
    clean : sequence of n str or int
        Ids of the normal items to learn from.
    test : sequence of m str or int
        Ids of all items to test on.
    label : sequence of m numbers, 0 | 1
        Whether they are anomalous.
    ratio : float, in [0, 1)
        How many anomalies to add, as a share of `base`, rounded down.
    base : str
        "clean": of the n clean items, as SoftPatch does. "mixed": of clean and added items together.
    overlap : bool
        Whether the added anomalies stay in the test.
    fold : int
        The seed, 0 or more.

    Returns
    -------
    NoisySplit
        The lists. Where anomalies run out all are added, and a note says so.

    Raises
    ------
    ConfigError
        If a setting is out of its range.
    InputError
        If ids are not unique, there are no clean items, or the test would be left without normal or anomalous ones.

    Examples
    --------
    >>> split = make_noisy_split(range(320), range(320, 480), [0] * 41 + [1] * 119, ratio=0.1)
    >>> len(split.train), len(split.added), round(split.share, 3), split.anomalies_left
    (352, 32, 0.091, 87)

    References
    ----------
    Jiang et al., "SoftPatch: Unsupervised Anomaly Detection with Noisy Data", NeurIPS 2022.
    """
    check_settings(ratio, base, fold)
    kept, pool, bad = _checked(np.asarray(clean), np.asarray(test), np.asarray(label))
    drawn = pool[bad][draw_order(int(bad.sum()), fold, ADDED)]
    wanted = _wanted(ratio, base, len(kept))
    if not overlap and wanted >= len(drawn):
        raise _none_left(ratio, base, len(kept), wanted, len(drawn))
    n = min(wanted, len(drawn))
    train = np.concatenate([kept, drawn[:n]])
    train = train[draw_order(len(train), fold, ORDER)]
    stays = np.ones(len(pool), bool) if overlap else ~np.isin(pool, drawn[:n])
    notes = (f"the ratio asks for {wanted:,} anomalies, and there are {n:,}",) if n < wanted else ()
    return NoisySplit(
        ratio=float(ratio),
        base=base,
        overlap=bool(overlap),
        fold=int(fold),
        train=tuple(train.tolist()),
        added=tuple(drawn[:n].tolist()),
        test=tuple(pool[stays].tolist()),
        anomalous=tuple(pool[stays & bad].tolist()),
        notes=notes,
    )


def write(path: str | Path, split: NoisySplit, *, overwrite: bool = False) -> None:
    """Write the lists as one JSON file, a field a line, whole or not at all.

    Parameters
    ----------
    path : path
        The file.
    split : NoisySplit
        What to write.
    overwrite : bool
        Whether an existing file may be replaced.

    Raises
    ------
    OutputError
        If the place is taken or cannot be written.
    """
    lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(value)}" for key, value in _fields(split).items())
    with new_file(Path(path), overwrite=overwrite) as partial:
        partial.write_text("{\n" + lines + "\n}\n", "utf-8")


def read(path: str | Path) -> NoisySplit:
    """Read lists that `write` wrote, and draw them again: they must be what their settings give.

    Parameters
    ----------
    path : path
        The file, or the folder that `contaminate` made.

    Returns
    -------
    NoisySplit
        What was written.

    Raises
    ------
    InputError
        If it is missing, damaged, changed by hand, or of another schema.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> folder = Path(mkdtemp())
    >>> split = make_noisy_split(["a", "b"], ["c", "d", "e"], [0, 1, 1], ratio=0.5)
    >>> write(folder / "contamination.json", split)
    >>> read(folder) == split
    True
    """
    path = Path(path)
    path = path / LISTS if path.is_dir() else path
    fix = "copy it again, or make it anew with `limbeck contaminate`"
    try:
        raw = json.loads(path.read_text("utf-8"))
        schema = raw["schema"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        got = f"{type(error).__name__}: {getattr(error, 'strerror', None) or error}"
        raise InputError(
            f"{path} cannot be read", expected="lists that were written whole", got=got, fix=fix
        ) from error
    if schema != SCHEMA:
        raise InputError(
            f"{path} was written by another version of Limbeck",
            expected=f"schema {SCHEMA}",
            got=f"schema {schema!r}",
            fix="use that version, or make it anew with `limbeck contaminate`",
        )
    try:
        split = _redrawn(raw)
        again = json.loads(json.dumps(_fields(split)))
        wrong = sorted(k for k in raw.keys() | again.keys() if k not in raw or k not in again or raw[k] != again[k])
    except KeyError as error:
        wrong = [f"no {error}"]
    except (TypeError, ValueError) as error:
        wrong = str(error).splitlines()[:1]
    if wrong:
        raise InputError(f"{path} was changed", expected="what its settings give", got=", ".join(wrong), fix=fix)
    return split


def check_settings(ratio: Any, base: Any, fold: Any, test: Any = None) -> None:
    """Refuse settings that are out of their ranges."""
    if not isinstance(ratio, (int, float)) or not 0 <= ratio < 1:
        raise ConfigError(
            "ratio is a share of anomalies", expected="a number from 0 to below 1, such as 0.1", got=repr(ratio)
        )
    if base not in BASES:
        raise ConfigError("base has an unknown value", expected=" or ".join(BASES), got=repr(base))
    if not isinstance(fold, (int, np.integer)) or fold < 0:
        raise ConfigError("fold is a seed", expected="an integer, 0 or more", got=repr(fold))
    if test is not None and not (isinstance(test, (int, float)) and 0 < test < 1):
        raise ConfigError("test is a share of the normal items", expected="a number between 0 and 1", got=repr(test))


def _checked(
    clean: NDArray[Any], test: NDArray[Any], label: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
    """Return the ids of both kinds of items, sorted, and which of the test are anomalous."""
    if clean.ndim != 1 or test.ndim != 1 or label.shape != test.shape or not np.isin(label, (0, 1)).all():
        raise InputError(
            "items and labels do not match",
            expected="two lists of ids, and 0 | 1 for each item of the test",
            got=f"shapes {clean.shape}, {test.shape} and {label.shape}, labels {np.unique(label)[:5]}",
        )
    n, good, bad = len(clean), int((label == 0).sum()), int((label == 1).sum())
    if not (n and good and bad):
        raise InputError(
            "there is too little to contaminate",
            expected="normal items to learn from, normal and anomalous ones to test on",
            got=f"{n} to learn from, {good} normal and {bad} anomalous to test on",
            fix="check the labels, or name what is normal: --normal NAME (normal=NAME in Python)",
        )
    kinds = clean.dtype.kind + test.dtype.kind
    unique = np.unique(np.concatenate([clean, test])).size if kinds in ("UU", "ii", "iu", "ui", "uu") else 0
    if unique < n + len(test):
        raise InputError(
            "the ids cannot be used",
            expected="texts or integers, none of them twice",
            got=f"{n + len(test):,} ids of {clean.dtype} and {test.dtype}, {unique:,} of them different",
        )
    order = np.argsort(test)
    return np.sort(clean), test[order], label[order] == 1


def draw_order(n: int, fold: int, what: int) -> NDArray[np.intp]:
    """Return a random order of n things, in which the first m stand as they do in the order of m alone.

    A generator's own `permutation` may change from one numpy to the next; the raw numbers of PCG64 never do.
    """
    return np.argsort(np.random.PCG64([int(fold), what]).random_raw(n), kind="stable")


def exact_share(share: float) -> Fraction:
    """Return a decimal as it was written: 0.29 of 100 is 29, and not 28.999..."""
    return Fraction(repr(float(share)))


def _wanted(ratio: float, base: str, n: int) -> int:
    share = exact_share(ratio)
    return int((share if base == "clean" else share / (1 - share)) * n)


def _none_left(ratio: float, base: str, n: int, wanted: int, available: int) -> InputError:
    """Name a ratio that leaves one anomaly in the test, in as few digits as can be."""
    middle = (available - 0.5) / (n if base == "clean" else n + available - 0.5)
    shorter = (float(f"{middle:.{digits}g}") for digits in range(1, 17))
    most = next((r for r in shorter if r < 1 and _wanted(r, base, n) == available - 1), middle)
    return InputError(
        "no anomaly would be left in the test",
        expected=f"fewer than its {available:,} anomalies to be added",
        got=f"{wanted:,}: a ratio of {ratio:g} for {n:,} clean items",
        fix=f"a ratio of at most {most}, or let them stay in the test: --overlap (overlap=True in Python)",
    )


def _fields(split: NoisySplit) -> dict[str, Any]:
    """Return the JSON of a split: what a person looks for comes first."""
    lists = {name: getattr(split, name) for name in ("notes", "train", "added", "test", "anomalous")}
    return {"schema": SCHEMA} | split.facts() | lists


def _redrawn(raw: dict[str, Any]) -> NoisySplit:
    """Draw a split again from its items and settings."""
    train, added, test, anomalous = (np.asarray(raw[key]) for key in ("train", "added", "test", "anomalous"))
    clean = train[~np.isin(train, added)]
    pool = np.union1d(test, added) if added.size else test
    label = np.isin(pool, anomalous) | np.isin(pool, added)
    settings = {key: raw[key] for key in ("ratio", "base", "overlap", "fold")}
    return replace(make_noisy_split(clean, pool, label, **settings), notes=tuple(map(str, raw["notes"])))
