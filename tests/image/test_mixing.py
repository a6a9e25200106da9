"""Foreign patches: where they come from, and that all scales have the same ones."""

import pytest
import torch

from limbeck.image.mixing import mix


def pyramid(n=6, sizes=(32, 16, 8)):
    """Features that say which picture and which of the deepest places they are of."""
    deepest = sizes[-1]
    place = torch.arange(deepest * deepest).view(1, 1, deepest, deepest) / 1000
    whole = torch.arange(n).view(n, 1, 1, 1) + place
    return [whole.repeat_interleave(s // deepest, 2).repeat_interleave(s // deepest, 3) for s in sizes]


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        yield


def test_patches_are_of_other_pictures_and_the_same_at_all_scales():
    before = pyramid()
    after = mix(before, 1.0)
    changed = after[-1] != before[-1]
    share = changed.float().mean((1, 2, 3))
    assert (share > 0).all() and (share < 0.5).all()
    for a, b in zip(after[:-1], before[:-1], strict=True):
        times = a.shape[2] // 8
        wanted = after[-1].repeat_interleave(times, 2).repeat_interleave(times, 3)
        assert torch.equal(a, wanted) and not torch.equal(a, b)
    known = set(before[-1].flatten().tolist())
    assert set(after[-1][changed].tolist()) <= known, "nothing is made up but where it is"


def test_what_is_given_stays_as_it_is():
    before = pyramid()
    kept = [f.clone() for f in before]
    mix(before, 1.0)
    assert all(torch.equal(a, b) for a, b in zip(before, kept, strict=True))


def test_the_share_is_of_pictures():
    before = pyramid(n=2000, sizes=(8,))
    changed = (mix(before, 0.25)[0] != before[0]).any(3).any(2).any(1)
    assert changed.float().mean().item() == pytest.approx(0.25, abs=0.04)
    assert torch.equal(mix(before, 0.0)[0], before[0])


@pytest.mark.parametrize("size", [1, 2])
def test_a_code_without_room_is_left_alone(size):
    before = pyramid(sizes=(4 * size, size))
    assert all(torch.equal(a, b) for a, b in zip(mix(before, 1.0), before, strict=True))


def test_one_picture_gets_its_own_patches_from_elsewhere():
    before = pyramid(n=1, sizes=(16, 8))
    torch.manual_seed(5)
    after = mix(before, 1.0)
    assert not torch.equal(after[0], before[0])
