"""How large and how fast are the students of one teacher? Graphs of one picture of 256 pixels, one thread, in turns.

For each teacher: reverse distillation, and residual attention with a student of the teacher's own topology or a narrow
one. Speed does not depend on what was learned, so nothing is; the teacher's weights are random.

    python benchmarks/picture_students.py [--teachers vgg16] [--calls 60] [--quick]

`--quick` tries the script on 64 pixels and writes nothing.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _results import append
from picture_speed import session_of

from limbeck.fitting import configure
from limbeck.graph import to_onnx
from limbeck.image import residual_attention, reverse_distillation
from limbeck.image.matching import FeatureMatching, export

RESULTS = Path(__file__).with_suffix(".csv")
TEACHERS = ("efficientnet-lite0", "vgg16")
STUDENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "reverse distillation": ("reverse-distillation", {}),
    "residual attention, same topology": ("residual-attention", {"student": "same"}),
    "same topology without gates": ("residual-attention", {"student": "same", "attention": "none"}),
    "residual attention, narrow": ("residual-attention", {"student": "narrow"}),
    "narrow without gates": ("residual-attention", {"student": "narrow", "attention": "none"}),
}
BUILD: dict[str, Any] = {
    "reverse-distillation": reverse_distillation.build_model,
    "residual-attention": residual_attention.build_model,
}


def teacher_alone(model: FeatureMatching, example: np.ndarray) -> bytes:
    """Return the graph of the teacher, whose time every other holds too."""
    names = [f"scale{k}" for k in range(len(model.shapes))]
    return to_onnx(model.teacher, example, input_name="pictures", output_names=names, properties={})


def measure(teacher: str, size: int, calls: int) -> list[dict[str, object]]:
    """Return a row for each student of a teacher, and one for the teacher alone."""
    example = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), np.uint8)
    graphs: dict[str, bytes] = {}
    learned: dict[str, int] = {"teacher alone": 0}
    for name, (method, fields) in STUDENTS.items():
        config = configure(method, {"backbone": teacher, "weights": "random", "size": size, **fields})
        model = BUILD[method](config, seed=0).eval()
        if not graphs:
            graphs["teacher alone"] = teacher_alone(model, example)
        graphs[name], _ = export(model, example, method)
        learned[name] = sum(p.numel() for p in model.student.parameters())
    sessions = {name: session_of(graph, 1) for name, graph in graphs.items()}
    times: dict[str, list[float]] = {name: [] for name in sessions}
    for i in range(-3, calls):
        for name, session in sessions.items():
            start = time.perf_counter()
            session.run(None, {"pictures": example[:1]})
            if i >= 0:
                times[name].append(1e3 * (time.perf_counter() - start))
    return [
        {
            "teacher": teacher,
            "student": name,
            "student_parameters": learned[name],
            "graph_bytes": len(graphs[name]),
            "ms_p50": float(np.percentile(taken, 50)),
            "ms_p95": float(np.percentile(taken, 95)),
        }
        for name, taken in times.items()
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teachers", nargs="+", default=list(TEACHERS))
    parser.add_argument("--calls", type=int, default=60, help="of each graph")
    parser.add_argument("--quick", action="store_true", help="try the script; nothing is written")
    given = parser.parse_args(arguments)
    if not given.quick:
        RESULTS.unlink(missing_ok=True)
    print("| teacher | student | its parameters | graph, MB | ms, median | ms, 95 % |\n" + "| --- " * 6 + "|")
    for teacher in given.teachers:
        for row in measure(teacher, 64 if given.quick else 256, 3 if given.quick else given.calls):
            if not given.quick:
                append(RESULTS, row)
            parameters, mb = int(str(row["student_parameters"])) / 1e6, int(str(row["graph_bytes"])) / 1e6
            told = f"{parameters:.2f} M | {mb:.1f} | {row['ms_p50']:.1f} | {row['ms_p95']:.1f}"
            print(f"| {row['teacher']} | {row['student']} | {told} |", flush=True)


if __name__ == "__main__":
    main()
