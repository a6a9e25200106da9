"""The GAN: what it finds, that no row speaks for itself, and what happens where its training diverges."""

import numpy as np
import pytest

from limbeck.config import replace
from limbeck.metrics import auroc
from limbeck.tabular import gan
from limbeck.tabular.committee import learn_committee
from limbeck.tabular.config import COMMITTEE, OUTLIER_KINDS, CommitteeConfig
from limbeck.tabular.gan import learn_gan
from limbeck.tabular.outliers import learn_outliers


def blob(n=400, p=4, seed=0):
    return np.random.default_rng(seed).normal(size=(n, p))


def sheet(n=400, off=20, seed=0):
    """Rows on a sheet in six columns, and the last ones off it, in each column by itself as usual as any."""
    z = blob(n + off, 2, seed) @ np.array([[1.0, 1.0, 0.0, 0.5, -1.0, 0.0], [0.0, 0.5, 1.0, -1.0, 0.5, 1.0]])
    rng = np.random.default_rng(seed)
    z[n:] = np.stack([rng.choice(column[:n], off) for column in z.T], 1)
    return z, np.repeat([0, 1], [n, off])


def test_far_rows_among_usual_ones_are_found():
    z, y = blob(), np.repeat([0, 1], [390, 10])
    z[390:] += np.random.default_rng(1).choice([-6.0, 6.0], (10, 4))
    detector, own = learn_gan(z, steps=100, folds=3, rounds=1, seed=0)
    assert auroc(y, own) > 0.95 and auroc(y, detector(z)) > 0.95


def test_rows_off_a_sheet_are_found_where_tails_see_nothing():
    z, y = sheet()
    _, own = learn_gan(z, steps=800, folds=2, rounds=1, seed=0)
    _, tails = learn_outliers("tails", z, CommitteeConfig(), seed=0)
    assert auroc(y, own) > 0.85 and auroc(y, tails) < 0.65


def test_no_row_speaks_for_itself():
    """The net that scores a row is the same whatever stands in that row's place; the others are not."""
    z = blob()
    first, _ = learn_gan(z, steps=30, folds=3, rounds=1, seed=0)
    z[5] = [9.0, -9.0, 9.0, -9.0]
    second, own = learn_gan(z, steps=30, folds=3, rounds=1, seed=0)
    before, after = first.each(z[5:6])[:, 0], second.each(z[5:6])[:, 0]
    same = before == after
    assert same.sum() == 1 and own[5] == after[same]


def test_each_row_is_scored_by_one_net_of_each_round():
    z = blob(60)
    detector, own = learn_gan(z, steps=30, folds=3, rounds=2, seed=0)
    each = detector.each(z)
    assert each.shape == (6, 60)
    np.testing.assert_allclose(detector(z), each.mean(0))
    # a net stands at k * rounds + r: of each round exactly one of the three left a row out
    means = np.stack([(each[2 * a] + each[2 * b + 1]) / 2 for a in range(3) for b in range(3)])
    assert np.isclose(means, own, rtol=1e-12).any(0).all()


def test_scores_grow_along_rays_that_leave_the_rows():
    detector, _ = learn_gan(blob(), steps=100, folds=3, rounds=1, seed=0)
    ways = blob(50, seed=3)
    ways /= np.abs(ways).max(1, keepdims=True)
    along = np.stack([detector(ways * distance) for distance in (5, 8, 13, 21, 34)])
    assert (np.diff(along, axis=0) > 0).mean() > 0.97


def test_a_training_that_diverged_is_not_heard(monkeypatch):
    monkeypatch.setattr(gan, "RATE", 1e30)
    quick = {"teachers": ["tails", "nearest", "gan"], "gan_steps": 20, "gan_rounds": 1}
    committee, own = learn_committee(blob(), replace(CommitteeConfig(), quick), seed=0)
    assert [m.name for m in committee.members] == ["tails", "nearest"] and np.isfinite(own).all()
    assert committee.notes == ["the detector 'gan' says something else than numbers and is not heard"]


def test_it_is_asked_only_if_named():
    assert "gan" in OUTLIER_KINDS and "gan" not in CommitteeConfig().teachers == COMMITTEE


@pytest.mark.parametrize("p", [1, 2])
def test_few_columns_and_few_rows(p):
    detector, own = learn_gan(blob(4, p), steps=5, folds=100, rounds=1, seed=0)
    assert np.isfinite(own).all() and np.isfinite(detector(blob(7, p))).all()
