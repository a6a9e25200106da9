"""Pictures in memory: what is taken, what is refused, and the same promises as those of files."""

import numpy as np
import pytest
from PIL import Image

from limbeck.data.images import PictureItems
from limbeck.data.layouts import find_pictures
from limbeck.data.picture_arrays import ArrayItems, learn_array_spec
from limbeck.errors import InputError
from limbeck.picture_spec import PictureSpec

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (7, 20, 24), np.uint8)
RGB = RNG.integers(0, 256, (7, 20, 24, 3), np.uint8)
DEEP = RNG.integers(0, 3001, (7, 20, 24), np.uint16)


@pytest.mark.parametrize("array", [GREY, GREY[..., None], RGB, np.concatenate([RGB, GREY[..., None]], -1)])
def test_eight_bits(array):
    spec, notes = learn_array_spec(array, 32)
    assert spec == PictureSpec(32, 32, 255) and notes == []
    items = ArrayItems(spec, array)
    (batch,) = items.batches(100)
    assert batch.x.shape == (7, 32, 32, 3) and batch.x.dtype == np.uint8 and batch.mask is None
    assert batch.label.tolist() == [0] * 7 and batch.label.dtype == np.int8


@pytest.mark.parametrize(("largest", "maximum"), [(12, 511), (3000, 4095), (4095, 4095), (4096, 8191), (65535, 65535)])
def test_sixteen_bits_and_their_range(largest, maximum):
    pictures = np.zeros((3, 8, 8), np.uint16)
    pictures[1, 2, 3] = largest
    spec, notes = learn_array_spec(pictures, 8)
    assert spec.maximum == maximum and len(notes) == 1 and str(maximum) in notes[0]


def test_the_range_of_deep_pictures_is_not_that_of_their_alpha():
    pictures = np.zeros((3, 8, 8, 4), np.uint16)
    pictures[..., 3], pictures[..., :3] = 65535, 900
    spec, _ = learn_array_spec(pictures, 8)
    assert spec.maximum == 1023
    (batch,) = ArrayItems(spec, pictures).batches(9)
    assert np.unique(batch.x).tolist() == [round(900 * 255 / 1023)]


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((3, 8, 8)), ("float64", "a range that you know")),
        (np.zeros((3, 8, 8), np.int16), ("int16", "uint8 or uint16")),
        (np.zeros((3, 8, 8), bool), ("bool",)),
        (np.zeros((8, 8), np.uint8), ("(8, 8)", "(n, h, w)")),
        (np.zeros((3, 8, 8, 3, 2), np.uint8), ("(3, 8, 8, 3, 2)",)),
        (np.zeros((0, 8, 8), np.uint8), ("(0, 8, 8)",)),
        (np.zeros((20, 24, 3), np.uint8), ("one picture", "(20, 24, 3)", "stack")),
        (np.zeros((20, 24, 4), np.uint16), ("one picture",)),
    ],
)
def test_what_is_refused(array, words):
    with pytest.raises(InputError) as caught:
        learn_array_spec(array, 32)
    for word in words:
        assert word in str(caught.value)


def test_channels_last_or_refused():
    spec, _ = learn_array_spec(np.zeros((4, 3, 20, 24), np.uint8), 32)
    with pytest.raises(InputError, match="channels last"):
        next(ArrayItems(spec, np.zeros((4, 3, 20, 24), np.uint8)).batches(2))


@pytest.mark.parametrize(("array", "maximum"), [(GREY, 255), (RGB, 255), (DEEP, 4095)])
def test_the_same_pixels_as_from_files(tmp_path, array, maximum):
    for i, picture in enumerate(array):
        Image.fromarray(picture).save(tmp_path / f"{i}.png")
    spec = PictureSpec(12, 16, maximum)
    files = np.concatenate([b.x for b in PictureItems(spec, find_pictures(tmp_path).pictures).batches(3)])
    memory = [*ArrayItems(spec, array).batches(3)]
    assert [len(b.x) for b in memory] == [3, 3, 1] and [[*b.id] for b in memory] == [[0, 1, 2], [3, 4, 5], [6]]
    np.testing.assert_array_equal(np.concatenate([b.x for b in memory]), files)


def test_subsets_keep_the_order_asked_for():
    items = ArrayItems(PictureSpec(20, 24, 255), RGB)
    some = items.subset([5, 0, 3])
    assert (len(items), len(some)) == (7, 3)
    (batch,) = some.batches(9)
    np.testing.assert_array_equal(batch.x, RGB[[5, 0, 3]])
    assert len(items.subset(np.array([], dtype=np.int64))) == 0
    assert [*items.subset([]).batches(4)] == []


def test_a_fingerprint_is_of_the_values():
    items = ArrayItems(PictureSpec(8, 8, 255), GREY)
    changed = GREY.copy()
    changed[3, 4, 5] += 1
    assert items.fingerprint() == ArrayItems(items.spec, GREY.copy()).fingerprint()
    assert items.fingerprint() != ArrayItems(items.spec, changed).fingerprint()
    assert items.fingerprint() != items.subset([*range(6)]).fingerprint()
    assert items.fingerprint() == ArrayItems(items.spec, np.asfortranarray(GREY)).fingerprint()


def test_a_brighter_picture_than_the_range_is_refused():
    spec, _ = learn_array_spec(DEEP, 16)
    with pytest.raises(InputError, match="above the model's range"):
        [*ArrayItems(spec, np.full((1, 8, 8), 5000, np.uint16)).batches(1)]
