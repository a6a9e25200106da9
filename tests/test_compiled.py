"""Oracle: the plain Python loop of `test_network`; for rows that are far, the network in numpy itself."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from test_network import MIXED, features, plain_score, random_network, random_rows

import limbeck
from limbeck.checks import check_detector
from limbeck.compiled import FAR, LANES, CompiledNetwork
from limbeck.errors import ConfigError, MissingExtraError
from limbeck.network import LINEAR, Network
from limbeck.runtime import scorer_for

nan, inf = float("nan"), float("inf")
BIASES = np.array([1.5, -2, 3, 0], np.float32), np.array([0.25], np.float32)
NUMBERS = features(range(7), np.arange(7.0), np.arange(1.0, 8.0))


def near_rows(n, seed=0):
    """Return rows for `MIXED`, gaps and values beyond the bend among them, none of them far."""
    x = random_rows(n, seed)
    x[::7, 0] = 0.0
    x[::5, 2] = -5.0 + 0.1 * (FAR - 1) * np.sign(np.arange(len(x[::5])) - 3)
    return x


@pytest.mark.parametrize("f", [MIXED, features([0, 4], [1, 2], [3, 4]), features(onehot=[(1, 0), (4, 2)])])
@pytest.mark.parametrize("widths", [(), (4,), (16, 8), (33, 30, 5)])
def test_scores_are_the_plain_loop(widths, f):
    net, x = random_network(1, f, widths), near_rows(60)
    assert len({row[2] for row in x.tolist() if abs(row[2] + 5) > 0.1 * LINEAR}) > 1  # some are beyond the bend
    found = CompiledNetwork.of(net)(x)
    assert found.dtype == np.float32 and found.shape == (60,)
    np.testing.assert_allclose(found, [plain_score(net, row) for row in x.tolist()], rtol=1e-5, atol=1e-5)


def test_a_network_without_inputs_is_its_bias():
    net = Network(features(), (np.zeros((0, 4), np.float32), np.ones((4, 1), np.float32)), BIASES)
    np.testing.assert_allclose(CompiledNetwork.of(net)(np.zeros((2, 1))), [plain_score(net, [0.0])] * 2, rtol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 15, 16, 17, LANES - 1, LANES, LANES + 1, 2 * LANES + 37])
def test_a_score_is_the_same_to_the_last_bit_whatever_stands_beside_it(n):
    net, x = CompiledNetwork.of(random_network(2)), near_rows(2 * LANES + 37)
    x[::11, 0] = 1e12
    alone = np.array([net(row[None])[0] for row in x])
    np.testing.assert_array_equal(net(x[:n]), alone[:n])
    np.testing.assert_array_equal(net(x[::-1][:n]), alone[::-1][:n])


def test_rows_that_are_far_are_the_networks_own():
    network = random_network(3)
    compiled, x = CompiledNetwork.of(network), near_rows(300)
    far = np.arange(0, 300, 9)
    x[far, 2] = np.resize([1e30, -1e308, 1e308, -5 - 0.1 * FAR * 1.01], far.size)
    wanted = network(x)
    found = compiled(x)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(found[far], network(x[far]))
    assert compiled.one(x[0]) is None and compiled.one(np.array([inf, 0, 0, 0, 0])) is None
    assert compiled.one(x[1]) == found[1]


def test_large_offsets_keep_their_digits():
    net = Network(features([0], [1e9], [10.0]), (np.ones((1, 1), np.float32),), (np.zeros(1, np.float32),))
    values = 1e9 + np.arange(-10.0, 11.0)
    np.testing.assert_allclose(CompiledNetwork.of(net)(values[:, None]), np.arange(-10, 11) / 10, rtol=1e-6)


@pytest.mark.parametrize(
    "turn",
    [
        np.asfortranarray,
        lambda x: x[:, ::-1],
        lambda x: x[::2],
        lambda x: x[:0],
        lambda x: np.broadcast_to(x[0], (5, 7)),
    ],
)
def test_rows_may_lie_as_they_like_and_are_left_alone(turn):
    network = random_network(4, NUMBERS)
    x = turn(np.random.default_rng(0).normal(3, 9, (40, 7)))
    before = x.copy()
    np.testing.assert_allclose(CompiledNetwork.of(network)(x), network(x), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(x, before)


def test_arrays_that_cannot_be_written_will_do():
    network = random_network(4, NUMBERS)
    arrays = network.tensors()
    for array in arrays.values():
        array.flags.writeable = False
    x = np.random.default_rng(0).normal(3, 9, (40, 7))
    x.flags.writeable = False
    np.testing.assert_array_equal(CompiledNetwork.of(Network.from_tensors(arrays))(x), CompiledNetwork.of(network)(x))


def test_a_student_whose_sums_cancel_is_refused():
    w = np.array([[1e6, -1e6]], np.float32)
    net = Network(
        features([0], [0.0], [1.0]),
        (w, np.array([[1.0], [1.0]], np.float32)),
        (np.array([1e6 + 1, 1e6], np.float32), np.array([-2e6], np.float32)),
    )
    with pytest.raises(ConfigError, match="'numba' loses digits"):
        CompiledNetwork.of(net)


def test_several_threads_may_ask_at_once():
    compiled = CompiledNetwork.of(random_network(5))
    parts = [near_rows(700, seed) for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        for found, x in zip(pool.map(compiled, parts), parts, strict=True):
            np.testing.assert_array_equal(found, compiled(x))


def test_a_package_opens_on_it(package, test_rows):
    ours, theirs = (limbeck.load(package, runtime=runtime) for runtime in ("auto", "numba"))
    a, b = ours.detect(test_rows), theirs.detect(test_rows)
    np.testing.assert_allclose(b.score, a.score, rtol=1e-5, atol=1e-5)
    assert (a.is_anomaly == b.is_anomaly).mean() > 0.99
    rows = theirs.rows(test_rows)[:20]
    assert type(theirs.scorer.network) is CompiledNetwork
    check_detector(theirs, rows, skip={"package_repeats_it": "it opens what it saved on the default runtime"})
    rows = np.nan_to_num(rows)
    np.testing.assert_array_equal([theirs.detect(row).score[0] for row in rows], theirs.detect(rows).score)


def test_it_needs_its_extra(package, monkeypatch):
    artefact = limbeck.load(package).artefact
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'limbeck\[numba\]'"):
        scorer_for(artefact, "numba")
    check_detector(limbeck.load(package), np.zeros((3, len(artefact.spec.columns))))  # of what is installed
