"""Defects are where their masks say, and the demo's pictures are a data set like any other."""

import sys

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from limbeck.data import defects
from limbeck.data.defects import DEFECTS, NOTICEABLE, add_defect, textures
from limbeck.data.layouts import find_pictures
from limbeck.errors import ConfigError, InputError, MissingExtraError, OutputError

KINDS = sorted(DEFECTS)


def texture(shape, seed=0):
    """Soft random waves around a middle level."""
    noise = np.random.default_rng(seed).normal(size=shape)
    waves = ndimage.gaussian_filter(noise, (3, 3, 0)[: len(shape)])
    return np.clip(128 + 25 * waves / waves.std(), 0, 255).astype(np.uint8)


def difference(before, after):
    apart = np.abs(after.astype(int) - before.astype(int))
    return apart if apart.ndim == 2 else apart.max(axis=2)


@pytest.mark.parametrize("shape", [(96, 96), (96, 96, 3), (64, 120, 3), (130, 40)])
@pytest.mark.parametrize("kind", KINDS)
def test_the_mask_is_where_the_picture_changed(kind, shape):
    picture = texture(shape)
    kept = picture.copy()
    for seed in range(6):
        damaged, mask = add_defect(picture, kind, np.random.default_rng(seed))
        assert damaged.dtype == np.uint8 and damaged.shape == shape
        assert mask.dtype == bool and mask.shape == shape[:2]
        np.testing.assert_array_equal(mask, difference(picture, damaged) > NOTICEABLE)
        assert 0.001 <= mask.mean() <= 0.1
        number, count = ndimage.label(mask, np.ones((3, 3)))
        assert np.bincount(number.ravel())[1:].min() >= 0.0005 * mask.size, f"specks among {count} regions"
    np.testing.assert_array_equal(picture, kept)


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_decides_everything(kind):
    picture = texture((80, 80, 3))
    first, again, other = (add_defect(picture, kind, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert (first[1] != other[1]).any()


@pytest.mark.parametrize("level", [0, 128, 255, "noise"])
@pytest.mark.parametrize("kind", KINDS)
def test_pictures_without_room_or_texture(kind, level, monkeypatch):
    monkeypatch.setattr(defects, "TRIES", 2)  # a change that runs against black or white is not left to luck
    noise = np.random.default_rng(0).choice(np.array([0, 255], np.uint8), (64, 64, 3))
    picture = noise if level == "noise" else np.full((64, 64, 3), level, np.uint8)
    for seed in range(10):
        _, mask = add_defect(picture, kind, np.random.default_rng(seed))
        assert 0.001 <= mask.mean() <= 0.1


def test_defects_turn_bright_and_dark():
    picture = texture((96, 96))
    for kind in ("scratch", "stain", "smear"):
        changes = []
        for seed in range(20):
            damaged, mask = add_defect(picture, kind, np.random.default_rng(seed))
            changes.append((damaged.astype(float) - picture)[mask].mean() > 0)
        assert {True, False} == set(changes), kind


def test_a_scratch_is_thin_and_long():
    picture = texture((128, 128))
    for seed in range(10):
        _, mask = add_defect(picture, "scratch", np.random.default_rng(seed))
        assert not ndimage.binary_erosion(mask, iterations=6).any()
        assert np.ptp(np.argwhere(mask), axis=0).max() > 24


def test_a_piece_is_moved_and_turned():
    """On a picture whose colours are its coordinates, what was pasted says where it came from."""
    y, x = np.mgrid[:128, :128].astype(np.uint8)
    picture = np.stack([x + 64, y + 64, np.full_like(x, 128)], axis=2)
    damaged, mask = add_defect(picture, "paste", np.random.default_rng(3))
    inside = ndimage.binary_erosion(mask, iterations=3)
    colours = damaged[inside].astype(float)
    brighter = np.median(colours[:, 2]) - 128
    assert 14 <= abs(brighter) <= 31
    here = np.argwhere(inside)[:, ::-1]
    there = colours[:, :2] - brighter - 64
    (a, b, start), *_ = np.linalg.lstsq(np.column_stack([here, np.ones(len(here))]), there, rcond=None)
    turn = np.stack([a, b])
    np.testing.assert_allclose(turn @ turn.T, np.eye(2), atol=0.03)
    assert np.linalg.det(turn) > 0 and turn[0, 0] < np.cos(np.pi / 7), "turned by 30 degrees or more, not mirrored"
    assert np.abs(here @ turn + start - here).max() > 5


def test_a_smear_is_smoother_and_a_hole_is_flat():
    picture = texture((128, 128))
    for seed in range(5):
        damaged, mask = add_defect(picture, "smear", np.random.default_rng(seed))
        inside = ndimage.binary_erosion(mask, iterations=3)
        assert damaged[inside].std() < 0.8 * picture[inside].std()
        damaged, mask = add_defect(picture, "missing", np.random.default_rng(seed))
        inside = ndimage.binary_erosion(mask, iterations=2)
        assert damaged[inside].std() < 12 and abs(damaged[inside].mean() - picture[inside].mean()) > 25


def test_a_colour_stain_is_tinted():
    damaged, mask = add_defect(np.full((64, 64, 3), 128, np.uint8), "stain", np.random.default_rng(0))
    change = damaged[mask].mean(axis=0) - 128
    assert np.ptp(change) > 5


@pytest.mark.parametrize(
    "picture", [np.zeros((31, 64), np.uint8), np.zeros((64, 64, 4), np.uint8), np.zeros((64, 64), np.float64)]
)
def test_what_cannot_be_damaged_is_refused(picture):
    with pytest.raises(InputError, match="cannot be drawn"):
        add_defect(picture, "stain", np.random.default_rng(0))


def test_unknown_kinds_and_unseen_defects_are_refused(monkeypatch):
    picture = texture((40, 40))
    with pytest.raises(ConfigError, match="'dent'.*\n.*scratch"):
        add_defect(picture, "dent", np.random.default_rng(0))
    monkeypatch.setitem(DEFECTS, "stain", lambda picture, rng: picture + 5.0)
    with pytest.raises(InputError, match="no stain can be seen"):
        add_defect(picture, "stain", np.random.default_rng(0))
    monkeypatch.setitem(DEFECTS, "stain", lambda picture, rng: picture - 50.0)
    with pytest.raises(InputError, match="too little or too much"):
        add_defect(picture, "stain", np.random.default_rng(0))


# The folder of the demo


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("textures") / "petals"
    textures(folder, n_train=12, n_test_good=6, n_test_bad=7, size=64, seed=4)
    return folder


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_folder_has_a_known_layout(folder):
    found = find_pictures(folder, masks=True)
    assert found.layout == "mvtec"
    assert len(found.training()) == 12 and len(found.testing()) == 13
    bad = [p for p in found.testing() if p.label == 1]
    assert sorted(p.defect for p in bad) == sorted(KINDS + ["scratch", "stain"])
    for picture in bad:
        mask = np.asarray(Image.open(picture.mask))
        assert mask.shape == (64, 64) and set(np.unique(mask)) == {0, 255}
        assert 0.001 <= (mask > 0).mean() <= 0.1
    for picture in found.pictures:
        with Image.open(picture.path) as image:
            assert image.size == (64, 64) and image.mode == "RGB"


def test_every_picture_is_another_part_of_the_flower(folder):
    good = [np.asarray(Image.open(p.path), float) for p in find_pictures(folder).pictures if p.label == 0]
    for i, one in enumerate(good):
        assert (one[..., 0] > one[..., 2]).mean() > 0.99, "petals are red rather than blue: nothing of the background"
        assert one[-16:].mean() > one[:16].mean(), "outer petals, which are paler, point down"
        assert all(np.abs(one - other).mean() > 3 for other in good[:i])


def test_masks_tell_good_from_bad_pixels(folder, tmp_path):
    """The same seed draws the same petals: without its defect a picture is known."""
    photo = defects._photo()
    plain = list(defects._petals(photo, 7, 64, (4, 2)))
    for i, before in enumerate(plain):
        kind, stem = list(DEFECTS)[i % 5], f"{i // 5:03d}"
        after = np.asarray(Image.open(folder / "test" / kind / f"{stem}.png"))
        mask = np.asarray(Image.open(folder / "ground_truth" / kind / f"{stem}_mask.png")) > 0
        np.testing.assert_array_equal(mask, difference(before, after) > NOTICEABLE)


def test_a_seed_decides_the_pictures(folder, tmp_path):
    for seed in (4, 5):
        textures(tmp_path / str(seed), n_train=12, n_test_good=6, n_test_bad=7, size=64, seed=seed)
    assert contents(tmp_path / "4") == contents(folder)
    other = contents(tmp_path / "5")
    assert other.keys() == contents(folder).keys()
    assert all(other[name] != data for name, data in contents(folder).items() if name != "README.txt")


def test_the_photographer_is_named(folder):
    assert "vultilion" in (folder / "README.txt").read_text() and "CC BY 2.0" in (folder / "README.txt").read_text()


def test_only_its_own_folder_is_replaced(tmp_path):
    few = {"n_train": 1, "n_test_good": 1, "n_test_bad": 1, "size": 32}
    textures(tmp_path / "petals", **few)
    with pytest.raises(OutputError, match="exists"):
        textures(tmp_path / "petals", **few)
    textures(tmp_path / "petals", **few | {"n_train": 2}, overwrite=True)
    assert len(list((tmp_path / "petals/train/good").iterdir())) == 2
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/README.txt").write_text("mine")
    with pytest.raises(OutputError, match="something else"):
        textures(tmp_path / "mine", **few, overwrite=True)


def test_a_failure_leaves_nothing(tmp_path, monkeypatch):
    def fail(*arguments):
        raise InputError("no")

    monkeypatch.setattr(defects, "add_defect", fail)
    with pytest.raises(InputError):
        textures(tmp_path / "petals", n_train=1, n_test_good=1, n_test_bad=1, size=32)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("wrong", [{"n_train": -1}, {"n_test_good": -1}, {"n_test_bad": -1}, {"size": 31}])
def test_numbers_out_of_range_are_refused(tmp_path, wrong):
    with pytest.raises(ConfigError, match=f"{next(iter(wrong))} is out of its range"):
        textures(tmp_path / "petals", **wrong)


def test_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(MissingExtraError, match=r"limbeck\[train\]"):
        textures(tmp_path / "petals")
