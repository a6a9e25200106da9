"""The student's loss against its formula, and its torch form against its numpy form."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import rows

from limbeck.network import Features, Network
from limbeck.tabular.student import Lessons, TorchNetwork, train_student

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


def test_every_row_is_heard_once_before_any_twice():
    """With one row's label turned, an epoch of single-row steps moves the student; rows are not drawn with repeats."""
    x = np.eye(16, dtype=np.float32)
    hard = np.zeros(16, np.float32)
    losses = []
    train_student(
        Lessons(x, None, hard, np.zeros(16, np.float32)), (), steps=16, batch=1, rate=0.5, temperature=1.0, seed=0,
        on_step=lambda done, loss: losses.append(done),
    )  # fmt: skip
    weights, _, _ = train_student(
        Lessons(x, None, hard, np.zeros(16, np.float32)), (), steps=16, batch=1, rate=0.5, temperature=1.0, seed=0
    )
    start, _, _ = train_student(
        Lessons(x, None, hard, np.zeros(16, np.float32)), (), steps=1, batch=1, rate=1e-12, temperature=1.0, seed=0
    )
    assert losses[-1] == 16
    assert (np.abs(weights[0] - start[0]) > 1e-4).all()


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
