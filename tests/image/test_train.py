"""The loop: every picture once an epoch, and a stopped run goes on as if it had not been stopped, to the bit."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from torch import nn

from limbeck.contracts import ignore
from limbeck.image.config import ReverseDistillationConfig
from limbeck.image.train import batches, train

N, STEPS = 9, 7


class Known:
    """Features that are there already: one scale of 3 channels."""

    def __init__(self, n=N):
        self.values = torch.randn(n, 3, 4, 4, generator=torch.Generator().manual_seed(5))

    def __getitem__(self, places):
        return [self.values[torch.from_numpy(places)]]


class Learner:
    """A student with all that has a state: weights, running statistics, dropout."""

    looks = False

    def __init__(self, dropout=0.5):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            layers = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Dropout2d(dropout), nn.Conv2d(8, 3, 1)
            self.student = nn.Sequential(*layers)
        self.seen = []

    def loss(self, images, targets):
        assert images is None and self.student.training == torch.is_grad_enabled()
        self.seen.append(targets[0])
        return (self.student(targets[0]) - targets[0]).square().mean()


def settings(**values):
    return dataclasses.replace(
        ReverseDistillationConfig(), **{"steps": STEPS, "batch": 3, "checkpoint": 0.0, "schedule": "constant"} | values
    )


def learn(folder, config, *, learner=None, chosen=None, seed=0, on_step=ignore):
    learner = learner or Learner()
    chosen = np.arange(N) if chosen is None else chosen
    folder.mkdir(exist_ok=True)
    curve = train(learner, Known(), chosen, config, seed=seed, workdir=folder, on_step=on_step)
    return learner, curve


def same(a, b):
    a, b = a.student.state_dict(), b.student.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("size", [2, 3, 4, 16])
@pytest.mark.parametrize("n", [2, 3, 5, 8, 9, 16, 17, 33])
def test_an_epoch_shows_every_picture_once(n, size):
    steps = iter(batches(n, size, 10_000, seed=4))
    orders = []
    for _ in range(3):
        epoch = []
        while sum(map(len, epoch)) < n:
            _, places = next(steps)
            assert 2 <= len(places) <= size + 1, "batch normalisation needs two, memory is bounded"
            epoch.append(places)
        orders.append(np.concatenate(epoch).tolist())
        assert sorted(orders[-1]) == [*range(n)]
        assert len(epoch) == max(1, n // size + (n % size > 1))
    assert n < 5 or len(set(map(tuple, orders))) == 3, "each epoch is a new order"


def test_a_picture_that_is_alone_comes_twice():
    assert [places.tolist() for _, places in batches(1, 4, 3, seed=0)] == [[0, 0]] * 3


@pytest.mark.parametrize(("n", "size"), [(9, 4), (9, 3), (5, 16), (2, 2)])
def test_from_any_step_the_order_is_the_same(n, size):
    whole = [(step, places.tolist()) for step, places in batches(n, size, 12, seed=1)]
    assert [step for step, _ in whole] == [*range(12)]
    for first in range(13):
        assert [(step, places.tolist()) for step, places in batches(n, size, 12, 1, first)] == whole[first:]
    assert [places.tolist() for _, places in batches(n, size, 12, seed=2)] != [places for _, places in whole]


class Stopped(Exception):
    pass


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
@pytest.mark.parametrize("last", range(1, STEPS + 1))
def test_a_stopped_run_goes_on_to_the_same_bits(tmp_path, last, schedule):
    config = settings(schedule=schedule)
    unbroken, curve = learn(tmp_path / "whole", config)

    def stop(step):
        if step.done == last:
            raise Stopped

    with pytest.raises(Stopped):
        learn(tmp_path / "broken", config, on_step=stop)
    seen = []
    resumed, again = learn(tmp_path / "broken", config, on_step=lambda step: seen.append(step.done))
    assert seen == [*range(last, STEPS + 1)], "it goes on at the step that was not saved"
    assert same(resumed, unbroken) and again == curve


def test_a_run_without_a_checkpoint_begins_again(tmp_path):
    config = settings(checkpoint=1e9)
    unbroken, _ = learn(tmp_path / "whole", config)

    def stop(step):
        if step.done == 5:
            raise Stopped

    with pytest.raises(Stopped):
        learn(tmp_path / "broken", config, on_step=stop)
    assert not any((tmp_path / "broken").iterdir())
    assert same(learn(tmp_path / "broken", config)[0], unbroken)


def test_a_finished_run_is_not_learned_again(tmp_path):
    first, curve = learn(tmp_path, settings())

    def never(step):
        raise AssertionError(step)

    second, again = learn(tmp_path, settings(), on_step=never)
    assert same(first, second) and curve == again and not second.student.training


@pytest.mark.parametrize(("seconds", "wanted"), [(3.0, [3, 6, 7]), (0.0, [1, 2, 3, 4, 5, 6, 7]), (99.0, [7])])
def test_checkpoints_come_by_the_clock_and_at_the_end(tmp_path, monkeypatch, seconds, wanted):
    from limbeck.image import train as module

    now, saved = [0.0], []
    write = module.write_checkpoint
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(
        module, "write_checkpoint", lambda file, state: (saved.append(len(state["losses"])), write(file, state))
    )

    def tick(step):
        now[0] += 1

    learn(tmp_path, settings(checkpoint=seconds), on_step=tick)
    assert saved == wanted


def test_dropout_and_the_seed_decide(tmp_path):
    dropped, _ = learn(tmp_path / "a", settings())
    assert not same(dropped, learn(tmp_path / "b", settings(), learner=Learner(dropout=0.0))[0])
    assert not same(dropped, learn(tmp_path / "c", settings(), seed=1)[0])
    assert same(dropped, learn(tmp_path / "d", settings())[0])
    assert not dropped.student.training, "left as it is used"


def test_each_step_drops_others(tmp_path):
    learner, dropped = Learner(), []
    learner.student[2].register_forward_hook(lambda module, x, y: dropped.append((y == 0).all((2, 3))))
    learn(tmp_path, settings(), learner=learner)
    assert len(dropped) == STEPS and all(not torch.equal(a, b) for a, b in itertools.pairwise(dropped))


def test_nothing_random_of_the_caller_is_used_or_touched(tmp_path):
    torch.manual_seed(8)
    wanted = torch.rand(3)
    torch.manual_seed(8)
    first, _ = learn(tmp_path / "a", settings())
    assert torch.equal(torch.rand(3), wanted)
    assert same(first, learn(tmp_path / "b", settings())[0])


def test_only_the_chosen_pictures_are_learned(tmp_path):
    chosen = np.array([1, 4, 6, 7])
    learner, _ = learn(tmp_path, settings(batch=4), chosen=chosen)
    values = Known().values
    for batch in learner.seen:
        rows = {int(torch.nonzero((values == row).flatten(1).all(1))) for row in batch}
        assert rows == set(chosen.tolist())


def test_steps_tell_the_loss_and_the_curve_is_their_mean(tmp_path):
    seen = []
    learner, curve = learn(tmp_path, settings(steps=250, batch=8, checkpoint=1e9), on_step=seen.append)
    losses = np.array([step.values["loss"] for step in seen])
    assert [(s.stage, s.done, s.total) for s in seen] == [("learning", i + 1, 250) for i in range(250)]
    assert len(curve) == 100
    np.testing.assert_allclose(curve[0], losses[:3].mean())  # 250 into 100 parts: 50 of three, then 50 of two
    np.testing.assert_allclose(curve[-1], losses[-2:].mean())
    assert curve[-1] < 0.5 * curve[0], "it learns"


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_the_rate_follows_its_schedule(tmp_path, monkeypatch, schedule):
    rates = []

    class Spy(torch.optim.AdamW):
        def step(self, *a, **k):
            rates.append(self.param_groups[0]["lr"])
            return super().step(*a, **k)

    monkeypatch.setattr(torch.optim, "AdamW", Spy)
    learn(tmp_path, settings(steps=4, schedule=schedule, rate=0.01))
    cosine = [0.01, 0.01 * (1 + 0.5**0.5) / 2, 0.005, 0.01 * (1 - 0.5**0.5) / 2]
    np.testing.assert_allclose(rates, cosine if schedule == "cosine" else [0.01] * 4)


def judged(learner, held):
    """Return the loss of the pictures held out, in the mode in which a student is used."""
    with torch.no_grad():
        return (learner.student.eval()(held) - held).square().mean().item()


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_the_best_weights_are_kept(tmp_path, optimiser):
    """Learning gets worse on purpose after the first epochs: the rate is far too high."""
    config = settings(keep="best", rate=0.3, steps=12, optimiser=optimiser)
    chosen, held = np.arange(6), np.arange(6, N)
    after = []

    class Watched(Learner):
        def loss(self, images, targets):
            if not self.student.training:
                self.last = {k: v.clone() for k, v in self.student.state_dict().items()}
                after.append((targets[0], self.last))
                return (self.student(targets[0]) - targets[0]).square().mean()
            return super().loss(images, targets)

    learner = Watched()
    train(learner, Known(), chosen, config, seed=0, workdir=tmp_path, on_step=ignore, held=held)
    assert len(after) == 6, "once an epoch"
    values = Known().values[6:]
    losses = []
    for _, state in after:
        other = Learner()
        other.student.load_state_dict(state)
        losses.append(judged(other, values))
    assert judged(learner, values) == pytest.approx(min(losses), rel=1e-6)
    assert np.argmin(losses) != len(losses) - 1, "this test tells the best from the last"


def test_the_best_weights_survive_a_stop(tmp_path):
    config = settings(keep="best", rate=0.3, steps=8)
    chosen, held = np.arange(6), np.arange(6, N)

    def learned(folder, on_step=ignore):
        folder.mkdir(exist_ok=True)
        learner = Learner()
        train(learner, Known(), chosen, config, seed=0, workdir=folder, on_step=on_step, held=held)
        return learner

    def stop(step):
        if step.done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learned(tmp_path / "a", stop)
    assert same(learned(tmp_path / "a"), learned(tmp_path / "b"))


def test_a_student_that_looks_is_shown_its_pictures(tmp_path):
    class Shown(Known):
        def pictures(self, places):
            return torch.from_numpy(places)

    class Looking(Learner):
        looks = True

        def loss(self, images, targets):
            assert torch.equal(Shown().values[images], targets[0])
            return super().loss(None, targets)

    learner = Looking()
    train(learner, Shown(), np.arange(N), settings(), seed=0, workdir=tmp_path, on_step=ignore)
    assert len(learner.seen) == STEPS
