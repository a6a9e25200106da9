"""From an artefact to a scorer on one runtime; each runtime is imported only when it is chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray

from limbeck.contracts import Artefact, Scorer, Scores
from limbeck.errors import ConfigError, PackageError, require
from limbeck.network import Network
from limbeck.picture_spec import PictureSpec
from limbeck.spec import InputSpec

if TYPE_CHECKING:
    from limbeck.compiled import CompiledNetwork

__all__ = [
    "RUNTIMES",
    "NetworkScorer",
    "OnnxScorer",
    "PictureScorer",
    "compiled_for",
    "made_for",
    "runner_for",
    "runtimes_for",
    "scorer_for",
    "session_for",
]

RUNTIMES = ("auto", "numpy", "numba", "onnx", "openvino")
ROWS, PICTURES = 65_536, 8  # what a graph is given at once: bounds its memory

Run = Callable[[NDArray[Any]], Sequence[NDArray[np.float32]]]  # a batch to what a graph gives


def runtimes_for(spec: InputSpec) -> tuple[str, ...]:
    """Return the runtimes that there are for such items, installed or not."""
    others = ("numpy", "numba") if isinstance(spec, PictureSpec) else ("openvino",)
    return tuple(r for r in RUNTIMES if r not in others)


def made_for(artefact: Artefact) -> str:
    """Return the runtime that a model's threshold was set with: "onnx", unless an export said otherwise."""
    return str(artefact.training.get("export", {}).get("runtime", "onnx"))


def scorer_for(artefact: Artefact, runtime: str = "auto", threads: int = 0) -> Scorer:
    """Make a scorer.

    Parameters
    ----------
    artefact : Artefact
        What learning left behind.
    runtime : str
        "numpy" (tables only), "numba" (tables only: compiled, the fastest for batches), "onnx", "openvino" (pictures
        only), or "auto": numpy for tables, and for pictures what the package was made for.
    threads : int
        Of a graph; 0 = as many as there are cores.

    Returns
    -------
    Scorer
        Numpy in, numpy out.

    Raises
    ------
    ConfigError
        If there is no such runtime, or it would lose digits of this model's scores.
    MissingExtraError
        If it is not installed.
    PackageError
        If the weights or the graph do not make a model.
    """
    if runtime not in RUNTIMES:
        raise ConfigError(f"there is no runtime {runtime!r}", expected="one of " + ", ".join(RUNTIMES), got=runtime)
    if runtime not in (fitting := runtimes_for(artefact.spec)):
        raise ConfigError(
            f"there is no runtime {runtime!r} for {'pictures' if isinstance(artefact.spec, PictureSpec) else 'rows'}",
            expected="one of " + ", ".join(fitting),
            got=runtime,
            fix="leave it out",
        )
    if isinstance(artefact.spec, PictureSpec):
        engine = made_for(artefact) if runtime == "auto" else runtime
        # OpenVINO chooses other kernels for another number of pictures, and so gives other last digits
        at_once = 1 if engine == "openvino" else PICTURES
        return PictureScorer(artefact.spec, runner_for(artefact.onnx, engine, threads), at_once)
    if runtime == "onnx":
        return OnnxScorer(artefact.spec, runner_for(artefact.onnx, runtime, threads))
    try:
        network = Network.from_tensors(artefact.weights)
        network(np.zeros((1, len(artefact.spec.columns))))
    except (KeyError, IndexError, ValueError) as error:
        raise PackageError(
            "the weights do not make a model for these columns", got=str(error), fix="make the package anew"
        ) from error
    if runtime != "numba":
        return NetworkScorer(artefact.spec, network)
    require("numba", "numba")
    from limbeck.compiled import CompiledNetwork

    return NetworkScorer(artefact.spec, CompiledNetwork.of(network))


@final
@dataclass(frozen=True)
class NetworkScorer:
    """A tabular student, in numpy or compiled."""

    spec: InputSpec
    network: Network | CompiledNetwork

    def __call__(self, x: NDArray[Any]) -> Scores:
        """Score validated rows, float64 (n, d)."""
        return Scores(self.network(x))


@final
@dataclass(frozen=True)
class PictureScorer:
    """A graph of pictures on an engine: score and map."""

    spec: PictureSpec
    run: Run
    at_once: int = PICTURES

    def __call__(self, x: NDArray[Any]) -> Scores:
        """Score validated pictures, uint8 (n, h, w, 3)."""
        if not len(x):  # a graph refuses it
            empty = np.empty((0, self.spec.height, self.spec.width), np.float32)
            return Scores(np.empty(0, np.float32), empty)
        parts = [self.run(x[i : i + self.at_once]) for i in range(0, len(x), self.at_once)]
        if len(parts) == 1:
            return Scores(*parts[0])
        return Scores(*(np.concatenate([part[k] for part in parts]) for k in range(2)))


@final
@dataclass(frozen=True)
class OnnxScorer:
    """A graph of rows in onnxruntime."""

    spec: InputSpec
    run: Run

    def __call__(self, x: NDArray[Any]) -> Scores:
        """Score validated rows, float64 (n, d)."""
        parts = [self.run(x[i : i + ROWS])[0] for i in range(0, max(1, len(x)), ROWS)]
        return Scores(parts[0] if len(parts) == 1 else np.concatenate(parts))


def runner_for(graph: bytes, engine: str, threads: int = 0) -> Run:
    """Load a graph with one input.

    Parameters
    ----------
    graph : bytes
        An ONNX model.
    engine : str
        "onnx" or "openvino".
    threads : int
        That work within an operation; 0 = as many as there are cores.

    Returns
    -------
    callable
        A batch to the graph's outputs, in their order; several threads may call it.

    Raises
    ------
    MissingExtraError
        If the engine is not installed.
    PackageError
        If the graph does not make a model.
    """
    if engine == "openvino":
        compiled = compiled_for(graph, threads)
        return lambda x: [np.array(found) for found in compiled.create_infer_request().infer([x]).values()]
    session = session_for(graph, threads)
    return partial(_run, session, session.get_inputs()[0].name)


def _run(session: Any, name: str, x: NDArray[Any]) -> Sequence[NDArray[np.float32]]:
    found: Sequence[NDArray[np.float32]] = session.run(None, {name: x})
    return found


def compiled_for(graph: bytes, threads: int = 0, *, counted: bool = False) -> Any:
    """Compile a graph with OpenVINO for this processor, in the precision that it is written in.

    Parameters
    ----------
    graph : bytes
        An ONNX model.
    threads : int
        That work within an operation; 0 = as many as there are cores.
    counted : bool
        Whether the time of each operation is kept.

    Returns
    -------
    openvino.CompiledModel
        Ready to run.

    Raises
    ------
    MissingExtraError
        If OpenVINO is not installed.
    PackageError
        If the graph does not make a model.
    """
    openvino: Any = require("openvino", "openvino")
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "PERF_COUNT": counted}
    if threads:
        options["INFERENCE_NUM_THREADS"] = threads
    core = openvino.Core()
    try:
        return core.compile_model(core.read_model(graph), "CPU", options)
    except RuntimeError as error:
        raise PackageError("model.onnx cannot be loaded", got=str(error), fix="make the package anew") from error


def session_for(graph: bytes, threads: int = 0, *, trace: str = "") -> Any:
    """Load a graph into onnxruntime.

    Parameters
    ----------
    graph : bytes
        An ONNX model.
    threads : int
        That work within an operation; 0 = as many as there are cores. None of them spins while it waits.
    trace : str
        Where a record of each operation's time goes; empty = none is kept.

    Returns
    -------
    onnxruntime.InferenceSession
        Ready to run.

    Raises
    ------
    PackageError
        If the graph does not make a model.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.intra_op_num_threads = threads
    if trace:
        options.enable_profiling, options.profile_file_prefix = True, trace
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises classes of its own that share no public base
        raise PackageError("model.onnx cannot be loaded", got=str(error), fix="make the package anew") from error
