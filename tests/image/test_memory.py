"""What is strange and found again is unusual; what is strange and found nowhere else is suspect."""

import numpy as np
import pytest
import torch

from limbeck.calibrate import outlier_cut
from limbeck.image import memory
from limbeck.image.memory import distances_to_others, rarity, strangest_places

SHAPES = [(3, 8, 8), (4, 4, 4), (5, 2, 2)]  # shallow to deep


class Kept:
    """Features that are there already."""

    def __init__(self, n, seed=0):
        generator = torch.Generator().manual_seed(seed)
        self.scales = [torch.randn(n, *shape, generator=generator) for shape in SHAPES]

    def __getitem__(self, places):
        return [scale[torch.from_numpy(places)] for scale in self.scales]


def vectors(features, n):
    """Return the vector of each place of the last scale but one, by loops."""
    middle, deep = features[np.arange(n)][1:]
    out = np.empty((n, 16, 9))
    large = torch.nn.functional.interpolate(deep, (4, 4), mode="bilinear", align_corners=False)
    for i in range(n):
        for place in range(16):
            parts = [scale[i, :, place // 4, place % 4].numpy().astype(float) for scale in (middle, large)]
            out[i, place] = np.concatenate([part / np.linalg.norm(part) for part in parts])
    return out


def test_the_strangest_places_are_those_of_the_map_at_the_features_size():
    maps = torch.zeros(2, 16, 16)
    maps[0, 4:8, 8:12], maps[0, 0:2, 0:2], maps[0, 15, 15] = 1.0, 3.0, 5.0
    maps[1, 12:, :4] = 1.0
    places = strangest_places(maps, SHAPES)
    assert places.shape == (2, 3) and places[0].tolist() == [6, 0, 15] and places[1, 0] == 12
    assert strangest_places(maps, [(3, 1, 2)]).shape == (2, 2), "there are no more"


def test_distances_are_to_the_most_alike_place_of_each_other_picture():
    features, n = Kept(40), 40
    chosen = np.random.default_rng(0).permutation(n)[:37]
    places = torch.randint(0, 16, (37, 3), generator=torch.Generator().manual_seed(1))
    far, others = distances_to_others(features, chosen, places, seed=0)
    assert far.shape == (37, 3, 37) and (others == np.arange(37)).all()
    every = vectors(features, n)[chosen]
    for i in (0, 17, 36):
        for p in range(3):
            apart = np.linalg.norm(every - every[i, places[i, p]], axis=2).min(1)
            apart[i] = np.inf
            np.testing.assert_allclose(far[i, p].numpy(), apart, atol=2e-3)


def test_of_very_many_pictures_some_are_asked(monkeypatch):
    monkeypatch.setattr(memory, "MOST_OTHERS", 10)
    places = torch.zeros(25, 1, dtype=torch.int64)
    far, others = distances_to_others(Kept(25), np.arange(25), places, seed=0)
    assert far.shape == (25, 1, 10) and len(set(others)) == 10
    assert (torch.isinf(far[:, 0]).numpy() == (others == np.arange(25)[:, None])).all()
    assert (distances_to_others(Kept(25), np.arange(25), places, seed=0)[1] == others).all()


def apart(kinds, seed=0):
    """Return distances of pictures of some kinds: near to their own, far from others, each a little nearer to all."""
    kinds = np.asarray(kinds)
    rng = np.random.default_rng(seed)
    far = np.where(kinds[:, None] == kinds, 1.0, 3.0) + rng.uniform(0, 0.1, (len(kinds), 1))
    np.fill_diagonal(far, np.inf)
    return torch.from_numpy(far).float().unsqueeze(1), np.arange(len(kinds))


def suspects(far, others, **values):
    score, cut = rarity(far, others, **{"repeated": 0.05, "deviations": 6.0} | values)
    return set(np.flatnonzero(score > cut).tolist())


def test_who_is_alone_is_suspected_and_an_unusual_kind_is_not():
    kinds = [0] * 80 + [1] * 18 + [2, 3]
    assert suspects(*apart(kinds)) == {98, 99}


def test_rarity_is_the_mean_distance_of_the_nearest_others():
    far, others = apart([0] * 30 + [1])
    score, cut = rarity(far, others, repeated=0.2, deviations=1e9)
    np.testing.assert_allclose(score, np.sort(far[:, 0].numpy(), axis=1)[:, :7].mean(1), rtol=1e-6)
    assert cut == outlier_cut(score, 1e9)


def test_who_is_suspected_is_no_witness():
    """Five of a kind vouch for each other while five are asked, until two of them are found out."""
    far, others = apart([0] * 94 + [1] * 6)
    chain = far.clone()
    chain[94:96, 0, 94:] = 3.0  # two of them are alike nobody
    chain[94:, 0, 94:96] = 1.0  # but the others take them for witnesses
    torch.diagonal(chain[:, 0]).fill_(torch.inf)
    asked = {"repeated": 0.04}  # four of 100
    assert suspects(far, others, **asked) == set(), "a kind of six is a kind"
    assert suspects(chain, others, **asked) == set(range(94, 100))


def test_more_than_half_are_never_suspected():
    far, others = apart([0] * 30 + [1] * 30)
    far[30:32] *= 10
    score, cut = rarity(far, others, repeated=1.0, deviations=0.0)
    assert (score > cut).mean() <= 0.5
    assert np.isfinite(score).all()


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_few_pictures_have_few_witnesses(n):
    far, others = distances_to_others(Kept(n), np.arange(n), torch.zeros(n, 1, dtype=torch.int64), seed=0)
    score, cut = rarity(far, others, repeated=0.01, deviations=3.0)
    assert score.shape == (n,) and np.isfinite(score).all() and np.isfinite(cut)
    assert n > 1 or not (score > cut).any()
