"""What does a compact student of a detector of pictures lose? Magnetic tile and screw, three seeds.

The teacher is reverse distillation as it is (`full`), learned on the same pictures. Beside its compact students of
three budgets stand the presets `light` and `nano`, which have no teacher: `nano` is the control of the largest budget.
Each is measured with all of its bits and in int8, whose ranges and threshold come from 64 of the pictures it learned
from. All learn for 300 steps, not for 800 as by default, so that the grid takes hours.

    python benchmarks/compact.py [--sets screw] [--seeds 0 1 2] [--set FIELD=VALUE ... --tag NAME] [--markdown]
    python benchmarks/compact.py --plot docs/compact.png

Latency is `compact_speed.py`'s; the plot needs its results too.
"""

from __future__ import annotations

import math
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from _data import PictureSplit, picture_split
from _grid import go_through
from _results import append, held, read

import limbeck
from limbeck.data.images import evenly
from limbeck.detector import Detector
from limbeck.evaluate import evaluate
from limbeck.export import export
from limbeck.fitting.pictures import prepare_pictures
from limbeck.operations import count_operations

RESULTS = Path(__file__).with_suffix(".csv")
SPEED = RESULTS.with_name("compact_speed.csv")
SETS = ("magnetic tile", "screw")
STEPS = 300
ALPHA = 0.05
RANGES = 64  # pictures for int8
TEACHER = "full"
ALONE: dict[str, dict[str, Any]] = {"full": {}, "light": {"preset": "light"}, "nano": {"preset": "nano"}}
BUDGETS = {"compact 0.3 G": 0.3, "compact 0.2 G": 0.2, "compact 0.15 G": 0.15}
KEYS = ("auroc", "average_precision", "f1_at_threshold", "false_alarm_rate", "pixel_auroc", "aupro_30")
WANTED = {"auroc": 1.0, "aupro_30": 1.5}  # most points that a compact student may lose


def run(name: str, seed: int, fields: Mapping[str, Any], tag: str) -> None:
    """Measure what is missing of one set with one seed; an ablation is of the compact students alone."""
    note = {"set": name, "seed": seed, "tag": tag}
    compact = {model: {"budget": budget, **fields} for model, budget in BUDGETS.items()}
    missing = [m for m in ({} if tag else ALONE) | compact if not held(RESULTS, **note, model=m, precision="int8")]
    if not missing:
        return
    with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        split = picture_split(name, seed, Path(place))
        teacher = None
        if TEACHER in missing or set(missing) & set(compact):
            teacher, seconds = timed(lambda: limbeck.fit(split.train, config=_steps({}), alpha=ALPHA, seed=seed))
        for model in missing:
            if model in compact:
                config = _steps(compact[model])
                detector, seconds = timed(
                    lambda: limbeck.distil(teacher, split.train, config=config, alpha=ALPHA, seed=seed)  # noqa: B023
                )
            elif model == TEACHER:
                assert teacher is not None
                detector = teacher
            else:
                config = _steps(ALONE[model])
                detector, seconds = timed(
                    lambda: limbeck.fit(split.train, config=config, alpha=ALPHA, seed=seed)  # noqa: B023
                )
            measure(detector, split, seed, note | {"model": model}, seconds)


def _steps(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {"steps": STEPS, **fields}


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """Return what a call makes, and its seconds."""
    start = time.perf_counter()
    made = call()
    return made, time.perf_counter() - start


def measure(detector: Detector, split: PictureSplit, seed: int, note: dict[str, Any], seconds: float) -> None:
    """Write down a detector as it is and in int8."""
    prepared = prepare_pictures(str(split.train), size=256, normal=None, on_corrupt="refuse", seed=seed)
    ranges = evenly(prepared.learn, RANGES)
    small = export(detector, "int8", ranges, max_drop=100)
    agrees = detector.artefact.training.get("follows", {}).get("spearman", "")
    for precision, measured in (("fp32", detector), ("int8", small)):
        if held(RESULTS, **note, precision=precision):
            continue
        values = evaluate(measured, split.test, masks=split.masks).metrics
        row = {key: values.get(key, "") for key in KEYS}
        facts = {
            "macs": count_operations(detector.artefact.onnx).total,
            "bytes": len(measured.artefact.onnx),
            "fit_seconds": round(seconds, 1),
            "agrees": agrees,
        }
        append(RESULTS, note | {"precision": precision} | row | facts, "onnxruntime")


def summary() -> dict[tuple[str, str, str, str], dict[str, Any]]:
    """Return means over the seeds, and how far below the teacher's, by set, tag, model and precision."""
    rows = read(RESULTS)
    own = {(r["set"], r["seed"]): r for r in rows if (r["model"], r["precision"], r["tag"]) == (TEACHER, "fp32", "")}
    groups: dict[tuple[str, str, str, str], list[dict[str, str]]] = {}
    for row in rows:
        groups.setdefault((row["set"], row["tag"], row["model"], row["precision"]), []).append(row)
    found = {}
    for key, mine in groups.items():
        values: dict[str, Any] = {"seeds": len(mine)}
        for what in (*KEYS, "macs", "bytes", "fit_seconds"):
            each = [float(r[what]) for r in mine if r[what]]
            values[what] = (statistics.mean(each), statistics.pstdev(each)) if each else (math.nan, math.nan)
        for what in WANTED:
            each = [100 * (float(own[r["set"], r["seed"]][what]) - float(r[what])) for r in mine]
            values[f"lost {what}"] = (statistics.mean(each), statistics.pstdev(each))
        found[key] = values
    return found


def table() -> None:
    """Print what was measured, and whether the compact students hold what is wanted of them."""
    for (name, tag, model, precision), v in sorted(summary().items()):
        lost = ", ".join(f"{what} lost {v[f'lost {what}'][0]:.2f} (wanted {most})" for what, most in WANTED.items())
        print(
            f"{name:14}{f'{model} {tag}':22}{precision:5} {v['seeds']} seeds, AUROC {v['auroc'][0]:.3f}, AUPRO "
            f"{v['aupro_30'][0]:.3f}; {lost}; {v['macs'][0] / 1e9:.2f} G, {v['bytes'][0] / 1e6:.1f} MB"
        )


def markdown() -> None:
    """Print the table of the docs: means over the seeds, their spread in brackets."""
    print("| set | model | precision | G | MB | AUROC | points lost | AUPRO | points lost |\n" + "|---" * 9 + "|")
    for (name, tag, model, precision), v in sorted(summary().items()):
        cells = [name, f"{model}{', ' * bool(tag)}{tag}", precision]
        cells += [f"{v['macs'][0] / 1e9:.2f}", f"{v['bytes'][0] / 1e6:.1f}"]
        for what in WANTED:
            lost = v[f"lost {what}"]
            cells += [f"{v[what][0]:.3f} ({v[what][1]:.3f})", f"{lost[0]:.1f} ({lost[1]:.1f})"]
        print("| " + " | ".join(cells) + " |")


def plot(out: Path) -> None:
    """Draw accuracy against latency, a panel for each set and measure."""
    from matplotlib.figure import Figure

    latency = {(r["model"], r["precision"]): float(r["ms"]) for r in read(SPEED) if r["what"] == "latency"}
    found = summary()
    names = [name for name in SETS if any(key[0] == name for key in found)]
    figure = Figure(figsize=(9, 6), layout="constrained")
    panels = figure.subplots(2, len(names), squeeze=False, sharex=True)
    for column, name in enumerate(names):
        for panel, (what, words) in zip(
            panels[:, column], (("auroc", "image AUROC"), ("aupro_30", "AUPRO")), strict=True
        ):
            for precision, marker in (("fp32", "o"), ("int8", "s")):
                for models, colour in ((tuple(ALONE), "#c44e52"), (tuple(BUDGETS), "#4c72b0")):
                    points = [
                        (latency[m, precision], *found[name, "", m, precision][what], m)
                        for m in models
                        if (name, "", m, precision) in found and (m, precision) in latency
                    ]
                    if not points:
                        continue
                    x, y, spread, labels = zip(*sorted(points), strict=True)
                    panel.errorbar(
                        x, y, spread, marker=marker, ms=6, lw=1.2, capsize=2, color=colour,
                        mfc=colour if precision == "fp32" else "white", ls="-" if precision == "fp32" else ":",
                        label=f"{'by itself' if models[0] == TEACHER else 'compact student'}, {precision}",
                    )  # fmt: skip
                    if precision == "fp32":
                        for a, b, label in zip(x, y, labels, strict=True):
                            panel.annotate(
                                label.removeprefix("compact "), (a, b), (7, 3 if models[0] == TEACHER else -9),
                                textcoords="offset points", fontsize=8, color=colour,
                            )  # fmt: skip
            panel.set_ylabel(words)
            panel.grid(alpha=0.3)
            panel.spines[["top", "right"]].set_visible(False)
        panels[0, column].set_title(name)
        panels[-1, column].set_xlabel("ms for a picture, one thread")
    panels[0, 0].legend(fontsize=8)
    figure.savefig(out, dpi=150)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--plot"]:
        plot(Path(sys.argv[2]))
    else:
        go_through(__doc__, SETS, run, table, markdown)
