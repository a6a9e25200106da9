"""The student's loss against its formula, and its torch form against its numpy form."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import rows

from limbeck.network import Features, Network
from limbeck.tabular.encode import learn_features
from limbeck.tabular.student import Lessons, TorchNetwork, export, train_student

rng = np.random.default_rng(0)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def entropy(target, z):
    return -(target * np.log(sigmoid(z)) + (1 - target) * np.log(1 - sigmoid(z)))


def test_the_loss_is_the_formula():
    """share · T² · CE(σ(z/T), σ(s/T)) + (1 − share) · CE(y, σ(s)), averaged: written out, on the first step."""
    n, t = 64, 3.0
    x = rng.normal(size=(n, 4)).astype(np.float32)
    soft, hard = rng.normal(size=n).astype(np.float32) * 3, (rng.random(n) < 0.3).astype(np.float32)
    share = rng.choice([0.7, 1.0], n).astype(np.float32)
    weights, biases, curve = train_student(
        Lessons(x, soft, hard, share), (8,), steps=1, batch=n, rate=1e-12, temperature=t, seed=0
    )
    s = np.maximum(x @ weights[0] + biases[0], 0) @ weights[1] + biases[1]
    s = s[:, 0].astype(float)
    wanted = share * t**2 * entropy(sigmoid(soft / t), s / t) + (1 - share) * entropy(hard, s)
    np.testing.assert_allclose(curve[0], wanted.mean(), rtol=1e-5)


def first_step(soft, hard, share, **options):
    """Return the loss of the very first step, and what the untouched student says of each row."""
    n = len(hard)
    x = np.random.default_rng(1).normal(size=(n, 4)).astype(np.float32)
    weights, biases, curve = train_student(
        Lessons(x, soft, hard, share), (8,), steps=1, batch=n, rate=1e-12, seed=0, **{"temperature": 1.0, **options}
    )
    return curve[0], (np.maximum(x @ weights[0] + biases[0], 0) @ weights[1] + biases[1])[:, 0].astype(float)


def words(n=64, seed=2):
    draw = np.random.default_rng(seed)
    return (draw.normal(size=n) * 6).astype(np.float32), (draw.random(n) < 0.3).astype(np.float32)


def test_huber_is_on_clipped_log_odds():
    soft, hard = words()
    loss, s = first_step(soft, hard, np.ones(64, np.float32), soft_loss="huber")
    gap = np.abs(s - np.clip(soft, -8, 8))
    assert (np.abs(soft) > 8).any() and (gap < 1).any()
    np.testing.assert_allclose(loss, np.where(gap < 1, gap**2 / 2, gap - 0.5).mean(), rtol=1e-5)


def test_focal_loss_is_the_formula():
    _, hard = words()
    loss, s = first_step(None, hard, np.zeros(64, np.float32), hard_loss="focal")
    p = np.where(hard == 1, sigmoid(s), 1 - sigmoid(s))
    np.testing.assert_allclose(loss, (-((1 - p) ** 2) * np.log(p)).mean(), rtol=1e-5)


def test_weighted_loss_gives_each_class_half():
    _, hard = words()
    loss, s = first_step(None, hard, np.zeros(64, np.float32), hard_loss="weighted")
    halves = [entropy(hard[hard == v], s[hard == v]).mean() for v in (0, 1)]
    np.testing.assert_allclose(loss, np.mean(halves), rtol=1e-5)


def untaught_rows(critical, attention, steps=16, n=16):
    """Return which rows one epoch of single-row steps leaves without any influence: each row owns one weight."""
    hard = np.zeros(n, np.float32)
    lessons = Lessons(np.eye(n, dtype=np.float32), None, hard, hard, np.array(critical, dtype=np.int64))
    taught, start = (
        train_student(lessons, (), steps=k, batch=4, rate=r, temperature=1.0, attention=attention, seed=0)[0][0]
        for k, r in ((steps, 0.5), (1, 1e-12))
    )
    moved = np.abs(taught - start)[:, 0]
    return np.flatnonzero(moved < 1e-3)  # weight decay alone moves less than that


def test_every_row_is_heard_once_before_any_twice():
    assert untaught_rows([], 0.0, steps=4).size == 0
    assert untaught_rows([], 0.0, steps=2).size == 8


def test_critical_rows_take_their_share_of_each_step():
    quiet = untaught_rows([3], 0.5, steps=4)
    assert 3 not in quiet and quiet.size >= 7  # two of four places in each step are its own
    np.testing.assert_array_equal(untaught_rows([3], 0.0, steps=2), untaught_rows([], 0.0, steps=2))
    everywhere = list(range(12))  # not rarer than their share: nothing to do
    np.testing.assert_array_equal(untaught_rows(everywhere, 0.5, steps=2), untaught_rows([], 0.0, steps=2))


def test_the_rate_grows_with_the_root_of_the_batch():
    """With Adam the first step of each weight is the rate, whatever the gradient."""
    x = np.eye(4, dtype=np.float32).repeat(512, axis=0)
    hard = np.zeros(len(x), np.float32)

    def step(batch):
        runs = [
            train_student(Lessons(x, None, hard, hard), (), steps=1, batch=batch, rate=r, temperature=1.0, seed=0)[0][0]
            for r in (1e-2, 1e-12)
        ]
        return np.abs(runs[0] - runs[1])[:, 0]

    np.testing.assert_allclose(step(2048) / step(512), 2.0, rtol=0.01)


def test_training_leaves_the_random_state_and_threads_alone():
    torch.manual_seed(7)
    wanted = torch.rand(1).item()
    torch.manual_seed(7)
    threads = torch.get_num_threads()
    train_student(
        Lessons(np.eye(4, dtype=np.float32), None, np.zeros(4, np.float32), np.zeros(4, np.float32)), (4,),
        steps=2, batch=2, rate=0.1, temperature=1.0, seed=0,
    )  # fmt: skip
    assert torch.rand(1).item() == wanted
    assert torch.get_num_threads() == threads


@settings(deadline=None, max_examples=80)
@given(data=st.data())
def test_torch_repeats_numpy(data):
    """Numbers, gaps and categories in any arrangement of columns."""
    seed = data.draw(st.integers(0, 50))
    draw = np.random.default_rng(seed)
    features = Features(
        number=np.array([0, 2]), centre=np.array([1e9, 0.0]), scale=np.array([10.0, 1e-3]),
        indicator=np.array([2, 3]), onehot_column=np.array([1, 1, 3]), onehot_code=np.array([0, 2, 1]),
    )  # fmt: skip
    sizes = (features.width, 6, 1)
    network = Network(
        features,
        tuple(draw.normal(size=(a, b)).astype(np.float32) for a, b in zip(sizes, sizes[1:], strict=False)),
        tuple(draw.normal(size=b).astype(np.float32) for b in sizes[1:]),
    )
    x = data.draw(rows(4))
    x[:, 1] = np.where(np.isnan(x[:, 1]), np.nan, np.abs(x[:, 1]) % 4 // 1)
    a, b = network(x), TorchNetwork(network)(torch.from_numpy(x)).numpy()
    assert (np.abs(a - b) <= 1e-5 * np.maximum(1, np.abs(a))).all()


def test_soft_words_may_change_as_the_student_learns():
    """Asked nine times with what the student says of every row; from then on it learns what it is told then."""
    x = np.random.default_rng(3).normal(size=(64, 4)).astype(np.float32)
    first, later, asked = x[:, 0].copy(), x[:, 1].copy(), []

    def retell(said):
        asked.append(said.copy())
        return later

    lessons = Lessons(x, first, np.zeros(64, np.float32), np.ones(64, np.float32))
    options = dict(steps=500, batch=32, rate=1e-2, temperature=1.0, soft_loss="huber", seed=0)
    weights, biases, _ = train_student(lessons, (16,), retell=retell, **options)
    said = (np.maximum(x @ weights[0] + biases[0], 0) @ weights[1] + biases[1])[:, 0]
    assert len(asked) == 9 and all(a.shape == (64,) for a in asked)
    assert np.corrcoef(asked[0], first)[0, 1] > 0.9 and np.corrcoef(said, later)[0, 1] > 0.99


def test_the_graph_sums_as_numpy_does():
    """Large terms that cancel: in float32 sums such a network is more than 1e-5 off."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=(600, 30)) * np.where(draw.random((600, 30)) < 0.1, 1e6, 1.0)
    sizes = (30, 32, 32, 1)
    weights = [draw.normal(size=s).astype(np.float32) for s in zip(sizes, sizes[1:], strict=False)]
    biases = [draw.normal(size=s).astype(np.float32) for s in sizes[1:]]
    network = Network(learn_features(x), tuple(weights), tuple(biases))
    graph, difference = export(network, x, "any")
    assert difference <= 1e-7
    assert len(graph) < 4 * network.size + 8000, "in the file weights keep their 32 bits"
