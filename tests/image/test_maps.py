"""Maps against scipy and torch's own interpolation."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch.nn.functional import interpolate

import limbeck
from limbeck.graph import run_onnx, to_onnx
from limbeck.image.maps import AnomalyMap, distance, enlarge, relative_distance, smooth


@pytest.mark.parametrize(("size", "to"), [(1, 8), (2, 8), (7, 7), (8, 256), (32, 64), (9, 5)])
def test_enlarge_is_torchs_interpolation(size, to):
    x = np.random.default_rng(0).random((size, size))
    wanted = interpolate(torch.from_numpy(x)[None, None], (to, to), mode="bilinear", align_corners=True)[0, 0]
    matrix = enlarge(size, to)
    np.testing.assert_allclose(matrix @ x @ matrix.T, wanted, atol=1e-12)


@pytest.mark.parametrize(("size", "sigma"), [(256, 4.0), (40, 4.0), (10, 4.0), (3, 4.0), (64, 0.7), (16, 0.0)])
def test_smooth_is_scipys_gaussian(size, sigma):
    """Also where the Gaussian reaches over the picture more than once."""
    x = np.random.default_rng(0).random((size, size))
    matrix = smooth(size, sigma)
    wanted = gaussian_filter(x, sigma, mode="reflect", truncate=4.0) if sigma else x
    np.testing.assert_allclose(matrix @ x @ matrix.T, wanted, atol=1e-10)
    np.testing.assert_allclose(matrix.sum(1), 1)


def features(seed, *shapes):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in shapes]


SHAPES = ((3, 5, 16, 16), (3, 7, 8, 8), (3, 9, 4, 4))


def whole(**values):
    return AnomalyMap([(16, 16), (8, 8), (4, 4)], 64, 64, **{"sigma": 4.0, **values})


def test_the_map_is_the_papers():
    """Cosine distance a place, enlarged with corners kept, summed over the scales, smoothed; score = its maximum."""
    a, b = features(0, *SHAPES), features(1, *SHAPES)
    wanted = np.zeros((3, 64, 64))
    for s, t in zip(a, b, strict=True):
        d = 1 - torch.cosine_similarity(s, t, dim=1)
        wanted += interpolate(d[:, None], (64, 64), mode="bilinear", align_corners=True)[:, 0].numpy()
    wanted = np.stack([gaussian_filter(m, 4.0) for m in wanted])
    score, got = whole()(a, b)
    np.testing.assert_allclose(got, wanted, atol=1e-5)
    np.testing.assert_allclose(score, wanted.max((1, 2)), atol=1e-5)


def test_scales_of_pictures_that_are_not_square_come_together():
    a, b = features(0, (2, 5, 4, 12), (2, 7, 2, 6)), features(1, (2, 5, 4, 12), (2, 7, 2, 6))
    model = AnomalyMap([(4, 12), (2, 6)], 32, 96, sigma=3.0)
    model.set_footing([2.0, 0.5], [0.1, -0.2])
    wanted = np.zeros((2, 32, 96))
    for s, t, slope, shift in zip(a, b, (2.0, 0.5), (0.1, -0.2), strict=True):
        d = slope * (1 - torch.cosine_similarity(s, t, dim=1)) + shift
        wanted += interpolate(d[:, None], (32, 96), mode="bilinear", align_corners=True)[:, 0].numpy()
    wanted = np.stack([gaussian_filter(m, 3.0) for m in wanted])
    np.testing.assert_allclose(model(a, b)[1], wanted, atol=1e-5)


def test_top_is_the_mean_of_the_highest_hundredth():
    a, b = features(0, *SHAPES), features(1, *SHAPES)
    score, got = whole(score="top")(a, b)
    wanted = np.sort(got.numpy().reshape(3, -1))[:, -41:].mean(1)  # 1 % of 4,096
    np.testing.assert_allclose(score, wanted, rtol=1e-5)


def test_mean_is_of_all_pixels():
    a, b = features(0, *SHAPES), features(1, *SHAPES)
    score, got = whole(score="mean")(a, b)
    assert score.shape == (3,)
    np.testing.assert_allclose(score, got.numpy().mean((1, 2), dtype=np.float64), rtol=1e-6)
    np.testing.assert_array_equal(got, whole()(a, b)[1])


def test_a_mean_keeps_its_digits_in_the_graph():
    """In one sum of all pixels onnxruntime is off by 2e-5 here, and by 9e-5 at 2048: nearly all that parity allows."""

    class Large(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.map = AnomalyMap([(8, 8)], 1024, 1024, sigma=4.0, score="mean")

        def forward(self, x):
            return self.map([x], [x.roll(1, 1)])

    x = np.random.default_rng(0).random((2, 4, 8, 8), np.float32)
    graph = to_onnx(Large(), x, input_name="x", output_names=["score", "map"], properties={})
    score, got = run_onnx(graph, x)
    np.testing.assert_allclose(score, got.mean((1, 2), dtype=np.float64), rtol=1e-6)


@pytest.mark.filterwarnings("ignore::limbeck.LimbeckWarning")  # four calibration pictures promise little
def test_a_mean_from_learning_to_the_package(tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (21, 20, 20), np.uint8)
    config = {"backbone": "resnet18", "weights": "random", "taps": "layer1", "blocks": "1,1", "size": 32, "steps": 2}
    detector = limbeck.fit(pictures, config={**config, "score": "mean"})
    detector.save(tmp_path / "mean.limbeck")
    said = limbeck.load(tmp_path / "mean.limbeck").detect(pictures)
    np.testing.assert_array_equal(said.score, detector.detect(pictures).score)
    np.testing.assert_allclose(said.score, said.map.mean((1, 2), dtype=np.float64), rtol=1e-5)
    assert said.is_anomaly.tolist() == (said.score > np.float32(detector.threshold)).tolist()


@pytest.mark.parametrize("local", [0.5, 0.1])
def test_relative_distance_is_the_definition(local):
    """Written out place by place in float64."""
    t, s = (f[1].numpy().astype(np.float64) for f in (features(3, *SHAPES), features(4, *SHAPES)))
    middle = np.random.default_rng(1).normal(size=t.shape[1])
    given = (torch.from_numpy(a).float() for a in (t, s, middle.reshape(1, -1, 1, 1)))
    got = relative_distance(*given, local=local)
    for i in range(len(t)):
        gain = (t[i] * s[i]).sum() / (s[i] ** 2).sum()
        own = ((t[i] - middle[:, None, None]) ** 2).sum(0)
        for y, x in ((0, 0), (3, 5)):
            off = np.linalg.norm(t[i, :, y, x] - gain * s[i, :, y, x])
            usual = np.sqrt(local * own[y, x] + (1 - local) * own.mean())
            assert got[i, y, x].item() == pytest.approx(off / usual, rel=1e-4)


def test_the_less_a_place_counts_itself_the_more_a_large_defect_stands_out():
    t = features(3, *SHAPES)[0]
    middle = t.mean((0, 2, 3)).view(1, -1, 1, 1)
    strange = t.clone()
    strange[:, :, 2:6, 2:6] *= 4  # which is not re-created
    inside = [relative_distance(strange, t, middle, local=share)[:, 3:5, 3:5].mean() for share in (0.5, 0.25)]
    assert inside[1] > 1.15 * inside[0]


def test_relative_distance_leaves_the_length_of_a_re_creation_open_and_sees_that_of_a_place():
    t = features(3, *SHAPES)[0]
    middle = t.mean((0, 2, 3)).view(1, -1, 1, 1)
    assert relative_distance(t, 3 * t, middle).max() < 1e-3
    s = t.clone()
    s[:, :, 4, 6] *= 0.5  # a cosine is blind to this
    assert distance(t, s).max() < 1e-5
    far = relative_distance(t, s, middle)
    assert (far.flatten(1).argmax(1) == 4 * far.shape[2] + 6).all() and far[:, 4, 6].min() > 0.2


def test_a_black_picture_has_a_finite_relative_distance():
    nothing = torch.zeros(1, 4, 3, 3)
    assert torch.isfinite(relative_distance(nothing, nothing, torch.zeros(1, 4, 1, 1))).all()


def test_equal_features_have_no_distance():
    a = features(0, *SHAPES)
    score, got = whole()(a, [f * s for f, s in zip(a, (1.0, 0.3, 5.0), strict=True)])
    assert got.abs().max() < 1e-5 and score.max() < 1e-5


def test_a_changed_place_is_where_the_map_rises():
    a = [f.clone() for f in features(0, *SHAPES)]
    b = [f.clone() for f in a]
    b[0][0, :, 11, 4] *= -1
    _, got = whole()(a, b)
    y, x = np.unravel_index(got[0].numpy().argmax(), (64, 64))
    assert (y * 15 / 63, x * 15 / 63) == pytest.approx((11, 4), abs=0.5)
    assert got[1:].abs().max() < 1e-5


def test_footing_is_linear_in_each_scale():
    a, b = features(0, *SHAPES), features(1, *SHAPES)
    plain, footed = whole(), whole()
    slope, shift = (2.0, 0.5, 0.25), (0.1, -0.2, 0.0)
    footed.set_footing(slope, shift)
    parts = [plain.scale(distance(s, t), k) for k, (s, t) in enumerate(zip(a, b, strict=True))]
    wanted = sum(m * p + q for m, p, q in zip(parts, slope, shift, strict=True))
    np.testing.assert_allclose(footed(a, b)[1], wanted, atol=1e-5)


def test_dead_features_are_far_but_finite():
    """A place without any feature has no angle: its distance is 1, not NaN."""
    a, b = torch.zeros(1, 4, 2, 2), torch.rand(1, 4, 2, 2)
    assert distance(a, b).flatten().tolist() == [1.0] * 4
