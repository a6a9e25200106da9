"""A report for people: one HTML file that opens anywhere, offline and without a script.

`summarise` turns a detector into plain words and numbers, the drawings become inline SVG, and ``report.html.j2``
lays both out.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from limbeck import metrics
from limbeck.errors import InputError, require
from limbeck.methods import METHODS
from limbeck.outputs import new_file
from limbeck.report_pictures import curve_of_regions, gallery
from limbeck.table_spec import TableSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from limbeck.detector import Detector
    from limbeck.evaluate import Evaluation
    from limbeck.spec import InputSpec

__all__ = ["report"]

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

# How the figures of `Evaluation.metrics` and of the candidates are written, in the order of the candidates' columns.
FORMATS = {
    **dict.fromkeys(("average_precision", "auroc", "recall_at_1pct_fpr", "f1_max", "f1_at_threshold"), ".3f"),
    **{"log_loss": ".4f", "brier": ".5f", "ece": ".4f", "ece_floor": ".4f", "threshold": ".4f"},
    **dict.fromkeys(("n", "n_anomalous", "weights"), ",.0f"),
}


def report(
    detector: Detector, out: str | Path, *, evaluation: Evaluation | None = None, overwrite: bool = False
) -> None:
    """Write what a detector is and how good it is into one HTML file.

    The file holds its drawings and its style, needs no network and no script, and appears whole or not at all. The
    same detector and evaluation give the same bytes.

    Parameters
    ----------
    detector : Detector
        Fitted or loaded.
    out : path
        The file, by custom ``NAME.html``.
    evaluation : Evaluation, optional
        What `limbeck.evaluate.evaluate` measured on rows that the detector has not seen.
    overwrite : bool
        Whether it may replace an existing file.

    Raises
    ------
    MissingExtraError
        If jinja2 or matplotlib is not installed.
    OutputError
        If the place is taken or cannot be written.
    InputError
        If the evaluation is of another detector or of another threshold.

    Examples
    --------
    >>> import limbeck
    >>> from limbeck.report import report
    >>> report(limbeck.load("tx.limbeck"), "tx.html")  # doctest: +SKIP
    """
    jinja2 = require("jinja2", "report")
    require("matplotlib", "report")
    if evaluation is not None and evaluation.metrics["threshold"] != detector.threshold:
        got = f"a threshold of {evaluation.metrics['threshold']:g} and one of {detector.threshold:g}"
        raise InputError(
            "the evaluation is of another detector", expected="one threshold", got=got, fix="evaluate again"
        )
    with new_file(Path(out), overwrite=overwrite) as partial:
        text = resources.files("limbeck").joinpath("report.html.j2").read_text("utf-8")
        environment = jinja2.Environment(
            autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        page: str = environment.from_string(text).render(
            summarise(detector, evaluation), plots=_plots(detector, evaluation), palette=PALETTE
        )
        partial.write_bytes(page.encode("utf-8", "replace"))  # a file's name may hold bytes that are no text


def summarise(detector: Detector, evaluation: Evaluation | None = None) -> dict[str, Any]:
    """Return what a report says, as texts and lists of texts."""
    card, training, calibrator = detector.card, detector.artefact.training, detector.calibrator
    line = calibrator.affine
    measured = None if evaluation is None else _measured(detector, evaluation)
    share = f"{card.n_anomalous:,} of them anomalous ({_rate(card.n_anomalous / max(1, card.n_items))})"
    items = detector.items
    verdict = f"This {card.method} detector learned from {card.n_items:,} {items}, "
    verdict += share if card.n_anomalous else "none of them known to be anomalous"
    if evaluation is None:
        verdict += f"; it promises to alarm at most {_rate(detector.alpha)} of new normal {items}"
    else:
        m = evaluation.metrics
        verdict += (
            f"; on {m['n']:,} {items} of {evaluation.source} its average precision is {m['average_precision']:.3f} and "
            f"its AUROC {m['auroc']:.3f}, and it alarms {_rate(m['false_alarm_rate'])} of the normal {items} where "
            f"{_rate(m['alpha'])} was promised"
        )
    return {
        "verdict": verdict + ".",
        "measured": measured,
        "candidates": _candidates(training.get("candidates") or [], bool(training.get("taught_again"))),
        "alpha": _rate(detector.alpha),
        "threshold": _number("threshold", detector.threshold),
        "calibration_normals": f"{calibrator.normals.size:,}",
        "smallest_rate": _rate(calibrator.smallest_rate),
        "line": line and (f"{line.slope:.4g}", f"{line.intercept:+.4g}"),
        "parity": training.get("parity"),
        "method_summary": METHODS[card.method].summary if card.method in METHODS else "",
        "card": card,
        "columns": _columns(detector.spec),
        "items": items,
        "item": items.removesuffix("s"),
        "gallery": [] if evaluation is None else gallery(detector, evaluation),
        "suspects": _suspects(training.get("suspects")),
        "config": [(k, _plain(v)) for k, v in detector.artefact.config.items()],
    }


def _suspects(held: dict[str, Any] | None) -> dict[str, Any] | None:
    """Say which training pictures look anomalous; None where the method asks no such question."""
    if held is None:
        return None
    rows = held["pictures"]
    return {
        "found": sum(row["suspected"] for row in rows),
        "total": len(rows),
        "cut": f"{held['cut']:.4g}",
        "shown": [(i, row, f"{row['score']:.4g}") for i, row in enumerate(rows, 1) if "picture" in row],
    }


def _columns(spec: InputSpec) -> list[tuple[str, str, str]]:
    """List name, kind and number of categories of each column; none of pictures."""
    if not isinstance(spec, TableSpec):
        return []
    return [(c.name, c.kind, f"{len(c.categories):,}" if c.categories else "") for c in spec.columns]


def _measured(detector: Detector, evaluation: Evaluation) -> dict[str, Any]:
    """Say what the evaluation found."""
    y, m = evaluation.label == 1, dict(evaluation.metrics)
    alarm = evaluation.score > np.float32(detector.threshold)
    found, false, anomalies, normals = (int(a.sum()) for a in (alarm & y, alarm & ~y, y, ~y))
    low, high = _by_chance(detector.alpha, detector.calibrator.normals.size, normals)
    if evaluation.probability is not None:
        m["ece_floor"] = metrics.ece_floor(evaluation.probability, BINS)
    return {
        "source": evaluation.source,
        "notes": evaluation.notes,
        "metrics": {k: _number(k, v) for k, v in m.items()},
        "headline": [
            ("average precision", _number("average_precision", m["average_precision"]), f"chance: {y.mean():.3f}"),
            ("AUROC", _number("auroc", m["auroc"]), "chance: 0.5"),
            ("false alarms", _rate(false / normals), f"promised: {_rate(detector.alpha)}"),
            ("anomalies found", _rate(found / anomalies), f"{found:,} of {anomalies:,}"),
        ],
        "counts": {"rows": len(y), "alarms": found + false, "found": found, "false": false, "normals": normals},
        "real": _rate(found / (found + false)) if alarm.any() else None,
        "chance": (_rate(low), _rate(high)),
        "beside_chance": "above" if false / normals > high else "below" if false / normals < low else "inside",
    }


def _candidates(rows: list[dict[str, Any]], taught_again: bool) -> dict[str, Any] | None:
    """Say how the shipped student compares with what else was tried."""
    if not rows:
        return None
    keys = [k for k in FORMATS if k not in ("n", "n_anomalous") and any(k in row for row in rows)]
    n, anomalous = rows[0].get("n", 0), rows[0].get("n_anomalous", 0)
    return {
        "rows": f"{n:,} validation rows, {anomalous:,} of them anomalous",
        "keys": keys,
        "table": [
            (row["name"], row["role"], bool(row.get("shipped")), [_number(k, row.get(k)) for k in keys]) for row in rows
        ],
        "words": _comparison(rows, anomalous, taught_again),
    }


def _comparison(rows: list[dict[str, Any]], anomalous: int, taught_again: bool) -> list[tuple[bool, str]]:
    """Return sentences, each with whether it is a warning."""
    ap = {row["role"]: row["average_precision"] for row in rows if row["role"] != "teacher" and _has_ap(row)}
    shipped = next((row["role"] for row in rows if row.get("shipped")), None)
    said: list[tuple[bool, str]] = []
    if shipped not in ap:
        return said
    names = {"control": "the control, which had no teacher", "labels": "the plain student of the labels"}
    distilled = {role: value for role, value in ap.items() if role not in (*names, "committee")}
    if shipped in names:
        said.append((True, f"The shipped student is {names[shipped]}: distillation did not pay here."))
    best = max(distilled, key=lambda role: distilled[role], default=shipped)
    for role, name in names.items():
        if role == shipped or role not in ap:
            continue
        if ap[role] >= ap[best]:
            said.append((True, f"Distillation did not pay here: {name}, is at least as good ({ap[role]:.3f} against "
                               f"{ap[best]:.3f} average precision of {best!r})."))  # fmt: skip
        elif ap[shipped] > ap[role]:
            said.append((False, f"Average precision is {ap[shipped] - ap[role]:.3f} above that of {name}."))
    if ap.get("committee"):
        said.append((False, f"The student keeps {_rate(ap[shipped] / ap['committee'])} of the committee's average "
                            f"precision ({ap[shipped]:.3f} of {ap['committee']:.3f})."))  # fmt: skip
    if anomalous:
        error = math.sqrt(ap[shipped] * (1 - ap[shipped]) / anomalous)
        said.append((False, f"With {anomalous:,} anomalies, one standard error of an average precision is roughly "
                            f"{error:.3f}: much smaller differences may be chance."))  # fmt: skip
    if taught_again:
        said.append((False, "After this measurement the shipped student was taught again on all rows, these included; "
                            "the table shows it as it was before."))  # fmt: skip
    return said


def _by_chance(alpha: float, calibration: int, n: int) -> tuple[float, float]:
    """Return the range of the realised false-alarm rate, 95 of 100 times, if all normal rows are alike.

    Of n new rows, the alarmed ones are beta-binomial: the threshold is itself the rank of a random row.
    """
    a = math.floor(alpha * (calibration + 1) + 1e-9)
    b, k = calibration + 1 - a, np.arange(n)
    log_p = np.cumsum(np.r_[0.0, np.log((n - k) / (k + 1.0)) + np.log((k + a) / (n - k - 1.0 + b))])
    mass = np.cumsum(np.exp(log_p - log_p.max()))
    low, high = np.searchsorted(mass / mass[-1], (0.025, 0.975))
    return float(low / n), float(high / n)


def _plots(detector: Detector, evaluation: Evaluation | None) -> dict[str, str]:
    """Draw everything that there are numbers for."""
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
    if rows := [row for row in training.get("candidates") or [] if _has_ap(row)]:
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
    axes.axhline(y.mean(), color=MUTED, linestyle=":", label=f"chance ({_rate(y.mean())})")
    if alarm.any():
        at = ((alarm & y).sum() / y.sum(), y[alarm].mean())
        axes.plot(*at, "o", color=ANOMALOUS, markersize=7, label="at the threshold", zorder=3, clip_on=False)
    axes.set(xlabel="recall: share of the anomalies found", ylabel="precision: share of alarms that are real")
    axes.set(xlim=(0, 1.02), ylim=(0, 1.04))
    _legend(axes)


def _draw_scores(figure: Any, detector: Detector, evaluation: Evaluation | None) -> None:
    groups = [("calibration normals", detector.calibrator.normals, NORMAL)]
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
    words = f"threshold (alpha {_rate(detector.alpha)})"
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
            axis.set_major_formatter(lambda v, _: _rate(v))
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
    axes.axvline(detector.alpha, color=INK, linestyle="--", linewidth=1.2, label=f"promised ({_rate(detector.alpha)})")
    at = max(alarm[~y].mean(), left), alarm[y].mean()
    axes.plot(*at, "o", color=ANOMALOUS, markersize=7, label="at the threshold", zorder=3, clip_on=False)
    axes.set(xscale="log", xlim=(left, 1.05), ylim=(0, 1.04))
    axes.set(
        xlabel=f"false alarms: share of the normal {detector.items}", ylabel="recall: share of the anomalies found"
    )
    axes.xaxis.set_major_formatter(lambda v, _: _rate(v))
    _legend(axes)


def _draw_regions(figure: Any, fpr: NDArray[np.float64], overlap: NDArray[np.float64]) -> None:
    axes = figure.subplots()
    axes.plot(fpr, overlap, color=STRONG, label="detector")
    axes.plot(fpr, fpr, color=MUTED, linestyle=":", label="chance")
    axes.set(xlim=(0, fpr[-1]), ylim=(0, 1.04), xlabel="false alarms: share of the pixels outside of defects")
    axes.set(ylabel="overlap: share of each defect found, mean")
    axes.xaxis.set_major_formatter(lambda v, _: _rate(v))
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


def _has_ap(row: dict[str, Any]) -> bool:
    value = row.get("average_precision")
    return value is not None and math.isfinite(value)


def _rate(value: float) -> str:
    return f"{100 * value:.3g}\N{NO-BREAK SPACE}%"


def _number(key: str, value: Any) -> str:
    if value is None or not math.isfinite(value) or (key == "weights" and not value):
        return "–"
    return _rate(value) if key in ("alpha", "false_alarm_rate") else format(value, FORMATS.get(key, ".4g"))


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _short(name: Any) -> str:
    return str(name)[:40].encode("utf-8", "replace").decode()
