"""From a torch module to an ONNX graph, through a gate: what leaves must repeat what came in."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from limbeck.errors import ParityError, require

if TYPE_CHECKING:
    from torch import nn

__all__ = ["OPSET", "check_parity", "run_onnx", "to_onnx"]

OPSET = 20
FEW = 64  # numbers that are not worth a node


def to_onnx(
    module: nn.Module,
    example: NDArray[Any],
    *,
    input_name: str,
    output_names: Sequence[str],
    properties: Mapping[str, str],
) -> bytes:
    """Export a module with a dynamic batch, and check the graph.

    Parameters
    ----------
    module : torch.nn.Module
        Takes one tensor whose first axis is the batch.
    example : ndarray
        An input with at least two items; its type and other sizes are fixed in the graph.
    input_name, output_names : str and sequence of str
        Names in the graph.
    properties : mapping of str to str
        Metadata, read back as the session's ``custom_metadata_map``.

    Returns
    -------
    bytes
        The serialised model.
    """
    torch: Any = require("torch", "train")
    onnx: Any = require("onnx", "train")
    require("onnxscript", "train")
    onnx_logger = logging.getLogger("torch.onnx")
    level = onnx_logger.level
    onnx_logger.setLevel(logging.ERROR)  # it warns four times that torchvision is not there
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module.eval(), (torch.from_numpy(example),), dynamo=True, opset_version=OPSET,
                input_names=[input_name], output_names=list(output_names),
                dynamic_shapes=({0: torch.export.Dim("batch")},), verbose=False,
            )  # fmt: skip
    finally:
        onnx_logger.setLevel(level)
    model = program.model_proto
    _strip(model)
    _store_short(model, onnx)
    onnx.helper.set_model_props(model, dict(properties))
    onnx.checker.check_model(model, full_check=True)
    serialised: bytes = model.SerializeToString(deterministic=True)
    return serialised


def _strip(model: Any) -> None:
    """Remove what the exporter notes for debugging: half the file, and paths of the machine that it ran on."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.ClearField("doc_string")


def _store_short(model: Any, onnx: Any) -> None:
    """Store weights of 64 bits that 32 bits hold exactly in 32, and widen them on their way: half the file."""
    for tensor in [t for t in model.graph.initializer if t.data_type == onnx.TensorProto.DOUBLE]:
        values = onnx.numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            short = values.astype(np.float32)
        if values.size < FEW or (short != values).any():
            continue
        name = tensor.name
        tensor.CopyFrom(onnx.numpy_helper.from_array(short, f"{name}_float32"))
        widen = onnx.helper.make_node("Cast", [tensor.name], [name], name=f"{name}_widened", to=onnx.TensorProto.DOUBLE)
        model.graph.node.insert(0, widen)


def run_onnx(graph: bytes, x: NDArray[Any]) -> list[NDArray[Any]]:
    """Run a graph once, on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    results: list[NDArray[Any]] = session.run(None, {session.get_inputs()[0].name: x})
    return results


def check_parity(
    wanted: NDArray[Any], got: NDArray[Any], *, tolerance: float, what: str = "the ONNX graph's scores"
) -> float:
    """Return the largest difference, relative where values exceed 1, or refuse.

    Parameters
    ----------
    wanted, got : ndarray of one shape
        What the model says, and what the export says of the same items.
    tolerance : float
        Largest allowed ``|got - wanted| / max(1, |wanted|)``.
    what : str
        Named in the error.

    Returns
    -------
    float
        The largest difference.

    Raises
    ------
    ParityError
        If shapes differ, a value is not finite, or a difference is too large.
    """
    if wanted.shape != got.shape:
        raise ParityError(f"{what} have another shape", expected=str(wanted.shape), got=str(got.shape))
    difference = np.abs(got.astype(np.float64) - wanted) / np.maximum(1.0, np.abs(wanted))
    largest = float(difference.max(initial=0.0))
    if not largest <= tolerance:  # NaN included
        raise ParityError(
            f"{what} differ from the model's",
            expected=f"at most {tolerance:g}",
            got=f"{largest:.3g}",
            fix="this is a fault of the export; please report it with the method and its configuration",
        )
    return largest
