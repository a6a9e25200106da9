"""What does a picture cost with each of the detectors of `compact.py`, and with a WideResNet-50-2? One run.

Latency is that of `Detector.judge`, a uint8 picture of 256 pixels in, verdict and map out, on one thread; calls take
turns, so that other work meets all of them. The limit is the model's multiply-adds at the speed of a dense convolution
in the same engine (`limbeck.profile`). The large one is the graph of reverse distillation with a WideResNet-50-2 of
random weights, opened as a package opens its own: weights do not change what it costs. Throughput is from JPEG files
to verdicts, on all cores.

The detectors learn for a handful of steps from made-up pictures: enough for what they cost, not for what they find.
Then the seconds of a compact student of 1,000 pictures, of 800 steps, part by part.

    python benchmarks/compact_speed.py [--parts latency learning] [--quick]
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import functools
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _memory import link
from _results import machine, versions
from compact import ALONE, BUDGETS, TEACHER
from picture_speed import draw
from PIL import Image

import limbeck
from limbeck.contracts import Step
from limbeck.detector import Detector
from limbeck.export import export
from limbeck.graph import to_onnx
from limbeck.image.config import ReverseDistillationConfig
from limbeck.image.reverse_distillation import build_model
from limbeck.operations import count_operations
from limbeck.profile import profile
from limbeck.runtime import runner_for, scorer_for

RESULTS = Path(__file__).with_suffix(".csv")
QUICKLY = {"steps": 5, "narrowed_on": 16}
WIDE = "WideResNet-50-2"
FIELDS = ("model", "precision", "what", "macs", "bytes", "ms", "limit_ms", "times_limit", "times_faster", "a_second")
Row = dict[str, Any]


def detectors(pictures: Path, size: int) -> dict[tuple[str, str], Detector]:
    """Make every detector, and its int8."""
    made: dict[str, Detector] = {}
    for model, fields in ALONE.items():
        made[model] = limbeck.fit(pictures, config={**QUICKLY, "size": size, **fields}, alpha=0.1)
    for model, budget in BUDGETS.items():
        share = budget * (size / 256) ** 2
        config = {**QUICKLY, "budget": share, "heard": 16, "weigh_steps": 2}
        made[model] = limbeck.distil(made[TEACHER], pictures, config=config, alpha=0.1)
    few = sorted(pictures.iterdir())[:10]
    every: dict[tuple[str, str], Detector] = {}
    for model, detector in made.items():
        every[model, "fp32"] = detector
        for runtime, precision in (("onnx", "int8"), ("openvino", "int8, OpenVINO")):
            every[model, precision] = export(detector, "int8", few, runtime=runtime, max_drop=100)
    return every


def large(size: int) -> tuple[Callable[[Any], object], int, int]:
    """Return what runs the large graph on one thread, its multiply-adds and its bytes."""
    config = ReverseDistillationConfig(backbone="wide_resnet50_2", weights="random", size=size)
    model = build_model(config, seed=0).eval()
    graph = to_onnx(
        model, np.zeros((2, size, size, 3), np.uint8), input_name="pictures", output_names=["score", "map"],
        properties={},
    )  # fmt: skip
    return runner_for(graph, "onnx", 1), count_operations(graph).total, len(graph)


def latency(place: Path, size: int, rounds: int) -> list[Row]:
    """Measure latency in turns, the limit, and throughput."""
    pictures = place / "pictures"
    for file in draw(pictures, 64, size):
        with Image.open(file) as image:
            image.convert("RGB").save(file.with_suffix(".jpg"), quality=92)
        file.unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = detectors(pictures, size)
    run, macs, size_of = large(size)
    x = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), np.uint8)
    calls: dict[tuple[str, str], Callable[[], object]] = {
        key: functools.partial(dataclasses.replace(d, scorer=scorer_for(d.artefact, threads=1)).judge, x)
        for key, d in made.items()
    }
    calls[WIDE, "fp32"] = functools.partial(run, x)
    spent: dict[tuple[str, str], list[float]] = {key: [] for key in calls}
    for turn in range(-1, rounds):
        for key, call in calls.items():
            for _ in range(1 if key[0] == WIDE else 5):
                start = time.perf_counter()
                call()
                if turn >= 0:
                    spent[key].append(1e3 * (time.perf_counter() - start))
    median = {key: statistics.median(values) for key, values in spent.items()}
    rows: list[Row] = [{"model": WIDE, "precision": "fp32", "what": "latency", "macs": macs, "bytes": size_of,
                        "ms": median[WIDE, "fp32"]}]  # fmt: skip
    for (model, precision), detector in made.items():
        found = profile(detector, pictures, rounds=3)
        ms = median[model, precision]
        rows.append({
            "model": model, "precision": precision, "what": "latency", "macs": found.macs, "bytes": found.graph_bytes,
            "ms": ms, "limit_ms": 1e3 * found.limit, "times_limit": ms / (1e3 * found.limit),
            "times_faster": median[WIDE, "fp32"] / ms, "a_second": found.from_files,
        })  # fmt: skip
    return rows


def learning(place: Path, size: int, count: int, steps: int) -> list[Row]:
    """Measure how long the largest compact student of many pictures takes to learn, part by part."""
    files = draw(place / "few", 96, size)
    folder = link(place / "many", files, count)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        teacher = limbeck.fit(place / "few", config={**QUICKLY, "size": size}, alpha=0.1)
        began: dict[str, float] = {}

        def note(step: Step) -> None:
            began.setdefault(step.stage, time.perf_counter())

        budget = max(BUDGETS.values()) * (size / 256) ** 2
        limbeck.distil(teacher, folder, config={"steps": steps, "budget": budget}, alpha=0.1, on_step=note)
    ends = [*list(began.values())[1:], time.perf_counter()]
    seconds = {stage: end - start for (stage, start), end in zip(began.items(), ends, strict=True)}
    whole = f"all, {count} pictures, {steps} steps (wanted: below 900)"
    seconds[whole] = ends[-1] - next(iter(began.values()))
    model = max(BUDGETS, key=lambda m: BUDGETS[m])
    return [{"model": model, "precision": "fp32", "what": f"learning, {k}, s", "ms": 1e3 * s}
            for k, s in seconds.items()]  # fmt: skip


def write(part: str, rows: list[Row]) -> None:
    """Replace the rows of one part."""
    facts = {"versions": versions("onnxruntime"), "machine": machine()}
    kept: list[Row] = []
    if RESULTS.exists():
        with RESULTS.open(newline="") as handle:
            kept = [row for row in csv.DictReader(handle) if not row["what"].startswith(part)]
    for row in rows:
        kept.append({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} | facts)
    with RESULTS.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, [*FIELDS, *facts], restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept)


def main() -> None:
    """Measure some parts, write their rows and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=("latency", "learning"), default=["latency", "learning"])
    parser.add_argument("--quick", action="store_true", help="try the script: tiny amounts, nothing is written")
    given = parser.parse_args()
    for part in given.parts:
        with tempfile.TemporaryDirectory(prefix="limbeck-speed-") as place:
            if part == "latency":
                rows = latency(Path(place), *((128, 2) if given.quick else (256, 25)))
            else:
                rows = learning(Path(place), *((128, 96, 2) if given.quick else (256, 1000, 800)))
        if not given.quick:
            write(part, rows)
        for row in rows:
            print(", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{v}" for k, v in row.items()), flush=True)


if __name__ == "__main__":
    main()
