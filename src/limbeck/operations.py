"""What a graph holds and does: parameters, and the multiplications that one item takes, stage by stage.

A stage is a part of the model that its parameters name: `teacher`, `student`, `map`. Counted are the multiply-add
operations (MACs) of convolutions and matrix products, in which nearly all work is; sums, roots and maxima are not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from limbeck.errors import PackageError, require

__all__ = ["Operations", "count_operations", "dense_convolution"]

CONVOLUTIONS = ("Conv", "ConvTranspose")
FIRST = "input"  # the stage before any parameter
QUANTISATION = ("_scale", "_zero_point")  # how parameters are stored, not what was learned


@dataclass(frozen=True)
class Operations:
    """What a graph holds and does.

    Attributes
    ----------
    parameters : dict of str to int
        Learned numbers, by stage.
    macs : dict of str to int
        Multiply-add operations for one item, by stage, in the order in which an item meets them.
    stages : dict of str to str
        The stage of each operation, by its name, and by the names of what it gives.
    places : dict of str to int
        Height times width of what each convolution reads, by its name.
    """

    parameters: Mapping[str, int]
    macs: Mapping[str, int]
    stages: Mapping[str, str]
    places: Mapping[str, int]

    @property
    def total(self) -> int:
        """Multiply-add operations for one item."""
        return sum(self.macs.values())


def count_operations(graph: bytes) -> Operations:
    """Count what a graph holds and does for one item.

    Parameters
    ----------
    graph : bytes
        An ONNX model whose first axis is the batch.

    Returns
    -------
    Operations
        By stage.

    Raises
    ------
    MissingExtraError
        If onnx is not installed.
    PackageError
        If the graph cannot be read, or a size in it is not known.
    """
    onnx: Any = require("onnx", "report")
    try:
        model = onnx.load_from_string(graph)
        for value in model.graph.input:
            value.type.tensor_type.shape.dim[0].dim_value = 1
        for value in model.graph.output:
            value.type.tensor_type.ClearField("shape")
        del model.graph.value_info[:]
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except Exception as error:  # protobuf and onnx raise classes of their own that share no public base
        raise PackageError("the graph cannot be read", got=str(error), fix="make the package anew") from error
    shapes = _shapes(model.graph)
    stages, order = _stages(model.graph)
    macs = dict.fromkeys(order, 0)
    places = {}
    for node in model.graph.node:
        macs[stages[node.name]] += _macs(node, shapes)
        if node.op_type in CONVOLUTIONS:
            places[node.name] = math.prod(_shape(node.input[0], shapes)[2:])
    parameters = dict.fromkeys(order, 0)
    for tensor in model.graph.initializer:
        if tensor.name in stages and not tensor.name.endswith(QUANTISATION):
            parameters[stages[tensor.name]] += math.prod(tensor.dims)
    return Operations(parameters, macs, stages, places)


def _shapes(graph: Any) -> dict[str, tuple[int, ...]]:
    """Return every shape that is known, by the name of what has it."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        shapes[value.name] = tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
    return shapes


def _stages(graph: Any) -> tuple[dict[str, str], list[str]]:
    """Return the stage of each operation and parameter by name, and the stages in their order.

    An operation belongs to the stage that its parameters name, else to the latest of what comes in. What later stages
    alone ask for, as the difference of teacher and student, belongs to them.
    """
    named = {tensor.name: tensor.name.partition(".")[0] for tensor in graph.initializer if "." in tensor.name}
    fixed = {tensor.name for tensor in graph.initializer}
    own = {}
    for node in graph.node:
        own[node.name] = next((named[i] for i in node.input if i in named), None)
        if fixed.issuperset(node.input):  # parameters that are stored with fewer bits, on their way back
            fixed.update(node.output)
            named |= dict.fromkeys(node.output, own[node.name]) if own[node.name] else {}
    on_the_way = [own[node.name] for node in graph.node if not fixed.issuperset(node.output)]
    order = [FIRST, *dict.fromkeys(stage for stage in (*on_the_way, *own.values()) if stage)]
    stages: dict[str, str] = {}
    for node in graph.node:
        before = {order.index(stages[i]) for i in node.input if i in stages and i not in named}
        stage = own[node.name] or order[max(before, default=0)]
        stages |= dict.fromkeys((node.name, *node.output), stage)
    asked: dict[str, list[str]] = {}  # by what: the stages that ask for it
    for node in reversed(graph.node):
        stage = stages[node.name]
        wanted = [s for output in node.output for s in asked.get(output, [])]
        if own[node.name] is None and wanted:
            stage = max(stage, min(wanted, key=order.index), key=order.index)
            stages |= dict.fromkeys((node.name, *node.output), stage)
        for i in node.input:
            asked.setdefault(i, []).append(stage)
    return stages | named, order


def _macs(node: Any, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Return the multiply-add operations of one operation."""
    if node.op_type in CONVOLUTIONS:
        weight = _shape(node.input[1], shapes)  # (out, in / groups, h, w), of a transposed one (in, out / groups, h, w)
        places = _shape(node.output[0] if node.op_type == "Conv" else node.input[0], shapes)
        return math.prod(places) * math.prod(weight[1:])
    if node.op_type in ("MatMul", "Gemm"):
        left = _shape(node.input[0], shapes)
        turned = any(a.name == "transA" and a.i for a in node.attribute)
        return math.prod(_shape(node.output[0], shapes)) * left[-2 if turned else -1]
    return 0


def _shape(name: str, shapes: Mapping[str, Sequence[int]]) -> tuple[int, ...]:
    shape = tuple(shapes.get(name, ()))
    if not shape or 0 in shape:
        raise PackageError("a size in the graph is not known", expected="sizes but for the batch", got=name)
    return shape


def dense_convolution(channels: int, size: int, seed: int = 0) -> tuple[bytes, int]:
    """Build a graph of one dense 3 × 3 convolution, the best that an engine can do, and return its MACs.

    Parameters
    ----------
    channels, size : int
        In and out; height and width.
    seed : int
        Of the weights.

    Returns
    -------
    graph : bytes
        An ONNX model that takes ``x``, float32 (1, channels, size, size).
    macs : int
        Of one call.
    """
    onnx: Any = require("onnx", "report")
    make, kind = onnx.helper, onnx.TensorProto.FLOAT
    shape = (1, channels, size, size)
    weight = np.random.default_rng(seed).normal(size=(channels, channels, 3, 3)).astype(np.float32) / channels
    graph = make.make_graph(
        [make.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])],
        "peak",
        [make.make_tensor_value_info("x", kind, shape)],
        [make.make_tensor_value_info("y", kind, shape)],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 20)], ir_version=10)
    return model.SerializeToString(), 9 * channels**2 * size**2
