"""Which pictures each domain's student learns from: divisions of a dirty training set.

A division that only splits the pictures leaves the share of anomalies as it is; one that splits the suspects alone and
shares the rest lowers it in every domain, and gives every suspect students that never saw it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["divide", "groups", "outside", "share_in_domain"]

Bools = NDArray[np.bool_]


def groups(n: int, domains: int, seed: int) -> NDArray[np.int64]:
    """Return the domain of each of n pictures, should it be a suspect; it never changes, and domains are even."""
    order = np.random.default_rng((seed, 7)).permutation(n)
    group = np.empty(n, np.int64)
    group[order] = np.arange(n) % domains
    return group


def divide(
    policy: str, group: NDArray[np.int64], domains: int, score: NDArray[np.float64] | None, suspects: float
) -> tuple[Bools, Bools]:
    """Divide pictures into domains.

    Parameters
    ----------
    policy : str
        "random": a domain is its group. "trim": its group, less the share of it that scores highest. "share": the
        highest-scoring pictures of all, the suspects, each in its group's domain, and all others in every domain.
    group : ndarray of int, shape (n,)
        See `groups`.
    domains : int
        How many.
    score : ndarray, shape (n,), or None
        Higher = more anomalous; None, where nothing is known yet, divides at random.
    suspects : float, in [0, 1)
        Share of the pictures that is trimmed or split.

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
    if score is None or policy == "random":
        return own, suspected
    if policy == "share":
        suspected[_highest(score, suspects)] = True
        return own | ~suspected, suspected
    for members in map(np.flatnonzero, own):
        suspected[members[_highest(score[members], suspects)]] = True
    return own & ~suspected, suspected


def _highest(score: NDArray[np.float64], share: float) -> NDArray[np.int64]:
    """Return the places of the highest scores; of equal ones the first."""
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
