"""What a report and a terminal say of a student beside the teacher that it follows, in words."""

from __future__ import annotations

from typing import Any

from limbeck.report_plots import rate

__all__ = ["said_in_short", "said_of_teacher"]


def said_in_short(training: dict[str, Any]) -> str | None:
    """Say in a line how a student follows its teacher, and what it saves; None where it follows none.

    Examples
    --------
    >>> said_in_short({"fidelity": {"n": 300, "spearman": 0.95, "top_overlap": 0.8}})
    'rank correlation 0.950 with its teacher, 80 % of the strangest rows the same'
    """
    fidelity, costs = training.get("fidelity"), training.get("costs") or {"bytes": {}, "seconds": []}
    if fidelity is None:
        return None
    said = (
        f"rank correlation {fidelity['spearman']:.3f} with its teacher, "
        f"{100 * fidelity['top_overlap']:.0f} % of the strangest rows the same"
    )
    saved = [f"{_times(costs['bytes'])} times the bytes"] if costs["bytes"].get("teacher") else []
    saved += [f"{_times(s)} times the time for {_rows(s['rows'])}" for s in costs["seconds"]]
    return f"{said}; the teacher takes {', '.join(saved)}" if saved else said


def said_of_teacher(training: dict[str, Any]) -> dict[str, Any] | None:
    """Return what a report says of a student and its teacher, as texts; None where nothing was compared."""
    found = training.get("comparison")
    if found is None:
        return None
    drawn = len(found["pairs"]["teacher"])
    return {
        "words": [_following(found, training["fidelity"]), *_costs(found["teacher"], training["costs"])],
        "drawn": _drawn(drawn, found["n"]),
        "members": [
            (m["name"], rate(m["weight"]), f"{m['agreement']:.3f}", f"{m['student']:.3f}")
            for m in training.get("members", [])
        ],
        "apart": [
            (row["id"], *(_percentile(row[f"{who}_rank"]) for who in ("teacher", "student")),
             *(f"{row[who]:.2f}" for who in ("teacher", "student")), _unusual(row["unusual"]))
            for row in found["apart"]
        ],
    }  # fmt: skip


def _following(found: dict[str, Any], fidelity: dict[str, Any]) -> str:
    """Say how alike both rank."""
    return (
        f"On {found['n']:,} rows from which the student has not learned, its rank correlation with {found['teacher']} "
        f"is {fidelity['spearman']:.3f}; of the strangest 1\N{NO-BREAK SPACE}% (ten rows at least) "
        f"{rate(fidelity['top_overlap'])} are the same. To follow is not to be right: a student can follow a teacher "
        "that finds nothing."
    )


def _drawn(drawn: int, n: int) -> str:
    """Say which rows are drawn."""
    if drawn == n:
        return f"All {n:,} rows held out."
    kept = "all of these, and of the others evenly many along the teacher's ranking"
    return f"{drawn:,} of the {n:,} rows held out: {kept}."


def _costs(name: str, costs: dict[str, Any]) -> list[str]:
    """Say how large and how quick both are."""
    size = f"The student's {costs['weights']:,} weights take {_bytes(costs['bytes']['student'])}; "
    if not costs["seconds"]:
        return [f"{size}of {name} neither size nor speed is known."]
    if costs["bytes"]["teacher"]:
        size += (
            f"{name}, as a pickle, takes {_bytes(costs['bytes']['teacher'])}: {_times(costs['bytes'])} times as much."
        )
    else:
        size += f"how much {name} takes is not known."
    medians = "; ".join(
        f"{_rows(s['rows'])} {_times(s)} times as fast ({_time(s['student'])} instead of {_time(s['teacher'])})"
        for s in costs["seconds"]
    )
    return [size, f"In numpy the student scores {medians}: medians, both in turn on the same rows in one run."]


def _times(of: dict[str, Any]) -> str:
    """Write how many times the student's the teacher's is."""
    ratio = of["teacher"] / of["student"]
    return f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.2g}"


def _rows(count: int) -> str:
    return "one row" if count == 1 else f"{count:,} rows"


def _bytes(count: float) -> str:
    for unit, size in (("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:,.1f}\N{NO-BREAK SPACE}{unit}"
    return f"{count:.0f} bytes"


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g}\N{NO-BREAK SPACE}{unit}"
    return f"{seconds / 1e-6:.3g}\N{NO-BREAK SPACE}\N{MICRO SIGN}s"


def _percentile(rank: float) -> str:
    return f"{100 * rank:.1f}"


def _unusual(values: list[dict[str, Any]]) -> str:
    nothing_breaks = "{column} = {value:.4g} ({spreads:+.1f})".replace(" ", "\N{NO-BREAK SPACE}")
    return ", ".join(nothing_breaks.format(**value) for value in values)
