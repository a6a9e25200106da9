"""The drawings of a report: numbers of a detector and of its evaluation, as inline SVG."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from limbeck import metrics
from limbeck.errors import require
from limbeck.report_pictures import curve_of_regions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from limbeck.detector import Detector
    from limbeck.evaluate import Evaluation

__all__ = ["BINS", "PALETTE", "has_ap", "plots", "rate"]

BINS = 15  # equal-mass bins of the reliability diagram, as in `metrics.ece`

# Name: the colour that matplotlib writes, then the same on dark paper. Told apart by colour-blind readers too.
PALETTE = {
    "ink": ("#1f252b", "#e4e7ea"),
    "muted": ("#68727d", "#98a2ad"),
    "rule": ("#d9dee3", "#39424b"),
    "normal": ("#5b8db8", "#7fb2dc"),
    "strong": ("#0067a5", "#5cb8f0"),
    "anomalous": ("#cf5300", "#f2994a"),
}
INK, MUTED, RULE, NORMAL, STRONG, ANOMALOUS = (light for light, _ in PALETTE.values())

STYLE: dict[str, Any] = {
    "svg.fonttype": "none", "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "font.size": 8.5, "text.color": INK, "lines.linewidth": 1.5,
    "axes.labelcolor": MUTED, "axes.edgecolor": RULE, "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "axes.axisbelow": True, "grid.color": RULE, "grid.linewidth": 0.5,
    "xtick.color": RULE, "xtick.labelcolor": MUTED,
    "ytick.color": RULE, "ytick.labelcolor": MUTED,
    "legend.frameon": False, "legend.handlelength": 1.4,
}  # fmt: skip


def plots(detector: Detector, evaluation: Evaluation | None) -> dict[str, str]:
    """Draw everything that there are numbers for: names and SVGs that take their colours from the page."""
    wanted: dict[str, tuple[Callable[..., None], tuple[float, float], Any]] = {}
    half, training = (5.0, 3.3), detector.artefact.training
    if evaluation is None:
        wanted["scores"] = (_draw_scores, (10.0, 3.0), (detector, None))
    else:
        wanted["precision"] = (_draw_precision, half, (detector, evaluation))
        wanted["scores"] = (_draw_scores, half, (detector, evaluation))
        if evaluation.probability is not None:
            wanted["reliability"] = (_draw_reliability, half, (evaluation,))
        wanted["recall"] = (_draw_recall, half, (detector, evaluation))
        regions = evaluation.pictures and curve_of_regions(evaluation.pictures)
        if regions:
            wanted["regions"] = (_draw_regions, half, regions)
    if found := training.get("comparison"):
        wanted["pairs"] = (_draw_pairs, (5.0, 4.0), (found["pairs"],))
        if len(found["overlap"]["k"]) > 1:
            wanted["overlap"] = (_draw_overlap, (5.0, 4.0), (found["overlap"], found["n"]))
    if rows := [row for row in training.get("candidates") or [] if has_ap(row)]:
        wanted["candidates"] = (_draw_candidates, (10.0, 0.65 + 0.27 * len(rows)), (rows,))
    if curves := {role: losses for role, losses in (training.get("curves") or {}).items() if len(losses) > 1}:
        size = (10.0, 2.3 * math.ceil(len(curves) / 3))
        wanted["curves"] = (_draw_curves, size, (curves, str(training.get("chosen"))))
    return {name: _svg(name, draw, size, data) for name, (draw, size, data) in wanted.items()}


def _svg(name: str, draw: Callable[..., None], size: tuple[float, float], data: tuple[Any, ...]) -> str:
    """Draw on a figure of its own and return what a page can hold: colours by name, no fixed size, no foreign ids."""
    matplotlib, figures = require("matplotlib", "report"), require("matplotlib.figure", "report")
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # the reader's browser has the letters that ours may lack
        matplotlib.rcdefaults()  # whatever the user's own matplotlibrc says
        matplotlib.rcParams.update(STYLE | {"svg.hashsalt": name})
        figure, text = figures.Figure(figsize=size, layout="constrained"), io.StringIO()
        draw(figure, *data)
        for axes in figure.axes:
            axes.minorticks_off()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(text, format="svg", transparent=True, metadata=nothing)
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].replace("xlink:href", "href")
    svg = re.sub(r"<svg [^>]*(viewBox=\"[^\"]*\")[^>]*>", r'<svg \1 aria-hidden="true">', svg, count=1)
    svg = re.sub(r"<style.*?</style>|font-family: [^;\"]*; |(?<=<g) id=\"[^\"]*\"", "", svg, flags=re.DOTALL)
    for colour, (light, _) in PALETTE.items():
        svg = svg.replace(light, f"var(--{colour})")
    return svg


def _legend(axes: Any, columns: int = 3) -> None:
    """Put the legend above the drawing, where it hides nothing."""
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=columns, borderaxespad=0.2, columnspacing=1.2)


def _draw_precision(figure: Any, detector: Detector, evaluation: Evaluation) -> None:
    y, s = evaluation.label == 1, evaluation.score
    precision, recall, _ = metrics.precision_recall_curve(y, s)
    alarm = s > np.float32(detector.threshold)
    axes = figure.subplots()
    axes.plot(np.r_[0, recall], np.r_[precision[0], precision], color=STRONG, drawstyle="steps-pre", label="detector")
    axes.axhline(y.mean(), color=MUTED, linestyle=":", label=f"chance ({rate(y.mean())})")
    if alarm.any():
        at = ((alarm & y).sum() / y.sum(), y[alarm].mean())
        axes.plot(*at, "o", color=ANOMALOUS, markersize=7, label="at the threshold", zorder=3, clip_on=False)
    axes.set(xlabel="recall: share of the anomalies found", ylabel="precision: share of alarms that are real")
    axes.set(xlim=(0, 1.02), ylim=(0, 1.04))
    _legend(axes)


def _draw_scores(figure: Any, detector: Detector, evaluation: Evaluation | None) -> None:
    groups = [(detector.calibration_items, detector.calibrator.normals, NORMAL)]
    if evaluation is not None:
        y, s = evaluation.label == 1, evaluation.score
        groups = [("normal", s[~y], NORMAL), ("anomalous", s[y], ANOMALOUS)]
    everything = np.concatenate([s for _, s, _ in groups]).astype(np.float64)
    low, high = np.quantile(everything, (0.01, 0.99))
    low, high = min(low, detector.threshold), max(high, detector.threshold)
    reach = max(3 * (high - low), 1e-3)  # a single score far away must not squeeze all others into one bar
    low, high = max(min(everything.min(), low), low - reach), min(max(everything.max(), high), high + reach)
    edges = np.linspace(low - 1e-2 * reach, high + 1e-2 * reach, 61)
    axes = figure.subplots()
    most = 1.0
    for name, score, colour in groups:
        counts = np.maximum(np.histogram(np.clip(score, low, high), edges)[0], 0.5)  # a log axis has no 0
        most = max(most, counts.max())
        axes.stairs(counts, edges, baseline=0.5, fill=True, color=colour, alpha=0.55, label=name)
        axes.stairs(counts, edges, baseline=0.5, color=colour, linewidth=1)
    words = f"threshold (alpha {rate(detector.alpha)})"
    axes.axvline(detector.threshold, color=INK, linestyle="--", linewidth=1.2, label=words)
    axes.set(yscale="log", ylim=(0.5, 2 * most), xlabel="score, higher = more anomalous", ylabel=detector.items)
    axes.yaxis.set_major_formatter(lambda v, _: f"{v:,.0f}")
    _legend(axes)


def _draw_reliability(figure: Any, evaluation: Evaluation) -> None:
    assert evaluation.probability is not None
    predicted, observed, rows = metrics.reliability(evaluation.label, evaluation.probability, BINS)
    centre = (observed + 1.92 / rows) / (1 + 3.84 / rows)  # Wilson's interval, which stays inside [0, 1]
    reach = 1.96 * np.sqrt(observed * (1 - observed) / rows + 0.96 / rows**2) / (1 + 3.84 / rows)
    low, high = np.maximum(centre - reach, 0), np.minimum(centre + reach, 1)
    axes = figure.subplots()
    floor, top = 0.0, 1.04
    if evaluation.label.mean() < 0.1:  # almost all bins lie near 0: on straight axes they would be one dot
        floor, top = max(1e-6, min(predicted.min(), 1 / len(evaluation.label)) / 2), 1.5
        axes.set(xscale="log", yscale="log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda v, _: rate(v))
    x, seen = np.maximum(predicted, floor), observed > floor
    axes.plot((floor, 1), (floor, 1), color=MUTED, linestyle=":", label="perfect")
    axes.vlines(x, np.maximum(low, floor), high, color=NORMAL, linewidth=1.2, label="95 % interval")
    axes.plot(x[seen], observed[seen], "o", color=STRONG, markersize=5, label="bin")
    if not seen.all():
        axes.plot(x[~seen], np.full((~seen).sum(), floor), "v", color=STRONG, markersize=6, markerfacecolor="none",
                  clip_on=False, label="bin without anomalies")  # fmt: skip
    axes.set(xlim=(floor / 1.3, top), ylim=(floor, top), xlabel="mean probability that was said in the bin")
    axes.set(ylabel="share of anomalies found in it")
    _legend(axes, 4)


def _draw_recall(figure: Any, detector: Detector, evaluation: Evaluation) -> None:
    y, s = evaluation.label == 1, evaluation.score
    fpr, tpr, _ = metrics.roc_curve(y, s)
    start = np.flatnonzero(fpr == 0)[-1]
    alarm = s > np.float32(detector.threshold)
    left = min(0.5 / (~y).sum(), detector.alpha / 2)  # where "no false alarm at all" is drawn
    axes = figure.subplots()
    axes.plot(np.maximum(fpr[start:], left), tpr[start:], color=STRONG, drawstyle="steps-post", label="detector")
    axes.axvline(detector.alpha, color=INK, linestyle="--", linewidth=1.2, label=f"promised ({rate(detector.alpha)})")
    at = max(alarm[~y].mean(), left), alarm[y].mean()
    axes.plot(*at, "o", color=ANOMALOUS, markersize=7, label="at the threshold", zorder=3, clip_on=False)
    axes.set(xscale="log", xlim=(left, 1.05), ylim=(0, 1.04))
    axes.set(
        xlabel=f"false alarms: share of the normal {detector.items}", ylabel="recall: share of the anomalies found"
    )
    axes.xaxis.set_major_formatter(lambda v, _: rate(v))
    _legend(axes)


def _draw_regions(figure: Any, fpr: NDArray[np.float64], overlap: NDArray[np.float64]) -> None:
    axes = figure.subplots()
    axes.plot(fpr, overlap, color=STRONG, label="detector")
    axes.plot(fpr, fpr, color=MUTED, linestyle=":", label="chance")
    axes.set(xlim=(0, fpr[-1]), ylim=(0, 1.04), xlabel="false alarms: share of the pixels outside of defects")
    axes.set(ylabel="overlap: share of each defect found, mean")
    axes.xaxis.set_major_formatter(lambda v, _: rate(v))
    _legend(axes)


def _draw_pairs(figure: Any, pairs: dict[str, Any]) -> None:
    teacher, student = np.array(pairs["teacher"]), np.array(pairs["student"])
    first, second = (np.isin(np.arange(len(teacher)), pairs["strangest"][who]) for who in ("teacher", "student"))
    low, high = min(teacher.min(), student.min()), max(teacher.max(), student.max())
    pad = 0.04 * (high - low)
    axes = figure.subplots()
    axes.plot((low - pad, high + pad), (low - pad, high + pad), color=MUTED, linestyle=":", linewidth=1)
    for label, rows, style in (
        ("other rows", ~(first | second), {"marker": "o", "markersize": 2.5, "color": NORMAL, "alpha": 0.4}),
        ("strangest of both", first & second, {"marker": "o", "markersize": 4.5, "color": STRONG, "alpha": 0.8}),
        ("of the teacher alone", first & ~second, {"marker": ">", "markersize": 5, "color": ANOMALOUS, "alpha": 0.8}),
        ("of the student alone", second & ~first, {"marker": "^", "markersize": 5, "color": INK, "alpha": 0.8}),
    ):
        if rows.any():
            axes.plot(teacher[rows], student[rows], linestyle="none", markeredgewidth=0, label=label, **style)
    axes.set(xlim=(low - pad, high + pad), ylim=(low - pad, high + pad))
    axes.set(xlabel="teacher's score, as a normal score", ylabel="student's score")
    _legend(axes, 2)


def _draw_overlap(figure: Any, overlap: dict[str, list[float]], n: int) -> None:
    k, share = np.array(overlap["k"]), overlap["share"]
    axes = figure.subplots()
    axes.plot(k, share, "o-", color=STRONG, markersize=4, label="student")
    axes.plot(k, k / n, color=MUTED, linestyle=":", label="chance")
    axes.set(xscale="log", ylim=(0, 1.04), xlabel="strangest rows that are looked at", ylabel="share that is the same")
    axes.set_xticks(k[np.linspace(0, len(k) - 1, min(len(k), 6)).round().astype(int)])
    axes.xaxis.set_major_formatter(lambda v, _: f"{v:,.0f}")
    axes.yaxis.set_major_formatter(lambda v, _: rate(v))
    _legend(axes)


def _draw_candidates(figure: Any, rows: list[dict[str, Any]]) -> None:
    axes = figure.subplots()
    ap = np.array([row["average_precision"] for row in rows])
    pad = max(0.1 * np.ptp(ap), 0.01)
    for place, row in enumerate(rows):
        colour = STRONG if row.get("shipped") else MUTED
        hollow = {"markerfacecolor": "none"} if row["role"] in ("committee", "teacher") else {}
        axes.plot(ap[place], place, "o", color=colour, markersize=8, **hollow)
        axes.annotate(f"{ap[place]:.3f}", (ap[place], place), (9, 0), textcoords="offset points", va="center")
    axes.set_yticks(range(len(rows)), [_short(row["name"]) for row in rows])
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.set(xlim=(ap.min() - pad, ap.max() + 1.5 * pad), ylim=(len(rows) - 0.4, -0.6))
    axes.set_xlabel("average precision on the validation rows (filled: students; hollow: teachers)")


def _draw_curves(figure: Any, curves: dict[str, list[float]], shipped: str) -> None:
    panels = figure.subplots(math.ceil(len(curves) / 3), 3, squeeze=False).ravel()
    for axes, (role, losses) in zip(panels, curves.items(), strict=False):
        done = 100 * np.arange(1, len(losses) + 1) / len(losses)
        axes.plot(done, losses, color=STRONG if role == shipped else MUTED)
        axes.set_title(_short(role), loc="left", fontsize=9)
        axes.set(xlabel="training done, %", xlim=(0, 100), ylim=(0, None))
    panels[0].set_ylabel("loss")
    for axes in panels[len(curves) :]:
        axes.remove()


def has_ap(row: dict[str, Any]) -> bool:
    """Say whether a candidate's average precision was measured."""
    value = row.get("average_precision")
    return value is not None and math.isfinite(value)


def rate(value: float) -> str:
    """Write a share as a percentage."""
    return f"{100 * value:.3g}\N{NO-BREAK SPACE}%"


def _short(name: Any) -> str:
    return str(name)[:40].encode("utf-8", "replace").decode()
