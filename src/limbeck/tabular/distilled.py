"""Any detector, or the scores that one left behind, distilled into one small student that ranks the same way.

What is learned is the rank of the score, as that of a standard normal: whatever the teacher's scale. See
`limbeck.tabular.follow` for the student.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray

from limbeck.contracts import Artefact, Distiller, Items, OnStep, ignore
from limbeck.data.columns import TableItems
from limbeck.errors import InputError
from limbeck.network import Network
from limbeck.spec import for_tables
from limbeck.tabular.augment import far_rows
from limbeck.tabular.comparison import compare, costs
from limbeck.tabular.config import FollowerConfig
from limbeck.tabular.encode import learn_features
from limbeck.tabular.follow import NormalScores, artefact_of, follow, hold_out, remember
from limbeck.tabular.teacher_of import PROBES, Teacher, check_sense, refuse_constant

__all__ = ["AnyTeacher"]

METHOD = "distilled"
FEW_VALUES = 20  # below so many different scores a ranking is coarse
Floats = NDArray[np.float64]


@final
class AnyTeacher(Distiller):
    """`distilled`: rows with a teacher's scores in, an artefact out.

    Parameters
    ----------
    config : FollowerConfig
        Every knob.
    live : callable, optional
        The teacher, if it can still be asked: scores (n,), higher = more anomalous, of raw rows, float64 (n, d).
    who : str
        What it is called in messages.
    size : int, optional
        How many bytes it takes.
    start : Network, optional
        A student that goes on learning.
    remembered : TableItems, optional
        Rows of before with their scores: learned beside the others, and never held out.
    """

    def __init__(
        self,
        config: FollowerConfig,
        live: Teacher | None = None,
        who: str = "the teacher",
        size: int | None = None,
        *,
        start: Network | None = None,
        remembered: TableItems | None = None,
    ) -> None:
        self.config, self.live, self.who, self.size = config, live, who, size
        self.start, self.remembered = start, remembered

    def fit(self, items: Items, *, seed: int, workdir: Path, on_step: OnStep = ignore) -> Artefact:
        """Learn from rows; see `Distiller.fit`."""
        assert isinstance(items, TableItems)
        assert items.score is not None
        x, said, spec = items.x, items.score, for_tables(items.spec)
        held = hold_out(len(x), self.config, seed)
        notes = _values(said, self.who)
        if self.remembered is not None:
            x, said, held = self._beside(x, said, held, seed)
        features = learn_features(x[~held], spec.categorical) if self.start is None else self.start.features
        if features.width == 0:
            raise InputError("no column varies", expected="a column with two different values", got="0 features")
        if self.live is not None and self.config.far and features.number.size:
            probes, _ = far_rows(x[~held], features.number, features.scale, PROBES, seed=seed)
            check_sense(said, self.live(probes), self.who)
        footing = NormalScores.learn(said[~held])
        normal, live = footing(said), _on(footing, self.live)
        follower = follow(
            x, normal, held, live, features, self.config, seed=seed, name=self.who, on_step=on_step, start=self.start
        )
        held = held[: len(items)]  # without rows of before
        (aside,) = items.subset(np.flatnonzero(held)).batches(len(x))
        training = {
            "comparison": compare(
                aside.x,
                normal[: len(items)][held],
                follower.network,
                name=self.who,
                spec=spec,
                id=aside.id,
                shown=self.config.shown,
            ),
            "costs": costs(aside.x, follower.network, live, self.size),
            "notes": [*notes, follower.note],
        }
        return artefact_of(follower, x, items.spec, METHOD, asdict(self.config), training, on_step)

    def _beside(
        self, x: Floats, said: Floats, held: NDArray[np.bool_], seed: int
    ) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        """Return the rows, their scores and which are held out, with those of before behind them."""
        assert self.remembered is not None
        assert self.remembered.score is not None
        kept = remember(len(self.remembered), seed)
        return (
            np.concatenate([x, self.remembered.x[kept]]),
            np.concatenate([said, self.remembered.score[kept]]),
            np.concatenate([held, np.zeros(len(kept), bool)]),
        )


def _on(footing: NormalScores, live: Teacher | None) -> Teacher | None:
    """Return a teacher whose scores are normal scores."""
    return None if live is None else lambda rows: footing(live(rows))


def _values(said: Floats, who: str) -> list[str]:
    """Refuse a constant, and say where a ranking is coarse."""
    refuse_constant(said, who)
    count = len(np.unique(said))
    if count < FEW_VALUES:
        return [f"{who} takes only {count} different values: rows of one value are ranked by the student alone"]
    return []
