"""Which pictures each domain's student learns from: divisions of a dirty training set.

A division that only splits the pictures leaves the share of anomalies as it is, but gives every picture students that
never saw it; one that splits the suspects alone and shares the rest lowers the share in every domain, and gives such
students to the suspects alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from limbeck.image.train import batches_in_an_epoch

__all__ = ["batches_of_domain", "divide", "groups", "outside", "share_in_domain"]

Bools = NDArray[np.bool_]
Places = NDArray[np.int64]


def groups(n: int, domains: int, seed: int) -> NDArray[np.int64]:
    """Return the domain of each of n pictures, should it be a suspect; it never changes, and domains are even."""
    order = np.random.default_rng((seed, 7)).permutation(n)
    group = np.empty(n, np.int64)
    group[order] = np.arange(n) % domains
    return group


def divide(
    policy: str,
    group: NDArray[np.int64],
    domains: int,
    score: NDArray[np.float64] | None,
    suspects: float | None,
    cut: float = np.inf,
) -> tuple[Bools, Bools]:
    """Divide pictures into domains.

    Parameters
    ----------
    policy : str
        "random": a domain is its group. "others": it is all but its group. "trim": its group, less its suspects.
        "share": the suspects each in its group's domain, and all others in every domain.
    group : ndarray of int, shape (n,)
        See `groups`.
    domains : int
        How many.
    score : ndarray, shape (n,), or None
        Higher = more anomalous; None, where nothing is known yet: nobody is suspected, and "trim" and "share" are
        "random".
    suspects : float, in [0, 1), or None
        Share of the pictures (of each group's, for "trim") that is suspected; None = those above `cut`.
    cut : float
        A score.

    Returns
    -------
    held : ndarray of bool, shape (domains, n)
        Which pictures each domain's student learns from.
    suspected : ndarray of bool, shape (n,)
        The suspects.

    References
    ----------
    Liu et al., "Fully unsupervised anomaly detection via cross-domain distillation", arXiv 2508.18007 (domains with
    fewer anomalies; how they are found is not in its abstract, and a reconstruction here).
    """
    own = group == np.arange(domains)[:, None]
    suspected = np.zeros(len(group), bool)
    if score is not None:
        for members in map(np.flatnonzero, own) if policy == "trim" else [np.arange(len(group))]:
            suspected[members[_suspicious(score[members], suspects, cut)]] = True
    if policy == "others":
        return ~own, suspected
    if policy == "random" or score is None:
        return own, suspected
    return (own | ~suspected if policy == "share" else own & ~suspected), suspected


def _suspicious(score: NDArray[np.float64], share: float | None, cut: float) -> NDArray[np.int64]:
    """Return the places of the highest scores; of equal ones the first."""
    if share is None:
        return np.flatnonzero(score > cut)
    return np.argsort(-score, kind="stable")[: int(share * len(score))]


def outside(held: Bools) -> Bools:
    """Return which students never saw a picture, (domains, n); all of them, where each did."""
    never = ~held
    return never | ~never.any(0)


def share_in_domain(n: int, anomalies: int, domains: int, suspects: float, caught: float) -> float:
    """Return the expected share of anomalies in a domain under the policy "share".

    Parameters
    ----------
    n, anomalies : int
        Of the training set.
    domains : int
        How many.
    suspects : float
        Share of the pictures that is split.
    caught : float
        Share of the anomalies that is among the suspects.

    Returns
    -------
    float, in [0, 1]
        ``((1 - r) m + r m / K) / ((1 - q) n + q n / K)``.
    """
    inside = (1 - caught) * anomalies + caught * anomalies / domains
    return inside / ((1 - suspects) * n + suspects * n / domains)


def batches_of_domain(members: Places, n: int, size: int, step: int, seed: tuple[int, int]) -> list[Places]:
    """Return the batches of a domain that fall to a step: one pass over it in each pass over all n pictures.

    Parameters
    ----------
    members : ndarray of int
        The domain's pictures.
    n, size : int
        All pictures, and those of a batch.
    step : int
        From 0.
    seed : pair of int
        Of the orders, which are others in each pass.

    Returns
    -------
    list of ndarray of int
        Some of the members each.
    """
    each = batches_in_an_epoch(n, size)
    epoch, place = divmod(step, each)
    order = np.random.default_rng((*seed, epoch)).permutation(members)
    parts = np.array_split(order, max(1, round(len(order) / size)))
    return parts[place * len(parts) // each : (place + 1) * len(parts) // each]
