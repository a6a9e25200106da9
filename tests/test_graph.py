"""What leaves torch repeats what came in, or does not leave."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from limbeck.errors import ParityError
from limbeck.graph import OPSET, check_parity, run_onnx, to_onnx


class Line(torch.nn.Module):
    def forward(self, x):
        return (x.to(torch.float32) * 2 + 1)[:, 0]


@pytest.fixture(scope="module")
def graph():
    return to_onnx(Line(), np.zeros((2, 3)), input_name="x", output_names=["score"], properties={"limbeck.a": "b"})


def test_the_graph_is_complete_and_dynamic(graph):
    model = onnx.load_from_string(graph)
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version == OPSET
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == ["x"] and [o.name for o in session.get_outputs()] == ["score"]
    assert session.get_inputs()[0].type == "tensor(double)"
    assert session.get_modelmeta().custom_metadata_map["limbeck.a"] == "b"
    for n in (1, 2, 17):
        np.testing.assert_allclose(run_onnx(graph, np.full((n, 3), 4.0))[0], np.full(n, 9.0))


def test_the_graph_names_no_path_of_the_machine(graph, detector):
    for serialised in (graph, detector.artefact.onnx):
        assert b".py" not in serialised and str(Path.cwd()).encode() not in serialised
    weights = sum(a.nbytes for a in detector.artefact.weights.values())
    assert len(detector.artefact.onnx) < weights + 8000, "no more than the weights and a few nodes"


def test_the_gate_measures_and_refuses():
    a = np.array([0.5, 100.0], np.float32)
    assert check_parity(a, a, tolerance=0) == 0
    assert check_parity(a, a + np.array([0, 1e-3], np.float32), tolerance=1e-4) == pytest.approx(1e-5, rel=0.05)
    for wrong in (a + 1, np.array([0.5, np.nan], np.float32), a[:1]):
        with pytest.raises(ParityError):
            check_parity(a, wrong, tolerance=1e-3)
