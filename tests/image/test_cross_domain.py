"""Cross-domain distillation: who teaches whom what, and that nothing of the domains is left."""

import dataclasses

import numpy as np
import onnx
import pytest
import torch
from scipy import stats

from limbeck.calibrate import outlier_cut
from limbeck.config import replace
from limbeck.contracts import ignore
from limbeck.data.picture_arrays import ArrayItems
from limbeck.errors import ConfigError
from limbeck.image import course as module
from limbeck.image import matching
from limbeck.image.config import CrossDomainConfig, ReverseDistillationConfig
from limbeck.image.course import Course
from limbeck.image.cross_domain import CrossDomain, build_domain_models, build_narrow_model
from limbeck.image.features import Features
from limbeck.image.foreseen import channel_errors, channel_weights
from limbeck.image.memory import distances_to_others, memory_scores, rarity, strangest_places
from limbeck.image.pseudo_normal import pseudo_normal
from limbeck.image.reverse_distillation import ReverseDistillation, build_model
from limbeck.image.train import Learning
from limbeck.picture_spec import PictureSpec

QUICK = {
    "backbone": "resnet18", "weights": "random", "taps": "layer1", "blocks": "1,1", "size": 32,
    "steps": 12, "batch": 4, "checkpoint": 1e6, "domains": 3, "domain_students": "same",
    "narrow": 0,
}  # fmt: skip
IN_TURN = {"order": "turns", "policy": "share", "suspects": 0.2, "confident": "pseudo"}
COMMON = {f.name for f in dataclasses.fields(ReverseDistillationConfig)}


def settings(**values):
    """Return a configuration in which all students take their steps in turn."""
    return replace(CrossDomainConfig(), QUICK | IN_TURN | values)


def as_shipped(**values):
    return replace(CrossDomainConfig(), QUICK | values)


def pictures(n, size=32, seed=0):
    """Blurred noise: no two pictures are alike."""
    noise = np.random.default_rng(seed).normal(128, 400, (n, size, size))
    for _ in range(4):
        noise = sum(np.roll(noise, k, axis) for axis in (1, 2) for k in (-1, 0, 1)) / 6
    return noise.clip(0, 255).astype(np.uint8)[..., None].repeat(3, 3)


def items_of(n, size=32, odd=()):
    """Return pictures of which those at some places are of other kinds: black and white stripes, this way or that."""
    chosen = pictures(n, size)
    for place in odd:
        stripes = (np.arange(size) // (2 + place % 3) % 2 * 255).astype(np.uint8)
        chosen[place] = np.broadcast_to(stripes[:, None] if place % 2 else stripes, (size, size))[..., None]
    return ArrayItems(PictureSpec(size, size, 255), chosen)


def course_of(config, seed=0):
    model = build_model(config, seed=seed)
    narrow = build_narrow_model(model, config, seed=seed)
    return model, Course(build_domain_models(model, config, seed=seed), config, narrow)


def features_of(model, items, folder):
    features = Features(items, model.targets, model.shapes, folder=folder, most_bytes=10**9, key="a")
    list(features.fill())
    return features


def run(folder, config, n=16, seed=0, on_step=ignore):
    folder.mkdir(exist_ok=True)
    model, course = course_of(config, seed)
    features = features_of(model, items_of(n), folder)
    learned, held = np.arange(n - 4), np.arange(n - 4, n)
    model, curve = course.run(model, features, learned, config, seed=seed, workdir=folder, on_step=on_step, held=held)
    return model, course, curve


def same(a, b):
    return all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())


@pytest.fixture
def stored(monkeypatch):
    """Spare the seconds of an export: the graph is the student's state instead, byte for byte."""

    def export(model, *_):
        states = {**model.student.state_dict(), "slope": model.map.slope, "shift": model.map.shift}
        return b"".join(v.numpy().tobytes() for v in states.values()), 0.0

    monkeypatch.setattr(matching, "export", export)


# pseudo-normal features


def outputs_of(students, n=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [[torch.randn(n, 3, 4, 4, generator=generator), torch.randn(n, 5, 2, 2, generator=generator)]
            for _ in range(students)]  # fmt: skip


@pytest.mark.parametrize("how", ["mean", "median", "agreement"])
def test_a_contribution_has_unit_length_and_those_who_saw_the_picture_are_silent(how):
    outputs = outputs_of(3)
    seen_by = torch.tensor([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1]], dtype=torch.bool)  # one student a picture
    wanted = pseudo_normal(outputs, seen_by, how)
    for k, scale in enumerate(wanted):
        assert torch.allclose(scale.flatten(1).norm(dim=1), torch.ones(4))
        for picture, student in enumerate((0, 1, 2, 2)):
            theirs = outputs[student][k][picture]
            assert torch.allclose(scale[picture], theirs / theirs.norm(), atol=1e-6)


def test_a_loud_student_weighs_no_more_and_mean_and_median_are_numpys():
    outputs, everyone = outputs_of(3), torch.ones(3, 4, dtype=torch.bool)
    loud = [[100 * scale for scale in outputs[0]], *outputs[1:]]
    for how, oracle in (("mean", np.mean), ("median", np.median)):
        wanted = pseudo_normal(outputs, everyone, how)
        assert all(
            torch.allclose(a, b, atol=1e-6) for a, b in zip(wanted, pseudo_normal(loud, everyone, how), strict=True)
        )
        for k, scale in enumerate(wanted):
            each = [
                o[k].numpy() / np.linalg.norm(o[k].numpy().reshape(4, -1), axis=1)[:, None, None, None] for o in outputs
            ]
            np.testing.assert_allclose(scale.numpy(), oracle(each, axis=0), atol=1e-6)


def test_agreement_hears_the_odd_one_out_least():
    (usual,), everyone = outputs_of(1), torch.ones(4, 4, dtype=torch.bool)
    odd = [-scale for scale in usual]
    wanted = pseudo_normal([usual, usual, usual, odd], everyone, "agreement")
    mean = pseudo_normal([usual, usual, usual, odd], everyone, "mean")
    for scale, agreed, averaged in zip(usual, wanted, mean, strict=True):
        target = scale / scale.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        assert (agreed - target).norm() < 0.5 * (averaged - target).norm()


# who teaches whom


def test_students_begin_with_weights_of_their_own_and_share_one_teacher():
    model, course = course_of(settings())
    assert len(course.domains) == 3 and all(m.teacher is model.teacher for m in course.domains)
    first = [next(m.student.parameters()) for m in (model, *course.domains)]
    assert not any(torch.equal(a, b) for i, a in enumerate(first) for b in first[:i])


def test_small_students_are_smaller_and_still_learn(tmp_path):
    config = settings(domain_students="small", blocks="3,3")
    model, course = course_of(config)
    count = [sum(p.numel() for p in m.student.parameters()) for m in (model, *course.domains)]
    assert max(count[1:]) < 0.6 * count[0]
    run(tmp_path, config)


@pytest.mark.parametrize("order", ["first", "turns"])
def test_told_its_own_features_the_global_student_is_reverse_distillation_to_the_bit(tmp_path, stored, order):
    """Nothing that the domains do, their number or their randomness, reaches a student that is told what RD is told."""
    items = items_of(24)
    config = settings(
        confident="teacher", suspects=1e-6, suspects_first=0.0, dropout=0.2, halved="no", order=order, typical=0
    )
    plain = ReverseDistillationConfig(**{k: v for k, v in dataclasses.asdict(config).items() if k in COMMON})
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir(), (tmp_path / "c").mkdir()
    across = CrossDomain(config).fit(items, seed=3, workdir=tmp_path / "a")
    alone = ReverseDistillation(plain).fit(items, seed=3, workdir=tmp_path / "b")
    assert across.onnx == alone.onnx and across.training["curves"] == alone.training["curves"]
    told = CrossDomain(replace(config, {"confident": "pseudo"})).fit(items, seed=3, workdir=tmp_path / "c")
    assert told.onnx != alone.onnx, "and one that is told pseudo-normal features is another"


def test_the_graph_holds_no_student_of_a_domain(tmp_path):
    config = settings(steps=4)
    plain = ReverseDistillationConfig(**{k: v for k, v in dataclasses.asdict(config).items() if k in COMMON})
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    graphs = [
        onnx.load_from_string(method.fit(items_of(12), seed=0, workdir=tmp_path / folder).onnx).graph
        for folder, method in (("a", CrossDomain(config)), ("b", ReverseDistillation(plain)))
    ]
    shapes = [sorted(tuple(i.dims) for i in graph.initializer) for graph in graphs]
    nodes = [sorted(node.op_type for node in graph.node) for graph in graphs]
    assert shapes[0] == shapes[1] and nodes[0] == nodes[1]


@pytest.mark.parametrize("policy", ["share", "trim", "random", "others"])
def test_each_student_learns_from_its_domain_alone_and_once_a_pass(tmp_path, monkeypatch, policy):
    config = settings(policy=policy, steps=24, warm_up=0.25, divisions=2, suspects=0.4, suspects_first=0.4)
    model, course = course_of(config)
    features = features_of(model, items_of(16), tmp_path)
    seen, now = [[] for _ in range(3)], []
    for k, m in enumerate(course.domains):
        original = m.loss_towards

        def spy(wanted, targets, k=k, original=original):
            seen[k].append((len(now), now_reading[0]))
            return original(wanted, targets)

        m.loss_towards = spy
    now_reading = [None]
    get = Features.__getitem__

    def reading(self, places):
        now_reading[0] = places
        return get(self, places)

    monkeypatch.setattr(Features, "__getitem__", reading)
    divisions, divide = [], module.divide

    def dividing(*arguments):
        held, suspected = divide(*arguments)
        divisions.append((len(now), held))
        return held, suspected

    monkeypatch.setattr(module, "divide", dividing)
    course.run(
        model, features, np.arange(12), config, seed=0, workdir=tmp_path, on_step=now.append, held=np.arange(12, 16)
    )
    assert [step for step, _ in divisions] == [0, 6, 15], "at random first, then after whole passes"
    each = 3  # batches in a pass over 12 pictures
    for start, held in divisions:
        end = min([s for s, _ in divisions if s > start], default=24)
        for epoch in range(start, end, each):
            for k in range(3):
                places = np.concatenate([p for step, p in seen[k] if epoch <= step < epoch + each])
                assert sorted(places) == np.flatnonzero(held[k]).tolist()


def test_what_is_wanted_of_a_picture(tmp_path):
    """Its own features while all are trusted; then pseudo-normal ones, of suspects at once and of others as told."""
    config = settings(warm_up=0.5, confident="fading")
    model, course = course_of(config)
    targets = [t.clone() for t in model.targets(torch.from_numpy(pictures(4)))]
    course.members = np.array([[1, 1, 0, 0], [0, 1, 1, 0], [0, 1, 0, 1]], bool)
    course.suspected = suspected = np.array([True, False, True, True])
    every = np.arange(4)
    assert course._wanted(targets, every, 5) is targets
    pseudo = course._pseudo(targets, every)
    unit = [t / t.flatten(1).norm(dim=1).view(-1, 1, 1, 1) for t in targets]
    for got, p, t in zip(course._wanted(targets, every, 9), pseudo, unit, strict=True):
        assert torch.allclose(got[suspected], p[suspected], atol=1e-6)
        assert torch.allclose(got[1], 0.25 * t[1] + 0.75 * p[1], atol=1e-6)
    assert all(m.student.training for m in course.domains), "left as they learn"
    with torch.no_grad():
        course.domains[0].student.eval()
        alone = course.domains[0].outputs(None, targets)
    before = course._pseudo(targets, every)
    for scale, own in zip(before, alone, strict=True):  # picture 3: students 0 and 1 never saw it; picture 0: 1 and 2
        assert not torch.allclose(scale[0], own[0] / own[0].norm(), atol=1e-3)


def test_who_judges(tmp_path):
    """The global student judges by its own map; students outside of the domain by that of what they make together.

    A rare picture is one whose strangest places by that map are in hardly any other.
    """
    config, members = settings(), np.eye(3, dtype=bool)[:, np.arange(12) % 3]
    items, every, held = items_of(12), np.arange(12), np.arange(4)
    for judge in ("global", "outside", "rare"):
        model, course = course_of(replace(config, {"judge": judge}))
        footing = model if judge == "global" else course.domains[0]
        folder = tmp_path / judge
        folder.mkdir()
        features = features_of(model, items, folder)
        course.members = members
        score, cut = course._judge(model, features, every, held, 0)
        assert model.student.training and all(m.student.training for m in course.domains)
        model.eval(), [m.eval() for m in course.domains]
        targets = features[every]
        with torch.no_grad():
            made = [m.student(targets) for m in ([model] if judge == "global" else course.domains)]
            if judge != "global":
                made = [pseudo_normal(made, torch.from_numpy(~members), "mean")]
            maps = footing.map(targets, made[0])[1]
        if judge == "rare":
            far, others = distances_to_others(features, every, strangest_places(maps, model.shapes), seed=0)
            oracle = rarity(far, others, repeated=config.repeated, deviations=config.deviations)
            assert (score == oracle[0]).all() and cut == oracle[1]
            continue
        maps = maps.flatten(1).numpy()
        assert cut == outlier_cut(score, config.deviations)
        np.testing.assert_allclose(score, np.sort(maps)[:, -round(0.01 * 32 * 32) :].mean(1), rtol=1e-4)


def test_a_memory_finds_what_is_unlike_all_others_and_they_are_split(tmp_path, monkeypatch):
    items, every = items_of(30, odd=(4, 17)), np.arange(30)
    config = settings(judge="memory", suspects=0.1, suspects_first=0.1, steps=16, batch=8)
    model, course = course_of(config)
    features = features_of(model, items, tmp_path)
    divisions, divide = [], module.divide
    monkeypatch.setattr(module, "divide", lambda *a: divisions.append(divide(*a)) or divisions[-1])
    course.run(model, features, every, config, seed=0, workdir=tmp_path, on_step=ignore, held=every[:8])
    held, suspected = divisions[-1]
    assert suspected[[4, 17]].all() and suspected.sum() == 3 and (held[:, [4, 17]].sum(0) == 1).all()


def test_the_share_of_suspects_shrinks_by_the_middle(tmp_path):
    config = settings(steps=24, warm_up=0.0, divisions=4, suspects=0.2, suspects_first=0.6)
    _, course, _ = run(tmp_path, config)
    counts = [d["suspects"] for d in course.history]
    assert counts == sorted(counts, reverse=True) and counts[0] < int(0.6 * 12) and counts[-1] == counts[-2] == 2
    for d in course.history:
        assert d["step"] % 3 == 0 and sum(d["pictures"]) == 3 * 12 - 2 * d["suspects"]


def test_the_domains_learn_to_the_end_before_the_global_student_begins(tmp_path):
    """One division in the end; what is wanted of a suspect is made by the one student that never saw it."""
    steps = []
    config = as_shipped(steps=24, batch=8, domains=3, judge="memory")
    model, course = course_of(config)
    items, every = items_of(34, odd=(4, 17)), np.arange(30)
    features, told = features_of(model, items, tmp_path), []
    wanted = course._wanted

    def telling(targets, places, step):
        told.append((places, targets, wanted(targets, places, step)))
        return told[-1][2]

    course._wanted = telling
    course.run(model, features, every, config, seed=0, workdir=tmp_path, on_step=steps.append, held=np.arange(30, 34))
    assert [s.stage for s in steps] == ["domains"] * 24 + ["learning"] * 24
    assert course.history == [{"step": 24, "suspects": int(course.suspected.sum()), "pictures": [20, 20, 20]}]
    assert course.suspected[[4, 17]].all() and course.suspected.sum() < 8
    assert (course.members.sum(0) == 2).all(), "of each picture there is one student that never saw it"
    for places, targets, towards in told:
        trusted = torch.from_numpy(~course.suspected[places])
        for t, w in zip(targets, towards, strict=True):
            alike = torch.cosine_similarity(t.flatten(1), w.flatten(1), dim=1)
            assert torch.allclose(alike[trusted], torch.ones(()), atol=1e-5) and (alike[~trusted] < 0.99).all()


def test_the_global_student_cannot_judge_before_it_has_learned(tmp_path):
    with pytest.raises(ConfigError, match="cannot judge before"):
        CrossDomain(as_shipped(judge="global")).fit(items_of(12), seed=0, workdir=tmp_path)


# how wide the global student is


@pytest.mark.parametrize(
    ("alike", "words", "size"),
    [
        (-1.0, "the global student's code is narrow", {"preset": "light", "code": 0.25}),
        (1.0, "the global student's code is wide, and suspects were told nothing", {}),
    ],
)
def test_the_global_student_is_narrow_where_pictures_rank_alike(tmp_path, stored, monkeypatch, alike, words, size):
    """Told nothing else it is that of reverse distillation of that size, to the bit; a wide one is never told."""
    monkeypatch.setattr(module, "FEWEST_RANKED", 8)
    config = as_shipped(
        suspects=0.3, suspects_first=0.3, narrow=0.25, alike=alike, dropout=0.2, channels=False, typical=0
    )
    common = {k: v for k, v in dataclasses.asdict(config).items() if k in COMMON}
    nobody = replace(config, {"suspects": 1e-6, "suspects_first": 0.0})

    def fit(distiller, folder):
        (tmp_path / folder).mkdir()
        return distiller.fit(items_of(24), seed=3, workdir=tmp_path / folder)

    across, trusting = fit(CrossDomain(config), "a"), fit(CrossDomain(nobody), "b")
    alone = fit(ReverseDistillation(ReverseDistillationConfig(**common | size)), "c")
    assert trusting.onnx == alone.onnx and trusting.training["curves"] == alone.training["curves"]
    assert (across.onnx == alone.onnx) is (not size), "suspects of a narrow one are told what others make of them"
    assert across.training["domains"][-1]["suspects"] > 0
    assert -1 <= across.training["agreement"] <= 1 and words in across.training["notes"][-1]


def test_channels_of_a_wide_student_count_by_how_well_they_are_foreseen(tmp_path, stored, monkeypatch):
    """Only the map differs from reverse distillation's, and a narrow student's does not."""
    monkeypatch.setattr(module, "FEWEST_RANKED", 8)
    models = {}

    def fit(name, **values):
        (tmp_path / name).mkdir()
        config = as_shipped(narrow=0.25, **values)
        model, course = course_of(config)
        features = features_of(model, items_of(24), tmp_path / name)
        models[name], _ = course.run(
            model, features, np.arange(20), config, seed=0, workdir=tmp_path / name, on_step=ignore,
            held=np.arange(20, 24),
        )  # fmt: skip
        return course, features

    course, features = fit("weighed", alike=1.0)
    fit("even", alike=1.0, channels=False)
    fit("narrow", alike=-1.0)
    assert same(models["weighed"].student, models["even"].student)
    assert not any(hasattr(models[name].map, "weight0") for name in ("even", "narrow"))
    every = np.arange(20)
    targets = features[every]
    errors = channel_errors(targets, course._pseudo(targets, every))
    for k, error in enumerate(errors):
        assert torch.allclose(models["weighed"].map.get_buffer(f"weight{k}").flatten(), channel_weights(error))


def test_a_channel_counts_by_the_root_of_its_usual_error_whatever_a_few_pictures_show():
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(9, 4, 5, 5, generator=generator)
    spread = torch.tensor([1.0, 0.5, 2.0, 0.0]).view(1, 4, 1, 1)  # the last one is always the same
    made = target + spread * torch.randn(9, 4, 5, 5, generator=generator)
    (error,) = channel_errors([target], [made])
    assert torch.allclose(error, channel_errors([target], [7 * made])[0], atol=1e-5), "their length is open"
    gain = (target * made).flatten(1).sum(1) / made.flatten(1).square().sum(1)
    oracle = (target - gain.view(-1, 1, 1, 1) * made).square().mean((2, 3))
    assert torch.allclose(error, oracle, atol=1e-5)
    weight, usual = channel_weights(oracle), oracle.median(0).values
    assert torch.allclose(weight[0] / weight[2], (usual[2] / usual[0]).sqrt())
    assert weight[3] <= 10.001 * usual.mean().sqrt() * weight[0] * usual[0].sqrt() / usual.mean()
    spoilt = torch.cat([oracle, 1e6 * torch.rand(2, 4, generator=generator)])
    assert torch.allclose(channel_weights(spoilt), weight, rtol=0.5)
    assert torch.isfinite(channel_weights(torch.zeros(3, 4))).all()


@pytest.mark.parametrize(
    ("share", "count"), [(0.1, 16), (0.8, 19), (1.0, 24), (0.0, 0)], ids=["sixteen at least", "share", "all", "held"]
)
def test_usual_is_what_the_most_typical_pictures_have(tmp_path, share, count):
    """Those that the judge took least for anomalies; the scales are on one footing by the pictures held out."""
    config = as_shipped(typical=share)
    model, course = course_of(config)
    features, learned, held = features_of(model, items_of(28), tmp_path), np.arange(27, 3, -1), np.arange(4)
    course.learned, course.score = learned, np.random.default_rng(0).normal(size=24)
    course.foot(model, features, held)
    least = learned[np.argsort(course.score)[:count]] if count else held
    for k, scale in enumerate(features[least]):
        wanted = scale.mean((0, 2, 3))
        torch.testing.assert_close(model.map.get_buffer(f"middle{k}").flatten(), wanted, rtol=1e-4, atol=1e-5)
    with torch.inference_mode():
        _, whole = model.map(features[held], model.student(features[held]))
    assert whole.mean() == pytest.approx(0, abs=1e-3)


def test_what_is_odd_is_not_usual(tmp_path, monkeypatch):
    """A whole fit: stripes among blurred noise have no say in what the exported map holds to be usual."""
    odd = list(range(0, 40, 7))
    items, models = items_of(60, odd=odd), {}
    for share in (0.5, 1.0):
        monkeypatch.setattr(matching, "export", lambda model, *_, share=share: (models.update({share: model}), 0.0))
        (tmp_path / str(share)).mkdir()
        CrossDomain(as_shipped(typical=share, steps=20)).fit(items, seed=0, workdir=tmp_path / str(share))
    plain = torch.from_numpy(np.delete(next(iter(items.batches(60))).x, odd, 0))
    wanted = models[0.5].targets(plain)[0].mean((0, 2, 3))
    near, far = ((models[share].map.get_buffer("middle0").flatten() - wanted).norm() for share in (0.5, 1.0))
    assert near < 0.7 * far


def test_how_alike_pictures_rank_is_asked_of_those_who_saw_them_and_those_who_did_not(tmp_path):
    config, members = as_shipped(), ~np.eye(3, dtype=bool)[:, np.arange(12) % 3]
    model, course = course_of(config)
    features, every, held = features_of(model, items_of(12), tmp_path), np.arange(12), np.arange(4)
    course.members = members
    agreement = course._agree(features, every, held)
    assert all(m.student.training for m in course.domains), "left as they learn"
    [m.eval() for m in course.domains]
    targets = features[every]
    with torch.no_grad():
        made = [m.student(targets) for m in course.domains]
        by = [pseudo_normal(made, torch.from_numpy(who), "mean") for who in (members, ~members)]
        seen, unseen = (course.domains[0].map(targets, m)[1].flatten(1).amax(1) for m in by)
    assert agreement == pytest.approx(stats.spearmanr(seen, unseen)[0], abs=1e-6) and agreement < 0.999
    for m in course.domains:
        m.student.load_state_dict(model.student.state_dict())
    assert course._agree(features, every, held) == 1.0, "the same student, whether it saw them or not"


@pytest.mark.parametrize(
    ("values", "taught"),
    [
        ({"domain_steps": 5, "narrow": 0.25, "alike": -1.0}, 5),
        ({"domain_steps": 5, "narrow": 0.25, "alike": 1.0}, 5),
        ({"domain_steps": 300}, 12),
        ({"domain_steps": 5} | IN_TURN, 12),
    ],
)
def test_the_domains_learn_for_steps_of_their_own_and_are_at_rest_in_the_end(
    tmp_path, stored, monkeypatch, values, taught
):
    monkeypatch.setattr(module, "FEWEST_RANKED", 8)
    steps, rates, step_of = [], [], Learning.step

    def step(learning, *given, at=None):
        value = step_of(learning, *given, at=at)
        if at is not None:
            rates.append(learning.optimiser.param_groups[0]["lr"])
        return value

    monkeypatch.setattr(Learning, "step", step)
    config = as_shipped(batch=24, domains=2, rate=0.01, **values)
    CrossDomain(config).fit(items_of(24), seed=0, workdir=tmp_path, on_step=steps.append)
    first = config.order == "first"
    assert [s.stage for s in steps if s.stage in ("domains", "learning")] == ["domains"] * taught * first + [
        "learning"
    ] * 12
    assert {s.total for s in steps if s.stage == "domains"} == ({taught} if first else set())
    np.testing.assert_allclose(rates[::2], 0.005 * (1 + np.cos(np.pi * np.arange(taught) / taught)))


@pytest.mark.parametrize(
    "values",
    [
        {"narrow": 0}, {"preset": "light"}, {"code": 0.5}, {"halved": "yes"},
        {"policy": "share"}, {"policy": "trim"}, {"order": "turns"},
    ],
)  # fmt: skip
def test_without_need_or_means_to_choose_nothing_is_chosen(values):
    config = as_shipped(narrow=0.25)
    assert build_narrow_model(build_model(config, seed=0), config, seed=0) is not None
    config = replace(config, values)
    assert build_narrow_model(build_model(config, seed=0), config, seed=0) is None, "what is set by hand is kept"


def test_of_few_pictures_nothing_is_chosen(tmp_path, stored):
    config = as_shipped(narrow=0.25, alike=-1.0, steps=2, held_out=0.0)
    for n, chosen in [(module.FEWEST_RANKED - 1, False), (module.FEWEST_RANKED, True)]:
        (tmp_path / str(n)).mkdir()
        training = CrossDomain(config).fit(items_of(n), seed=0, workdir=tmp_path / str(n)).training
        assert ("agreement" in training) is chosen


ASKED = {"order": "first", "policy": "others", "narrow": 0.25}


@pytest.mark.parametrize(
    ("values", "stages"),
    [
        ({"order": "turns"}, ["learning"]),
        ({"order": "first"}, ["domains", "learning"]),
        (ASKED | {"alike": -1.0, "domain_steps": 6}, ["domains", "learning"]),
        (ASKED | {"alike": 1.0, "domain_steps": 4}, ["domains", "learning"]),
    ],
)
def test_a_stopped_run_goes_on_to_the_same_bits(tmp_path, monkeypatch, values, stages):
    class Stopped(Exception):
        pass

    monkeypatch.setattr(module, "FEWEST_RANKED", 8)
    config = settings(steps=14, checkpoint=0.0, dropout=0.2, divisions=3, **values)
    whole, course, curve = run(tmp_path / "whole", config)
    for stop, stage in [(4, stages[0]), (13, stages[-1])]:

        def stopping(step, stop=stop, stage=stage):
            if (step.stage, step.done) == (stage, stop):
                raise Stopped

        with pytest.raises(Stopped):
            run(tmp_path / str(stop), config, on_step=stopping)
        again, resumed, curve_again = run(tmp_path / str(stop), config)
        assert same(whole.student, again.student) and curve == curve_again
        assert (course.history, course.agreement) == (resumed.history, resumed.agreement)
        assert np.array_equal(course.score, resumed.score) and len(course.score) == 12


def test_another_seed_divides_otherwise(tmp_path, stored):
    def fit(folder, seed):
        (tmp_path / folder).mkdir()
        return CrossDomain(settings()).fit(items_of(12), seed=seed, workdir=tmp_path / folder)

    first = fit("a", 0)
    assert fit("b", 0).onnx == first.onnx != fit("c", 1).onnx
    assert first.method == "cross-domain" and len(first.training["domains"]) == 3
    (tmp_path / "d").mkdir()
    assert len(CrossDomain(as_shipped()).fit(items_of(12), seed=0, workdir=tmp_path / "d").training["domains"]) == 1


@pytest.mark.parametrize("n", [1, 5])
@pytest.mark.parametrize("make", [settings, as_shipped])
def test_fewer_pictures_than_domains_can_be_learned(tmp_path, stored, n, make):
    assert CrossDomain(make(domains=8)).fit(items_of(n), seed=0, workdir=tmp_path).onnx


@pytest.mark.parametrize(
    "values",
    [{"domains": 1}, {"suspects": 0.95}, {"policy": "luck"}, {"judge": "me"}, {"repeated": 0.0}, {"deviations": -1.0}],
)
def test_what_is_refused(values):
    with pytest.raises(ConfigError, match=next(iter(values))):
        settings(**values)


def test_memory_scores_are_the_same_each_time_and_find_the_odd_one(tmp_path):
    items = items_of(20, odd=(3,))
    model = build_model(settings(), seed=0)
    features = features_of(model, items, tmp_path)
    score = memory_scores(features, np.arange(20), seed=0)
    assert score.argmax() == 3 and (score == memory_scores(features, np.arange(20), seed=0)).all()
