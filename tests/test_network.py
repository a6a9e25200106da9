"""Oracle: the same arithmetic as a plain Python loop over values, written from the docstrings."""

from __future__ import annotations

import math

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.network import LINEAR, REACH, ROWS, Features, Network

nan = float("nan")


def features(number=(), centre=(), scale=(), indicator=(), onehot=()):
    places = np.array(onehot, np.int64).reshape(-1, 2)
    return Features(
        np.array(number, np.int64),
        np.array(centre, np.float64),
        np.array(scale, np.float64),
        np.array(indicator, np.int64),
        places[:, 0].copy(),
        places[:, 1].copy(),
    )


MIXED = features([0, 2, 3], [1.0, -5.0, 0.5], [2.0, 0.1, 0.5], [0, 3], [(1, 0), (1, 2), (4, 1)])


def plain_inputs(f, row):
    out = []
    for j, centre, scale in zip(f.number.tolist(), f.centre.tolist(), f.scale.tolist(), strict=True):
        if math.isnan(row[j]):
            out.append(0.0)
            continue
        z = min(max((row[j] - centre) / scale, -REACH), REACH)
        out.append(z if abs(z) <= LINEAR else math.copysign(LINEAR + math.log1p(abs(z) - LINEAR), z))
    out += [float(math.isnan(row[j])) for j in f.indicator]
    out += [float(row[j] == code) for j, code in zip(f.onehot_column, f.onehot_code, strict=True)]
    return out


def plain_score(net, row):
    h = plain_inputs(net.features, row)
    for i, (w, b) in enumerate(zip(net.weights, net.biases, strict=True)):
        h = [sum(h[k] * float(w[k, o]) for k in range(len(h))) + float(b[o]) for o in range(len(b))]
        if i < len(net.weights) - 1:
            h = [max(v, 0.0) for v in h]
    return h[0]


def random_network(seed=0, f=MIXED, widths=(16, 8)):
    rng = np.random.default_rng(seed)
    sizes = [f.width, *widths, 1]
    return Network(
        f,
        tuple(
            rng.normal(0, 1 / math.sqrt(a), (a, b)).astype(np.float32)
            for a, b in zip(sizes[:-1], sizes[1:], strict=True)
        ),
        tuple(rng.normal(0, 0.3, b).astype(np.float32) for b in sizes[1:]),
    )


def random_rows(n, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 3, (n, 5))
    x[:, 1], x[:, 4] = rng.integers(0, 4, n), rng.integers(0, 3, n)
    x[rng.random((n, 5)) < 0.1] = nan
    x[::7, 0] *= 1e12
    return x


VALUES = st.one_of(
    st.floats(-1e308, 1e308),
    st.floats(-10, 10),
    st.sampled_from([nan, 0.0, 1.0, 2.0, 7.0, 1e308, -1e308, 1e30, -5.3, -4.7]),
)


@settings(deadline=None, max_examples=80)
@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 6), st.just(5)), elements=VALUES))
def test_features_are_the_plain_loop(x):
    before = x.copy()
    found = MIXED(x)
    assert found.dtype == np.float32 and found.shape == (len(x), MIXED.width)
    np.testing.assert_allclose(found, [plain_inputs(MIXED, row) for row in x.tolist()], rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(x, before)


def test_each_part_may_be_absent():
    x = np.array([[2.0, 1.0], [nan, 0.0]])
    assert features([0, 1], [0, 0], [1, 1])(x).tolist() == [[2, 1], [0, 0]]
    assert features([1], [1], [2])(x).tolist() == [[0], [-0.5]]
    assert features(indicator=[0])(x).tolist() == [[0], [1]]
    assert features(onehot=[(1, 0), (1, 1)])(x).tolist() == [[0, 1], [1, 0]]
    assert features([0], [0], [1], [0], [(1, 1)]).width == 3


def test_an_unseen_or_missing_category_has_no_one_hot_place():
    f = features(onehot=[(0, 0), (0, 1)])
    assert f(np.array([[0.0], [1.0], [2.0], [nan], [-1.0]])).tolist() == [[1, 0], [0, 1], [0, 0], [0, 0], [0, 0]]


@pytest.mark.parametrize("f", [MIXED, features([0, 1, 2, 3, 4], [0] * 5, [1] * 5)])
def test_columns_that_lie_one_after_another_are_the_same_rows(f):
    """As a data frame gives them; gaps and values far out among them."""
    x = random_rows(40)
    np.testing.assert_array_equal(f(np.asfortranarray(x)), f(x))


def test_large_offsets_keep_their_digits():
    values = 1e9 + np.arange(-10.0, 11.0)
    found = features([0], [1e9], [10.0])(values[:, None])[:, 0]
    np.testing.assert_allclose(found, np.arange(-10, 11) / 10, rtol=1e-6)
    assert np.unique(found).size == 21


@pytest.mark.parametrize("scale", [1e-300, 1e-3, 1.0, 1e300])
def test_far_values_stay_finite_and_in_order(scale):
    values = np.array([-1.7e308, -1e308, -1e100, -1e20, -4.0, 0.0, 4.0, 1e20, 1e100, 1e308, 1.7e308]) * 0.99
    found = features([0], [0.0], [scale])(values[:, None])[:, 0]
    assert np.isfinite(found).all() and (np.diff(found) >= 0).all()
    assert np.abs(found).max() <= LINEAR + math.log1p(REACH) + 1


def test_a_difference_that_overflows_is_cut():
    found = features([0], [-1.7e308], [1.0])(np.array([[1.7e308]]))
    np.testing.assert_allclose(found, LINEAR + math.log1p(REACH), rtol=1e-6)


def test_values_are_kept_up_to_the_bend_and_grow_slowly_beyond():
    z = np.array([-3.0, -2.9, 0.0, 2.9, 3.0, 3.001, 4.0, 1003.0])
    found = features([0], [0.0], [1.0])(z[:, None])[:, 0]
    np.testing.assert_allclose(found[:5], z[:5], rtol=1e-6)
    np.testing.assert_allclose(found[5:], 3 + np.log1p(z[5:] - 3), rtol=1e-6)


@pytest.mark.parametrize("widths", [(), (4,), (16, 8), (32, 32, 5)])
def test_scores_are_the_plain_loop(widths):
    net, x = random_network(1, widths=widths), random_rows(60)
    found = net(x)
    assert found.dtype == np.float32 and found.shape == (60,)
    np.testing.assert_allclose(found, [plain_score(net, row) for row in x.tolist()], rtol=2e-6, atol=2e-6)
    sizes = [MIXED.width, *widths, 1]
    assert net.size == sum((a + 1) * b for a, b in zip(sizes[:-1], sizes[1:], strict=True))


@pytest.mark.parametrize("value", [1.7e308, -1.7e308, 1e30, 0.0, 5e-324, nan])
def test_scores_of_far_values_are_finite(value):
    x = np.full((2, 5), value)
    assert np.isfinite(random_network()(x)).all()


def test_large_sums_that_cancel_keep_their_digits():
    weight = np.array([[3e6], [-3e6], [1e6], [-1e6], [1.0]], np.float32)
    net = Network(features(range(5), [0.0] * 5, [1.0] * 5), (weight,), (np.array([0.25], np.float32),))
    x = np.random.default_rng(6).uniform(-3, 3, (200, 5))
    x[:, 1], x[:, 3] = x[:, 0], x[:, 2]
    np.testing.assert_allclose(net(x), x[:, 4] + 0.25, atol=1e-6)


def test_a_row_alone_scores_as_in_a_batch():
    net, x = random_network(2, widths=(64, 64)), random_rows(500)
    together = net(x)
    alone = np.concatenate([net(row[None, :]) for row in x])
    np.testing.assert_allclose(alone, together, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(net(x[::-1])[::-1], together, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("n", [0, 1, ROWS - 1, ROWS, ROWS + 1, 2 * ROWS + 5])
def test_pieces_of_a_long_table_are_joined_in_order(n):
    net = random_network(3)
    x = random_rows(2 * ROWS + 5)[:n]
    found = net(x)
    assert found.shape == (n,) and found.dtype == np.float32
    some = np.unique(np.clip([0, 17, ROWS - 1, ROWS, ROWS + 1, n - 1], 0, max(n - 1, 0)))[: n or None]
    if n:
        np.testing.assert_allclose(found[some], net(x[some]), rtol=1e-6, atol=1e-7)


def test_tensors_round_trip():
    net, x = random_network(4), random_rows(50)
    named = net.tensors()
    assert {k: v.dtype.name for k, v in named.items() if k.startswith("layers")} == {
        f"layers.{i}.{part}": "float32" for i in range(3) for part in ("weight", "bias")
    }
    back = Network.from_tensors({k: v.copy() for k, v in reversed(named.items())})
    assert np.array_equal(back(x), net(x)) and back.size == net.size
    assert back.tensors().keys() == named.keys()
    assert all(np.array_equal(v, back.tensors()[k]) for k, v in named.items())


def test_a_deep_network_keeps_the_order_of_its_layers():
    net = random_network(5, widths=(3,) * 11)  # layers.10 sorts before layers.2 as a text
    assert np.array_equal(Network.from_tensors(net.tensors())(random_rows(20)), net(random_rows(20)))


@pytest.mark.parametrize("lost", ["features.centre", "features.onehot_code", "layers.0.weight", "layers.1.bias"])
def test_a_lost_tensor_is_named(lost):
    named = random_network().tensors()
    del named[lost]
    with pytest.raises(KeyError):
        Network.from_tensors(named)


PLAIN = features([0, 1, 2], [1.0, -5.0, 1e9], [2.0, 0.1, 10.0], [1])


@settings(deadline=None, max_examples=80)
@given(
    x=hnp.arrays(np.float64, (5, 3), elements=st.floats(-9, 9) | st.sampled_from([nan, 1e300, -1e300, 50.0])),
    seed=st.integers(0, 5),
)
def test_one_plain_row_the_short_way_is_the_plain_loop(x, seed):
    net, x = random_network(seed, PLAIN), np.array([1.0, -5.0, 1e9]) + x * [1, 0.05, 5]
    for row in x:
        score = net.one(row)
        wanted = plain_score(net, row)
        assert score == pytest.approx(wanted, rel=1e-9, abs=1e-9)
        assert np.float32(score) == pytest.approx(net(row[None])[0], rel=1e-6, abs=1e-6)


def test_what_is_no_plain_row_goes_the_long_way():
    net, row = random_network(0, PLAIN), np.array([1.0, -5.0, 1e9])
    assert net.one(row) is not None
    for value in (np.inf, -np.inf):  # to be refused there
        assert net.one(np.array([1.0, value, 1e9])) is None
    assert net.one(row[:2]) is None
    assert random_network(0, MIXED).one(np.zeros(5)) is None  # categories
    assert random_network(0, features([0, 2], [0, 0], [1, 1])).one(np.zeros(3)) is None  # a column left out
    assert random_network(0, features([1, 0], [0, 0], [1, 1])).one(np.zeros(2)) is None  # another order
    assert random_network(0, PLAIN, widths=()).one(row) is None
