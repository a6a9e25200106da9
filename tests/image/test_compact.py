"""A compact student of detectors: what it hears, how close it comes, what it costs, and what is refused."""

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

import limbeck
from limbeck.checks import check_detector
from limbeck.contracts import Scores, ignore
from limbeck.data.defects import damage
from limbeck.errors import ConfigError, InputError
from limbeck.export import export
from limbeck.fitting import configure
from limbeck.fitting.compact import prepare_compact
from limbeck.image import compact as module
from limbeck.image.compact import Compact, _together
from limbeck.image.reverse_distillation import build_model
from limbeck.operations import count_operations
from limbeck.runtime import scorer_for

HEAVY = {
    "backbone": "resnet18", "weights": "random", "taps": "layer1,layer2", "blocks": "1,1,1", "size": 64, "steps": 60,
    "batch": 4,
}  # fmt: skip
SMALL = {
    "weights": "random", "taps": "_blocks.2,_blocks.4", "steps": 60, "batch": 4, "budget": 0.008, "narrowed_on": 16,
    "heard": 24,
}  # fmt: skip


@pytest.fixture(scope="module")
def heavy(textures):
    return limbeck.fit(textures, config=HEAVY, alpha=0.2)


@pytest.fixture(scope="module")
def compact(heavy, textures):
    return limbeck.distil(heavy, textures, config=SMALL, alpha=0.2)


class Half:
    """A detector that looks at one colour alone, and at how it changes."""

    def __init__(self, spec, colour):
        self.spec, self.place = spec, {"red": 0, "blue": 2}[colour]

    def __call__(self, x):
        grey = x[..., self.place].astype(np.float32)
        rough = sum(np.abs(grey - np.roll(grey, 1, axis)) for axis in (1, 2))
        maps = rough if self.place else np.abs(grey - np.median(grey, (1, 2), keepdims=True))
        return Scores(maps.max((1, 2)), maps)


def test_it_is_a_detector_within_its_budget(compact, textures):
    operations = count_operations(compact.artefact.onnx)
    assert 0.004e9 < operations.total <= 0.008e9 and set(operations.macs) >= {"teacher", "student", "map"}
    check_detector(compact, textures[:4])
    assert compact.card.method == "compact" and compact.artefact.config["size"] == 64
    assert any("distilled from 1 detector: reverse-distillation" in note for note in compact.card.notes)


def test_it_says_how_closely_it_follows(compact):
    follows = compact.artefact.training["follows"]
    assert follows["n"] == 3 * round(0.2 * 24) and follows["damaged"] == 2 * round(0.2 * 24)
    assert -1 <= follows["before"] <= 1 and -1 <= follows["spearman"] <= 1
    assert any(f"rank correlation of their scores {follows['spearman']:.3f}" in n for n in compact.card.notes)


def test_what_it_hears_is_what_its_map_becomes(heavy, textures, tmp_path):
    """The same pictures, seed and features; detectors that disagree: each student's map is most like its own one's."""
    prepared, _, config = prepare_compact(
        heavy,
        textures,
        SMALL | {"weigh_steps": 150, "even": 0.0},
        normal=None,
        on_corrupt="refuse",
        seed=0,
        on_step=ignore,
    )
    detectors = {name: Half(heavy.spec, name) for name in ("red", "blue")}
    shown = np.concatenate([textures[:10], damage(textures[:10], 99)[0]])
    alike = {}
    for name, detector in detectors.items():
        artefact = Compact(config, [detector]).fit(prepared.learn, seed=0, workdir=tmp_path)
        losses = artefact.training["listening"]
        assert losses[-1] < losses[0] and artefact.training["teachers"] == 1
        own = scorer_for(artefact)(shown).map.ravel()
        alike[name] = {other: np.corrcoef(own, d(shown).map.ravel())[0, 1] for other, d in detectors.items()}
    assert alike["red"]["red"] > alike["blue"]["red"] and alike["blue"]["blue"] > alike["red"]["blue"]


def test_channels_are_held_near_each_other(heavy, textures, tmp_path):
    """The more so, the stronger; the scales keep their shares, of which the finest is the largest."""
    spread = []
    for even in (0.0, 1.0, 100.0):
        prepared, compact, _ = prepare_compact(
            heavy, textures, SMALL | {"steps": 5, "even": even}, normal=None, on_corrupt="refuse", seed=0,
            on_step=ignore,
        )  # fmt: skip
        graph = onnx.load_from_string(compact.fit(prepared.learn, seed=0, workdir=tmp_path).onnx)
        weights = [
            onnx.numpy_helper.to_array(t) for t in graph.graph.initializer if "weight" in t.name and "map" in t.name
        ]
        assert len(weights) == 2 and all((w > 0).all() for w in weights)
        spread.append(sum(float(np.log(w).std()) for w in weights))
    assert spread[0] > 2 * spread[1] > 20 * spread[2]


def test_what_is_weighed_is_what_the_map_shows(textures):
    """A place itself counts as little in both."""
    config = configure("compact", SMALL | {"size": 64})
    model = build_model(config, seed=0).eval()
    assert model.map.local == 0.25
    with torch.inference_mode():
        features = model.teacher(torch.from_numpy(textures[:3]))
        outputs = model.outputs(None, features)
        for k, (part, target, output) in enumerate(
            zip(module._parts(model, textures[:3]), model.wanted(features), outputs, strict=True)
        ):
            torch.testing.assert_close(
                part.float().sum(1).sqrt(), model.map.distances(target, output, k), rtol=2e-3, atol=1e-4
            )


def test_nothing_is_heard_of_the_pictures_that_say_how_closely(heavy, textures, tmp_path, monkeypatch):
    """A picture that is kept apart is so with all that was made of it."""
    prepared, _, config = prepare_compact(
        heavy, textures, SMALL | {"steps": 2, "weigh_steps": 60}, normal=None, on_corrupt="refuse", seed=0,
        on_step=ignore,
    )  # fmt: skip
    seen, lessons, forward = [], {}, module._Weighing.forward

    def remember(*arguments):
        lessons["all"] = build(*arguments)
        return lessons["all"]

    def look(self, parts, chosen):
        seen.append(chosen)
        return forward(self, parts, chosen)

    build = module._lessons
    monkeypatch.setattr(module, "_lessons", remember)
    monkeypatch.setattr(module._Weighing, "forward", look)
    Compact(config, [heavy.scorer]).fit(prepared.learn, seed=0, workdir=tmp_path)
    of = lessons["all"].picture
    line, before, *heard, after = seen
    assert len(heard) == 60 and (before == after).all()
    learned, held = (set(of[np.concatenate(rows)]) for rows in ([line, *heard], [before]))
    assert learned and held and not learned & held and learned | held == set(of)


def test_several_detectors_are_put_on_one_footing():
    """One that shouts a thousand times as loud, and from far away, is heard no more than the other."""
    rng = np.random.default_rng(0)
    one, other = (torch.from_numpy(rng.random((8, 5, 5), np.float32)) for _ in range(2))
    together = _together([one, other], 6)
    np.testing.assert_allclose(together, _together([one, 1000 * other + 7], 6), rtol=1e-3, atol=1e-3)
    alone = _together([one], 6)
    normal = one[:6].numpy()
    low, high = np.quantile(normal, [0.9, 0.995])
    np.testing.assert_allclose(alone, (one - low) / (high - low), rtol=1e-3, atol=1e-3)


def test_it_can_have_fewer_bits_too(compact, textures):
    small = export(compact, "int8", textures[:30], max_drop=30.0)
    assert len(small.artefact.onnx) < 0.6 * len(compact.artefact.onnx)
    check_detector(small, textures[:4])


def test_the_same_seed_the_same_student(compact, heavy, textures):
    again = limbeck.distil(heavy, textures, config=SMALL, alpha=0.2)
    np.testing.assert_array_equal(again.scorer(textures[:4]).score, compact.scorer(textures[:4]).score)


def test_the_command(run, heavy, textures, tmp_path):
    heavy.save(tmp_path / "heavy.limbeck")
    folder, out = tmp_path / "parts", tmp_path / "small.limbeck"
    folder.mkdir()
    for i, picture in enumerate(textures):
        Image.fromarray(picture).save(folder / f"{i:03}.png")
    fields = [f"--set={name}={value}" for name, value in SMALL.items() if name != "budget"]
    call = ["distil", tmp_path / "heavy.limbeck", folder, "--out", out, "--alpha", 0.2, *fields]
    done = run(*call, "--budget", "8M", "--also", tmp_path / "heavy.limbeck")
    assert done.returncode == 0 and "distilled from 2 detectors" in done.stderr
    assert "takes     pictures" in done.stdout
    assert count_operations(limbeck.load(out).artefact.onnx).total <= 8e6
    for wrong in ("much", "nan", "0"):
        refused = run(*call, "--budget", wrong, "--overwrite")
        assert refused.returncode == 1 and "this is no number of operations" in refused.stderr


def test_what_is_refused(heavy, textures, monkeypatch):
    quick = {"teachers": "tails,nearest", "steps": 50, "fewest": 500, "fidelity": -1.0, "same_top": 0.0}
    rows = limbeck.fit(np.random.default_rng(0).normal(size=(60, 3)), config=quick, alpha=0.2)
    for teacher in (rows, len, [], "score"):
        with pytest.raises(InputError, match="detectors"):
            limbeck.distil(teacher, textures, alpha=0.2)
    for wrong in ({"turned": True}, {"id": "a"}, {"ignore_columns": ["b"]}):
        with pytest.raises(ConfigError, match="pictures have no columns"):
            limbeck.distil(heavy, textures, alpha=0.2, **wrong)
    with pytest.raises(ConfigError, match="the detectors' size"):
        limbeck.distil(heavy, textures, config={"size": 128}, alpha=0.2)
    with pytest.raises(InputError, match="these are not the pictures"):
        limbeck.distil(heavy, textures.astype(np.uint16) * 16, alpha=0.2)
    with pytest.raises(ConfigError, match="the budget is too small"):
        limbeck.distil(heavy, textures, config=SMALL | {"budget": 0.0015}, alpha=0.2)
    monkeypatch.setattr(module, "damage", lambda pictures, seed: (pictures[:0], np.empty(0, np.int64)))
    with pytest.raises(InputError, match="no defect can be drawn"):
        limbeck.distil(heavy, textures, config=SMALL | {"steps": 2}, alpha=0.2)
