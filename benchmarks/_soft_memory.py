"""A memory of features that forgets outliers, after SoftPatch: the strongest simple answer to a dirty training set.

Jiang et al., "SoftPatch: Unsupervised Anomaly Detection with Noisy Data", NeurIPS 2022: at each place of the picture
the local outlier factor of its features among those of all training pictures; the highest 15 % are left out; a distance
to what is kept is multiplied by the kept one's factor. Here a random 10,000 are kept, not a greedy coreset.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from pictures import KEPT, Memory
from sklearn.neighbors import LocalOutlierFactor

from limbeck.image.maps import AnomalyMap
from limbeck.image.teacher import Teacher

__all__ = ["SoftMemory"]

NEIGHBOURS, LEFT_OUT = 6, 0.15


class SoftMemory:
    """Features of pictures of which some are bad, and the weighted distance to the nearest of them."""

    def __init__(self, teacher: Teacher, size: int, seed: int) -> None:
        self.plain, self.size, self.seed = Memory(teacher, size, seed), size, seed
        self.bank, self.weight = torch.empty(0), torch.empty(0)

    def learn(self, items: Any) -> None:
        """Weigh all places, and keep a random part of the usual ones."""
        places = np.concatenate([self.plain.embed(b.x).half().numpy() for b in items.batches(16)])  # (n, h, w, c)
        n, h, w, c = places.shape
        places = places.reshape(n, h * w, c)
        factor = np.ones((n, h * w), np.float32)
        if n > NEIGHBOURS + 1:
            for k in range(h * w):
                lof = LocalOutlierFactor(NEIGHBOURS, algorithm="brute").fit(places[:, k].astype(np.float32))
                factor[:, k] = -lof.negative_outlier_factor_
        usual = np.flatnonzero(factor <= np.quantile(factor, 1 - LEFT_OUT))
        chosen = np.random.default_rng(self.seed).permutation(usual)[:KEPT]
        self.bank = torch.from_numpy(places.reshape(-1, c)[chosen].astype(np.float32))
        self.weight = torch.from_numpy(factor.reshape(-1)[chosen])

    def score(self, items: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the maximum of each map, and the maps."""
        maps = []
        for batch in items.batches(8):
            places = self.plain.embed(batch.x)
            n, h, w, _ = places.shape
            near = []
            for part in torch.split(places.flatten(0, 2), 4096):
                far, which = torch.cdist(part, self.bank).min(1)
                near.append(far * self.weight[which])
            whole = AnomalyMap([(h, w)], self.size, self.size, sigma=4.0)
            maps.append(whole.scale(torch.cat(near).view(n, h, w), 0).numpy())
        drawn = np.concatenate(maps)
        return drawn.reshape(len(drawn), -1).max(1), drawn
