"""From an artefact to a scorer on one runtime; each runtime is imported only when it is chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from limbeck.contracts import Artefact, Scorer, Scores
from limbeck.errors import ConfigError, PackageError
from limbeck.network import Network
from limbeck.picture_spec import PictureSpec
from limbeck.spec import InputSpec

__all__ = ["RUNTIMES", "NumpyScorer", "OnnxScorer", "PictureScorer", "scorer_for", "session_for"]

RUNTIMES = ("auto", "numpy", "onnx")
ROWS, PICTURES = 65_536, 8  # what a graph is given at once: bounds its memory


def scorer_for(artefact: Artefact, runtime: str = "auto", threads: int = 0) -> Scorer:
    """Make a scorer.

    Parameters
    ----------
    artefact : Artefact
        What learning left behind.
    runtime : str
        "numpy" (tables only), "onnx", or "auto": numpy for tables, the fastest for one row, and ONNX for pictures.
    threads : int
        Of a graph; 0 = as many as there are cores.

    Returns
    -------
    Scorer
        Numpy in, numpy out.

    Raises
    ------
    ConfigError
        If there is no such runtime.
    PackageError
        If the weights or the graph do not make a model.
    """
    if runtime not in RUNTIMES:
        raise ConfigError(f"there is no runtime {runtime!r}", expected="one of " + ", ".join(RUNTIMES), got=runtime)
    if isinstance(artefact.spec, PictureSpec):
        if runtime == "numpy":
            raise ConfigError(
                "there is no runtime 'numpy' for pictures", expected="auto or onnx", got=runtime, fix="leave it out"
            )
        return PictureScorer(artefact.spec, session_for(artefact.onnx, threads))
    if runtime == "onnx":
        return OnnxScorer(artefact.spec, session_for(artefact.onnx, threads))
    try:
        network = Network.from_tensors(artefact.weights)
        network(np.zeros((1, len(artefact.spec.columns))))
    except (KeyError, IndexError, ValueError) as error:
        raise PackageError(
            "the weights do not make a model for these columns", got=str(error), fix="make the package anew"
        ) from error
    return NumpyScorer(artefact.spec, network)


@final
@dataclass(frozen=True)
class NumpyScorer:
    """A tabular student in numpy."""

    spec: InputSpec
    network: Network

    def __call__(self, x: NDArray[Any]) -> Scores:
        """Score validated rows, float64 (n, d)."""
        return Scores(self.network(x))


@final
@dataclass(frozen=True)
class PictureScorer:
    """A graph of pictures in onnxruntime: score and map."""

    spec: PictureSpec
    session: Any

    def __call__(self, x: NDArray[Any]) -> Scores:
        """Score validated pictures, uint8 (n, h, w, 3)."""
        if not len(x):  # a graph refuses it
            empty = np.empty((0, self.spec.height, self.spec.width), np.float32)
            return Scores(np.empty(0, np.float32), empty)
        name = self.session.get_inputs()[0].name
        parts = [self.session.run(None, {name: x[i : i + PICTURES]}) for i in range(0, len(x), PICTURES)]
        if len(parts) == 1:
            return Scores(*parts[0])
        return Scores(*(np.concatenate([part[k] for part in parts]) for k in range(2)))


@final
@dataclass(frozen=True)
class OnnxScorer:
    """A graph of rows in onnxruntime."""

    spec: InputSpec
    session: Any

    def __call__(self, x: NDArray[Any]) -> Scores:
        """Score validated rows, float64 (n, d)."""
        name = self.session.get_inputs()[0].name
        parts = [self.session.run(None, {name: x[i : i + ROWS]})[0] for i in range(0, max(1, len(x)), ROWS)]
        return Scores(parts[0] if len(parts) == 1 else np.concatenate(parts))


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
