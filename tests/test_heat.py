"""Maps as people see them: at the picture's size, on one scale for all pictures."""

import numpy as np
import pytest
from PIL import Image

from limbeck.errors import InputError
from limbeck.heat import COLOURS, heat, overlay, resize_map

RNG = np.random.default_rng(0)


def linear(scores, size):
    """Enlarge by the textbook: pixels are squares, their centres are joined by straight lines."""
    for axis, n in enumerate(size):
        m = scores.shape[axis]
        place = np.clip((np.arange(n) + 0.5) * m / n - 0.5, 0, m - 1)
        low = np.minimum(place.astype(int), max(0, m - 2))
        high = np.minimum(low + 1, m - 1)
        share = (place - low).reshape(-1, *[1] * (1 - axis))
        scores = scores.take(low, axis) * (1 - share) + scores.take(high, axis) * share
    return scores


@pytest.mark.parametrize("size", [(8, 6), (19, 40), (8, 61), (1000, 6)])
def test_a_map_is_enlarged_by_straight_lines(size):
    scores = RNG.normal(size=(8, 6)).astype(np.float32) * 1e3
    resized = resize_map(scores, size)
    assert resized.shape == size and resized.dtype == np.float32
    np.testing.assert_allclose(resized, linear(scores.astype(np.float64), size), rtol=1e-5, atol=1e-3)


def test_a_map_keeps_its_unit_when_it_shrinks():
    assert (resize_map(np.full((64, 64), -0.25, np.float32), (7, 90)) == np.float32(-0.25)).all()
    ramp = np.linspace(-1, 1, 64, dtype=np.float32)[None].repeat(64, 0)
    small = resize_map(ramp, (4, 16))
    assert (np.diff(small[0]) > 0).all() and abs(float(small.mean())) < 1e-6 and abs(small).max() <= 1


def test_of_its_own_size_a_map_is_left_as_it_is():
    scores = RNG.normal(size=(8, 6)).astype(np.float32)
    assert np.array_equal(resize_map(scores, (8, 6)), scores)


@pytest.mark.parametrize("shape", [(1, 8, 8), (8,), (2, 8, 8)])
def test_one_map_at_a_time(shape):
    with pytest.raises(InputError, match=r"map\[i\]"):
        resize_map(np.zeros(shape, np.float32), (8, 8))


@pytest.mark.parametrize(
    ("threshold", "cold", "hot"), [(2.0, 1.0, 4.0), (-2.0, -3.0, 0.0), (0.1, 0.05, 0.2), (1e6, 5e5, 2e6)]
)
def test_heat_is_bound_to_the_threshold(threshold, cold, hot):
    at = np.array([cold - 5, cold, (cold + hot) / 2, hot, hot + 5])
    np.testing.assert_allclose(heat(at, threshold), [0, 0, 0.5, 1, 1], atol=1e-9)
    rising = heat(np.linspace(cold, hot, 50), threshold)
    assert (np.diff(rising) > 0).all()


def test_a_threshold_of_zero_has_two_sides():
    assert heat(np.array([-1.0, 0.0, 1.0]), 0.0).tolist() == [0, 0, 1]


@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 3)])
def test_a_cold_picture_is_shown_in_grey_as_it_is(shape):
    picture = RNG.integers(0, 256, shape, np.uint8)
    shown = overlay(picture, np.zeros((8, 8), np.float32), threshold=1.0)
    grey = picture if picture.ndim == 2 else picture.astype(float).mean(2).round()
    assert shown.shape == (20, 30, 3) and shown.dtype == np.uint8
    assert (shown == grey[..., None]).all()


def test_heat_lies_where_the_map_is_hot_and_nowhere_else():
    scores = np.zeros((10, 10), np.float32)
    scores[:5] = 9.0
    picture = RNG.integers(0, 256, (10, 10), np.uint8)
    shown = overlay(picture, scores, threshold=1.0)
    assert (shown[5:] == picture[5:, :, None]).all()
    wanted = 0.25 * picture[:5, :, None] + 0.75 * COLOURS[-1]
    assert abs(shown[:5] - wanted).max() <= 0.5


def test_it_grows_lighter_with_heat():
    scores = np.linspace(0.5, 2.0, 64, dtype=np.float32)[None].repeat(4, 0)
    shown = overlay(np.zeros((4, 64), np.uint8), scores, threshold=1.0)
    lightness = np.asarray(Image.fromarray(shown).convert("L")).astype(int)[0]
    assert (np.diff(lightness) >= -1).all() and lightness[-1] > 150
