"""How much each channel of a map counts: the less, the worse students foresee it in pictures that they never saw."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from limbeck.image.maps import parts_of_relative

__all__ = ["channel_errors", "channel_weights"]

LEAST = 0.01  # of the mean error: a channel that is nearly always the same is not to rule the map


def channel_errors(targets: Sequence[Tensor], made: Sequence[Tensor]) -> list[Tensor]:
    """Return how far off a re-creation of pictures is, channel by channel.

    Parameters
    ----------
    targets, made : sequence of k tensors, (n, c, h, w)
        The teacher's features and what students make of them, whose length is open.

    Returns
    -------
    list of k tensors, (n, c)
        Mean over the places of the squared difference.
    """
    nowhere = torch.zeros(())  # what is usual does not matter here
    return [parts_of_relative(t, m, nowhere)[0].mean((2, 3)) for t, m in zip(targets, made, strict=True)]


def channel_weights(errors: Tensor) -> Tensor:
    """Return how much each channel counts in a squared difference: the inverse of its usual error's root.

    Parameters
    ----------
    errors : Tensor, shape (n, c)
        Of n pictures; see `channel_errors`. The median of them is usual, so that anomalies hardly have a say.

    Returns
    -------
    Tensor, shape (c,)
        Above 0; the usual errors add up to the same as without weights.

    Examples
    --------
    >>> channel_weights(torch.tensor([[1.0, 4.0], [1.0, 4.0], [9.0, 0.0]]))
    tensor([1.6667, 0.8333])
    """
    usual = errors.median(0).values
    usual = usual.clamp_min(LEAST * float(usual.mean())).clamp_min(1e-12)
    weight = usual.rsqrt()
    return weight * (usual.sum() / (weight * usual).sum())
