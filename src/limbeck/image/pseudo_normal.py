"""Pseudo-normal features: what students make, together, of pictures that they never saw."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["pseudo_normal"]


def pseudo_normal(outputs: Sequence[Sequence[Tensor]], heard: Tensor, how: str) -> list[Tensor]:
    """Aggregate what students make of pictures, of each picture those that are heard.

    Parameters
    ----------
    outputs : sequence of sequences of tensors
        Of each student the features of each scale, (n, c, h, w).
    heard : Tensor of bool, shape (students, n)
        Whose word counts for a picture; at least one's.
    how : str
        "mean", "median" at each place, or "agreement": a mean in which a student weighs less the farther it is from the
        others.

    Returns
    -------
    list of tensors, (n, c, h, w)
        Each student's contribution has unit length a picture and scale, since a loss of angles leaves its length open.
    """
    wanted = []
    for scale in zip(*outputs, strict=True):
        each = torch.stack([o / o.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1) for o in scale])
        if how == "median":
            hidden = each.masked_fill(~heard.view(*heard.shape, 1, 1, 1), torch.nan)
            wanted.append(hidden.nanmedian(0).values)
            continue
        weight = heard.float()
        if how == "agreement":
            weight = weight * _agreement(each, weight)
        weight = weight / weight.sum(0)
        wanted.append((each * weight.view(*weight.shape, 1, 1, 1)).sum(0))
    return wanted


def _agreement(each: Tensor, weight: Tensor) -> Tensor:
    """Return how near each student is to the mean of all, (students, n), in (0, 1]."""
    middle = (each * weight.view(*weight.shape, 1, 1, 1)).sum(0) / weight.sum(0).view(-1, 1, 1, 1)
    off = (each - middle).flatten(2).square().sum(2)
    usual = (off * weight).sum(0) / weight.sum(0)
    return torch.exp(-off / usual.clamp_min(1e-12))
