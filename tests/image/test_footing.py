"""Footings against their definitions."""

import numpy as np
import pytest

from limbeck.image.footing import by_means, by_quantiles


def maps(seed=0, k=3, n=6, size=32):
    """Return normal pixels of scales that share some of their noise, and are of different sizes."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(1, n, size, size))
    own = rng.normal(size=(k, n, size, size))
    return ((0.5 * shared + own) * np.array([1.0, 5.0, 0.2])[:k, None, None, None] + 3).astype(np.float32)


def test_a_normal_pixel_is_zero_in_each_scale_and_one_as_far_again_is_one_in_their_sum():
    normal = maps()
    slope, shift = by_means(normal)
    footed = np.array(slope)[:, None, None, None] * normal + np.array(shift)[:, None, None, None]
    np.testing.assert_allclose(footed.mean((1, 2, 3)), 0, atol=1e-6)
    means = normal.mean((1, 2, 3), dtype=np.float64)
    assert np.array(slope) @ (2 * means) + sum(shift) == pytest.approx(1)


def test_a_scale_without_a_fault_has_a_finite_mean():
    slope, _ = by_means(np.zeros((2, 3, 4, 4), np.float32))
    assert np.isfinite(slope).all()


def test_quantiles_are_where_they_should_be():
    normal = maps()
    slope, shift = by_quantiles(normal)
    for k in range(3):
        footed = slope[k] * normal[k] + shift[k]
        assert np.quantile(footed, [0.9, 0.995]) == pytest.approx([0, 0.1 / 3], abs=1e-5)
