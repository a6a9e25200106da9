"""The method as a whole: what it refuses, what learning leaves alone, its footing and its graph."""

import numpy as np
import onnx
import pytest
import torch

from limbeck.config import replace
from limbeck.contracts import ignore
from limbeck.data.picture_arrays import ArrayItems
from limbeck.errors import ConfigError, ParityError
from limbeck.graph import run_onnx
from limbeck.image import matching as module
from limbeck.image.config import CrossDomainConfig, ReverseDistillationConfig
from limbeck.image.cross_domain import CrossDomain
from limbeck.image.features import Features
from limbeck.image.losses import feature_loss
from limbeck.image.matching import find_footing
from limbeck.image.reverse_distillation import ReverseDistillation, build_model
from limbeck.image.train import train
from limbeck.operations import count_operations
from limbeck.picture_spec import PictureSpec

QUICK = {
    "backbone": "resnet18", "weights": "random", "taps": "layer1,layer2", "blocks": "1,1,1", "size": 64,
    "steps": 3, "batch": 4, "checkpoint": 1e6, "footing": "quantile",
}  # fmt: skip
FOOTINGS = ("mean", "quantile", "none")
ONE_SCALE = {"taps": "layer1", "blocks": "1,1"}


def settings(**values):
    return replace(ReverseDistillationConfig(), QUICK | values)


def pictures(n, size=64, seed=0):
    """Blurred noise: no two pictures are alike."""
    noise = np.random.default_rng(seed).normal(128, 400, (n, size, size))
    for _ in range(4):
        noise = sum(np.roll(noise, k, axis) for axis in (1, 2) for k in (-1, 0, 1)) / 6
    return noise.clip(0, 255).astype(np.uint8)[..., None].repeat(3, 3)


def items_of(n, size=64, seed=0):
    return ArrayItems(PictureSpec(size, size, 255), pictures(n, size, seed))


def features_of(model, items, folder):
    features = Features(items, model.targets, model.shapes, folder=folder, most_bytes=10**9, key="a")
    assert [*features.fill()][-1] == len(items)
    return features


@pytest.fixture
def stored(monkeypatch):
    """Spare the seconds of an export: the graph is the student's state instead, byte for byte."""

    def export(model, *_):
        states = {**model.student.state_dict(), "slope": model.map.slope, "shift": model.map.shift}
        return b"".join(v.numpy().tobytes() for v in states.values()), 0.0

    monkeypatch.setattr(module, "export", export)


@pytest.fixture(scope="module")
def one_scale(tmp_path_factory):
    """Items, the places that were kept out, and an artefact whose map is one scale."""
    items, share = items_of(24), 0.5
    config = settings(**ONE_SCALE, held_out=share, steps=10)
    artefact = ReverseDistillation(config).fit(items, seed=3, workdir=tmp_path_factory.mktemp("work"))
    return items, module._split(len(items), share, 3)[1], artefact


# what is refused


@pytest.mark.parametrize(
    ("taps", "halved", "size", "multiple", "better"),
    [
        ("layer1,layer2", "auto", 100, 16, 96),
        ("layer1,layer2", "yes", 40, 16, 32),
        ("layer1,layer2", "no", 100, 8, 96),
        ("layer1,layer2", "both", 40, 16, 32),
        ("", "auto", 100, 32, 96),
        ("", "no", 33, 16, 32),
        ("", "auto", 250, 32, 256),
    ],
)
def test_a_size_that_the_strides_do_not_divide(taps, halved, size, multiple, better):
    with pytest.raises(ConfigError, match=f"multiple of {multiple}, the stride of the code") as caught:
        build_model(settings(taps=taps, halved=halved, blocks="", size=size), seed=0)
    assert caught.value.fix == f"--set size={better}" and caught.value.got == str(size)
    build_model(settings(taps=taps, halved=halved, blocks="", size=better), seed=0)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"backbone": "resnet19"}, ("'resnet19'", "resnet18")),
        ({"taps": "layer1,layer9"}, ("layer9", "layer3")),
        ({"blocks": "1,1"}, ("'blocks'", "3 whole numbers", "1,1")),
        ({"blocks": "1,1,1,1"}, ("'blocks'", "3 whole numbers")),
        ({"blocks": "1,0,1"}, ("'blocks'",)),
        ({"blocks": "1,-2,1"}, ("'blocks'",)),
        ({"blocks": "1,two,1"}, ("'blocks'",)),
    ],
)
def test_what_does_not_exist(values, words):
    with pytest.raises(ConfigError) as caught:
        build_model(settings(**values), seed=0)
    for word in words:
        assert word in str(caught.value)


# learning


LITE = {
    "backbone": "efficientnet-lite0",
    "taps": "_blocks.2,_blocks.4",
    "blocks": "",
    "size": 64,
    "measure": "relative",
}


def test_presets():
    """What each means by itself, and what is said of a field goes before it."""
    for values, students, filters in (
        ({}, 2, 0), ({"preset": "light"}, 1, 1), ({"preset": "nano"}, 1, 1),
        ({"preset": "light", "halved": "both", "fusion": "dense"}, 2, 0), ({"fusion": "thrifty"}, 2, 2),
    ):  # fmt: skip
        model = build_model(settings(**LITE, **values), seed=0)
        assert len(model.student) == students
        assert sum(getattr(m, "groups", 1) > 1 for m in model.student.modules()) == filters
        shapes = [tuple(f.shape) for f in model.outputs(None, model.targets(torch.zeros(2, 64, 64, 3).byte()))]
        assert shapes == [(2, 24, 16, 16), (2, 40, 8, 8)] * students
    (halved,) = build_model(settings(**LITE, preset="light"), seed=0).student
    assert halved.embedding[0].downsample[0].stride == (2, 2)


@pytest.mark.parametrize("method", [ReverseDistillation, CrossDomain])
def test_a_budget_holds_for_all_of_the_graph(method, tmp_path):
    kind = ReverseDistillationConfig if method is ReverseDistillation else CrossDomainConfig
    fields = QUICK | LITE | {"preset": "nano", "budget": 0.008, "narrowed_on": 8, "held_out": 0.3}
    artefact = method(replace(kind(), fields)).fit(items_of(12), seed=0, workdir=tmp_path, on_step=ignore)
    assert 0.006e9 < count_operations(artefact.onnx).total <= 0.008e9
    assert artefact.training["teacher"]["narrowed"]["channels"]
    before, after = (macs / 1e6 for macs in artefact.training["teacher"]["narrowed"]["macs"])
    said = f"narrower: {before:.3g} to {after:.3g} million multiply-adds"
    assert any(said in note for note in artefact.training["notes"])


def test_the_blocks_asked_for_are_built():
    (student,) = build_model(settings(blocks="3,2,4"), seed=0).student
    assert [len(student.embedding), *map(len, student.decoder)] == [3, 2, 4]


def test_two_students_with_codes_of_two_sizes():
    """Each re-creates all scales; the map takes every re-creation, the loss is the mean of both."""
    model = build_model(settings(halved="both"), seed=0).eval()
    targets = model.targets(torch.from_numpy(pictures(2)))
    wide, narrow = model.student
    assert [s.embedding(s.fuse(targets)).shape[2:] for s in (wide, narrow)] == [(8, 8), (4, 4)]
    outputs = model.outputs(None, targets)
    assert all(torch.equal(a, b) for a, b in zip(outputs, [*wide(targets), *narrow(targets)], strict=True))
    losses = [feature_loss(targets, student(targets)) for student in (wide, narrow)]
    torch.testing.assert_close(model.loss(None, list(targets)), sum(losses) / 2)
    model.map.set_footing([1.0, 2.0, 3.0, 4.0], [0.0] * 4)
    each = [
        model.map.scale(model.map.distances(t, o, k), k)
        for k, (t, o) in enumerate(zip([*targets] * 2, outputs, strict=True))
    ]
    torch.testing.assert_close(model(torch.from_numpy(pictures(2)))[1], sum(each))


def test_both_codes_are_learned_and_put_on_one_footing(tmp_path):
    artefact = ReverseDistillation(settings(halved="both", steps=20)).fit(items_of(16), seed=0, workdir=tmp_path)
    assert len(artefact.training["footing"]["slope"]) == 4, "two scales, twice"
    curve = artefact.training["curves"]["loss"]
    assert curve[-1] < curve[0]
    _, maps = run_onnx(artefact.onnx, pictures(16))
    assert abs(float(maps.mean())) < 0.2, "a usual pixel is 0"


def test_the_first_weights_are_the_seeds_and_the_teacher_is_not():
    torch.manual_seed(8)
    wanted = torch.rand(3)
    torch.manual_seed(8)
    a, b, c = (build_model(settings(), seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.rand(3), wanted), "nothing random of the caller is touched"
    pairs = [[torch.equal(x, y) for x, y in zip(a.parameters(), m.parameters(), strict=True)] for m in (b, c)]
    assert all(pairs[0]) and not all(pairs[1])
    assert a.teacher.fingerprint == c.teacher.fingerprint


def test_learning_changes_the_student_and_never_the_teacher(tmp_path):
    model, items = build_model(settings(), seed=0), items_of(8)
    teacher = {k: v.clone() for k, v in model.teacher.state_dict(keep_vars=False).items()}
    buffers = {k: v.clone() for k, v in model.teacher.named_buffers()}  # with those that are not saved
    student = {k: v.clone() for k, v in model.student.state_dict().items()}
    features = features_of(model, items, tmp_path)
    train(model, features, np.arange(8), model.config, seed=0, workdir=tmp_path, on_step=ignore)
    assert teacher and buffers
    assert all(torch.equal(v, teacher[k]) for k, v in model.teacher.state_dict().items())
    assert all(torch.equal(v, buffers[k]) for k, v in model.teacher.named_buffers())
    assert all(p.grad is None and not p.requires_grad for p in model.teacher.parameters())
    after = model.student.state_dict()
    assert all(not torch.equal(after[k], v) for k, v in student.items() if "num_batches" not in k)
    assert not model.student.training and not model.teacher.training


def test_the_loss_asks_for_no_gradient_of_the_targets():
    model = build_model(settings(), seed=0)
    targets = model.targets(torch.from_numpy(pictures(2)))
    assert all(not t.requires_grad for t in targets)
    model.loss(None, list(targets)).backward()
    assert all(p.grad is None for p in model.teacher.parameters())
    assert all(p.grad is not None for p in model.student.parameters())


def test_the_same_seed_gives_the_same_bits_and_another_one_others(tmp_path, stored):
    items = items_of(8)

    def fit(folder, seed, **values):
        (tmp_path / folder).mkdir(exist_ok=True)
        config = settings(**ONE_SCALE, dropout=0.3, **values)
        return ReverseDistillation(config).fit(items, seed=seed, workdir=tmp_path / folder)

    first, other = fit("a", 0), fit("b", 1)
    assert fit("c", 0).onnx == first.onnx != other.onnx
    assert fit("a", 1).onnx == other.onnx, "what another seed left in the folder is not taken up"
    assert fit("a", 0, rate=0.001).onnx != first.onnx, "nor what another configuration left"
    items = ArrayItems(items.spec, 255 - items.pictures)
    assert fit("a", 0).onnx != first.onnx, "nor what was learned from other pictures"
    items = ArrayItems(items.spec, 255 - items.pictures)
    assert fit("d", 0, cache_gb=0.0).onnx == first.onnx, "features kept on disk or computed again are the same"


def test_what_an_artefact_says_of_its_learning(tmp_path, stored):
    seen = []
    fitted = ReverseDistillation(settings(held_out=0.25)).fit(
        items_of(20), seed=0, workdir=tmp_path, on_step=seen.append
    )
    assert fitted.training["pictures"] == {"learned": 15, "held_out": 5}
    assert len(fitted.training["curves"]["loss"]) == QUICK["steps"]
    assert fitted.training["teacher"]["architecture"] == "resnet18" and fitted.method == "reverse-distillation"
    assert fitted.weights == {} and fitted.spec == PictureSpec(64, 64, 255)
    assert list(dict.fromkeys(s.stage for s in seen)) == ["teaching", "learning", "exporting"]
    for stage in ("teaching", "learning", "exporting"):
        steps = [s for s in seen if s.stage == stage]
        assert steps[-1].done == steps[-1].total > 0 and [s.done for s in steps] == sorted(s.done for s in steps)


def test_one_picture_whose_code_is_one_pixel_can_be_learned(tmp_path, stored):
    config = settings(taps="", blocks="", size=32)
    assert ReverseDistillation(config).fit(items_of(1, 32), seed=0, workdir=tmp_path).onnx


# the footing


def test_a_split_is_whole_and_apart():
    learned, kept = module._split(50, 0.2, seed=0)
    assert (len(learned), len(kept)) == (40, 10)
    assert sorted([*learned, *kept]) == [*range(50)]
    assert sorted(module._split(50, 0.2, seed=1)[1]) != sorted(kept)
    few, same = module._split(30, 0.1, seed=0)  # three are too few for a quantile
    assert few.tolist() == same.tolist() == [*range(30)]


def alone(model, targets, k):
    """Return the map of one scale on its footing: that of all, where the others say nothing."""
    slope, shift = (torch.zeros(len(targets)).index_copy(0, torch.tensor([k]), v[k : k + 1])
                    for v in (model.map.slope, model.map.shift))  # fmt: skip
    before = model.map.slope.tolist(), model.map.shift.tolist()
    model.map.set_footing(slope.tolist(), shift.tolist())
    with torch.inference_mode():
        _, whole = model.map(targets, model.student(targets))
    model.map.set_footing(*before)
    return whole.numpy()


@pytest.mark.parametrize("taps", ["layer1", "layer1,layer2", "layer1,layer2,layer3"])
def test_the_footing_sends_quantiles_of_normal_pixels_to_their_places(tmp_path, taps):
    count = len(taps.split(","))
    config = settings(taps=taps, blocks="1," * count + "1", sigma=2.0, footing="quantile")
    model, items = build_model(config, seed=0), items_of(20)
    features = features_of(model, items, tmp_path)
    train(model, features, np.arange(12), config, seed=0, workdir=tmp_path, on_step=ignore)
    kept = np.arange(12, 20)
    find_footing(model, features, kept)
    assert len(model.map.slope) == len(model.map.shift) == count and model.map.slope.min() > 0
    for k in range(count):
        low, high = np.quantile(alone(model, features[kept], k), [0.9, 0.995])
        assert low == pytest.approx(0, abs=1e-5) and high == pytest.approx(0.1 / count, abs=1e-5)


@pytest.mark.parametrize(
    ("fields", "local"),
    [({}, 0.5), ({"preset": "light"}, 0.5), ({"preset": "nano"}, 0.25), ({"preset": "nano", "local": 0.1}, 0.1)],
)
def test_how_much_a_place_itself_counts_is_a_matter_of_the_preset(fields, local):
    assert build_model(settings(**fields), seed=0).map.local == local


def test_the_finest_scale_may_count_more(tmp_path):
    """Of each student; all together weigh what they did."""
    model, items = build_model(settings(halved="both"), seed=0), items_of(20)
    features = features_of(model, items, tmp_path)
    find_footing(model, features, np.arange(20))
    even = model.map.slope.clone(), model.map.shift.clone()
    for fields, finest in (({"finest": 4.0}, 4.0), ({"preset": "light"}, 2.0), ({"preset": "light", "finest": 1.0}, 1)):
        model.config = settings(halved="both", **fields)
        find_footing(model, features, np.arange(20))
        wanted = torch.tensor([finest, 1.0] * 2) * 2 / (1 + finest)
        for before, after in zip(even, (model.map.slope, model.map.shift), strict=True):
            torch.testing.assert_close(after, before * wanted)


@pytest.mark.parametrize("kind", FOOTINGS)
def test_a_student_without_a_fault_gets_a_finite_footing(tmp_path, monkeypatch, kind):
    model, items = build_model(settings(footing=kind), seed=0), items_of(6)
    features = features_of(model, items, tmp_path)
    monkeypatch.setattr(model.student, "forward", lambda targets: [*targets])
    find_footing(model, features, np.arange(6))
    assert torch.isfinite(model.map.slope).all() and torch.isfinite(model.map.shift).all()


@pytest.mark.parametrize("kind", FOOTINGS)
def test_the_whole_map_has_one_unit(tmp_path, kind):
    model, items = build_model(settings(footing=kind), seed=0), items_of(20)
    features = features_of(model, items, tmp_path)
    find_footing(model, features, np.arange(20))
    with torch.inference_mode():
        _, whole = model.map(features[np.arange(20)], model.student(features[np.arange(20)]))
    if kind == "none":
        assert model.map.slope.tolist() == [1, 1] and model.map.shift.tolist() == [0, 0]
    elif kind == "mean":  # of quantiles each scale has its own: above
        assert whole.mean() == pytest.approx(0, abs=1e-3)


def test_a_product_is_of_what_is_not_negative(tmp_path):
    model, items = build_model(settings(combine="product"), seed=0), items_of(20)
    features = features_of(model, items, tmp_path)
    find_footing(model, features, np.arange(20))
    assert model.map.shift.tolist() == [0, 0] and model.map.slope.min() > 0
    with torch.inference_mode():
        _, whole = model.map(features[np.arange(4)], model.student(features[np.arange(4)]))
    assert whole.min() >= 0


def test_the_graph_has_the_footing_of_the_pictures_that_were_kept_out(one_scale):
    items, kept, artefact = one_scale
    x = next(items.batches(len(items))).x
    _, maps = run_onnx(artefact.onnx, x)
    low, high = np.quantile(maps[kept], [0.9, 0.995])  # of one scale the whole map
    assert low == pytest.approx(0, abs=5e-4) and high == pytest.approx(0.1, abs=1e-3)  # features were kept in 16 bits
    learned = np.setdiff1d(np.arange(len(items)), kept)
    assert abs(np.quantile(maps[learned], 0.995) - 0.1) > 2e-3, "this test tells them apart"


# the graph


def test_the_graph_takes_any_number_of_pictures_as_they_are(one_scale):
    items, _, artefact = one_scale
    graph = onnx.load_from_string(artefact.onnx).graph
    (taken,), (score, whole) = graph.input, graph.output
    sizes = [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in (taken, score, whole)]
    assert sizes == [["batch", 64, 64, 3], ["batch"], ["batch", 64, 64]]
    types = [v.type.tensor_type.elem_type for v in (taken, score, whole)]
    assert types == [onnx.TensorProto.UINT8, onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT]
    assert [v.name for v in (taken, score, whole)] == ["pictures", "score", "map"]
    x = next(items.batches(5)).x
    scores, maps = run_onnx(artefact.onnx, x)
    for i in range(5):
        alone = run_onnx(artefact.onnx, x[i : i + 1])
        np.testing.assert_allclose(alone[0], scores[i : i + 1], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(alone[1], maps[i : i + 1], rtol=1e-5, atol=1e-6)
    if artefact.config["score"] == "max":
        np.testing.assert_array_equal(scores, maps.max((1, 2)))


@pytest.mark.parametrize("kind", ["max", "top"])
def test_scores_are_of_their_map(kind):
    model = build_model(settings(score=kind), seed=0).eval()
    with torch.inference_mode():
        score, whole = model(torch.from_numpy(pictures(3)))
    flat = np.sort(whole.numpy().reshape(3, -1), axis=1)
    wanted = flat[:, -1] if kind == "max" else flat[:, -41:].mean(1)  # a hundredth of 4096
    np.testing.assert_allclose(score, wanted, rtol=1e-5)


@pytest.mark.parametrize("output", [0, 1])
def test_a_graph_that_does_not_repeat_the_model_is_refused(monkeypatch, output):
    model = build_model(settings(), seed=0).eval()
    shown = []

    def run(graph, x):
        shown.append(x)
        with torch.inference_mode():
            results = [r.numpy() for r in model(torch.from_numpy(x))]
        results[output] = results[output] + np.float32(1e-3)
        return results

    monkeypatch.setattr(module, "to_onnx", lambda *a, **k: b"")
    monkeypatch.setattr(module, "run_onnx", run)
    with pytest.raises(ParityError, match="scores" if output == 0 else "maps"):
        module.export(model, pictures(3), "reverse-distillation")
    assert shown[0].shape == (5, 64, 64, 3) and np.array_equal(shown[0][:3], pictures(3))


@pytest.mark.slow
def test_the_papers_network_learns_and_is_exported(tmp_path):
    config = settings(backbone="wide_resnet50_2", taps="", blocks="", steps=1, batch=2)
    items = items_of(2)
    artefact = ReverseDistillation(config).fit(items, seed=0, workdir=tmp_path)
    assert artefact.training["parity"]["largest"] <= artefact.training["parity"]["tolerance"]
    score, whole = run_onnx(artefact.onnx, next(items.batches(2)).x)
    assert score.shape == (2,) and whole.shape == (2, 64, 64) and np.isfinite(whole).all()


@pytest.mark.parametrize("learning", [True, False])
def test_patches_are_mixed_in_while_learning_alone(learning):
    """What the student is told to give back stays the teacher's; what it sees does not."""
    x = torch.from_numpy(pictures(4, 128))
    losses = []
    for share in (0.0, 1.0):
        model = build_model(settings(size=128, mix=share), seed=0)
        model.student.train(learning)
        torch.manual_seed(0)
        with torch.no_grad():
            losses.append(model.loss(None, list(model.targets(x))).item())
    assert (losses[0] != losses[1]) == learning
