"""Features on disk: once, in half precision, resumable, bounded."""

import resource
import signal

import numpy as np
import pytest
import torch

from limbeck.data.picture_arrays import ArrayItems
from limbeck.errors import OutputError
from limbeck.image.features import Features
from limbeck.picture_spec import PictureSpec

SHAPES = ((2, 4, 4), (3, 2, 2))
RECORD = 2 * (32 + 12)


class Teacher:
    """Says something that can be checked by hand, and counts the pictures it was shown."""

    def __init__(self):
        self.shown = 0

    def __call__(self, pictures):
        self.shown += len(pictures)
        mean = pictures.float().mean((1, 2, 3))
        return [mean[:, None, None, None].expand(-1, *SHAPES[0]), -mean[:, None, None, None].expand(-1, *SHAPES[1])]


@pytest.fixture
def items():
    pictures = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8)
    return ArrayItems(PictureSpec(8, 8, 255), pictures)


def features_of(items, folder, teacher, most_bytes=10**6, key="a"):
    return Features(items, teacher, SHAPES, folder=folder, most_bytes=most_bytes, key=key)


def check(features, items):
    places = np.array([39, 3, 17, 0])
    wanted = items.pictures[places].astype(np.float64).mean((1, 2, 3))
    first, second = features[places]
    assert first.shape == (4, *SHAPES[0]) and second.shape == (4, *SHAPES[1]) and first.dtype == torch.float32
    np.testing.assert_allclose(first[:, 0, 0, 0], wanted, rtol=1e-3)
    np.testing.assert_allclose(second[:, 0, 0, 0], -wanted, rtol=1e-3)


def test_each_picture_is_taught_once(items, tmp_path):
    teacher = Teacher()
    features = features_of(items, tmp_path, teacher)
    assert list(features.fill())[-1] == 40
    for _ in range(3):
        check(features, items)
    assert teacher.shown == 40
    again = features_of(items, tmp_path, teacher)
    assert list(again.fill()) == [] and teacher.shown == 40
    check(again, items)


@pytest.mark.parametrize("left", [0, 5 * RECORD, 16 * RECORD + 7])
def test_a_killed_run_goes_on_behind_the_last_whole_record(items, tmp_path, left):
    whole = features_of(items, tmp_path, Teacher())
    list(whole.fill())
    file = next(tmp_path.iterdir())
    file.write_bytes(file.read_bytes()[:left])
    teacher = Teacher()
    features = features_of(items, tmp_path, teacher)
    list(features.fill())
    assert teacher.shown == 40 - left // RECORD
    check(features, items)


@pytest.mark.parametrize("kept", [0, 1, 20])
def test_beyond_the_bound_pictures_are_taught_again(items, tmp_path, kept):
    teacher = Teacher()
    features = features_of(items, tmp_path, teacher, most_bytes=kept * RECORD + RECORD - 1)
    list(features.fill())
    assert features.kept == kept and sum(f.stat().st_size for f in tmp_path.iterdir()) == kept * RECORD
    check(features, items)
    assert teacher.shown == kept + sum(place >= kept for place in (39, 3, 17, 0))


def test_other_pictures_have_another_file(items, tmp_path):
    for key in ("a", "b"):
        list(features_of(items, tmp_path, Teacher(), key=key).fill())
    assert len(list(tmp_path.iterdir())) == 2


def test_loud_features_stay_finite(items, tmp_path):
    features = features_of(items, tmp_path, lambda pictures: [1e6 * f for f in Teacher()(pictures)])
    list(features.fill())
    assert all(torch.isfinite(f).all() for f in features[np.arange(5)])


def test_a_full_disk_is_one_clear_error(items, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10 * RECORD, hard))
    try:
        with pytest.raises(OutputError, match="cache_gb"):
            list(features_of(items, tmp_path, Teacher()).fill())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)
