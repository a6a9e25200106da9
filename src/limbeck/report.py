"""A report for people: one HTML file that opens anywhere, offline and without a script.

`summarise` turns a detector into plain words and numbers, the drawings become inline SVG, and ``report.html.j2``
lays both out.
"""

from __future__ import annotations

import math
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from limbeck import metrics
from limbeck.errors import InputError, require
from limbeck.methods import METHODS
from limbeck.outputs import new_file
from limbeck.report_fidelity import said_of_teacher
from limbeck.report_pictures import gallery, said_of_suspects
from limbeck.report_plots import BINS, PALETTE, has_ap, plots, rate
from limbeck.table_spec import TableSpec

if TYPE_CHECKING:
    from limbeck.detector import Detector
    from limbeck.evaluate import Evaluation
    from limbeck.spec import InputSpec

__all__ = ["report"]

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
            summarise(detector, evaluation), plots=plots(detector, evaluation), palette=PALETTE
        )
        partial.write_bytes(page.encode("utf-8", "replace"))  # a file's name may hold bytes that are no text


def summarise(detector: Detector, evaluation: Evaluation | None = None) -> dict[str, Any]:
    """Return what a report says, as texts and lists of texts."""
    card, training, calibrator = detector.card, detector.artefact.training, detector.calibrator
    line = calibrator.affine
    measured = None if evaluation is None else _measured(detector, evaluation)
    share = f"{card.n_anomalous:,} of them anomalous ({rate(card.n_anomalous / max(1, card.n_items))})"
    items = detector.items
    kept = items if detector.calibration_items == f"calibration {items}" else f"normal {items}"
    verdict = f"This {card.method} detector learned from {card.n_items:,} {items}, "
    verdict += share if card.n_anomalous else "none of them known to be anomalous"
    if evaluation is None:
        verdict += f"; it promises to alarm at most {rate(detector.alpha)} of new {kept}"
    else:
        m = evaluation.metrics
        verdict += (
            f"; on {m['n']:,} {items} of {evaluation.source} its average precision is {m['average_precision']:.3f} and "
            f"its AUROC {m['auroc']:.3f}, and it alarms {rate(m['false_alarm_rate'])} of the normal {items} where "
            f"{rate(m['alpha'])} was promised"
        )
    return {
        "verdict": verdict + ".",
        "measured": measured,
        "teacher": said_of_teacher(training),
        "candidates": _candidates(training.get("candidates") or [], bool(training.get("taught_again"))),
        "alpha": rate(detector.alpha),
        "threshold": _number("threshold", detector.threshold),
        "calibrated_on": f"{calibrator.normals.size:,}",
        "calibration_items": detector.calibration_items,
        "kept": kept,
        "smallest_rate": rate(calibrator.smallest_rate),
        "line": line and (f"{line.slope:.4g}", f"{line.intercept:+.4g}"),
        "parity": training.get("parity"),
        "method_summary": METHODS[card.method].summary if card.method in METHODS else "",
        "card": card,
        "columns": _columns(detector.spec),
        "items": items,
        "item": items.removesuffix("s"),
        "gallery": [] if evaluation is None else gallery(detector, evaluation),
        "suspects": said_of_suspects(training.get("suspects")),
        "config": [(k, _plain(v)) for k, v in detector.artefact.config.items()],
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
            ("false alarms", rate(false / normals), f"promised: {rate(detector.alpha)}"),
            ("anomalies found", rate(found / anomalies), f"{found:,} of {anomalies:,}"),
        ],
        "counts": {"rows": len(y), "alarms": found + false, "found": found, "false": false, "normals": normals},
        "real": rate(found / (found + false)) if alarm.any() else None,
        "chance": (rate(low), rate(high)),
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
    ap = {row["role"]: row["average_precision"] for row in rows if row["role"] != "teacher" and has_ap(row)}
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
        said.append((False, f"The student keeps {rate(ap[shipped] / ap['committee'])} of the committee's average "
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


def _number(key: str, value: Any) -> str:
    if value is None or not math.isfinite(value) or (key == "weights" and not value):
        return "–"
    return rate(value) if key in ("alpha", "false_alarm_rate") else format(value, FORMATS.get(key, ".4g"))


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
