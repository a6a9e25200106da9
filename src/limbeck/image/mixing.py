"""Features with foreign patches in them, from which a student is to re-create what belongs there.

A student that only ever sees normal features may learn to pass on whatever it is given. Patches of other pictures are
made-up anomalies that cost nothing: no picture is drawn, and the teacher is not asked again.

Yun et al., "CutMix", ICCV 2019 (patches of other pictures); Tien et al., "Revisiting reverse distillation for anomaly
detection", CVPR 2023 (a student that projects made-up anomalies back to normal features).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["mix"]

PATCHES = 3  # at most, in a picture
LARGEST = 3 / 8  # of a patch's side, of the picture's


def mix(features: Sequence[Tensor], share: float) -> list[Tensor]:
    """Put patches of other pictures into some of the pictures, at all scales alike; torch's own generator draws.

    Parameters
    ----------
    features : sequence of k tensors, (n, c, h, w)
        Shallow to deep; each size a multiple of the deepest one.
    share : float, in [0, 1]
        Chance of a picture to be changed.

    Returns
    -------
    list of k tensors, (n, c, h, w)
        Unchanged, where the deepest scale is too small for a patch.
    """
    n, _, h, w = features[-1].shape
    tallest, widest = int(LARGEST * h), int(LARGEST * w)
    if not min(tallest, widest) or not share:
        return list(features)
    foreign = torch.zeros(n, 1, h, w, dtype=torch.bool)
    for picture in torch.nonzero(torch.rand(n) < share).flatten().tolist():
        for _ in range(_draw(1, PATCHES)):
            height, width = _draw(1, tallest), _draw(1, widest)
            y, x = _draw(0, h - height), _draw(0, w - width)
            foreign[picture, :, y : y + height, x : x + width] = True
    others = torch.randperm(n)
    down, right = _draw(0, h - 1), _draw(0, w - 1)  # what comes from the same picture comes from another place
    mixed = []
    for f in features:
        times = f.shape[2] // h
        moved = torch.roll(f[others], (down * times, right * times), (2, 3))
        mixed.append(torch.where(foreign.repeat_interleave(times, 2).repeat_interleave(times, 3), moved, f))
    return mixed


def _draw(low: int, high: int) -> int:
    """Return an integer from `low` to `high`, both possible."""
    return int(torch.randint(low, high + 1, ()))
