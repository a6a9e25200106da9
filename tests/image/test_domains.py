"""Divisions of a dirty training set: who is where, and how many anomalies a domain has."""

import numpy as np
import pytest

from limbeck.image.domains import divide, groups, outside, share_in_domain

N, DOMAINS = 43, 4


@pytest.fixture
def score():
    return np.random.default_rng(1).normal(size=N)


def test_groups_are_even_and_the_seeds_own():
    group = groups(N, DOMAINS, seed=3)
    assert sorted(np.bincount(group)) == [10, 11, 11, 11]
    assert (group == groups(N, DOMAINS, seed=3)).all() and (group != groups(N, DOMAINS, seed=4)).any()


def test_a_random_division_is_the_groups(score):
    group = groups(N, DOMAINS, 0)
    for known, count in ((None, 0), (score, int(0.3 * N))):
        held, suspected = divide("random", group, DOMAINS, known, 0.3)
        assert (held.sum(0) == 1).all() and (held.argmax(0) == group).all() and suspected.sum() == count
        others, suspected = divide("others", group, DOMAINS, known, 0.3)
        assert (others == ~held).all() and suspected.sum() == count
    for policy in ("share", "trim"):
        assert (divide(policy, group, DOMAINS, None, 0.3)[0] == held).all(), "where nothing is known yet"


def test_shared_pictures_are_in_every_domain_and_a_suspect_in_its_own(score):
    group = groups(N, DOMAINS, 0)
    held, suspected = divide("share", group, DOMAINS, score, 0.3)
    assert suspected.sum() == int(0.3 * N) and score[suspected].min() > score[~suspected].max()
    assert held[:, ~suspected].all()
    assert (held[:, suspected].sum(0) == 1).all() and (held[:, suspected].argmax(0) == group[suspected]).all()


def test_trimmed_pictures_are_the_highest_of_their_group_and_in_no_domain(score):
    group = groups(N, DOMAINS, 0)
    held, suspected = divide("trim", group, DOMAINS, score, 0.3)
    for k in range(DOMAINS):
        mine = group == k
        assert (mine & suspected).sum() == int(0.3 * mine.sum())
        assert score[mine & suspected].min() > score[mine & ~suspected].max()
        assert (held[k] == (mine & ~suspected)).all()


def test_without_a_share_who_is_above_the_cut_is_suspected(score):
    group = groups(N, DOMAINS, 0)
    for policy in ("others", "random", "share", "trim"):
        assert not divide(policy, group, DOMAINS, score, None)[1].any(), "nobody, where there is no cut"
        assert (divide(policy, group, DOMAINS, score, None, 0.7)[1] == (score > 0.7)).all()


def test_a_suspect_stays_with_its_domain_when_it_is_suspected_again(score):
    group = groups(N, DOMAINS, 0)
    first, was = divide("share", group, DOMAINS, score, 0.5)
    second, still = divide("share", group, DOMAINS, score + 0.01 * np.arange(N), 0.2)
    both = was & still
    assert both.any() and (first[:, both] == second[:, both]).all()


@pytest.mark.parametrize("policy", ["share", "trim", "random", "others"])
@pytest.mark.parametrize("suspects", [0.0, 0.2, 0.8])
def test_no_student_speaks_of_a_picture_that_it_has_seen(score, policy, suspects):
    held, _ = divide(policy, groups(N, DOMAINS, 0), DOMAINS, score, suspects)
    speaks = outside(held)
    assert speaks.any(0).all(), "somebody speaks of each picture"
    seen_by_all = held.all(0)
    assert speaks[:, seen_by_all].all() and not (speaks & held)[:, ~seen_by_all].any()
    assert (speaks | held).all()


def test_equal_scores_are_divided_the_same_way_each_time():
    held, suspected = divide("share", groups(10, 2, 0), 2, np.zeros(10), 0.3)
    assert np.flatnonzero(suspected).tolist() == [0, 1, 2] and held[:, 3:].all()


def test_the_share_of_anomalies_is_the_formulas():
    """A made-up set of which it is known what is anomalous: 40 of 400, of which 30 are among 120 suspects."""
    n, anomalies, domains, suspects = 400, 40, 4, 0.3
    anomalous = np.zeros(n, bool)
    anomalous[:anomalies] = True
    score = np.zeros(n)
    score[:30], score[100:190] = 1, 1  # suspects: 30 anomalies, 90 normal pictures
    group = np.arange(n) % domains  # so that each domain gets a quarter of both
    group[:30] = [0, 1, 2, 3] * 7 + [0, 1]
    held, suspected = divide("share", group, domains, score, suspects)
    assert suspected.sum() == 120 and anomalous[suspected].sum() == 30
    wanted = share_in_domain(n, anomalies, domains, suspects, caught=30 / 40)
    shares = [anomalous[members].sum() / members.sum() for members in held]
    assert np.mean(shares) == pytest.approx(wanted, abs=1e-3)
    assert wanted == pytest.approx(17.5 / 310) and wanted < anomalies / n
    # the specification's example: 22 of 242, four domains, 30 % suspected, nine of ten caught
    assert share_in_domain(242, 22, 4, 0.3, 0.9) == pytest.approx(0.038, abs=5e-4)
