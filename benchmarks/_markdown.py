"""The results of `tables.py` as a page of the docs."""

from __future__ import annotations

import statistics
from collections import Counter

from _data import SETS

ROLES = ("labels", "control", "distilled", "distilled-rows", "multi-teacher")
METRICS = ("average_precision", "auroc", "recall_at_1pct_fpr")
HEAD = """| model | average precision | AUROC | recall at 1 % false alarms | ECE; its floor |
| --- | --- | --- | --- | --- |"""
Row = dict[str, str]


def page(rows: list[Row]) -> str:
    """Return a section for each set."""
    known = {r["set"] for r in rows}
    return "\n\n".join(_section(name, [r for r in rows if r["set"] == name]) for name in SETS if name in known)


def _section(name: str, rows: list[Row]) -> str:
    splits = list(dict.fromkeys((r["seed"], r["fold"]) for r in rows))
    by_split = [[r for r in rows if (r["seed"], r["fold"]) == split] for split in splits]
    shipped = [r for r in rows if r["model"] == "shipped"]
    committees = [_committee(part) for part in by_split]
    models = {"**shipped**": shipped}
    models |= {f"`{role}`": [r for r in rows if r["model"] == f"student: {role}"] for role in ROLES}
    models["committee of the first measurement"] = committees
    models["best single teacher, picked on the test rows"] = [_best_teacher(part) for part in by_split]
    models["one LightGBM"] = [r for r in rows if r["model"] == "LightGBM on the labels"]
    roles = ", ".join(f"`{role}` {n} of {len(splits)}" for role, n in Counter(r["role"] for r in shipped).items())
    seconds = [float(r["fit_seconds"]) for r in shipped]
    weights, package = int(shipped[0]["model_bytes"]), int(shipped[0]["package_bytes"])
    files = statistics.mean(float(r["model_bytes"]) for r in committees)
    return "\n".join([
        f"## {name}",
        "",
        f"{int(shipped[0]['rows']):,} rows to learn from, {int(shipped[0]['anomalies']):,} of them anomalous; "
        f"{len(splits)} splits, seeds {', '.join(dict.fromkeys(seed for seed, _ in splits))}. Shipped: {roles}. "
        f"A fit took {min(seconds):.0f} to {max(seconds):.0f} s and "
        f"{max(float(r['fit_peak_mib']) for r in shipped) / 1024:.1f} GiB at most.",
        "",
        HEAD,
        *(_line(model, found) for model, found in models.items()),
        "",
        f"The student's weights take {weights:,} bytes, the committee's files {files:,.0f} "
        f"({files / weights:.0f} times as much), the package {package:,}.",
    ])  # fmt: skip


def _committee(split: list[Row]) -> Row:
    """Return the committee of the first measurement; it has that name alone where the shipped one had teachers too."""
    found = {r["model"]: r for r in split}
    return found.get("committee of the first round", found["committee"])


def _best_teacher(split: list[Row]) -> Row:
    return max((r for r in split if r["model"].startswith("teacher")), key=lambda r: float(r["average_precision"]))


def _line(model: str, rows: list[Row]) -> str:
    floor = statistics.mean(float(r["ece_floor"]) for r in rows)
    cells = [_mean(rows, metric, 3) for metric in METRICS] + [f"{_mean(rows, 'ece', 4)}; {floor:.4f}"]
    return f"| {model} | " + " | ".join(cells) + " |"


def _mean(rows: list[Row], metric: str, digits: int) -> str:
    values = [float(r[metric]) for r in rows]
    spread = f" ({statistics.pstdev(values):.{digits}f})" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{spread}"
