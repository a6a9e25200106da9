"""Fewer bits: smaller, the tail untouched, a threshold of its own, and refused with numbers where it finds less."""

import dataclasses
import sys

import numpy as np
import onnx
import pytest

import limbeck
from limbeck import export as module
from limbeck.checks import check_detector
from limbeck.cli import main
from limbeck.data.defects import damage
from limbeck.errors import ConfigError, InputError, MissingExtraError, PackageError, ParityError
from limbeck.export import export
from limbeck.metrics import auroc
from limbeck.operations import count_operations
from limbeck.profile import profile
from limbeck.quantise import with_fewer_bits
from limbeck.runtime import scorer_for

QUICK = {
    "backbone": "resnet18", "weights": "random", "taps": "layer1,layer2", "blocks": "1,1,1", "size": 64, "steps": 100,
    "batch": 4, "measure": "cosine",
}  # fmt: skip


@pytest.fixture(scope="module")
def detector(textures):
    return limbeck.fit(textures, config=QUICK, alpha=0.2)


@pytest.fixture(scope="module")
def small(detector, textures):
    return export(detector, "int8", textures[:30], max_drop=20.0)


def kinds(graph):
    """The stored type of each parameter."""
    return {t.name: t.data_type for t in onnx.load_from_string(graph).graph.initializer}


def test_eight_bits_take_a_quarter_and_leave_the_tail_alone(detector, small):
    before, after = detector.artefact.onnx, small.artefact.onnx
    assert len(after) < 0.32 * len(before)
    stored, kind = kinds(after), onnx.TensorProto
    maps = [name for name in kinds(before) if name.startswith("map.")]
    assert maps and all(stored[name] == kind.FLOAT for name in maps)
    assert sum(t == kind.INT8 for t in stored.values()) >= 8
    stages = count_operations(before).stages
    given = {o for n in onnx.load_from_string(before).graph.node if stages[n.name] == "map" for o in n.output}
    nodes = onnx.load_from_string(after).graph.node
    assert not any(i in given for n in nodes if n.op_type == "QuantizeLinear" for i in n.input)


def test_convolutions_that_see_the_picture_at_its_finest_keep_all_bits(detector, small):
    """Those that read at least half its height: of this backbone its first, whose loss all others would share."""
    before, after = (onnx.load_from_string(d.artefact.onnx).graph for d in (detector, small))
    places = count_operations(detector.artefact.onnx).places
    assert max(places.values()) == 64 * 64 and len(places) == sum(n.op_type.startswith("Conv") for n in before.node)
    fine = {name for name, count in places.items() if count >= 32 * 32}
    assert 1 <= len(fine) < len(places) / 2
    parameters = {t.name for t in after.initializer}
    floating = {n.name for n in after.node if n.op_type.startswith("Conv") and n.input[1] in parameters}
    assert floating == fine


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_a_profile_knows_its_parts_again(detector, textures, precision):
    """Weights that are stored with fewer bits belong to the same stages; how they are stored was not learned."""
    graph = with_fewer_bits(detector.artefact.onnx, precision, textures[:4])
    before, after = count_operations(detector.artefact.onnx), count_operations(graph)
    assert after.macs == before.macs and list(after.macs) == list(before.macs)
    assert after.parameters == before.parameters
    fewer = dataclasses.replace(detector, artefact=dataclasses.replace(detector.artefact, onnx=graph))
    times = {stage.name: stage.seconds for stage in profile(fewer, threads=[1], batches=[1], rounds=2).stages}
    assert min(times["teacher"], times["student"], times["map"]) > 0


def test_the_threshold_is_its_own(small, textures):
    scores = small.scorer(textures[:30]).score
    np.testing.assert_array_equal(np.sort(scores), small.calibrator.normals)
    assert small.alpha == 0.2 and (scores > small.threshold).mean() <= 0.2
    assert small.card.threshold == small.threshold and small.card.n_calibration_normal == 30


def test_what_was_measured(detector, small):
    facts = small.artefact.training["export"]
    assert facts["precision"] == "int8" and 0.9 < facts["spearman"] <= 1
    assert facts["bytes"] == {"before": len(detector.artefact.onnx), "after": len(small.artefact.onnx)}
    assert facts["auroc"]["before"] - facts["auroc"]["after"] <= 0.2
    assert "int8" in small.card.notes[-1] and "export" not in detector.artefact.training
    properties = {p.key: p.value for p in onnx.load_from_string(small.artefact.onnx).metadata_props}
    assert properties["limbeck.precision"] == "int8" and properties["limbeck.method"] == "reverse-distillation"


def test_ranges_of_good_pictures_alone_would_cut_off_what_is_strange(detector, small, textures):
    damaged, label = damage(textures, 7)[0], np.repeat([0, 1], 40)
    alone = dataclasses.replace(detector.artefact, onnx=with_fewer_bits(detector.artefact.onnx, "int8", textures[:30]))
    whole, ours, cut = (
        auroc(label, scorer(np.concatenate([textures, damaged])).score)
        for scorer in (detector.scorer, small.scorer, scorer_for(alone))
    )
    assert whole > 0.85 and ours > whole - 0.05 and cut < ours - 0.05


def test_it_is_a_package_like_any_other(small, textures, tmp_path):
    small.save(tmp_path / "small.limbeck")
    again = limbeck.load(tmp_path / "small.limbeck")
    np.testing.assert_array_equal(again.detect(textures[:3]).score, small.detect(textures[:3]).score)
    assert again.artefact.training["export"] == small.artefact.training["export"]
    check_detector(again, textures[:4])


def test_half_precision(detector, textures):
    half = export(detector, "fp16", textures[:20])
    assert len(half.artefact.onnx) < 0.6 * len(detector.artefact.onnx)
    np.testing.assert_allclose(half.scorer(textures).score, detector.scorer(textures).score, rtol=0.02)


def test_all_bits_are_the_same_graph(detector, textures):
    assert with_fewer_bits(detector.artefact.onnx, "fp32", textures) is detector.artefact.onnx
    same = export(detector, "fp32", textures[:10], max_drop=0)
    assert same.artefact.training["export"]["auroc"]["before"] == same.artefact.training["export"]["auroc"]["after"]


def test_what_finds_less_is_refused_with_numbers(detector, textures, monkeypatch):
    def blind(graph, precision, pictures):
        """A graph whose first layer sees nothing."""
        model = onnx.load_from_string(graph)
        for tensor in model.graph.initializer:
            if tensor.name.endswith("conv1.weight"):
                tensor.CopyFrom(onnx.numpy_helper.from_array(0 * onnx.numpy_helper.to_array(tensor), tensor.name))
        return model.SerializeToString()

    monkeypatch.setattr(module, "with_fewer_bits", blind)
    with pytest.raises(ParityError, match=r"at most 0.5 points of AUROC lost on \d+ good pictures") as caught:
        export(detector, "int8", textures)
    assert "then 0.5" in str(caught.value) and "--max-drop" in str(caught.value)


def test_labelled_pictures_decide(parts, detector):
    good = parts / "train" / "good"
    small = export(detector, "int8", good, test=parts, max_drop=100.0)
    assert small.artefact.training["export"]["auroc"]["on"] == "labelled pictures"


@pytest.mark.parametrize(
    ("precision", "max_drop", "error", "words"),
    [("int4", 0.5, ConfigError, "no such precision"), ("int8", -1.0, ConfigError, "max_drop is out of its range")],
)
def test_settings_that_do_not_exist(detector, textures, precision, max_drop, error, words):
    with pytest.raises(error, match=words):
        export(detector, precision, textures, max_drop=max_drop)


def test_pictures_that_do_not_do(detector, textures):
    with pytest.raises(InputError, match="too few good pictures"):
        export(detector, "int8", textures[:9])
    with pytest.raises(InputError, match="too few good pictures"):
        export(detector, "int8", np.zeros((0, 64, 64, 3), np.uint8))


def test_fewer_bits_only_once(small, textures):
    with pytest.raises(InputError, match="fewer bits already"):
        export(small, "int8", textures)


def test_of_many_pictures_some_are_taken_evenly(detector, textures, monkeypatch):
    monkeypatch.setattr(module, "ENOUGH", 14)
    some = export(detector, "fp32", textures)
    places = np.linspace(0, 39, 14).astype(int)
    np.testing.assert_array_equal(np.sort(detector.scorer(textures[places]).score), some.calibrator.normals)


def test_rows_are_refused():
    quick = {"teachers": "tails,nearest", "steps": 50, "fewest": 500, "fidelity": -1.0, "same_top": 0.0}
    rows = limbeck.fit(np.random.default_rng(0).normal(size=(400, 3)), config=quick, alpha=0.05)
    with pytest.raises(InputError, match="fewer bits are for pictures"):
        export(rows, "int8", np.zeros((20, 3)))


def test_the_command(detector, parts, tmp_path, capsys):
    detector.save(tmp_path / "it.limbeck")
    arguments = ["export", tmp_path / "it.limbeck", "--calibration", parts / "train" / "good", "--out"]
    with pytest.raises(SystemExit) as end:
        main([str(a) for a in (*arguments, tmp_path / "small.limbeck", "--max-drop", 50)])
    out, err = capsys.readouterr()
    assert end.value.code == 0 and "threshold" in out and "of the size" in err
    assert limbeck.load(tmp_path / "small.limbeck").artefact.training["export"]["precision"] == "int8"
    with pytest.raises(SystemExit) as end:
        main([str(a) for a in (*arguments, tmp_path / "small.limbeck")])
    assert end.value.code == 1 and "exists" in capsys.readouterr().err


@pytest.fixture(scope="module")
def elsewhere(detector, textures):
    """The same in eight bits, for OpenVINO; it keeps quiet where it believes to run in CI."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CI", "true")
        yield export(detector, "int8", textures[:30], runtime="openvino", max_drop=20.0)


def test_another_engine_says_the_same(detector, textures, elsewhere):
    whole = export(detector, "fp32", textures[:20], runtime="openvino")
    check_detector(whole, textures[:4])
    ours, theirs = (scorer_for(detector.artefact, runtime)(textures) for runtime in ("onnx", "openvino"))
    np.testing.assert_allclose(theirs.score, ours.score, rtol=1e-4)
    np.testing.assert_allclose(theirs.map, ours.map, rtol=1e-3, atol=1e-4)
    assert whole.detect(textures[:0]).score.shape == (0,)


def test_a_package_for_another_engine_runs_on_it(elsewhere, detector, textures, tmp_path):
    """Without being told; its threshold is that of what it gives there."""
    check_detector(elsewhere, textures[:4])
    assert elsewhere.artefact.training["export"]["runtime"] == "openvino" and "OpenVINO" in elsewhere.card.notes[-1]
    elsewhere.save(tmp_path / "small.limbeck")
    again = limbeck.load(tmp_path / "small.limbeck")
    wanted = scorer_for(elsewhere.artefact, "openvino")(textures[:30]).score
    np.testing.assert_array_equal(again.detect(textures[:30]).score, wanted)
    np.testing.assert_array_equal(np.sort(wanted), again.calibrator.normals)
    assert not np.array_equal(limbeck.load(tmp_path / "small.limbeck", "onnx").detect(textures[:30]).score, wanted)
    damaged = damage(textures, 7)[0]
    label = np.repeat([0, 1], (len(textures), len(damaged)))
    both = np.concatenate([textures, damaged])
    assert auroc(label, again.scorer(both).score) > auroc(label, detector.scorer(both).score) - 0.05


def test_a_profile_is_of_the_engine_that_it_runs_on(elsewhere):
    found = profile(elsewhere, threads=[1], batches=[1], rounds=2)
    assert "openvino" in found.machine
    times = {stage.name: stage.seconds for stage in found.stages}
    assert min(times["teacher"], times["student"], times["map"]) > 0


def test_an_engine_that_is_not_installed(elsewhere, tmp_path, monkeypatch):
    elsewhere.save(tmp_path / "small.limbeck")
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match="openvino"):
        limbeck.load(tmp_path / "small.limbeck")
    assert limbeck.load(tmp_path / "small.limbeck", "onnx").threshold == elsewhere.threshold


def test_engines_that_are_refused(detector, textures):
    with pytest.raises(ConfigError, match="no such runtime for pictures"):
        export(detector, "int8", textures[:30], runtime="numpy")
    broken = dataclasses.replace(detector.artefact, onnx=b"no graph")
    with pytest.raises(PackageError, match=r"model\.onnx cannot be loaded"):
        scorer_for(broken, "openvino")
