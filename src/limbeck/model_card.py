"""The model card: what a person must know of a package before using it, as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from limbeck.contracts import Artefact, Card
from limbeck.spec import InputSpec
from limbeck.table_spec import TableSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["card_text"]


def card_text(card: Card, artefact: Artefact, alpha: float) -> str:
    """Return a model card.

    Parameters
    ----------
    card : Card
        The facts.
    artefact : Artefact
        Its spec and what was noted while it learned.
    alpha : float
        The false-alarm rate that is promised.

    Returns
    -------
    str
        Markdown.
    """
    table = isinstance(artefact.spec, TableSpec)
    noun = "rows" if table else "pictures"
    kept = noun if table and not card.n_anomalous else f"normal {noun}"
    lines = [
        f"# {card.name}",
        "",
        f"An anomaly detector made by Limbeck with the method `{card.method}`.",
        "",
        "## Intended use",
        "",
        f"Scores {_what(artefact.spec)}. Higher = more anomalous. Not for {noun} of another source or time than the "
        f"training {noun} without checking the false-alarm rate there.",
        "",
        "## Data",
        "",
        f"`{card.source}`: {_data(card, table)}. Seed {card.seed}, made {card.created}.",
        "",
        "## Threshold",
        "",
        f"{card.threshold:.6g}, for a promised false-alarm rate of {alpha:g}, from {card.n_calibration_normal:,} "
        f"{kept} that no part of the model saw. The promise holds for new {noun} like those, and ends where "
        "the data drifts.",
        "",
        *_metrics(card, artefact.training),
        "## Notes",
        "",
        *([f"- {note}" for note in card.notes] or ["None."]),
        "",
        "## Licence",
        "",
        card.licence,
        "",
        "## Versions",
        "",
        ", ".join(f"{k} {v}" for k, v in card.versions.items()),
        "",
    ]
    return "\n".join(lines)


def _what(spec: InputSpec) -> str:
    """Say what is scored."""
    if not isinstance(spec, TableSpec):
        kind = "8-bit pictures" if spec.maximum == 255 else f"16-bit grey pictures with values up to {spec.maximum:,}"
        return f"{kind}, grey or colour, each resized to {spec.height} × {spec.width} pixels"
    kinds = [c.kind for c in spec.columns]
    counts = (f"{kinds.count(k)} {k}" for k in ("numeric", "boolean", "categorical") if k in kinds)
    return f"rows of {len(kinds)} columns ({', '.join(counts)})"


def _data(card: Card, table: bool) -> str:
    if table and not card.n_anomalous:
        return f"{card.n_items:,} rows without labels, of which some may be anomalous"
    if table:
        share = card.n_anomalous / card.n_items
        return f"{card.n_items:,} labelled rows, {card.n_anomalous:,} of them anomalous ({share:.3%})"
    return f"{card.n_items:,} pictures, taken to be good: what is wrong with them is learned as normal"


def _metrics(card: Card, training: Mapping[str, Any]) -> list[str]:
    """Return the table of the candidates; nothing where there were no labels to measure with."""
    if not card.metrics:
        return []
    again = " The shipped student was then taught again on all rows." if training.get("taught_again") else ""
    lines = [
        "## Metrics",
        "",
        "On validation rows that none of the models saw; all calibrated alike." + again,
        "",
        "| model | average precision | AUROC | recall at 1 % false alarms | Brier | ECE (floor) |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    shipped = {c["name"] for c in training.get("candidates", []) if c.get("shipped")}
    for name, m in card.metrics.items():
        name = f"**{name}** (shipped)" if name in shipped else name
        lines.append(
            f"| {name} | {m['average_precision']:.4f} | {m['auroc']:.4f} | {m['recall_at_1pct_fpr']:.4f} | "
            f"{m['brier']:.5f} | {m['ece']:.4f} ({m['ece_floor']:.4f}) |"
        )
    return [*lines, ""]
