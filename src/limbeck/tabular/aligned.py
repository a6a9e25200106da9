"""A student of one domain, aligned with another: its weights stay, its numbers are centred and scaled anew.

No teacher and no label is asked. What is strange for being far from the middle of its domain is found in the other one
too, whatever the unit there and wherever the middle lies; what changed in shape is not.

Li et al., "Revisiting batch normalization for practical domain adaptation", arXiv 1603.04779 (statistics of the new
domain under weights of the old one; here those of the inputs alone).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray

from limbeck.contracts import Artefact, Distiller, Items, OnStep, Step, ignore
from limbeck.data.columns import TableItems
from limbeck.errors import InputError
from limbeck.network import Features, Network, float32_tolerance
from limbeck.spec import for_tables
from limbeck.tabular.encode import centre_and_scale
from limbeck.tabular.follow import FEWEST_ROWS
from limbeck.tabular.student import export

__all__ = ["Aligned", "align"]

STRANGE = 0.1  # share of unknown categories from which they are mentioned


@final
class Aligned(Distiller):
    """Rows of another domain in, an artefact with the same weights out.

    Parameters
    ----------
    artefact : Artefact
        Of the student as it is.
    """

    def __init__(self, artefact: Artefact) -> None:
        self.artefact = artefact

    def fit(self, items: Items, *, seed: int, workdir: Path, on_step: OnStep = ignore) -> Artefact:
        """Learn centres and scales from rows; see `Distiller.fit`."""
        assert isinstance(items, TableItems)
        if len(items) < FEWEST_ROWS:
            raise InputError(
                "too few rows to align with",
                expected=f"at least {FEWEST_ROWS} beside those set aside for calibration",
                got=str(len(items)),
                fix="give more rows; they need no labels",
            )
        spec, old = for_tables(items.spec), Network.from_tensors(self.artefact.weights)
        features, still = align(old.features, items.x)
        network = Network(features, old.weights, old.biases)
        on_step(Step("exporting", 0, 1))
        graph, difference = export(network, items.x, self.artefact.method)
        on_step(Step("exporting", 1, 1))
        notes = [
            f"column {spec.names[place]!r} does not vary in the new rows: its centre and scale are the old ones"
            for place in still
        ]
        for place in np.unique(features.onehot_column).tolist():
            unknown = float((items.x[:, place] == len(spec.columns[place].categories)).mean())
            if unknown > STRANGE:
                notes.append(
                    f"column {spec.names[place]!r}: {unknown:.0%} of the new rows have a category that was never "
                    "learned, and alignment moves numbers alone"
                )
        parity = {"largest": difference, "tolerance": float32_tolerance(features.width)}
        return replace(
            self.artefact,
            weights=dict(network.tensors()),
            onnx=graph,
            spec=spec,
            training={"notes": notes, "parity": parity},
        )


def align(features: Features, x: NDArray[np.float64]) -> tuple[Features, list[int]]:
    """Learn centres and scales anew; columns, indicators and one-hot places stay.

    Parameters
    ----------
    features : Features
        Of the student as it is.
    x : ndarray of float64, shape (n, d)
        Raw rows of the other domain; missing = NaN.

    Returns
    -------
    features : Features
        The aligned ones.
    still : list of int
        Places of numeric columns that do not vary in these rows: their centre and scale are as they were.

    Examples
    --------
    >>> from limbeck.tabular.encode import learn_features
    >>> celsius = np.array([[20.0, 1.0], [22.0, 2.0], [24.0, 3.0]])
    >>> features, still = align(learn_features(celsius), celsius * [1.8, 0.0] + [32.0, 5.0])
    >>> features.centre.tolist(), still
    ([71.6, 2.0], [1])
    """
    centre, scale, still = features.centre.copy(), features.scale.copy(), []
    for i, place in enumerate(features.number.tolist()):
        seen = x[:, place][~np.isnan(x[:, place])]
        if seen.size == 0 or seen.min() == seen.max():
            still.append(place)
        else:
            centre[i], scale[i] = centre_and_scale(seen)
    return replace(features, centre=centre, scale=scale), still
