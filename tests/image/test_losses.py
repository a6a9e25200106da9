"""Identities that the losses must keep; gradients against torch's own."""

import pytest
import torch

from limbeck.image.losses import LOSSES, Mining, feature_loss
from limbeck.image.maps import distance


def pair(seed=0, shape=(3, 6, 4, 4)):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)


def test_global_is_local_where_all_places_are_as_loud():
    a, b = pair()
    a, b = a / a.norm(dim=1, keepdim=True), b / b.norm(dim=1, keepdim=True)
    assert feature_loss([a], [b], "global").item() == pytest.approx(feature_loss([a], [b], "local").item(), abs=1e-6)


def test_global_is_local_weighted_by_loudness():
    """cos(vec a, vec b) = Σ w_p cos(a_p, b_p), w_p = |a_p| |b_p| / (|a| |b|)."""
    a, b = pair()
    weight = a.norm(dim=1) * b.norm(dim=1) / (a.flatten(1).norm(dim=1) * b.flatten(1).norm(dim=1))[:, None, None]
    wanted = 1 - (weight * (1 - distance(a, b))).sum((1, 2))
    assert torch.allclose(LOSSES["global"](a, b), wanted, atol=1e-6)


@pytest.mark.parametrize("kind", LOSSES)
def test_a_larger_copy_costs_nothing(kind):
    a, _ = pair()
    assert feature_loss([a, a], [3 * a, 0.1 * a], kind).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("kind", ["global", "local"])
def test_right_angles_cost_one_a_scale(kind):
    a = torch.zeros(2, 2, 3, 3)
    b = a.clone()
    a[:, 0], b[:, 1] = 1, 1
    assert feature_loss([a, a, a], [b, b, b], kind).item() == pytest.approx(3)


def test_l2norm_is_twice_local():
    a, b = pair()
    assert torch.allclose(LOSSES["l2norm"](a, b), 2 * LOSSES["local"](a, b), atol=1e-5)


def gradient(mining, kind="global"):
    a, b = pair()
    b.requires_grad_()
    loss = feature_loss([a], [b], kind, mining)
    loss.backward()
    return loss.item(), b.grad, distance(a, b.detach())


@pytest.mark.parametrize("mode", ["zscore", "quantile"])
def test_mining_with_factor_one_changes_nothing(mode):
    plain, mined = gradient(None), gradient(Mining(mode, 0.5, 1.0))
    assert mined[0] == pytest.approx(plain[0])
    assert torch.allclose(plain[1], mined[1], atol=1e-7)


@pytest.mark.parametrize(("mode", "level"), [("zscore", 0.5), ("quantile", 0.9)])
def test_mining_with_factor_zero_silences_easy_places_alone(mode, level):
    plain, mined = gradient(None), gradient(Mining(mode, level, 0.0))
    far = plain[2]
    limit = far.mean() + level * far.std() if mode == "zscore" else far.flatten().quantile(level)
    easy = (far < limit).unsqueeze(1).expand_as(plain[1])
    assert 0 < easy.float().mean() < 1
    assert (mined[1][easy] == 0).all()
    assert torch.allclose(mined[1][~easy], plain[1][~easy], atol=1e-7)
    assert mined[0] == pytest.approx(plain[0]), "the value of the loss stays"
