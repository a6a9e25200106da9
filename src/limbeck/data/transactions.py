"""Card transactions that are generated: the built-in task of the demo, the examples and the tests."""

from __future__ import annotations

import numpy as np
import polars as pl

__all__ = ["transactions"]

COUNTRIES = ("at", "ch", "cz", "de", "fr", "hu", "it", "nl", "pl", "us")
SHOPS = ("clothes", "electronics", "fuel", "games", "groceries", "jewellery", "pharmacy", "restaurant", "travel")


def transactions(n: int = 20_000, *, rate: float = 0.012, seed: int = 0) -> pl.DataFrame:
    """Generate card transactions with a few frauds of three kinds.

    Frauds are bursts of small online payments, single large purchases far from home, and takeovers of quiet accounts
    at night; one in eight looks like an ordinary payment, so that no model can find them all. Values are missing
    here and there.

    Parameters
    ----------
    n : int
        Rows.
    rate : float, in (0, 1)
        Share of frauds.
    seed : int
        Of everything random.

    Returns
    -------
    polars.DataFrame
        Numbers, booleans, texts and the label `fraud` (0 | 1).

    Examples
    --------
    >>> transactions(1000, seed=0)["fraud"].sum()
    12
    """
    rng = np.random.default_rng(seed)
    fraud = np.zeros(n, dtype=np.int8)
    fraud[rng.choice(n, max(1, round(rate * n)), replace=False)] = 1
    kind = np.where(fraud == 1, rng.choice(4, n, p=[0.35, 0.3, 0.225, 0.125]), 3)  # 3 looks ordinary
    burst, far, takeover = kind == 0, kind == 1, kind == 2

    habit = rng.normal(3.2, 0.6, n)  # log of the account's usual amount
    amount = np.exp(habit + rng.normal(0, 0.7, n))
    amount = np.where(burst, rng.uniform(0.5, 9, n), amount)
    amount = np.where(far, np.exp(habit + rng.normal(1.6, 0.6, n)), amount)
    hour = np.clip(rng.normal(14.5, 4.2, n), 0, 23.99)
    hour = np.where(takeover, rng.uniform(0, 6, n), hour)
    minutes = rng.exponential(900, n) + 1
    minutes = np.where(burst, rng.exponential(6, n) + 0.2, minutes)
    minutes = np.where(takeover, rng.exponential(20_000, n) + 4000, minutes)
    count = rng.poisson(2.0, n) + np.where(burst, rng.poisson(7, n), 0)
    distance = rng.exponential(12, n) * np.where(rng.random(n) < 0.06, 60, 1)
    distance = np.where(far, rng.exponential(1800, n) + 150, distance)
    online = rng.random(n) < np.where(burst, 0.95, np.where(takeover, 0.7, 0.3))
    chip = (rng.random(n) < np.where(far, 0.25, 0.9)) & ~online
    country = rng.choice(COUNTRIES, n, p=[0.45, 0.06, 0.04, 0.2, 0.05, 0.05, 0.06, 0.03, 0.04, 0.02])
    country = np.where(far & (rng.random(n) < 0.6), rng.choice(["us", "pl", "it"], n), country)
    shop = rng.choice(SHOPS, n, p=[0.1, 0.06, 0.14, 0.05, 0.35, 0.02, 0.08, 0.15, 0.05])
    shop = np.where(burst & (rng.random(n) < 0.7), "games", shop)
    shop = np.where(far & (rng.random(n) < 0.6), rng.choice(["electronics", "jewellery", "travel"], n), shop)
    age = rng.gamma(2.0, 700, n)
    frame = pl.DataFrame(
        {
            "amount": amount.round(2),
            "usual_amount": np.exp(habit + rng.normal(0, 0.1, n)).round(2),
            "hour": hour.round(2),
            "minutes_since_last": minutes.round(1),
            "payments_last_day": count,
            "distance_km": distance.round(1),
            "account_age_days": age.round(),
            "online": online,
            "chip_read": chip,
            "country": country,
            "shop": shop,
            "fraud": fraud,
        }
    )
    gaps = {"distance_km": 0.08, "minutes_since_last": 0.03, "shop": 0.02}
    return frame.with_columns(
        pl.when(pl.Series(rng.random(n) < share)).then(None).otherwise(pl.col(name)).alias(name)
        for name, share in gaps.items()
    )
