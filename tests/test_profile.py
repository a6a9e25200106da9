"""What a package costs: counted by hand where it can be, and measured so that the parts make the whole."""

import json
import math

import numpy as np
import onnx
import pytest
from PIL import Image

import limbeck
from limbeck.cli import main
from limbeck.errors import ConfigError, InputError, MissingExtraError, OutputError, PackageError
from limbeck.operations import count_operations, dense_convolution
from limbeck.profile import profile
from limbeck.profile_plot import write_plot

QUICK = {
    "backbone": "resnet18", "weights": "random", "taps": "layer1", "blocks": "1,1", "size": 64, "steps": 2, "batch": 4,
}  # fmt: skip


@pytest.fixture(scope="module")
def pictures():
    x = np.random.default_rng(0).integers(0, 256, (10, 64, 64, 3), np.uint8)
    return limbeck.fit(x, config=QUICK, alpha=0.4)


@pytest.fixture(scope="module")
def rows():
    x = np.random.default_rng(0).normal(size=(400, 3))
    quick = {"teachers": "tails,nearest", "steps": 50, "fewest": 500, "fidelity": -1.0, "same_top": 0.0}
    return limbeck.fit(x, config=quick, alpha=0.05)


@pytest.fixture(scope="module")
def measured(pictures):
    return profile(pictures, threads=[1], batches=[1, 2], rounds=2)


def graph_of(*nodes, weights, shape=("batch", 4, 8, 8)):
    kind = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        list(nodes), "it", [onnx.helper.make_tensor_value_info("x", kind, shape)],
        [onnx.helper.make_tensor_value_info("y", kind, None)],
        [onnx.numpy_helper.from_array(np.ones(dims, np.float32), name) for name, dims in weights.items()],
    )  # fmt: skip
    for output in graph.output:
        output.type.tensor_type.shape.dim.add().dim_param = "batch"
        for _ in range(len(shape) - 1):
            output.type.tensor_type.shape.dim.add()
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)


def node(kind, inputs, output, **attributes):
    return onnx.helper.make_node(kind, inputs, [output], name=f"node_{output}", **attributes)


def test_convolutions_by_hand():
    """Each output takes in / groups × h × w products; a transposed one each input out / groups × h × w."""
    made = graph_of(
        node("Conv", ["x", "teacher.a"], "a", strides=[2, 2], pads=[1, 1, 1, 1]),  # 6 × 4 × 4 outputs of 4 × 3 × 3
        node("Relu", ["a"], "r"),
        node("Conv", ["r", "teacher.b"], "b", group=6),  # depthwise: 6 × 4 × 4 outputs of one product
        node("ConvTranspose", ["b", "student.c"], "c", strides=[2, 2]),  # 6 × 4 × 4 inputs of 5 × 2 × 2
        node("Relu", ["c"], "y"),
        weights={"teacher.a": (6, 4, 3, 3), "teacher.b": (6, 1, 1, 1), "student.c": (6, 5, 2, 2), "unnamed": (3,)},
    )
    found = count_operations(made.SerializeToString())
    assert found.macs == {"input": 0, "teacher": 96 * 36 + 96, "student": 96 * 20}
    assert found.parameters == {"input": 0, "teacher": 216 + 6, "student": 120}
    assert found.total == sum(found.macs.values())
    assert [found.stages[f"node_{k}"] for k in "arbcy"] == ["teacher"] * 3 + ["student"] * 2


def test_what_compares_two_stages_belongs_to_the_next():
    made = graph_of(
        node("Conv", ["x", "teacher.a"], "t"),
        node("Relu", ["t"], "a"),
        node("Conv", ["a", "student.b"], "b"),
        node("Abs", ["a"], "n"),  # of the teacher alone, for the comparison alone
        node("Sub", ["n", "b"], "d"),
        node("MatMul", ["d", "map.m"], "y"),  # 4 × 8 rows of 8 inputs and 3 outputs
        weights={"teacher.a": (4, 4, 1, 1), "student.b": (4, 4, 1, 1), "map.m": (8, 3)},
    )
    found = count_operations(made.SerializeToString())
    assert {name: found.stages[f"node_{name}"] for name in "tabndy"} == {
        "t": "teacher", "a": "student", "b": "student", "n": "map", "d": "map", "y": "map",
    }  # fmt: skip
    assert found.macs["map"] == 4 * 8 * 3 * 8


def test_a_matrix_product_with_its_input_turned():
    made = graph_of(node("Gemm", ["s.a", "s.b"], "y", transA=1), weights={"s.a": (7, 5), "s.b": (7, 2)}, shape=("n", 1))
    assert count_operations(made.SerializeToString()).total == 5 * 7 * 2


def test_a_dense_convolution():
    graph, macs = dense_convolution(4, 6)
    assert macs == 6 * 6 * 4 * 4 * 9 == count_operations(graph).total


def test_a_size_that_nobody_knows():
    nonzero, cast = node("NonZero", ["x"], "n"), node("Cast", ["n"], "f", to=onnx.TensorProto.FLOAT)
    made = graph_of(nonzero, cast, node("MatMul", ["f", "f"], "y"), weights={})
    with pytest.raises(PackageError, match="size in the graph is not known"):
        count_operations(made.SerializeToString())
    with pytest.raises(PackageError, match="cannot be read"):
        count_operations(b"no graph")


def test_the_parts_of_a_picture(pictures, measured):
    """A ResNet's first stage, by hand: the stem and two blocks of two convolutions of 64 channels."""
    names = [stage.name for stage in measured.stages]
    assert names == ["read", "input", "teacher", "student", "map", "engine", "verdict"]
    stem, block = 32 * 32 * 64 * 3 * 49, 16 * 16 * 64 * 64 * 9
    assert measured.stages[2].macs == stem + 4 * block
    weights, biases = 64 * 3 * 49 + 4 * 64 * 64 * 9 + 6, 5 * 64  # random weights have biases of 0, which are left out
    assert weights <= measured.stages[2].parameters <= weights + biases
    assert measured.macs == count_operations(pictures.artefact.onnx).total
    assert all(stage.seconds > 0 for stage in measured.stages if stage.macs) and measured.stages[0].seconds > 0
    assert 0.2 * measured.seconds < sum(s.seconds for s in measured.stages) < 5 * measured.seconds  # a busy machine's
    assert measured.limit == measured.macs / measured.peak and measured.graph_bytes == len(pictures.artefact.onnx)
    assert [(t, b) for t, b, _ in measured.throughput] == [(1, 1), (1, 2)]
    assert measured.from_files > 0 and 2**24 < measured.memory < 2**33
    assert json.loads(json.dumps(measured.facts()))["parameters"] == measured.parameters


def test_the_parts_of_a_row(rows):
    found = profile(rows, batches=[4], rounds=2)
    read, student, verdict = found.stages
    sizes = [3, *(w.shape[1] for w in rows.scorer.network.weights)]
    assert student.macs == sum(a * b for a, b in zip(sizes, sizes[1:], strict=False)) == found.macs
    assert student.parameters == rows.scorer.network.size and min(read.seconds, verdict.seconds) > 0
    assert [(t, b) for t, b, _ in found.throughput] == [(1, 4)] and found.from_files is None


def test_sources_of_ones_own(pictures, rows, tmp_path):
    for i in range(2):
        Image.fromarray(np.full((80, 90, 3), 50 * i, np.uint8)).save(tmp_path / f"{i}.png")
    brief = {"threads": [1], "batches": [1], "rounds": 1}
    for source in (tmp_path, np.zeros((2, 70, 70, 3), np.uint8)):
        assert profile(pictures, source, **brief).seconds > 0
    assert profile(rows, np.zeros((5, 3)), **brief).seconds > 0
    with pytest.raises(InputError, match="nothing to measure on"):
        profile(rows, np.zeros((0, 3)), **brief)
    with pytest.raises(InputError):
        profile(pictures, tmp_path / "none", **brief)


def test_arrays_of_sixteen_bits():
    x = np.random.default_rng(0).integers(0, 65536, (10, 64, 64), np.uint16)
    deep = limbeck.fit(x, config=QUICK, alpha=0.4)
    for source in (x, None):
        assert profile(deep, source, threads=[1], batches=[1], rounds=1).seconds > 0
    with pytest.raises(InputError, match="nothing to measure on"):
        profile(deep, x[:0], rounds=1)


@pytest.mark.parametrize("wrong", [{"threads": [0]}, {"batches": [-1]}, {"rounds": 0}])
def test_numbers_out_of_range(rows, wrong):
    with pytest.raises(ConfigError, match="1 or more"):
        profile(rows, **wrong)


def test_without_onnx(rows, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"limbeck\[report\]"):
        profile(rows, rounds=1)


def test_the_drawing(measured, tmp_path):
    for name in ("a.svg", "a.png"):
        write_plot(measured, tmp_path / name)
    text = (tmp_path / "a.svg").read_text()
    assert all(word in text for word in ("teacher", "million MACs", "1 thread", "at this machine's best"))
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (1500, 480)
    with pytest.raises(OutputError, match="no picture"):
        write_plot(measured, tmp_path / "a.pdf")
    with pytest.raises(OutputError, match="exists"):
        write_plot(measured, tmp_path / "a.svg")


def run(*arguments, status=0):
    with pytest.raises(SystemExit) as end:
        main([str(a) for a in arguments])
    assert end.value.code == status


def test_the_command(rows, tmp_path, capsys):
    rows.save(tmp_path / "it.limbeck")
    run("profile", tmp_path / "it.limbeck", "--batch", 2, "--plot", tmp_path / "it.svg")
    said = capsys.readouterr().out
    assert "million MACs" in said and "times the machine's limit" in said and (tmp_path / "it.svg").exists()
    run("profile", tmp_path / "it.limbeck", "--batch", 2, "--json")
    found = json.loads(capsys.readouterr().out)
    assert found["items"] == "rows" and math.isfinite(found["seconds"])
    run("profile", tmp_path / "it.limbeck", "--plot", tmp_path / "it.pdf", status=1)
    assert "no picture" in capsys.readouterr().err
    run("profile", tmp_path / "it.limbeck", "--batch", 0, status=1)
    assert "batches is out of its range" in capsys.readouterr().err
