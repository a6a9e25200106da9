from __future__ import annotations

import io
import json
import pickle
import re
import struct
import threading
import tracemalloc
import warnings
import zlib
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from limbeck.data import images
from limbeck.data.images import PictureItems, decode, decode_mask, learn_picture_spec, original_size
from limbeck.data.layouts import Picture, find_pictures
from limbeck.errors import ConfigError, InputError
from limbeck.picture_spec import PictureSpec, range_of

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (23, 31), dtype=np.uint8)
RGB = RNG.integers(0, 256, (23, 31, 3), dtype=np.uint8)
RGBA = RNG.integers(0, 256, (23, 31, 4), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (23, 31), dtype=np.uint16)


def save(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return path


def png(path, array, chunks=b""):
    """Write a PNG by hand: 8 or 16 bits, 1 to 4 channels, and further chunks after the pixels."""
    height, width, channels = array.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(array.dtype.newbyteorder(">")).tobytes() for row in array)
    header = struct.pack(">IIBBBBB", width, height, 8 * array.dtype.itemsize, kind, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunks
        + chunk(b"IEND", b"")
    )
    return path


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def exif(orientation):
    note = Image.Exif()
    note[0x0112] = orientation
    return note


def pictures(folder, *arrays, suffix=".png"):
    folder.mkdir(exist_ok=True)
    for i, array in enumerate(arrays):
        save(folder / f"{i:03d}{suffix}", array)
    return find_pictures(folder).pictures


# Decoding


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".TIFF"])
@pytest.mark.parametrize("array", [GREY, RGB], ids=["grey", "rgb"])
def test_lossless_files_give_their_values(tmp_path, suffix, array):
    decoded = decode(save(tmp_path / f"a{suffix}", array))
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, array)


@pytest.mark.parametrize("format_", ["JPEG", "WEBP"])
def test_lossy_files_give_what_pillow_gives(tmp_path, format_):
    path = save(tmp_path / "a.picture", RGB, format=format_)
    with Image.open(path) as image:
        np.testing.assert_array_equal(decode(path), np.asarray(image))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
def test_16_bit_grey_keeps_every_bit(tmp_path, suffix, dtype):
    decoded = decode(save(tmp_path / f"a{suffix}", DEEP.astype(dtype)))
    assert decoded.dtype == np.uint16 and decoded.dtype.isnative
    np.testing.assert_array_equal(decoded, DEEP)


def test_32_bit_values_are_taken_where_they_fit_16_bits(tmp_path):
    decoded = decode(save(tmp_path / "a.tif", DEEP.astype(np.int32)))
    assert decoded.dtype == np.uint16
    np.testing.assert_array_equal(decoded, DEEP)


@pytest.mark.parametrize(
    ("value", "got"), [(np.int32(65536), "to 65536"), (np.int32(-1), "from -1"), (np.float32(0.5), "floating-point")]
)
def test_values_beyond_16_bits_are_refused(tmp_path, value, got):
    path = save(tmp_path / "a.tif", np.array([[0, value]], value.dtype))
    with pytest.raises(InputError, match="a.tif cannot be used") as caught:
        decode(path)
    assert got in caught.value.got and caught.value.fix


def test_alpha_is_dropped_and_not_composited(tmp_path):
    np.testing.assert_array_equal(decode(save(tmp_path / "a.png", RGBA)), RGBA[..., :3])
    np.testing.assert_array_equal(decode(png(tmp_path / "b.png", RGBA[..., :2])), RGBA[..., 0])


def test_other_modes_become_rgb_or_grey(tmp_path):
    colours = np.array([[0, 1], [2, 1]], np.uint8)
    table = [10, 20, 30, 200, 100, 50, 7, 8, 9]
    image = Image.fromarray(colours)
    image.putpalette(table)  # now of mode P
    image.save(tmp_path / "p.png", transparency=b"\x00\x80\xff")
    np.testing.assert_array_equal(decode(tmp_path / "p.png"), np.reshape(table, (3, 3))[colours])
    Image.fromarray(GREY > 99).save(tmp_path / "1.png")
    np.testing.assert_array_equal(decode(tmp_path / "1.png"), (GREY > 99) * 255)
    for mode in ("CMYK", "YCbCr"):
        Image.fromarray(RGB).convert(mode).save(tmp_path / f"{mode}.tif")
        decoded = decode(tmp_path / f"{mode}.tif")
        assert decoded.shape == RGB.shape and np.abs(decoded.astype(int) - RGB).max() <= 3


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_16_bit_colour_gives_the_upper_8_bits_and_is_noted(tmp_path, channels):
    deep = RNG.integers(0, 65536, (5, 6, channels), dtype=np.uint16)
    decoded = decode(png(tmp_path / "a.png", deep))
    np.testing.assert_array_equal(decoded, (deep[..., [0, 0, 0]] if channels == 2 else deep[..., :3]) >> 8)
    spec, notes = learn_picture_spec(find_pictures(tmp_path).pictures, 8)
    assert spec.maximum == 255
    assert "1 of 1 pictures are 16-bit colour, of which the upper 8 bits are read" in notes


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".webp"])
def test_the_cameras_orientation_is_applied(tmp_path, suffix, orientation):
    array = np.zeros((16, 32), np.uint8)
    array[:8, :8] = 255  # a bright corner says how it was turned
    path = save(tmp_path / f"a{suffix}", array, exif=exif(orientation))
    turned = {
        1: array,
        2: array[:, ::-1],
        3: array[::-1, ::-1],
        4: array[::-1],
        5: array.T,
        6: np.rot90(array, -1),
        7: np.rot90(array, 2).T,
        8: np.rot90(array),
    }[orientation]
    decoded = decode(path)
    decoded = decoded if decoded.ndim == 2 else decoded[..., 0]
    np.testing.assert_array_equal(decoded > 127, turned > 127)
    assert original_size(path) == turned.shape


def test_16_bit_pictures_are_turned_too(tmp_path):
    np.testing.assert_array_equal(decode(save(tmp_path / "a.tif", DEEP, exif=exif(6))), np.rot90(DEEP, -1))


def test_an_orientation_after_the_pixels_is_found(tmp_path):
    late = chunk(b"eXIf", exif(6).tobytes().removeprefix(b"Exif\0\0"))
    path = png(tmp_path / "a.png", RGB, late)
    np.testing.assert_array_equal(decode(path), np.rot90(RGB, -1))
    assert original_size(path) == (31, 23)


def test_the_size_comes_from_the_header_alone(tmp_path):
    path = save(tmp_path / "a.png", RGB)
    path.write_bytes(path.read_bytes()[:200])
    assert original_size(path) == (23, 31)


def test_the_first_frame_is_read(tmp_path):
    for name in ("a.tif", "a.png", "a.webp"):
        frames = [Image.fromarray(np.full((4, 4, 3), v, np.uint8)) for v in (30, 200)]
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], lossless=True)
        assert (decode(tmp_path / name) == 30).all()


def damaged(folder):
    """Write files that are no pictures, by what is wrong with them."""
    whole = save(folder / "whole.png", np.tile(RGB, (8, 8, 1))).read_bytes()
    jpeg = save(folder / "whole.jpg", np.tile(RGB, (8, 8, 1))).read_bytes()
    tiff = save(folder / "whole.tif", np.tile(RGB, (8, 8, 1))).read_bytes()
    gif = io.BytesIO()
    Image.fromarray(GREY).save(gif, "GIF")
    yield "text.png", b"this is not a picture", "no picture that is known"
    yield "empty.png", b"", "an empty file"
    yield "truncated.png", whole[: len(whole) // 2], "truncated"
    yield "truncated.jpg", jpeg[: len(jpeg) // 2], "truncated"
    yield "truncated.tif", tiff[: len(tiff) // 2], ""
    yield "header.png", whole[:20], ""
    yield "garbled.png", whole[:60] + b"\xff" * 500 + whole[560:], ""
    yield "gif.png", gif.getvalue(), "no picture that is known"


def test_what_is_not_a_picture_is_named_in_one_error(tmp_path):
    for name, content, got in damaged(tmp_path):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=f"{re.escape(str(tmp_path / name))} is not a readable picture") as caught:
            decode(tmp_path / name)
        assert got in caught.value.got and caught.value.got and caught.value.expected and caught.value.fix


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(InputError, match="there is no file"):
        decode(tmp_path / "gone.png")
    with pytest.raises(InputError, match="there is no file"):
        original_size(tmp_path / "gone.png")
    with pytest.raises(InputError, match="not a readable picture"):
        decode(tmp_path)


def test_a_decompression_bomb_is_refused_and_a_large_picture_read_without_a_warning(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png", RGB)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", RGB[..., 0].size // 2 - 1)
    with pytest.raises(InputError, match="(?s)not a readable picture.*bomb"):
        decode(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", RGB[..., 0].size - 1)
    with pytest.warns(Image.DecompressionBombWarning), Image.open(path):
        pass
    np.testing.assert_array_equal(decode(path), RGB)


def test_pillows_warnings_are_silent_in_threads_and_the_users_filters_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", RGB[..., 0].size - 1)
    found = pictures(tmp_path, *[RGB] * 40)
    before = list(warnings.filters)
    items = PictureItems(PictureSpec(8, 8, 255), found, workers=8)
    for _ in items.batches(5):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
    for _ in range(2):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            decode(found[0].path)
        assert not caught
    assert warnings.filters == before
    with pytest.warns(Image.DecompressionBombWarning), Image.open(found[0].path):
        pass


@pytest.mark.parametrize(
    ("note", "turned"),
    [
        (b"\x99" * 40, False),
        (struct.pack(">2sHIH HHII HHII", b"MM", 42, 8, 2, 0x112, 3, 1, 6 << 16, 0x102, 3, 9, 1 << 30), True),
    ],
    ids=["garbage", "one note of two"],
)
def test_damaged_notes_do_not_spoil_a_picture(tmp_path, note, turned):
    path = save(tmp_path / "a.jpg", GREY)
    expected, content, note = decode(path), path.read_bytes(), b"Exif\0\0" + note
    path.write_bytes(content[:2] + b"\xff\xe1" + struct.pack(">H", len(note) + 2) + note + content[2:])
    np.testing.assert_array_equal(decode(path), np.rot90(expected, -1) if turned else expected)
    assert original_size(path) == (GREY.shape[::-1] if turned else GREY.shape)


# Masks


def test_any_pixel_that_is_not_zero_belongs_to_the_mask(tmp_path):
    mask = np.zeros((6, 8), np.uint8)
    mask[1, 2], mask[4, 5] = 1, 255
    for name, array in {"g": mask, "c": np.stack([mask * 0, mask, mask * 0], -1), "d": mask.astype(np.uint16)}.items():
        decoded = decode_mask(save(tmp_path / f"{name}.png", array))
        assert decoded.dtype == bool
        np.testing.assert_array_equal(decoded, mask > 0)
    opaque = np.dstack([mask, mask, mask, np.full_like(mask, 255)])
    np.testing.assert_array_equal(decode_mask(save(tmp_path / "a.png", opaque)), mask > 0)


def test_a_mask_is_resized_by_nearest_neighbour(tmp_path):
    path = save(tmp_path / "a.png", (GREY > 128).astype(np.uint8))
    rows, columns = (np.floor((np.arange(n) + 0.5) * o / n).astype(int) for n, o in ((9, 23), (40, 31)))
    np.testing.assert_array_equal(decode_mask(path, (9, 40)), (GREY > 128)[np.ix_(rows, columns)])
    np.testing.assert_array_equal(decode_mask(path, GREY.shape), GREY > 128)


# What a model expects


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_an_8_bit_picture_becomes_what_pillow_makes_of_it(data):
    size = st.integers(1, 40)
    h, w, height, width = (data.draw(size) for _ in range(4))
    shape = data.draw(st.sampled_from([(h, w), (h, w, 1), (h, w, 3), (h, w, 4)]))
    picture = np.random.default_rng(h * w).integers(0, 256, shape, dtype=np.uint8)
    colour = picture if picture.ndim == 3 else picture[..., None]
    colour = np.repeat(colour, 3, 2) if colour.shape[2] == 1 else colour[..., :3]
    expected = np.asarray(Image.fromarray(np.ascontiguousarray(colour)).resize((width, height), Image.BILINEAR))
    spec = PictureSpec(height, width, 255)
    prepared = spec.prepare(picture)
    assert prepared.dtype == np.uint8
    np.testing.assert_array_equal(prepared, expected)
    np.testing.assert_array_equal(spec.validate(picture), expected[None])
    if shape[1] not in (1, 3, 4) or len(shape) == 3:
        np.testing.assert_array_equal(spec.validate(np.stack([picture, picture])), [expected, expected])
    np.testing.assert_array_equal(spec.validate([picture, picture[:1]])[0], expected)


@pytest.mark.parametrize("maximum", [511, 4095, 65535])
def test_16_bit_values_are_scaled_and_rounded_once(maximum):
    values = np.arange(0, maximum + 1, max(1, maximum // 3000), dtype=np.uint16)[None, :]
    values[0, -1] = maximum
    prepared = PictureSpec(1, values.size, maximum).prepare(values)
    exact = [Fraction(int(v) * 255, maximum) for v in values[0]]
    errors = [abs(e - int(p)) for e, p in zip(exact, prepared[0, :, 1], strict=True)]
    assert max(errors) <= Fraction(1, 2) + Fraction(1, 10_000)
    assert prepared[0, -1].tolist() == [255, 255, 255] and prepared[0, 0].tolist() == [0, 0, 0]


@pytest.mark.parametrize("shape", [(30, 20), (30, 20, 1), (30, 20, 3), (30, 20, 4)])
def test_a_16_bit_picture_is_resized_like_its_8_bit_twin(shape):
    twin = RNG.integers(0, 256, shape, dtype=np.uint8)
    expected = PictureSpec(11, 13, 255).prepare(twin).astype(int)
    prepared = PictureSpec(11, 13, 65535).prepare(twin.astype(np.uint16) * 257)
    assert prepared.dtype == np.uint8 and np.abs(prepared - expected).max() <= 1
    np.testing.assert_array_equal(
        PictureSpec(11, 13, 65535).prepare((twin.astype(">u2") * 257).astype(">u2")), prepared
    )


def test_values_above_the_range_are_never_saturated():
    spec = PictureSpec(4, 4, 4095)
    spec.prepare(np.full((4, 4), 4095, np.uint16))
    spec.prepare(np.full((4, 4, 4), [4095, 0, 1, 65535], np.uint16))  # alpha has no part in it
    with pytest.raises(InputError, match="above the model's range") as caught:
        spec.prepare(np.array([[0, 4096]], np.uint16))
    assert caught.value.got == "4096" and "4095" in caught.value.expected and "65535" in caught.value.fix


@pytest.mark.parametrize(
    ("maximum", "picture", "match"),
    [
        (255, DEEP, "16 bits, and the model was fitted on pictures of 8"),
        (4095, GREY, "8 bits, and the model was fitted on pictures of 16"),
        (255, GREY.astype(np.uint16), "16 bits, and the model"),
        (255, GREY / 255, "(?s)wrong type.*uint8.*float64"),
        (4095, GREY.astype(np.float32), "(?s)wrong type.*uint16.*float32"),
        (255, GREY.astype(np.int64), "wrong type"),
        (255, GREY > 3, "wrong type"),
        (255, GREY[0], "wrong shape"),
        (255, RGBA[..., :2], "wrong shape"),
        (255, GREY[:0], "wrong shape"),
    ],
)
def test_other_pictures_are_refused(maximum, picture, match):
    spec = PictureSpec(4, 4, maximum)
    for take in (spec.prepare, spec.validate, lambda p: spec.validate([p])):
        if match == "wrong shape" and take == spec.validate and picture.ndim == 3:
            continue  # (n, h, 2) is n grey pictures
        with pytest.raises(InputError, match=match):
            take(picture)


def test_a_batch_of_the_models_size_is_taken_as_it_is():
    spec = PictureSpec(23, 31, 255)
    assert spec.validate(RGB[None]) is not None
    batch = np.stack([RGB, RGB[::-1]])
    np.testing.assert_array_equal(spec.validate(batch), batch)
    assert spec.validate(RGB).shape == (1, 23, 31, 3)
    assert spec.validate([]).shape == (0, 23, 31, 3)
    with pytest.raises(InputError, match="wrong shape"):
        spec.validate(batch[None])


def test_a_spec_survives_json():
    spec = PictureSpec(256, 320, 4095)
    written = json.loads(json.dumps(spec.to_json()))
    assert written == {"height": 256, "width": 320, "maximum": 4095, "kind": "pictures"}
    assert PictureSpec.from_json(written) == spec
    for change in ({"height": 0}, {"width": "9"}, {"maximum": 300}, {"kind": "table"}, {"more": 1}):
        with pytest.raises(InputError):
            PictureSpec.from_json(written | change)


@pytest.mark.parametrize(("largest", "maximum"), [(1, 511), (511, 511), (512, 1023), (4095, 4095), (40_000, 65535)])
def test_the_range_is_the_smallest_that_holds_the_training_pictures(tmp_path, largest, maximum):
    assert range_of(largest) == maximum
    found = pictures(tmp_path, *(np.array([[0, v]], np.uint16) for v in (0, largest, 1)))
    spec, notes = learn_picture_spec(found, (5, 7))
    assert spec == PictureSpec(5, 7, maximum)
    assert f"16-bit pictures: the largest value is {largest}, the range 0 to {maximum}" in notes
    assert any("8-bit values" in n for n in notes) == (largest <= 255)
    assert learn_picture_spec(found, 5, full_range=True)[0] == PictureSpec(5, 5, 65535)


def test_notes_say_what_will_be_done(tmp_path):
    pictures(tmp_path, RGB, RGBA, GREY, GREY[:4, :20])
    Image.fromarray(GREY).save(tmp_path / "004.png", transparency=3)
    found = find_pictures(tmp_path).pictures
    spec, notes = learn_picture_spec(found, 32)
    assert spec == PictureSpec(32, 32, 255)
    assert notes == [
        "mixed sizes: 4x20 to 23x31 (height x width)",
        "2 of 5 pictures carry an alpha channel, which is dropped",
    ]
    assert learn_picture_spec(found[:1], 32)[1] == []


def test_mixed_depths_are_counted(tmp_path):
    with pytest.raises(InputError, match="differ in depth") as caught:
        learn_picture_spec(pictures(tmp_path, GREY, DEEP, RGB), 32)
    assert caught.value.got == "2 of 8 bits and 1 of 16 bits"


def test_pictures_of_floats_are_refused_at_fit(tmp_path):
    with pytest.raises(InputError, match="(?s)cannot be used.*floating-point"):
        learn_picture_spec(pictures(tmp_path, GREY / np.float32(255), suffix=".tif"), 32)


def test_corrupt_pictures_are_refused_or_left_out_at_fit(tmp_path):
    pictures(tmp_path, RGB, RGB)
    (tmp_path / "bad.png").write_bytes(b"bad")
    found = find_pictures(tmp_path).pictures
    with pytest.raises(InputError, match="bad.png"):
        learn_picture_spec(found, 8)
    notes = learn_picture_spec(found, 8, on_corrupt="skip")[1]
    assert notes == ["1 of 3 pictures cannot be read and are left out: bad.png"]
    with pytest.raises(InputError, match="(?s)no picture to learn from.*1 files"):
        learn_picture_spec(found[2:], 8, on_corrupt="skip")
    with pytest.raises(InputError, match="no picture to learn from"):
        learn_picture_spec([], 8)
    with pytest.raises(ConfigError, match="on_corrupt"):
        learn_picture_spec(found, 8, on_corrupt="ignore")


# Items


def numbered(tmp_path, n):
    """Pictures that hold their own number, with labels."""
    found = pictures(tmp_path, *(np.full((6, 5), i, np.uint8) for i in range(n)))
    return tuple(Picture(p.path, p.id, i % 3 - 1) for i, p in enumerate(found))


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("size", [1, 4, 23, 50])
def test_batches_come_in_order(tmp_path, size, workers):
    found = numbered(tmp_path, 23)
    items = PictureItems(PictureSpec(4, 3, 255), found, workers=workers)
    batches = list(items.batches(size))
    assert len(items) == 23 and [len(b.x) for b in batches] == [min(size, 23 - i) for i in range(0, 23, size)]
    x = np.concatenate([b.x for b in batches])
    assert x.dtype == np.uint8 and x.shape == (23, 4, 3, 3)
    assert (x == np.arange(23)[:, None, None, None]).all()
    label = np.concatenate([b.label for b in batches])
    assert label.dtype == np.int8 and label.tolist() == [p.label for p in found]
    assert [i for b in batches for i in b.id] == [p.id for p in found]
    assert all(b.mask is None for b in batches) and not items.skipped


def test_a_subset_keeps_the_order_asked_for(tmp_path):
    items = PictureItems(PictureSpec(2, 2, 255), numbered(tmp_path, 9), "skip", 2)
    subset = items.subset(np.array([7, 0, 3]))
    assert next(subset.batches(8)).x[:, 0, 0, 0].tolist() == [7, 0, 3]
    assert (subset.spec, subset.on_corrupt, subset.workers) == (items.spec, "skip", 2)
    assert pickle.loads(pickle.dumps(items)) == items


def test_a_fingerprint_tells_pictures_apart(tmp_path):
    found, spec = numbered(tmp_path, 3), PictureSpec(2, 2, 255)
    items = PictureItems(spec, found)
    named = items.fingerprint()
    assert named == PictureItems(spec, found, "skip", 1).fingerprint()
    relabelled = (replace(found[0], label=1), *found[1:])
    others = [items.subset([0, 1]), items.subset([0, 2, 1]), PictureItems(spec, relabelled)]
    others.append(PictureItems(PictureSpec(3, 2, 255), found))
    names = {named, *(other.fingerprint() for other in others)}
    save(found[1].path, RGB)
    names.add(items.fingerprint())
    found[1].path.unlink()
    assert len(names | {items.fingerprint()}) == 7


def spoil(found, *places):
    for i in places:
        found[i].path.write_bytes(b"spoilt")
    return found


def threads():
    return [t for t in threading.enumerate() if t.name.startswith("limbeck-pictures")]


def test_the_first_corrupt_file_is_refused_and_the_threads_end(tmp_path):
    items = PictureItems(PictureSpec(2, 2, 255), spoil(numbered(tmp_path, 40), 5, 9), workers=3)
    got = []
    with pytest.raises(InputError, match="005.png is not a readable picture"):
        for batch in items.batches(2):
            got += batch.id
    assert len(got) == 4 and not threads()


def test_corrupt_files_are_left_out_and_noted_once(tmp_path):
    items = PictureItems(PictureSpec(2, 2, 255), spoil(numbered(tmp_path, 10), 0, 4, 9), "skip")
    for _ in range(2):
        batches = list(items.subset(range(10)).batches(3))
        assert [b.x[:, 0, 0, 0].tolist() for b in batches] == [[1, 2, 3], [5, 6, 7], [8]]
        assert [len(b.label) for b in batches] == [len(b.id) for b in batches] == [3, 3, 1]
        assert list(items.skipped) == ["000.png", "004.png", "009.png"]
    assert all(items.skipped.values())
    assert not list(items.subset([0, 4]).batches(3))


def test_a_picture_of_another_kind_is_named_and_never_left_out(tmp_path):
    found = numbered(tmp_path, 3)
    save(found[1].path, DEEP)
    with pytest.raises(InputError, match="001.png: a picture has 16 bits"):
        list(PictureItems(PictureSpec(2, 2, 255), found, "skip").batches(3))


def test_few_pictures_are_read_ahead_and_stopping_early_ends_the_threads(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(images, "decode", lambda path, whole=decode: read.append(path) or whole(path))
    batches = PictureItems(PictureSpec(2, 2, 255), numbered(tmp_path, 60), workers=2).batches(4)
    next(batches)
    assert len(read) <= 4 + 4 + 2 and threads()
    batches.close()
    assert len(read) <= 4 + 4 + 2 and not threads()


def test_memory_does_not_grow_with_the_number_of_pictures(tmp_path):
    path = save(tmp_path / "a.png", np.zeros((200, 200, 3), np.uint8))

    def peak(n):
        items = PictureItems(PictureSpec(100, 100, 255), tuple(Picture(path, str(i)) for i in range(n)), workers=2)
        tracemalloc.start()
        for _ in items.batches(8):
            pass
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    peak(10)
    assert peak(200) < 2 * peak(25)  # 200 pictures hold 6 MB


@pytest.mark.parametrize("change", [{"on_corrupt": "ignore"}, {"workers": 0}])
def test_settings_that_do_not_exist_are_refused(change):
    with pytest.raises(ConfigError, match=next(iter(change))):
        PictureItems(PictureSpec(2, 2, 255), (), **change)
