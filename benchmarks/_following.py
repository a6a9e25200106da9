"""What the benchmarks ask of a student that ranks as its teacher does, whether or not it does."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import numpy as np
from sklearn.model_selection import KFold

from limbeck.errors import LimbeckWarning
from limbeck.tabular import follow
from limbeck.tabular.config import FollowerConfig
from limbeck.tabular.follow import ENOUGH_ROWS


@contextmanager
def never_refused() -> Iterator[None]:
    """Let a student pass that does not follow; of its fidelity the rest of the configuration is left as it is."""
    with warnings.catch_warnings(), mock.patch.object(follow, "ENOUGH_ROWS", math.inf):
        warnings.simplefilter("ignore", LimbeckWarning)
        yield


def refused(spearman: float, rows: int, config: FollowerConfig) -> bool:
    """Say whether a student would have been refused that was taught on so many rows."""
    return spearman < config.fidelity and rows >= ENOUGH_ROWS


def fifth(rows: int, seed: int, fold: int = 0) -> np.ndarray:
    """Choose the rows that are not learned from, bool (n,): a fifth, by chance, since labels are not looked at."""
    chosen = np.zeros(rows, bool)
    chosen[list(KFold(5, shuffle=True, random_state=seed).split(np.empty((rows, 1))))[fold][1]] = True
    return chosen
