"""Footings against their definitions, and against scikit-learn's discriminant."""

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from limbeck.image.footing import by_defects, by_quantiles, damage


def maps(seed=0, k=3, n=6, size=32):
    """Return normal pixels of scales that share some of their noise, and are of different sizes."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(1, n, size, size))
    own = rng.normal(size=(k, n, size, size))
    return ((0.5 * shared + own) * np.array([1.0, 5.0, 0.2])[:k, None, None, None] + 3).astype(np.float32)


def total(slope, shift, pixels):
    return np.tensordot(slope, pixels, 1) + sum(shift)


def test_quantiles_are_where_they_should_be():
    normal = maps()
    slope, shift = by_quantiles(normal)
    for k in range(3):
        footed = slope[k] * normal[k] + shift[k]
        assert np.quantile(footed, [0.9, 0.995]) == pytest.approx([0, 0.1 / 3], abs=1e-5)


def defects(normal, height):
    damaged, masks = maps(1), np.zeros((6, 32, 32), bool)
    masks[:, 10:14, 20:25] = True
    for k, rise in enumerate(height):
        damaged[k][masks] += rise
    return damaged, masks


def test_weights_are_fishers():
    normal = maps()
    damaged, masks = defects(normal, (2.0, 12.0, 0.4))
    slope, shift = by_defects(normal, damaged, masks)
    x = np.concatenate([normal.reshape(3, -1).T, damaged[:, masks].T])
    y = np.r_[np.zeros(normal[0].size), np.ones(masks.sum())]
    wanted = LinearDiscriminantAnalysis(solver="lsqr").fit(x, y).coef_[0]
    np.testing.assert_allclose(np.array(slope) / slope[2], wanted / wanted[2], rtol=0.05)
    assert np.quantile(total(slope, shift, normal), [0.9, 0.995]) == pytest.approx([0, 0.1], abs=1e-4)


def test_a_scale_that_speaks_against_defects_is_left_out():
    normal = maps()
    slope, _ = by_defects(normal, *defects(normal, (2.0, -6.0, 0.5)))
    assert slope[1] == 0 and slope[0] > 0 and slope[2] > 0


def test_where_nothing_tells_defects_the_quantiles_are_taken():
    normal = maps()
    assert by_defects(normal, *defects(normal, (-2.0, -6.0, -0.5))) == by_quantiles(normal)


def test_one_scale_is_only_rescaled():
    normal = maps(k=1)
    damaged, masks = defects(maps(), (2.0, 4.0, 1.0))
    slope, shift = by_defects(normal, damaged[:1], masks)
    assert np.quantile(total(slope, shift, normal), [0.9, 0.995]) == pytest.approx([0, 0.1], abs=1e-4)


def test_damage_is_of_every_kind_and_repeats():
    pictures = np.random.default_rng(0).integers(60, 200, (5, 64, 64, 3), np.uint8)
    first, masks = damage(pictures, seed=1)
    second, _ = damage(pictures, seed=1)
    assert len(first) == len(masks) >= 90 and masks.any((1, 2)).all()
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, damage(pictures, seed=2)[0])
