"""What a detector costs on this machine: work, time stage by stage, throughput, memory, and how near the limit it is.

The limit is what the machine could do at best: the model's multiply-add operations at the speed of a dense 3 × 3
convolution of the same engine on one thread (of rows: of a dense matrix product), measured in the same minute.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from limbeck.contracts import OnStep, Step, ignore
from limbeck.data.images import PictureItems
from limbeck.data.layouts import find_pictures
from limbeck.detector import Detector
from limbeck.errors import ConfigError, InputError, require
from limbeck.operations import count_operations, dense_convolution
from limbeck.picture_spec import PictureSpec
from limbeck.runtime import compiled_for, made_for, runner_for, scorer_for, session_for
from limbeck.spec import for_pictures

__all__ = ["Profile", "Stage", "profile"]

ROWS, PICTURES = 1024, 32  # items at most, of the source or made up
BATCHES = {"rows": (1, 64, 1024), "pictures": (1, 8)}
ROUND = 0.05  # seconds that a round takes at least
KERNEL = re.compile(r"(_nchwc|_token_\d+)?_kernel_time$")  # what the engine adds to the name of what it runs
ENGINE, VERDICT, READ = "engine", "verdict", "read"
PEAK = """
import sys
import numpy as np
import limbeck
detector, items = limbeck.load(sys.argv[1]), np.load(sys.argv[2])
detector.judge(items)
with open("/proc/self/status") as status:
    print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""


@dataclass(frozen=True)
class Stage:
    """A part of the way from an item to its verdict."""

    name: str
    parameters: int
    macs: int  # for one item
    seconds: float  # for one item, on one thread


@dataclass(frozen=True)
class Profile:
    """What a detector costs.

    Attributes
    ----------
    items : str
        "rows" or "pictures".
    stages : tuple of Stage
        In the order in which an item meets them; of rows the seconds are those of a batch of 1,024, for each.
    seconds : float
        From one item, as a file or a row of numbers, to its verdict; one thread, median.
    limit : float
        Seconds that the multiply-add operations alone would take at the machine's best.
    peak : float
        That best: multiply-add operations a second, on one thread.
    throughput : tuple of (int, int, float)
        Threads, items in a batch, and items a second, from decoded items to verdicts.
    from_files : float or None
        Pictures a second from files to verdicts, decoded on other threads meanwhile, on all cores; None for rows.
    memory : int or None
        Most bytes that a process holds which loads the package and judges the largest batch; None where that cannot be
        measured.
    graph_bytes : int
        Of the graph, weights within.
    machine : str
        Where all this was measured.
    """

    items: str
    stages: tuple[Stage, ...]
    seconds: float
    limit: float
    peak: float
    throughput: tuple[tuple[int, int, float], ...]
    from_files: float | None
    memory: int | None
    graph_bytes: int
    machine: str

    @property
    def parameters(self) -> int:
        """Learned numbers."""
        return sum(stage.parameters for stage in self.stages)

    @property
    def macs(self) -> int:
        """Multiply-add operations for one item."""
        return sum(stage.macs for stage in self.stages)

    def facts(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return dataclasses.asdict(self) | {"parameters": self.parameters, "macs": self.macs}


def profile(
    detector: Detector,
    source: Any = None,
    *,
    threads: Sequence[int] = (),
    batches: Sequence[int] = (),
    rounds: int = 5,
    on_step: OnStep = ignore,
) -> Profile:
    """Measure what a detector costs on this machine; other work on it makes every time longer.

    Parameters
    ----------
    detector : Detector
        What is measured.
    source : path, array, frame or list, optional
        Items to measure on, as for `Detector.detect`, of which some are taken; default: made-up ones of the model's
        size. How long a picture takes to read is measured on files: of an array, on made-up ones.
    threads : sequence of int
        Numbers of threads, each at least 1, of which throughput is asked; default: 1 and all cores. Rows take one.
    batches : sequence of int
        Items at once, each at least 1; default: 1, 64 and 1,024 rows, 1 and 8 pictures.
    rounds : int
        Of each measurement; the median counts.
    on_step : callable
        Called with a `Step` as the work goes on.

    Returns
    -------
    Profile
        Times of this machine.

    Raises
    ------
    MissingExtraError
        If onnx, of the extra `report`, is not installed.
    InputError
        If the source has no items, or not those that the detector takes.
    ConfigError
        If a number is out of its range.

    Examples
    --------
    >>> import limbeck
    >>> from limbeck.profile import profile
    >>> found = profile(limbeck.load("parts.limbeck"))  # doctest: +SKIP
    >>> f"{found.macs / 1e9:.2f} GMAC, {1000 * found.seconds:.0f} ms"  # doctest: +SKIP
    '0.70 GMAC, 27 ms'
    """
    pictures = isinstance(detector.spec, PictureSpec)
    threads = tuple(threads) or tuple(sorted({1, os.cpu_count() or 1}))
    batches = tuple(batches) or BATCHES[detector.items]
    for name, values in (("threads", threads), ("batches", batches), ("rounds", (rounds,))):
        if min(values) < 1:
            raise ConfigError(f"{name} is out of its range", expected="1 or more", got=str(min(values)))
    with tempfile.TemporaryDirectory() as place:
        work = _Pictures(detector, source, Path(place)) if pictures else _Rows(detector, source)
        total, done = 4 + (len(threads) if pictures else 1) * len(batches), 0

        def went(found: Any) -> Any:
            nonlocal done
            done += 1
            on_step(Step("measuring", done, total))
            return found

        on_step(Step("measuring", 0, total))
        stages = went(work.stages(rounds))
        seconds = went(_median(work.one, rounds))
        peak = went(work.peak(rounds))
        throughput = []
        for count in threads if pictures else (1,):
            judge = work.judge(count)
            for size in batches:
                items = work.batch(size)
                spent = went(_median(lambda: judge(items), rounds))  # noqa: B023  (called before they change)
                throughput.append((count, size, size / spent))
        from_files = work.from_files(max(threads), max(batches)) if isinstance(work, _Pictures) else None
        memory = went(_memory(detector, work.batch(max(batches)), Path(place)))
    return Profile(
        detector.items,
        stages,
        seconds,
        sum(stage.macs for stage in stages) / peak,
        peak,
        tuple(throughput),
        from_files,
        memory,
        len(detector.artefact.onnx),
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {work.engine}",
    )


class _Rows:
    """How rows are measured: in numpy, on one thread."""

    engine = f"numpy {np.__version__}"

    def __init__(self, detector: Detector, source: Any) -> None:
        self.detector = dataclasses.replace(detector, scorer=scorer_for(detector.artefact, "numpy"))
        x = _made_up(self.detector) if source is None else detector.rows(source)
        if not len(x):
            raise InputError("there is nothing to measure on", expected="at least one row", got="none")
        self.x = np.ascontiguousarray(x[:ROWS])

    def batch(self, size: int) -> NDArray[Any]:
        return np.resize(self.x, (size, self.x.shape[1]))

    def one(self) -> object:
        return self.detector.detect(self.x[:1])

    def judge(self, threads: int) -> Callable[[NDArray[Any]], object]:
        return self.detector.detect

    def peak(self, rounds: int) -> float:
        """Return the multiply-add operations a second of a matrix product of float64."""
        left, right = np.random.default_rng(0).normal(size=(2, 512, 512))
        return 512**3 / _median(lambda: left @ right, rounds)

    def stages(self, rounds: int) -> tuple[Stage, ...]:
        x, d = self.batch(ROWS), self.detector
        work = count_operations(d.artefact.onnx)
        score = d.scorer(x).score
        times = {
            READ: _median(lambda: d.rows(x), rounds),
            "student": _median(lambda: d.scorer(x), rounds),
            VERDICT: _median(lambda: (d.calibrator.p_value(score), d.calibrator.probability(score)), rounds),
        }
        network = d.scorer.network  # type: ignore[attr-defined]
        held = {"student": (network.size, work.total)}
        return tuple(Stage(name, *held.get(name, (0, 0)), spent / ROWS) for name, spent in times.items())


class _Pictures:
    """How pictures are measured: on the engine that the package was made for, from files."""

    def __init__(self, detector: Detector, source: Any, place: Path) -> None:
        self.runtime = made_for(detector.artefact)
        module = require({"onnx": "onnxruntime"}.get(self.runtime, self.runtime), self.runtime)
        self.engine = f"{module.__name__} {module.__version__.partition('-')[0]}"
        self.detector, self.place, self.spec = detector, place, for_pictures(detector.spec)
        files = _noise(self.spec, place) if source is None or isinstance(source, np.ndarray) else source
        self.items = PictureItems(self.spec, find_pictures(files).pictures[:PICTURES])
        if isinstance(source, np.ndarray):
            self.x = detector.pictures(source)[:PICTURES]
        else:
            self.x = next(iter(self.items.batches(PICTURES))).x
        if not len(self.x):
            raise InputError("there is nothing to measure on", expected="at least one picture", got="none")
        self.alone = self._with(1)

    def _with(self, threads: int) -> Detector:
        return dataclasses.replace(self.detector, scorer=scorer_for(self.detector.artefact, self.runtime, threads))

    def batch(self, size: int) -> NDArray[Any]:
        return np.resize(self.x, (size, *self.x.shape[1:]))

    def one(self) -> object:
        return self.alone.judge(self._read())

    def _read(self) -> NDArray[Any]:
        return next(iter(dataclasses.replace(self.items.subset([0]), workers=1).batches(1))).x

    def judge(self, threads: int) -> Callable[[NDArray[Any]], object]:
        return self._with(threads).judge

    def from_files(self, threads: int, size: int) -> float:
        """Return pictures a second: some are decoded on other threads while others are judged."""
        judge = self._with(threads).judge
        many = self.items.subset(np.resize(np.arange(len(self.items)), max(PICTURES, 4 * size)))
        start = time.perf_counter()
        for batch in many.batches(size):
            judge(batch.x)
        return len(many) / (time.perf_counter() - start)

    def peak(self, rounds: int) -> float:
        """Return the multiply-add operations a second of the best of some dense convolutions."""
        best = 0.0
        for channels, size in ((64, 64), (128, 32), (256, 16)):
            graph, macs = dense_convolution(channels, size)
            run, x = runner_for(graph, self.runtime, 1), np.zeros((1, channels, size, size), np.float32)
            best = max(best, macs / _median(lambda: run(x), rounds))  # noqa: B023
        return best

    def stages(self, rounds: int) -> tuple[Stage, ...]:
        work = count_operations(self.detector.artefact.onnx)
        score = self.alone.scorer(self.x[:1]).score
        whole = _median(lambda: self.alone.scorer(self.x[:1]), rounds)
        count = self._nodes if self.runtime == "openvino" else self._kernels
        inside = count(work.stages, max(rounds, 3))
        inside = {name: inside.get(name, 0.0) for name in work.macs}
        times = {READ: _median(self._read, rounds)} | inside
        times[ENGINE] = max(0.0, whole - sum(inside.values()))  # between the operations, and layouts that it changes
        times[VERDICT] = _median(lambda: self.detector.calibrator.p_value(score), rounds)
        return tuple(Stage(n, work.parameters.get(n, 0), work.macs.get(n, 0), spent) for n, spent in times.items())

    def _kernels(self, stages: Mapping[str, str], rounds: int) -> dict[str, float]:
        """Return the seconds of one picture in each stage's operations, as the engine counts them."""
        session = session_for(self.detector.artefact.onnx, 1, trace=str(self.place / "trace"))
        name = session.get_inputs()[0].name
        for _ in range(rounds + 1):
            session.run(None, {name: self.x[:1]})
        events = json.loads(Path(session.end_profiling()).read_text())
        bounds = [(e["ts"], e["ts"] + e["dur"]) for e in events if e["name"] == "model_run"][1:]  # the first warms up
        runs: list[dict[str, float]] = [dict.fromkeys(stages.values(), 0.0) for _ in bounds]
        for event in events:
            stage = stages.get(KERNEL.sub("", event["name"]))
            for run, (start, stop) in zip(runs, bounds, strict=True):
                if stage and start <= event["ts"] <= stop:
                    run[stage] += event["dur"] / 1e6
        return {stage: statistics.median(run[stage] for run in runs) for stage in set(stages.values())}

    def _nodes(self, stages: Mapping[str, str], rounds: int) -> dict[str, float]:
        """Return the same where the engine is OpenVINO, which names what it fuses after one of its parts."""
        request = compiled_for(self.detector.artefact.onnx, 1, counted=True).create_infer_request()
        runs: list[dict[str, float]] = []
        for _ in range(rounds + 1):
            request.infer([self.x[:1]])
            runs.append(dict.fromkeys(stages.values(), 0.0))
            for node in request.profiling_info:
                if stage := stages.get(node.node_name.partition("/")[0]):
                    runs[-1][stage] += node.real_time.total_seconds()
        return {stage: statistics.median(run[stage] for run in runs[1:]) for stage in set(stages.values())}


def _median(call: Callable[[], object], rounds: int) -> float:
    """Return the median over rounds of the mean seconds of a call; a round of calls before them warms up."""
    call()
    times, start = 0, time.perf_counter()
    while time.perf_counter() - start < ROUND or not times:
        call()
        times += 1
    found = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(times):
            call()
        found.append((time.perf_counter() - start) / times)
    return statistics.median(found)


def _made_up(detector: Detector) -> NDArray[np.float64]:
    """Return rows around what the student knows as usual; categories are its first ones."""
    known = detector.scorer.network.features  # type: ignore[attr-defined]
    x = np.zeros((ROWS, len(detector.spec.columns)))  # type: ignore[union-attr]
    rows = np.random.default_rng(0).normal(size=(ROWS, known.number.size))
    x[:, known.number] = known.centre + known.scale * rows
    return x


def _noise(spec: PictureSpec, place: Path) -> Path:
    """Write pictures of the model's size: coarse noise, which a file holds as it does a texture."""
    rng, depth = np.random.default_rng(0), np.uint8 if spec.maximum == 255 else np.uint16
    coarse = (-(-spec.height // 8), -(-spec.width // 8))
    pictures = rng.integers(0, spec.maximum, (8, *coarse), endpoint=True).astype(depth)
    folder = place / "pictures"
    folder.mkdir()
    for i, picture in enumerate(pictures.repeat(8, axis=1).repeat(8, axis=2)[:, : spec.height, : spec.width]):
        Image.fromarray(picture).save(folder / f"{i:03d}.png")
    return folder


def _memory(detector: Detector, items: NDArray[Any], place: Path) -> int | None:
    """Return the most bytes of a process that loads the package and judges some items."""
    if sys.platform != "linux":  # elsewhere a process does not tell its own peak without its parent's
        return None
    detector.save(place / "it.limbeck")
    np.save(place / "items.npy", items)
    command = [sys.executable, "-c", PEAK, str(place / "it.limbeck"), str(place / "items.npy")]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return 1024 * int(answer.stdout) if answer.returncode == 0 else None
