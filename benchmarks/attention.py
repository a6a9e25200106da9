"""Do gates help a student to see small defects? Screw and magnetic tile, three seeds, all else equal.

The method's claim is about small targets, so the defective pictures of the test split are halved by the area of their
masks, below the median and from it up. Each half is measured against all good pictures.

    python benchmarks/attention.py [--sets screw] [--seeds 0 1 2] [--set FIELD=VALUE ... --tag NAME]
"""

from __future__ import annotations

import statistics
import tempfile
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from _data import picture_split
from _grid import go_through
from _results import append, held, read
from numpy.typing import NDArray

import limbeck
from limbeck import metrics
from limbeck.evaluate import Evaluation, evaluate
from limbeck.fitting import configure
from limbeck.pixel_metrics import pixel_metrics

RESULTS = Path(__file__).with_suffix(".csv")
SETS = ("screw", "magnetic tile")
GATES = ("residual", "none")
HALVES = ("all", "small", "large")
ALPHA = 0.05  # 1 % needs more calibration pictures than screw has
KEYS = ("defects", "auroc", "recall", "recall_at_5pct_fpr", "pixel_auroc", "aupro_30", "false_alarm_rate")
Bools = NDArray[np.bool_]


def halves(evaluation: Evaluation) -> dict[str, Bools]:
    """Return which pictures each half is measured on: its defective ones, and all that are good."""
    seen = evaluation.pictures
    assert seen is not None
    assert seen.masks is not None
    area = seen.masks.reshape(len(seen.masks), -1).sum(1)
    defective = evaluation.label == 1
    small = area < np.median(area[defective])
    good = ~defective
    return {"all": good | defective, "small": good | small & defective, "large": good | ~small & defective}


def measure(evaluation: Evaluation, threshold: float, used: Bools) -> dict[str, float]:
    """Return the figures of a half."""
    seen = evaluation.pictures
    assert seen is not None
    assert seen.masks is not None
    label, score = evaluation.label[used], evaluation.score[used]
    pixels = pixel_metrics(seen.masks[used], seen.maps[used])
    return {
        "defects": float(label.sum()),
        "auroc": metrics.auroc(label, score),
        "recall": float((score[label == 1] > threshold).mean()),
        "recall_at_5pct_fpr": metrics.recall_at_fpr(label, score, 0.05),
        "pixel_auroc": pixels["pixel_auroc"],
        "aupro_30": pixels["aupro_30"],
        "false_alarm_rate": float((score[label == 0] > threshold).mean()),
    }


def run(name: str, seed: int, fields: Mapping[str, Any], tag: str) -> None:
    """Measure what is missing of one set with one seed."""
    for gates in GATES:
        note = {"set": name, "seed": seed, "tag": tag, "gates": gates}
        if held(RESULTS, **note, half="all"):
            continue
        config = configure("residual-attention", {**fields, "attention": gates})
        with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            split = picture_split(name, seed, Path(place))
            start = time.perf_counter()
            detector = limbeck.fit(split.train, method="residual-attention", config=config, alpha=ALPHA, seed=seed)
            seconds = time.perf_counter() - start
            evaluation = evaluate(detector, split.test)
        cost = {"model_bytes": len(detector.artefact.onnx), "fit_seconds": round(seconds)}
        rows = {half: measure(evaluation, detector.threshold, used) for half, used in halves(evaluation).items()}
        for half, row in reversed(rows.items()):  # "all", by which a run is known to be over, is written last
            append(RESULTS, note | {"half": half, **row, **cost})


def table() -> None:
    """Print a page's table: means over the seeds, their spread in brackets."""
    rows = read(RESULTS)
    print("| set | defects | gates | seeds | " + " | ".join(KEYS[1:]) + " |\n" + "| --- " * (4 + len(KEYS[1:])) + "|")
    for name, tag in dict.fromkeys((r["set"], r["tag"]) for r in rows):
        for half in HALVES:
            for gates in GATES:
                wanted = (name, tag, half, gates)
                mine = [r for r in rows if (r["set"], r["tag"], r["half"], r["gates"]) == wanted]
                if not mine:
                    continue
                cells = []
                for key in KEYS[1:]:
                    values = [float(r[key]) for r in mine]
                    cells.append(f"{statistics.mean(values):.3f} ({statistics.pstdev(values):.3f})")
                label = f"| {name}{', ' + tag if tag else ''} | {half} | {gates} | {len(mine)} | "
                print(label + " | ".join(cells) + " |")


if __name__ == "__main__":
    go_through(__doc__, SETS, run, table, table)
