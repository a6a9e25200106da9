"""Oracles: scipy's labelling, scikit-learn, and loops that follow the definitions word for word."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import sklearn.metrics

from limbeck import pixel_metrics as pm
from limbeck.errors import ConfigError, InputError

EIGHT = np.ones((3, 3))
POOLED = (pm.pixel_auroc, pm.pixel_average_precision, pm.pixel_f1_max)
WHOLE = (*POOLED, pm.aupro, pm.pro_curve, pm.pixel_metrics)


def label(mask):
    return scipy.ndimage.label(mask, EIGHT)[0]


def same_up_to_numbers(ours, theirs):
    pairs = {(a, b) for a, b in zip(ours.ravel().tolist(), theirs.ravel().tolist(), strict=True)}
    return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs}) and all(
        (a == 0) == (b == 0) for a, b in pairs
    )


def spiral(n):
    """Two arms of one pixel that never touch: the true one is a single region."""
    mask = np.zeros((n, n), dtype=bool)
    y, x, dy, dx = 0, 0, 0, 1
    mask[y, x] = True
    for length in [n - 1, *np.repeat(np.arange(n - 1, 0, -2), 2).tolist()]:
        for _ in range(length):
            y, x = y + dy, x + dx
            mask[y, x] = True
        dy, dx = dx, -dy
    return mask


def comb(n, *, joined):
    """Return teeth that meet in the last row only, so that many regions become one late."""
    mask = np.zeros((n, n), dtype=bool)
    mask[:, ::2] = True
    mask[-1] |= joined
    return mask


SHAPES = {
    "empty": np.zeros((7, 5), dtype=bool),
    "full": np.ones((7, 5), dtype=bool),
    "one pixel": np.pad([[True]], ((2, 3), (1, 2))),
    "only pixel": np.ones((1, 1), dtype=bool),
    "row": np.array([[1, 1, 0, 1, 0, 0, 1]], dtype=bool),
    "column": np.array([[1, 1, 0, 1, 0, 0, 1]], dtype=bool).T,
    "diagonal": np.eye(6, dtype=bool),
    "anti-diagonal": np.eye(6, dtype=bool)[::-1],
    "last and first column": np.array([[0, 0, 0, 1], [1, 0, 0, 0]], dtype=bool),
    "checkerboard": np.indices((8, 9)).sum(0) % 2 == 0,
    "spiral": spiral(31),
    "comb": comb(32, joined=True),
    "comb upside down": comb(32, joined=True)[::-1],
    "comb lying": comb(32, joined=True).T,
    "teeth": comb(32, joined=False),
    "rings": np.abs(np.indices((25, 25)) - 12).max(0) % 2 == 0,
    "nothing": np.zeros((0, 4), dtype=bool),
    "nothing wide": np.zeros((4, 0), dtype=bool),
}


@pytest.mark.parametrize("name", SHAPES)
def test_regions_of_awkward_shapes(name):
    mask = SHAPES[name]
    found = pm.regions(mask)
    assert found.dtype == np.int32 and found.shape == mask.shape
    assert same_up_to_numbers(found, label(mask))
    np.testing.assert_array_equal(np.unique(found[mask]), np.arange(1, found.max(initial=0) + 1))


def test_regions_count_of_shapes_known_by_hand():
    counts = {"spiral": 1, "comb": 1, "teeth": 16, "rings": 7, "checkerboard": 1, "last and first column": 2}
    assert {name: pm.regions(SHAPES[name]).max() for name in counts} == counts


@pytest.mark.parametrize("density", [0.01, 0.1, 0.25, 0.35, 0.4, 0.45, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("shape", [(1, 40), (40, 1), (17, 23), (64, 64), (90, 40)])
def test_regions_of_random_masks(density, shape):
    rng = np.random.default_rng(0)
    for _ in range(5):
        mask = rng.random(shape) < density
        assert same_up_to_numbers(pm.regions(mask), label(mask))


def test_regions_are_numbered_in_the_order_of_rows_and_take_whole_numbers():
    mask = np.array([[0, 0, 1], [1, 0, 1], [0, 0, 0], [1, 0, 0]], dtype=np.uint8)
    assert pm.regions(mask).tolist() == [[0, 0, 1], [2, 0, 1], [0, 0, 0], [3, 0, 0]]


def brute_curve(masks, maps):
    """Every distinct score, every region of every picture, every background pixel."""
    scores = np.unique(np.concatenate([m.ravel() for m in maps]))[::-1]
    background = np.concatenate([m[~k] for k, m in zip(masks, maps, strict=True)])
    inside = []
    for mask, scored in zip(masks, maps, strict=True):
        numbers = label(mask)
        inside += [scored[numbers == k] for k in range(1, numbers.max() + 1)]
    fpr, pro = [0.0], [0.0]
    for threshold in scores:
        fpr.append(np.mean(background >= threshold))
        pro.append(np.mean([np.mean(region >= threshold) for region in inside]))
    return np.array(fpr), np.array(pro)


def brute_area(fpr, pro, limit):
    area = 0.0
    for x0, x1, y0, y1 in zip(fpr[:-1], fpr[1:], pro[:-1], pro[1:], strict=True):
        if x1 > limit and x0 < limit:
            x1, y1 = limit, y0 + (y1 - y0) * (limit - x0) / (x1 - x0)
        if x1 <= limit:
            area += (x1 - x0) * (y0 + y1) / 2
    return area / limit


def random_pictures(seed, *, levels, sizes=((9, 12),) * 4):
    """Small maps of few levels; the last picture is normal."""
    rng = np.random.default_rng(seed)
    masks = [rng.random(size) < 0.2 for size in sizes]
    masks[-1][:] = False
    maps = [rng.integers(-levels, levels, size) / 4 + mask for size, mask in zip(sizes, masks, strict=True)]
    return masks, maps


@pytest.mark.parametrize("levels", [1, 3, 20, 10_000])
@pytest.mark.parametrize("seed", range(4))
def test_aupro_is_its_definition(seed, levels):
    masks, maps = random_pictures(seed, levels=levels)
    curve = brute_curve(masks, maps)
    for ours, theirs in zip(pm.pro_curve(masks, maps), curve, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)
    for limit in (0.01, 0.05, 0.3, 0.77, 1.0):
        assert pm.aupro(np.stack(masks), np.stack(maps), limit) == pytest.approx(brute_area(*curve, limit), abs=1e-12)


def test_curve_ends_at_one_whatever_the_rounding():
    for seed in range(20):
        masks, maps = random_pictures(seed, levels=10_000)
        maps = [m + 1e5 * k for m, k in zip(maps, masks, strict=True)]  # all regions are found before the background
        fpr, pro = pm.pro_curve(masks, maps)
        assert fpr[-1] == pro[-1] == pro.max() == 1.0


@pytest.mark.parametrize("kind", [np.asarray, list])
def test_pictures_may_differ_in_size(kind):
    masks, maps = random_pictures(3, levels=5, sizes=((4, 9), (7, 7), (1, 5), (12, 3)))
    lists = [kind(m.tolist()) for m in masks], [kind(m.tolist()) for m in maps]
    assert pm.aupro(*lists) == pytest.approx(brute_area(*brute_curve(masks, maps), 0.3), abs=1e-12)
    assert pm.pixel_auroc(*lists) == pytest.approx(sklearn.metrics.roc_auc_score(*flat(masks, maps)), abs=1e-12)


def flat(masks, maps):
    return np.concatenate([m.ravel() for m in masks]), np.concatenate([m.ravel() for m in maps])


def blobs(n=12, side=96, seed=0):
    """Four rectangles on two of three pictures."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((n, side, side), dtype=bool)
    for i in range(n):
        for _ in range(4 * (i % 3 > 0)):
            y, x, h, w = *rng.integers(0, side - 12, 2), *rng.integers(1, 12, 2)
            masks[i, y : y + h, x : x + w] = True
    return masks


def test_random_scores_give_half_the_limit():
    masks = blobs(n=30)
    maps = np.random.default_rng(1).random(masks.shape)
    assert pm.aupro(masks, maps) == pytest.approx(0.15, abs=0.01)
    assert pm.aupro(masks, maps, 0.05) == pytest.approx(0.025, abs=0.01)
    assert pm.aupro(masks, maps, 1.0) == pytest.approx(0.5, abs=0.02)


def test_perfect_inverted_and_constant_maps():
    masks = blobs()
    perfect = masks + np.random.default_rng(2).uniform(0, 0.5, masks.shape)
    assert pm.pixel_metrics(masks, perfect) == pytest.approx(
        dict.fromkeys(("pixel_auroc", "pixel_average_precision", "pixel_f1_max", "aupro_30", "aupro_05"), 1.0)
    )
    assert pm.aupro(masks, masks) == pytest.approx(1.0)
    assert pm.aupro(masks, ~masks) == 0.0
    assert pm.pixel_auroc(masks, ~masks) == 0.0
    constant = np.full(masks.shape, -3.0)
    assert pm.aupro(masks, constant) == pytest.approx(0.15)
    assert pm.aupro(masks, constant, 1.0) == pytest.approx(0.5)
    assert [x.tolist() for x in pm.pro_curve(masks, constant)] == [[0, 1], [0, 1]]


@pytest.mark.parametrize("transform", [np.tanh, np.exp, lambda s: 1e6 * s - 5e5, lambda s: -1 / (s + 9), np.float16])
def test_invariant_to_strictly_monotone_transforms(transform):
    masks, maps = random_pictures(5, levels=8)
    expected = pm.pixel_metrics(masks, maps)
    assert pm.pixel_metrics(masks, [transform(m) for m in maps]) == expected


def test_order_of_floats_of_every_size_and_sign():
    scores = np.array([-3e38, -1.0, -1e-42, 0.0, 1e-42, 1e-38, 0.5, 1.0, 3e38], dtype=np.float32)
    for cut in range(1, scores.size):
        mask = np.arange(scores.size) >= cut
        assert pm.pixel_auroc([mask[None]], [scores[None]]) == 1.0


def test_negative_zero_is_zero():
    assert pm.pixel_auroc([[[1, 0]]], [[[-0.0, 0.0]]]) == pm.pixel_auroc([[[1, 0]]], [[[0.0, -0.0]]]) == 0.5


def test_regions_that_touch_only_diagonally_are_one():
    mask = np.zeros((4, 6), dtype=bool)
    mask[0, 0] = mask[1, 1] = mask[3, 5] = True
    scores = np.where(mask, 0.1, 0.5)
    scores[0, 0] = 1.0  # half of one of two regions, before any background
    fpr, pro = pm.pro_curve([mask], [scores])
    assert pro.tolist() == [0, 0.25, 0.25, 1] and fpr.tolist() == [0, 0, 1, 1]


def test_a_small_region_counts_as_much_as_a_large_one_and_normal_pictures_count():
    masks = np.zeros((2, 10, 10), dtype=bool)
    masks[0, :5, :5] = True
    masks[0, 8, 8] = True
    maps = np.zeros(masks.shape)
    maps[0, 8, 8] = 3.0
    maps[1, :2] = 2.0  # 20 of 174 background pixels, all in the normal picture
    fpr, pro = pm.pro_curve(masks, maps)
    np.testing.assert_allclose(fpr, [0, 0, 20 / 174, 1])
    np.testing.assert_allclose(pro, [0, 0.5, 0.5, 1])


def test_a_single_anomalous_picture():
    masks, maps = random_pictures(8, levels=4, sizes=((15, 11), (2, 2)))
    assert pm.aupro(masks[:1], maps[:1]) == pytest.approx(brute_area(*brute_curve(masks[:1], maps[:1]), 0.3), abs=1e-12)


def test_interpolation_at_the_limit():
    masks, maps = [[[1, 1, 0, 0]]], [[[2.0, 1.0, 1.0, 0.0]]]  # points (0, 0), (0, 0.5), (0.5, 1), (1, 1)
    assert pm.aupro(masks, maps, 0.25) == pytest.approx((0.5 + 0.75) / 2)
    assert pm.aupro(masks, maps, 0.5) == pytest.approx(0.75)
    assert pm.aupro(masks, maps, 0.75) == pytest.approx((0.5 * 0.75 + 0.25) / 0.75)


@pytest.mark.parametrize("levels", [1, 4, 100, 10_000_000])
@pytest.mark.parametrize("seed", range(3))
def test_pooled_metrics_agree_with_scikit_learn(seed, levels):
    masks, maps = random_pictures(seed, levels=levels, sizes=((30, 20),) * 3)
    maps = [m.astype(np.float32) for m in maps]
    y, s = flat(masks, maps)
    precision, recall, _ = sklearn.metrics.precision_recall_curve(y, s)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
    assert pm.pixel_auroc(masks, maps) == pytest.approx(sklearn.metrics.roc_auc_score(y, s), abs=1e-12)
    assert pm.pixel_average_precision(masks, maps) == pytest.approx(
        sklearn.metrics.average_precision_score(y, s), abs=1e-12
    )
    assert pm.pixel_f1_max(masks, maps) == pytest.approx(f1.max(), abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_all_at_once_is_each_alone(seed):
    masks, maps = random_pictures(seed, levels=7)
    alone = {f.__name__: f(masks, maps) for f in POOLED}
    alone |= {"aupro_30": pm.aupro(masks, maps), "aupro_05": pm.aupro(masks, maps, 0.05)}
    assert pm.pixel_metrics(masks, maps) == alone


def test_inputs_stay_as_they_were():
    masks, maps = random_pictures(0, levels=7)
    masks, maps = np.stack(masks), np.stack(maps).astype(np.float32)
    copies = masks.copy(), maps.copy()
    pm.pixel_metrics(masks, maps)
    pm.pro_rd4ad_compat(masks, maps)
    np.testing.assert_array_equal(masks, copies[0])
    np.testing.assert_array_equal(maps, copies[1])


def brute_rd4ad(masks, maps):
    """One picture at a time, one threshold at a time, as in the authors' description."""
    values = []
    for mask, scores in zip(masks, maps, strict=True):
        if not mask.any():
            continue
        numbers, low, step = label(mask), scores.min(), (scores.max() - scores.min()) / 200
        points = []
        for k in range(200):
            alarm = scores > low + k * step
            pro = np.mean([alarm[numbers == r].mean() for r in range(1, numbers.max() + 1)])
            points.append(((alarm & ~mask).sum() / (~mask).sum(), pro))
        kept = [p for p in points if p[0] < 0.3]
        widest = max(x for x, _ in kept)
        values.append(sklearn.metrics.auc([x / widest for x, _ in kept], [y for _, y in kept]))
    return np.mean(values)


@pytest.mark.parametrize("seed", range(4))
def test_the_authors_variant_is_its_description(seed):
    rng = np.random.default_rng(seed)
    masks = list(blobs(n=5, side=30, seed=seed))
    maps = [scipy.ndimage.gaussian_filter(rng.normal(size=m.shape) + m, 1.0) for m in masks]
    maps[1] = np.round(maps[1], 1)
    assert pm.pro_rd4ad_compat(masks, maps) == pytest.approx(brute_rd4ad(masks, maps), abs=1e-12)
    far = [m + 1e9 for m in maps]  # float32 would tie them all
    assert pm.pro_rd4ad_compat(masks, far) == pytest.approx(brute_rd4ad(masks, far), abs=1e-12)


def test_the_authors_variant_alarms_above_a_threshold_not_at_it():
    masks = blobs(n=5, side=30)
    maps = np.random.default_rng(0).integers(0, 201, masks.shape).astype(np.float64)
    maps[:, 0, :2] = 0, 200  # so that each score is a threshold
    assert pm.pro_rd4ad_compat(masks, maps) == pytest.approx(brute_rd4ad(masks, maps), abs=1e-12)


def test_the_authors_variant_ignores_offsets_and_normal_pictures_where_aupro_does_not():
    masks, maps = random_pictures(2, levels=4096)
    shifted = [m + 4096 * i for i, m in enumerate(maps)]
    assert pm.pro_rd4ad_compat(masks, shifted) == pytest.approx(pm.pro_rd4ad_compat(masks[:-1], maps[:-1]), abs=1e-12)
    assert abs(pm.aupro(masks, shifted) - pm.aupro(masks, maps)) > 0.01


@pytest.mark.parametrize(
    ("mask", "scores"),
    [
        ([[1, 0, 0, 0]], [[5.0, 5.0, 5.0, 5.0]]),  # one score everywhere
        ([[1, 0, 0, 0]], [[1.0, 0.0, 0.0, 0.0]]),  # perfect: no false alarm below 0.3
        ([[1, 0, 0, 0]], [[0.0, 1.0, 1.0, 0.0]]),  # never below 0.3
        ([[1, 1, 1, 1]], [[0.0, 1.0, 2.0, 3.0]]),  # no background
        ([[1, 0, 0, 0, 0, 0]], [[9.0, 0.0, 199.0, 199.0, 199.0, 200.0]]),  # a single point of the curve
    ],
)
def test_the_authors_variant_says_where_it_does_not_exist(mask, scores):
    fine = [[1, 0, 0, 0, 0, 0]], [[0.6, 0.9, 0.1, 0.0, 0.0, 0.0]]
    assert np.isfinite(pm.pro_rd4ad_compat(fine[:1], fine[1:]))
    with pytest.raises(InputError, match="picture 1"):
        pm.pro_rd4ad_compat([fine[0], mask], [fine[1], scores])


@pytest.mark.parametrize("measure", [*WHOLE, pm.pro_rd4ad_compat])
def test_input_that_does_not_fit_is_named(measure):
    masks, maps = random_pictures(1, levels=50)
    with pytest.raises(InputError, match="4 masks and 3 maps"):
        measure(masks, maps[:3])
    with pytest.raises(InputError, match="0 masks and 0 maps"):
        measure([], [])
    with pytest.raises(InputError, match=r"mask 2 and map 2 do not match[\s\S]*\(9, 12\) and \(12, 9\)"):
        measure(masks, [*maps[:2], maps[2].T, maps[3]])
    with pytest.raises(InputError, match="mask 0 and map 0 do not match"):
        measure(masks[0], maps[0])
    with pytest.raises(InputError, match="mask 1 and map 1 do not match"):
        measure([masks[0], np.zeros((0, 3), dtype=bool)], [maps[0], np.zeros((0, 3))])
    with pytest.raises(InputError, match="mask 0 holds more than 0 and 1"):
        measure([m * 255 for m in masks], maps)
    for bad in (np.nan, np.inf, -np.inf):
        broken = [m.copy() for m in maps]
        broken[3][2, 2] = bad
        with pytest.raises(InputError, match="map 3 is not finite"):
            measure(masks, broken)


@pytest.mark.parametrize("measure", WHOLE)
def test_one_kind_of_pixel_is_not_enough(measure):
    maps = np.arange(24.0).reshape(2, 3, 4)
    with pytest.raises(InputError, match="0 anomalous of 24"):
        measure(np.zeros(maps.shape, dtype=bool), maps)
    with pytest.raises(InputError, match="24 anomalous of 24"):
        measure(np.ones(maps.shape, dtype=bool), maps)


def test_other_refusals():
    maps = np.arange(24.0).reshape(2, 3, 4)
    with pytest.raises(InputError, match="no pixel is anomalous"):
        pm.pro_rd4ad_compat(np.zeros(maps.shape, dtype=bool), maps)
    with pytest.raises(InputError, match="map 0 is not finite"):
        pm.aupro(maps > 20, maps * 1e300)
    for limit in (0.0, -0.1, 1.01, np.nan):
        with pytest.raises(ConfigError, match="limit"):
            pm.aupro(maps > 20, maps, limit)
    with pytest.raises(InputError, match="one picture"):
        pm.regions(np.zeros((2, 3, 4), dtype=bool))
    with pytest.raises(InputError, match="0 and 1"):
        pm.regions([[0, 255]])
