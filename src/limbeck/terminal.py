"""What a person sees in a terminal: bars while it works, tables when it is done."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from limbeck.contracts import Step
    from limbeck.detector import Detector
    from limbeck.profile import Profile

__all__ = [
    "kinds",
    "print_candidates",
    "print_following",
    "print_input",
    "print_metrics",
    "print_profile",
    "print_table",
    "progress",
    "show_warning",
]


@contextmanager
def progress() -> Iterator[Callable[[Step], None]]:
    """Show a bar for each stage on standard error; the stages appear as they come."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    bars = {}
    columns = (TextColumn("{task.description:>10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as display:

        def on_step(step: Step) -> None:
            if step.stage not in bars:
                bars[step.stage] = display.add_task(step.stage, total=step.total or None)
            display.update(bars[step.stage], completed=step.done, total=step.total or None)

        yield on_step


def kinds(detector: Detector) -> str:
    """Say what a detector takes; name the categorical columns, so that a misread one is seen at once."""
    from limbeck.table_spec import TableSpec

    spec = detector.spec
    if not isinstance(spec, TableSpec):
        return f"pictures of {'8' if spec.maximum == 255 else '16'} bit, resized to {spec.height} × {spec.width}"
    parts = []
    for kind in ("numeric", "boolean", "categorical"):
        names = [c.name for c in spec.columns if c.kind == kind]
        shown = f" ({', '.join(names[:8])}{', ...' if len(names) > 8 else ''})" if kind == "categorical" else ""
        parts += [f"{len(names)} {kind}{shown}"] if names else []
    return ", ".join(parts) + (" columns" if len(spec.columns) > 1 else " column")


def print_input(detector: Detector) -> None:
    """Print what a detector expects of an item."""
    from limbeck.table_spec import TableSpec

    spec = detector.spec
    if isinstance(spec, TableSpec):
        rows = [(c.name, c.kind, str(len(c.categories) or "")) for c in spec.columns]
        print_table(("column", "kind", "categories"), rows)
    else:
        print(f"takes {kinds(detector)}; values up to {spec.maximum:,}\n")


def print_candidates(detector: Detector) -> None:
    """Print the table of the student, its controls and its teachers."""
    rows = []
    for c in detector.artefact.training.get("candidates", []):
        numbers = (f"{c[k]:.4f}" for k in ("average_precision", "auroc", "recall_at_1pct_fpr", "ece"))
        rows.append((c["name"] + (" (shipped)" if c.get("shipped") else ""), *numbers))
    if rows:
        n = detector.artefact.training["candidates"][0]["n"]
        print(f"on {n:,} validation rows that none of them saw:")
        print_table(("model", "average precision", "AUROC", "recall at 1 % FPR", "ECE"), rows)


def print_following(detector: Detector) -> None:
    """Print how a student follows its teacher, and what it saves; nothing where it follows none."""
    from limbeck.report_fidelity import said_in_short

    if following := said_in_short(detector.artefact.training):
        print(f"student   {following}")


def print_metrics(metrics: dict[str, float], names: tuple[str, ...]) -> None:
    """Print some metrics of an evaluation."""
    rows = [(n, str(v) if isinstance(v := metrics[n], int) else f"{v:.4f}") for n in names]
    print("on items that the package has never seen:")
    print_table(("metric", "value"), rows)


def print_profile(profile: Profile) -> None:
    """Print what a package costs: stages, throughput, and the distance to the machine's limit."""
    scale, unit = (1e6, "µs") if profile.items == "rows" else (1e3, "ms")
    stages = [(s.name, f"{s.parameters:,}", f"{s.macs / 1e6:,.4g}", f"{scale * s.seconds:.4g}") for s in profile.stages]
    whole = (f"{profile.parameters:,}", f"{profile.macs / 1e6:,.4g}")
    rest = f"{scale * sum(s.seconds for s in profile.stages):.4g}"
    print(f"for one of the {profile.items}" + (", on one thread:" if profile.items == "pictures" else " of 1,024:"))
    print_table(("stage", "parameters", "million MACs", unit), [*stages, ("all", *whole, rest)])
    print_table(
        ("threads", f"{profile.items} at once", f"{profile.items} a second"),
        [(threads, f"{size:,}", f"{rate:,.4g}") for threads, size, rate in profile.throughput],
    )
    times = profile.seconds / profile.limit
    print(f"one at a time  {scale * profile.seconds:.4g} {unit}, {times:.3g} times the machine's limit for its MACs")
    print(f"limit          {scale * profile.limit:.4g} {unit}: {profile.peak / 1e9:.3g} billion MACs a second at best")
    if profile.from_files is not None:
        print(f"from files     {profile.from_files:.3g} {profile.items} a second")
    if profile.memory is not None:
        print(f"memory         {profile.memory / 2**20:,.0f} MiB at most, Python and the engine within")
    print(f"graph          {profile.graph_bytes:,} bytes\nmachine        {profile.machine}")


def print_table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    """Print a table; numbers to the right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for i, title in enumerate(head):
        numeric = bool(rows) and all(str(r[i]).replace(".", "").replace("-", "").isdigit() for r in rows)
        table.add_column(title, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    if sys.stdout is not None:
        Console(soft_wrap=False, width=None if sys.stdout.isatty() else 110).print(table)
    print()


def show_warning(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
    """Print a warning as a note; stands in for `warnings.showwarning`."""
    print(f"note: {message}", file=sys.stderr)
