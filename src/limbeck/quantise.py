"""The same graph with fewer bits: weights and features of its networks, never its scoring tail.

The tail, the part `map` of a graph, takes differences of features that are nearly alike: eight bits would leave little
of them. What comes before any network, the picture's own values, stays as it is, too. So do, with eight bits, the first
convolutions, those that read at least half the picture's height: they hold few weights, and what is lost there is lost
to all that follows.

Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference", CVPR 2018.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limbeck.errors import require
from limbeck.operations import FIRST, count_operations

__all__ = ["PRECISIONS", "with_fewer_bits"]

PRECISIONS = ("fp32", "fp16", "int8")
FLOATING = (FIRST, "map")  # stages that are left alone
FINEST = 1 / 4  # of the picture's places: convolutions that read so many are left alone, too
QUANTISED = ("Conv", "ConvTranspose", "Add", "Concat", "Relu", "Clip", "MaxPool", "Mul")


def with_fewer_bits(graph: bytes, precision: str, pictures: NDArray[np.uint8]) -> bytes:
    """Return a graph of pictures in another precision, with the same input and outputs.

    Parameters
    ----------
    graph : bytes
        An ONNX model in float32.
    precision : str
        "fp32": as it is; "fp16": weights in half precision, half the size and no faster; "int8": weights and features
        in eight bits, weights by channel, features in the range that they have on some pictures.
    pictures : ndarray of uint8, shape (n, h, w, 3)
        Those; defects among them, or what is strange is cut off at the range of good ones.

    Returns
    -------
    bytes
        An ONNX model.
    """
    if precision == "fp32":
        return graph
    onnx: Any = require("onnx", "report")
    operations = count_operations(graph)
    stages = operations.stages
    model = onnx.load_from_string(graph)
    alone = [node.name for node in model.graph.node if stages[node.name] in FLOATING]
    most = max(operations.places.values(), default=0)
    alone += [name for name, places in operations.places.items() if places >= FINEST * most]
    with _quietly():
        made = _int8(graph, alone, pictures) if precision == "int8" else _fp16(model, stages)
    del made.metadata_props[:]
    made.metadata_props.extend([*model.metadata_props])
    made.metadata_props.add(key="limbeck.precision", value=precision)
    onnx.checker.check_model(made)
    serialised: bytes = made.SerializeToString(deterministic=True)
    return serialised


def _int8(graph: bytes, alone: list[str], pictures: NDArray[np.uint8]) -> Any:
    from onnxruntime import quantization as q

    onnx: Any = require("onnx", "report")
    model = onnx.load_from_string(graph)
    name = model.graph.input[0].name

    class Reader(q.CalibrationDataReader):  # type: ignore[misc]
        """Gives pictures one by one."""

        def __init__(self) -> None:
            self.left = iter(pictures)

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            picture = next(self.left, None)
            return None if picture is None else {name: picture[None]}

    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "int8.onnx"
        q.quantize_static(
            model, out, Reader(), quant_format=q.QuantFormat.QDQ, per_channel=True, nodes_to_exclude=alone,
            activation_type=q.QuantType.QUInt8, weight_type=q.QuantType.QInt8, op_types_to_quantize=list(QUANTISED),
        )  # fmt: skip
        return onnx.load(out)


def _fp16(model: Any, stages: Mapping[str, str]) -> Any:
    """Keep parameters in half precision; an engine turns them back once, when it loads them."""
    onnx: Any = require("onnx", "report")
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and stages.get(tensor.name, FIRST) not in FLOATING:
            half = onnx.numpy_helper.to_array(tensor).astype(np.float16)
            name, stored = tensor.name, f"{tensor.name}.half"
            tensor.CopyFrom(onnx.numpy_helper.from_array(half, stored))
            back = onnx.helper.make_node("Cast", [stored], [name], name=f"{name}.back", to=onnx.TensorProto.FLOAT)
            model.graph.node.insert(0, back)
    return model


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep what the converters advise to themselves."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(level)
